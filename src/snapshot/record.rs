use std::{sync::Arc, time::Duration};

use portcullis_plugin::Observe;

use crate::{config::Fingerprint, telemetry::metrics::RouteMetrics};

/// A policy as it was when it was built, without what it knows: small enough to be kept by requests.
#[derive(Debug)]
pub struct Mark {
    /// Its name.
    pub policy: Arc<str>,
    /// Of its plugin and what it says.
    pub settings: Fingerprint,
    /// Of the files and secrets that it read.
    pub read: Fingerprint,
}

/// One hook of one policy.
pub struct Step<H: ?Sized> {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its number in the configuration.
    pub number: usize,
    /// What runs.
    pub hook: Arc<H>,
    /// How long it may wait, where it is one that may.
    pub timeout: Duration,
}

/// What a request keeps of its route when everything else has been let go: a stream of an hour does not hold on to a
/// configuration that is long gone.
pub struct RouteRecord {
    /// The route's name.
    pub name: Arc<str>,
    /// Where its requests are counted.
    pub metrics: Arc<RouteMetrics>,
    /// Whether requests are logged.
    pub is_logged: bool,
    /// Told when a request has ended.
    pub observe: Vec<Step<dyn Observe>>,
    /// The alternatives of its `auth`, to tell later whether a policy is what it was.
    pub ways: Box<[Box<[Arc<Mark>]>]>,
    /// The guards and restrictions that its requests have passed.
    pub passed: Box<[Arc<Mark>]>,
}
