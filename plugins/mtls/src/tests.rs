use std::{
    io::Write,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use portcullis_plugin::{
    Answer, Attempt, Authenticate, Authentication, Claimed, ClientCert, Identity, Reason, UnixTime,
    testing::{Build, Conformance, Request, now},
};
use portcullis_x509::testing::{Ca, NOW, Sketch};

use super::*;

mod cache;
mod configuration;
mod consumers;
mod cost;
mod header;
mod rules;

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

fn holder(toml: &str) -> Holder {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

/// All that is wrong with a policy: `field: message`.
fn problems(toml: &str) -> Vec<String> {
    let error = Build::new().plugin::<Mtls>(config(toml)).err().unwrap_or_else(|| panic!("{toml}: no problem"));
    error.problems.into_iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

/// A file, for as long as the test lasts.
fn file(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

fn sent(certificate: &Ca, chain: &[&Ca]) -> ClientCert {
    ClientCert::new(certificate.der(), chain.iter().map(|ca| ca.der()).collect())
}

/// The answer, unless it waits for something.
fn ready<T>(answer: Answer<'_, T>) -> Option<T> {
    let mut answer = pin!(answer.get());
    let poll = || match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    };
    // A chain that was verified lets others go first.
    std::iter::repeat_with(poll).take(2).find_map(|answer| answer)
}

/// A policy that judges requests.
struct Scene(Arc<dyn Authenticate>);

impl Scene {
    fn new(toml: &str) -> Self {
        Self::with(Build::new(), toml)
    }

    fn with(mut build: Build, toml: &str) -> Self {
        let hooks = build.plugin::<Mtls>(config(toml)).unwrap_or_else(|error| panic!("{toml}: {:?}", error.problems));
        assert_eq!(build.problems, []);
        Self(hooks.authenticate.unwrap())
    }

    fn answer(&self, mut request: Request) -> Authentication {
        ready(self.0.authenticate(&mut request.cx())).expect("an answer that waits for nothing").unwrap()
    }

    /// The client, `"absent"`, or the reason code (with 403 before it if it is that).
    fn outcome(&self, request: Request) -> String {
        match self.answer(request) {
            Authentication::Granted(identity) => identity.client.clone().unwrap_or_else(|| "nobody".to_owned()),
            Authentication::Absent => "absent".to_owned(),
            other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
            Authentication::Denied(denial) if denial.is_forbidden() => format!("403 {}", denial.reason),
            Authentication::Denied(denial) => denial.reason.to_string(),
        }
    }

    /// On a connection with this certificate.
    fn over(&self, certificate: &Ca) -> String {
        self.outcome(over(sent(certificate, &[])))
    }

    fn identity(&self, certificate: &Ca) -> Arc<Identity> {
        match self.answer(over(sent(certificate, &[]))) {
            Authentication::Granted(identity) => identity,
            other => panic!("{other:?}"),
        }
    }
}

/// A request on a connection with a certificate.
fn over(certificate: ClientCert) -> Request {
    Request { certificate: Ok(Some(certificate)), ..Request::get("/") }
}

fn client(change: impl FnOnce(&mut Sketch)) -> Ca {
    Ca::root("Root").client("alice", change)
}

#[test]
fn the_certificate_of_the_connection_names_the_client() {
    let scene = Scene::new("");
    assert_eq!(scene.outcome(Request::get("/")), "absent");
    assert_eq!(scene.over(&client(|_| {})), "alice");
    assert_eq!(scene.over(&client(|sketch| sketch.emails(&["a@example.com"]))), "a@example.com");
    let dns = |sketch: &mut Sketch| {
        sketch.emails(&["a@example.com"]);
        sketch.dns(&["a.example.com", "b.example.com"]);
    };
    assert_eq!(scene.over(&client(dns)), "a.example.com");
    let uri = |sketch: &mut Sketch| {
        dns(sketch);
        sketch.uris(&["spiffe://example.org/a"]);
    };
    assert_eq!(scene.over(&client(uri)), "spiffe://example.org/a");
    assert_eq!(scene.over(&client(|sketch| sketch.part("CN", "bob"))), "CN=bob,CN=alice");
    let nameless = client(|sketch| sketch.subject.clear());
    assert_eq!(scene.over(&nameless), hex::encode(sent(&nameless, &[]).sha256), "beside a key it is not nobody");
}

#[test]
fn a_certificate_that_is_not_good_is_not_an_absent_one() {
    let scene = Scene::new("");
    let reasons = [
        Reason::CertificateExpired,
        Reason::CertificateNotYetValid,
        Reason::CertificateRevoked,
        Reason::CertificateUnknownCa,
        Reason::CertificateRevocationUnknown,
        Reason::CertificateWrongPurpose,
    ];
    for reason in reasons {
        assert_eq!(scene.outcome(Request { certificate: Err(reason), ..Request::get("/") }), reason.code());
    }
    // A certificate that the connection let in is checked again.
    assert_eq!(scene.over(&client(|sketch| sketch.not_after = NOW.0 - 1)), "certificate_expired");
    assert_eq!(scene.over(&client(|sketch| sketch.not_before = NOW.0 + 1)), "certificate_not_yet_valid");
    assert_eq!(scene.over(&client(|sketch| sketch.purposes = vec!["serverAuth"])), "certificate_wrong_purpose");
    assert_eq!(scene.outcome(over(ClientCert::new(b"junk".to_vec(), Vec::new()))), "certificate_malformed");
    let nul = b"\x30\x0c\x82\x0aa.example\0".to_vec();
    let odd = client(|sketch| sketch.raw.push(("2.5.29.17", false, nul)));
    assert_eq!(scene.over(&odd), "certificate_malformed");
}

#[test]
fn a_refusal_names_whom_the_certificate_speaks_of() {
    let told = |scene: &Scene, certificate: &Ca| match scene.answer(over(sent(certificate, &[]))) {
        Authentication::Denied(denial) => denial.claimed,
        other => panic!("{other:?}"),
    };
    let alice = |certificate: &Ca| {
        let sha256 = hex::encode(sent(certificate, &[]).sha256);
        Some(Claimed::by_certificate("CN=Root", "CN=alice", &sha256))
    };
    let ended = client(|sketch| sketch.not_after = NOW.0 - 1);
    assert_eq!(told(&Scene::new(""), &ended), alice(&ended));
    let others = Scene::new("cns = [\"bob\"]");
    let somebody = client(|_| {});
    for _ in 0..2 {
        assert_eq!(told(&others, &somebody), alice(&somebody), "it is remembered, too");
    }
    let nameless = told(&others, &client(|sketch| sketch.subject.clear())).unwrap();
    assert_eq!(nameless.fields().map(|(name, _)| name).collect::<Vec<_>>(), ["issuer", "sha256"]);
    let long = told(&others, &client(|sketch| (0..8).for_each(|_| sketch.part("OU", &"x".repeat(60))))).unwrap();
    let (_, subject) = long.fields().find(|(name, _)| *name == "subject").unwrap();
    assert_eq!(subject.len(), Claimed::NAME_MAX_BYTES);
}

#[test]
fn an_identity_has_what_the_certificate_says() {
    let certificate = client(|sketch| {
        sketch.serial = Some(vec![0xAB]);
        sketch.dns(&["a.example.com"]);
    });
    let identity = Scene::new("").identity(&certificate);
    assert_eq!((identity.method.as_str(), &identity.subject, &identity.consumer), ("mtls", &None, &None));
    assert_eq!(identity.issuer.as_deref(), Some("CN=Root"));
    assert_eq!(identity.expires, Some(UnixTime(portcullis_x509::testing::AFTER)));
    let said = identity.certificate.as_ref().unwrap();
    assert_eq!((said.subject.as_str(), said.cn.as_deref()), ("CN=alice", Some("alice")));
    assert_eq!((said.issuer.as_str(), said.serial.as_str()), ("CN=Root", "AB"));
    assert_eq!(said.dns, ["a.example.com"]);
    assert_eq!(said.fingerprint, hex::encode(sent(&certificate, &[]).sha256));
    // A token's claims are judged apart: a rule about them does not ask the certificate.
    assert!(identity.claims.is_none());
}

#[test]
fn it_challenges_for_a_certificate() {
    let scene = Scene::new("");
    for attempt in [Attempt::Absent, Attempt::Denied(Reason::CertificateExpired)] {
        let challenge = scene.0.challenges(&Request::get("/").cx(), attempt).remove(0);
        assert_eq!((challenge.scheme.as_ref(), challenge.parameters.len()), ("TLS-Client-Certificate", 0));
    }
    assert!(scene.0.needs_certificate());
}

#[test]
fn headers_are_handed_on_if_asked_for() {
    let certificate = client(|_| {});
    assert_eq!(Scene::new("").identity(&certificate).headers, []);
    assert_eq!(Scene::new("").0.headers(), Vec::<&str>::new());
    let scene = Scene::new("headers = [\"client-cert\", \"x-client-cert-cn\", \"x-client-cert-verify\"]");
    let headers = &scene.identity(&certificate).headers;
    let told = scene.0.headers();
    assert!(headers.iter().all(|(name, _)| told.contains(name)));
    assert_eq!(told.len(), 3);
    let value = |name: &str| headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.to_str().unwrap());
    assert_eq!(value("client-cert"), Some(format!(":{}:", STANDARD.encode(certificate.der())).as_str()));
    assert_eq!(value("x-client-cert-cn"), Some("alice"));
    assert_eq!(value("x-client-cert-verify"), Some("SUCCESS"));
}

#[test]
fn it_does_what_every_plugin_does() {
    let alice = client(|_| {});
    Conformance::<Mtls>::new(|| config("")).granting(|| over(sent(&alice, &[]))).check();
}
