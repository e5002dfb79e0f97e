//! Requests as they are sent, for the tests of the schemes.

use std::str::FromStr;

use portcullis_plugin::{
    Reason, Secret, UnixTime,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    testing::Request,
};

use crate::{
    body::BodyDigest,
    key::SigningKey,
    scheme::{BodyUse, Claim, Reading, Scheme, SignedRequest},
};

/// A whole request.
#[derive(Clone)]
pub(crate) struct Sent {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Sent {
    /// A request as published vectors show it: lines that end in a newline, and the body after an empty one.
    pub(crate) fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let line = lines.next().expect("a request line").strip_suffix(" HTTP/1.1").expect("HTTP/1.1");
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let sent = Self {
            method: method.parse().expect("a method"),
            target: target.to_owned(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        lines.fold(sent, |sent, line| {
            let (name, value) = line.split_once(':').expect("a header");
            sent.header(name, value.trim())
        })
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        self.headers.append(HeaderName::from_str(name).expect("a header name"), value);
        self
    }

    /// With this header in place of all of its name.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.headers.remove(name);
        self.header(name, value)
    }

    /// Without this header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        assert!(self.headers.remove(name).is_some(), "{name}");
        self
    }

    /// With another body.
    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// The request as a whole policy sees it, at this time.
    pub(crate) fn at(&self, now: i64) -> Request {
        let mut request = Request::new(self.method.as_str(), &self.target);
        request.head.headers = self.headers.clone();
        request.body = self.body.clone().into();
        request.now = UnixTime(now);
        request
    }

    /// The request as a scheme sees it.
    pub(crate) fn request(&self) -> SignedRequest<'_> {
        SignedRequest { method: &self.method, target: &self.target, headers: &self.headers, is_https: true }
    }

    /// Returns the claim that is right, as the frame judges it but for clock, store and identity; `None` where the
    /// scheme finds nothing.
    pub(crate) fn judged(&self, scheme: &dyn Scheme, secret: &str) -> Result<Option<Claim>, Reason> {
        let claims = match scheme.read(&self.request()) {
            Reading::Absent => return Ok(None),
            Reading::Wrong(wrong) => return Err(wrong.reason),
            Reading::Presented(claims) => claims,
        };
        let decoded = scheme.decode_secret(secret.as_bytes()).expect("a secret");
        let key = SigningKey::shared(Secret::new(decoded), scheme.algorithms());
        let is_right = |claim: &Claim| scheme.verify(&key, claim, &claim.message.with_body(&self.body));
        let claim = claims.into_iter().find(is_right).ok_or(Reason::SignatureInvalid)?;
        if let BodyUse::Declared(digests) = &claim.body {
            let fits = |digest: &BodyDigest| digest.fits(&self.body);
            return if digests.iter().all(fits) { Ok(Some(claim)) } else { Err(Reason::DigestMismatch) };
        }
        Ok(Some(claim))
    }
}
