//! The counters of a route, a policy or an upstream, with the labels that the exporter gives them.

use std::sync::OnceLock;

use portcullis_plugin::Reason;

use super::counter::{Counter, Sharded};

/// The classes of HTTP status codes (RFC 9110 section 15), as values of the label `status_class`.
pub(super) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The requests of one route, by class of status.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    pub(super) classes: Sharded<5>,
}

impl RouteMetrics {
    /// Counts a request that was answered with `status`. An invalid status counts as our own fault: 5xx.
    #[inline]
    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        self.classes.add(if class < STATUS_CLASSES.len() { class } else { 4 }, 1);
    }
}

/// One decision of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthOutcome {
    /// The caller is known.
    Granted,
    /// There was no credential of its kind.
    Absent,
    /// The credential was wrong.
    Denied,
    /// It could not be decided.
    Failed,
}

impl AuthOutcome {
    /// Returns the label `result`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// The decisions of one policy by result and reason, and its hooks that did not decide.
#[derive(Debug, Default)]
pub(crate) struct PolicyMetrics {
    pub(super) decisions: Labelled<2>,
    pub(super) undecided: Labelled<2>,
}

impl PolicyMetrics {
    /// Counts a decision. Reasons are constants, so there are never more series than the code has reasons.
    #[inline]
    pub(crate) fn decided(&self, outcome: AuthOutcome, reason: Option<Reason>) {
        self.decisions.add([outcome.as_str(), reason.map_or("none", Reason::code)]);
    }

    /// Counts a hook that failed, took too long, panicked or lost its client.
    pub(crate) fn undecided(&self, hook: &'static str, reason: Reason) {
        self.undecided.add([hook, reason.code()]);
    }
}

/// The TLS handshakes of one listener, by result and reason.
#[derive(Debug, Default)]
pub(crate) struct HandshakeMetrics {
    pub(super) outcomes: Labelled<2>,
}

impl HandshakeMetrics {
    /// Counts a handshake: `Ok` says whether a session was resumed, `Err` is the code of the reason for which it
    /// failed.
    pub(crate) fn finished(&self, outcome: Result<bool, &'static str>) {
        self.outcomes.add(match outcome {
            Ok(false) => ["full", "none"],
            Ok(true) => ["resumed", "none"],
            Err(reason) => ["failed", reason],
        });
    }
}

/// The kind of an upstream's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamError {
    /// No address: no name of its targets resolves.
    Unresolved,
    /// No connection: refused, unreachable, or not within `connect_timeout`.
    Connect,
    /// TCP connected, but TLS did not: the handshake failed, or its result is not sufficient.
    Tls,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// The certificate's CA is not trusted.
    CertificateUnknownCa,
    /// The certificate is for another name.
    CertificateNameMismatch,
    /// The certificate is invalid for another reason: its purpose, its key, its form.
    CertificateInvalid,
    /// No response in time.
    Timeout,
    /// The connection ended before the response was complete.
    Closed,
    /// The response is not HTTP.
    Protocol,
}

impl UpstreamError {
    pub(super) const ALL: [Self; 11] = [
        Self::Unresolved,
        Self::Connect,
        Self::Tls,
        Self::CertificateExpired,
        Self::CertificateNotYetValid,
        Self::CertificateUnknownCa,
        Self::CertificateNameMismatch,
        Self::CertificateInvalid,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
    ];

    /// Returns the label `kind`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateNotYetValid => "certificate_not_yet_valid",
            Self::CertificateUnknownCa => "certificate_unknown_ca",
            Self::CertificateNameMismatch => "certificate_name_mismatch",
            Self::CertificateInvalid => "certificate_invalid",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

/// The errors of one upstream by kind, and its retried requests.
#[derive(Debug, Default)]
pub(crate) struct UpstreamMetrics {
    pub(super) errors: Sharded<{ UpstreamError::ALL.len() }>,
    pub(super) retries: Counter,
    pub(super) retries_refused: Counter,
}

impl UpstreamMetrics {
    /// Counts an error.
    pub(crate) fn failed(&self, error: UpstreamError) {
        self.errors.add(error as usize, 1);
    }

    /// Counts a retry, or one that was not allowed because there were too many of them already.
    pub(crate) fn retried(&self, is_allowed: bool) {
        if is_allowed { self.retries.add(1) } else { self.retries_refused.add(1) }
    }
}

/// The most series of one [`Labelled`]; further ones count with the last label `other`.
const MAX_SERIES: usize = 128;

/// Counters under labels that are constants of the code, made when they are first used.
///
/// A list that only grows at its end: reading it takes no lock, and adding takes one only until the entry is in place.
/// The most frequent labels tend to come first, so that a look-up ends after a step or two.
#[derive(Debug, Default)]
pub(super) struct Labelled<const L: usize> {
    first: OnceLock<Box<Series<L>>>,
}

#[derive(Debug)]
struct Series<const L: usize> {
    labels: [&'static str; L],
    count: Counter,
    next: OnceLock<Box<Self>>,
}

impl<const L: usize> Labelled<L> {
    pub(super) fn add(&self, mut labels: [&'static str; L]) {
        let mut slot = &self.first;
        for step in 0.. {
            if step == MAX_SERIES {
                labels[L - 1] = "other";
            }
            let series =
                slot.get_or_init(|| Box::new(Series { labels, count: Counter::default(), next: OnceLock::new() }));
            if series.labels == labels {
                return series.count.add(1);
            }
            slot = &series.next;
        }
    }

    pub(super) fn each(&self) -> impl Iterator<Item = ([&'static str; L], u64)> {
        std::iter::successors(self.first.get(), |series| series.next.get())
            .map(|series| (series.labels, series.count.sum()))
    }
}
