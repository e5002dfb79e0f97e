//! Tests of settings that are refused.

use super::*;

#[test]
fn a_header_without_a_ca_is_an_error() {
    let from = "from_header = { header = \"client-cert\", networks = [\"10.0.0.0/8\"] }";
    assert_eq!(problems(from), ["ca: is missing: with `from_header` the certificate is verified here"]);
}

#[test]
fn a_header_that_anybody_can_send_is_an_error() {
    let ca = file(Ca::root("Root").pem());
    let with = |from: &str| problems(&format!("ca = \"{}\"\nfrom_header = {from}", ca.path().display()));
    let everywhere = with("{ header = \"client-cert\", networks = [\"0.0.0.0/0\"] }");
    assert!(everywhere[0].starts_with("from_header.networks: names the whole world"), "{everywhere:?}");
    assert!(with("{ header = \"client-cert\", networks = [\"::/0\"] }")[0].starts_with("from_header.networks"));
    assert!(with("{ header = \"client-cert\", networks = [] }")[0].starts_with("from_header.networks: is empty"));
    assert!(with("{ header = \"host\", networks = [\"10.0.0.0/8\"] }")[0].starts_with("from_header.header"));
    assert!(with("{ header = \"a b\", networks = [\"10.0.0.0/8\"] }")[0].starts_with("from_header.header"));
    let same = with("{ header = \"client-cert\", chain = \"Client-Cert\", networks = [\"10.0.0.0/8\"] }");
    assert!(same[0].starts_with("from_header.chain"), "{same:?}");
}

#[test]
fn a_setting_without_effect_is_an_error() {
    assert!(problems("crl = \"x\"").iter().any(|problem| problem.starts_with("crl: goes with `ca`")));
    assert!(problems("crl_policy = \"required\"")[0].starts_with("crl_policy: goes with `ca`"));
    assert!(problems("max_chain_depth = 3")[0].starts_with("max_chain_depth: goes with `ca`"));
    let lists = ["subjects", "cns", "dns", "uris", "emails", "fingerprints", "issuers", "ca"];
    for field in lists {
        assert!(problems(&format!("{field} = []"))[0].starts_with(&format!("{field}: is empty")), "{field}");
    }
    assert!(problems("spiffe = { trust_domains = [] }")[0].starts_with("spiffe.trust_domains: is empty"));
    assert!(problems("spiffe = { trust_domains = [\"a\"], paths = [] }")[0].starts_with("spiffe.paths: is empty"));
    assert_eq!(problems("headers = [\"client-cert\", \"client-cert\"]"), ["headers: names one twice"]);
    assert!(problems("max_cached_certificates = 10000000")[0].starts_with("max_cached_certificates: is more than"));
    let ca = file(Ca::root("Root").pem());
    let required = problems(&format!("ca = \"{}\"\ncrl_policy = \"required\"", ca.path().display()));
    assert!(required[0].starts_with("crl: is missing"), "{required:?}");
    for odd in ["headers = [\"x-other\"]", "consumer = \"maybe\"", "unknown = 1", "cns = [\"adm*\"]", "ca = 1"] {
        assert!(toml::from_str::<Config>(odd).is_err(), "{odd}");
    }
}

#[test]
fn a_name_that_can_never_fit_is_an_error_at_its_place_in_the_list() {
    for (field, good, odd, words) in [
        ("uris", "spiffe://example.org/a", "spiffe://example.org/*", "`spiffe.paths`"),
        ("subjects", "CN=fpc,O=ACME", "O = ACME, CN = fpc", "has spaces around `=`"),
        ("issuers", "CN=Root", "O=ACME, CN=Root", "`openssl x509 -noout -subject -nameopt RFC2253`"),
        ("dns", "a.example.com", "a.*.example.com", "is not a host name"),
        ("cns", "alice", "ali*", "has a `*`"),
        ("emails", "a@example.com", "alice", "is not an e-mail address"),
    ] {
        let toml = format!("{field} = [\"{good}\", \"{odd}\"]");
        let error = toml::from_str::<Config>(&toml).err().unwrap_or_else(|| panic!("{toml}: no problem"));
        // The engine tells the place by it: `subjects[1]`.
        assert_eq!(error.span().map(|span| &toml[span]), Some(format!("\"{odd}\"").as_str()), "{error}");
        let said = error.message();
        assert!(said.starts_with(&format!("`{odd}` ")) && said.contains(words), "{toml}: {said}");
    }
    let long = format!("cns = [\"{}*\"]", "x".repeat(5000));
    assert!(toml::from_str::<Config>(&long).err().unwrap().message().len() < 300);
}

#[test]
fn problems_of_files_are_reported_at_their_field() {
    let root = Ca::root("Root");
    let leaf = root.client("alice", |_| {});
    let (good, no_ca, junk) = (file(root.pem()), file(leaf.pem()), file("junk"));
    let with =
        |ca: &tempfile::NamedTempFile, more: &str| problems(&format!("ca = \"{}\"\n{more}", ca.path().display()));
    assert!(with(&no_ca, "")[0].starts_with("ca: certificate 1 (CN=alice) is not a CA's"));
    assert!(with(&junk, "")[0].starts_with("ca: holds no certificate"));
    assert!(problems("ca = [\"/no/such/file\"]")[0].starts_with("ca[0]: "));
    let crl = |content: Vec<u8>| {
        let crl = file(content);
        with(&good, &format!("crl = [\"{}\"]", crl.path().display())).remove(0)
    };
    assert!(crl(b"junk".to_vec()).starts_with("crl[0]: is not a CRL"));
    let stale = root.crl_pem(&[], |sketch| sketch.next_update = Some(1_700_000_001));
    assert!(crl(stale).starts_with("crl: the CRL of CN=Root has expired: Nov 14 22:13:21 2023 GMT"));
    assert!(crl(Ca::root("Root").crl_pem(&[], |_| {})).starts_with("crl: CRL 1 is not signed by any of these CAs"));
    let ended = Ca::root_with("Ended", |sketch| sketch.not_after = 1_700_000_001);
    assert!(with(&file(ended.pem()), "")[0].starts_with("ca: no CA is valid now: the certificate of CN=Ended"));
}
