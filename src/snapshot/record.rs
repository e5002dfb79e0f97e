//! The parts of a route and of its policies that a request keeps to its end.

use std::{sync::Arc, time::Duration};

use portcullis_plugin::Observe;

use crate::{config::Fingerprint, telemetry::metrics::RouteMetrics};

/// A policy as it was when it was built, without its data: small enough to be kept by requests.
#[derive(Debug)]
pub(crate) struct Mark {
    /// Its name.
    pub policy: Arc<str>,
    /// The fingerprint of its plugin and settings.
    pub settings: Fingerprint,
    /// The fingerprint of the files and secrets that it read.
    pub read: Fingerprint,
}

/// One hook of one policy.
pub(crate) struct Step<H: ?Sized> {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Its number in the configuration.
    pub number: usize,
    /// The hook.
    pub hook: Arc<H>,
    /// The time limit of the hook, if it may wait.
    pub timeout: Duration,
}

/// The part of its route that a request keeps when everything else has been released: a stream of an hour does not hold
/// on to a configuration that is long gone.
pub(crate) struct RouteRecord {
    /// The route's name.
    pub name: Arc<str>,
    /// The counters of its requests.
    pub metrics: Arc<RouteMetrics>,
    /// Set if requests are logged.
    pub is_logged: bool,
    /// The hooks that run when a request has ended.
    pub observe: Vec<Step<dyn Observe>>,
    /// The alternatives of its `auth`, to tell later whether a policy has changed.
    pub ways: Box<[Box<[Arc<Mark>]>]>,
    /// The guards and restrictions that its requests have passed.
    pub passed: Box<[Arc<Mark>]>,
}
