use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use portcullis_plugin::{
    Authentication, ClientCert, OpenStream,
    testing::{Build, Request, open_stream},
};
use portcullis_x509::testing::Ca;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::Mtls;

/// Makes answers, from the question.
type Answers = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A responder that counts what it was asked.
struct Fake {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Fake {
    async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                let mut seen = Vec::new();
                let body = loop {
                    stream.read_buf(&mut seen).await.unwrap();
                    let text = String::from_utf8_lossy(&seen).to_ascii_lowercase();
                    let length =
                        text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
                    let head = seen.windows(4).position(|window| window == b"\r\n\r\n");
                    if let (Some(head), Some(length)) = (head, length) {
                        let length: usize = length;
                        if seen.len() >= head + 4 + length {
                            break seen[head + 4..].to_vec();
                        }
                    }
                };
                let answer = answers(&body);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len());
                let _ = stream.write_all(&[head.as_bytes(), &answer].concat()).await;
            }
        });
        Self { address, asked }
    }
}

/// OpenSSL's own responder: `index` has a line for each certificate that it knows. Without `days` its answers do not say
/// until when they hold.
fn openssl(root: &Ca, signer: &Ca, index: &str, days: &'static str) -> Answers {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    write("ca.pem", root.pem().as_bytes());
    write("signer.pem", signer.pem().as_bytes());
    write("signer.key", &signer.key.private_key_to_pem_pkcs8().unwrap());
    write("index", index.as_bytes());
    write("index.attr", b"unique_subject = no\n");
    Box::new(move |question| {
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("question"), question).unwrap();
        run(folder.path(), days);
        std::fs::read(path("answer")).unwrap_or_default()
    })
}

fn run(folder: &Path, days: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(["ocsp", "-index", "index", "-CA", "ca.pem", "-rsigner", "signer.pem"]);
    command.args(["-rkey", "signer.key", "-reqin", "question", "-respout", "answer"]);
    if !days.is_empty() {
        command.args(["-ndays", days]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A line of OpenSSL's index.
fn line(certificate: &Ca, revoked: bool) -> String {
    let serial = portcullis_x509::Facts::of(&certificate.certificate).unwrap().serial;
    let (state, at) = if revoked { ("R", "260101000000Z") } else { ("V", "") };
    format!("{state}\t300101000000Z\t{at}\t{serial}\tunknown\t/CN=x\n")
}

struct Scene {
    hook: Arc<dyn portcullis_plugin::Authenticate>,
    warnings: Vec<(String, String)>,
    fake: Fake,
    judged_again: Arc<AtomicUsize>,
    _ca: tempfile::NamedTempFile,
}

impl Scene {
    async fn new(root: &Ca, answers: Answers, more: &str) -> Self {
        let fake = Fake::start(answers).await;
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), root.pem()).unwrap();
        let toml =
            format!("ca = \"{}\"\nocsp = {{ responder = \"http://{}\"{more} }}", ca.path().display(), fake.address);
        let mut build = Build::new();
        let hooks = build.plugin::<Mtls>(toml::from_str(&toml).unwrap()).unwrap_or_else(|error| panic!("{error:?}"));
        let judged_again = build.judged_again.clone();
        Self { hook: hooks.authenticate.unwrap(), warnings: build.warnings, fake, judged_again, _ca: ca }
    }

    async fn outcome(&self, certificate: &Ca, now: UnixTime) -> String {
        Self::told(self.ask(certificate, now).await)
    }

    async fn ask(&self, certificate: &Ca, now: UnixTime) -> Authentication {
        let certificate = Ok(Some(ClientCert::new(certificate.der(), Vec::new())));
        let mut request = Request { certificate, now, ..Request::get("/") };
        self.hook.authenticate(&mut request.cx()).get().await.unwrap()
    }

    fn told(answer: Authentication) -> String {
        match answer {
            Authentication::Granted(identity) => identity.client.clone().unwrap(),
            Authentication::Absent => "absent".to_owned(),
            other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_)) => panic!("{other:?}"),
            Authentication::Denied(denial) => {
                let claimed = denial.claimed.expect("what can be asked about can be read");
                assert!(claimed.fields().any(|(name, of)| name == "subject" && of.starts_with("CN=")), "{claimed:?}");
                denial.reason.to_string()
            }
        }
    }

    fn asked(&self) -> usize {
        self.fake.asked.load(SeqCst)
    }
}

#[tokio::test]
async fn a_responder_says_what_was_revoked() {
    let root = Ca::root("Root");
    let (good, bad, foreign) =
        (root.client("good", |_| {}), root.client("bad", |_| {}), root.client("foreign", |_| {}));
    let index = line(&good, false) + &line(&bad, true);
    let scene = Scene::new(&root, openssl(&root, &root, &index, "1"), ", on_failure = \"allow\"").await;
    let now = UnixTime::now();
    for _ in 0..2 {
        assert_eq!(scene.outcome(&good, now).await, "good");
        assert_eq!(scene.outcome(&bad, now).await, "certificate_revoked");
        // Not one of the CA's, by its own word: that is no failure to be allowed.
        assert_eq!(scene.outcome(&foreign, now).await, "certificate_revocation_unknown");
    }
    assert_eq!(scene.asked(), 3, "an answer is kept");
    assert_eq!(scene.outcome(&good, now.after(Duration::from_secs(3601))).await, "good");
    assert_eq!(scene.asked(), 4, "for an hour");
}

#[tokio::test]
async fn a_question_is_asked_to_its_end_also_when_the_request_that_put_it_has_gone() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let scene = Scene::new(&root, openssl(&root, &root, &line(&leaf, false), "1"), "").await;
    let now = UnixTime::now();
    // Given up as soon as the responder has been asked.
    tokio::select! {
        biased;
        _ = scene.outcome(&leaf, now) => panic!("the responder has answered already"),
        () = async { while scene.asked() == 0 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(scene.outcome(&leaf, now).await, "leaf");
    assert_eq!(scene.asked(), 1, "asked again");
}

#[tokio::test]
async fn a_delegate_of_the_ca_may_answer_and_nobody_else() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let delegate = root.issue("responder", |sketch| sketch.purposes = vec!["OCSPSigning"]);
    let now = UnixTime::now();
    let scene = Scene::new(&root, openssl(&root, &delegate, &line(&leaf, false), "1"), "").await;
    assert_eq!(scene.outcome(&leaf, now).await, "leaf");
    let below = root.below("A CA below", |_| {});
    let others = [
        root.client("another client of the CA", |_| {}),
        below.issue("responder", |sketch| sketch.purposes = vec!["OCSPSigning"]),
        below,
        root.issue("responder that was", |sketch| {
            sketch.purposes = vec!["OCSPSigning"];
            sketch.not_after = UnixTime::now().0 - 60;
        }),
        Ca::root("Root"),
        Ca::root("Elsewhere").issue("responder", |sketch| sketch.purposes = vec!["OCSPSigning"]),
    ];
    for signer in others {
        let scene = Scene::new(&root, openssl(&root, &signer, &line(&leaf, false), "1"), "").await;
        assert_eq!(scene.outcome(&leaf, now).await, "certificate_revocation_unknown");
    }
}

#[tokio::test]
async fn no_answer_that_counts_is_a_refusal_unless_the_file_says_otherwise() {
    let root = Ca::root("Root");
    let (leaf, other) = (root.client("leaf", |_| {}), root.client("other", |_| {}));
    // An answer about another certificate, whatever was asked.
    let question = question(&Status::new(other.certificate.clone(), root.certificate.clone())).unwrap();
    let aside = openssl(&root, &root, &line(&other, false), "1")(&question);
    let refusals: [fn() -> Vec<u8>; 4] =
        [Vec::new, || b"junk".to_vec(), || vec![0x30, 3, 0x0A, 1, 3], || vec![0; 100_000]];
    let now = UnixTime::now();
    let mut all: Vec<Vec<u8>> = refusals.iter().map(|answer| answer()).collect();
    all.push(aside);
    for answer in all {
        let given = answer.clone();
        let scene = Scene::new(&root, Box::new(move |_| given.clone()), "").await;
        assert_eq!(scene.outcome(&leaf, now).await, "certificate_revocation_unknown");
        assert_eq!(scene.outcome(&leaf, now).await, "certificate_revocation_unknown");
        assert_eq!(scene.asked(), 1, "and not asked again at once");
        let scene = Scene::new(&root, Box::new(move |_| answer.clone()), ", on_failure = \"allow\"").await;
        assert_eq!(scene.outcome(&leaf, now).await, "leaf");
    }
}

#[tokio::test]
async fn an_answer_that_ended_does_not_count() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let answers = openssl(&root, &root, &line(&leaf, false), "1");
    let scene = Scene::new(&root, answers, ", max_age = \"7d\"").await;
    let now = UnixTime::now();
    assert_eq!(scene.outcome(&leaf, now).await, "leaf");
    assert_eq!(scene.outcome(&leaf, now.after(Duration::from_secs(86_000))).await, "leaf");
    assert_eq!(scene.asked(), 1);
    for seconds in [86_500, 86_501] {
        scene.outcome(&leaf, now.after(Duration::from_secs(seconds))).await;
        assert_eq!(
            scene.asked(),
            2,
            "it held for a day, whatever `max_age` says, and the next is not asked for at once"
        );
    }
    scene.outcome(&leaf, now.after(Duration::from_secs(86_506))).await;
    assert_eq!(scene.asked(), 3);
}

#[tokio::test]
async fn an_old_answer_without_an_end_is_not_good_for_ever() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let status = Status::new(leaf.certificate.clone(), root.certificate.clone());
    let recorded = openssl(&root, &root, &line(&leaf, false), "")(&question(&status).unwrap());
    let scene = Scene::new(&root, Box::new(move |_| recorded.clone()), "").await;
    let now = UnixTime::now();
    assert_eq!(scene.outcome(&leaf, now).await, "leaf");
    let later = now.after(Duration::from_secs(3600 + u64::from(CLOCK_SKEW_SECONDS) + 60));
    assert_eq!(scene.outcome(&leaf, later).await, "certificate_revocation_unknown");
}

#[tokio::test]
async fn silence_takes_back_nothing_that_was_said_against_a_certificate() {
    let root = Ca::root("Root");
    let (bad, foreign) = (root.client("bad", |_| {}), root.client("foreign", |_| {}));
    let (answers, first) = (openssl(&root, &root, &line(&bad, true), "1"), AtomicUsize::new(0));
    // Each is answered once, and never again.
    let answers = move |question: &[u8]| {
        if first.fetch_add(1, SeqCst) < 2 { answers(question) } else { Vec::new() }
    };
    let scene = Scene::new(&root, Box::new(answers), ", on_failure = \"allow\"").await;
    let now = UnixTime::now();
    for (asked, seconds) in [(2, 0), (4, 3601), (6, 3700)] {
        let now = now.after(Duration::from_secs(seconds));
        assert_eq!(scene.outcome(&bad, now).await, "certificate_revoked", "after {seconds} s");
        assert_eq!(scene.outcome(&foreign, now).await, "certificate_revocation_unknown", "after {seconds} s");
        assert_eq!(scene.asked(), asked);
    }
}

/// OCSP goes by plain HTTP and without a nonce: whoever is on the way can send again what was answered before.
#[tokio::test]
async fn a_recorded_answer_takes_back_no_newer_one() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let status = Status::new(leaf.certificate.clone(), root.certificate.clone());
    let recorded = openssl(&root, &root, &line(&leaf, false), "1")(&question(&status).unwrap());
    // Its times are whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (revoked, first) = (openssl(&root, &root, &line(&leaf, true), "1"), AtomicUsize::new(0));
    let answers = move |question: &[u8]| {
        if first.fetch_add(1, SeqCst) == 0 { revoked(question) } else { recorded.clone() }
    };
    let scene = Scene::new(&root, Box::new(answers), "").await;
    let now = UnixTime::now();
    assert_eq!(scene.outcome(&leaf, now).await, "certificate_revoked");
    assert_eq!(scene.outcome(&leaf, now.after(Duration::from_secs(3601))).await, "certificate_revoked");
    assert_eq!(scene.asked(), 2);
}

/// What is known of a certificate is known of it under whatever chain, and after a reload.
#[tokio::test]
async fn another_chain_or_a_reload_gives_no_revoked_certificate_back() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let (revoked, first) = (openssl(&root, &root, &line(&leaf, true), "1"), AtomicUsize::new(0));
    let answers = move |question: &[u8]| {
        if first.fetch_add(1, SeqCst) == 0 { revoked(question) } else { Vec::new() }
    };
    let fake = Fake::start(Box::new(answers)).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), root.pem()).unwrap();
    let toml = format!(
        "headers = [\"client-cert-chain\"]\nca = \"{}\"\nocsp = {{ responder = \"http://{}\", on_failure = \"allow\" }}",
        ca.path().display(),
        fake.address
    );
    let mut build = Build::new();
    let now = UnixTime::now();
    // One policy before a reload, and one after it.
    let mut policies = Vec::new();
    for _ in 0..2 {
        policies.push(build.plugin::<Mtls>(toml::from_str(&toml).unwrap()).unwrap().authenticate.unwrap());
        let hook = policies.last().unwrap();
        for chain in [Vec::new(), vec![root.der()], vec![root.der(), root.der()]] {
            let certificate = Ok(Some(ClientCert::new(leaf.der(), chain)));
            let mut request = Request { certificate, now, ..Request::get("/") };
            let answer = hook.authenticate(&mut request.cx()).get().await.unwrap();
            assert_eq!(Scene::told(answer), "certificate_revoked");
        }
    }
    assert_eq!(fake.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn many_requests_ask_one_question() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let scene = Scene::new(&root, openssl(&root, &root, &line(&leaf, false), "1"), "").await;
    let now = UnixTime::now();
    let mut all = tokio::task::JoinSet::new();
    let scene = Arc::new(scene);
    for _ in 0..50 {
        let (scene, leaf) = (scene.clone(), leaf.clone());
        all.spawn(async move { scene.outcome(&leaf, now).await });
    }
    assert!(all.join_all().await.iter().all(|outcome| outcome == "leaf"));
    assert_eq!(scene.asked(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_found_to_be_revoked_ends_what_it_opened() {
    let root = Ca::root("Root");
    let (leaf, other) = (root.client("leaf", |_| {}), root.client("other", |_| {}));
    let good = openssl(&root, &root, &(line(&leaf, false) + &line(&other, false)), "1");
    let revoked = openssl(&root, &root, &(line(&leaf, true) + &line(&other, false)), "1");
    let asked = AtomicUsize::new(0);
    let answers =
        move |question: &[u8]| if asked.fetch_add(1, SeqCst) < 2 { good(question) } else { revoked(question) };
    let scene = Scene::new(&root, Box::new(answers), ", max_age = \"60s\"").await;
    let now = UnixTime::now();
    let opened = |answer| match answer {
        Authentication::Granted(identity) => identity,
        other => panic!("{other:?}"),
    };
    let open = [opened(scene.ask(&leaf, now).await), opened(scene.ask(&other, now).await)];
    // In no answer that comes from what is kept, nor in a good one, there is anything to judge again.
    let later = now.after(Duration::from_secs(61));
    let again = async |number: usize, certificate: &Ca, now| {
        let certificate = ClientCert::new(certificate.der(), Vec::new());
        let stream = OpenStream { certificate: Ok(Some(&certificate)), now, ..open_stream(&open[number]) };
        Scene::told(scene.hook.recheck(&stream).get().await.unwrap())
    };
    for at in [now, later] {
        assert_eq!(again(1, &other, at).await, "other");
    }
    assert_eq!((again(0, &leaf, now).await.as_str(), scene.asked()), ("leaf", 3));
    assert_eq!(scene.judged_again.load(SeqCst), 0);
    // A request is answered, and the stream need not wait for its own question.
    for _ in 0..2 {
        assert_eq!(scene.outcome(&leaf, later).await, "certificate_revoked");
        assert_eq!(again(0, &leaf, later).await, "certificate_revoked");
        assert_eq!((scene.asked(), scene.judged_again.load(SeqCst)), (4, 1));
    }
}

#[tokio::test]
async fn a_silent_responder_is_asked_so_many_questions_at_once() {
    const MORE: usize = 8;
    let root = Ca::root("Root");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), root.pem()).unwrap();
    let toml = format!(
        "ca = \"{}\"\nocsp = {{ responder = \"http://{}\", timeout = \"3s\" }}",
        ca.path().display(),
        listener.local_addr().unwrap()
    );
    let hook = Build::new().plugin::<Mtls>(toml::from_str(&toml).unwrap()).unwrap().authenticate.unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..QUESTIONS_MAX + MORE {
        let certificate = Ok(Some(ClientCert::new(root.client(&number.to_string(), |_| {}).der(), Vec::new())));
        let (hook, mut request) = (hook.clone(), Request { certificate, now: UnixTime::now(), ..Request::get("/") });
        requests.spawn(async move { hook.authenticate(&mut request.cx()).get().await.is_ok() });
    }
    let mut asked = Vec::new();
    for _ in 0..QUESTIONS_MAX {
        asked.push(listener.accept().await.unwrap().0);
    }
    // The requests go, and their questions do not: there is no room for another one.
    let more = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(more.is_err(), "one more was asked");
    drop(asked);
    for _ in 0..MORE {
        listener.accept().await.unwrap();
    }
}

#[tokio::test]
async fn a_responder_that_is_silent_is_waited_for_no_longer_than_said() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), root.pem()).unwrap();
    let toml = format!(
        "ca = \"{}\"\nocsp = {{ responder = \"http://{}\", timeout = \"100ms\" }}",
        ca.path().display(),
        listener.local_addr().unwrap()
    );
    let hooks = Build::new().plugin::<Mtls>(toml::from_str(&toml).unwrap()).unwrap();
    let certificate = Ok(Some(ClientCert::new(leaf.der(), Vec::new())));
    let mut request = Request { certificate, now: UnixTime::now(), ..Request::get("/") };
    let hook = hooks.authenticate.unwrap();
    let waiting =
        tokio::time::timeout(Duration::from_secs(5), async { hook.authenticate(&mut request.cx()).get().await });
    assert!(matches!(waiting.await, Ok(Ok(Authentication::Denied(_)))));
}

#[test]
fn ocsp_settings_that_make_no_sense_are_errors() {
    let problems = |toml: &str| {
        let error = Build::new().plugin::<Mtls>(toml::from_str(toml).unwrap()).err().unwrap();
        error.problems.into_iter().map(|(field, why)| format!("{field}: {why}")).collect::<Vec<_>>().join("; ")
    };
    let with = |ocsp: &str| problems(&format!("ocsp = {{ {ocsp} }}"));
    assert!(with("responder = \"http://a\"").contains("ocsp: goes with `ca`"));
    for odd in ["ftp://a", "a", "http://u:p@a", "http://a/?q", "http://a/#f"] {
        assert!(with(&format!("responder = \"{odd}\"")).contains("ocsp.responder: "), "{odd}");
    }
    assert!(with("responder = \"http://a\", timeout = \"1m\"").contains("ocsp.timeout: "));
    assert!(with("responder = \"http://a\", max_age = \"0s\"").contains("ocsp.max_age: "));
}

#[tokio::test]
async fn a_wait_that_outlasts_the_hooks_deadline_is_warned_of() {
    let root = Ca::root("Root");
    for (timeout, is_warned) in [("2s", false), ("2500ms", false), ("3s", true), ("10s", true)] {
        let scene = Scene::new(&root, Box::new(|_| Vec::new()), &format!(", timeout = \"{timeout}\"")).await;
        let fields: Vec<_> = scene.warnings.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields.contains(&"ocsp.timeout"), is_warned, "{timeout}: {fields:?}");
    }
}

/// A responder that takes longer than the pause is not asked again by the next request.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a responder that is slow stops nobody but itself")]
async fn the_pause_after_a_failure_begins_when_it_is_known() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let slow = Box::new(|_: &[u8]| {
        std::thread::sleep(Duration::from_millis(1_100));
        b"no answer".to_vec()
    });
    let scene = Scene::new(&root, slow, "").await;
    let now = portcullis_x509::testing::NOW;
    scene.outcome(&leaf, now).await;
    scene.outcome(&leaf, now.after(PAUSE)).await;
    assert_eq!(scene.asked(), 1, "a second went by while it was asked");
    scene.outcome(&leaf, now.after(PAUSE + Duration::from_secs(2))).await;
    assert_eq!(scene.asked(), 2);
}

#[test]
fn openssls_times_are_read() {
    assert_eq!(instant("Nov 25 13:12:00 2026 GMT"), Some(UnixTime(1_795_612_320)));
    assert_eq!(instant("Jan  1 00:00:00 2027 GMT"), Some(UnixTime(1_798_761_600)));
    assert_eq!(instant("Bad time value"), None);
}

#[test]
fn fuzz_no_answer_is_a_panic() {
    let root = Ca::root("Root");
    let leaf = root.client("leaf", |_| {});
    let status = Status::new(leaf.certificate.clone(), root.certificate.clone());
    let good = openssl(&root, &root, &line(&leaf, false), "1")(&question(&status).unwrap());
    assert_eq!(read(&good, &status).unwrap().said, RevocationStatus::Good);
    let status = std::panic::AssertUnwindSafe(status);
    bolero::check!().with_iterations(1_000).with_type::<(Vec<u8>, Vec<(u16, u8)>)>().for_each(|(bytes, changes)| {
        let _ = read(bytes, &status);
        let mut changed = good.clone();
        for (at, byte) in changes {
            let at = usize::from(*at) % changed.len();
            changed[at] = *byte;
        }
        let said = read(&changed, &status);
        assert!(
            said.is_err() || said.is_ok_and(|found| found.said == RevocationStatus::Good),
            "a changed answer says nothing new"
        );
    });
}
