//! Who calls, by address: the peer, unless somebody who is trusted says otherwise; and what the upstream is told of it.

use crate::harness::{Client, Gateway, Upstream, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[client_address]
@TRUST@

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.keys]
use = "key-auth"

[routes.public]
paths = ["/public"]
upstream = "app"
public = true

[routes.keyed]
paths = ["/keyed"]
upstream = "app"
auth = ["keys"]

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
addresses = ["203.0.113.0/24", "2001:db8::/32"]
"#;

struct Site {
    gateway: Gateway,
    upstream: Upstream,
    client: Client,
    key: String,
}

/// What the upstream was told about the client.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    x_forwarded_for: Option<String>,
    proto: Option<String>,
    host: Option<String>,
    forwarded: Option<String>,
}

impl Site {
    /// A gateway whose `[client_address]` says this.
    async fn start(trust: &str) -> Self {
        let (key, sha256) = key("acme");
        let upstream = Upstream::start();
        let builder = Gateway::builder(GATEWAY).set("TRUST", trust).set("UPSTREAM", &upstream.address());
        let gateway = builder.set("SHA256", &sha256).start().await;
        let client = Client::http1(gateway.address(0));
        Self { gateway, upstream, client, key }
    }

    /// What the upstream is told of a request with these headers, and the address in the log.
    async fn told(&self, headers: &[(&str, &str)]) -> (Told, String) {
        let asking = self.client.get("/public").host("api.example:8443");
        let asking = headers.iter().fold(asking, |asking, (name, value)| asking.header(name, value));
        assert_eq!(asking.send().await.status, 200);
        let saw = self.upstream.last();
        let id = saw.header("x-request-id").expect("a request id");
        let line = self.gateway.access(|line| line["request_id"] == id).await;
        let header = |name| saw.header(name).map(str::to_owned);
        let told = Told {
            x_forwarded_for: header("x-forwarded-for"),
            proto: header("x-forwarded-proto"),
            host: header("x-forwarded-host"),
            forwarded: header("forwarded"),
        };
        (told, line["address"].as_str().expect("an address").to_owned())
    }

    /// The chain in `X-Forwarded-For` as the upstream gets it, and the address in the log, for one that came in.
    async fn chain(&self, came: &str) -> (String, String) {
        let (told, address) = self.told(&[("x-forwarded-for", came)]).await;
        (told.x_forwarded_for.expect("it is sent"), address)
    }

    /// The status of a request with the key, which is good for some addresses only.
    async fn keyed(&self, came: &str) -> u16 {
        let asking = self.client.get("/keyed").header("x-api-key", &self.key);
        asking.header("x-forwarded-for", came).send().await.status
    }
}

/// What nobody but a trusted hop may say.
const SPOOFED: [(&str, &str); 9] = [
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-for", "203.0.113.8, 203.0.113.9"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "admin.example"),
    ("x-forwarded-port", "443"),
    ("forwarded", "for=203.0.113.7;proto=https;host=admin.example"),
    ("x-real-ip", "203.0.113.7"),
    ("true-client-ip", "203.0.113.7"),
    ("x_forwarded_for", "203.0.113.7"),
];

fn own(x_forwarded_for: &str) -> Told {
    let (proto, host) = (Some("http".into()), Some("api.example:8443".into()));
    Told { x_forwarded_for: Some(x_forwarded_for.into()), proto, host, forwarded: None }
}

#[tokio::test]
async fn nobody_is_believed_who_is_not_named() {
    for trust in ["", "trust = [\"10.0.0.0/8\", \"203.0.113.0/24\", \"::/0\"]"] {
        let site = Site::start(trust).await;
        assert_eq!(site.told(&SPOOFED).await, (own("127.0.0.1"), "127.0.0.1".into()), "{trust:?}");
        let saw = format!("{:?}", site.upstream.last());
        assert!(!saw.contains("203.0.113.") && !saw.contains("admin.example") && !saw.contains("\"443\""), "{saw}");
        assert_eq!(site.keyed("203.0.113.7").await, 403, "{trust:?}");
        assert_eq!(site.upstream.requests(), 1);
        let event = site.gateway.audit(|event| event["reason"] == "address_not_allowed").await;
        assert_eq!(event["address"], "127.0.0.1");
    }
}

#[tokio::test]
async fn a_number_of_hops_is_counted_from_the_right() {
    let one = Site::start("trust = 1").await;
    for (came, chain, client) in [
        ("203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("[2001:DB8::0:1]:4711", "2001:db8::1, 127.0.0.1", "2001:db8::1"),
        ("203.0.113.7, unknown", "127.0.0.1", "127.0.0.1"),
        ("203.0.113.7,", "127.0.0.1", "127.0.0.1"),
        ("203.0.113.7, 999.1.1.1", "127.0.0.1", "127.0.0.1"),
        ("", "127.0.0.1", "127.0.0.1"),
    ] {
        assert_eq!(one.chain(came).await, (chain.into(), client.into()), "{came:?}");
    }
    let two = Site::start("trust = 2").await;
    for (came, chain, client) in [
        ("1.1.1.1, 203.0.113.7, 10.0.0.1", "203.0.113.7, 10.0.0.1, 127.0.0.1", "203.0.113.7"),
        ("203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("203.0.113.7, evil, 10.0.0.1", "10.0.0.1, 127.0.0.1", "10.0.0.1"),
    ] {
        assert_eq!(two.chain(came).await, (chain.into(), client.into()), "{came:?}");
    }
    let lines = [("x-forwarded-for", "1.1.1.1, 203.0.113.7"), ("x-forwarded-for", "10.0.0.1")];
    assert_eq!(two.told(&lines).await.1, "203.0.113.7", "several lines are one list");
}

#[tokio::test]
async fn networks_are_walked_from_the_right_to_the_first_stranger() {
    let site = Site::start("trust = [\"127.0.0.1\", \"10.0.0.0/8\"]").await;
    for (came, chain, client) in [
        ("203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.1.1.1", "203.0.113.7, 10.1.1.1, 127.0.0.1", "203.0.113.7"),
        ("10.9.9.9, 203.0.113.7", "203.0.113.7, 127.0.0.1", "203.0.113.7"),
        ("1.1.1.1, ::ffff:10.1.1.1", "1.1.1.1, 10.1.1.1, 127.0.0.1", "1.1.1.1"),
        ("1.1.1.1, evil, 10.1.1.1", "10.1.1.1, 127.0.0.1", "10.1.1.1"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2, 10.1.1.1, 127.0.0.1", "10.2.2.2"),
    ] {
        assert_eq!(site.chain(came).await, (chain.into(), client.into()), "{came:?}");
    }
}

#[tokio::test]
async fn the_addresses_of_a_credential_follow_the_trusted_client_address() {
    let site = Site::start("trust = 1").await;
    for (came, status) in [
        ("203.0.113.7", 200),
        ("::ffff:203.0.113.7", 200),
        ("2001:db8::7", 200),
        ("198.51.100.1, 203.0.113.7", 200),
        ("203.0.113.7, 198.51.100.1", 403),
        ("203.0.113.7, evil", 403),
        ("203.0.114.7", 403),
        ("2001:db9::7", 403),
        ("", 403),
    ] {
        let before = site.upstream.requests();
        assert_eq!(site.keyed(came).await, status, "{came:?}");
        assert_eq!(site.upstream.requests() - before, usize::from(status == 200), "{came:?}");
    }
    let event = site.gateway.audit(|event| event["address"] == "198.51.100.1").await;
    assert_eq!((&event["reason"], &event["credential_id"]), (&"address_not_allowed".into(), &"acme-1".into()));
}

#[tokio::test]
async fn one_header_speaks_and_never_two() {
    let site = Site::start("trust = 1\nheader = \"x-real-ip\"").await;
    let both = [("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "203.0.113.7"), ("forwarded", "for=2.2.2.2")];
    assert_eq!(site.told(&both).await, (own("203.0.113.7, 127.0.0.1"), "203.0.113.7".into()));
    assert_eq!(site.upstream.last().header("x-real-ip"), None);
    assert_eq!(site.told(&[("x-forwarded-for", "1.1.1.1")]).await, (own("127.0.0.1"), "127.0.0.1".into()));

    let site = Site::start("trust = 1\nheader = \"forwarded\"").await;
    let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=2.2.2.2, For=\"[2001:db8::7]:80\";proto=https")];
    assert_eq!(site.told(&both).await.1, "2001:db8::7");
}

#[tokio::test]
async fn a_trusted_hop_may_say_that_it_ended_tls() {
    let site = Site::start("trust = [\"127.0.0.0/8\"]").await;
    for (came, proto) in [("https", "https"), ("http", "http"), ("gopher", "http"), ("https, http", "http")] {
        let (told, _) = site.told(&[("x-forwarded-proto", came), ("x-forwarded-host", "admin.example")]).await;
        assert_eq!((told.proto.as_deref(), told.host.as_deref()), (Some(proto), Some("api.example:8443")), "{came}");
    }
}

#[tokio::test]
async fn the_upstream_is_told_in_the_form_that_the_file_says() {
    let site = Site::start("send = []").await;
    assert_eq!(site.told(&SPOOFED).await.0, Told::default());

    let site = Site::start("trust = 1\nsend = [\"forwarded\"]").await;
    for (came, hops) in [
        ("203.0.113.7", "for=203.0.113.7, for=127.0.0.1"),
        ("2001:db8::7", "for=\"[2001:db8::7]\", for=127.0.0.1"),
        ("evil;by=me", "for=127.0.0.1"),
    ] {
        let forwarded = Some(format!("{hops};host=\"api.example:8443\";proto=http"));
        let (told, _) = site.told(&[("x-forwarded-for", came), ("forwarded", "for=9.9.9.9")]).await;
        assert_eq!(told, Told { forwarded, ..Told::default() });
    }

    let site = Site::start("send = [\"x-forwarded\", \"forwarded\"]").await;
    let forwarded = Some("for=127.0.0.1;host=\"api.example:8443\";proto=http".into());
    assert_eq!(site.told(&SPOOFED).await.0, Told { forwarded, ..own("127.0.0.1") });
}

#[tokio::test]
async fn over_http2_the_rules_are_the_same() {
    let site = Site::start("trust = 1").await;
    let client = Client::http2(site.gateway.address(0));
    let asking = client.get("/public").host("api.example").header("x-forwarded-for", "1.1.1.1, 203.0.113.7");
    assert_eq!(asking.header("forwarded", "for=9.9.9.9").send().await.status, 200);
    let saw = site.upstream.last();
    assert_eq!(saw.header("x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!((saw.header("x-forwarded-host"), saw.header("forwarded")), (Some("api.example"), None));
}
