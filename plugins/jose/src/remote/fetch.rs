//! One fetch: the discovery document where there is one, and the key set. Whatever answers is not trusted to be what it
//! should: no redirects, no proxy from the environment, a limit on what is read, and `https`.

use std::{error::Error, fmt::Write, sync::OnceLock, time::Duration};

use portcullis_plugin::http::{HeaderMap, StatusCode, header};
use reqwest::{Client, Response, Url, redirect};
use serde_json::{Map, Value};

use super::settings::Location;
use crate::json;

/// The most that is read of a key set or a discovery document, in bytes. The largest of a public provider has 40 KiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Until a server has to take a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The answer to a fetch.
pub struct Page {
    /// The key set, not looked at yet.
    pub jwks: Vec<u8>,
    /// The time for which its server lets it be kept.
    pub max_age: Option<Duration>,
}

/// Why there is no new key set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer, or none in time.
    #[error("{0}")]
    Unreachable(String),
    /// An error in the place of an answer, or a redirect.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// An answer that is no key set.
    #[error("{0}")]
    Invalid(String),
}

fn invalid(why: impl Into<String>) -> FetchError {
    FetchError::Invalid(why.into())
}

/// A location that was found to be one.
#[derive(Clone, Debug)]
pub enum Target {
    /// The key set itself.
    Keys(Url),
    /// Where the discovery document may be, and whose it has to be.
    Discovery { issuer: String, documents: [Url; 2] },
}

impl Target {
    pub fn new(location: Location, allow_http: bool) -> Result<Self, String> {
        match location {
            Location::Url(url) => address(&url, allow_http).map(Self::Keys),
            Location::Issuer(issuer) => {
                let url = address(&issuer, allow_http)?;
                if url.query().is_some() {
                    return Err(format!("`{}` has a query: an issuer has none", shown(&url)));
                }
                Ok(Self::Discovery { documents: documents(&url), issuer })
            }
        }
    }

    /// For log and metric.
    pub fn name(&self) -> String {
        match self {
            Self::Keys(url) => shown(url),
            Self::Discovery { issuer, .. } => issuer.clone(),
        }
    }
}

/// OpenID Connect Discovery 1.0 section 4 puts the well-known part at the end of the issuer's path, RFC 8414 section 3.1
/// at its start.
fn documents(issuer: &Url) -> [Url; 2] {
    let path = issuer.path().trim_end_matches('/');
    let with_path = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    [
        with_path(format!("{path}/.well-known/openid-configuration")),
        with_path(format!("/.well-known/oauth-authorization-server{path}")),
    ]
}

/// An address that keys may come from.
fn address(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| format!("`{}` is not an address: {why}", text.escape_debug()))?;
    if url.username() != "" || url.password().is_some() {
        return Err("has a user name or a password in it: keys are public".to_owned());
    }
    if url.fragment().is_some() {
        return Err(format!("`{}` has a fragment: it is not sent to a server", shown(&url)));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(format!(
            "`{}` is not https: whoever is on the way could make tokens. `fetch = {{ allow_http = true }}` allows it",
            shown(&url)
        )),
        _ => Err(format!("`{}` is not https", shown(&url))),
    }
}

/// Returns `true` if the host is this machine: a request to it does not pass a network.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.to_canonical().is_loopback())
}

/// Without the query.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// Fetches the key set.
pub async fn page(target: &Target, allow_http: bool) -> Result<Page, FetchError> {
    let (jwks, headers) = match target {
        Target::Keys(url) => document(url).await?,
        Target::Discovery { issuer, documents } => document(&discovered(issuer, documents, allow_http).await?).await?,
    };
    Ok(Page { jwks, max_age: max_age(&headers) })
}

/// The address of the keys, as the issuer says.
async fn discovered(issuer: &str, documents: &[Url; 2], allow_http: bool) -> Result<Url, FetchError> {
    let [first, second] = documents;
    let mut answer = response(first).await?;
    if answer.status() == StatusCode::NOT_FOUND {
        answer = response(second).await?;
    }
    let (body, _) = body(answer).await?;
    let document = json::object(&body).map_err(|why| invalid(format!("its discovery document is not JSON: {why}")))?;
    if text(&document, "issuer") != Some(issuer) {
        // Section 4.3 there, RFC 8414 section 3.3: or whoever serves one issuer's document could speak for another.
        return Err(invalid("its discovery document is of another issuer"));
    }
    let keys = text(&document, "jwks_uri").ok_or_else(|| invalid("its discovery document has no `jwks_uri`"))?;
    let keys = address(keys, allow_http).map_err(|why| invalid(format!("its `jwks_uri` {why}")))?;
    // A document from the network must not point back into this machine.
    if keys.scheme() == "http" && first.scheme() == "https" && !allow_http {
        return Err(invalid("its `jwks_uri` is not https"));
    }
    Ok(keys)
}

fn text<'d>(document: &'d Map<String, Value>, member: &str) -> Option<&'d str> {
    document.get(member).and_then(Value::as_str)
}

async fn document(url: &Url) -> Result<(Vec<u8>, HeaderMap), FetchError> {
    body(response(url).await?).await
}

async fn response(url: &Url) -> Result<Response, FetchError> {
    let request = client()?.get(url.clone()).header(header::ACCEPT, "application/jwk-set+json, application/json");
    request.send().await.map_err(unreachable)
}

/// Reads a whole answer, and no more than [`MAX_BODY_BYTES`] of it. Its type is not looked at: many servers call every
/// file text, and what is no key set does not parse.
async fn body(mut response: Response) -> Result<(Vec<u8>, HeaderMap), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(invalid(format!("the answer has more than {MAX_BODY_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, std::mem::take(response.headers_mut())))
}

/// One for all sources. Connections are not kept: there are minutes between two fetches, and the runtime that opened one
/// may be gone by then.
fn client() -> Result<&'static Client, FetchError> {
    static CLIENT: OnceLock<Result<Client, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        let builder = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(0)
            .http1_only();
        builder.build().map_err(|error| words(&error))
    });
    client.as_ref().map_err(|why| FetchError::Unreachable(why.clone()))
}

/// Without the address, whose query may hold a secret.
fn unreachable(error: reqwest::Error) -> FetchError {
    FetchError::Unreachable(words(&error.without_url()))
}

/// An error with what caused it; the outermost alone says next to nothing.
fn words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(words, ": {error}");
        cause = error.source();
    }
    words
}

/// Returns the time for which an answer may be kept (RFC 9111 section 5.2.2), less the time that it has spent in caches
/// before us; `None` where it does not say.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let mut seconds = None;
    for directive in directives {
        match directive.split_once('=') {
            None if directive == "no-store" || directive == "no-cache" => return Some(Duration::ZERO),
            Some(("max-age", value)) => seconds = value.trim_matches('"').parse::<u64>().ok(),
            _ => {}
        }
    }
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
    seconds.map(|seconds| Duration::from_secs(seconds.saturating_sub(age)))
}

#[cfg(test)]
mod tests;
