use std::time::Duration;

use portcullis_plugin::{
    bytes::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    serde::Serialize,
    serde_json,
};
use url::{Url, form_urlencoded};

/// A request, for [`Client::send`](crate::Client::send).
#[derive(Clone)]
#[must_use = "a request does nothing until a client sends it"]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Option<Duration>,
    pub(crate) redirects: usize,
    pub(crate) is_named: bool,
    pub(crate) is_repeatable: bool,
}

impl Request {
    /// A GET of this address.
    pub fn get(url: &Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST to this address.
    pub fn post(url: &Url) -> Self {
        Self::new(Method::POST, url)
    }

    fn new(method: Method, url: &Url) -> Self {
        Self {
            is_repeatable: method == Method::GET,
            method,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: None,
            redirects: 0,
            is_named: false,
        }
    }

    /// Sets a header. A secret belongs into a value that is marked as sensitive.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Says which types are wanted.
    pub fn accept(self, types: &'static str) -> Self {
        self.header(header::ACCEPT, HeaderValue::from_static(types))
    }

    /// Sends these bytes.
    pub fn body(mut self, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// Sends a form.
    pub fn form<'f>(self, fields: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", form)
    }

    /// Sends JSON.
    ///
    /// # Panics
    /// The value cannot be written as JSON: it has a map whose keys are no texts.
    pub fn json(self, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("a value that can be written as JSON");
        self.body("application/json", json)
    }

    /// Ends the exchange earlier than the client's settings do.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says that a document or a server names the address, and not the configuration: a `jwks_uri`, a distribution point.
    /// An address of the gateway itself, a link-local one and the metadata services of clouds are not asked then. It
    /// changes nothing for an address of the configured origin. Where a proxy looks names up, only addresses that stand
    /// in the URL itself can be judged.
    pub fn named_by_document(mut self) -> Self {
        self.is_named = true;
        self
    }

    /// Follows so many redirects of a GET, as addresses that a document names. Headers go along to the same origin only,
    /// and none leads from `https` to `http`.
    pub fn redirects(mut self, most: usize) -> Self {
        self.redirects = most;
        self
    }

    /// Says that sending it twice does no harm, as with every GET: it is sent again, once, where the server closed a kept
    /// connection just as it was sent.
    pub fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }
}
