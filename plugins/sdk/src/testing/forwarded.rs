use http::{HeaderMap, HeaderName, HeaderValue};

use super::Request;
use crate::{ManagedHeader, RequestHead};

/// A request on its way to the upstream, for `edit_request`.
///
/// ```
/// use portcullis_plugin::{RequestHead, http::{HeaderName, HeaderValue}, testing::{Forwarded, Request}};
///
/// let mut head = Forwarded::of(&Request::get("/orders/7"));
/// head.set(HeaderName::from_static("x-plan"), HeaderValue::from_static("gold"))?;
/// assert_eq!(head.headers["x-plan"], "gold");
/// # Ok::<(), portcullis_plugin::ManagedHeader>(())
/// ```
#[derive(Debug)]
pub struct Forwarded {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its path, without the query.
    pub path: String,
    /// Its query.
    pub query: Option<String>,
}

impl Forwarded {
    /// This request, as nobody has changed it yet.
    pub fn of(request: &Request) -> Self {
        let uri = &request.head.uri;
        let (path, query) = (uri.path().to_owned(), uri.query().map(str::to_owned));
        Self { headers: request.head.headers.clone(), path, query }
    }
}

impl RequestHead for Forwarded {
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        if ManagedHeader::is_framing(&name) {
            return Err(ManagedHeader(name));
        }
        self.headers.insert(name, value);
        Ok(())
    }
    fn remove(&mut self, name: &HeaderName) {
        if !ManagedHeader::is_framing(name) {
            self.headers.remove(name);
        }
    }
    fn set_path(&mut self, path_and_query: &str) -> Result<(), String> {
        if !path_and_query.starts_with('/') || path_and_query.parse::<http::Uri>().is_err() {
            return Err("this is not a path".to_owned());
        }
        let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(p, q)| (p, Some(q)));
        (self.path, self.query) = (path.to_owned(), query.map(str::to_owned));
        Ok(())
    }
}
