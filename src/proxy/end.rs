//! The end of a request: its log line, its metrics, and what observers and the audit log are told.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use http::{HeaderValue, Version};
use pingora::proxy::Session;
use portcullis_plugin::{Outcome, Reason};

use super::{
    audit,
    hook::{Call, discard},
    state::RequestState,
};
use crate::{
    front::StreamEnd,
    streams::Withdrawn,
    telemetry::{Access, metrics::Phase},
};

impl RequestState {
    /// Writes the request's line and counts it, once.
    pub(crate) fn end(&mut self, session: Option<&Session>) {
        if std::mem::replace(&mut self.line.is_written, true) || !self.line.has_begun {
            return;
        }
        if let Some(session) = session {
            self.line.sent = session.body_bytes_sent() as u64;
            self.body_bytes = session.body_bytes_read().saturating_sub(self.made_up_bytes) as u64;
        }
        if let Some(end) = self.life.as_ref().and_then(|life| life.ended()) {
            self.ended(end);
        } else if session.is_none() && self.services.has_stopped.load(Relaxed) {
            self.failed("the gateway stopped");
        }
        let duration = self.started.elapsed();
        let metrics = &self.services.metrics;
        metrics.observe(Phase::Total, duration);
        match &self.record {
            Some(record) => record.metrics.answered(self.line.status),
            None => metrics.unrouted().answered(self.line.status),
        }
        self.observe(duration);
        if self.record.as_ref().is_none_or(|record| record.is_logged) {
            self.write(duration);
        }
    }

    /// Stores the reason why the request was ended early, and counts it.
    fn ended(&mut self, end: StreamEnd) {
        let (code, text) = match &end {
            StreamEnd::TooOld => ("max_stream_age", "the request lasted longer than max_stream_age"),
            StreamEnd::Expired => ("expired", "the credential expired while the request lasted"),
            StreamEnd::BodyStalled => ("body_timeout", "client: the body stood still for longer than body_timeout"),
            StreamEnd::ClientStalled => {
                ("write_timeout", "client: nothing of the response was taken for write_timeout")
            }
            StreamEnd::Withdrawn(why) => (why.reason.code(), "ended: the caller is no longer allowed"),
        };
        self.failed(text);
        self.services.metrics.stream_ended(code);
        let why = match end {
            StreamEnd::Withdrawn(why) => why,
            StreamEnd::Expired => Withdrawn::by(self.expired()),
            StreamEnd::TooOld | StreamEnd::BodyStalled | StreamEnd::ClientStalled => return,
        };
        self.reason = Some(why.reason);
        audit::stream_ended(self, &why);
    }

    /// Returns the reason for the credential that has expired.
    fn expired(&self) -> Reason {
        let identity = self.identity.as_deref();
        let is_proof =
            identity.is_some_and(|identity| identity.expires.is_some() && identity.expires == identity.deadline());
        match identity.filter(|_| is_proof) {
            Some(identity) if identity.claims.is_some() => Reason::TokenExpired,
            Some(identity) if identity.certificate.is_some() => Reason::CertificateExpired,
            _ => Reason::KeyExpired,
        }
    }

    fn observe(&self, duration: Duration) {
        let Some(record) = &self.record else { return };
        let (status, identity) = (self.line.status, self.identity.as_ref());
        for step in &record.observe {
            let outcome = Outcome::new(self.id.as_str(), &record.name, status, identity, self.reason, duration);
            let outcome = outcome.with_data(&self.data, step.number);
            let call = Call { state: self, policy: &step.policy, hook: "observe" };
            // Whatever becomes of it is in the log, and the request is over.
            let _ = call.run(|| {
                step.hook.observe(&outcome);
                Ok(())
            });
        }
    }

    fn write(&self, duration: Duration) {
        let consumer = self.identity.as_ref().and_then(|identity| identity.consumer.as_ref());
        let reached = self.choice.as_ref().filter(|_| self.is_connected);
        self.services.output.access(&Access {
            request_id: self.id.as_str(),
            method: self.line.method.as_str(),
            host: self.line.host.as_ref().and_then(|host| host.to_str().ok()).or(self.line.uri.host()),
            path: self.path(),
            protocol: protocol(self.line.version),
            status: self.line.status,
            bytes_sent: self.line.sent,
            bytes_received: self.body_bytes,
            duration,
            upstream: self.upstream.as_ref().map(|upstream| &*upstream.name),
            target: reached.map(|choice| &*choice.target.address),
            target_address: reached.filter(|choice| choice.target.is_name()).map(|choice| choice.at),
            unreached: &self.unreached,
            route: self.record.as_ref().map(|record| &*record.name),
            consumer: consumer.map(|consumer| consumer.name.as_str()),
            address: self.client,
            reason: self.reason.map(Reason::code),
            error: self.error.as_deref(),
            user_agent: self.line.user_agent.as_ref().map(HeaderValue::as_bytes),
        });
    }
}

impl Drop for RequestState {
    fn drop(&mut self) {
        self.end(None);
        discard(self.data.take());
    }
}

fn protocol(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(Version::HTTP_2) => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
