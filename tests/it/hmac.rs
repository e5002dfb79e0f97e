//! Signed requests: signed by libraries that are none of ours, and by the script in the plugin's README; judged by the
//! real binary; witnessed by an upstream.

use std::{
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Asking, Client, Gateway, Peer, Response, Upstream, eventually, within};

const GATEWAY: &str = r#"
[admin]
listen = "127.0.0.1:0"

[[listeners]]
address = "127.0.0.1:0"
h2c = true

[upstreams.app]
targets = ["@UPSTREAM@"]

[policies.messages]
use = "hmac"

[policies.stamped]
use = "hmac"
scheme = "timestamp"

[policies.aws]
use = "hmac"
scheme = "aws4"
aws4 = { region = "eu-central-1", service = "execute-api", presigned = "15m" }

[routes.messages]
paths = ["/messages/{*rest}"]
upstream = "app"
auth = ["messages"]

[routes.stamped]
paths = ["/stamped/{*rest}"]
upstream = "app"
auth = ["stamped"]

[routes.aws]
paths = ["/aws/{*rest}"]
upstream = "app"
auth = ["aws"]

[[consumers.acme.credentials]]
use = "hmac"
id = "acme-signing-1"
secret = { env = "ACME_SIGNING_SECRET" }
policies = "any"

[[consumers.acme.credentials]]
use = "hmac"
id = "acme-signing-2"
secret = { file = "second.secret" }
policies = "any"
"#;

const SECRET: &str = "a secret of the tests that is longer than a hash";
const SECOND: &str = "another secret of the tests, for the time of rotation";

/// The gateway of this file and its upstream.
async fn start() -> (Gateway, Upstream) {
    let upstream = Upstream::start();
    let builder = Gateway::builder(GATEWAY).set("UPSTREAM", &upstream.address()).env("ACME_SIGNING_SECRET", SECRET);
    (builder.file("second.secret", SECOND).start().await, upstream)
}

/// A request for RFC 9421's client, of which `change` says what is different. No two are the same.
fn message(gateway: &Gateway, change: &Value) -> Value {
    static NONCES: AtomicUsize = AtomicUsize::new(0);
    let nonce = NONCES.fetch_add(1, Ordering::Relaxed).to_string();
    let mut request = json!({
        "method": "POST", "url": format!("http://{}/messages/7?a=b%20c", gateway.address(0)), "body": "{\"amount\": 7}",
        "headers": { "Content-Type": "application/json" }, "key_id": "acme-signing-1", "secret": SECRET,
        "nonce": nonce, "components": ["@method", "@target-uri", "@authority"],
    });
    let all = request.as_object_mut().expect("an object");
    all.extend(change.as_object().expect("an object").clone());
    request
}

/// Adds headers as a client gave them; the client library sets `Host` and the length itself.
fn with_headers<'c>(asking: Asking<'c>, headers: &Value) -> Asking<'c> {
    let headers = headers.as_object().expect("an object").iter();
    headers
        .filter(|(name, _)| !name.eq_ignore_ascii_case("host") && !name.eq_ignore_ascii_case("content-length"))
        .fold(asking, |asking, (name, value)| asking.header(name, value.as_str().expect("text")))
}

async fn send(client: &Client, request: &Value, headers: &Value) -> Response {
    let url = request["url"].as_str().expect("a URL");
    let path = &url[url[8..].find('/').expect("a path") + 8..];
    let asking = client.request(request["method"].as_str().expect("a method"), path);
    let asking = asking.body(request["body"].as_str().unwrap_or_default().to_owned());
    with_headers(asking, headers).send().await
}

#[tokio::test]
async fn a_signed_message_reaches_the_upstream_whole_with_the_identity_and_without_the_signature() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_request.py");
    for (key_id, secret) in [("acme-signing-1", SECRET), ("acme-signing-2", SECOND)] {
        for client in [Client::http1(gateway.address(0)), Client::http2(gateway.address(0))] {
            for body in ["{\"amount\": 7}", ""] {
                let request = message(&gateway, &json!({ "key_id": key_id, "secret": secret, "body": body }));
                let headers = signer.ask(&request);
                let answer = send(&client, &request, &headers).await;
                assert_eq!(answer.status, 200, "{headers}: {}", gateway.output());
                let saw = upstream.last();
                assert_eq!(String::from_utf8_lossy(&saw.body), body);
                assert_eq!(saw.target, "/messages/7?a=b%20c");
                assert_eq!((saw.header("x-consumer"), saw.header("x-credential-id")), (Some("acme"), Some(key_id)));
                assert_eq!((saw.header("signature"), saw.header("signature-input")), (None, None));
                // What was captured cannot be sent again.
                assert_eq!(send(&client, &request, &headers).await.status, 401);
            }
        }
    }
    gateway.audit(|event| event["reason"] == "signature_replayed").await;
    assert!(!gateway.output().contains(SECRET) && !gateway.output().contains(SECOND));
}

#[tokio::test]
async fn a_stream_ends_when_the_secret_that_signed_it_is_replaced_and_others_go_on() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_request.py");
    let mut streams = Vec::new();
    for (key_id, secret) in [("acme-signing-1", SECRET), ("acme-signing-2", SECOND)] {
        let url = format!("http://{}/messages/sse?chunks=2&ms=3600000", gateway.address(0));
        let change = json!({ "method": "GET", "url": url, "body": "", "key_id": key_id, "secret": secret });
        let headers = signer.ask(&message(&gateway, &change));
        let client = Client::http1(gateway.address(0));
        let mut stream = with_headers(client.get("/messages/sse?chunks=2&ms=3600000"), &headers).open().await;
        assert_eq!((stream.status(), stream.next().await.expect("an event").is_ok()), (200, true));
        streams.push((client, stream));
    }
    upstream.wait_for(2).await;
    eventually("both have lasted", async || gateway.metric("portcullis_open_streams").await == 2.0).await;
    std::fs::write(gateway.dir().join("second.secret"), format!("{SECOND}, which has come")).expect("our own file");
    assert_eq!(gateway.reload().await.code, 0);
    assert!(streams[1].1.next().await.is_some_and(|piece| piece.is_err()), "it is cut off");
    let event = gateway.audit(|event| event["event"] == "stream_ended").await;
    assert_eq!((&event["reason"], &event["policy"]), (&"credential_withdrawn".into(), &"messages".into()), "{event}");
    eventually("the other one is left", async || gateway.metric("portcullis_open_streams").await == 1.0).await;
    let more = tokio::time::timeout(std::time::Duration::from_millis(100), streams[0].1.next()).await;
    assert!(more.is_err(), "it goes on");
}

#[tokio::test]
async fn what_is_changed_left_out_old_or_somebody_elses_is_401() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_request.py");
    let client = Client::http1(gateway.address(0));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let signed = [
        ("signature_invalid", json!({ "secret": SECOND })),
        ("signing_key_unknown", json!({ "key_id": "nobody" })),
        ("signature_incomplete", json!({ "components": ["@target-uri", "@authority"] })),
        ("signature_incomplete", json!({ "components": ["@method"] })),
        ("signature_stale", json!({ "created": now - 3600 })),
        ("signature_stale", json!({ "created": now + 3600 })),
        ("signature_stale", json!({ "created": now - 100, "expires": now - 60 })),
    ];
    for (reason, change) in signed {
        let request = message(&gateway, &change);
        let headers = signer.ask(&request);
        let answer = send(&client, &request, &headers).await;
        assert_eq!(answer.status, 401, "{change}: {}", gateway.output());
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Signature ")));
        gateway.audit(|event| event["reason"] == reason).await;
    }
    // What is sent is not what was signed.
    let good = message(&gateway, &json!({}));
    let changes = [
        ("url", format!("http://{}/messages/8?a=b%20c", gateway.address(0))),
        ("url", format!("http://{}/messages/7?a=b%20d", gateway.address(0))),
        ("method", "PUT".to_owned()),
        ("body", "{\"amount\": 8}".to_owned()),
        ("body", String::new()),
    ];
    for (field, value) in changes {
        let good = message(&gateway, &json!({}));
        let headers = signer.ask(&good);
        let mut sent = good.clone();
        sent[field] = value.clone().into();
        assert_eq!(send(&client, &sent, &headers).await.status, 401, "{field} {value}");
    }
    gateway.audit(|event| event["reason"] == "digest_mismatch").await;
    for (missing, detail) in [
        ("Signature", "Signature and Signature-Input go together"),
        ("Signature-Input", "Signature and Signature-Input go together"),
        ("Content-Digest", "a covered header is absent"),
    ] {
        let mut headers = signer.ask(&good);
        headers.as_object_mut().expect("an object").remove(missing);
        let answer = send(&client, &good, &headers).await;
        assert_eq!(answer.status, 401, "without {missing}");
        let id = answer.header("x-request-id").expect("an id");
        let event = gateway.audit(|event| event["request_id"] == id).await;
        assert_eq!(event["detail"], detail, "without {missing}");
    }
    assert_eq!(upstream.requests(), 0, "{:?}", upstream.saw());
}

#[tokio::test]
async fn a_body_is_verified_whatever_its_framing_before_the_upstream_hears_of_it() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_request.py");
    for size in [1_usize, 65_535, 65_536, 65_537, 1 << 20] {
        let body = "x".repeat(size);
        for is_http2 in [false, true] {
            for is_streamed in [false, true] {
                for is_good in [true, false] {
                    let request = message(&gateway, &json!({ "body": body }));
                    let headers = signer.ask(&request);
                    let new = if is_http2 { Client::http2 } else { Client::http1 };
                    let client = new(gateway.address(0));
                    let mut sent = body.clone();
                    if !is_good {
                        sent.replace_range(size - 1.., "y");
                    }
                    let before = upstream.requests();
                    let asking = with_headers(client.request("POST", "/messages/7?a=b%20c"), &headers);
                    let answer = if is_streamed {
                        let (asking, feed) = asking.streamed();
                        for piece in sent.as_bytes().chunks(16 << 10) {
                            feed.send(piece.to_vec());
                        }
                        drop(feed);
                        asking.send().await
                    } else {
                        asking.body(sent.clone()).send().await
                    };
                    let what = format!("{size} bytes, HTTP/2 {is_http2}, streamed {is_streamed}, good {is_good}");
                    assert_eq!(answer.status, if is_good { 200 } else { 401 }, "{what}: {}", gateway.output());
                    if is_good {
                        let saw = upstream.last();
                        assert_eq!(Sha256::digest(&saw.body), Sha256::digest(&sent), "{what}");
                    } else {
                        let heard = upstream.saw().split_off(before);
                        assert!(heard.is_empty(), "{what}: {heard:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_request.py");
    let request = message(&gateway, &json!({ "body": "x".repeat(9 << 20) }));
    let headers = signer.ask(&request);
    let client = Client::http1(gateway.address(0));
    // It may be answered, and the connection closed, while the client still sends.
    let asking = with_headers(client.request("POST", "/messages/7?a=b%20c"), &headers).body("x".repeat(9 << 20));
    if let Ok(opened) = asking.attempt().await {
        assert_eq!(opened.status(), 413);
    }
    gateway.access(|line| line["status"] == 413).await;
    assert_eq!(upstream.requests(), 0);
}

/// How the script in the plugin's README begins, which signs with the scheme `timestamp`.
pub(crate) const SCRIPT_BEGINS: &str = "#!/usr/bin/env bash\n# sign.sh";

fn script() -> String {
    let readme = include_str!("../../plugins/hmac/README.md");
    let script = &readme[readme.find(SCRIPT_BEGINS).expect("the README has the script")..];
    script[..script.find("\n```").expect("and its end")].to_owned()
}

async fn run_script(arguments: &[&str], secret: &str) -> String {
    let mut command = tokio::process::Command::new("bash");
    command.arg("-c").arg(script()).arg("sign.sh").args(arguments).env("ACME_SIGNING_SECRET", secret);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = within("the script ends", command.output()).await.expect("bash, openssl and curl are there");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn the_script_in_readme_signs_what_the_gateway_takes() {
    let (gateway, upstream) = start().await;
    let url = format!("http://{}/stamped/orders?limit=7", gateway.address(0));
    let got = run_script(&["GET", &url], SECRET).await;
    assert_eq!(upstream.requests(), 1, "{got}: {}", gateway.output());
    let file = gateway.dir().join("body.json");
    std::fs::write(&file, "{\"amount\": 7}\n").expect("a file");
    run_script(&["POST", &url, file.to_str().expect("a path")], SECRET).await;
    let saw = upstream.last();
    assert_eq!((saw.method.as_str(), saw.target.as_str()), ("POST", "/stamped/orders?limit=7"));
    assert_eq!((saw.header("x-consumer"), saw.header("x-signature")), (Some("acme"), None));
    assert_eq!(saw.body, b"{\"amount\": 7}\n");
    let refused = run_script(&["GET", &url], "a secret that nobody has shared with us").await;
    assert!(refused.contains("unauthenticated"), "{refused}");
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn botocore_signs_what_the_gateway_takes_in_headers_and_in_the_query() {
    let (gateway, upstream) = start().await;
    let mut signer = Peer::start("sign_aws.py");
    let client = Client::http1(gateway.address(0));
    let url = format!("http://{}/aws/a%20b?z=1&a=2", gateway.address(0));
    let aws = |change: Value| {
        let mut request = json!({
            "method": "PUT", "url": url, "body": "text", "headers": { "content-type": "text/plain" },
            "access_key": "acme-signing-1", "secret_key": SECRET, "region": "eu-central-1", "service": "execute-api",
        });
        request.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        request
    };
    let signed = signer.ask(&aws(json!({})));
    let answer = send(&client, &signed, &signed["headers"]).await;
    assert_eq!(answer.status, 200, "{signed}: {}", gateway.output());
    let saw = upstream.last();
    assert_eq!((saw.header("x-consumer"), saw.header("authorization")), (Some("acme"), None));
    assert_eq!((saw.target.as_str(), saw.body.as_slice()), ("/aws/a%20b?z=1&a=2", &b"text"[..]));

    let presigned = signer.ask(&aws(json!({ "method": "GET", "body": "", "headers": {}, "presigned_seconds": 600 })));
    let answer = send(&client, &presigned, &presigned["headers"]).await;
    assert_eq!(answer.status, 200, "{presigned}: {}", gateway.output());
    assert!(!upstream.last().target.contains("X-Amz-Signature"), "{}", upstream.last().target);

    let refused = [
        json!({ "region": "us-east-1" }),
        json!({ "service": "s3" }),
        json!({ "secret_key": SECOND }),
        json!({ "access_key": "AKIDNOBODY" }),
        json!({ "method": "GET", "body": "", "presigned_seconds": 86_400 }),
    ];
    for change in refused {
        let signed = signer.ask(&aws(change.clone()));
        assert_eq!(send(&client, &signed, &signed["headers"]).await.status, 401, "{change}");
    }
    let mut other_body = signer.ask(&aws(json!({})));
    other_body["body"] = "other".into();
    assert_eq!(send(&client, &other_body, &other_body["headers"]).await.status, 401);
    assert_eq!(upstream.requests(), 2);
    gateway.audit(|event| event["reason"] == "signature_invalid").await;
}
