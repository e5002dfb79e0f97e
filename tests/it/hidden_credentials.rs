//! The credential opens the gateway and stays there: from every place in which it stood it is gone before the upstream
//! sees the request, and all else is there byte for byte.

use crate::harness::{Client, Gateway, Raw, RawUpstream, Upstream, WebSocket, key};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.anywhere]
use = "key-auth"
from = [{ header = "authorization", scheme = "ApiKey" }, { header = "x-api-key" }, { query = "key" }, { cookie = "key" }]

[policies.bearer]
use = "key-auth"
header = "authorization"
scheme = "Bearer"

[policies.kept]
use = "key-auth"
from = [{ header = "x-kept" }, { query = "kept" }, { cookie = "kept" }]
keep_credential = true

[routes.anywhere]
paths = ["/anywhere"]
upstream = "app"
auth = ["anywhere"]

[routes.either]
paths = ["/either"]
upstream = "app"
auth = ["bearer", "anywhere"]

[routes.kept]
paths = ["/kept"]
upstream = "app"
auth = ["kept"]

[routes.guests]
paths = ["/guests"]
upstream = "app"
auth = ["anywhere"]
anonymous = "acme"

[consumers.acme]

[[consumers.acme.credentials]]
use = "key-auth"
id = "acme-1"
sha256 = "@SHA256@"
policies = "any"
"#;

struct Site {
    gateway: Gateway,
    upstream: RawUpstream,
    key: String,
}

async fn gateway(upstream: &impl ToString) -> (Gateway, String) {
    let (key, sha256) = key("acme");
    (Gateway::builder(GATEWAY).set("UPSTREAM", upstream).set("SHA256", &sha256).start().await, key)
}

impl Site {
    async fn start() -> Self {
        let upstream = RawUpstream::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let (gateway, key) = gateway(&upstream.address()).await;
        Self { gateway, upstream, key }
    }

    /// The status of a request; `KEY` in target and header lines stands for the key.
    async fn ask(&self, target: &str, lines: &str) -> u16 {
        let request = format!("GET {target} HTTP/1.1\r\nHost: api.example\r\n{lines}\r\n").replace("KEY", &self.key);
        let mut connection = Raw::open(self.gateway.address(0)).await;
        connection.send(request).await;
        let head = connection.until("\r\n\r\n").await;
        head["HTTP/1.1 ".len()..][..3].parse().expect("a status")
    }

    /// Target, and the lines that the client may have sent, of what the upstream got.
    async fn forwards(&self, target: &str, lines: &str) -> (String, Vec<String>) {
        assert_eq!(self.ask(target, lines).await, 200, "{target} {lines}");
        let saw = self.upstream.saw().pop().expect("a request");
        let target = saw["GET ".len()..].split(" HTTP/1.1\r\n").next().expect("a request line").to_owned();
        // Names in lower case: what is set anew gets another spelling, which means nothing.
        let lines = saw.lines().filter_map(|line| line.split_once(": "));
        let lines = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.replace(&self.key, "KEY")));
        let ours = lines.filter(|(name, _)| ["authorization", "cookie", "x-api-key", "x-kept"].contains(&&**name));
        let kept = ours.map(|(name, value)| format!("{name}: {value}")).collect();
        assert!(saw.to_ascii_lowercase().contains("x-consumer: acme\r\n"), "{saw}");
        (target.replace(&self.key, "KEY"), kept)
    }
}

#[tokio::test]
async fn a_key_in_a_header_is_removed_with_all_its_lines() {
    let site = Site::start().await;
    for lines in [
        "X-API-Key: KEY\r\n",
        "x-api-key:   KEY\t\r\n",
        "X-API-Key: KEY\r\nX-API-KEY: KEY\r\n",
        "X-API-Key: KEY\r\nX_API_Key: KEY\r\n",
        "Authorization: ApiKey KEY\r\n",
        "Authorization: apikey  KEY\r\n",
    ] {
        let (target, kept) = site.forwards("/anywhere?a=1", lines).await;
        assert_eq!((target.as_str(), kept), ("/anywhere?a=1", vec![]), "{lines}");
        assert!(!site.upstream.saw().concat().contains(&site.key), "{lines}");
    }
    let basic = "X-API-Key: KEY\r\nAuthorization: Basic dTpw\r\n";
    assert_eq!(site.forwards("/anywhere", basic).await.1, ["authorization: Basic dTpw"], "another scheme is no key");
    let longer = "X-API-Key: KEY\r\nAuthorization: ApiKeys x\r\n";
    assert_eq!(site.forwards("/anywhere", longer).await.1, ["authorization: ApiKeys x"]);
}

#[tokio::test]
async fn a_key_in_the_query_is_removed_and_the_rest_stays_byte_for_byte() {
    let site = Site::start().await;
    for (query, expected) in [
        ("?key=KEY", ""),
        ("?a=1&key=KEY&b=%7e", "?a=1&b=%7e"),
        ("?key=KEY&a", "?a"),
        ("?a&key=KEY", "?a"),
        ("?key=KEY&key=KEY&x=/../", "?x=/../"),
        ("?%6Bey=KEY&a=%zz;", "?a=%zz;"),
        ("?k%65%79=KEY&Key=1&keys=2&akey=3", "?Key=1&keys=2&akey=3"),
        ("?key=KEY&&=&", "?&=&"),
    ] {
        let (target, _) = site.forwards(&format!("/anywhere{query}"), "").await;
        assert_eq!(target, format!("/anywhere{expected}"), "{query}");
    }
    let escaped: String = site.key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(site.forwards(&format!("/anywhere?key={escaped}"), "").await.0, "/anywhere");
    assert!(!site.gateway.output().contains(&site.key), "a key from a query stands in the log");
}

#[tokio::test]
async fn a_key_in_a_cookie_is_removed_and_the_other_cookies_stay() {
    let site = Site::start().await;
    for (line, expected) in [
        ("key=KEY", None),
        ("a=1; key=KEY; b=2", Some("a=1; b=2")),
        ("key=KEY; a=1", Some("a=1")),
        ("a=1;key=KEY", Some("a=1")),
        ("a=1; key=\"KEY\"; b=\"2\"", Some("a=1; b=\"2\"")),
        ("key=KEY; key=KEY; keys=3; Key=4", Some("keys=3; Key=4")),
    ] {
        let (_, kept) = site.forwards("/anywhere", &format!("Cookie: {line}\r\n")).await;
        let expected: Vec<String> = expected.into_iter().map(|kept| format!("cookie: {kept}")).collect();
        assert_eq!(kept, expected, "{line}");
    }
    let two = site.forwards("/anywhere", "Cookie: a=1\r\nCookie: key=KEY; b=2\r\n").await.1.join("\n");
    assert!(two.contains("a=1") && two.contains("b=2") && !two.contains("KEY"), "{two}");
}

#[tokio::test]
async fn the_same_key_is_removed_from_all_its_places_at_once() {
    let site = Site::start().await;
    let lines = "X-API-Key: KEY\r\nAuthorization: ApiKey KEY\r\nCookie: a=1; key=KEY\r\n";
    for route in ["/anywhere", "/guests", "/either"] {
        let (target, kept) = site.forwards(&format!("{route}?key=KEY&a=1"), lines).await;
        assert_eq!((target, kept), (format!("{route}?a=1"), vec!["cookie: a=1".to_owned()]));
        assert!(!site.upstream.saw().concat().contains(&site.key));
    }
    let other = "X-API-Key: another-key-that-nobody-has-0123456789\r\n";
    assert_eq!(site.ask("/anywhere?key=KEY", other).await, 401, "two different keys");
    let before = site.upstream.saw().len();
    assert_eq!(site.ask("/anywhere", "Authorization: ApiKey\tKEY\r\n").await, 401);
    assert_eq!(site.upstream.saw().len(), before);
}

#[tokio::test]
async fn the_places_of_every_alternative_are_emptied_whoever_granted() {
    let site = Site::start().await;
    let lines = "Authorization: Bearer KEY\r\nX-API-Key: wrong\r\nCookie: key=wrong; a=1\r\n";
    let (target, kept) = site.forwards("/either?key=wrong&a=1", lines).await;
    assert_eq!((target.as_str(), kept), ("/either?a=1", vec!["cookie: a=1".to_owned()]));
    let (target, kept) = site.forwards("/either?key=KEY", "Authorization: Bearer wrong\r\n").await;
    assert_eq!((target.as_str(), kept), ("/either", vec![]));
}

#[tokio::test]
async fn a_policy_may_leave_the_credential_where_it_is() {
    let site = Site::start().await;
    let (target, kept) = site.forwards("/kept?a&kept=KEY", "X-Kept: KEY\r\nCookie: a=1; kept=KEY\r\n").await;
    assert_eq!(target, "/kept?a&kept=KEY");
    assert_eq!(kept, ["x-kept: KEY", "cookie: a=1; kept=KEY"]);
}

#[tokio::test]
async fn without_a_credential_nothing_is_taken_out() {
    let site = Site::start().await;
    let lines = "Authorization: Basic dTpw\r\nCookie: a=1;b=2 ;  c=\"3\"\r\n";
    let (target, kept) = site.forwards("/guests?a&&keys=1&%zz", lines).await;
    assert_eq!(target, "/guests?a&&keys=1&%zz");
    assert_eq!(kept, ["authorization: Basic dTpw", "cookie: a=1;b=2 ;  c=\"3\""]);
}

#[tokio::test]
async fn over_http2_and_websocket_the_credential_is_removed_as_well() {
    let upstream = Upstream::start();
    let (gateway, key) = gateway(&upstream.address()).await;
    let is_clean = || {
        let saw = upstream.last();
        assert_eq!((saw.target.as_str(), saw.header("x-consumer")), ("/anywhere?a=1", Some("acme")));
        assert_eq!((saw.header("cookie"), saw.header("x-api-key")), (Some("a=1; b=2"), None));
        assert!(!format!("{saw:?}").contains(&key), "{saw:?}");
    };
    let target = format!("/anywhere?key={key}&a=1");
    let cookie = format!("key={key}");
    let client = Client::http2(gateway.address(0));
    let asking = client.get(&target).header("cookie", "a=1").header("cookie", &cookie);
    assert_eq!(asking.header("cookie", "b=2").header("x-api-key", &key).send().await.status, 200);
    is_clean();
    let cookies = format!("a=1; {cookie}; b=2");
    let headers = [("x-api-key", key.as_str()), ("cookie", &cookies)];
    let mut socket = WebSocket::open(gateway.address(0), &target, &headers).await.expect("a handshake");
    socket.send("hello").await;
    assert_eq!(socket.next().await.as_deref(), Some("hello"));
    is_clean();
}

/// What is found in a place is removed from it, however it is spelt there: spaces in front, a tab behind the scheme.
#[tokio::test]
async fn a_key_in_an_odd_spelling_is_removed_as_well() {
    let site = Site::start().await;
    let odd = "X-API-Key: KEY\r\nAuthorization: Bearer\tKEY\r\n";
    assert_eq!(site.forwards("/either", odd).await.1, Vec::<String>::new());

    let upstream = Upstream::start();
    let (gateway, key) = gateway(&upstream.address()).await;
    let client = Client::http2(gateway.address(0));
    for value in [format!(" Bearer {key}"), format!("\tBearer {key}"), format!("bearer  {key}")] {
        let answer = client.get("/either").header("x-api-key", &key).header("authorization", &value).send().await;
        assert_eq!(answer.status, 200, "{value}");
        let saw = upstream.last();
        assert!(!format!("{saw:?}").contains(&key), "{value}: {saw:?}");
    }
}
