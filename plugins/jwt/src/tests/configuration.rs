use super::*;

fn starts(toml: &str, expected: &[&str]) {
    let problems = problems(toml);
    let fits = problems.len() == expected.len()
        && problems.iter().zip(expected).all(|(problem, expected)| problem.starts_with(expected));
    assert!(fits, "{toml}: {problems:#?}");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_field() {
    let file = key_file(&jwks(&[&EC]));
    let good = format!("issuer = \"{ISSUER}\"\naudience = [\"a\"]\njwks_file = \"{}\"\n", file.path().display());
    for (extra, expected) in [
        ("any_issuer = true", "issuer: has no use beside `any_issuer`"),
        ("any_audience = true", "any_audience: stands beside `audience`"),
        ("algorithms = []", "algorithms: is empty"),
        ("algorithms = [\"ES256\", \"ES256\"]", "algorithms: names one twice"),
        ("algorithms = [\"ES256\", \"RS256\"]", "algorithms: names RS256, which none of the keys"),
        ("discovery = true", "jwks_file: stands beside `discovery`"),
        ("secret = \"x\"", "secret: stands beside `jwks_file`"),
        ("fetch = { cooldown = \"10s\" }", "fetch: has no use beside `jwks_file`"),
        ("typ = \"\"", "typ: is empty"),
        ("tenant = \"\"", "tenant: is empty"),
        ("leeway = \"6m\"", "leeway: is longer than five minutes"),
        ("max_age = \"0s\"", "max_age: is shorter than a second"),
        ("max_lifetime = \"10ms\"", "max_lifetime: is shorter than a second"),
        ("claims = []", "claims: is empty"),
        ("consumer = { by = \"claim\" }", "consumer.claim: is missing"),
        ("consumer = { claim = \"a\" }", "consumer.claim: goes with `by = \"claim\"`"),
        ("headers = { \"x y\" = \"a\" }", "headers.x y: is not a header name"),
        ("headers = { \"x-a\" = \"a\", \"X-A\" = \"b\" }", "headers.x-a: stands in the table already"),
        ("max_token_bytes = 65537", "max_token_bytes: is more than 65536"),
        ("max_cached_tokens = 1000001", "max_cached_tokens: is more than"),
        ("attempts = { window = \"10ms\" }", "attempts.window"),
        ("from = []", "from: is empty"),
        ("header = \"host\"", "header: `host` cannot carry a credential"),
        ("issuers = []", "issuers: is empty"),
    ] {
        let problems = problems(&format!("{good}{extra}"));
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{extra}: {problems:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_in_one_run() {
    starts("leeway = \"1h\"\nfrom = []", &["from: ", "leeway: ", "issuer: ", "audience: ", ": has no keys"]);
    starts(
        r#"
        issuer = "https://auth.example.com"
        audience = ["a"]
        [[issuers]]
        jwks_file = "missing.json"
        [[issuers]]
        issuer = "https://two.example.com"
        jwks_url = "http://two.example.com/keys"
        [[issuers]]
        issuer = "https://two.example.com"
        "#,
        &[
            "issuer: belongs to one issuer",
            "issuers[2].issuer: stands in the list already",
            "issuers[0].issuer: is missing",
            "issuers[0].jwks_file: ",
            "issuers[1].jwks_url: ",
            "issuers[2]: has no keys",
        ],
    );
}

#[test]
fn settings_of_one_issuer_are_refused_beside_the_list() {
    let file = key_file(&jwks(&[&EC]));
    for field in ["jwks_file", "public_key_file", "jwks_url", "secret"] {
        let toml = format!(
            "audience = [\"a\"]\n{field} = \"{path}\"\nissuers = [{{ issuer = \"a\", jwks_file = \"{path}\" }}]",
            path = file.path().display()
        );
        starts(&toml, &[&format!("{field}: belongs to one issuer")]);
    }
}

#[test]
fn an_issuer_can_say_otherwise_what_is_common() {
    let file = key_file(&jwks(&[&EC]));
    let toml = |own: &str| {
        format!(
            "any_audience = true\ndiscovery = true\nleeway = \"10s\"\nissuers = [{{ issuer = \"{ISSUER}\", jwks_file = \"{}\"{own} }}]",
            file.path().display()
        )
    };
    let expired = EC.sign(&claims(json!({ "exp": NOW - 20 })));
    assert_eq!(Scene::new(&toml("")).sent(&expired), "token_expired");
    assert_eq!(Scene::new(&toml(", leeway = \"30s\"")).sent(&expired), "alice");
    let narrow = Scene::new(&toml(", leeway = \"30s\", audience = [\"other\"]"));
    assert_eq!(narrow.sent(&expired), "audience_mismatch");
    starts(&toml(", audience = []"), &["issuers[0].audience: is empty"]);
    starts(&toml(", any_audience = false"), &["issuers[0].audience: is missing"]);
    let without =
        format!("any_audience = true\ndiscovery = true\nissuers = [{{ issuer = \"{ISSUER}\", discovery = false }}]");
    starts(&without, &["issuers[0]: has no keys"]);
}

#[test]
fn discovery_needs_an_issuer_and_https() {
    starts("any_issuer = true\nany_audience = true\ndiscovery = true", &["discovery: needs `issuer`"]);
    let plain = "issuer = \"http://auth.example.com\"\nany_audience = true\ndiscovery = true";
    starts(plain, &["discovery: "]);
    let allowed = format!("{plain}\nfetch = {{ allow_http = true }}");
    assert!(Build::new().plugin::<Jwt>(config(&allowed)).is_ok());
    starts(&format!("{plain}\nfetch = {{ cooldown = \"1ms\", allow_http = true }}"), &["fetch.cooldown: "]);
    let public =
        "issuer = \"https://auth.example.com\"\nany_audience = true\ndiscovery = true\nalgorithms = [\"HS256\"]";
    starts(public, &["algorithms: takes a secret, and these keys are public"]);
}

#[test]
fn a_configuration_of_the_wrong_shape_is_refused() {
    for (toml, words) in [
        ("isuer = \"a\"", "unknown field `isuer`"),
        ("issuers = [{ isuer = \"a\" }]", "unknown field `isuer`"),
        ("issuers = [{ header = \"a\" }]", "unknown field `header`"),
        ("algorithms = [\"none\"]", "`none` is no signature"),
        ("algorithms = [\"rs256\"]", "is not a signature algorithm"),
        ("identity = { name = \"a\" }", "unknown field `name`"),
        ("identity = { subject = 7 }", "the path of a claim, or a list of paths"),
        ("identity = { subject = \"\" }", "path of a claim"),
        ("consumer = { by = \"name\" }", "unknown variant `name`"),
        ("claims = [{ claim = \"a\" }]", "what has to be true"),
        ("max_token_bytes = 0", "nonzero"),
        ("leeway = 30", "a length of time"),
    ] {
        let error = toml::from_str::<Config>(toml).err().unwrap_or_else(|| panic!("{toml}")).to_string();
        assert!(error.contains(words), "{toml}: {error}");
    }
    let error = toml::from_str::<Holder>("subjet = \"a\"").unwrap_err().to_string();
    assert!(error.contains("unknown field `subjet`"), "{error}");
}

#[test]
fn a_key_file_with_something_wrong_in_it_is_refused() {
    for keys in ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"unknown"}]}"#, &jwks(&[&EC, &EC])] {
        let file = key_file(keys);
        let toml = format!("issuer = \"a\"\nany_audience = true\njwks_file = \"{}\"", file.path().display());
        starts(&toml, &["jwks_file: "]);
    }
}

#[test]
fn a_key_in_pem_is_no_key_set() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "\n-----BEGIN PUBLIC KEY-----\n").unwrap();
    let toml = format!("issuer = \"a\"\nany_audience = true\njwks_file = \"{}\"", file.path().display());
    starts(&toml, &["jwks_file: this is a key in PEM and not a key set: say `public_key_file`"]);
}

/// The example in `conf`, whose policies are built here one by one.
#[test]
fn the_example_is_a_good_configuration() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf/examples");
    let mut example: toml::Table = std::fs::read_to_string(folder.join("jwt.toml")).unwrap().parse().unwrap();
    let mut credential = example["consumers"]["acme"]["credentials"][0].as_table().unwrap().clone();
    for common in ["use", "id", "policies"] {
        credential.remove(common).unwrap();
    }
    let policies = example["policies"].as_table_mut().unwrap();
    for (name, policy) in policies.iter_mut() {
        let policy = policy.as_table_mut().unwrap();
        assert_eq!(policy.remove("use").unwrap().as_str(), Some("jwt"));
        if let Some(file) = policy.get_mut("public_key_file") {
            *file = folder.join(file.as_str().unwrap()).to_str().unwrap().into();
        }
        let mut build = Build::new();
        if name == "partners" {
            build = build.credential::<Jwt>("acme", "acme-batch", credential.clone().try_into().unwrap(), |_| {});
        }
        let built = build.plugin::<Jwt>(policy.clone().try_into().unwrap());
        assert!(built.is_ok(), "{name}: {:?}", built.err().map(|error| error.problems));
        assert_eq!(build.problems, []);
    }
}

#[test]
fn settings_that_nothing_uses_are_refused() {
    let file = key_file(&jwks(&[&EC]));
    let own = format!("issuers = [{{ issuer = \"a\", jwks_file = \"{}\" }}]", file.path().display());
    starts(&format!("any_audience = true\nfetch = {{ refresh = \"5m\" }}\n{own}"), &["fetch: has no use"]);
    starts(&format!("any_audience = true\nany_issuer = true\n{own}"), &["any_issuer: has no use"]);
}

#[test]
fn every_setting_is_described() {
    let schema = portcullis_plugin::schemars::schema_for!(Config);
    let schema = schema.as_value();
    for table in [schema, &schema["$defs"]["Issuer"], &schema["$defs"]["Mapping"]] {
        for (field, about) in table["properties"].as_object().unwrap() {
            assert!(about["description"].is_string(), "{field}: {about}");
        }
    }
}
