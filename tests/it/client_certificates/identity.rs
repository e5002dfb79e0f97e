//! Who the client is, on the route and at the upstream.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

use super::{OPEN, World, configured};
use crate::harness::{Authority, Client, Crl, Leaf, Pair, Recorded, Tls, key};

const OPTIONAL: &str = "client_auth = \"optional\"\nclient_ca = [\"clients.pem\", \"between.pem\"]\n\
                        client_crl = \"clients.crl\"";

/// Beside the listener with TLS a plain one, and routes that want different things.
const MORE: &str = r#"
[[listeners]]
address = "127.0.0.1:0"

[policies.certificate]
use = "mtls"
headers = [
    "client-cert", "client-cert-chain", "x-client-cert-cn", "x-client-cert-serial", "x-client-cert-fingerprint",
    "x-client-cert-verify", "x-forwarded-client-cert",
]

[policies.billing]
use = "mtls"
spiffe = { trust_domains = ["example.org"], paths = ["/billing/*"] }

[policies.known]
use = "mtls"
consumer = "required"

[policies.keys]
use = "key-auth"

[consumers.acme]
groups = ["partners"]

[[consumers.acme.credentials]]
use = "mtls"
id = "acme-certificate"
policies = "any"
uri = "spiffe://example.org/billing/acme"

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-key"
sha256 = "@SHA256@"

[routes.certificate]
paths = ["/certificate/{*rest}"]
upstream = "app"
auth = ["certificate"]

[routes.billing]
paths = ["/billing/{*rest}"]
upstream = "app"
auth = ["billing"]

[routes.known]
paths = ["/known/{*rest}"]
upstream = "app"
auth = ["known"]

[routes.either]
paths = ["/either/{*rest}"]
upstream = "app"
auth = ["keys", "certificate"]

[routes.both]
paths = ["/both/{*rest}"]
upstream = "app"
auth = [["keys", "certificate"]]
"#;

/// The gateway of this file, and the authority below that for clients.
struct Site {
    world: World,
    between: Authority,
}

impl Site {
    async fn start() -> Self {
        Self::with_crl(|crl| crl).await
    }

    async fn with_crl(change: impl FnOnce(Crl<'_>) -> Crl<'_>) -> Self {
        let (servers, root) = (Authority::new("Servers"), Authority::new("Clients"));
        let between = root.intermediate("Between");
        let toml = super::GATEWAY.replace("paths = [\"/{*rest}\"]", "paths = [\"/{*rest}\"]\noverlap = \"accepted\"");
        let builder = configured(&servers, &root, OPTIONAL).toml(&toml).set("MORE", MORE);
        let builder = builder.set("SHA256", &key("acme").1).file("between.pem", between.pem());
        let builder = builder.file("clients.crl", change(Crl::of(&root)).pem());
        Self { world: World::of(&servers, &root, builder).await, between }
    }

    /// A client of HTTP/1 and one of HTTP/2 with this certificate.
    fn clients(&self, pair: Option<&Pair>) -> [Client; 2] {
        let tls = || match pair {
            Some(pair) => self.world.tls(OPEN).certificate(pair),
            None => self.world.tls(OPEN),
        };
        [tls().http1(), tls().http2()].map(|tls| Client::by_tls(self.world.gateway.address(0), &tls))
    }
}

/// Headers that say something of a certificate, and others would believe.
const FORGED: &[(&str, &str)] = &[
    ("client-cert", ":Zm9yZ2Vk:"),
    ("client-cert-chain", ":Zm9yZ2Vk:"),
    ("x-client-cert-cn", "forged"),
    ("x-client-cert-serial", "forged"),
    ("x-client-cert-fingerprint", "forged"),
    ("x-client-cert-verify", "SUCCESS"),
    ("x_client_cert_cn", "forged"),
    ("x-client-cert", "forged"),
    ("x-client-verify", "SUCCESS"),
    ("x-client-dn", "CN=forged"),
    ("x-forwarded-client-cert", "Hash=forged"),
    ("x_forwarded_client_cert", "Hash=forged"),
    ("ssl-client-cert", "forged"),
    ("ssl-client-verify", "SUCCESS"),
    ("x-ssl-client-cert", "forged"),
    ("x-amzn-mtls-clientcert", "forged"),
    ("x-user-id", "forged"),
    ("x-consumer", "forged"),
];

async fn ask_with_forged_headers(client: &Client, target: &str) -> u16 {
    let asking = FORGED.iter().fold(client.get(target), |asking, (name, value)| asking.header(name, value));
    asking.send().await.status
}

fn nothing_forged(saw: &Recorded) {
    let text = format!("{:?}", saw.headers);
    assert!(!text.contains("forged") && !text.contains("Zm9yZ2Vk"), "{text}");
}

#[tokio::test]
async fn the_upstream_learns_of_the_connections_certificate_and_of_no_other() {
    let site = Site::start().await;
    let alice = site.between.issue(Leaf::client("alice").uri("spiffe://example.org/billing/acme").dns("a.example.org"));
    for client in site.clients(Some(&alice)) {
        assert_eq!(ask_with_forged_headers(&client, "/certificate/1").await, 200);
        let saw = site.world.upstream.last();
        nothing_forged(&saw);
        let header = |name| saw.header(name);
        let item = |certificate: &openssl::x509::X509| {
            format!(":{}:", BASE64.encode(certificate.to_der().expect("a certificate")))
        };
        assert_eq!(header("client-cert"), Some(item(&alice.certificate).as_str()));
        assert_eq!(header("client-cert-chain"), Some(item(&alice.intermediates[0]).as_str()));
        assert_eq!(header("x-client-cert-cn"), Some("alice"));
        assert_eq!(header("x-client-cert-serial"), Some(alice.serial().as_str()));
        assert_eq!(header("x-client-cert-fingerprint"), Some(alice.fingerprint().as_str()));
        assert_eq!(header("x-client-cert-verify"), Some("SUCCESS"));
        let envoys = header("x-forwarded-client-cert").expect("asked for");
        for part in
            [&format!("Hash={}", alice.fingerprint()), "Subject=\"CN=alice\"", "URI=spiffe://example.org/billing/acme"]
        {
            assert!(envoys.contains(part), "{part} in {envoys}");
        }
        assert_eq!((header("x-consumer"), header("x-auth-method")), (Some("acme"), Some("mtls")));
        assert_eq!(header("x-credential-id"), Some("acme-certificate"));
        // The same certificate on a route that hands nothing on, and on one that asks nobody.
        for target in ["/billing/1", "/public"] {
            assert_eq!(ask_with_forged_headers(&client, target).await, 200);
            let saw = site.world.upstream.last();
            nothing_forged(&saw);
            assert!(saw.headers.iter().all(|(name, _)| !name.contains("client-cert")), "{target}: {saw:?}");
        }
    }
}

#[tokio::test]
async fn without_a_certificate_headers_are_none() {
    let site = Site::start().await;
    let plain = Client::http1(site.world.gateway.address(1));
    let [http1, http2] = site.clients(None);
    for client in [&http1, &http2, &plain] {
        for target in ["/certificate/1", "/billing/1", "/known/1", "/either/1", "/both/1"] {
            assert_eq!(ask_with_forged_headers(client, target).await, 401, "{target}");
        }
        assert_eq!(ask_with_forged_headers(client, "/public").await, 200);
        nothing_forged(&site.world.upstream.last());
    }
    assert_eq!(site.world.upstream.requests(), 3);
}

#[tokio::test]
async fn the_policy_decides_on_the_route() {
    let site = Site::start().await;
    let root = &site.world.clients;
    let acme = root.issue(Leaf::client("acme").uri("spiffe://example.org/billing/acme"));
    let other_path = root.issue(Leaf::client("shop").uri("spiffe://example.org/shop/acme"));
    let other_domain = root.issue(Leaf::client("acme").uri("spiffe://example.net/billing/acme"));
    let two_uris = Leaf::client("acme").uri("spiffe://example.org/billing/acme").uri("spiffe://example.org/billing/b");
    let two_uris = root.issue(two_uris);
    let nameless = root.issue(Leaf::client("acme"));
    // Certificate; what becomes of it on each of the routes certificate, billing, known.
    for (what, pair, expected) in [
        ("none", None, [401, 401, 401]),
        ("acme's", Some(&acme), [200, 200, 200]),
        ("of another path", Some(&other_path), [200, 403, 403]),
        ("of another trust domain", Some(&other_domain), [200, 403, 403]),
        ("of two names", Some(&two_uris), [200, 403, 200]),
        ("with a common name alone", Some(&nameless), [200, 403, 403]),
    ] {
        for client in site.clients(pair) {
            for (target, expected) in ["/certificate/1", "/billing/1", "/known/1"].into_iter().zip(expected) {
                let answer = client.get(target).send().await;
                // Not allowed is 401 or 403: not let in.
                let is_as_expected = answer.status == expected || (expected == 403 && answer.status == 401);
                assert!(is_as_expected, "{what}, {target}: {} {}", answer.status, answer.text());
            }
        }
    }
    let [client, _] = site.clients(None);
    let challenge = client.get("/certificate/1").send().await;
    let challenge = challenge.header("www-authenticate").expect("RFC 9110 section 11.6.1").to_owned();
    assert!(challenge.starts_with("TLS-Client-Certificate"), "{challenge}");
}

#[tokio::test]
async fn certificates_and_keys_stand_for_each_other_or_together() {
    let site = Site::start().await;
    let acme = site.world.clients.issue(Leaf::client("acme").uri("spiffe://example.org/billing/acme"));
    let (key, _) = key("acme");
    for (pair, has_key, either, both) in
        [(None, false, 401, 401), (None, true, 200, 401), (Some(&acme), false, 200, 401), (Some(&acme), true, 200, 200)]
    {
        for client in site.clients(pair) {
            for (target, expected) in [("/either/1", either), ("/both/1", both)] {
                let asking = client.get(target);
                let asking = if has_key { asking.header("x-api-key", &key) } else { asking };
                let answer = asking.send().await;
                assert_eq!(answer.status, expected, "{target}, {has_key}: {}", answer.text());
            }
        }
    }
}

#[tokio::test]
async fn on_a_route_that_needs_a_certificate_the_host_is_the_servers_name() {
    let site = Site::start().await;
    let acme = site.world.clients.issue(Leaf::client("acme").uri("spiffe://example.org/billing/acme"));
    for client in site.clients(Some(&acme)) {
        for target in ["/certificate/1", "/either/1"] {
            assert_eq!(client.get(target).send().await.status, 200, "{target}");
            assert_eq!(client.get(target).host("OPEN.example.com:443").send().await.status, 200, "{target}");
            // Both names ask alike; on a route that takes a certificate for its owner that is not enough.
            let before = site.world.upstream.requests();
            for host in ["other.example.com", "127.0.0.1"] {
                let answer = client.get(target).host(host).send().await;
                assert_eq!(answer.status, 421, "{target}, {host}: {}", answer.text());
            }
            assert_eq!(site.world.upstream.requests(), before);
        }
        assert_eq!(client.get("/public").host("other.example.com").send().await.status, 200);
    }
}

#[tokio::test]
async fn revoked_by_a_reload_is_refused_on_the_next_request_of_a_live_connection() {
    let site = Site::start().await;
    let (alice, bob) = (site.world.clients.issue(Leaf::client("alice")), site.world.clients.issue(Leaf::client("bob")));
    let (of_alice, of_bob) = (site.clients(Some(&alice)), site.clients(Some(&bob)));
    for client in of_alice.iter().chain(&of_bob) {
        assert_eq!(client.get("/certificate/1").send().await.status, 200);
    }
    site.world.gateway.replace("clients.crl", Crl::of(&site.world.clients).revoke(&alice).pem());
    assert_eq!(site.world.gateway.reload().await.code, 0);
    let before = site.world.upstream.requests();
    for client in &of_alice {
        let answer = client.get("/certificate/1").send().await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert_eq!(client.connections().await, 1);
    }
    site.world
        .gateway
        .audit(|event| event["reason"] == "certificate_revoked" && event["event"] == "authentication")
        .await;
    assert_eq!(site.world.upstream.requests(), before);
    for client in &of_bob {
        assert_eq!(client.get("/certificate/1").send().await.status, 200);
    }
    // What asks nobody goes on: the listener does not require one.
    assert_eq!(of_alice[0].get("/public").send().await.status, 200);
}

#[tokio::test]
async fn a_crl_that_expires_ends_a_live_connections_certificate() {
    let site = Site::with_crl(|crl| crl.valid_seconds(-60, 10)).await;
    let alice = site.world.clients.issue(Leaf::client("alice"));
    let [client, _] = site.clients(Some(&alice));
    assert_eq!(client.get("/certificate/1").send().await.status, 200);
    let begun = Instant::now();
    while client.get("/certificate/1").send().await.status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(40), "a CRL that has expired still lets clients in");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!((client.get("/certificate/1").send().await.status, client.connections().await), (401, 1));
    site.world.gateway.audit(|event| event["reason"] == "certificate_revocation_unknown").await;
}

#[tokio::test]
async fn a_stream_ends_when_its_certificate_is_nobodys_any_more() {
    let site = Site::start().await;
    let alice = site.world.clients.issue(Leaf::client("alice").uri("spiffe://example.org/billing/acme"));
    let tls: Tls = site.world.tls(OPEN).certificate(&alice).http1();
    let client = Client::by_tls(site.world.gateway.address(0), &tls);
    let mut answer = client.get("/certificate/held").open().await;
    site.world.upstream.send("first");
    assert!(answer.next().await.expect("a piece").is_ok());
    // The consumer's entry goes; the connection that it opened goes with it.
    site.world.gateway.rewrite(&site.world.gateway.configuration().replace("/billing/acme\"", "/billing/other\""));
    assert_eq!(site.world.gateway.reload().await.code, 0);
    assert!(answer.next().await.expect("word of the end").is_err());
}
