//! The HTTP client of plugins: for key sets, discovery documents, introspection, OCSP, and decisions made elsewhere.
//!
//! ```
//! use portcullis_http::{Client, HttpError, HttpSettings, Limits, Request, address};
//! use portcullis_plugin::{BuildCx, BuildError};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The address of the decision point.
//!     url: String,
//!     /// How it is asked.
//!     #[serde(default)]
//!     http: HttpSettings,
//! }
//!
//! struct Decisions {
//!     client: Client,
//!     url: portcullis_http::Url,
//! }
//!
//! fn build(config: &Config, cx: &mut BuildCx<'_>) -> Result<Decisions, BuildError> {
//!     let url = address(&config.url, false).map_err(|why| BuildError::new("url", why.to_string()))?;
//!     let client = Client::shared(cx, &url, &config.http, Limits::default())?;
//!     Ok(Decisions { client, url })
//! }
//!
//! async fn ask(decisions: &Decisions, user: &str) -> Result<bool, HttpError> {
//!     let asking = Request::post(&decisions.url).json(&serde_json::json!({ "user": user })).repeatable();
//!     let answer = decisions.client.send(asking).await?.ok()?;
//!     Ok(&*answer.body == b"true")
//! }
//! ```
//!
//! # The server is not trusted
//! - One deadline covers the whole exchange, from the look-up of the name to the last byte. A server has two seconds of
//!   it to take a connection.
//! - An answer is read whole, and has limits: its head ([`MAX_HEAD_BYTES`], [`MAX_HEADER_LINES`]), its body as it is sent
//!   and once it is unpacked, and the interim answers before it ([`MAX_INTERIM_ANSWERS`]).
//! - Redirects are not followed unless a request says so, cookies are not kept, and the environment's proxies are not used.
//! - TLS is 1.2 or later, by OpenSSL, and cannot be left unverified.
//! - A connection over which something went wrong is not used again. No request is sent twice, unless the connection was
//!   an old one that ended before any answer, and the request does no harm twice ([`Request::repeatable`]).
//! - Headers from the settings, and `connect_to`, are for the configured origin alone. The client certificate is shown to
//!   every server that asks for one; it proves nothing to others.
//! - Addresses that a document names are judged like those of upstreams: see [`Request::named_by_document`].
//!
//! # Connections
//! HTTP/1.1. They are kept for 15 s, and shared by all clients with equal settings; a changed file is another setting.

#![forbid(unsafe_code)]

mod address;
mod body;
mod cache_control;
mod client;
mod dial;
mod error;
mod limits;
mod request;
mod response;
mod settings;
mod tls;

pub use address::{AddressError, address, shown};
pub use cache_control::max_age;
pub use client::Client;
pub use dial::CONNECT_TIMEOUT;
pub use error::{HttpError, Part, Stage};
pub use limits::{Limits, MAX_EXCHANGES, MAX_HEAD_BYTES, MAX_HEADER_LINES, MAX_INTERIM_ANSWERS};
pub use request::Request;
pub use response::Response;
pub use settings::HttpSettings;
/// Re-exported so that its version agrees.
pub use url::Url;

#[cfg(test)]
mod tests;
