//! Which certificates a policy takes.

use super::*;

#[test]
fn every_rule_that_is_accepted_is_enforced() {
    let root = Ca::root("Root");
    let good = root.client("api.example.com", |sketch| {
        sketch.part("O", "ACME");
        sketch.dns(&["api.example.com"]);
        sketch.uris(&["spiffe://example.org/ns/prod/api"]);
        sketch.emails(&["ops@example.com"]);
    });
    let other = root.client("other", |sketch| {
        sketch.dns(&["other.example.net", "api.example.com.evil.example"]);
        sketch.uris(&["spiffe://example.net/ns/prod/api"]);
        sketch.emails(&["ops@example.net"]);
    });
    let print = hex::encode(sent(&good, &[]).sha256);
    let rules = [
        "subjects = [\"O=ACME,CN=api.example.com\"]".to_owned(),
        "cns = [\"api.example.com\"]".to_owned(),
        "cns = [\"*.example.com\", \"unrelated\"]".to_owned(),
        "dns = [\"api.example.com\"]".to_owned(),
        "dns = [\"*.example.com\"]".to_owned(),
        "uris = [\"spiffe://example.org/ns/prod/api\"]".to_owned(),
        "spiffe = { trust_domains = [\"example.org\"] }".to_owned(),
        "spiffe = { trust_domains = [\"example.org\"], paths = [\"/ns/prod/*\"] }".to_owned(),
        "emails = [\"ops@EXAMPLE.com\"]".to_owned(),
        format!("fingerprints = [\"{print}\"]"),
    ];
    for rule in &rules {
        let scene = Scene::new(rule);
        assert_eq!(scene.over(&good), "spiffe://example.org/ns/prod/api", "{rule}");
        assert_eq!(scene.over(&other), "403 certificate_not_allowed", "{rule}");
        assert_eq!(scene.over(&client(|_| {})), "403 certificate_not_allowed", "{rule}");
        assert_eq!(scene.outcome(Request::get("/")), "absent", "{rule}");
    }
    let issuers = Scene::new("issuers = [\"CN=Root\"]");
    assert_eq!(issuers.over(&good), "spiffe://example.org/ns/prod/api");
    assert_eq!(issuers.over(&Ca::root("Else").client("api.example.com", |_| {})), "403 certificate_not_allowed");
    let strict = Scene::new("require_purpose = true");
    assert_eq!(strict.over(&root.issue("unsaid", |_| {})), "certificate_wrong_purpose");
    assert_eq!(Scene::new("").over(&root.issue("unsaid", |_| {})), "unsaid");
    assert_eq!(Scene::new("consumer = \"required\"").over(&good), "403 consumer_unknown");
}

#[test]
fn rules_hold_together() {
    let scene = Scene::new("cns = [\"alice\", \"bob\"]\nissuers = [\"CN=Root\"]");
    assert_eq!(scene.over(&client(|_| {})), "alice");
    assert_eq!(scene.over(&Ca::root("Root").client("bob", |_| {})), "bob");
    assert_eq!(scene.over(&Ca::root("Root").client("carol", |_| {})), "403 certificate_not_allowed");
    assert_eq!(scene.over(&Ca::root("Other").client("alice", |_| {})), "403 certificate_not_allowed");
}

#[test]
fn of_several_uris_none_is_a_spiffe_id() {
    let scene = Scene::new("spiffe = { trust_domains = [\"example.org\"] }");
    let two = client(|sketch| sketch.uris(&["spiffe://example.org/a", "spiffe://example.org/b"]));
    assert_eq!(scene.over(&two), "403 certificate_not_allowed");
}

#[test]
fn the_policys_own_cas_are_fewer_than_the_listeners() {
    let (ours, listeners) = (Ca::root("Ours"), Ca::root("Listener's"));
    let sub = ours.below("Sub", |_| {});
    let ca = file(ours.pem());
    let scene = Scene::new(&format!("ca = \"{}\"", ca.path().display()));
    assert_eq!(scene.over(&ours.client("alice", |_| {})), "alice");
    assert_eq!(scene.over(&listeners.client("bob", |_| {})), "certificate_unknown_ca");
    let below = sub.client("carol", |_| {});
    assert_eq!(scene.over(&below), "certificate_unknown_ca", "not remembered as bad");
    assert_eq!(scene.outcome(over(sent(&below, &[&sub]))), "carol");
    // The chain was good once, and nothing about it has changed since.
    assert_eq!(scene.over(&below), "carol");
    let shallow = Scene::new(&format!("ca = \"{}\"\nmax_chain_depth = 0", ca.path().display()));
    assert_eq!(shallow.outcome(over(sent(&below, &[&sub]))), "certificate_chain_too_long");
}

#[test]
fn the_policys_own_crl_is_looked_at() {
    let root = Ca::root("Root");
    let (good, bad) = (root.client("good", |_| {}), root.client("bad", |_| {}));
    let (ca, crl) = (file(root.pem()), file(root.crl_pem(&[&bad.certificate], |_| {})));
    let files = format!("ca = [\"{}\"]\ncrl = [\"{}\"]\n", ca.path().display(), crl.path().display());
    for policy in ["", "crl_policy = \"required\"", "crl_policy = \"if-present\""] {
        let scene = Scene::new(&format!("{files}{policy}"));
        assert_eq!(scene.over(&good), "good");
        assert_eq!(scene.over(&bad), "certificate_revoked");
        assert_eq!(scene.over(&bad), "certificate_revoked");
    }
    let sub = root.below("Sub", |_| {});
    let below = over(sent(&sub.client("below", |_| {}), &[&sub]));
    let required = Scene::new(&format!("{files}crl_policy = \"required\""));
    assert_eq!(required.outcome(below), "certificate_revocation_unknown");
}
