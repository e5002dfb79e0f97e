//! What a key set may be (pitfall 72).

use super::*;

fn jwk(json: &str) -> Result<KeySet, KeySetError> {
    KeySet::from_published_jwks(format!(r#"{{"keys":[{json}]}}"#).as_bytes())
}

/// A good key, with members changed or, where they are null, taken out.
fn with(algorithm: Algorithm, change: &Value) -> Value {
    let mut jwk = Signer::new(algorithm).jwk("k");
    for (member, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(member)),
            value => jwk[member] = value.clone(),
        }
    }
    jwk
}

/// How many keys are left of this one.
fn count(jwk: Value) -> Result<usize, String> {
    let keys = KeySet::from_published_jwks(&jwks(&[jwk]));
    keys.map(|keys| keys.keys().len()).map_err(|error| error.to_string())
}

use Algorithm::{EdDsa, Es256, Es384, Es512, Rs256};

#[test]
fn pitfall_72_keys_for_something_else_are_passed_over() {
    for (algorithm, change) in [
        (Rs256, json!({ "use": "enc" })),
        (Rs256, json!({ "use": "whatever" })),
        (Rs256, json!({ "alg": "RSA-OAEP" })),
        (Rs256, json!({ "alg": "RS1" })),
        (Rs256, json!({ "key_ops": ["encrypt"] })),
        (Rs256, json!({ "key_ops": ["sign"] })),
        (Rs256, json!({ "key_ops": [] })),
        (Rs256, json!({ "use": "enc", "key_ops": ["wrapKey"] })),
        (Rs256, json!({ "kty": "AKP" })),
        (Rs256, json!({ "kty": "rsa" })),
        (Es256, json!({ "crv": "secp256k1" })),
        (Es256, json!({ "crv": "P-256K" })),
        (Es256, json!({ "alg": "ECDH-ES" })),
        (EdDsa, json!({ "crv": "X25519" })),
        (EdDsa, json!({ "crv": "Ed448" })),
    ] {
        assert_eq!(count(with(algorithm, &change)), Ok(0), "{change}");
    }
}

#[test]
fn pitfall_72_keys_for_verifying_are_taken() {
    for (algorithm, change) in [
        (Rs256, json!({})),
        (Rs256, json!({ "use": "sig" })),
        (Rs256, json!({ "use": "sig", "key_ops": ["verify"], "alg": "RS512" })),
        (Rs256, json!({ "kid": null })),
        (Rs256, json!({ "x5c": ["nonsense"], "x5t": 1, "x5u": "http://127.0.0.1/", "ext": true })),
        (Es256, json!({ "alg": "ES256" })),
        (Es384, json!({ "key_ops": ["verify", "encrypt"] })),
        (Es512, json!({ "alg": "ES512" })),
        (EdDsa, json!({ "alg": "Ed25519" })),
    ] {
        assert_eq!(count(with(algorithm, &change)), Ok(1), "{change}");
    }
}

#[test]
fn pitfall_72_what_is_wrong_with_one_key_refuses_the_set() {
    let off_curve = base64url([7; 32]);
    for (algorithm, change, words) in [
        (Rs256, json!({ "kty": null }), "has no `kty`"),
        (Rs256, json!({ "kty": 1 }), "has no `kty`"),
        (Rs256, json!({ "kid": 1 }), "has no `kid`"),
        (Rs256, json!({ "use": 1 }), "has no `use`"),
        (Rs256, json!({ "alg": ["RS256"] }), "has no `alg`"),
        (Rs256, json!({ "alg": "ES256" }), "is not a key for ES256"),
        (Rs256, json!({ "alg": "HS256" }), "is not a key for HS256"),
        (Rs256, json!({ "key_ops": "verify" }), "has no `key_ops`"),
        (Rs256, json!({ "key_ops": [1] }), "has no `key_ops`"),
        (Rs256, json!({ "key_ops": ["verify", "verify"] }), "contradict"),
        (Rs256, json!({ "use": "sig", "key_ops": ["encrypt"] }), "contradict"),
        (Rs256, json!({ "use": "sig", "key_ops": ["verify", "encrypt"] }), "contradict"),
        (Rs256, json!({ "use": "enc", "key_ops": ["verify"] }), "contradict"),
        (Rs256, json!({ "n": null }), "has no `n`"),
        (Rs256, json!({ "n": "" }), "has no `n`"),
        (Rs256, json!({ "n": "+/+/" }), "has no `n`"),
        (Rs256, json!({ "n": base64url([&[0][..], &[255; 256]].concat()) }), "has no `n`"),
        (Rs256, json!({ "e": null }), "has no `e`"),
        (Rs256, json!({ "e": base64url([1]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([2]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([1, 0, 0]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([255; 5]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([0, 1, 0, 1]) }), "has no `e`"),
        (Es256, json!({ "crv": null }), "has no `crv`"),
        (Es256, json!({ "crv": "P-384" }), "has no `x`"),
        (Es256, json!({ "x": null }), "has no `x`"),
        (Es256, json!({ "y": null }), "has no `y`"),
        (Es256, json!({ "y": off_curve }), "is not a valid key"),
        (Es256, json!({ "x": base64url([0; 32]), "y": base64url([0; 32]) }), "is not a valid key"),
        (Es256, json!({ "x": base64url([7; 31]) }), "has no `x`"),
        (Es256, json!({ "x": base64url([7; 33]) }), "has no `x`"),
        (Es256, json!({ "alg": "ES384" }), "is not a key for ES384"),
        (Es256, json!({ "alg": "EdDSA" }), "is not a key for EdDSA"),
        (EdDsa, json!({ "x": base64url([7; 31]) }), "has no `x`"),
        (EdDsa, json!({ "x": "="  }), "has no `x`"),
        (EdDsa, json!({ "crv": null }), "has no `crv`"),
        (EdDsa, json!({ "alg": "ES256" }), "is not a key for ES256"),
    ] {
        let error = count(with(algorithm, &change)).unwrap_err();
        assert!(error.contains(words), "{change}: {error}");
    }
}

#[test]
fn private_keys_refuse_the_set() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for algorithm in [Rs256, Es256, EdDsa] {
            for change in [json!({ member: "AQAB" }), json!({ member: "AQAB", "use": "enc" })] {
                let error = count(with(algorithm, &change)).unwrap_err();
                assert!(error.contains(&format!("the private member `{member}`")), "{error}");
            }
        }
    }
}

#[test]
fn pitfall_25_rsa_keys_have_at_least_2048_bits() {
    let of = |bytes: usize, first: u8| {
        let mut n = vec![255; bytes];
        n[0] = first;
        count(with(Rs256, &json!({ "n": base64url(n) })))
    };
    assert!(of(128, 255).unwrap_err().contains("of 1024 bits: at least 2048"));
    assert!(of(256, 127).unwrap_err().contains("of 2047 bits: at least 2048"));
    assert_eq!(of(256, 128), Ok(1));
    assert_eq!(of(1024, 255), Ok(1));
    assert!(of(1025, 1).unwrap_err().contains("of 8193 bits: at most 8192"));
    assert!(of(100_000, 1).unwrap_err().contains("at most 8192"));
}

#[test]
fn pitfall_72_keys_of_one_type_and_kid_refuse_the_set() {
    let [one, two] = [0; 2].map(|_| Signer::new(Es256).jwk("k"));
    let of = |keys: &[Value]| KeySet::from_published_jwks(&jwks(keys)).map(|keys| keys.keys().len());
    assert_eq!(of(&[one.clone(), two]), Err(KeySetError::Double("the key `k`".to_owned())));
    assert_eq!(of(&[one.clone(), one.clone()]), Err(KeySetError::Double("the key `k`".to_owned())));
    // RFC 7517 section 4.5: of different types, they may be alternatives.
    assert_eq!(of(&[one.clone(), Signer::new(Rs256).jwk("k")]), Ok(2));
    let bare = Signer::new(Es256).bare_jwk();
    assert!(matches!(of(&[bare.clone(), bare]), Err(KeySetError::Double(_))));
    let mut other_use = Signer::new(Es256).jwk("k");
    other_use["use"] = "enc".into();
    assert_eq!(of(&[one, other_use]), Ok(1), "passed over before they are compared");
}

#[test]
fn pitfall_72_secrets_are_neither_published_nor_beside_public_keys() {
    let secret = Signer::new(Algorithm::Hs256).jwk("s");
    let public = Signer::new(Es256).jwk("p");
    let published = KeySet::from_published_jwks(&jwks(std::slice::from_ref(&secret))).unwrap_err();
    assert!(published.to_string().contains("a secret (`oct`) that was published"), "{published}");
    let mixed = [public, secret.clone()];
    assert!(KeySet::from_published_jwks(&jwks(&mixed)).is_err());
    assert_eq!(KeySet::from_jwks(&jwks(&mixed)).unwrap_err(), KeySetError::Mixed);
    assert!(KeySet::from_jwks(&jwks(&[secret])).unwrap().is_symmetric());
}

#[test]
fn secrets_in_a_file_say_what_they_are_for() {
    let of =
        |change: &Value| KeySet::from_jwks(&jwks(&[with(Algorithm::Hs256, change)])).map_err(|error| error.to_string());
    assert!(of(&json!({ "use": "sig", "key_ops": ["sign", "verify"] })).is_ok());
    for (change, words) in [
        (json!({ "alg": null }), "a secret without `alg`"),
        (json!({ "alg": "RS256" }), "RS256 takes no secret"),
        (json!({ "k": null }), "has no `k`"),
        (json!({ "k": "" }), "a secret of 0 bytes"),
        (json!({ "k": base64url([7; 31]) }), "a secret of 31 bytes: HS256 takes at least 32"),
        (json!({ "alg": "A256KW" }), "has no key that can verify a signature"),
    ] {
        let error = of(&change).unwrap_err();
        assert!(error.contains(words), "{change}: {error}");
    }
}

#[test]
fn a_set_is_an_object_with_a_list_of_objects() {
    for (text, words) in [
        ("", "is not a key set"),
        ("[]", "is not an object"),
        ("null", "is not an object"),
        ("{}", "`keys` is not a list"),
        (r#"{"keys":{}}"#, "`keys` is not a list"),
        (r#"{"keys":[[]]}"#, "`keys` is not a list"),
        (r#"{"keys":["a"]}"#, "`keys` is not a list"),
        (r#"{"keys":[],"keys":[]}"#, "has a member twice"),
        (r#"{"keys":[{"kty":"EC","kty":"RSA"}]}"#, "has a member twice"),
        (r#"{"keys":[{}]}"#, "keys[0] has no `kty`"),
        ("<html>", "is not a key set"),
    ] {
        let error = KeySet::from_published_jwks(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let deep = format!(r#"{{"keys":[{{"kty":"x","a":{}}}]}}"#, "[".repeat(100_000));
    assert!(KeySet::from_published_jwks(deep.as_bytes()).unwrap_err().to_string().contains("nested too deep"));
}

#[test]
fn an_issuer_may_withdraw_all_its_keys_and_a_file_is_not_empty() {
    assert_eq!(jwk("").map(|keys| keys.keys().len()), Ok(0));
    assert_eq!(KeySet::from_jwks(br#"{"keys":[]}"#).unwrap_err(), KeySetError::Empty);
    let withdrawn = jwk("").unwrap();
    let token = Signer::new(Es256).token_of(None, CLAIMS);
    assert_eq!(verdict(&withdrawn, &token, &[Es256]), Err(Unverified::KeyUnknown));
}

#[test]
fn a_set_has_a_limited_number_of_keys() {
    let of = |count: usize| {
        let keys: Vec<_> = (0..count).map(|index| Signer::new(EdDsa).jwk(&index.to_string())).collect();
        KeySet::from_published_jwks(&jwks(&keys)).map(|keys| keys.keys().len())
    };
    assert_eq!(of(MAX_KEYS), Ok(MAX_KEYS));
    assert_eq!(of(MAX_KEYS + 1), Err(KeySetError::TooManyKeys));
}

#[test]
fn errors_show_the_start_of_a_kid_and_nothing_that_moves_a_cursor() {
    let error = jwk(&json!({ "kty": "RSA", "kid": format!("\u{1b}[2J\n{}", "x".repeat(10_000)) }).to_string());
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(r"the key `\u{1b}[2J\nxxx") && error.len() < 200, "{error}");
}

#[test]
fn sets_merge_into_one_that_is_judged_whole() {
    let set = |signer: &Signer, kid| KeySet::from_jwks(&jwks(&[signer.jwk(kid)])).unwrap();
    let [one, two] = [0; 2].map(|_| Signer::new(Es256));
    let merged = KeySet::merge([set(&one, "1"), set(&two, "2")]).unwrap();
    assert_eq!(verdict(&merged, &two.token_of(Some("2"), CLAIMS), &[Es256]), Ok(()));
    assert!(matches!(KeySet::merge([set(&one, "1"), set(&two, "1")]), Err(KeySetError::Double(_))));
    assert!(matches!(KeySet::merge([set(&one, "1"), secrets(Algorithm::Hs256)]), Err(KeySetError::Mixed)));
    assert!(matches!(KeySet::merge([]), Err(KeySetError::Empty)));
}

#[test]
fn no_key_set_panics() {
    bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
        let _ = KeySet::from_jwks(bytes);
        let _ = KeySet::from_published_jwks(bytes);
        let _ = KeySet::from_pem(bytes, None);
    });
}

/// Random bytes hardly ever come close to a key; these choose among members and values that do.
#[test]
fn what_comes_close_to_a_key_set_does_not_panic() {
    const MEMBERS: [&str; 12] = ["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y", "k", "key_ops", "d"];
    const VALUES: [&str; 12] = [
        "\"RSA\"",
        "\"EC\"",
        "\"OKP\"",
        "\"oct\"",
        "\"P-256\"",
        "\"Ed25519\"",
        "\"AQAB\"",
        "\"sig\"",
        "[\"verify\"]",
        "\"HS256\"",
        "null",
        "\"\"",
    ];
    let long = format!("\"{}\"", base64url([255; 256]));
    bolero::check!().with_type::<Vec<(u8, u8)>>().for_each(|choices| {
        let members = choices.iter().map(|(member, value)| {
            let value = VALUES.get(usize::from(*value) % (VALUES.len() + 1)).copied().unwrap_or(&long);
            format!("\"{}\":{value}", MEMBERS[usize::from(*member) % MEMBERS.len()])
        });
        let text = format!(r#"{{"keys":[{{{}}}]}}"#, members.collect::<Vec<_>>().join(","));
        let _ = KeySet::from_jwks(text.as_bytes());
        let _ = KeySet::from_published_jwks(text.as_bytes());
    });
}
