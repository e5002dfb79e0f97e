use portcullis_plugin::Revocation;

use super::*;

#[test]
fn a_revocation_is_heeded_where_the_issuer_is_known_and_versions_are_looked_at() {
    let file = key_file(&jwks(&[&EC]));
    let keys = format!("audience = [\"a\"]\njwks_file = \"{}\"\n", file.path().display());
    let one = |issuer: &str| Revocation::Token { issuer: issuer.to_owned(), jti: "1".to_owned() };
    let version =
        |issuer: &str| Revocation::Version { issuer: issuer.to_owned(), subject: "a".to_owned(), at_least: 2 };
    let known = Scene::new(&format!("issuer = \"{ISSUER}\"\n{keys}"));
    assert!(known.hook.heeds(&one(ISSUER)));
    assert!(
        !known.hook.heeds(&one("https://other.example"))
            && !known.hook.heeds(&one(""))
            && !known.hook.heeds(&version(ISSUER))
    );
    let versioned = Scene::new(&format!("issuer = \"{ISSUER}\"\nversion_claim = \"ver\"\n{keys}"));
    assert!(versioned.hook.heeds(&version(ISSUER)) && !versioned.hook.heeds(&version("https://other.example")));
    let any = Scene::new(&format!("any_issuer = true\n{keys}"));
    assert!(any.hook.heeds(&one("https://other.example")) && any.hook.heeds(&one("")) && !any.hook.heeds(&version("")));
}
