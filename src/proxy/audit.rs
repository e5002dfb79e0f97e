//! The audit trail of one request: who tried to be whom, and what came of it. It has the reasons that the answers do
//! not give, and never a secret.
//!
//! What alternatives of authentication say is gathered and written when the outcome is known: a key that one policy
//! does not know is no failure when the next one knows it.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use portcullis_plugin::{Claimed, Identity, Reason};

use super::{deferred_checks::DeferredChecks, state::RequestState};
use crate::{
    config::file::{self, OnFull},
    services::Services,
    snapshot::route::Authenticator,
    streams::Withdrawn,
    telemetry::{Audit, AuditEvent, AuditResult, output},
};

/// The result of one attempt at proving an identity.
pub(crate) struct Attempted {
    /// The policy that judged it.
    pub policy: Option<Arc<str>>,
    /// The result.
    pub result: AuditResult,
    /// The reason for the result.
    pub reason: Reason,
    /// Details, if the plugin gives any.
    pub detail: Option<&'static str>,
    /// The owner of a credential that is known but cannot be used.
    pub identity: Option<Arc<Identity>>,
    /// The identity that was claimed, which nothing proves.
    pub claimed: Option<Claimed>,
}

impl Attempted {
    /// Returns an attempt that proved nothing.
    pub(crate) fn denied(policy: Option<&Arc<str>>, reason: Reason) -> Self {
        Self {
            policy: policy.cloned(),
            result: AuditResult::Denied,
            reason,
            detail: None,
            identity: None,
            claimed: None,
        }
    }

    /// Returns an attempt that could not be judged.
    pub(crate) fn failed(policy: Option<&Arc<str>>, reason: Reason) -> Self {
        Self { result: AuditResult::Failed, ..Self::denied(policy, reason) }
    }
}

/// Writes the events of one request.
pub(crate) struct Trail<'t> {
    state: &'t RequestState,
    settings: &'t file::Audit,
    route: &'t str,
    attempts: Vec<Attempted>,
    failure: Option<String>,
    /// Set if an event found no room in the queue.
    is_incomplete: bool,
}

impl<'t> Trail<'t> {
    /// Returns the empty trail of a request.
    pub(crate) fn of(state: &'t RequestState, settings: &'t file::Audit, route: &'t str) -> Self {
        Self { state, settings, route, attempts: Vec::new(), failure: None, is_incomplete: false }
    }

    /// Returns the request.
    pub(crate) fn state(&self) -> &'t RequestState {
        self.state
    }

    /// Returns the checks that wait for the request's body.
    pub(crate) fn deferred_checks(&self) -> &'t DeferredChecks {
        &self.state.deferred_checks
    }

    /// Adds an attempt, which is written if no alternative grants.
    pub(crate) fn attempted(&mut self, attempt: Attempted) {
        self.attempts.push(attempt);
    }

    /// Writes the attempts, because no alternative granted.
    pub(crate) fn refused(&mut self) {
        for attempt in std::mem::take(&mut self.attempts) {
            let Attempted { policy, result, reason, detail, identity, claimed } = &attempt;
            self.write(&Decided {
                reason: Some(*reason),
                detail: *detail,
                policy: policy.as_deref(),
                identity: identity.as_deref(),
                claimed: claimed.as_ref(),
                ..Decided::new(AuditEvent::Authentication, *result)
            });
        }
    }

    /// Writes that an alternative granted: one such event in `sample_successes`.
    pub(crate) fn granted(&mut self, alternative: &[Authenticator], identity: &Identity) {
        thread_local! {
            static SEEN: Cell<u32> = const { Cell::new(0) };
        }
        let is_due = match self.settings.sample_successes {
            0 => false,
            1 => true,
            every => {
                SEEN.set(SEEN.get().wrapping_add(1));
                SEEN.get().is_multiple_of(every)
            }
        };
        if !is_due {
            self.is_incomplete |= self.is_unwritable();
            return;
        }
        let write = |trail: &mut Self, policy: &str| {
            let granted = Decided::new(AuditEvent::Authentication, AuditResult::Granted);
            trail.write(&Decided { policy: Some(policy), identity: Some(identity), ..granted });
        };
        match alternative {
            [only] => write(self, &only.policy),
            together => write(self, &together.iter().map(|one| &*one.policy).collect::<Vec<_>>().join("+")),
        }
    }

    /// Returns whether nobody may be let in, because what they do later could not be written down.
    fn is_unwritable(&self) -> bool {
        self.settings.on_full == OnFull::Refuse && self.state.services.output.is_failing()
    }

    /// Notes that no credential was sent, and that the request counts as that of the anonymous consumer.
    pub(crate) fn anonymous(&mut self, identity: &Identity) {
        self.attempts.clear();
        self.is_incomplete |= self.is_unwritable();
        if self.settings.sample_successes == 1 {
            let granted = Decided::new(AuditEvent::Authentication, AuditResult::Granted);
            self.write(&Decided { identity: Some(identity), ..granted });
        }
    }

    /// Writes that a guard or a restriction, or a later check, refused the request.
    pub(crate) fn forbidden(
        &mut self,
        policy: Option<&str>,
        reason: Reason,
        detail: Option<&str>,
        identity: Option<&Identity>,
    ) {
        let denied = Decided::new(AuditEvent::Authorization, AuditResult::Denied);
        self.write(&Decided { reason: Some(reason), detail, policy, identity, ..denied });
    }

    /// Stores the reason why the request could not be decided, for the access line.
    pub(crate) fn failed(&mut self, why: String) {
        self.failure.get_or_insert(why);
    }

    /// Returns why the request could not be decided, and whether the request has to be refused because its trail could
    /// not be written.
    pub(crate) fn finish(self) -> (Option<String>, bool) {
        let must_refuse = self.must_refuse();
        (self.failure, must_refuse)
    }

    /// Returns `true` if the request has to be refused because its trail could not be written.
    pub(crate) fn must_refuse(&self) -> bool {
        self.is_incomplete && self.settings.on_full == OnFull::Refuse
    }

    fn write(&mut self, decided: &Decided<'_>) {
        let &Decided { event, result, reason, detail, policy, identity, claimed } = decided;
        let consumer = identity.and_then(|identity| identity.consumer.as_ref());
        let line = Audit {
            event,
            result,
            reason: reason.map(Reason::code),
            detail,
            request_id: self.state.id.as_str(),
            route: Some(self.route),
            policy,
            consumer: consumer.map(|consumer| consumer.name.as_str()),
            subject: identity.and_then(|identity| identity.subject.as_deref()),
            tenant: identity.and_then(|identity| identity.tenant.as_deref()),
            issuer: identity.and_then(|identity| identity.issuer.as_deref()),
            certificate: identity.and_then(|identity| identity.certificate.as_deref()),
            claimed,
            credentials: identity.map(|identity| identity.credentials.as_slice()).unwrap_or_default(),
            address: self.state.client,
            method: self.state.method().as_str(),
            path: self.state.path(),
        };
        if !written(&self.state.services, &line, self.settings.on_full) {
            self.is_incomplete = true;
        }
    }
}

/// The part of an event that is not about its request.
struct Decided<'d> {
    event: AuditEvent,
    result: AuditResult,
    reason: Option<Reason>,
    detail: Option<&'d str>,
    policy: Option<&'d str>,
    identity: Option<&'d Identity>,
    claimed: Option<&'d Claimed>,
}

impl Decided<'_> {
    fn new(event: AuditEvent, result: AuditResult) -> Self {
        Self { event, result, reason: None, detail: None, policy: None, identity: None, claimed: None }
    }
}

/// Writes that a request which had been let through was refused after all: for a body that is larger than the route
/// takes, or that a plugin does not like, or because a plugin failed.
pub(crate) fn refused_late(state: &RequestState, policy: Option<&str>, reason: Reason, detail: Option<&str>) {
    let Some(record) = &state.record else { return };
    // Of the settings none counts here: refusals are never left out, and this request is refused already.
    let settings = file::Audit::default();
    Trail::of(state, &settings, &record.name).forbidden(policy, reason, detail, state.identity.as_deref());
}

/// Writes that a request which had been let in was ended, because it would be refused now.
pub(crate) fn stream_ended(state: &RequestState, why: &Withdrawn) {
    let Some(record) = &state.record else { return };
    let settings = file::Audit::default();
    Trail::of(state, &settings, &record.name).write(&Decided {
        reason: Some(why.reason),
        detail: why.detail.as_deref(),
        policy: why.policy.as_deref(),
        identity: state.identity.as_deref(),
        ..Decided::new(AuditEvent::StreamEnded, AuditResult::Denied)
    });
}

/// Queues the event, and waits a little if the queue is full. The queue is full only while whoever reads it stands
/// still. The first worker to find it so waits, for at most [`output::AUDIT_WAIT`]; once that was in vain nobody waits
/// until there is room again, because a reader that is gone must not take the gateway with it.
///
/// A log that cannot be written has room, and loses what is queued. Where nobody is let in without an event, that is no
/// room, and nothing to wait for.
fn written(services: &Services, line: &Audit<'_>, on_full: OnFull) -> bool {
    if on_full == OnFull::Refuse && services.output.is_failing() {
        // What was denied is kept if it can be: a log that only hangs may go on. Nothing will have been granted.
        let is_kept = line.result != AuditResult::Granted && services.output.try_audit(line).is_ok();
        if !is_kept {
            services.output.count_dropped();
        }
        return false;
    }
    let started = std::time::Instant::now();
    loop {
        if services.output.try_audit(line).is_ok() {
            if services.is_audit_stuck.load(Relaxed) {
                services.is_audit_stuck.store(false, Relaxed);
            }
            return true;
        }
        if services.is_audit_stuck.load(Relaxed) || started.elapsed() >= output::AUDIT_WAIT {
            services.is_audit_stuck.store(true, Relaxed);
            services.output.count_dropped();
            return false;
        }
        std::thread::park_timeout(output::AUDIT_RETRY);
    }
}
