//! The files of conf/ work as they stand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use portcullis_x509::testing::Ca;

use super::portcullis_check;
use crate::harness::{Client, Gateway, plugins};

/// As README and the files themselves show it. It opens loopback listeners alone.
const SAMPLE_KEY: &str = "sample_key_that_everybody_knows_0001";

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// Starts a file of conf/ on ports of its own.
async fn start(file: &str) -> (Gateway, Client) {
    let toml = fs::read_to_string(conf().join(file)).expect("a file of conf/");
    let toml = toml.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9180", "127.0.0.1:0");
    let gateway = Gateway::start(&toml).await;
    let client = Client::http1(gateway.address(0));
    (gateway, client)
}

async fn status(client: &Client, method: &str, target: &str) -> u16 {
    client.request(method, target).header("x-api-key", SAMPLE_KEY).send().await.status
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of conf/") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_is_a_good_configuration() {
    let mut found = Vec::new();
    files(&conf(), &mut found);
    assert!(found.len() >= 3, "{found:?}");
    // Keys that examples name stand beside them. The page about the files is tried by `readme`.
    let is_configuration =
        |file: &PathBuf| file.extension().is_none_or(|ending| ending != "pem") && *file != conf().join("README.md");
    for file in found.into_iter().filter(is_configuration) {
        assert!(file.extension().is_some_and(|ending| ending == "toml"), "what is {}?", file.display());
        let name = file.display().to_string();
        let checked = portcullis_check(&[&name], &conf());
        assert_eq!((checked.code, checked.errors), (0, vec![]), "{name}");
    }
}

/// One example a plugin: it is the first page that is read about one.
#[test]
fn every_plugin_has_an_example() {
    for name in plugins() {
        let example = fs::read_to_string(conf().join("examples").join(format!("{name}.toml")));
        assert!(example.is_ok_and(|text| text.contains(&format!("use = \"{name}\""))), "no example of {name}");
    }
}

#[tokio::test]
async fn the_first_configuration_asks_for_a_key_and_shows_the_identity() {
    let (_gateway, client) = start("portcullis.toml").await;
    assert_eq!(client.get("/orders/7").send().await.status, 401);
    assert_eq!(client.get("/healthz").send().await.text(), "ok\n");
    let answer = client.get("/orders/7").header("x-api-key", SAMPLE_KEY).header("x-user-id", "root").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = answer.json()["headers"].clone();
    assert_eq!((&shown["x-consumer"], &shown["x-consumer-groups"]), (&"acme".into(), &"partners".into()));
    assert_eq!((&shown["x-tenant-id"], &shown["x-scopes"]), (&"acme".into(), &"orders:read".into()));
    assert!(shown.get("x-user-id").is_none() && !answer.text().contains(SAMPLE_KEY), "{}", answer.text());
}

#[tokio::test]
async fn the_example_of_key_auth_takes_the_key_from_every_place_that_it_shows() {
    let (_gateway, client) = start("examples/key-auth.toml").await;
    let bearer = format!("Bearer {SAMPLE_KEY}");
    let cookie = format!("key={SAMPLE_KEY}");
    let answers = [
        client.get("/orders").header("x-api-key", SAMPLE_KEY).send().await,
        client.get("/reports").header("authorization", &bearer).send().await,
        client.get("/reports").header("x-api-key", SAMPLE_KEY).send().await,
        client.get(&format!("/feed?key={SAMPLE_KEY}")).send().await,
        client.get("/feed").header("cookie", &cookie).send().await,
    ];
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains("acme") && !answer.text().contains(SAMPLE_KEY), "{}", answer.text());
    }
    for target in ["/orders", "/reports", "/feed"] {
        assert_eq!(client.get(target).send().await.status, 401, "{target}");
    }
}

#[tokio::test]
async fn the_example_of_mtls_takes_a_certificate_from_its_load_balancer() {
    let ca = Ca::root("My CA");
    let client = ca.client("billing", |sketch| sketch.uris(&["spiffe://example.org/acme/billing"]));
    let toml = fs::read_to_string(conf().join("examples/mtls.toml")).expect("a file of conf/");
    let builder = Gateway::builder(&toml.replace("127.0.0.1:8080", "127.0.0.1:0")).file("mtls-ca.pem", ca.pem());
    let gateway = builder.start().await;
    let asking = Client::http1(gateway.address(0));
    let header = format!(":{}:", BASE64.encode(client.der()));
    let answer = asking.get("/orders").header("client-cert", &header).send().await;
    let shown = answer.json()["headers"].clone();
    assert_eq!((&shown["x-consumer"], &shown["x-client-cert-cn"]), (&"acme".into(), &"billing".into()));
    assert!(shown.get("client-cert").is_none(), "{shown}");
    assert_eq!(asking.get("/orders").send().await.status, 401);
    let stranger = format!(":{}:", BASE64.encode(ca.client("other", |_| {}).der()));
    assert_eq!(asking.get("/orders").header("client-cert", &stranger).send().await.status, 403);
}

#[tokio::test]
async fn the_example_of_consumer_restriction_lets_in_whom_it_says() {
    let (_gateway, client) = start("examples/consumer-restriction.toml").await;
    assert_eq!(client.get("/orders").send().await.status, 401);
    assert_eq!(status(&client, "GET", "/orders").await, 200);
    assert_eq!(status(&client, "POST", "/orders").await, 403, "its key has no scope to write");
    assert_eq!(status(&client, "DELETE", "/orders/7").await, 403);
    assert_eq!(status(&client, "GET", "/staff").await, 403);
}
