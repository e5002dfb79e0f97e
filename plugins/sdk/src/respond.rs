use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{Challenge, ManagedHeader, PluginError, Reason, header_edits::discreet};

/// An answer that a plugin makes by itself: a redirect, a page, JSON. It ends the request.
///
/// The engine sends it as it sends its own: with the request's id, `Strict-Transport-Security` where that is configured,
/// without a body to `HEAD`, and with `Cache-Control: no-store` unless it says otherwise. What frames a message, belongs to
/// a connection or is the gateway's own to say cannot be set. The reason goes to the log and never to the client. A gRPC
/// call gets the status alone, in its own form.
///
/// ```
/// use portcullis_plugin::{Reason, Respond, http::{HeaderValue, StatusCode, header}};
///
/// let login = Respond::redirect(Reason::Plugin("login_needed"), "https://login.example/?to=%2Forders")?
///     .header(header::SET_COOKIE, HeaderValue::from_static("__Host-attempt=1; Secure; Path=/; Max-Age=600"))?;
/// assert_eq!(login.status(), StatusCode::FOUND);
///
/// let gone = Respond::json(StatusCode::GONE, Reason::Plugin("moved_out"), &serde_json::json!({ "code": "moved_out" }));
/// assert!(gone.header(header::CONNECTION, HeaderValue::from_static("close")).is_err());
/// # Ok::<_, portcullis_plugin::PluginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond(Box<Parts>);

/// In a box: few requests end so, and verdicts are moved around for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    status: StatusCode,
    reason: Reason,
    headers: Vec<(HeaderName, HeaderValue)>,
    challenges: Vec<Challenge>,
    body: Bytes,
}

impl Respond {
    /// An answer without a body.
    ///
    /// # Panics
    /// The status is informational (1xx): that is no answer.
    pub fn new(status: StatusCode, reason: Reason) -> Self {
        assert!(!status.is_informational(), "{status} does not end a request");
        let (headers, challenges, body) = Default::default();
        Self(Box::new(Parts { status, reason, headers, challenges, body }))
    }

    /// A redirect (302) that is meant for this request alone.
    ///
    /// # Errors
    /// The location has characters that must be percent-encoded.
    pub fn redirect(reason: Reason, location: &str) -> Result<Self, PluginError> {
        Self::new(StatusCode::FOUND, reason).location(location)
    }

    /// A redirect (303) after which the client asks by `GET`, whatever it did before.
    ///
    /// # Errors
    /// The location has characters that must be percent-encoded.
    pub fn see_other(reason: Reason, location: &str) -> Result<Self, PluginError> {
        Self::new(StatusCode::SEE_OTHER, reason).location(location)
    }

    fn location(mut self, location: &str) -> Result<Self, PluginError> {
        // A header takes UTF-8 as well, which every client reads in a way of its own.
        let is_uri = location.bytes().all(|byte| byte.is_ascii_graphic());
        let value = HeaderValue::from_str(location).ok().filter(|_| is_uri);
        let value = value.ok_or_else(|| PluginError::new("a location has characters that must be percent-encoded"))?;
        self.0.headers.push((header::LOCATION, value));
        Ok(self)
    }

    /// An HTML page.
    ///
    /// # Panics
    /// The status is informational (1xx).
    pub fn page(status: StatusCode, reason: Reason, html: impl Into<Bytes>) -> Self {
        Self::new(status, reason).body(HeaderValue::from_static("text/html; charset=utf-8"), html)
    }

    /// JSON.
    ///
    /// # Panics
    /// The status is informational (1xx).
    pub fn json(status: StatusCode, reason: Reason, value: &serde_json::Value) -> Self {
        Self::new(status, reason).body(HeaderValue::from_static("application/json"), value.to_string())
    }

    /// Sets the body and its media type. A 204 and a 304 have none, whatever is said here.
    #[must_use]
    pub fn body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.0.headers.retain(|(name, _)| *name != header::CONTENT_TYPE);
        self.0.headers.push((header::CONTENT_TYPE, content_type));
        self.0.body = body.into();
        self
    }

    /// Adds a header beside those of that name, so that there may be several cookies.
    ///
    /// # Errors
    /// The name is the gateway's ([`ManagedHeader::is_gateways`]), or says what the body is, which
    /// [`body`](Self::body) does.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, ManagedHeader> {
        if name == header::CONTENT_TYPE {
            return Err(ManagedHeader(name));
        }
        let value = discreet(&name, value);
        self.0.headers.push((ManagedHeader::check(name)?, value));
        Ok(self)
    }

    /// Adds a challenge. A proposed 401 has those of the route's authenticators besides.
    #[must_use]
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.0.challenges.push(challenge);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The reason, for the log.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The headers, among them the body's media type.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// The challenges that it brings with it.
    pub fn challenges(&self) -> &[Challenge] {
        &self.0.challenges
    }

    /// The body.
    pub fn content(&self) -> &Bytes {
        &self.0.body
    }
}

#[cfg(test)]
mod tests;
