//! Heads as plugins may change them.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use portcullis_plugin::{HeaderEdit, ManagedHeader, RequestHead, ResponseHead};

use super::target::set_target;
use crate::{canonical::canonical, header_names::is_framing, snapshot::identity_headers::IdentityHeaders};

/// The request on its way to the upstream.
pub(crate) struct UpstreamEdit<'e> {
    head: &'e mut RequestHeader,
    managed: &'e IdentityHeaders,
}

impl<'e> UpstreamEdit<'e> {
    /// Returns a request in which plugins can set no header that `managed` would remove from a client's request.
    pub(crate) fn new(head: &'e mut RequestHeader, managed: &'e IdentityHeaders) -> Self {
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
            self.head.remove_header(name);
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
pub(crate) struct ClientEdit<'e> {
    head: &'e mut ResponseHeader,
    is_own: bool,
}

impl<'e> ClientEdit<'e> {
    /// Returns the response of the upstream, or the route's own.
    pub(crate) fn of_response(head: &'e mut ResponseHeader) -> Self {
        Self { head, is_own: false }
    }

    /// Returns an answer of the gateway's own.
    pub(crate) fn of_own_answer(head: &'e mut ResponseHeader) -> Self {
        Self { head, is_own: true }
    }

    /// Makes one change that came with a verdict. What it cannot change stays: a refusal is not stored, whatever was
    /// said of the response.
    pub(crate) fn change(&mut self, name: &HeaderName, edit: &HeaderEdit) {
        let changed = match edit {
            HeaderEdit::Set(value) => self.set(name.clone(), value.clone()),
            HeaderEdit::Append(value) => self.append(name.clone(), value.clone()),
            HeaderEdit::Remove => {
                self.remove(name);
                Ok(())
            }
        };
        if let Err(managed) = changed {
            log::debug!("a plugin's change to a response was left out: {managed}");
        }
    }

    fn is_managed(&self, name: &HeaderName) -> bool {
        is_framing(name) || self.is_own && ManagedHeader::is_of_own_answer(name)
    }
}

impl ResponseHead for ClientEdit<'_> {
    fn is_own(&self) -> bool {
        self.is_own
    }

    fn status(&self) -> StatusCode {
        self.head.status
    }

    fn set_status(&mut self, status: StatusCode) {
        // 1xx and 101 are of the connection, not of the response.
        let is_response = status.as_u16() >= 200 && self.head.status.as_u16() >= 200;
        if !self.is_own && is_response && self.head.set_status(status).is_ok() {
            self.head.set_reason_phrase(None).expect("no phrase is always a valid one");
        }
    }

    fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        if self.is_managed(&name) {
            return Err(ManagedHeader(name));
        }
        self.head.insert_header(&name, value).map_err(|_| ManagedHeader(name))
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        if self.is_managed(&name) {
            return Err(ManagedHeader(name));
        }
        self.head.append_header(&name, value).map(drop).map_err(|_| ManagedHeader(name))
    }

    fn remove(&mut self, name: &HeaderName) {
        if !self.is_managed(name) {
            self.head.remove_header(name);
        }
    }
}
