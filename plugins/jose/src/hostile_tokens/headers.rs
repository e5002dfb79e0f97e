//! Cases of headers with more than the algorithm in them, rightly signed unless a case says otherwise.

use super::*;

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = signed(scene);
    cases.extend(brought_keys(scene));
    cases
}

fn signed(scene: &Scene) -> Vec<Case> {
    use Reason::{SigningKeyUnknown as Unknown, TokenMalformed as Malformed, TokenTypeMismatch as Type};
    let changes = [
        ("alg is missing", json!({ "alg": null }), Malformed),
        ("alg is a number", json!({ "alg": 256 }), Malformed),
        ("alg is a list", json!({ "alg": ["RS256"] }), Malformed),
        ("alg is an object", json!({ "alg": { "name": "RS256" } }), Malformed),
        ("alg is a truth value", json!({ "alg": true }), Malformed),
        ("kid is a number", json!({ "kid": 1 }), Malformed),
        ("kid is a list", json!({ "kid": ["rsa"] }), Malformed),
        ("kid is an object", json!({ "kid": { "$ne": "" } }), Malformed),
        ("typ is a number", json!({ "typ": 1 }), Malformed),
        ("typ is a list", json!({ "typ": ["at+jwt"] }), Malformed),
        ("typ is missing", json!({ "typ": null }), Type),
        ("typ is that of an ID token", json!({ "typ": "JWT" }), Type),
        ("typ is that of a logout token", json!({ "typ": "logout+jwt" }), Type),
        ("typ is empty", json!({ "typ": "" }), Type),
        (
            "crit names an extension",
            json!({ "crit": ["https://example.com/ext"], "https://example.com/ext": 1 }),
            Malformed,
        ),
        ("crit names a claim", json!({ "crit": ["exp"], "exp": 1 }), Malformed),
        ("crit is empty", json!({ "crit": [] }), Malformed),
        ("crit is text", json!({ "crit": "exp" }), Malformed),
        ("crit with b64", json!({ "crit": ["b64"], "b64": false }), Malformed),
        ("b64 is false", json!({ "b64": false }), Malformed),
        ("b64 is true", json!({ "b64": true }), Malformed),
        ("zip", json!({ "zip": "DEF" }), Malformed),
        ("jwk is the very key", json!({ "jwk": scene.rsa.bare_jwk() }), Malformed),
        ("kid is unknown", json!({ "kid": "other" }), Unknown),
        ("kid in another case", json!({ "kid": "RSA" }), Unknown),
        ("kid is empty", json!({ "kid": "" }), Unknown),
        ("kid is a path", json!({ "kid": "../../../../dev/null" }), Unknown),
        ("kid is a query", json!({ "kid": "x' UNION SELECT 'secret'--" }), Unknown),
        ("kid is a command", json!({ "kid": "|/bin/sh -c id" }), Unknown),
        ("kid is an address", json!({ "kid": "https://attacker.example/key" }), Unknown),
        ("kid with a NUL after it", json!({ "kid": "rsa\0" }), Unknown),
        ("kid with a space after it", json!({ "kid": "rsa " }), Unknown),
        ("kid is long", json!({ "kid": "k".repeat(8000) }), Unknown),
    ];
    let token = |change: &Value| scene.rsa.token(changed(good_header(), change), good_claims().to_string());
    let mut cases: Vec<Case> =
        changes.into_iter().map(|(name, change, expected)| case(name, token(&change), expected)).collect();
    for (name, member) in [("alg is null", "alg"), ("kid is null", "kid"), ("typ is null", "typ")] {
        let header = good_header().to_string();
        let mut header: Value = serde_json::from_str(&header).unwrap();
        header[member] = Value::Null;
        cases.push(case(name, scene.rsa.token(header.to_string(), good_claims().to_string()), Malformed));
    }
    cases
}

/// Tokens of an attacker who brings a key along, or says where it is (CVE-2018-0114).
fn brought_keys(scene: &Scene) -> Vec<Case> {
    let attacker = Signer::other(Algorithm::Rs256);
    let certificate = base64url("a certificate of the attacker");
    let place = "https://attacker.example/jwks";
    let brought = [
        ("jku", json!({ "jku": place })),
        ("x5u", json!({ "x5u": place })),
        ("x5c", json!({ "x5c": [certificate] })),
        ("x5t", json!({ "x5t": certificate })),
        ("jku on this machine", json!({ "jku": "http://127.0.0.1/jwks" })),
        ("jku that is a file", json!({ "jku": "file:///etc/passwd" })),
    ];
    let mut cases = Vec::new();
    for (name, member) in brought {
        for (kid, expected) in [("rsa", Reason::SignatureInvalid), ("attacker", Reason::SigningKeyUnknown)] {
            let header = changed(changed(good_header(), &member).parse().unwrap(), &json!({ "kid": kid }));
            let token = attacker.token(header, good_claims().to_string());
            cases.push(case(format!("the attacker's key by {name}, kid {kid}"), token, expected));
        }
    }
    let header = changed(good_header(), &json!({ "jwk": attacker.bare_jwk() }));
    cases.push(case(
        "the attacker's key by jwk",
        attacker.token(header, good_claims().to_string()),
        Reason::TokenMalformed,
    ));
    let header = changed(good_header(), &json!({ "jwk": { "kty": "oct", "k": "" }, "alg": "HS256" }));
    cases.push(case(
        "a secret by jwk",
        Signer::new(Algorithm::Hs256).token(header, good_claims().to_string()),
        Reason::TokenMalformed,
    ));
    let header = changed(good_header(), &json!({ "kid": null }));
    cases.push(case(
        "the attacker's key, without kid",
        attacker.token(header, good_claims().to_string()),
        Reason::SignatureInvalid,
    ));
    let unsigned = scene.ed.token(changed(good_header(), &json!({ "alg": "EdDSA", "kid": null })), "{}");
    cases.push(case("rightly signed and empty", unsigned, Reason::IssuerUnknown));
    cases
}
