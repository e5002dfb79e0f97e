//! What a running gateway shows of itself: by its admin listener, and by the kernel.

use std::fs;

use serde_json::Value;

use super::{Client, Gateway, client::Response};

impl Gateway {
    /// Asks the admin listener.
    pub(crate) async fn ask_admin(&self, path: &str) -> Response {
        Client::http1(self.admin()).get(path).send().await
    }

    /// `/status`.
    pub(crate) async fn status(&self) -> Value {
        self.ask_admin("/status").await.json()
    }

    /// What `/status/credentials` says about one credential.
    pub(crate) async fn credential(&self, id: &str) -> Value {
        let page = self.ask_admin("/status/credentials").await.json();
        let all = page["credentials"].as_array().expect("a list");
        let found = all.iter().find(|credential| credential["id"] == id);
        found.unwrap_or_else(|| panic!("no {id:?} in {page:#}")).clone()
    }

    /// The value of one series of `/metrics`, written as it stands there: `name{label="value"}`. Absent counts as zero.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.ask_admin("/metrics").await.text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// A number of `/proc/PID/status`, such as `VmRSS` (in KiB) or `Threads`.
    pub(crate) fn process(&self, field: &str) -> u64 {
        let status = self.process_status();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no number {field} in:\n{status}"))
    }

    /// Whether its main thread blocks this signal: then it waits rather than kills.
    pub(crate) fn blocks(&self, signal: i32) -> bool {
        let status = self.process_status();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).expect("a mask in hex");
        mask & (1 << (signal - 1)) != 0
    }

    /// How many file descriptors it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a process of ours").count()
    }

    fn process_status(&self) -> String {
        fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process of ours")
    }
}
