//! Programs of `tests/clients`: peers that stand on libraries which are none of ours. A line of JSON is a request to
//! them, a line of JSON the answer. `.ci/test` brings what they need.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// A peer that runs. It is killed when dropped.
pub(crate) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `tests/clients/SCRIPT`: with Node where it ends in `.mjs`, else with the Python of its virtual
    /// environment.
    pub(crate) fn start(script: &str) -> Self {
        let is_node = Path::new(script).extension().is_some_and(|extension| extension == "mjs");
        let program = if is_node { "node".into() } else { format!("{CLIENTS}/.venv/bin/python") };
        let mut command = Command::new(&program);
        command.arg(format!("{CLIENTS}/{script}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `.ci/test` brings it"));
        let requests = child.stdin.take().expect("stdin is piped");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, requests, answers }
    }

    /// What it answers to a request.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests, "{request}").and_then(|()| self.requests.flush()).expect("the peer reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}; it wrote why to stderr"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
