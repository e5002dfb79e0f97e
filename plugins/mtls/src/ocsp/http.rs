use std::time::Duration;

use portcullis_http::{AddressError, Client, HttpError, HttpSettings, Limits, Request, Url, address};
use portcullis_plugin::{BuildCx, BuildError};

/// The most that is read of an answer, in bytes. One with the responder's certificate has about 2 KiB.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// A server that is asked.
pub(super) struct Responder {
    url: Url,
    client: Client,
}

impl Responder {
    /// An address that can be asked, and waits so long for an answer.
    pub(super) fn new(text: &str, timeout: Duration, cx: &mut BuildCx<'_>) -> Result<Self, BuildError> {
        let url = url(text).map_err(|why| BuildError::new("responder", why))?;
        let limits = Limits { timeout, max_body_bytes: ANSWER_MAX_BYTES };
        let client = Client::shared(cx, &url, &HttpSettings::default(), limits)?;
        Ok(Self { url, client })
    }

    /// For the log.
    pub(super) fn name(&self) -> &str {
        self.url.as_str()
    }

    /// Sends a question (RFC 6960 appendix A.1).
    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, HttpError> {
        let asking = Request::post(&self.url).body("application/ocsp-request", question).repeatable();
        Ok(self.client.send(asking).await?.ok()?.body.into())
    }
}

/// Parses the responder's address. `http` is taken as well, as answers are signed.
fn url(text: &str) -> Result<Url, String> {
    match address(text, true) {
        Ok(url) if url.query().is_none() => Ok(url),
        Err(why @ AddressError::Malformed(_)) => Err(why.to_string()),
        Err(AddressError::Scheme) => Err("is neither http nor https".to_owned()),
        _ => Err("has a user name, a password, a query or a fragment in it".to_owned()),
    }
}
