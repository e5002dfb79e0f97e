//! Tokens of attackers: each is refused, for the reason that stands beside it, and soon (RFC 8725).
//!
//! All are made from one good token, which is tried too: were it refused, the others would prove nothing.

mod algorithms;
mod claims;
mod headers;
mod shapes;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use portcullis_plugin::{Reason, UnixTime};
use serde_json::{Value, json};

use crate::{
    Algorithm, Expectations, KeySet, PublishedKeys, Token, Wrong,
    testing::{Signer, base64url, jwks},
};

const NOW: UnixTime = UnixTime(1_800_000_000);
const ALLOWED: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];

/// The issuer, with one key of each type, and the gateway that trusts it.
struct Scene {
    rsa: Signer,
    ec: Signer,
    ed: Signer,
    keys: KeySet,
    expected: Expectations,
}

impl Scene {
    fn new() -> Self {
        let [rsa, ec, ed] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa].map(Signer::new);
        let published = jwks(&[rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk("ed")]);
        Self {
            keys: PublishedKeys::from_jwks(&published).unwrap().keys,
            expected: Expectations {
                issuer: Some("https://auth.example.com".to_owned()),
                audiences: vec!["api".to_owned()],
                typ: Some("at+jwt".to_owned()),
                max_age: Some(Duration::from_secs(3600)),
                max_lifetime: Some(Duration::from_secs(7200)),
                ..Expectations::default()
            },
            rsa,
            ec,
            ed,
        }
    }

    /// The steps of a gateway, in their order.
    fn judge(&self, token: &[u8]) -> Result<(), Wrong> {
        let token = Token::parse(token)?;
        self.keys.verify(&token, &ALLOWED).map_err(crate::Unverified::reason)?;
        self.expected.check(&token, NOW).map(|_| ())
    }
}

/// One token, and why it is refused.
struct Case {
    name: String,
    token: Vec<u8>,
    expected: Reason,
}

fn case(name: impl Into<String>, token: impl Into<Vec<u8>>, expected: Reason) -> Case {
    Case { name: name.into(), token: token.into(), expected }
}

fn good_header() -> Value {
    json!({ "alg": "RS256", "kid": "rsa", "typ": "at+jwt" })
}

fn good_claims() -> Value {
    json!({
        "iss": "https://auth.example.com", "sub": "ann", "aud": "api", "jti": "1",
        "iat": NOW.0 - 60, "nbf": NOW.0 - 60, "exp": NOW.0 + 600,
    })
}

/// An object with members changed, or taken out where they are null.
fn changed(mut object: Value, changes: &Value) -> String {
    for (member, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(member)),
            value => object[member] = value.clone(),
        }
    }
    object.to_string()
}

fn good_token(scene: &Scene) -> String {
    scene.rsa.token(good_header().to_string(), good_claims().to_string())
}

#[test]
fn every_hostile_token_is_refused_for_its_reason_and_soon() {
    let scene = Scene::new();
    for (signer, kid) in [(&scene.rsa, "rsa"), (&scene.ec, "ec"), (&scene.ed, "ed")] {
        let header = changed(good_header(), &json!({ "alg": signer.algorithm.name(), "kid": kid }));
        assert_eq!(scene.judge(signer.token(header, good_claims().to_string()).as_bytes()), Ok(()), "{kid}");
    }

    let rooms = [shapes::cases, headers::cases, algorithms::cases, claims::cases];
    let cases: Vec<Case> = rooms.iter().flat_map(|cases| cases(&scene)).collect();
    let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
    let tokens: HashSet<_> = cases.iter().map(|case| &case.token).collect();
    assert_eq!((names.len(), tokens.len()), (cases.len(), cases.len()), "each is another");
    assert!(cases.len() >= 300, "{}", cases.len());

    let wrong: Vec<String> = cases.iter().filter_map(|case| verdict(&scene, case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the fault in how a token was judged.
fn verdict(scene: &Scene, case: &Case) -> Option<String> {
    let started = Instant::now();
    let judged = scene.judge(&case.token);
    let took = started.elapsed();
    let name = &case.name;
    if took > Duration::from_millis(500) {
        return Some(format!("{name}: took {took:?}"));
    }
    if let Err(Wrong { reason: Reason::TokenMalformed, why: None }) = judged {
        return Some(format!("{name}: malformed, and the log does not say what"));
    }
    let judged = judged.map_err(|wrong| wrong.reason);
    (judged != Err(case.expected)).then(|| format!("{name}: {judged:?}, expected {:?}", case.expected))
}
