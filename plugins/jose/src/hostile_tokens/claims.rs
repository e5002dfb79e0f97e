//! Rightly signed tokens that are for somebody else, outside their time, or malformed.

use super::*;

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let now = NOW.0;
    use Reason::{
        AudienceMismatch as Audience, IssuerUnknown as Issuer, TokenExpired as Expired, TokenMalformed as Malformed,
        TokenNotYetValid as Early, TokenTooOld as Old,
    };
    let changes = [
        ("exp is missing", json!({ "exp": null }), Malformed),
        ("exp is text", json!({ "exp": (now + 600).to_string() }), Malformed),
        ("exp is a date in words", json!({ "exp": "2027-01-15T08:10:00Z" }), Malformed),
        ("exp is a truth value", json!({ "exp": true }), Malformed),
        ("exp is a list", json!({ "exp": [now + 600] }), Malformed),
        ("exp is an object", json!({ "exp": { "$date": now + 600 } }), Malformed),
        ("exp is negative", json!({ "exp": -1 }), Malformed),
        ("exp is zero", json!({ "exp": 0, "iat": null, "nbf": null }), Expired),
        ("exp is beyond all clocks", json!({ "exp": 1e300 }), Malformed),
        ("exp is the largest number", json!({ "exp": u64::MAX }), Malformed),
        ("exp is the largest signed number", json!({ "exp": i64::MAX }), Malformed),
        ("exp is in milliseconds", json!({ "exp": (now + 600) * 1000 }), Malformed),
        ("exp is past, leeway and all", json!({ "exp": now - 30 }), Expired),
        ("exp is long past", json!({ "exp": 1_000_000_000, "iat": 999_999_000, "nbf": null }), Expired),
        ("exp is before iat", json!({ "exp": now + 10, "iat": now + 20, "nbf": null }), Expired),
        ("exp is iat", json!({ "exp": now + 10, "iat": now + 10, "nbf": null }), Expired),
        ("exp is before nbf", json!({ "exp": now + 10, "nbf": now + 20 }), Expired),
        ("exp is a fraction that is past", json!({ "exp": (now - 30) as f64 + 0.9 }), Expired),
        ("nbf is to come", json!({ "nbf": now + 31 }), Early),
        ("nbf is a fraction to come", json!({ "nbf": now as f64 + 30.5 }), Early),
        ("nbf is text", json!({ "nbf": "now" }), Malformed),
        ("nbf is a list", json!({ "nbf": [] }), Malformed),
        ("nbf is negative", json!({ "nbf": -1 }), Malformed),
        ("nbf is beyond all clocks", json!({ "nbf": 1e18 }), Malformed),
        ("iat is to come", json!({ "iat": now + 31 }), Early),
        ("iat is text", json!({ "iat": (now - 60).to_string() }), Malformed),
        ("iat is negative", json!({ "iat": -5 }), Malformed),
        ("iat is an object", json!({ "iat": {} }), Malformed),
        ("iat is missing", json!({ "iat": null }), Old),
        ("iat is long ago", json!({ "iat": now - 3631, "nbf": null }), Old),
        ("a long life", json!({ "exp": now + 7200 }), Old),
        ("a life without an end", json!({ "exp": 253_402_300_799_i64 }), Old),
        ("iss is missing", json!({ "iss": null }), Issuer),
        ("iss is empty", json!({ "iss": "" }), Issuer),
        ("iss is another", json!({ "iss": "https://attacker.example" }), Issuer),
        ("iss with a slash", json!({ "iss": "https://auth.example.com/" }), Issuer),
        ("iss in capitals", json!({ "iss": "HTTPS://AUTH.EXAMPLE.COM" }), Issuer),
        ("iss with a space", json!({ "iss": "https://auth.example.com " }), Issuer),
        ("iss with a NUL", json!({ "iss": "https://auth.example.com\0" }), Issuer),
        ("iss that ours is the start of", json!({ "iss": "https://auth.example.com.attacker.example" }), Issuer),
        ("iss with a letter of another alphabet", json!({ "iss": "https://\u{430}uth.example.com" }), Issuer),
        ("iss is a list", json!({ "iss": ["https://auth.example.com"] }), Malformed),
        ("iss is a number", json!({ "iss": 1 }), Malformed),
        ("iss is an object", json!({ "iss": { "https://auth.example.com": 1 } }), Malformed),
        ("aud is missing", json!({ "aud": null }), Audience),
        ("aud is empty", json!({ "aud": "" }), Audience),
        ("aud is an empty list", json!({ "aud": [] }), Audience),
        ("aud is another", json!({ "aud": "shop" }), Audience),
        ("aud is a list of others", json!({ "aud": ["shop", "mail"] }), Audience),
        ("aud in capitals", json!({ "aud": "API" }), Audience),
        ("aud that ours is a part of", json!({ "aud": "api shop" }), Audience),
        ("aud that ours is the start of", json!({ "aud": "api2" }), Audience),
        ("aud is every audience", json!({ "aud": "*" }), Audience),
        ("aud is a number", json!({ "aud": 1 }), Malformed),
        ("aud is an object", json!({ "aud": { "api": true } }), Malformed),
        ("aud is a truth value", json!({ "aud": true }), Malformed),
        ("aud is a list with a number", json!({ "aud": ["api", 1] }), Malformed),
        ("aud is a list of lists", json!({ "aud": [["api"]] }), Malformed),
        ("aud is a list with null", json!({ "aud": ["api", Value::Null] }), Malformed),
        ("sub is a number", json!({ "sub": 1 }), Malformed),
        ("sub is a list", json!({ "sub": ["ann"] }), Malformed),
        ("sub is an object", json!({ "sub": { "$gt": "" } }), Malformed),
        ("sub is a truth value", json!({ "sub": true }), Malformed),
        ("jti is a number", json!({ "jti": 1 }), Malformed),
        ("jti is a list", json!({ "jti": ["1"] }), Malformed),
    ];
    let token = |claims: String| scene.rsa.token(good_header().to_string(), claims);
    let mut cases: Vec<Case> = changes
        .into_iter()
        .map(|(name, change, expected)| case(name, token(changed(good_claims(), &change)), expected))
        .collect();
    for member in ["exp", "nbf", "iat", "iss", "aud", "sub", "jti"] {
        let mut claims = good_claims();
        claims[member] = Value::Null;
        cases.push(case(format!("{member} is null"), token(claims.to_string()), Malformed));
    }
    cases.push(case("no claims but an end", token(json!({ "exp": now + 600 }).to_string()), Issuer));
    cases.push(case("an object without claims", token("{}".to_owned()), Issuer));
    cases
}
