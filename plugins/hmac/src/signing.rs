//! A client that signs by RFC 9421, for the tests. It writes the signature base by hand and shares no code with what it
//! tests.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use aws_lc_rs::{digest, hmac};
use base64::{Engine, prelude::BASE64_STANDARD};
use portcullis_plugin::{
    Answer, Authenticate, Authentication,
    bytes::Bytes,
    http::{HeaderName, HeaderValue},
    testing::Request,
};

/// The time of a test request, in seconds.
pub(crate) const NOW: i64 = 1_800_000_000;
/// The secret of `acme-1`.
pub(crate) const SECRET: &str = "acme-secret-of-32-bytes-or-more-0";

/// The choices of a client that signs.
#[derive(Clone)]
pub(crate) struct Signer {
    pub secret: String,
    pub label: String,
    /// Component identifiers with their quotes, and their values.
    pub lines: Vec<(String, String)>,
    /// The parameters after the list.
    pub parameters: String,
}

impl Signer {
    /// A signature that the default policy takes, of a request to `api.example.com`.
    pub(crate) fn of(request: &Request) -> Self {
        let target = request.received_target.clone().unwrap_or_else(|| request.head.uri.to_string());
        let (path, query) = target.split_once('?').map_or((&*target, "?".to_owned()), |(p, q)| (p, format!("?{q}")));
        Self {
            secret: SECRET.to_owned(),
            label: "sig1".to_owned(),
            lines: Vec::new(),
            parameters: format!(";created={NOW};keyid=\"acme-1\""),
        }
        .line("@method", request.head.method.as_str())
        .line("@authority", "api.example.com")
        .line("@path", path)
        .line("@query", &query)
    }

    /// Covers one more component.
    pub(crate) fn line(mut self, name: &str, value: &str) -> Self {
        self.lines.push((format!("\"{name}\""), value.to_owned()));
        self
    }

    /// Does not cover this component.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(of, _)| *of != format!("\"{name}\""));
        self
    }

    /// With these parameters in place of the usual ones.
    pub(crate) fn parameters(mut self, parameters: &str) -> Self {
        self.parameters = parameters.to_owned();
        self
    }

    /// With another secret.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secret = secret.to_owned();
        self
    }

    /// With another label.
    pub(crate) fn label(mut self, label: &str) -> Self {
        self.label = label.to_owned();
        self
    }

    /// The two headers' values.
    pub(crate) fn headers(&self) -> (String, String) {
        let list: Vec<_> = self.lines.iter().map(|(identifier, _)| identifier.as_str()).collect();
        let params = format!("({}){}", list.join(" "), self.parameters);
        let lines: String = self.lines.iter().map(|(identifier, value)| format!("{identifier}: {value}\n")).collect();
        let base = format!("{lines}\"@signature-params\": {params}");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()), base.as_bytes());
        let label = &self.label;
        (format!("{label}={params}"), format!("{label}=:{}:", BASE64_STANDARD.encode(tag)))
    }

    /// The request with the signature in it.
    pub(crate) fn sign(&self, request: Request) -> Request {
        let (input, signature) = self.headers();
        request.header("signature-input", input).header("signature", signature)
    }
}

/// A request to `api.example.com`.
pub(crate) fn request(method: &str, target: &str) -> Request {
    Request::new(method, target).header("host", "api.example.com")
}

/// A request with a body and its digest, and the signer that covers it.
pub(crate) fn with_body(body: &str) -> (Request, Signer) {
    let digest = content_digest(body);
    let mut request = request("POST", "/orders").header("content-digest", &digest);
    request.body = Bytes::copy_from_slice(body.as_bytes());
    let signer = Signer::of(&request).line("content-digest", &digest);
    (request, signer)
}

pub(crate) fn content_digest(body: &str) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes())))
}

/// The request with this header in place of all of its name.
pub(crate) fn replace(mut request: Request, name: &'static str, value: &str) -> Request {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
    request.head.headers.insert(HeaderName::from_static(name), value);
    request
}

/// The answer, which comes at once where store and body do, and the second time where the body is late.
pub(crate) fn wait<T>(answer: Answer<'_, T>) -> T {
    let mut future = pin!(answer.get());
    for _ in 0..2 {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
    }
    panic!("the hook waits")
}

/// `"acme-1"` for the credential that was granted, `"absent"`, the reason code, or `"failed"`.
pub(crate) fn outcome(hook: &Arc<dyn Authenticate>, request: &mut Request) -> String {
    match wait(hook.authenticate(&mut request.cx())) {
        Ok(Authentication::Granted(identity)) => identity.credentials[0].id.to_string(),
        Ok(Authentication::Absent) => "absent".to_owned(),
        Ok(other @ (Authentication::GrantedWith(..) | Authentication::AbsentWith(_))) => panic!("{other:?}"),
        Ok(Authentication::Denied(denial)) => denial.reason.to_string(),
        Err(_) => "failed".to_owned(),
    }
}
