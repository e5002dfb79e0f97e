//! Tests of key sets, in a file and published.

use super::*;

/// Reads a published set of one key.
fn published(keys: &[Value]) -> PublishedKeys {
    PublishedKeys::from_jwks(&jwks(keys)).unwrap()
}

/// The messages about keys that are skipped, and the `kid`s of those that count.
fn outcome(keys: &[Value]) -> (Vec<String>, Vec<String>) {
    let read = published(keys);
    let kids = read.keys.keys().iter().map(|key| key.kid().unwrap_or("-").to_owned());
    (read.skipped.iter().map(ToString::to_string).collect(), kids.collect())
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

/// The number of keys that are left of this one, or the reason why it was skipped. A file with it is refused for the
/// same reason.
fn count(jwk: Value) -> Result<usize, String> {
    let file = KeySet::from_jwks(&jwks(std::slice::from_ref(&jwk)));
    let read = published(&[jwk]);
    match read.skipped.first() {
        None => Ok(read.keys.keys().len()),
        Some(skipped) => {
            assert_eq!(file.unwrap_err().to_string(), skipped.to_string());
            Err(skipped.to_string())
        }
    }
}

use Algorithm::{EdDsa, Es256, Es384, Es512, Rs256};

#[test]
fn keys_for_something_else_are_passed_over() {
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
fn keys_for_verifying_are_taken() {
    let rsa = openssl_modulus();
    let [x, y] = small_coordinates();
    for (algorithm, change) in [
        (Rs256, json!({})),
        (Rs256, json!({ "use": "sig" })),
        (Rs256, json!({ "use": "sig", "key_ops": ["verify"], "alg": "RS512" })),
        (Rs256, json!({ "kid": null })),
        (Rs256, json!({ "x5c": ["nonsense"], "x5t": 1, "x5u": "http://127.0.0.1/", "ext": true })),
        // Microsoft Entra ID, Google, Okta: members that are none of ours.
        (
            Rs256,
            json!({ "x5t": "x5t", "x5c": ["MIIC"], "issuer": "https://login.example.com/", "cloud_instance_name": "a" }),
        ),
        // A member that is null is absent.
        (Rs256, json!({ "d": Value::Null, "use": null, "alg": null, "key_ops": null, "oth": null })),
        // Firebase App Check, Cloud Foundry UAA and Jenkins write the sign byte of Java's BigInteger.
        (Rs256, json!({ "n": base64url([&[0][..], &rsa].concat()) })),
        (Rs256, json!({ "e": base64url([0, 0, 1, 0, 1]) })),
        (Rs256, json!({ "n": format!("{}==", base64url(&rsa)), "e": "AQAB====" })),
        (Es256, json!({ "x": base64url(&x[1..]), "y": base64url([&[0][..], &y].concat()) })),
        (Es256, json!({ "alg": "ES256" })),
        (Es384, json!({ "key_ops": ["verify", "encrypt"] })),
        (Es512, json!({ "alg": "ES512" })),
        (EdDsa, json!({ "alg": "Ed25519" })),
    ] {
        assert_eq!(count(with(algorithm, &change)), Ok(1), "{change}");
    }
}

/// The modulus of the RSA signer.
fn openssl_modulus() -> Vec<u8> {
    Signer::new(Rs256).public().rsa().unwrap().n().to_vec()
}

/// A point of P-256 whose first coordinate begins with a zero byte.
fn small_coordinates() -> [Vec<u8>; 2] {
    let decoded = |jwk: &Value, member: &str| base64url_decoded(jwk[member].as_str().unwrap());
    let mut signers = std::iter::repeat_with(|| Signer::new(Es256).bare_jwk());
    let jwk = signers.find(|jwk| decoded(jwk, "x")[0] == 0).unwrap();
    ["x", "y"].map(|member| decoded(&jwk, member))
}

#[test]
fn a_number_is_the_same_with_zeros_before_it() {
    let [x, y] = small_coordinates();
    let plain = with(Es256, &json!({ "x": base64url(&x), "y": base64url(&y) }));
    let odd = with(Es256, &json!({ "x": base64url(&x[1..]), "y": base64url([&[0, 0][..], &y].concat()) }));
    let padded = with(Rs256, &json!({ "n": base64url([&[0][..], &openssl_modulus()].concat()) }));
    for (one, two) in [(plain, odd), (Signer::new(Rs256).jwk("k"), padded)] {
        let [one, two] = [one, two].map(|jwk| published(&[jwk]).keys.keys()[0].id());
        assert!(one == two);
    }
}

#[test]
fn a_key_that_cannot_be_used_is_skipped_and_told_of() {
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
        (Rs256, json!({ "n": base64url([0; 256]) }), "has no `n`"),
        (Rs256, json!({ "e": null }), "has no `e`"),
        (Rs256, json!({ "e": base64url([1]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([2]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([1, 0, 0]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([255; 5]) }), "unsafe exponent"),
        (Rs256, json!({ "e": base64url([0]) }), "has no `e`"),
        (Rs256, json!({ "e": base64url([0, 1]) }), "unsafe exponent"),
        (Es256, json!({ "crv": null }), "has no `crv`"),
        (Es256, json!({ "crv": "P-384" }), "is not a valid key"),
        (Es384, json!({ "crv": "P-256" }), "has no `x`"),
        (Es256, json!({ "x": null }), "has no `x`"),
        (Es256, json!({ "y": null }), "has no `y`"),
        (Es256, json!({ "y": off_curve }), "is not a valid key"),
        (Es256, json!({ "x": base64url([0; 32]), "y": base64url([0; 32]) }), "has no `x`"),
        (Es256, json!({ "x": base64url([7; 31]) }), "is not a valid key"),
        (Es256, json!({ "x": base64url([7; 33]) }), "has no `x`"),
        (Es256, json!({ "alg": "ES384" }), "is not a key for ES384"),
        (Es256, json!({ "alg": "EdDSA" }), "is not a key for EdDSA"),
        (EdDsa, json!({ "x": base64url([7; 31]) }), "has no `x`"),
        (EdDsa, json!({ "x": "="  }), "has no `x`"),
        (EdDsa, json!({ "crv": null }), "has no `crv`"),
        (EdDsa, json!({ "alg": "ES256" }), "is not a key for ES256"),
    ] {
        let wrong = with(algorithm, &change);
        let error = count(wrong.clone()).unwrap_err();
        assert!(error.contains(words), "{change}: {error}");
        let [before, after] = ["before", "after"].map(|kid| Signer::new(EdDsa).jwk(kid));
        let (skipped, kids) = outcome(&[before, wrong, after]);
        assert_eq!((skipped.len(), kids), (1, vec!["before".to_owned(), "after".to_owned()]), "{change}");
    }
}

#[test]
fn a_private_key_is_an_alarm_and_takes_its_public_half_with_it() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for algorithm in [Rs256, Es256, EdDsa] {
            for change in [json!({ member: "AQAB" }), json!({ member: "AQAB", "use": "enc", "kid": "other" })] {
                let private = with(algorithm, &change);
                let error = count(private.clone()).unwrap_err();
                assert!(error.contains(&format!("the private member `{member}`")), "{error}");
                // The public half, under another name and with zeros before its numbers.
                let mut public = private.clone();
                public["kid"] = "public".into();
                public.as_object_mut().unwrap().remove(member);
                public.as_object_mut().unwrap().remove("use");
                if algorithm == Rs256 {
                    public["alg"] = "RS256".into();
                    public["n"] = base64url([&[0][..], &openssl_modulus()].concat()).into();
                }
                let other = Signer::new(EdDsa).jwk("other");
                for keys in [[private.clone(), public.clone(), other.clone()], [public, other, private]] {
                    let read = published(&keys);
                    assert!(read.skipped.iter().all(|key| key.why.skip_reason() == SkipReason::Private));
                    assert_eq!((read.skipped.len(), read.keys.keys()[0].kid()), (2, Some("other")), "{change}");
                    assert!(
                        read.skipped.iter().any(|key| key.to_string().contains("the public half of a private key"))
                    );
                }
            }
        }
    }
}

#[test]
fn the_reason_of_a_skipped_key_is_one_of_a_closed_list() {
    let reason = |jwk: Value| published(&[jwk]).skipped[0].why.skip_reason();
    assert_eq!(reason(with(Rs256, &json!({ "n": "" }))), SkipReason::Invalid);
    assert_eq!(reason(with(Rs256, &json!({ "n": base64url([255; 128]) }))), SkipReason::Weak);
    assert_eq!(reason(with(Rs256, &json!({ "e": base64url([1]) }))), SkipReason::Weak);
    assert_eq!(reason(Signer::new(Algorithm::Hs256).jwk("s")), SkipReason::Private);
    assert_eq!(SkipReason::ALL.map(SkipReason::as_str), ["invalid", "weak", "ambiguous", "private"]);
}

#[test]
fn rsa_keys_have_at_least_2048_bits() {
    let of = |bytes: usize, first: u8| {
        let mut n = vec![255; bytes];
        n[0] = first;
        count(with(Rs256, &json!({ "n": base64url(n) })))
    };
    assert!(of(128, 255).unwrap_err().contains("of 1024 bits; at least 2048 are required"));
    assert!(of(256, 127).unwrap_err().contains("of 2047 bits; at least 2048 are required"));
    assert_eq!(of(256, 128), Ok(1));
    assert_eq!(of(1024, 255), Ok(1));
    assert!(of(1025, 1).unwrap_err().contains("of 8193 bits: at most 8192"));
    assert!(of(100_000, 1).unwrap_err().contains("at most 8192"));
}

#[test]
fn a_kid_that_could_mean_two_keys_drops_these_two_alone() {
    let [one, two] = [0; 2].map(|_| Signer::new(Es256).jwk("k"));
    let good = Signer::new(Es256).jwk("good");
    let file = |keys: &[Value]| KeySet::from_jwks(&jwks(keys)).map(|keys| keys.keys().len());
    let twice = Err(KeySetError::Double("the key `k`".to_owned()));

    let read = published(&[one.clone(), good.clone(), two.clone()]);
    assert!(read.skipped.iter().all(|key| key.why == KeyError::Ambiguous && key.which == "the key `k`"));
    assert_eq!((read.skipped.len(), read.keys.keys().len()), (2, 1));
    assert!(read.keys.knows("good") && !read.keys.knows("k"));
    assert_eq!(file(&[one.clone(), two]), twice);

    // Twins are one key.
    assert_eq!(outcome(&[one.clone(), one.clone(), good]), (vec![], vec!["k".to_owned(), "good".to_owned()]));
    assert_eq!(file(&[one.clone(), one.clone()]), twice);
    let bare = Signer::new(Es256).bare_jwk();
    assert_eq!(outcome(&[bare.clone(), bare.clone()]), (vec![], vec!["-".to_owned()]));
    assert!(matches!(file(&[bare.clone(), bare]), Err(KeySetError::Double(_))));

    // RFC 7517 section 4.5: for different algorithms they may be alternatives.
    let of_rsa = |signer: Signer, alg: &str| {
        let mut jwk = signer.jwk("k");
        jwk["alg"] = alg.into();
        jwk
    };
    let [rs256, rs512] = [of_rsa(Signer::new(Rs256), "RS256"), of_rsa(Signer::other(Rs256), "RS512")];
    for other in [Signer::new(Rs256).jwk("k"), Signer::new(Es384).jwk("k")] {
        assert_eq!(outcome(&[one.clone(), other.clone()]).1.len(), 2);
        assert_eq!(file(&[one.clone(), other]), Ok(2));
    }
    assert_eq!(outcome(&[rs256.clone(), rs512]).1.len(), 2);
    // Without `alg` it is for RS256 as well.
    assert_eq!(outcome(&[rs256.clone(), Signer::other(Rs256).jwk("k")]).1.len(), 0);
    // The same key for one algorithm and for all of them is the same key.
    assert_eq!(outcome(&[rs256, Signer::new(Rs256).jwk("k")]).0.len(), 0);

    let mut other_use = Signer::new(Es256).jwk("k");
    other_use["use"] = "enc".into();
    assert_eq!(outcome(&[one, other_use]).1.len(), 1, "passed over before they are compared");
}

#[test]
fn secrets_are_neither_published_nor_beside_public_keys() {
    let secret = Signer::new(Algorithm::Hs256).jwk("s");
    let public = Signer::new(Es256).jwk("p");
    let (skipped, kids) = outcome(&[secret.clone(), public.clone()]);
    assert!(skipped[0].contains("the key `s` is a secret (`oct`) that was published"), "{skipped:?}");
    assert_eq!(kids, ["p"]);
    let mixed = [public, secret.clone()];
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
fn a_set_is_an_object_with_a_list() {
    for (text, words) in [
        ("", "is not a key set"),
        ("[]", "is not an object"),
        ("null", "is not an object"),
        ("{}", "`keys` is not a list"),
        (r#"{"keys":null}"#, "`keys` is not a list"),
        (r#"{"keys":{}}"#, "`keys` is not a list"),
        (r#"{"keys":[],"keys":[]}"#, "has a member twice"),
        ("<html>", "is not a key set"),
    ] {
        let error = PublishedKeys::from_jwks(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let deep = format!(r#"{{"keys":[{{"kty":"x","a":{}}}]}}"#, "[".repeat(100_000));
    assert!(PublishedKeys::from_jwks(deep.as_bytes()).unwrap_err().to_string().contains("nested too deep"));
}

#[test]
fn an_entry_that_is_no_key_is_skipped() {
    let good = Signer::new(EdDsa).jwk("good");
    for (entry, words) in [
        ("[]", "keys[0] is not an object"),
        ("\"a\"", "keys[0] is not an object"),
        ("null", "keys[0] is not an object"),
        (r#"{"kty":"EC","kid":"k","kty":"RSA"}"#, "keys[0] is not an object, or names a member twice"),
        ("{}", "keys[0] has no `kty`"),
        (r#"{"kid":"k"}"#, "the key `k` has no `kty`"),
    ] {
        let text = format!(r#"{{"keys":[{entry},{good}]}}"#);
        let read = PublishedKeys::from_jwks(text.as_bytes()).unwrap();
        assert!(read.skipped[0].to_string().contains(words), "{entry}: {}", read.skipped[0]);
        assert_eq!((read.skipped.len(), read.keys.knows("good")), (1, true), "{entry}");
        assert!(KeySet::from_jwks(text.as_bytes()).is_err(), "{entry}");
    }
}

#[test]
fn an_issuer_may_withdraw_all_its_keys_and_a_file_is_not_empty() {
    let withdrawn = published(&[]).keys;
    assert_eq!(withdrawn.keys().len(), 0);
    assert_eq!(KeySet::from_jwks(br#"{"keys":[]}"#).unwrap_err(), KeySetError::Empty);
    let token = Signer::new(Es256).token_of(None, CLAIMS);
    assert_eq!(verdict(&withdrawn, &token, &[Es256]), Err(Unverified::KeyUnknown));
}

#[test]
fn a_set_has_a_limited_number_of_keys() {
    let of = |count: usize| {
        let keys: Vec<_> = (0..count).map(|index| Signer::new(EdDsa).jwk(&index.to_string())).collect();
        PublishedKeys::from_jwks(&jwks(&keys)).map(|read| read.keys.keys().len())
    };
    assert_eq!(of(MAX_KEYS), Ok(MAX_KEYS));
    assert_eq!(of(MAX_KEYS + 1), Err(KeySetError::TooManyKeys));
}

#[test]
fn messages_show_the_start_of_a_kid_and_nothing_that_moves_a_cursor() {
    let kid = format!("\u{1b}[2J\n{}", "x".repeat(10_000));
    let (skipped, _) = outcome(&[json!({ "kty": "RSA", "kid": kid })]);
    assert!(skipped[0].starts_with(r"the key `\u{1b}[2J\nxxx") && skipped[0].len() < 200, "{skipped:?}");
}

#[test]
fn many_keys_without_kid_do_not_keep_the_others_from_counting() {
    let mut keys: Vec<_> = (0..=MAX_KEYS_TRIED).map(|_| Signer::new(EdDsa).bare_jwk()).collect();
    let named = Signer::new(Es256);
    keys.push(named.jwk("k"));
    let keys = published(&keys).keys;
    assert_eq!(verdict(&keys, &named.token_of(Some("k"), CLAIMS), &[Es256]), Ok(()));
    let bare = Signer::new(EdDsa).token_of(None, CLAIMS);
    assert_eq!(verdict(&keys, &bare, &[EdDsa]), Err(Unverified::KeyUnknown), "too many to try");
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
        let _ = PublishedKeys::from_jwks(bytes);
        let _ = KeySet::from_pem(bytes, None);
    });
}

/// Random bytes hardly ever come close to a key; these choose among members and values that do.
#[test]
fn malformed_key_sets_do_not_panic() {
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
        let _ = PublishedKeys::from_jwks(text.as_bytes());
    });
}
