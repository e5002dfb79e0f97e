use std::sync::OnceLock;

use portcullis_plugin::http::{StatusCode, header};
use reqwest::{Client, Url, redirect};

/// The most that is read of an answer, in bytes. One with the responder's certificate has about 2 KiB.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Where questions are sent to.
pub(super) struct Responder(Url);

impl Responder {
    /// An address that can be asked.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|why| format!("is not an address: {why}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("is neither http nor https".to_owned());
        }
        if url.username() != "" || url.password().is_some() || url.fragment().is_some() || url.query().is_some() {
            return Err("has a user name, a password, a query or a fragment in it".to_owned());
        }
        Ok(Self(url))
    }

    /// For the log.
    pub(super) fn name(&self) -> &str {
        self.0.as_str()
    }

    /// Sends a question (RFC 6960 appendix A.1). The server is not trusted: no redirects, no proxy from the
    /// environment, and a limit on what is read.
    pub(super) async fn ask(&self, question: Vec<u8>) -> Result<Vec<u8>, String> {
        let asking = client()?.post(self.0.clone()).header(header::CONTENT_TYPE, "application/ocsp-request");
        let mut response = asking.body(question).send().await.map_err(|error| error.without_url().to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer was {}", response.status()));
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            if answer.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(format!("the answer has more than {ANSWER_MAX_BYTES} bytes"));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }
}

/// One for all. Connections are not kept: the runtime that opened one may be gone by the next question.
fn client() -> Result<&'static Client, String> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).referer(false);
        builder.pool_max_idle_per_host(0).http1_only().build().map_err(|error| error.to_string())
    });
    client.as_ref().map_err(Clone::clone)
}
