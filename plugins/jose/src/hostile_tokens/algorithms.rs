//! Tokens that choose their own algorithm, and forged signatures.

use aws_lc_rs::hmac;
use openssl::{bn::BigNum, ec::EcGroup, nid::Nid};

use super::*;

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = unsigned(scene);
    cases.extend(confused(scene));
    cases.extend(not_allowed(scene));
    cases.extend(forged(scene));
    cases
}

fn header(algorithm: &str, kid: Option<&str>) -> String {
    changed(good_header(), &json!({ "alg": algorithm, "kid": kid }))
}

/// `none` and what looks like it, without a signature and with the good one.
fn unsigned(scene: &Scene) -> Vec<Case> {
    let good = good_token(scene);
    let signature = good.rsplit('.').next().unwrap();
    let names = ["none", "None", "NONE", "nOnE", "none ", " none", "none\0", "non\u{435}", "", "null", "unsecured"];
    let mut cases = Vec::new();
    for name in names {
        for (how, signature) in [("without a signature", ""), ("with one", signature)] {
            let signed = format!("{}.{}", base64url(header(name, Some("rsa"))), base64url(good_claims().to_string()));
            let token = format!("{signed}.{signature}");
            cases.push(case(format!("alg {name:?} {how}"), token, Reason::AlgorithmNotAllowed));
        }
    }
    cases
}

/// Tokens signed by HMAC with a key that everybody knows, such as the public key (CVE-2015-9235).
fn confused(scene: &Scene) -> Vec<Case> {
    let public = scene.rsa.public();
    let secrets: [(&str, Vec<u8>); 6] = [
        ("the public key as PEM", public.public_key_to_pem().unwrap()),
        (
            "the public key as PEM, without its last line break",
            public.public_key_to_pem().unwrap().trim_ascii().to_vec(),
        ),
        ("the public key as DER", public.public_key_to_der().unwrap()),
        ("the public key as JWK", scene.rsa.jwk("rsa").to_string().into_bytes()),
        ("the modulus", public.rsa().unwrap().n().to_vec()),
        ("nothing", Vec::new()),
    ];
    let mut cases = Vec::new();
    for (name, secret) in secrets {
        for kid in [Some("rsa"), None] {
            let signed = format!("{}.{}", base64url(header("HS256", kid)), base64url(good_claims().to_string()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let tag = base64url(hmac::sign(&key, signed.as_bytes()));
            let name = format!("HMAC with {name}, kid {kid:?}");
            cases.push(case(name, format!("{signed}.{tag}"), Reason::AlgorithmNotAllowed));
        }
    }
    cases
}

/// Rightly signed by the right key, with an algorithm that was not asked for or that is another's.
fn not_allowed(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for algorithm in [Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps384, Algorithm::Ps512] {
        let token = scene.rsa.with(algorithm).token(header(algorithm.name(), Some("rsa")), good_claims().to_string());
        cases.push(case(format!("{algorithm}, which is not allowed"), token, Reason::AlgorithmNotAllowed));
    }
    for name in [
        "rs256",
        "Rs256",
        "RS256 ",
        "RS256\n",
        "RS1",
        "RS",
        "SHA256withRSA",
        "ES256K",
        "ES512",
        "Ed448",
        "eddsa",
        "dir",
        "A256KW",
        "RSA-OAEP",
        "ML-DSA-44",
    ] {
        let token = scene.rsa.token(header(name, Some("rsa")), good_claims().to_string());
        cases.push(case(format!("alg {name:?}"), token, Reason::AlgorithmNotAllowed));
    }
    for (name, signer, kid) in [
        ("ES256 with the name of the RSA key", &scene.ec, "rsa"),
        ("EdDSA with the name of the RSA key", &scene.ed, "rsa"),
        ("RS256 with the name of the EC key", &scene.rsa, "ec"),
        ("EdDSA with the name of the EC key", &scene.ed, "ec"),
        ("RS256 with the name of the Ed25519 key", &scene.rsa, "ed"),
    ] {
        let token = signer.token(header(signer.algorithm.name(), Some(kid)), good_claims().to_string());
        cases.push(case(name, token, Reason::AlgorithmNotAllowed));
    }
    for (name, algorithm, signer) in [
        ("PS256 over a signature of RS256", "PS256", scene.rsa.with(Algorithm::Rs256)),
        ("RS256 over a signature of PS256", "RS256", scene.rsa.with(Algorithm::Ps256)),
        ("RS256 over a signature of RS512", "RS256", scene.rsa.with(Algorithm::Rs512)),
    ] {
        let token = signer.token(header(algorithm, Some("rsa")), good_claims().to_string());
        cases.push(case(name, token, Reason::SignatureInvalid));
    }
    cases
}

fn forged(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for (signer, kid) in [(&scene.rsa, "rsa"), (&scene.ec, "ec"), (&scene.ed, "ed")] {
        let algorithm = signer.algorithm.name();
        let good = signer.token(header(algorithm, Some(kid)), good_claims().to_string());
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let signature = decoded(signature);
        let length = signature.len();
        let with = |name: &str, signature: &[u8]| {
            let token = format!("{signed}.{}", base64url(signature));
            case(format!("{algorithm}: {name}"), token, Reason::SignatureInvalid)
        };
        let flipped = |index: usize| {
            let mut flipped = signature.clone();
            flipped[index] ^= 1;
            flipped
        };
        cases.extend([
            with("no signature", &[]),
            with("the first bit flipped", &flipped(0)),
            with("a bit in the middle flipped", &flipped(length / 2)),
            with("the last bit flipped", &flipped(length - 1)),
            with("one byte short", &signature[1..]),
            with("half of it", &signature[..length / 2]),
            with("one byte more", &[&signature[..], &[0]].concat()),
            with("one byte more in front", &[&[0], &signature[..]].concat()),
            with("twice", &[&signature[..], &signature[..]].concat()),
            with("all zeros", &vec![0; length]),
            with("all ones", &vec![255; length]),
            with("of 8 KiB", &[7; 8192]),
        ]);
        let other = Signer::other(signer.algorithm).token(header(algorithm, Some(kid)), good_claims().to_string());
        cases.push(case(format!("{algorithm}: of another key"), other, Reason::SignatureInvalid));
        let claims = base64url(changed(good_claims(), &json!({ "sub": "admin" })));
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[1] = &claims;
        cases.push(case(format!("{algorithm}: over other claims"), parts.join("."), Reason::SignatureInvalid));
    }
    cases.extend(of_curves(scene));
    cases
}

/// Cases that only signatures on curves have.
fn of_curves(scene: &Scene) -> Vec<Case> {
    let good = scene.ec.token(header("ES256", Some("ec")), good_claims().to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let signature = decoded(signature);
    let (r, s) = signature.split_at(32);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let (mut order, mut context) = (BigNum::new().unwrap(), openssl::bn::BigNumContext::new().unwrap());
    group.order(&mut order, &mut context).unwrap();
    let order = order.to_vec();
    let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
    let der = openssl::ecdsa::EcdsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap();
    let zero = [0; 32];
    let mut one = zero;
    one[31] = 1;
    let ec = |name: &str, signature: Vec<u8>| {
        let token = format!("{signed}.{}", base64url(signature));
        case(format!("ES256: {name}"), token, Reason::SignatureInvalid)
    };
    let mut cases = vec![
        ec("as ASN.1", der),
        ec("r and s exchanged", [s, r].concat()),
        ec("r is zero", [&zero[..], s].concat()),
        ec("s is zero", [r, &zero[..]].concat()),
        ec("r and s are one", [one, one].concat()),
        ec("r and s are the order of the curve", [&order[..], &order[..]].concat()),
        ec("r is the order, s is zero", [&order[..], &zero[..]].concat()),
    ];
    // S + L is the same number to a reader that does not look (RFC 8032 section 5.1.7).
    let good = scene.ed.token(header("EdDSA", Some("ed")), good_claims().to_string());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut signature = decoded(signature);
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    let token = format!("{signed}.{}", base64url(signature));
    cases.push(case("EdDSA: S and the order of the curve", token, Reason::SignatureInvalid));
    cases
}

fn decoded(text: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
