use std::sync::{Arc, LazyLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{self, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use portcullis_plugin::{
    Authenticate, Authentication, Credential, Identity, LocalStore, PluginError, Reason, UnixTime,
    serde_json::{self, Value, json},
    testing::{Build, Conformance, Request},
};

use super::*;

mod binding;
mod cache;
mod configuration;
mod consumers;
mod cost;
mod crossed;
mod hostile;
mod identity;
mod places;
mod revocation;
mod rotation;
mod simple;

/// The harness's clock.
const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://auth.example.com";
const AUDIENCE: &str = "https://api.example.com";
const SECRET: &str = "a secret of no less than thirty-two bytes";

/// Somebody who signs tokens.
struct Signer {
    key: EncodingKey,
    alg: Algorithm,
    kid: &'static str,
}

impl Signer {
    fn rsa(kid: &'static str) -> Self {
        let pair = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // The PKCS#1 key that jsonwebtoken wants is all that comes after the 26 bytes of PKCS#8's frame.
        Self { key: EncodingKey::from_rsa_der(&der.as_ref()[26..]), alg: Algorithm::RS256, kid }
    }

    fn ec(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()), alg: Algorithm::ES256, kid }
    }

    fn ed(kid: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        Self { key: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()), alg: Algorithm::EdDSA, kid }
    }

    fn hmac(secret: &str) -> Self {
        Self { key: EncodingKey::from_secret(secret.as_bytes()).unwrap(), alg: Algorithm::HS256, kid: "h" }
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, |_| {})
    }

    fn sign_with(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header::new(self.alg);
        header.kid = Some(self.kid.to_owned());
        change(&mut header);
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// The public key of an ECDSA signer.
    fn pem(&self) -> String {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.key.as_bytes()).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.alg).unwrap()).unwrap();
        jwk["kid"] = self.kid.into();
        jwk
    }
}

fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("r"));
static EC: LazyLock<Signer> = LazyLock::new(|| Signer::ec("e"));
static ED: LazyLock<Signer> = LazyLock::new(|| Signer::ed("d"));
static HMAC: LazyLock<Signer> = LazyLock::new(|| Signer::hmac(SECRET));

/// The claims of a good token, with changes. `null` takes a claim away.
#[expect(clippy::needless_pass_by_value, reason = "it is a literal wherever this is called")]
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": "1", "iat": NOW - 60, "exp": NOW + 600,
    });
    for (claim, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        } else {
            claims[claim] = value.clone();
        }
    }
    claims
}

/// A file with keys, for as long as the test lasts.
fn key_file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

fn holder(toml: &str) -> Holder {
    toml::from_str(toml).unwrap()
}

/// A policy that judges requests.
struct Scene {
    hook: Arc<dyn Authenticate>,
    store: Arc<LocalStore>,
}

impl Scene {
    /// Of a whole policy.
    fn new(toml: &str) -> Self {
        Self::with(Build::new(), toml)
    }

    fn with(mut build: Build, toml: &str) -> Self {
        let hooks = build.plugin::<Jwt>(config(toml)).unwrap_or_else(|error| panic!("{toml}: {:?}", error.problems));
        assert_eq!(build.problems, []);
        Self { hook: hooks.authenticate.unwrap(), store: build.store }
    }

    /// The simplest policy: one issuer with the four keys above that are no secret, and what `toml` adds.
    fn simple(toml: &str) -> Self {
        Self::simple_with(Build::new(), toml)
    }

    fn simple_with(build: Build, toml: &str) -> Self {
        let file = key_file(&jwks(&[&RSA, &EC, &ED]));
        let path = file.path().display();
        let usual = format!("issuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\njwks_file = \"{path}\"\n");
        Self::with(build, &(usual + toml))
    }

    fn answer(&self, mut request: Request) -> Result<Authentication, PluginError> {
        block_on(self.hook.authenticate(&mut request.cx()).get())
    }

    /// The subject, `"absent"`, the reason code (with 403 before it if it is that), or `"failed"`.
    fn outcome(&self, request: Request) -> String {
        match self.answer(request) {
            Ok(Authentication::Granted(identity)) => identity.subject.clone().unwrap_or_else(|| "nobody".to_owned()),
            Ok(Authentication::Absent) => "absent".to_owned(),
            Ok(other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_))) => panic!("{other:?}"),
            Ok(Authentication::Denied(denial)) if denial.is_forbidden() => format!("403 {}", denial.reason),
            Ok(Authentication::Denied(denial)) => denial.reason.to_string(),
            Err(error) => format!("failed: {error}"),
        }
    }

    fn sent(&self, token: &str) -> String {
        self.outcome(bearer(token))
    }

    /// The identity that a token of the first signer proves.
    fn identity(&self, changes: Value) -> Arc<Identity> {
        match self.answer(bearer(&EC.sign(&claims(changes)))) {
            Ok(Authentication::Granted(identity)) => identity,
            other => panic!("{other:?}"),
        }
    }
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("authorization", format!("Bearer {token}"))
}

fn at(mut request: Request, now: i64) -> Request {
    request.now = UnixTime(now);
    request
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// All that is wrong with a policy: `field: message`.
fn problems(toml: &str) -> Vec<String> {
    let error = Build::new().plugin::<Jwt>(config(toml)).err().unwrap_or_else(|| panic!("{toml}: no problem"));
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

#[test]
fn it_does_what_every_plugin_does() {
    let file = key_file(&jwks(&[&RSA, &EC, &ED]));
    let path = file.path().display();
    let toml = format!("issuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\njwks_file = \"{path}\"\n");
    let token = EC.sign(&claims(json!({})));
    Conformance::<Jwt>::new(|| config(&toml)).granting(|| bearer(&token)).secret(&token).check();
}
