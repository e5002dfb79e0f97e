//! Heads as plugins may change them.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora_http::{RequestHeader, ResponseHeader};
use portcullis_plugin::{ManagedHeader, RequestHead, ResponseHead};

use super::target::set_target;
use crate::{canonical::canonical, header_names::is_framing, snapshot::identity_headers::IdentityHeaders};

/// The request on its way to the upstream.
pub struct UpstreamEdit<'e> {
    head: &'e mut RequestHeader,
    managed: &'e IdentityHeaders,
}

impl<'e> UpstreamEdit<'e> {
    /// Whatever `managed` would remove from a client's request cannot be written by a plugin either.
    pub fn new(head: &'e mut RequestHeader, managed: &'e IdentityHeaders) -> Self {
        Self { head, managed }
    }

    fn is_managed(&self, name: &HeaderName) -> bool {
        is_framing(name) || self.managed.removes(name)
    }
}

impl RequestHead for UpstreamEdit<'_> {
    fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn path(&self) -> &str {
        self.head.uri.path()
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        if self.is_managed(&name) {
            return Err(ManagedHeader(name));
        }
        self.head.insert_header(&name, value).map_err(|_| ManagedHeader(name))
    }

    fn remove(&mut self, name: &HeaderName) {
        if !self.is_managed(name) {
            while self.head.remove_header(name).is_some() {}
        }
    }

    fn set_path(&mut self, path_and_query: &str) -> Result<(), String> {
        let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(p, q)| (p, Some(q)));
        let path = canonical(path.as_bytes()).map_err(|fault| fault.to_string())?.path;
        let target = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        set_target(self.head, &target).map_err(|_| "this is not a path".to_owned())
    }
}

/// The response on its way to the client.
pub struct ClientEdit<'e>(pub &'e mut ResponseHeader);

impl ResponseHead for ClientEdit<'_> {
    fn status(&self) -> StatusCode {
        self.0.status
    }

    fn set_status(&mut self, status: StatusCode) {
        // 1xx and 101 are of the connection, not of the response.
        if status.as_u16() >= 200 && self.0.status.as_u16() >= 200 && self.0.set_status(status).is_ok() {
            self.0.set_reason_phrase(None).expect("no phrase is always a valid one");
        }
    }

    fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        if is_framing(&name) {
            return Err(ManagedHeader(name));
        }
        self.0.insert_header(&name, value).map_err(|_| ManagedHeader(name))
    }

    fn remove(&mut self, name: &HeaderName) {
        if !is_framing(name) {
            while self.0.remove_header(name).is_some() {}
        }
    }
}
