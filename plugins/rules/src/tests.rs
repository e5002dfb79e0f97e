use std::net::IpAddr;

use portcullis_plugin::{
    CertificateNames, Claims, Consumer, Credential, CredentialLimits, UnixTime, Usage,
    serde_json::from_str,
    testing::{Build, Conformance, Request, now},
};

use super::*;

const ALLOWED: &str = "allowed";
const DENIED: &str = "rule_denied";

fn hook(toml: &str) -> Arc<dyn Admit> {
    match Build::new().plugin::<Rules>(toml::from_str(toml).unwrap()) {
        Ok(hooks) => hooks.admit.unwrap(),
        Err(error) => panic!("{toml}: {:?}", error.problems),
    }
}

fn problems(toml: &str) -> Vec<String> {
    let error = Build::new().plugin::<Rules>(toml::from_str(toml).unwrap()).err().expect("an error");
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// The consumer `acme` of the tenant `t1`, whose user `user-1` came with a token.
fn user() -> Identity {
    let consumer = Arc::new(Consumer {
        name: "acme".to_owned(),
        groups: strings(&["partners", "eu"]),
        labels: [("tier", "gold"), ("network", "10.0.0.0/8")].map(|(a, b)| (a.to_owned(), b.to_owned())).into(),
        ..Consumer::default()
    });
    let credential = Arc::new(Credential {
        kind: "mtls",
        id: "acme-1".into(),
        consumer: consumer.clone(),
        scopes: Vec::new(),
        owner: None,
        tier: None,
        limits: CredentialLimits::default(),
        usage: Arc::new(Usage::default()),
    });
    Identity {
        method: "jwt".to_owned(),
        consumer: Some(consumer),
        subject: Some("user-1".to_owned()),
        client: Some("app".to_owned()),
        tenant: Some("t1".to_owned()),
        email: Some("u@example.com".to_owned()),
        issuer: Some("https://auth.example.com".to_owned()),
        roles: strings(&["editor", "admin"]),
        scopes: strings(&["orders:read"]),
        credentials: vec![credential],
        claims: Some(claims(
            r#"{"org":{"id":"acme","seats":5},"https://example.com/plan":"gold","amr":["pwd","otp"],"level":3,
                "ratio":0.5,"big":18446744073709551615,"least":-9223372036854775808,
                "huge":1e300,"verified":true,"nothing":null,"nothing2":null,
                "teams":[{"name":"a","lead":true},{"name":"b","lead":false}]}"#,
        )),
        ..Identity::default()
    }
}

fn claims(json: &str) -> Arc<Claims> {
    Arc::new(from_str(json).unwrap())
}

/// A known address and nothing else.
fn nobody() -> Identity {
    Identity { method: "other".to_owned(), ..Identity::default() }
}

/// `GET /t1/orders` from 203.0.113.7, on Friday 2027-01-15 at 08:00:00 UTC.
fn request() -> Request {
    let mut request =
        Request::get("/t1/orders?all=true").header("host", "API.example.com.:8443").header("x-region", "eu");
    request.path_parameters = vec![("tenant".to_owned(), "t1".to_owned())];
    request.address = IpAddr::from([203, 0, 113, 7]);
    request
}

fn outcome(hook: &dyn Admit, mut request: Request, identity: Identity) -> &'static str {
    match now(hook.admit(&mut request.cx(), &Arc::new(identity))).unwrap() {
        Verdict::Allow => ALLOWED,
        other @ (Verdict::AllowWith(_) | Verdict::Respond(_)) => panic!("{other:?}"),
        Verdict::Refuse(refusal) => {
            let plain = Refusal { detail: None, ..refusal.clone() };
            assert_eq!(plain, Refusal::forbidden(refusal.reason), "a refusal is a plain 403");
            refusal.reason.code()
        }
    }
}

fn require(expression: &str) -> Arc<dyn Admit> {
    hook(&format!("require = ['''{expression}''']"))
}

fn deny(expression: &str) -> Arc<dyn Admit> {
    hook(&format!("deny = ['''{expression}''']"))
}

/// The result of an expression: `None` where it cannot be evaluated. Both ways of asking have to agree.
fn says(expression: &str, request: impl Fn() -> Request, identity: impl Fn() -> Identity) -> Option<bool> {
    let required = outcome(&*require(expression), request(), identity());
    let denied = outcome(&*deny(expression), request(), identity());
    match (required, denied) {
        (ALLOWED, DENIED) => Some(true),
        (DENIED, ALLOWED) => Some(false),
        (DENIED, DENIED) => None,
        other => panic!("{expression}: {other:?}"),
    }
}

#[test]
fn expressions_see_the_identity() {
    for (expression, expected) in [
        ("identity.consumer == 'acme'", true),
        ("'partners' in identity.groups && !('us' in identity.groups)", true),
        ("'admin' in identity.roles", true),
        ("'Admin' in identity.roles", false),
        ("identity.roles.exists(role, role.startsWith('adm'))", true),
        ("identity.roles.all(role, role == 'admin')", false),
        ("size(identity.roles) == 2 && identity.roles[0] == 'editor'", true),
        ("identity.roles == ['editor', 'admin'] && ['editor', 'admin'] == identity.roles", true),
        ("'orders:read' in identity.scopes", true),
        ("identity.labels.tier == 'gold' && identity.labels['tier'] == 'gold'", true),
        ("'tier' in identity.labels && !('other' in identity.labels)", true),
        ("identity.tenant == 't1'", true),
        ("identity.subject == 'user-1' && identity.client == 'app'", true),
        ("identity.issuer == 'https://auth.example.com' && identity.email.endsWith('@example.com')", true),
        ("identity.method == 'jwt'", true),
        ("'acme-1' in identity.credentials", true),
        ("identity.tenant != 't1'", false),
    ] {
        assert_eq!(says(expression, request, user), Some(expected), "{expression}");
    }
}

#[test]
fn expressions_see_claims() {
    for (expression, expected) in [
        ("identity.claims.org.id == 'acme'", Some(true)),
        ("identity.claims['org'].id == identity.consumer", Some(true)),
        ("identity.claims.org.seats > 4 && identity.claims.ratio < 1.0", Some(true)),
        ("identity.claims['https://example.com/plan'] in ['gold', 'silver']", Some(true)),
        ("'otp' in identity.claims.amr", Some(true)),
        ("identity.claims.verified", Some(true)),
        ("identity.claims.big == 18446744073709551615u", Some(true)),
        ("identity.claims.teams.exists(team, team.lead && team.name == 'a')", Some(true)),
        ("identity.claims.teams[1].name == 'b'", Some(true)),
        ("identity.claims.teams.all(team, has(team.name))", Some(true)),
        ("has(identity.claims.org.id) && !has(identity.claims.org.x) && !has(identity.claims.x.y)", Some(true)),
        ("'level' in identity.claims && !('nothing' in identity.claims)", Some(true)),
        ("'https://example.com/plan' in identity.claims", Some(true)),
        ("identity.claims.exists(name, name == 'amr') && size(identity.claims.org) == 2", Some(true)),
        ("identity.claims.level == '3'", Some(false)),
        ("identity.claims.other == 'x'", None),
        ("identity.claims.other != 'x'", None),
        ("identity.claims.org.id.x == 'x'", None),
        ("identity.claims.level", None),
        ("identity.claims.level.startsWith('3')", None),
    ] {
        assert_eq!(says(expression, request, user), expected, "{expression}");
    }
}

#[test]
fn expressions_see_the_certificate() {
    let names = CertificateNames {
        subject: "CN=alice,O=ACME".to_owned(),
        serial: "0ABC".to_owned(),
        dns: vec!["a.example.com".to_owned()],
        ..CertificateNames::default()
    };
    let with = || Identity { certificate: Some(Arc::new(names.clone())), ..user() };
    for (expression, expected) in [
        ("identity.certificate.subject.endsWith(',O=ACME') && identity.certificate.serial == '0ABC'", Some(true)),
        ("identity.certificate.dns.exists(name, name.endsWith('.example.com'))", Some(true)),
        ("size(identity.certificate.uris) == 0", Some(true)),
        ("identity.certificate.cn == ''", None),
    ] {
        assert_eq!(says(expression, request, with), expected, "{expression}");
        assert_eq!(says(expression, request, user), None, "without a certificate: {expression}");
    }
    assert_eq!(says("has(identity.certificate.cn)", request, with), Some(false));
    assert_eq!(says("has(identity.certificate.subject)", request, user), Some(false));
    for odd in ["identity.certificate == ''", "identity.certificate.key == ''", "identity.certificate.cn.x == ''"] {
        assert!(!problems(&format!("require = [\"{odd}\"]")).is_empty(), "{odd}");
    }
}

#[test]
fn expressions_see_the_request() {
    for (expression, expected) in [
        ("request.method == 'GET'", Some(true)),
        ("request.path == '/t1/orders'", Some(true)),
        ("request.path.matches('^/t[0-9]+/')", Some(true)),
        ("matches(request.path, '^/t[0-9]$')", Some(false)),
        ("request.host == 'api.example.com'", Some(true)),
        ("request.query == 'all=true'", Some(true)),
        ("request.headers['x-region'] == 'eu'", Some(true)),
        ("'x-region' in request.headers && !('x-other' in request.headers)", Some(true)),
        ("'tenant' in request.path_params && !('other' in request.path_params)", Some(true)),
        ("request.headers['x-other'] == 'eu'", None),
        ("identity.tenant == request.path_params.tenant", Some(true)),
        ("request.path_params['tenant'] == 't1'", Some(true)),
        ("request.path_params.other == 't1'", None),
        ("request.address == '203.0.113.7'", Some(true)),
        ("in_network(request.address, '203.0.113.0/24')", Some(true)),
        ("in_network(request.address, '203.0.113.7')", Some(true)),
        ("in_network(request.address, '10.0.0.0/8') || in_network(request.address, 'fc00::/7')", Some(false)),
        ("in_network(request.address, identity.labels.network)", Some(false)),
        ("in_network(request.address, identity.labels.tier)", None),
        ("in_network(request.host, '10.0.0.0/8')", None),
        ("request.is_https", Some(false)),
    ] {
        assert_eq!(says(expression, request, user), expected, "{expression}");
    }
}

#[test]
fn expressions_know_the_time() {
    for (expression, expected) in [
        ("request.time == timestamp('2027-01-15T08:00:00Z')", true),
        ("request.time.getHours() == 8 && request.time.getMinutes() == 0", true),
        ("request.time.getHours('Europe/Berlin') == 9", true),
        ("request.time.getHours('+05:30') == 13", true),
        ("request.time.getDayOfWeek() in [1, 2, 3, 4, 5]", true),
        ("request.time - timestamp('2027-01-15T07:30:00Z') < duration('31m')", true),
        ("request.time + duration('24h') < timestamp('2027-01-16T00:00:00Z')", false),
        ("request.time < timestamp('2027-01-15T07:30:00Z')", false),
    ] {
        assert_eq!(says(expression, request, user), Some(expected), "{expression}");
    }
    let late = || Request { now: UnixTime(i64::MAX), ..request() };
    assert_eq!(says("request.time > timestamp('2027-01-15T07:30:00Z')", late, user), None, "no time of any calendar");
}

#[test]
fn all_of_require_and_none_of_deny() {
    let toml = "require = [\"'admin' in identity.roles\", \"request.method == 'GET'\"]\ndeny = [\"identity.tenant == 't2'\", \"request.is_https\"]";
    let hook = hook(toml);
    assert_eq!(outcome(&*hook, request(), user()), ALLOWED);
    assert_eq!(outcome(&*hook, Request::new("POST", "/"), user()), DENIED);
    assert_eq!(outcome(&*hook, request(), Identity { tenant: Some("t2".into()), ..user() }), DENIED);
    assert_eq!(outcome(&*hook, Request { is_https: true, ..request() }, user()), DENIED);
    assert_eq!(outcome(&*hook, request(), Identity { tenant: None, ..user() }), DENIED, "a denial nobody can tell");
}

#[test]
fn absent_values_are_never_equal() {
    let bare = || Request::get("/");
    for expression in [
        "identity.tenant == request.path_params.tenant",
        "identity.tenant != request.path_params.tenant",
        "identity.subject == identity.email",
        "identity.consumer == identity.client",
        "identity.labels.a == identity.labels.b",
        "identity.claims.a == identity.claims.b",
        "request.query == request.headers['x-none']",
        "request.host == identity.issuer",
        "[identity.tenant] == [request.path_params.tenant]",
        "identity.tenant in [request.path_params.tenant]",
    ] {
        assert_eq!(says(expression, bare, nobody), None, "{expression}");
    }
    assert_eq!(says("identity.claims.nothing == identity.claims.nothing2", bare, user), None, "nor two that are null");
    let empty = || Identity { tenant: Some(String::new()), ..nobody() };
    let slash = || Request { path_parameters: vec![("rest".to_owned(), String::new())], ..bare() };
    assert_eq!(says("identity.tenant == request.path_params.rest", slash, empty), None, "nor two that are empty");
    assert_eq!(says("request.path_params.rest == ''", slash, empty), Some(true));
}

#[test]
fn an_absent_field_can_be_asked_for() {
    for (field, is_there) in [
        ("identity.tenant", [true, false]),
        ("identity.consumer", [true, false]),
        ("identity.labels.tier", [true, false]),
        ("identity.claims.org.id", [true, false]),
        ("identity.claims.nothing", [false, false]),
        ("request.query", [true, true]),
        ("request.path_params.tenant", [true, true]),
        ("request.path_params.other", [false, false]),
    ] {
        let expression = format!("has({field})");
        assert_eq!(says(&expression, request, user), Some(is_there[0]), "{expression}");
        assert_eq!(says(&expression, request, nobody), Some(is_there[1]), "{expression} of nobody");
    }
    assert_eq!(says("!has(identity.tenant) || identity.tenant == 't1'", request, nobody), Some(true));
    assert_eq!(says("'a' in identity.groups || 'a' in identity.roles", request, nobody), Some(false));
}

#[test]
fn path_parameters_are_decoded_and_headers_joined() {
    let at = |value: &str| Request { path_parameters: vec![("p".to_owned(), value.to_owned())], ..Request::get("/") };
    assert_eq!(says("request.path_params.p == 'a b/\u{e9}'", || at("a%20b%2F%C3%A9"), user), Some(true));
    assert_eq!(says("request.path_params.p != 'a'", || at("%FF"), user), None, "what is not UTF-8 is no text");
    let lines = || Request::get("/").header("x-a", "1").header("x-a", "2, 3");
    assert_eq!(says("request.headers['x-a'] == '1, 2, 3'", lines, user), Some(true));
    let bytes = || Request::get("/").header("x-a", "ok").header("x-a", b"\xff");
    assert_eq!(says("request.headers['x-a'] != 'ok'", bytes, user), None);
}

#[test]
fn head_is_a_method_of_its_own() {
    assert_eq!(says("request.method == 'GET'", || Request::new("HEAD", "/"), user), Some(false));
    assert_eq!(says("request.method in ['GET', 'HEAD']", || Request::new("HEAD", "/"), user), Some(true));
}

#[test]
fn addresses_in_ipv6_clothes_are_plain() {
    let mapped = || Request { address: "::ffff:10.1.2.3".parse().unwrap(), ..Request::get("/") };
    assert_eq!(
        says("in_network(request.address, '10.0.0.0/8') && request.address == '10.1.2.3'", mapped, user),
        Some(true)
    );
}

/// Two proofs that were asked for together, as the engine puts them together.
fn both(first: Identity, second: Identity) -> Identity {
    Identity {
        tenant: Some("t1".to_owned()),
        scopes: first.scopes.clone(),
        roles: first.roles.clone(),
        parts: vec![Arc::new(first), Arc::new(second)],
        ..nobody()
    }
}

#[test]
fn scopes_and_claims_are_those_of_one_part_and_every_part_is_asked() {
    let scoped = |scopes: &[&str]| Identity { scopes: strings(scopes), ..nobody() };
    let token = |json: &str| Identity { claims: Some(claims(json)), scopes: strings(&["read", "write"]), ..nobody() };
    let both_scopes = "'read' in identity.scopes && 'write' in identity.scopes";
    let halves = || both(scoped(&["read"]), scoped(&["write"]));
    assert_eq!(says(both_scopes, request, halves), Some(false), "never a union");
    let second = || both(scoped(&[]), scoped(&["write"]));
    assert_eq!(outcome(&*require("'write' in identity.scopes"), request(), second()), DENIED, "it does not speak");
    assert_eq!(outcome(&*deny("'write' in identity.scopes"), request(), second()), DENIED, "one is enough");
    assert_eq!(outcome(&*deny("'write' in identity.scopes"), request(), halves()), DENIED, "one is enough");
    let plan = "identity.claims.plan == 'gold' && 'read' in identity.scopes";
    assert_eq!(says(plan, request, || both(scoped(&["read"]), token(r#"{"plan":"gold"}"#))), Some(true));
    let tokens = || both(token(r#"{"plan":"gold"}"#), token(r#"{"plan":"free"}"#));
    assert_eq!(outcome(&*require(plan), request(), tokens()), DENIED);
    assert_eq!(says(plan, request, || both(scoped(&["read"]), scoped(&["read"]))), None, "no claims at all");
    assert_eq!(says("identity.tenant == 't1'", request, tokens), Some(true), "the rest is that of the whole");
}

#[test]
fn an_expression_that_gives_no_answer_refuses() {
    for expression in [
        "identity.claims.level / 0 == 1",
        "identity.claims.teams[7].lead",
        "identity.claims.level + 9223372036854775807 > 0",
        "identity.claims.least / -1 == 0",
        "identity.claims.least % -1 == 1",
        "-identity.claims.least == 0",
        "identity.claims.least * -1 == 0",
        "identity.claims.least - 1 == 0",
        "int(identity.claims.huge) == 0",
        "identity.claims.amr < 3",
        "int(identity.subject) == 1",
        "timestamp(identity.subject) < request.time",
        "request.time + duration(identity.claims.org.id) < request.time",
        "request.time.getHours(identity.tenant) == 1",
        "identity.claims.org",
        "identity.claims.teams.all(t, t.level == 1)",
        "identity.claims.level.all(x, x == 1)",
        "identity.claims.org == 'x' && identity.claims.other == 1 || identity.claims.other == 1",
    ] {
        assert_eq!(says(expression, request, user), None, "{expression}");
    }
}

#[test]
fn long_lists_in_a_token_cannot_make_an_evaluation_long() {
    let long = || {
        let items = (0..2000).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",");
        let nested = (0..60).map(|n| format!("[{}]", ["\"x\""; 50].join(&format!(",\"{n}\","))));
        let nested = nested.collect::<Vec<_>>().join(",");
        let text = "x".repeat(100_000);
        Identity {
            claims: Some(claims(&format!(r#"{{"a":[{items}],"n":[{nested}],"t":"{text}"}}"#))),
            roles: (0..2000).map(|n| n.to_string()).collect(),
            ..nobody()
        }
    };
    let started = std::time::Instant::now();
    for expression in [
        "identity.claims.a.all(x, identity.claims.a.all(y, identity.claims.a.all(z, x != y + z)))",
        "identity.roles.exists(x, identity.roles.exists(y, x + y == 'a'))",
        "identity.claims.a.exists(x, x in identity.roles && x == '')",
        "identity.claims.n.all(x, x.all(y, x.all(z, y != z || true)))",
        "identity.claims.a.map(x, identity.claims.a.map(y, x + y)) != []",
        "identity.claims.a.all(x, identity.claims.t.contains(x) || true)",
        "identity.claims.n.all(x, identity.claims.n.all(y, x == y || true)) || true",
    ] {
        assert_eq!(says(expression, request, long), None, "{expression}");
    }
    assert_eq!(says("'1999' in identity.roles && identity.claims.t.size() > 1", request, long), Some(true));
    assert!(started.elapsed().as_secs() < 5, "took {:?}", started.elapsed());
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_by_field() {
    for (toml, expected) in [
        ("", ": restricts nothing"),
        ("require = []", "require: is empty"),
        ("deny = []", "deny: is empty"),
        ("require = ['identity.is_https', 'request.is_https']", "require[0]: `identity` has no field `is_https`"),
        ("deny = ['request.is_https', 'identity']", "deny[1]: `identity` is no value"),
    ] {
        let problems = problems(toml);
        assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
    assert_eq!(problems("require = ['identity.a == identity.b', '(']\ndeny = []").len(), 4, "all of it in one run");
    for toml in ["allow = ['request.is_https']", "require = 'request.is_https'", "require = [true]"] {
        assert!(toml::from_str::<Config>(toml).is_err(), "{toml}");
    }
}

#[test]
fn a_failure_is_told_without_the_value() {
    let mut request = request();
    let identity = Identity { email: Some("private@example.com".to_owned()), ..user() };
    for (expression, expected) in [
        ("identity.claims.other == 1", "`identity.claims.other` has no value, or none that can be read"),
        ("int(identity.email) == 1", "`int` failed"),
        ("in_network(identity.email, '10.0.0.0/8')", "`in_network` failed"),
        ("identity.claims.org", "the result is neither true nor false"),
        (
            "identity.claims.level.endsWith(identity.email)",
            "found no matching overload for 'endsWith' applied to 'int.(string)'",
        ),
        ("identity.claims.amr[9] == 'x'", "a list has no item of that number"),
    ] {
        let expression = Expression::compile(expression).unwrap();
        let failure =
            expression.evaluate(&request.cx(), &identity, &identity, Effect::Require).unwrap_err().to_string();
        assert_eq!(failure, expected);
        assert!(!failure.contains("private"));
    }
}

#[test]
fn parameters_of_the_path_are_mentioned_unless_they_are_asked_for() {
    let toml = "require = ['request.path_params.a == request.path_params.b', 'request.is_https']\n\
                deny = [\"has(request.path_params.c) && request.path_params.c == 'x'\", \
                \"'d' in request.path_params && request.path_params.d == 'x' || request.path_params.e == 'x'\"]";
    let mentions = hook(toml).mentions().into_iter().map(|mention| (mention.field, mention.of));
    let parameter = |field: &str, name: &str| (field.to_owned(), Mentioned::PathParameter(name.to_owned()));
    let expected = [parameter("require[0]", "a"), parameter("require[0]", "b"), parameter("deny[1]", "e")];
    assert_eq!(mentions.collect::<Vec<_>>(), expected);
}

#[test]
fn the_log_is_told_which_rule() {
    let hook = hook(
        "require = ['size(request.method) > 0', 'size(request.method) > 9']\ndeny = [\"request.method == 'POST'\"]",
    );
    let detail = |method| match now(hook.admit(&mut Request::new(method, "/").cx(), &Arc::default())).unwrap() {
        Verdict::Refuse(refusal) => refusal.detail.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((detail("GET"), detail("POST")), ("require[1]".into(), "deny[0]".into()));
}

#[test]
fn it_does_what_every_plugin_does() {
    let config = || toml::from_str("require = ['request.path == \"/\"']").unwrap();
    Conformance::<Rules>::new(config).identity(user()).identity(nobody()).check();
}
