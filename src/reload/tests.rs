use std::fs;

use portcullis_plugin::{BuildCx, BuildError, Hooks, NoCredential, Plugin, schemars::JsonSchema};
use serde::Deserialize;
use tempfile::TempDir;

use super::*;
use crate::telemetry::Output;

/// A plugin that panics on request, or fails without a word.
struct Brittle;

#[derive(Deserialize, JsonSchema)]
#[schemars(crate = "portcullis_plugin::schemars")]
struct Config {
    breaks: bool,
    #[serde(default)]
    is_silent: bool,
}

impl Plugin for Brittle {
    const NAME: &'static str = "brittle";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        if config.is_silent {
            return Err(BuildError::default());
        }
        assert!(!config.breaks, "as it was asked to");
        Ok(Hooks::default())
    }
}

fn toml(breaks: bool) -> String {
    format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n\n[policies.brittle]\nuse = \"brittle\"\nbreaks = {breaks}\n")
}

#[test]
fn a_plugin_that_panics_refuses_its_configuration_and_the_next_one_is_taken() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("portcullis.toml");
    fs::write(&path, toml(false)).expect("a file in our own directory");
    let mut registry = Registry::new();
    registry.add::<Brittle>();
    let metrics = Arc::new(Metrics::new("0", Box::new(|| 0), Box::new(|| 0)));
    let services = Arc::new(Services::new(metrics, Output::start(std::io::sink()).expect("a thread")));
    let snapshot = load(&path, &registry, &services, None, false).unwrap_or_else(|report| panic!("{report}"));
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let reloader = Reloader { path: path.clone(), registry, services, current, runtime: runtime.handle().clone() };
    let (requests, received) = mpsc::channel();
    let thread = std::thread::spawn(move || reloader.run(&received));
    let reload = |breaks| {
        fs::write(&path, toml(breaks)).expect("our own file");
        let (answer, waits) = mpsc::channel();
        requests.send(ReloadRequest { scope: Scope::Configuration, answer: Some(answer) }).expect("it serves requests");
        waits.recv().expect("it answers")
    };

    let refused = reload(true);
    assert!(refused.changes.is_none() && refused.generation == 1, "{refused:?}");
    assert!(refused.errors[0].to_string().contains("policies.brittle"), "{refused:?}");
    assert!(refused.errors[0].text.contains("panicked"), "{refused:?}");
    assert_eq!(reload(false).generation, 2);
    drop(requests);
    thread.join().expect("it ends with the last request");
}

/// It would be left out, and its route be open.
#[test]
fn a_policy_that_fails_without_a_word_refuses_its_configuration() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("portcullis.toml");
    let route =
        "[routes.app]\npaths = [\"/app\"]\nrespond = { status = 200 }\npublic = true\nplugins = [\"brittle\"]\n";
    fs::write(&path, format!("{}is_silent = true\n{route}", toml(false))).expect("a file in our own directory");
    let mut registry = Registry::new();
    registry.add::<Brittle>();
    let metrics = Arc::new(Metrics::new("0", Box::new(|| 0), Box::new(|| 0)));
    let services = Arc::new(Services::new(metrics, Output::start(std::io::sink()).expect("a thread")));
    let report = load(&path, &registry, &services, None, false).err().expect("it is refused");
    assert_eq!(report.0.len(), 1, "{report}");
    assert!(report.0[0].text.contains("does not say why"), "{report}");
}
