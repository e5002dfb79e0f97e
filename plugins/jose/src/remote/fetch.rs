//! One fetch: the discovery document where there is one, and the key set.

use std::time::Duration;

use portcullis_http::{AddressError, Client, HttpError, Limits, Request, Response, Url, address, shown};
use portcullis_plugin::http::StatusCode;
use serde_json::{Map, Value};

use super::settings::{Location, Settings};
use crate::json;

/// The most that is read of a key set or a discovery document, in bytes. The largest of a public provider has 40 KiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// The limits of each exchange. A fetch may be two of them, and is limited as a whole by its settings.
pub(super) const LIMITS: Limits = Limits { timeout: Settings::LONGEST_TIMEOUT, max_body_bytes: MAX_BODY_BYTES };

/// The answer to a fetch.
pub(super) struct Page {
    /// The key set, not looked at yet.
    pub jwks: Vec<u8>,
    /// The time for which its server lets it be kept.
    pub max_age: Option<Duration>,
}

/// Why there is no new key set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
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

impl From<HttpError> for FetchError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Status(status) => Self::Status(status),
            absent if absent.is_absence() => Self::Unreachable(absent.to_string()),
            // It has answered, with something that is no key set.
            broken => Self::Invalid(broken.to_string()),
        }
    }
}

fn invalid(why: impl Into<String>) -> FetchError {
    FetchError::Invalid(why.into())
}

/// A location whose address was checked.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The key set itself.
    Keys(Url),
    /// The addresses where the discovery document may be, and the issuer that it has to name.
    Discovery { issuer: String, documents: [Url; 2] },
}

impl Target {
    pub(super) fn new(location: Location, allow_http: bool) -> Result<Self, String> {
        match location {
            Location::Url(url) => place(&url, allow_http).map(Self::Keys),
            Location::Issuer(issuer) => {
                let url = place(&issuer, allow_http)?;
                if url.query().is_some() {
                    return Err(format!("`{}` has a query: an issuer has none", shown(&url)));
                }
                Ok(Self::Discovery { documents: documents(&url), issuer })
            }
        }
    }

    /// An address of the server that the file names.
    pub(super) fn origin(&self) -> &Url {
        match self {
            Self::Keys(url) => url,
            Self::Discovery { documents: [url, _], .. } => url,
        }
    }

    /// For log and metric.
    pub(super) fn name(&self) -> String {
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
fn place(text: &str, allow_http: bool) -> Result<Url, String> {
    address(text, allow_http).map_err(|why| {
        let shown = Url::parse(text).map_or_else(|_| text.escape_debug().to_string(), |url| shown(&url));
        match why {
            AddressError::UserInfo => format!("{why}: keys are public"),
            AddressError::PlainText => format!(
                "`{shown}` is not https: whoever is on the way could make tokens. `fetch = {{ allow_http = true }}` allows it"
            ),
            _ => format!("`{shown}` {why}"),
        }
    })
}

/// Fetches the key set.
pub(super) async fn page(client: &Client, target: &Target, allow_http: bool) -> Result<Page, FetchError> {
    let asking = match target {
        Target::Keys(url) => Request::get(url),
        Target::Discovery { issuer, documents } => {
            Request::get(&discovered(client, issuer, documents, allow_http).await?).named_by_document()
        }
    };
    let response = ask(client, asking).await?.ok()?;
    let max_age = response.max_age();
    Ok(Page { jwks: response.body.into(), max_age })
}

/// The address of the keys, as the issuer says.
async fn discovered(client: &Client, issuer: &str, documents: &[Url; 2], allow_http: bool) -> Result<Url, FetchError> {
    let [first, second] = documents;
    let mut answer = ask(client, Request::get(first)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        answer = ask(client, Request::get(second)).await?;
    }
    let body = answer.ok()?.body;
    let document = json::object(&body).map_err(|why| invalid(format!("its discovery document is not JSON: {why}")))?;
    if text(&document, "issuer") != Some(issuer) {
        // Section 4.3 there, RFC 8414 section 3.3: or whoever serves one issuer's document could speak for another.
        return Err(invalid("its discovery document is of another issuer"));
    }
    let keys = text(&document, "jwks_uri").ok_or_else(|| invalid("its discovery document has no `jwks_uri`"))?;
    let keys = place(keys, allow_http).map_err(|why| invalid(format!("its `jwks_uri` {why}")))?;
    // A document from the network must not point back into this machine.
    if keys.scheme() == "http" && first.scheme() == "https" && !allow_http {
        return Err(invalid("its `jwks_uri` is not https"));
    }
    Ok(keys)
}

fn text<'d>(document: &'d Map<String, Value>, member: &str) -> Option<&'d str> {
    document.get(member).and_then(Value::as_str)
}

/// The answer's type is not looked at: many servers call every file text, and what is no key set does not parse.
async fn ask(client: &Client, request: Request) -> Result<Response, FetchError> {
    Ok(client.send(request.accept("application/jwk-set+json, application/json")).await?)
}

#[cfg(test)]
mod tests;
