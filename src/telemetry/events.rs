//! The events that are logged, and the fields of their lines.
//!
//! | event | when | fields beside `time` and `event` |
//! |---|---|---|
//! | `access` | a request ended | request id, address, method, host, path, protocol, status, bytes, duration, route,
//! upstream, target and its address, consumer, reason, error, unreached targets, user agent |
//! | `authentication`, `authorization` | a policy decided | result, reason, detail, request id, route, policy,
//! consumer, subject, tenant, issuer, credential id, claimed, address, method, path |
//! | `handshake` | a TLS handshake failed | result, reason, listener, server name, subject, issuer, address |
//! | `reload`, `listening`, ... | something happened to the process | level, message, and fields of its own |
//!
//! Absent fields are left out. Sizes are in bytes, durations in microseconds.
//!
//! # The danger
//! Query strings and header values hold tokens. A path is cut at its `?`, whatever the caller gave; of the headers only
//! the `User-Agent` is ever shown, and the identity that a denied attempt claims; both are cut. Every text has a limit,
//! so that a line has one.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use log::Level;
use portcullis_plugin::{CertificateNames, Claimed, Credential};

use super::{
    clock,
    json::{Object, cut},
    output::{Full, Output, Urgency},
};

/// The most bytes of a path that a line shows.
pub(crate) const MAX_PATH_BYTES: usize = 4096;

/// The most bytes of any other text: a host, a subject, an error.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// The most bytes of a `User-Agent`.
pub(crate) const MAX_USER_AGENT_BYTES: usize = 200;

/// The most bytes of a message: a report of a configuration's errors is long.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8192;

/// The most credentials that an audit event names.
pub(crate) const MAX_CREDENTIALS: usize = 8;

/// A request that ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// The id that the upstream request and the response have too: letters, digits, `.`, `_` and `-`.
    pub request_id: &'a str,
    /// The client's address, after trusted proxies.
    pub address: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The requested host, as it was written.
    pub host: Option<&'a str>,
    /// The canonical path. A query is cut off, if there is one.
    pub path: &'a str,
    /// The version of HTTP between client and gateway, such as `HTTP/2`.
    pub protocol: &'static str,
    /// The status that the client saw.
    pub status: u16,
    /// Bytes of the response body.
    pub bytes_sent: u64,
    /// Bytes of the request body.
    pub bytes_received: u64,
    /// The time from the request's head to the last byte of the response.
    pub duration: Duration,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// The upstream it was forwarded to.
    pub upstream: Option<&'a str>,
    /// The server of that upstream that was tried last.
    pub target: Option<&'a str>,
    /// The address of that server, if its name was resolved.
    pub target_address: Option<SocketAddr>,
    /// The servers of the upstream that could not be connected to.
    pub unreached: &'a [Arc<str>],
    /// The consumer that called.
    pub consumer: Option<&'a str>,
    /// The reason for which it was refused.
    pub reason: Option<&'a str>,
    /// The error, if one occurred. Never a text that Pingora made from a request.
    pub error: Option<&'a str>,
    /// The `User-Agent` as received.
    pub user_agent: Option<&'a [u8]>,
}

impl Access<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        let mut object = Object::begin(line)
            .plain("time", clock::now)
            .plain_str("event", "access")
            .plain_str("request_id", self.request_id)
            .plain("address", |line| append_address(self.address, line))
            .str("method", text(self.method))
            .opt_str("host", self.host.map(text))
            .str("path", path(self.path))
            .plain_str("protocol", self.protocol)
            .num("status", self.status)
            .num("bytes_sent", self.bytes_sent)
            .num("bytes_received", self.bytes_received)
            .num("duration_us", u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX))
            .opt_str("route", self.route.map(text))
            .opt_str("upstream", self.upstream.map(text))
            .opt_str("target", self.target.map(text));
        if let Some(address) = self.target_address {
            // Writing to a `Vec` never fails.
            object = object.plain("target_address", |line| _ = write!(line, "{address}"));
        }
        object = object
            .opt_str("consumer", self.consumer.map(text))
            .opt_str("reason", self.reason.map(text))
            .opt_str("error", self.error.map(text));
        if !self.unreached.is_empty() {
            object = object.strs("unreached", self.unreached.iter().map(|target| text(target)));
        }
        if let Some(agent) = self.user_agent {
            object = object.bytes("user_agent", &agent[..agent.len().min(MAX_USER_AGENT_BYTES)]);
        }
        object.end();
    }
}

/// The subject of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditEvent {
    /// The caller's identity.
    Authentication,
    /// The caller's permission.
    Authorization,
    /// An admitted request was ended, because it would be refused now.
    StreamEnded,
}

impl AuditEvent {
    /// Returns the value of the field `event`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::StreamEnded => "stream_ended",
        }
    }
}

/// The result of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditResult {
    /// It was granted.
    Granted,
    /// It was denied.
    Denied,
    /// It could not be decided, and so the request was refused.
    Failed,
}

impl AuditResult {
    /// Returns the value of the field `result`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// A decision, for those who must later account for access.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audit<'a> {
    /// The subject of the decision.
    pub event: AuditEvent,
    /// Its result.
    pub result: AuditResult,
    /// The code of the reason, unless it was granted.
    pub reason: Option<&'a str>,
    /// The exact requirement that was not met, if a plugin gives it: a text of the configuration or of the program, and
    /// never of the request.
    pub detail: Option<&'a str>,
    /// The id that the access line has too, of the same letters.
    pub request_id: &'a str,
    /// The route.
    pub route: Option<&'a str>,
    /// The policy that decided.
    pub policy: Option<&'a str>,
    /// The consumer, if one is known.
    pub consumer: Option<&'a str>,
    /// The user or service that a token is about.
    pub subject: Option<&'a str>,
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// The issuer that vouches for the subject.
    pub issuer: Option<&'a str>,
    /// The certificate that took part: an object of its own, because a token may have another subject and issuer.
    pub certificate: Option<&'a CertificateNames>,
    /// The identity that a denied attempt claimed: an object of its own, so that nobody takes it for a proven one. Of
    /// several keys the first is its `key_id`, and all are its `key_ids`.
    pub claimed: Option<&'a Claimed>,
    /// The credentials that took part. The first is `credential_id`; if there are more, all are `credential_ids`.
    pub credentials: &'a [Arc<Credential>],
    /// The client's address.
    pub address: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The canonical path. A query is cut off, if there is one.
    pub path: &'a str,
}

impl Audit<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        let ids = self.credentials.iter().map(|credential| text(&credential.id));
        let mut object = Object::begin(line)
            .plain("time", clock::now)
            .plain_str("event", self.event.as_str())
            .plain_str("result", self.result.as_str())
            .opt_str("reason", self.reason.map(text))
            .opt_str("detail", self.detail.map(text))
            .plain_str("request_id", self.request_id)
            .opt_str("route", self.route.map(text))
            .opt_str("policy", self.policy.map(text))
            .opt_str("consumer", self.consumer.map(text))
            .opt_str("subject", self.subject.map(text))
            .opt_str("tenant", self.tenant.map(text))
            .opt_str("issuer", self.issuer.map(text))
            .opt_str("credential_id", ids.clone().next());
        if ids.len() > 1 {
            object = object.strs("credential_ids", ids.take(MAX_CREDENTIALS));
        }
        if let Some(certificate) = self.certificate {
            object = object.object("certificate", |inner| {
                let inner = inner.str("subject", text(&certificate.subject)).str("serial", text(&certificate.serial));
                inner.str("sha256", text(&certificate.fingerprint))
            });
        }
        if let Some(claimed) = self.claimed {
            object = object.object("claimed", |inner| {
                let inner = claimed.fields().fold(inner, |inner, (name, value)| inner.str(name, text(value)));
                let ids = claimed.key_ids();
                if ids.len() > 1 { inner.strs("key_ids", ids.map(text)) } else { inner }
            });
        }
        object
            .plain("address", |line| append_address(self.address, line))
            .str("method", text(self.method))
            .str("path", path(self.path))
            .end();
    }
}

/// A TLS handshake that failed, and so has no request to be logged with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefusedHandshake<'a> {
    /// The code of the reason.
    pub reason: &'a str,
    /// The number of the listener in the file.
    pub listener: usize,
    /// The client's address.
    pub address: IpAddr,
    /// The requested name.
    pub server_name: Option<&'a str>,
    /// The subject of a certificate that was not accepted: its own claim, which nobody vouches for.
    pub subject: Option<&'a str>,
    /// Its issuer, by its own claim.
    pub issuer: Option<&'a str>,
}

impl RefusedHandshake<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        Object::begin(line)
            .plain("time", clock::now)
            .str("event", "handshake")
            .str("result", AuditResult::Denied.as_str())
            .str("reason", text(self.reason))
            .num("listener", self.listener as u64)
            .opt_str("server_name", self.server_name.map(text))
            .opt_str("subject", self.subject.map(text))
            .opt_str("issuer", self.issuer.map(text))
            .plain("address", |line| append_address(self.address, line))
            .end();
    }
}

/// An event of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note<'a> {
    /// Its severity.
    pub level: Level,
    /// Its name: `started`, `listening`, `reload`, `stopping`, ...
    pub event: &'static str,
    /// A sentence for people.
    pub message: &'a str,
    /// Its own fields. Keys are constants, and none of the four above.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// The value of a field of a [`Note`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Number(u64),
}

impl Note<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        let object = Object::begin(line)
            .plain("time", clock::now)
            .str("level", level_name(self.level))
            .str("event", self.event)
            .str("message", cut(self.message, MAX_MESSAGE_BYTES));
        let object = self.fields.iter().fold(object, |object, &(key, value)| match value {
            Value::Text(value) => object.str(key, text(value)),
            Value::Number(value) => object.num(key, value),
        });
        object.end();
    }
}

impl Output {
    /// Queues an access line. If there is no room it is dropped and counted.
    pub(crate) fn access(&self, access: &Access<'_>) {
        if self.try_line(Urgency::Low, |line| access.append(line)).is_err() {
            self.count_dropped();
        }
    }

    /// Queues an audit event, if there is room. A caller that gives up after [`AUDIT_WAIT`](super::output::AUDIT_WAIT)
    /// and lets the request go on must call [`Output::count_dropped`].
    pub(crate) fn try_audit(&self, audit: &Audit<'_>) -> Result<(), Full> {
        self.try_line(Urgency::High, |line| audit.append(line))
    }

    /// Queues the line of a failed handshake. If there is no room it is dropped and counted.
    pub(crate) fn handshake(&self, refused: &RefusedHandshake<'_>) {
        if self.try_line(Urgency::High, |line| refused.append(line)).is_err() {
            self.count_dropped();
        }
    }

    /// Queues a note. If there is no room it is dropped and counted.
    pub(crate) fn note(&self, note: &Note<'_>) {
        let priority = self.priority(note.level);
        let line = |line: &mut Vec<u8>| {
            line.extend_from_slice(priority.as_bytes());
            note.append(line);
        };
        if self.try_line(Urgency::High, line).is_err() {
            self.count_dropped();
        }
    }
}

/// Returns the name of a level in lines.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

#[inline]
fn text(value: &str) -> &str {
    cut(value, MAX_TEXT_BYTES)
}

#[inline]
fn path(value: &str) -> &str {
    let end = memchr::memchr(b'?', value.as_bytes()).unwrap_or(value.len());
    cut(&value[..end], MAX_PATH_BYTES)
}

/// Appends an address as text.
pub(crate) fn append_address(address: IpAddr, line: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => append_v4(v4, line),
        // Writing to a vector never fails.
        IpAddr::V6(v6) => drop(write!(line, "{v6}")),
    }
}

/// Faster than the standard library's way, over `Formatter`, which takes four times as long; and most addresses are of
/// this kind.
fn append_v4(address: Ipv4Addr, line: &mut Vec<u8>) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            line.push(b'.');
        }
        line.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

#[cfg(test)]
mod tests;
