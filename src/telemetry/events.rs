//! What is worth a line, and what stands in it.
//!
//! | event | when | fields beside `time` and `event` |
//! |---|---|---|
//! | `access` | a request ended | request id, address, method, host, path, protocol, status, bytes, duration, route, upstream, target and its address, consumer, reason, error, unreached targets, user agent |
//! | `authentication`, `authorization` | a policy decided | result, reason, detail, request id, route, policy, consumer, subject, tenant, issuer, credential id, claimed, address, method, path |
//! | `handshake` | a TLS handshake failed | result, reason, listener, server name, subject, issuer, address |
//! | `reload`, `listening`, ... | something happened to the process | level, message, and what belongs to it |
//!
//! What is absent is left out. Sizes are in bytes, durations in microseconds.
//!
//! # The danger
//! Query strings and header values hold tokens. A path ends at its `?`, whatever the caller gave; of the
//! headers only the `User-Agent` is ever shown, and whom a denied attempt claims to be; both are cut. Every text has a
//! limit, so that a line has one.

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
pub const MAX_PATH_BYTES: usize = 4096;

/// The most bytes of any other text: a host, a subject, an error.
pub const MAX_TEXT_BYTES: usize = 1024;

/// The most bytes of a `User-Agent`.
pub const MAX_USER_AGENT_BYTES: usize = 200;

/// The most bytes of a message: a list of what is wrong with a configuration is long.
pub const MAX_MESSAGE_BYTES: usize = 8192;

/// The most credentials that an audit event names.
pub const MAX_CREDENTIALS: usize = 8;

/// A request that ended.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The id that the upstream and the answer have too.
    pub request_id: &'a str,
    /// Where it came from: the client's address, after trusted proxies.
    pub address: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, as it was written.
    pub host: Option<&'a str>,
    /// The canonical path. A query is cut off, should there be one.
    pub path: &'a str,
    /// The version of HTTP between client and gateway, such as `HTTP/2`.
    pub protocol: &'a str,
    /// The status that the client saw.
    pub status: u16,
    /// Bytes of the response body.
    pub bytes_sent: u64,
    /// Bytes of the request body.
    pub bytes_received: u64,
    /// From the request's head to the last byte of the response.
    pub duration: Duration,
    /// The route that matched.
    pub route: Option<&'a str>,
    /// The upstream it was forwarded to.
    pub upstream: Option<&'a str>,
    /// The server of that upstream that was tried last.
    pub target: Option<&'a str>,
    /// Where that is, if its name was looked up.
    pub target_address: Option<SocketAddr>,
    /// Its servers that could not be connected to.
    pub unreached: &'a [Arc<str>],
    /// Who called.
    pub consumer: Option<&'a str>,
    /// Why it was refused.
    pub reason: Option<&'a str>,
    /// What went wrong. Never a text that Pingora made of a request.
    pub error: Option<&'a str>,
    /// The `User-Agent` as received.
    pub user_agent: Option<&'a [u8]>,
}

impl Access<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        let mut object = Object::begin(line)
            .plain("time", clock::now)
            .str("event", "access")
            .str("request_id", text(self.request_id))
            .plain("address", |line| append_address(self.address, line))
            .str("method", text(self.method))
            .opt_str("host", self.host.map(text))
            .str("path", path(self.path))
            .str("protocol", text(self.protocol))
            .num("status", self.status)
            .num("bytes_sent", self.bytes_sent)
            .num("bytes_received", self.bytes_received)
            .num("duration_us", u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX))
            .opt_str("route", self.route.map(text))
            .opt_str("upstream", self.upstream.map(text))
            .opt_str("target", self.target.map(text));
        if let Some(address) = self.target_address {
            // A `Vec` takes every write.
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

/// What was decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// Who is calling.
    Authentication,
    /// Whether they may.
    Authorization,
    /// A request that had been let in ended, because it would be refused now.
    StreamEnded,
}

impl AuditEvent {
    /// The field `event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::StreamEnded => "stream_ended",
        }
    }
}

/// How it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditResult {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// It could not be decided, and so the request was refused.
    Failed,
}

impl AuditResult {
    /// The field `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// A decision, for whoever has to answer later for who was let in.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// What was decided about.
    pub event: AuditEvent,
    /// How.
    pub result: AuditResult,
    /// The code of the reason, where it was not granted.
    pub reason: Option<&'a str>,
    /// What exactly was missing or wrong, where a plugin says it: a text of the configuration or of the program, and
    /// never of the request.
    pub detail: Option<&'a str>,
    /// The id that the access line has too.
    pub request_id: &'a str,
    /// The route.
    pub route: Option<&'a str>,
    /// The policy that decided.
    pub policy: Option<&'a str>,
    /// The consumer, where one is known.
    pub consumer: Option<&'a str>,
    /// The user or service that a token speaks of.
    pub subject: Option<&'a str>,
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// Who vouches for the subject.
    pub issuer: Option<&'a str>,
    /// The certificate that took part: an object of its own, because a token may have another subject and issuer.
    pub certificate: Option<&'a CertificateNames>,
    /// Who an attempt that was denied said it was: an object of its own, so that nobody takes it for who it was. Of
    /// several keys the first is its `key_id`, and all are its `key_ids`.
    pub claimed: Option<&'a Claimed>,
    /// The credentials that took part. The first is `credential_id`; where there are more, all are `credential_ids`.
    pub credentials: &'a [Arc<Credential>],
    /// Where the request came from.
    pub address: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The canonical path. A query is cut off, should there be one.
    pub path: &'a str,
}

impl Audit<'_> {
    fn append(&self, line: &mut Vec<u8>) {
        let ids = self.credentials.iter().map(|credential| text(&credential.id));
        let mut object = Object::begin(line)
            .plain("time", clock::now)
            .str("event", self.event.as_str())
            .str("result", self.result.as_str())
            .opt_str("reason", self.reason.map(text))
            .opt_str("detail", self.detail.map(text))
            .str("request_id", text(self.request_id))
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

/// A TLS handshake that failed: nobody was let in, and there is no request to tell of it.
#[derive(Clone, Copy, Debug)]
pub struct RefusedHandshake<'a> {
    /// The code of the reason.
    pub reason: &'a str,
    /// The number of the listener in the file.
    pub listener: usize,
    /// Where it came from.
    pub address: IpAddr,
    /// The name that was asked for.
    pub server_name: Option<&'a str>,
    /// The subject of a certificate that was not taken: what it says of itself, and nobody vouches for.
    pub subject: Option<&'a str>,
    /// Who made it, by its own word.
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

/// Something that happened to the process.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// How much it matters.
    pub level: Level,
    /// What: `started`, `listening`, `reload`, `stopping`, ...
    pub event: &'static str,
    /// The same for people, in a sentence.
    pub message: &'a str,
    /// What belongs to it. Keys are constants, and none of the four above.
    pub fields: &'a [(&'static str, Value<'a>)],
}

/// The value of a field of a [`Note`].
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
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
    /// Queues an access line. Without room it is dropped and counted.
    pub fn access(&self, access: &Access<'_>) {
        if self.try_line(Urgency::Low, |line| access.append(line)).is_err() {
            self.count_dropped();
        }
    }

    /// Queues an audit event, if there is room. Who gives up on one after [`AUDIT_WAIT`](super::output::AUDIT_WAIT) and
    /// lets the request go on says so with [`Output::count_dropped`].
    pub fn try_audit(&self, audit: &Audit<'_>) -> Result<(), Full> {
        self.try_line(Urgency::High, |line| audit.append(line))
    }

    /// Queues what is to be said of a handshake. Without room it is dropped and counted.
    pub fn handshake(&self, refused: &RefusedHandshake<'_>) {
        if self.try_line(Urgency::High, |line| refused.append(line)).is_err() {
            self.count_dropped();
        }
    }

    /// Queues a note. Without room it is dropped and counted.
    pub fn note(&self, note: &Note<'_>) {
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

/// A level as lines spell it.
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
    let end = value.bytes().position(|byte| byte == b'?').unwrap_or(value.len());
    cut(&value[..end], MAX_PATH_BYTES)
}

/// Appends an address as it is written.
pub fn append_address(address: IpAddr, line: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => append_v4(v4, line),
        // Into a vector, which takes every write.
        IpAddr::V6(v6) => drop(write!(line, "{v6}")),
    }
}

/// The standard library's way, over `Formatter`, takes four times as long; and most addresses are of this kind.
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
