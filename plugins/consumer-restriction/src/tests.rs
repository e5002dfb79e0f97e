use portcullis_plugin::{
    Credential, CredentialLimits, Usage,
    testing::{Build, Conformance, Request, now},
};

use super::*;

const ALLOWED: &str = "allowed";
const CONSUMER: &str = "consumer_not_allowed";
const SCOPE: &str = "scope_missing";

fn hook(toml: &str) -> Arc<dyn Admit> {
    Build::new().plugin::<ConsumerRestriction>(toml::from_str(toml).unwrap()).unwrap().admit.unwrap()
}

fn problems(toml: &str) -> Vec<String> {
    let error = Build::new().plugin::<ConsumerRestriction>(toml::from_str(toml).unwrap()).err().expect("an error");
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

/// `allowed`, or the reason code of a 403.
fn outcome(hook: &dyn Admit, method: &str, identity: Identity) -> String {
    let identity = Arc::new(identity);
    match now(hook.admit(&mut Request::new(method, "/").cx(), &identity)).unwrap() {
        Verdict::Allow => ALLOWED.to_owned(),
        other @ (Verdict::AllowWith(_) | Verdict::Respond(_)) => panic!("{other:?}"),
        Verdict::Refuse(refusal) => {
            let plain = Refusal { detail: None, ..refusal.clone() };
            assert_eq!(plain, Refusal::forbidden(refusal.reason), "a refusal is a plain 403");
            refusal.reason.to_string()
        }
    }
}

/// The verdict on a `GET` of this identity.
fn get(toml: &str, identity: Identity) -> String {
    outcome(&*hook(toml), "GET", identity)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|item| (*item).to_owned()).collect()
}

/// The consumer `acme` of the tenant `t1`, with the groups `partners` and `eu`, the role `buyer`, the labels
/// `tier = "gold"` and `region = "eu"`, by the credential `acme-1` with these scopes.
fn acme(scopes: &[&str]) -> Identity {
    let consumer = Arc::new(Consumer {
        name: "acme".to_owned(),
        groups: strings(&["partners", "eu"]),
        roles: strings(&["buyer"]),
        labels: [("tier", "gold"), ("region", "eu")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        tenant: Some("t1".to_owned()),
        client_id: None,
    });
    Identity::of_client(&Arc::new(Credential {
        kind: "key-auth",
        id: "acme-1".into(),
        consumer,
        scopes: strings(scopes),
        owner: None,
        tier: None,
        limits: CredentialLimits::default(),
        usage: Arc::new(Usage::default()),
    }))
}

/// A token's subject, with scopes and a role, and no consumer.
fn subject(scopes: &[&str]) -> Identity {
    Identity {
        subject: Some("user-1".to_owned()),
        roles: strings(&["editor"]),
        scopes: strings(scopes),
        ..Identity::default()
    }
}

/// Two proofs that were asked for together, as the engine puts them together: the first one speaks.
fn both(first: Identity, second: Identity) -> Identity {
    Identity {
        consumer: first.consumer.clone().or(second.consumer.clone()),
        tenant: first.tenant.clone().or(second.tenant.clone()),
        roles: first.roles.clone(),
        scopes: first.scopes.clone(),
        credentials: [first.credentials.clone(), second.credentials.clone()].concat(),
        parts: vec![Arc::new(first), Arc::new(second)],
        ..Identity::default()
    }
}

#[test]
fn in_a_list_one_fitting_item_is_enough() {
    for (field, fits, does_not) in [
        ("consumers", r#"["other", "acme"]"#, r#"["other", "Acme"]"#),
        ("groups", r#"["eu", "us"]"#, r#"["us"]"#),
        ("roles", r#"["buyer", "admin"]"#, r#"["admin"]"#),
        ("tenants", r#"["t0", "t1"]"#, r#"["t0"]"#),
        ("credentials", r#"["acme-0", "acme-1"]"#, r#"["acme-0"]"#),
        ("methods", r#"["POST", "GET"]"#, r#"["POST"]"#),
    ] {
        assert_eq!(get(&format!("allow = [{{ {field} = {fits} }}]"), acme(&[])), ALLOWED, "{field}");
        assert_eq!(get(&format!("allow = [{{ {field} = {does_not} }}]"), acme(&[])), CONSUMER, "{field}");
        assert_eq!(get(&format!("deny = [{{ {field} = {fits} }}]"), acme(&[])), CONSUMER, "{field}");
        assert_eq!(get(&format!("deny = [{{ {field} = {does_not} }}]"), acme(&[])), ALLOWED, "{field}");
    }
}

#[test]
fn all_labels_have_to_be_equal() {
    let allow = |labels: &str| get(&format!("allow = [{{ labels = {{ {labels} }} }}]"), acme(&[]));
    assert_eq!(allow("tier = 'gold'"), ALLOWED);
    assert_eq!(allow("tier = 'gold', region = 'eu'"), ALLOWED);
    assert_eq!(allow("tier = 'gold', region = 'us'"), CONSUMER);
    assert_eq!(allow("tier = 'gold', other = 'x'"), CONSUMER);
}

#[test]
fn all_scopes_are_needed() {
    let toml = "allow = [{ scopes = ['read', 'write'] }]";
    assert_eq!(get(toml, acme(&["read", "write", "more"])), ALLOWED);
    assert_eq!(get(toml, acme(&["read"])), SCOPE);
    assert_eq!(get(toml, acme(&[])), SCOPE);
    let toml = "deny = [{ scopes = ['read', 'write'] }]";
    assert_eq!(get(toml, acme(&["write", "read"])), CONSUMER);
    assert_eq!(get(toml, acme(&["write"])), ALLOWED);
}

#[test]
fn fields_hold_together_and_entries_are_alternatives() {
    assert_eq!(get("allow = [{ groups = ['partners'], tenants = ['t2'] }]", acme(&[])), CONSUMER);
    assert_eq!(get("allow = [{ groups = ['partners'], tenants = ['t1'] }]", acme(&[])), ALLOWED);
    assert_eq!(get("allow = [{ tenants = ['t2'] }, { groups = ['partners'] }]", acme(&[])), ALLOWED);
    assert_eq!(get("deny = [{ tenants = ['t2'] }, { groups = ['partners'] }]", acme(&[])), CONSUMER);
    assert_eq!(get("deny = [{ groups = ['partners'], tenants = ['t2'] }]", acme(&[])), ALLOWED);
}

#[test]
fn deny_wins() {
    let toml = "allow = [{ consumers = ['acme'] }]\ndeny = [{ groups = ['eu'] }]";
    assert_eq!(get(toml, acme(&[])), CONSUMER);
    let toml = "allow = [{ consumers = ['acme'] }]\ndeny = [{ groups = ['us'] }]";
    assert_eq!(get(toml, acme(&[])), ALLOWED);
}

#[test]
fn a_missing_scope_is_the_reason_only_where_it_alone_is_missing() {
    let toml = "allow = [{ consumers = ['other'], scopes = ['write'] }]";
    assert_eq!(get(toml, acme(&[])), CONSUMER);
    assert_eq!(get("allow = [{ methods = ['POST'], scopes = ['write'] }]", acme(&[])), CONSUMER);
    let toml = "allow = [{ consumers = ['acme'], scopes = ['write'] }, { consumers = ['other'] }]";
    assert_eq!(get(toml, acme(&[])), SCOPE, "another entry that is about others changes nothing");
    let toml = "allow = [{ scopes = ['write'] }, { consumers = ['acme'] }]";
    assert_eq!(get(toml, acme(&[])), ALLOWED);
}

#[test]
fn an_entry_counts_for_its_methods_and_get_includes_head() {
    let allow = hook("allow = [{ consumers = ['acme'], methods = ['GET'] }]");
    for (method, expected) in [("GET", ALLOWED), ("HEAD", ALLOWED), ("POST", CONSUMER), ("get", CONSUMER)] {
        assert_eq!(outcome(&*allow, method, acme(&[])), expected, "{method}");
    }
    let deny = hook("deny = [{ methods = ['GET'] }]");
    for (method, expected) in [("GET", CONSUMER), ("HEAD", CONSUMER), ("POST", ALLOWED)] {
        assert_eq!(outcome(&*deny, method, acme(&[])), expected, "{method}");
    }
    let head = hook("allow = [{ methods = ['HEAD'] }]");
    assert_eq!(outcome(&*head, "HEAD", acme(&[])), ALLOWED);
    assert_eq!(outcome(&*head, "GET", acme(&[])), CONSUMER, "HEAD does not include GET");
}

#[test]
fn an_identity_without_consumer_fits_no_field_of_consumers() {
    for field in ["consumers = ['acme']", "consumers = ['user-1']", "groups = ['eu']", "labels = { tier = 'gold' }"] {
        assert_eq!(get(&format!("allow = [{{ {field} }}]"), subject(&[])), CONSUMER, "{field}");
        assert_eq!(get(&format!("deny = [{{ {field} }}]"), subject(&[])), ALLOWED, "{field}");
    }
    assert_eq!(get("allow = [{ tenants = ['t1'] }]", subject(&[])), CONSUMER, "no tenant fits no tenant");
    assert_eq!(get("allow = [{ credentials = ['acme-1'] }]", subject(&[])), CONSUMER);
    assert_eq!(get("allow = [{ roles = ['editor'], scopes = ['read'] }]", subject(&["read"])), ALLOWED);
}

#[test]
fn scopes_are_those_of_who_speaks_and_never_a_union() {
    let toml = "allow = [{ scopes = ['read', 'write'] }]";
    assert_eq!(get(toml, both(acme(&["read"]), subject(&["write"]))), SCOPE);
    assert_eq!(get(toml, both(acme(&["x"]), subject(&["read", "write"]))), SCOPE);
    assert_eq!(get(toml, both(subject(&["read", "write"]), acme(&["x"]))), ALLOWED);
    let toml = "deny = [{ scopes = ['read', 'write'] }]";
    assert_eq!(get(toml, both(acme(&["read"]), subject(&["write"]))), ALLOWED);
    assert_eq!(get(toml, both(acme(&[]), subject(&["read", "write"]))), CONSUMER);
}

#[test]
fn names_are_seen_in_every_part() {
    let together = || both(subject(&["read"]), acme(&[]));
    assert_eq!(get("allow = [{ roles = ['buyer'] }]", together()), CONSUMER, "a role of who does not speak");
    assert_eq!(get("deny = [{ roles = ['buyer'] }]", together()), CONSUMER, "keeps out all the same");
    for field in ["roles = ['editor']", "credentials = ['acme-1']", "tenants = ['t1']"] {
        assert_eq!(get(&format!("allow = [{{ {field} }}]"), together()), ALLOWED, "{field}");
        assert_eq!(get(&format!("deny = [{{ {field} }}]"), together()), CONSUMER, "{field}");
    }
    let toml = "allow = [{ groups = ['partners'], scopes = ['read'] }]";
    assert_eq!(get(toml, together()), ALLOWED, "the client from one proof, the scope from the other");
}

#[test]
fn a_restriction_that_makes_no_sense_is_refused_by_field() {
    for (toml, expected) in [
        ("", ": restricts nothing"),
        ("allow = []", "allow: is empty"),
        ("deny = []", "deny: is empty"),
        ("allow = [{}]", "allow[0]: has no field"),
        ("allow = [{ groups = ['a'] }, { groups = [] }]", "allow[1].groups: is empty"),
        ("deny = [{ labels = {} }]", "deny[0].labels: is empty"),
        ("deny = [{ methods = [] }]", "deny[0].methods: is empty"),
        ("deny = [{ scopes = [] }]", "deny[0].scopes: is empty"),
        ("allow = [{ tenants = ['a', ''] }]", "allow[0].tenants: has an empty name"),
        ("allow = [{ methods = ['get'] }]", "allow[0].methods: `get` has to be written in capitals"),
        ("allow = [{ methods = ['G T'] }]", "allow[0].methods: `G T` is not a method"),
        ("allow = [{ scopes = ['read write'] }]", "allow[0].scopes: `read write` is not one scope"),
    ] {
        let problems = problems(toml);
        assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{toml}: {problems:?}");
    }
    assert_eq!(problems("allow = [{ groups = [], roles = [] }, {}]\ndeny = []").len(), 4, "all of it in one run");
}

#[test]
fn unknown_fields_are_refused() {
    for toml in ["alow = []", "allow = [{ group = ['a'] }]"] {
        let error = toml::from_str::<Config>(toml).err().expect("an error").to_string();
        assert!(error.contains("unknown field"), "{toml}: {error}");
    }
}

#[test]
fn judging_a_request_allocates_nothing() {
    let hook = hook(
        "allow = [{ groups = ['us'], scopes = ['read'] }, { consumers = ['acme'], roles = ['buyer'], tenants = ['t1'], \
         credentials = ['acme-1'], labels = { tier = 'gold' }, methods = ['GET'], scopes = ['read'] }]\n\
         deny = [{ labels = { tier = 'none' } }]",
    );
    let mut request = Request::get("/");
    for identity in [acme(&["read"]), acme(&[]), both(subject(&["read"]), acme(&[]))].map(Arc::new) {
        let allocations = allocation_counter::measure(|| {
            assert!(now(hook.admit(&mut request.cx(), &identity)).is_ok());
        });
        assert_eq!(allocations.count_total, 0);
    }
}

#[test]
fn the_log_is_told_which_entry() {
    let hook = hook(
        "allow = [{ groups = ['a'], scopes = ['s'] }, { groups = ['b'] }]
        deny = [{ tenants = ['x'] }, { tenants = ['y'], methods = ['GET'] }]",
    );
    let detail = |identity: Identity| match now(hook.admit(&mut Request::get("/").cx(), &Arc::new(identity))).unwrap() {
        Verdict::Refuse(refusal) => refusal.detail.unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    let of = |group: &str, tenant: &str| Identity {
        consumer: Some(Arc::new(Consumer { groups: strings(&[group]), ..Consumer::default() })),
        tenant: Some(tenant.to_owned()),
        ..Identity::default()
    };
    assert_eq!(detail(of("b", "y")), "deny[1]");
    assert_eq!(detail(of("c", "z")), "no entry of allow");
    assert_eq!(detail(of("a", "z")), "allow[0]");
}

#[test]
fn it_does_what_every_plugin_does() {
    let config = || toml::from_str("allow = [{ consumers = ['acme'], scopes = ['read'] }]").unwrap();
    Conformance::<ConsumerRestriction>::new(config).identity(acme(&["read"])).identity(subject(&["read"])).check();
}
