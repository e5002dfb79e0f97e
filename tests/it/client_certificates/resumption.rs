//! Sessions that would carry a connection past the question for a certificate, by `openssl s_client` with
//! `-sess_out` and `-sess_in`, and by Python.

use std::path::Path;

use serde_json::json;

use super::{OPEN, SECRET, World, get, lay, status};
use crate::harness::{Authority, Leaf, Output, Pair, s_client};

/// One name asks, another may be answered without; the certificate of the server is the same.
const NAMES: &str = "[listeners.tls.names.\"secret.example.com\"]\nclient_auth = \"required\"\n\
                     client_ca = \"clients.pem\"\n\n[listeners.tls.names.\"maybe.example.com\"]\n\
                     client_auth = \"optional\"\nclient_ca = \"clients.pem\"\n\n\
                     [listeners.tls.names.\"other.example.com\"]\nclient_auth = \"required\"\nclient_ca = \"others.pem\"";

const MAYBE: &str = "maybe.example.com";
const OTHER: &str = "other.example.com";

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

async fn start() -> (World, Authority) {
    let others = Authority::new("Others");
    (World::with(NAMES, "", |builder| builder.file("others.pem", others.pem())).await, others)
}

/// `openssl s_client` to one of the names.
struct Client<'w> {
    world: &'w World,
    version: &'w str,
    listener: usize,
}

impl<'w> Client<'w> {
    fn new(world: &'w World, version: &'w str) -> Self {
        Self { world, version, listener: 0 }
    }

    /// With these options. What is in `{}` is a file in the gateway's directory.
    async fn ask(&self, name: &str, pair: Option<&Pair>, options: &[&str]) -> Output {
        let mut arguments = vec!["-servername".to_owned(), name.to_owned(), self.version.to_owned()];
        if let Some(pair) = pair {
            let (cert, key) = lay(self.world.gateway.dir(), pair);
            arguments.extend(["-cert".into(), cert.clone(), "-cert_chain".into(), cert, "-key".into(), key]);
        }
        let file = |word: &&str| word.strip_prefix('@').map(|name| self.file(name));
        arguments.extend(options.iter().map(|word| file(word).unwrap_or_else(|| (*word).to_owned())));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        s_client(self.world.gateway.address(self.listener), &arguments, &get(name, "/x")).await
    }

    fn file(&self, name: &str) -> String {
        self.world.gateway.dir().join(name).display().to_string()
    }
}

fn is_resumed(output: &Output) -> bool {
    let is_new = output.stdout.contains("\nNew, TLS") || output.stdout.starts_with("New, TLS");
    assert!(is_new != output.stdout.contains("Reused, TLS") || !output.stdout.contains("Cipher is"), "{output:?}");
    output.stdout.contains("Reused, TLS")
}

fn is_answered(output: &Output) -> bool {
    output.stdout.contains("HTTP/1.1 200 ")
}

#[tokio::test]
async fn a_session_is_resumed_on_the_name_it_began_on() {
    let (world, _) = start().await;
    for version in VERSIONS {
        let client = Client::new(&world, version);
        let first = client.ask(OPEN, None, &["-sess_out", "@session"]).await;
        assert!(is_answered(&first) && !is_resumed(&first), "{version}: {first:?}");
        let second = client.ask(OPEN, None, &["-sess_in", "@session"]).await;
        assert!(is_answered(&second) && is_resumed(&second), "{version}: {second:?}");
    }
    for (result, count) in [("full", 2.0), ("resumed", 2.0)] {
        let series = format!("portcullis_tls_handshakes_total{{listener=\"0\",result=\"{result}\",reason=\"none\"}}");
        assert_eq!(world.gateway.metric(&series).await, count, "{result}");
    }
}

#[tokio::test]
async fn a_session_of_a_name_that_does_not_ask_is_none_on_one_that_does() {
    let (world, others) = start().await;
    let (own, foreign) = (world.clients.issue(Leaf::client("alice")), others.issue(Leaf::client("bob")));
    for version in VERSIONS {
        let client = Client::new(&world, version);
        // Also with a certificate that nobody asked for: it is not on the session.
        let first = client.ask(OPEN, Some(&own), &["-sess_out", "@session"]).await;
        assert!(is_answered(&first), "{first:?}");
        assert!(is_resumed(&client.ask(OPEN, None, &["-sess_in", "@session"]).await), "the witness sees a resumption");
        for name in [SECRET, OTHER] {
            let before = world.upstream.requests();
            let output = client.ask(name, None, &["-sess_in", "@session"]).await;
            assert!(!is_resumed(&output) && !is_answered(&output), "{version}, {name}: {output:?}");
            assert_eq!(world.upstream.requests(), before, "{version}, {name}");
        }
        for (name, pair) in [(SECRET, Some(&own)), (OTHER, Some(&foreign)), (MAYBE, None)] {
            let output = client.ask(name, pair, &["-sess_in", "@session"]).await;
            assert!(!is_resumed(&output) && is_answered(&output), "{version}, {name}: {output:?}");
        }
    }
}

#[tokio::test]
async fn a_name_that_asks_gives_no_session_that_is_good_for_anything() {
    let (world, others) = start().await;
    let (own, foreign) = (world.clients.issue(Leaf::client("alice")), others.issue(Leaf::client("bob")));
    for version in VERSIONS {
        let client = Client::new(&world, version);
        for (name, pair) in [(SECRET, Some(&own)), (OTHER, Some(&foreign)), (MAYBE, Some(&own)), (MAYBE, None)] {
            let session = client.file("session");
            let _ = std::fs::remove_file(&session);
            let output = client.ask(name, pair, &["-sess_out", "@session"]).await;
            assert!(is_answered(&output), "{version}, {name}: {output:?}");
            if !Path::new(&session).exists() {
                continue;
            }
            // In TLS 1.2 s_client writes one down though there is nothing in it to resume by.
            for target in [OPEN, SECRET, OTHER, MAYBE] {
                let output = client.ask(target, None, &["-sess_in", "@session"]).await;
                assert!(!is_resumed(&output), "{version}, from {name} to {target}: {output:?}");
                assert_eq!(is_answered(&output), target == OPEN || target == MAYBE, "{version}, {target}: {output:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_same_by_python() {
    let (mut world, _) = start().await;
    let own = world.clients.issue(Leaf::client("alice"));
    for version in ["1.2", "1.3"] {
        let context = |name: &str| json!({ "context": format!("{name} {version}"), "min": version, "max": version });
        let with = |mut change: serde_json::Value, more: serde_json::Value| {
            change.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            change
        };
        let first = world.ask(OPEN, None, &with(context("without"), json!({ "keep": version })));
        assert_eq!((status(&first), &first["resumed"]), (Some(200), &false.into()), "{first:#}");
        let again = world.ask(OPEN, None, &with(context("without"), json!({ "resume": version })));
        assert_eq!((status(&again), &again["resumed"]), (Some(200), &true.into()), "{version}: {again:#}");
        let across = world.ask(SECRET, None, &with(context("without"), json!({ "resume": version })));
        assert!(across["error"].is_string() && status(&across).is_none(), "{version}: {across:#}");
        // With the certificate on the context: an honest client loses nothing but the resumption.
        let first = world.ask(OPEN, Some(&own), &with(context("with"), json!({ "keep": "with" })));
        assert_eq!(status(&first), Some(200), "{first:#}");
        let across = world.ask(SECRET, Some(&own), &with(context("with"), json!({ "resume": "with" })));
        assert_eq!((status(&across), &across["resumed"]), (Some(200), &false.into()), "{version}: {across:#}");
    }
}

#[tokio::test]
async fn a_session_of_another_listener_is_none() {
    let more = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[listeners.tls]\n\
                certificates = [{ cert = \"server.pem\", key = \"server.key\" }]\nclient_auth = \"required\"\n\
                client_ca = \"clients.pem\"";
    let world = World::with("", more, |builder| builder).await;
    for version in VERSIONS {
        let (open, asking) = (Client::new(&world, version), Client { listener: 1, ..Client::new(&world, version) });
        assert!(is_answered(&open.ask(OPEN, None, &["-sess_out", "@session"]).await));
        assert!(is_resumed(&open.ask(OPEN, None, &["-sess_in", "@session"]).await), "the witness sees a resumption");
        let output = asking.ask(OPEN, None, &["-sess_in", "@session"]).await;
        assert!(!is_resumed(&output) && !is_answered(&output), "{version}: {output:?}");
    }
}

#[tokio::test]
async fn a_session_from_before_a_name_began_to_ask_is_none() {
    let world = World::start("client_auth = \"off\"").await;
    for version in VERSIONS {
        let client = Client::new(&world, version);
        let session = format!("@session{version}");
        assert!(is_answered(&client.ask(OPEN, None, &["-sess_out", &session]).await));
        assert!(is_resumed(&client.ask(OPEN, None, &["-sess_in", &session]).await), "the witness sees a resumption");
    }
    let asking = super::GATEWAY.replace("@CLIENTS@", "client_auth = \"required\"\nclient_ca = \"clients.pem\"");
    world.gateway.rewrite(&asking);
    let reload = world.gateway.reload().await;
    assert_eq!(reload.code, 0, "{reload:?}");
    for version in VERSIONS {
        let client = Client::new(&world, version);
        let output = client.ask(OPEN, None, &["-sess_in", &format!("@session{version}")]).await;
        assert!(!is_resumed(&output) && !is_answered(&output), "{version}: {output:?}");
    }
}

#[tokio::test]
async fn sessions_outlive_a_reload_that_changes_nothing_of_theirs() {
    let world = World::start("client_auth = \"off\"").await;
    let client = Client::new(&world, "-tls1_3");
    assert!(is_answered(&client.ask(OPEN, None, &["-sess_out", "@session"]).await));
    assert_eq!(world.gateway.reload().await.code, 0);
    let output = client.ask(OPEN, None, &["-sess_in", "@session"]).await;
    assert!(is_answered(&output) && is_resumed(&output), "{output:?}");
}
