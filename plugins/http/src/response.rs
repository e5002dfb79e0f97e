use std::time::Duration;

use portcullis_plugin::{
    bytes::Bytes,
    http::{HeaderMap, StatusCode, header},
};
use url::Url;

use crate::{HttpError, max_age};

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, unpacked.
    pub body: Bytes,
}

impl Response {
    /// Itself, if its status is 200.
    ///
    /// # Errors
    /// It has another one.
    pub fn ok(self) -> Result<Self, HttpError> {
        if self.status == StatusCode::OK { Ok(self) } else { Err(HttpError::Status(self.status)) }
    }

    /// Returns the time for which it may be kept, by its `Cache-Control`.
    pub fn max_age(&self) -> Option<Duration> {
        max_age(&self.headers)
    }

    /// The address that a redirect leads to.
    pub(crate) fn location(&self, from: &Url) -> Option<Result<Url, String>> {
        if !matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return None;
        }
        let location = self.headers.get(header::LOCATION)?;
        let next = location.to_str().ok().and_then(|location| from.join(location).ok());
        let next = next.filter(|next| {
            matches!(next.scheme(), "https" | "http") && next.username() == "" && next.password().is_none()
        });
        Some(next.ok_or_else(|| "the answer is a redirect to something that is no address".to_owned()))
    }
}
