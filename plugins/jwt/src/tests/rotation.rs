//! Keys that are fetched: from an issuer that rotates them, lies, or is gone.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// An issuer on loopback that answers with what it is told to.
struct Publisher {
    address: String,
    answers: Arc<Mutex<Answers>>,
    fetches: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Answers {
    keys: String,
    document: String,
    status: u16,
}

impl Publisher {
    async fn start(keys: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let document = json!({ "issuer": address, "jwks_uri": format!("{address}/keys") }).to_string();
        let answers = Arc::new(Mutex::new(Answers { keys, document, status: 200 }));
        let fetches = Arc::new(AtomicUsize::new(0));
        tokio::spawn(serve(listener, answers.clone(), fetches.clone()));
        Self { address, answers, fetches }
    }

    fn publish(&self, signers: &[&Signer]) {
        self.answers.lock().unwrap().keys = jwks(signers);
    }

    fn fail(&self) {
        self.answers.lock().unwrap().status = 500;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(SeqCst)
    }
}

async fn serve(listener: TcpListener, answers: Arc<Mutex<Answers>>, fetches: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, answers.clone(), fetches.clone()));
    }
}

async fn answer(mut stream: TcpStream, answers: Arc<Mutex<Answers>>, fetches: Arc<AtomicUsize>) {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).await.unwrap();
    let answer = {
        let answers = answers.lock().unwrap();
        let is_document = head[..read].starts_with(b"GET /.well-known/openid-configuration ");
        let body = if is_document { &answers.document } else { &answers.keys };
        fetches.fetch_add(usize::from(!is_document), SeqCst);
        let length = body.len();
        format!(
            "HTTP/1.1 {} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}",
            answers.status
        )
    };
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// The policy, after what is done before publishing.
async fn published(toml: &str) -> Arc<dyn Authenticate> {
    let mut build = Build::new();
    let hooks = build.plugin::<Jwt>(config(toml)).unwrap_or_else(|error| panic!("{:?}", error.problems));
    for work in build.before_publish {
        work.await;
    }
    hooks.authenticate.unwrap()
}

async fn sent(hook: &Arc<dyn Authenticate>, token: &str) -> String {
    let mut request = bearer(token);
    match hook.authenticate(&mut request.cx()).get().await {
        Ok(Authentication::Granted(identity)) => identity.subject.clone().unwrap(),
        Ok(Authentication::Denied(denial)) => denial.reason.to_string(),
        Ok(Authentication::Absent) => "absent".to_owned(),
        Ok(other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_))) => panic!("{other:?}"),
        Err(_) => "failed".to_owned(),
    }
}

fn by_url(publisher: &Publisher, extra: &str) -> String {
    format!("issuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\"]\njwks_url = \"{}/keys\"\n{extra}", publisher.address)
}

#[tokio::test]
async fn a_rotation_loses_no_good_token_and_forgets_those_of_a_withdrawn_key() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let hook = published(&by_url(&publisher, "")).await;
    let (old, new) = (EC.sign(&claims(json!({}))), ED.sign(&claims(json!({}))));
    assert_eq!(sent(&hook, &old).await, "alice");
    publisher.publish(&[&ED]);
    assert_eq!(sent(&hook, &old).await, "alice", "known keys serve until newer ones are fetched");
    assert_eq!(sent(&hook, &new).await, "alice", "an unknown key is asked for");
    assert_eq!(publisher.fetches(), 2);
    assert_eq!(sent(&hook, &old).await, "signing_key_unknown", "remembered, and its key is gone");
    assert_eq!(sent(&hook, &new).await, "alice");
}

#[tokio::test]
async fn unknown_keys_make_no_more_fetches_than_there_is_a_budget_for() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let hook = published(&by_url(&publisher, "")).await;
    for kid in ["x", "y", "x"] {
        let token = EC.sign_with(&claims(json!({})), |header| header.kid = Some(kid.to_owned()));
        assert_eq!(sent(&hook, &token).await, "signing_key_unknown");
    }
    assert_eq!(publisher.fetches(), 3, "the first, and one for each but the last, which is remembered");
}

#[tokio::test]
async fn an_unknown_issuer_or_algorithm_fetches_nothing() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let hook = published(&by_url(&publisher, "algorithms = [\"ES256\"]")).await;
    let before = publisher.fetches();
    let stranger = ED.sign(&claims(json!({ "iss": "https://other.example.com" })));
    assert_eq!(sent(&hook, &stranger).await, "issuer_unknown");
    assert_eq!(sent(&hook, &ED.sign(&claims(json!({})))).await, "algorithm_not_allowed");
    assert_eq!(publisher.fetches(), before);
}

#[tokio::test]
async fn known_keys_serve_while_the_issuer_is_down_and_no_or_another_key_is_503() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let hook = published(&by_url(&publisher, "")).await;
    publisher.fail();
    assert_eq!(sent(&hook, &EC.sign(&claims(json!({})))).await, "alice");
    assert_eq!(sent(&hook, &ED.sign(&claims(json!({})))).await, "failed", "an unknown key cannot be decided");
    let never = published(&by_url(&publisher, "fetch = { cooldown = \"1s\" }")).await;
    assert_eq!(sent(&never, &EC.sign(&claims(json!({})))).await, "failed");
    // The issuer is back: the next request does not wait for the background.
    publisher.answers.lock().unwrap().status = 200;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(sent(&never, &EC.sign(&claims(json!({})))).await, "alice");
}

#[tokio::test]
async fn keys_that_are_too_old_are_503_for_remembered_tokens_too() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let short = "fetch = { refresh = \"1m\", max_stale = \"1m\" }";
    let hook = published(&by_url(&publisher, short)).await;
    let token = EC.sign(&claims(json!({})));
    assert_eq!(sent(&hook, &token).await, "alice");
    publisher.fail();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(119)).await;
    assert_eq!(sent(&hook, &token).await, "alice", "stale, and still good");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(sent(&hook, &token).await, "failed");
}

#[tokio::test]
async fn discovery_asks_the_issuer_where_its_keys_are() {
    let publisher = Publisher::start(jwks(&[&EC])).await;
    let toml = format!("issuer = \"{}\"\naudience = [\"{AUDIENCE}\"]\ndiscovery = true", publisher.address);
    let hook = published(&toml).await;
    let token = EC.sign(&claims(json!({ "iss": publisher.address })));
    assert_eq!(sent(&hook, &token).await, "alice");
    assert_eq!(sent(&hook, &EC.sign(&claims(json!({})))).await, "issuer_unknown");
    // One that speaks for another issuer is not believed.
    publisher.answers.lock().unwrap().document =
        json!({ "issuer": ISSUER, "jwks_uri": format!("{}/keys", publisher.address) }).to_string();
    assert_eq!(sent(&published(&toml).await, &token).await, "failed");
}

#[tokio::test]
async fn each_issuer_has_its_own_keys() {
    let (one, two) = (Publisher::start(jwks(&[&EC])).await, Publisher::start(jwks(&[&ED])).await);
    let hook = published(&format!(
        "audience = [\"{AUDIENCE}\"]\ndiscovery = true\nissuers = [{{ issuer = \"{}\" }}, {{ issuer = \"{}\" }}]",
        one.address, two.address
    ))
    .await;
    for (publisher, signer, expected) in [
        (&one, &*EC, "alice"),
        (&two, &*ED, "alice"),
        (&one, &*ED, "signing_key_unknown"),
        (&two, &*EC, "signing_key_unknown"),
    ] {
        assert_eq!(sent(&hook, &signer.sign(&claims(json!({ "iss": publisher.address })))).await, expected);
    }
}
