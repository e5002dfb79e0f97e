//! What each method of authentication costs beyond a bare Pingora proxy: `cargo bench --bench overhead -- methods`.
//!
//! The aims: a token that is known 1.05 x the bare proxy, one that is new 22 us above it with RS256, a signed request
//! without a body 1.10 x, a password that is known 1.05 x.

use std::{
    cell::Cell,
    fmt::Write,
    rc::Rc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_basic_auth as basic;
use portcullis_plugin::UnixTime;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Subject,
    rig::{
        load::{OtherSide, Requests},
        process::{Cores, Process},
        request,
    },
};

const SECRET: &str = "a secret of the bench that is longer than a hash";
const PASSWORD: &str = "a password of the bench";
/// More than the policy for new tokens remembers.
const NEW_TOKENS: usize = 2000;
const BODY_BYTES: usize = 16 << 10;
const ROUNDS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(300);
const SPAN: Duration = Duration::from_millis(1000);

/// Measures all of them, and prints them.
pub(crate) fn run(cores: Cores) {
    let other_side = OtherSide::start();
    let bare = Process::bare(cores, other_side.upstream);
    let keys =
        [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(|algorithm| (algorithm, Pair::new(algorithm)));
    let gateway = Process::gateway(cores, &configuration(&other_side, &keys));
    let known = |pair: &(Algorithm, Pair)| Requests::list([bearer(&path(pair.0), &pair.1.token(pair.0, 0))]);
    let new =
        Requests::list((0..NEW_TOKENS).map(|number| bearer("/new/1", &keys[0].1.token(Algorithm::RS256, number))));
    let basic = format!("Basic {}", BASE64.encode(format!("ci:{PASSWORD}")));
    let passwords = Requests::list([request("/passwords/1", &[("Authorization", &basic)])]);
    let mut subjects = vec![Subject::new("bare Pingora", &bare, Requests::list([request("/rs256/1", &[])]))];
    let names = ["jwt RS256, known", "jwt ES256, known", "jwt EdDSA, known"];
    subjects.extend(names.iter().zip(&keys).map(|(name, pair)| Subject::new(name, &gateway, known(pair))));
    subjects.push(Subject::new("jwt RS256, new each time", &gateway, new));
    subjects.push(Subject::new("hmac, no body", &gateway, signed(0)));
    subjects.push(Subject::new("hmac, 16 KiB body", &gateway, signed(BODY_BYTES)));
    subjects.push(Subject::new("bare Pingora, 16 KiB body", &bare, signed(BODY_BYTES)));
    subjects.push(Subject::new("basic-auth, known", &gateway, passwords));
    super::measure(&other_side, &mut subjects, ROUNDS, WARM_UP, SPAN);
    super::table(&subjects);
    println!("\nSHA-256 of 16 KiB alone: {:.1} us", hash_alone().as_secs_f64() * 1e6);
}

/// A key pair: how to sign, and the public half as PEM.
struct Pair {
    sign: EncodingKey,
    public: String,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        use openssl::{ec, nid::Nid, pkey::PKey, rsa::Rsa};
        let pair = match algorithm {
            Algorithm::RS256 => PKey::from_rsa(Rsa::generate(2048).expect("a key")),
            Algorithm::ES256 => {
                let group = ec::EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
                PKey::from_ec_key(ec::EcKey::generate(&group).expect("a key"))
            }
            _ => PKey::generate_ed25519(),
        };
        let pair = pair.expect("a key");
        let pem = pair.private_key_to_pem_pkcs8().expect("PEM");
        let sign = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(&pem),
            _ => EncodingKey::from_ed_pem(&pem),
        };
        let public = String::from_utf8(pair.public_key_to_pem().expect("PEM")).expect("text");
        Self { sign: sign.expect("a key"), public }
    }

    /// A token that is good for an hour, and unlike that of another number.
    fn token(&self, algorithm: Algorithm, number: usize) -> String {
        let claims = json!({
            "iss": "https://auth.example.com", "aud": "https://api.example.com", "sub": "alice", "azp": "shop",
            "jti": format!("token-{number}"), "iat": UnixTime::now().0, "exp": UnixTime::now().0 + 3600,
            "scope": "orders:read orders:write", "roles": ["clerk"],
        });
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &self.sign).expect("a token")
    }
}

fn path(algorithm: Algorithm) -> String {
    format!("/{}/1", format!("{algorithm:?}").to_lowercase())
}

fn bearer(path: &str, token: &str) -> Rc<[u8]> {
    request(path, &[("Authorization", &format!("Bearer {token}"))])
}

/// A request that is signed by the scheme `timestamp` at the moment in which it is sent.
fn signed(body_bytes: usize) -> Requests {
    let body = "x".repeat(body_bytes);
    let hash = hex::encode(Sha256::digest(&body));
    let nanoseconds = Cell::new(0);
    Requests::Made(Rc::new(move || {
        nanoseconds.set((nanoseconds.get() + 1) % 1_000_000_000);
        let time = Timestamp::new(UnixTime::now().0, nanoseconds.get()).expect("a time").to_string();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
        mac.update(format!("{method}\n/signed/1\n{time}\n{hash}").as_bytes());
        let mac = BASE64.encode(mac.finalize().into_bytes());
        let mut whole = format!(
            "{method} /signed/1 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: orders-client/3.14\r\nX-Key-Id: acme\r\n\
             X-Timestamp: {time}\r\nX-Signature: hmac-sha256={mac}\r\n"
        );
        if !body.is_empty() {
            let _ = write!(whole, "Content-Length: {}\r\n", body.len());
        }
        let _ = write!(whole, "\r\n{body}");
        whole.into_bytes().into()
    }))
}

fn configuration(other_side: &OtherSide, keys: &[(Algorithm, Pair); 3]) -> String {
    let mut toml = format!(
        "[server]\nthreads = 1\ncontrol = \"@DIR@/control.sock\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
         [log]\naccess = false\n[audit]\nsample_successes = 0\n[upstreams.app]\ntargets = [\"{}\"]\n",
        other_side.upstream
    );
    let mut route = |name: &str, policy: &str| {
        let _ = writeln!(
            toml,
            "[routes.{name}]\npaths = [\"/{name}/{{*rest}}\"]\nupstream = \"app\"\nauth = [\"{name}\"]\n\
             [policies.{name}]\n{policy}"
        );
    };
    let jwt = |algorithm: Algorithm, file: &str, more: &str| {
        format!(
            "use = \"jwt\"\nissuer = \"https://auth.example.com\"\naudience = [\"https://api.example.com\"]\n\
             algorithms = [\"{algorithm:?}\"]\npublic_key_file = \"{file}\"\n{more}"
        )
    };
    let folder = tempfile::TempDir::new().expect("a folder").keep();
    for (algorithm, pair) in keys {
        let file = folder.join(format!("{algorithm:?}.pem"));
        std::fs::write(&file, &pair.public).expect("a file");
        let file = file.display().to_string();
        let name = format!("{algorithm:?}").to_lowercase();
        route(&name, &jwt(*algorithm, &file, ""));
        if *algorithm == Algorithm::RS256 {
            route("new", &jwt(*algorithm, &file, "max_cached_tokens = 16\n"));
        }
    }
    route("signed", "use = \"hmac\"\nscheme = \"timestamp\"\nreplay = \"allow\"\n");
    route("passwords", "use = \"basic-auth\"\n");
    let hash = basic::hash_password(basic::Algorithm::Argon2id, PASSWORD.as_bytes()).expect("a hash");
    let _ = writeln!(
        toml,
        "[[consumers.acme.credentials]]\nuse = \"hmac\"\nid = \"acme\"\nsecret = \"{SECRET}\"\n\
         [[consumers.acme.credentials]]\nuse = \"basic-auth\"\nid = \"ci\"\nusername = \"ci\"\npassword_hash = \"{hash}\""
    );
    toml
}

/// What cannot be saved of a body that is verified.
fn hash_alone() -> Duration {
    let body = vec![b'x'; BODY_BYTES];
    let begun = Instant::now();
    let rounds = 2000;
    for _ in 0..rounds {
        std::hint::black_box(Sha256::digest(std::hint::black_box(&body)));
    }
    begun.elapsed() / rounds
}
