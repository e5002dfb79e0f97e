//! `conf/examples/hmac.toml`: each of its policies is built with its credentials, and its shell commands sign right.

use std::{collections::BTreeMap, process::Command};

use portcullis_plugin::{UnixTime, serde_json};
use serde::Deserialize;

use super::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conf/examples/hmac.toml");

#[derive(Deserialize)]
struct Example {
    policies: BTreeMap<String, toml::Table>,
    consumers: BTreeMap<String, ExampleConsumer>,
}

#[derive(Deserialize)]
struct ExampleConsumer {
    credentials: Vec<toml::Table>,
}

/// The hook of one policy of the example.
fn example(policy: &str) -> Arc<dyn Authenticate> {
    let example: Example = toml::from_str(&std::fs::read_to_string(EXAMPLE).unwrap()).unwrap();
    let mut build = Build::new();
    for (consumer, entry) in example.consumers {
        for mut table in entry.credentials {
            let policies = table.remove("policies").unwrap();
            if policies.as_array().unwrap().iter().any(|name| name.as_str() == Some(policy)) {
                assert_eq!(table.remove("use").unwrap().as_str(), Some("hmac"));
                let id = table.remove("id").unwrap();
                let own = SigningCredential::deserialize(table).unwrap();
                build = build.credential::<Hmac>(&consumer, id.as_str().unwrap(), own, |_| {});
            }
        }
    }
    let mut table = example.policies[policy].clone();
    table.remove("use");
    let hooks = build.plugin::<Hmac>(Config::deserialize(table).unwrap());
    assert_eq!(build.problems, [], "{policy}");
    hooks.unwrap().authenticate.unwrap()
}

#[test]
fn every_policy_of_the_example_is_built() {
    let file: Example = toml::from_str(&std::fs::read_to_string(EXAMPLE).unwrap()).unwrap();
    assert!(file.policies.len() > 4);
    for policy in file.policies.keys() {
        example(policy);
    }
}

/// The commands in the example's head, with `curl` a function that shows the headers that it is given.
#[test]
fn the_commands_of_the_example_sign_right() {
    let file = std::fs::read_to_string(EXAMPLE).unwrap();
    let commands = file.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches("# "));
    let commands = commands.skip_while(|line| !line.trim_start().starts_with("secret="));
    let commands: Vec<_> = commands.take_while(|line| *line != "#").collect();
    let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}\ndate() {{ echo {NOW}; }}\n{}", commands.join("\n"));
    let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("Signature: "), "{}", String::from_utf8_lossy(&output.stderr));
    let mut request = Request::new("POST", "/orders").header("host", "127.0.0.1:8080");
    request.body = Bytes::from_static(b"{\"item\":1}");
    request.now = UnixTime(NOW);
    let headers = said.lines().filter_map(|line| line.split_once(": "));
    let mut request = headers.fold(request, |request, (name, value)| request.header(name, value));
    assert_eq!(outcome(&example("partner-signatures"), &mut request), "acme-sample");
}

#[test]
fn the_settings_are_described() {
    let schema = serde_json::to_string(&schemars::schema_for!(Config)).unwrap();
    for words in ["DANGER: with `unsigned`", "The components that every signature has to cover"] {
        assert!(schema.contains(words), "{words}");
    }
}
