//! Client certificates, as a load balancer in front hands them on. The test is that load balancer, on 127.0.0.1.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use portcullis_x509::testing::Ca;

use crate::harness::{Authority, Client, Gateway, Leaf, Reply, Response, Upstream, eventually, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.behind-balancer]
use = "mtls"
ca = "ca.pem"
crl = "ca.crl"
crl_policy = "required"
from_header = { header = "x-amzn-mtls-clientcert", chain = "client-cert-chain", networks = ["@NETWORK@"] }
headers = ["client-cert", "x-client-cert-cn", "x-client-cert-serial", "x-client-cert-verify", "x-forwarded-client-cert"]

[policies.connection]
use = "mtls"

[[consumers.acme.credentials]]
use = "mtls"
id = "acme-billing"
policies = ["behind-balancer"]
uri = "spiffe://example.org/acme/billing"
scopes = ["orders:read"]

[routes.orders]
paths = ["/orders/{*rest}"]
upstream = "app"
auth = ["behind-balancer"]

[routes.direct]
paths = ["/direct/{*rest}"]
upstream = "app"
auth = ["connection"]

[routes.public]
paths = ["/public/{*rest}"]
upstream = "app"
public = true
"#;

struct Site {
    gateway: Gateway,
    upstream: Upstream,
    root: Ca,
    billing: Ca,
}

impl Site {
    /// A gateway that believes load balancers in this network.
    async fn start(network: &str) -> Self {
        let root = Ca::root("Partners");
        let billing = root.client("billing", |sketch| {
            sketch.uris(&["spiffe://example.org/acme/billing"]);
            sketch.serial = Some(vec![0x0A, 0xBC]);
        });
        let upstream = Upstream::start();
        let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).set("NETWORK", network);
        let gateway = builder.file("ca.pem", root.pem()).file("ca.crl", root.crl_pem(&[], |_| {})).start().await;
        Self { gateway, upstream, root, billing }
    }

    /// Asks as a load balancer does whose client has shown this certificate.
    async fn ask(&self, target: &str, certificate: &Ca) -> Response {
        let client = Client::http1(self.gateway.address(0));
        let pem = certificate.pem().replace('\n', "%0A").replace(' ', "%20");
        let asking = client.get(target).header("x-amzn-mtls-clientcert", &pem);
        asking.header("x-forwarded-client-cert", "Hash=forged").header("x-client-cert-cn", "forged").send().await
    }
}

#[tokio::test]
async fn the_upstream_learns_whose_certificate_a_load_balancer_has_seen() {
    let site = Site::start("127.0.0.0/8").await;
    assert_eq!(site.ask("/orders/7", &site.billing).await.status, 200);
    let saw = site.upstream.last();
    assert_eq!((saw.header("x-consumer"), saw.header("x-credential-id")), (Some("acme"), Some("acme-billing")));
    assert_eq!((saw.header("x-auth-method"), saw.header("x-scopes")), (Some("mtls"), Some("orders:read")));
    assert_eq!(saw.header("x-client-id"), Some("spiffe://example.org/acme/billing"));
    assert_eq!(saw.header("x-user-id"), None);
    let certificate = format!(":{}:", BASE64.encode(site.billing.der()));
    assert_eq!(saw.header("client-cert"), Some(certificate.as_str()));
    assert_eq!((saw.header("x-client-cert-cn"), saw.header("x-client-cert-serial")), (Some("billing"), Some("0ABC")));
    assert_eq!(saw.header("x-client-cert-verify"), Some("SUCCESS"));
    let xfcc = saw.header("x-forwarded-client-cert").expect("asked for");
    assert!(xfcc.ends_with(";Subject=\"CN=billing\";URI=spiffe://example.org/acme/billing"), "{xfcc}");
    assert_eq!(saw.header("x-amzn-mtls-clientcert"), None, "what was believed is not handed on as it came");
}

#[tokio::test]
async fn a_certificate_header_from_anybody_else_is_nothing() {
    let site = Site::start("10.0.0.0/8").await;
    let answer = site.ask("/orders/7", &site.billing).await;
    assert_eq!((answer.status, site.upstream.requests()), (401, 0));
    assert_eq!(answer.header("www-authenticate"), Some("TLS-Client-Certificate realm=\"orders\""));
    let refused = site.gateway.audit(|event| event["route"] == "orders").await;
    assert_eq!(refused["reason"], "credential_absent");
    // Nor does it reach the service where nobody asks who calls.
    assert_eq!(site.ask("/public/7", &site.billing).await.status, 200);
    let saw = site.upstream.last();
    for name in ["x-amzn-mtls-clientcert", "x-forwarded-client-cert", "x-client-cert-cn", "client-cert"] {
        assert_eq!(saw.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_header_is_no_certificate_of_the_connection() {
    let site = Site::start("127.0.0.0/8").await;
    let answer = site.ask("/direct/7", &site.billing).await;
    assert_eq!((answer.status, site.upstream.requests()), (401, 0));
    assert_eq!(answer.header("www-authenticate"), Some("TLS-Client-Certificate realm=\"direct\""));
}

#[tokio::test]
async fn what_a_load_balancer_let_in_is_verified_again() {
    let site = Site::start("127.0.0.0/8").await;
    let cases = [
        (Ca::root("Partners").client("billing", |_| {}), "certificate_unknown_ca"),
        (site.root.client("ended", |sketch| sketch.not_after = 1_700_000_001), "certificate_expired"),
        (site.root.client("early", |sketch| sketch.not_before = 1_900_000_000 - 1), "certificate_not_yet_valid"),
        (site.root.client("server", |sketch| sketch.purposes = vec!["serverAuth"]), "certificate_wrong_purpose"),
    ];
    for (certificate, reason) in cases {
        assert_eq!(site.ask("/orders/7", &certificate).await.status, 401, "{reason}");
        let refused = site.gateway.audit(|event| event["reason"] == reason).await;
        assert_eq!((&refused["claimed"]["issuer"], refused.get("subject")), (&"CN=Partners".into(), None), "{refused}");
    }
    assert_eq!(site.upstream.requests(), 0);
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_was_handed_on_for_it() {
    let site = Site::start("127.0.0.0/8").await;
    let other = site.root.client("other", |_| {});
    let opened = async |certificate: &Ca| {
        let client = Client::http1(site.gateway.address(0));
        let pem = certificate.pem().replace('\n', "%0A").replace(' ', "%20");
        let asking = client.get("/orders/sse?chunks=2&ms=3600000").header("x-amzn-mtls-clientcert", &pem);
        let mut answer = asking.open().await;
        assert_eq!((answer.status(), answer.next().await.expect("an event").is_ok()), (200, true));
        (client, answer)
    };
    let (mut of_billing, mut of_other) = (opened(&site.billing).await, opened(&other).await);
    // A reload by which nothing changes for them, and one that revokes one of them.
    site.gateway.rewrite(&site.gateway.configuration().replace("\"x-client-cert-serial\", ", ""));
    assert_eq!(site.gateway.reload().await.code, 0);
    let crl = site.root.crl_pem(&[&site.billing.certificate], |_| {});
    std::fs::write(site.gateway.dir().join("ca.crl"), crl).expect("the CRL");
    assert_eq!(site.gateway.reload().await.code, 0);
    assert!(of_billing.1.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
    let event = site.gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!((&event["reason"], &event["consumer"]), (&"certificate_revoked".into(), &"acme".into()));
    let open = async || site.gateway.metric("portcullis_open_streams").await == 1.0;
    eventually("the other one is left", open).await;
    let more = tokio::time::timeout(Duration::from_millis(100), of_other.1.next()).await;
    assert!(more.is_err(), "it goes on");
}

#[tokio::test]
async fn a_stream_ends_when_a_responder_says_that_its_certificate_was_revoked() {
    let (root, leaf) = {
        let root = Authority::new("Partners");
        let leaf = root.issue(Leaf::client("billing"));
        (root, leaf)
    };
    let answers = [false, true].map(|is_revoked| crate::harness::ocsp(&root, &leaf, is_revoked));
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let responder = Upstream::with(move |_| {
        let number = count.fetch_add(1, SeqCst).min(1);
        Reply::new(200).header("content-type", "application/ocsp-response").body(answers[number].clone())
    });
    let upstream = Upstream::start();
    let ocsp = format!("ocsp = {{ responder = \"http://{}\", max_age = \"2s\" }}\n", responder.address());
    let toml = GATEWAY.replace("crl = \"ca.crl\"\ncrl_policy = \"required\"\n", &ocsp);
    let builder = Gateway::builder(&toml).set("UPSTREAM", &upstream.address()).set("NETWORK", "127.0.0.0/8");
    let gateway = builder.file("ca.pem", root.pem()).start().await;
    let pem = leaf.pem().replace('\n', "%0A").replace(' ', "%20");
    let client = Client::http1(gateway.address(0));
    let asking = client.get("/orders/sse?chunks=2&ms=3600000").header("x-amzn-mtls-clientcert", &pem);
    let mut stream = asking.open().await;
    assert_eq!((stream.status(), stream.next().await.expect("an event").is_ok()), (200, true));
    eventually("it has lasted", async || gateway.metric("portcullis_open_streams").await == 1.0).await;
    // Another request is the one that learns it, and the stream need not wait for a minute to pass.
    let status = async || {
        let client = Client::http1(gateway.address(0));
        client.get("/orders/7").header("x-amzn-mtls-clientcert", &pem).send().await.status
    };
    eventually("the next answer", async || status().await == 401).await;
    assert!(stream.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
    let event = gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!((&event["reason"], asked.load(SeqCst)), (&"certificate_revoked".into(), 2), "{event}");
}

#[tokio::test]
async fn a_stream_that_is_to_end_does_not_wait_for_hundreds_that_a_silent_responder_holds_up() {
    const MANY: usize = 640;
    let root = Ca::root("Partners");
    // It takes connections, and never answers.
    let responder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = responder.local_addr().expect("an address");
    let ocsp = format!("ocsp = {{ responder = \"http://{address}\", on_failure = \"allow\" }}\n");
    let (key, digest) = key("acme");
    let toml = GATEWAY.replace("crl = \"ca.crl\"\ncrl_policy = \"required\"\n", &ocsp)
        + &format!(
            "[server]\nhook_timeout = \"30s\"\n\n[policies.keys]\nuse = \"key-auth\"\n\n\
             [routes.keyed]\npaths = [\"/keyed/{{*rest}}\"]\nupstream = \"app\"\nauth = [\"keys\"]\n\n\
             [[consumers.acme.credentials]]\nuse = \"key-auth\"\nid = \"acme-key\"\nsha256 = \"{digest}\"\n"
        );
    let upstream = Upstream::start();
    let builder = Gateway::builder(&toml).set("UPSTREAM", &upstream.address()).set("NETWORK", "127.0.0.0/8");
    let gateway = builder.file("ca.pem", root.pem()).start().await;
    let opened = (0..MANY).map(|number| {
        let pem = root.client(&number.to_string(), |_| {}).pem().replace('\n', "%0A").replace(' ', "%20");
        let client = Client::http1(gateway.address(0));
        tokio::spawn(async move {
            let asking = client.get("/orders/sse?chunks=2&ms=3600000").header("x-amzn-mtls-clientcert", &pem);
            let mut stream = asking.open().await;
            assert_eq!((stream.status(), stream.next().await.expect("an event").is_ok()), (200, true));
            (client, stream)
        })
    });
    let mut waiting = Vec::new();
    for opened in opened.collect::<Vec<_>>() {
        waiting.push(opened.await.expect("an open stream"));
    }
    let client = Client::http1(gateway.address(0));
    let mut keyed = client.get("/keyed/sse?chunks=2&ms=3600000").header("x-api-key", &key).open().await;
    assert!(keyed.next().await.expect("an event").is_ok());
    let many = MANY as f64 + 1.0;
    eventually("all have lasted", async || gateway.metric("portcullis_open_streams").await == many).await;
    gateway.rewrite(&gateway.configuration().replace("id = \"acme-key\"", "id = \"acme-key\"\nenabled = false"));
    assert_eq!(gateway.reload().await.code, 0);
    assert!(keyed.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
    let event = gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!(event["reason"], "credential_disabled", "{event}");
    assert_eq!(gateway.metric("portcullis_open_streams").await, MANY as f64, "the others go on");
}

#[tokio::test]
async fn a_certificate_stops_working_when_it_is_revoked() {
    let site = Site::start("127.0.0.0/8").await;
    let other = site.root.client("other", |_| {});
    assert_eq!(site.ask("/orders/7", &site.billing).await.status, 200);
    let crl = site.root.crl_pem(&[&site.billing.certificate], |_| {});
    std::fs::write(site.gateway.dir().join("ca.crl"), crl).expect("the CRL");
    assert_eq!(site.gateway.reload().await.code, 0);
    assert_eq!(site.ask("/orders/7", &site.billing).await.status, 401);
    site.gateway.audit(|event| event["reason"] == "certificate_revoked").await;
    assert_eq!(site.ask("/orders/7", &other).await.status, 200);
    // One that is out of date is no list at all: the reload is refused, and the good one stays.
    let ended = site.root.crl_pem(&[], |sketch| sketch.next_update = Some(1_700_000_001));
    std::fs::write(site.gateway.dir().join("ca.crl"), ended).expect("the CRL");
    let refused = site.gateway.reload().await;
    assert!(refused.code != 0 && format!("{refused:?}").contains("has expired"), "{refused:?}");
    assert_eq!(site.ask("/orders/7", &site.billing).await.status, 401);
}

/// What can never fit is said before anything serves, with its place in the list and what stands there.
#[tokio::test]
async fn names_that_fit_no_certificate_refuse_the_start() {
    let names = "uris = [\"spiffe://example.org/a\", \"spiffe://example.org/*\"]\nsubjects = [\"O = ACME, CN = fpc\"]";
    let toml = GATEWAY.replace("id = \"acme-billing\"", "id = \"acme-billing\"\nsubject = \"O=ACME, CN=fpc\"");
    let toml = toml.replace("[policies.connection]", &format!("[policies.connection]\n{names}"));
    let root = Ca::root("Partners");
    let builder = Gateway::builder(&toml).set("UPSTREAM", "127.0.0.1:9").set("NETWORK", "127.0.0.1/32");
    let (code, said) = builder.file("ca.pem", root.pem()).file("ca.crl", root.crl_pem(&[], |_| {})).fails().await;
    assert_eq!(code, 2, "{said}");
    for words in [
        "policies.connection (mtls).uris[1]: `spiffe://example.org/*` has a `*`",
        "`spiffe.paths`",
        "policies.connection (mtls).subjects[0]: `O = ACME, CN = fpc` is not a distinguished name",
        "credentials[0].subject: `O=ACME, CN=fpc` is not a distinguished name",
    ] {
        assert!(said.contains(words), "{words}:\n{said}");
    }
}
