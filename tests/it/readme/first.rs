//! The first requests of the main page, sent as it says. The answers are as it shows them.

use std::{fs, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use super::{Block, Page, root};
use crate::harness::{Gateway, within};

/// Values that differ from machine to machine, and from request to request.
const OTHERWISE: [&str; 4] = ["host", "user-agent", "x-forwarded-host", "x-request-id"];

/// A block with one command, and its answer.
fn session(block: &Block) -> (&str, &str) {
    block.text.strip_prefix("$ ").and_then(|text| text.split_once('\n')).expect("a command and an answer")
}

async fn ask(gateway: &Gateway, command: &str) -> String {
    let command = command.replace("127.0.0.1:8080", &gateway.address(0).to_string());
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(command).stdin(Stdio::null()).kill_on_drop(true);
    let output = within("curl ends", shell.output()).await.expect("bash and curl are there");
    String::from_utf8(output.stdout).expect("text").replace('\r', "")
}

/// The JSON at the end of an answer, without what differs.
fn json(answer: &str) -> Value {
    let start = answer.find('{').expect("JSON");
    let mut json: Value = serde_json::from_str(&answer[start..]).expect("JSON");
    json.as_object_mut().expect("an object").remove("request_id");
    if let Some(headers) = json.get_mut("headers").and_then(Value::as_object_mut) {
        for name in OTHERWISE {
            headers[name] = "...".into();
        }
    }
    json
}

#[tokio::test]
async fn the_first_requests_are_answered_as_it_shows() {
    let toml = fs::read_to_string(root().join("conf/portcullis.toml")).expect("the first configuration");
    let gateway =
        Gateway::start(&toml.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9180", "127.0.0.1:0")).await;
    let page = Page::read("README.md");
    let blocks: Vec<_> = page.blocks.iter().filter(|block| block.text.starts_with("$ curl")).collect();
    assert_eq!(blocks.len(), 2, "the page asks without a key, and with one");
    for block in blocks {
        let (command, shown) = session(block);
        let answer = ask(&gateway, command).await;
        assert_eq!(json(&answer), json(shown), "{command}");
        let head = shown[..shown.find('{').expect("JSON")].lines().filter(|line| !line.is_empty() && *line != "...");
        for line in head {
            assert!(answer.lines().any(|answered| answered.eq_ignore_ascii_case(line)), "no {line:?} in\n{answer}");
        }
    }
}
