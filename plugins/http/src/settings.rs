use std::{collections::BTreeMap, path::PathBuf};

use portcullis_plugin::{BuildCx, BuildError, Secret, SecretSource, Span, http};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::Limits;
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{self},
    uri::Authority,
};

/// The settings for asking a server, as they stand in the file. A plugin nests it, or flattens it into a table of its
/// own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// The longest that one exchange takes, from looking the name up to the last byte of the answer.
    pub timeout: Option<Span>,
    /// The most of an answer that is read, in bytes, both as it is sent and once it is unpacked.
    pub max_body_bytes: Option<usize>,
    /// PEM file of the authorities that may vouch for the server; absent: the system's.
    pub ca: Option<PathBuf>,
    /// Believes the system's authorities beside those of `ca`.
    pub system_ca: bool,
    /// PEM file of the gateway's own certificate, and after it those between it and its authority.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<SecretSource>,
    /// The HTTP proxy that everything goes through, by CONNECT: `"http://proxy.internal:3128"`. The environment's
    /// `HTTP_PROXY` and its kin are not heeded.
    pub proxy: Option<String>,
    /// The value of `Proxy-Authorization`.
    pub proxy_authorization: Option<SecretSource>,
    /// Connects to this host (`"10.0.0.5:8443"`) in place of the one that the address names, which stays the name in
    /// `Host`, in SNI and in the certificate. For the configured origin alone.
    pub connect_to: Option<String>,
    /// Headers of every request, such as `Authorization`. For the configured origin alone.
    pub headers: BTreeMap<String, SecretSource>,
}

/// Files and secrets, read, and texts, parsed.
pub(crate) struct Read {
    pub limits: Limits,
    pub ca: Option<Vec<u8>>,
    pub has_system_ca: bool,
    pub own: Option<(Vec<u8>, Secret)>,
    pub proxy: Option<Uri>,
    pub proxy_authorization: Option<HeaderValue>,
    pub connect_to: Option<Authority>,
    pub headers: HeaderMap,
}

impl HttpSettings {
    /// Reads what they name.
    pub(crate) fn read(&self, cx: &mut BuildCx<'_>, origin: &Url, usual: Limits) -> Result<Read, BuildError> {
        let mut problems = Vec::new();
        let limits = self.limits(usual, &mut problems);
        let proxy = self.proxy.as_deref().and_then(|text| kept(proxy(text), "proxy", &mut problems));
        let connect_to =
            self.connect_to.as_deref().and_then(|text| kept(authority(text, origin), "connect_to", &mut problems));
        if self.system_ca && self.ca.is_none() {
            problems.push(("system_ca".to_owned(), "without `ca` the system's authorities are believed anyway".into()));
        }
        if self.proxy_authorization.is_some() && self.proxy.is_none() {
            problems.push(("proxy_authorization".to_owned(), "there is no `proxy` that it could be sent to".into()));
        }
        let mut read =
            |outcome: Result<Vec<u8>, BuildError>| outcome.map_err(|error| problems.extend(error.problems)).ok();
        let ca = self.ca.as_deref().and_then(|path| read(cx.read_file("ca", path)));
        let cert = self.cert.as_deref().and_then(|path| read(cx.read_file("cert", path)));
        let key = self.key.as_ref().map(|source| cx.secret("key", source));
        let key = key.and_then(|key| key.map_err(|error| problems.extend(error.problems)).ok());
        match (&self.cert, &self.key) {
            (Some(_), None) => {
                problems.push(("cert".to_owned(), "a certificate is proved by its `key`, which is missing".into()));
            }
            (None, Some(_)) => {
                problems.push(("key".to_owned(), "this is the key of no certificate: `cert` is missing".into()));
            }
            _ => {}
        }
        let proxy_authorization = self.proxy_authorization.as_ref();
        let proxy_authorization = proxy_authorization
            .and_then(|source| kept_all(secret_value(cx, "proxy_authorization", source), &mut problems));
        let headers = self.read_headers(cx, &mut problems);
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        let own = cert.zip(key).filter(|_| cx.has_secrets());
        let has_system_ca = self.system_ca || self.ca.is_none();
        Ok(Read { limits, ca, has_system_ca, own, proxy, proxy_authorization, connect_to, headers })
    }

    fn limits(&self, usual: Limits, problems: &mut Vec<(String, String)>) -> Limits {
        let timeout = self.timeout.map_or(usual.timeout, |span| span.0);
        let max_body_bytes = self.max_body_bytes.unwrap_or(usual.max_body_bytes);
        // The usual ones are the plugin's own affair.
        if self.timeout.is_some() && timeout < Limits::SHORTEST_TIMEOUT {
            problems.push(("timeout".to_owned(), format!("is shorter than {}", Span(Limits::SHORTEST_TIMEOUT))));
        }
        if self.timeout.is_some() && timeout > Limits::LONGEST_TIMEOUT {
            problems.push(("timeout".to_owned(), format!("is longer than {}", Span(Limits::LONGEST_TIMEOUT))));
        }
        if !(1..=Limits::LARGEST_BODY_BYTES).contains(&max_body_bytes) {
            let text = format!("is not between 1 and {}", Limits::LARGEST_BODY_BYTES);
            problems.push(("max_body_bytes".to_owned(), text));
        }
        Limits { timeout, max_body_bytes }
    }

    fn read_headers(&self, cx: &mut BuildCx<'_>, problems: &mut Vec<(String, String)>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (text, source) in &self.headers {
            let field = format!("headers.{text}");
            let Some(name) = kept(header_name(text), &field, problems) else { continue };
            if let Some(value) = kept_all(secret_value(cx, &field, source), problems)
                && headers.insert(name, value).is_some()
            {
                problems.push((field, "stands there twice: names of headers are the same in capitals".to_owned()));
            }
        }
        headers
    }
}

fn kept<T>(outcome: Result<T, String>, field: &str, problems: &mut Vec<(String, String)>) -> Option<T> {
    outcome.map_err(|why| problems.push((field.to_owned(), why))).ok()
}

fn kept_all<T>(outcome: Result<T, BuildError>, problems: &mut Vec<(String, String)>) -> Option<T> {
    outcome.map_err(|error| problems.extend(error.problems)).ok()
}

/// A proxy is spoken to in plain text: what it carries is TLS of its own.
fn proxy(text: &str) -> Result<Uri, String> {
    let url = Url::parse(text).map_err(|why| format!("is not an address such as \"http://proxy:3128\": {why}"))?;
    if url.username() != "" || url.password().is_some() {
        return Err("has a user name or a password in it: they belong into `proxy_authorization`".to_owned());
    }
    if url.scheme() != "http" {
        return Err("is not an HTTP proxy, such as \"http://proxy:3128\"".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("has a path, a query or a fragment: a proxy is a host and a port".to_owned());
    }
    url.as_str().parse().map_err(|why| format!("is not an address: {why}"))
}

/// `host`, `host:port` or `[v6]:port`; the port is that of the origin unless said.
fn authority(text: &str, origin: &Url) -> Result<Authority, String> {
    let authority: Authority = text.parse().map_err(|_| "is not a host, with or without a port".to_owned())?;
    if text.contains('@') {
        return Err("has a user name in it".to_owned());
    }
    let Some(port) = authority.port_u16().or(origin.port_or_known_default()) else {
        return Err("has no port".to_owned());
    };
    if text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']') && authority.port_u16().is_none()) || port == 0
    {
        return Err("has a port that is none".to_owned());
    }
    format!("{}:{port}", authority.host()).parse().map_err(|_| "is not a host, with or without a port".to_owned())
}

/// Headers of the connection and of the message are the client's own business.
fn header_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "is not the name of a header".to_owned())?;
    let is_own = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
        header::ACCEPT_ENCODING,
        header::PROXY_AUTHORIZATION,
    ];
    if is_own.contains(&name) || name.as_str() == "keep-alive" || name.as_str() == "proxy-connection" {
        return Err("is a header that the client makes itself".to_owned());
    }
    Ok(name)
}

/// A secret as the value of a header. It does not print.
fn secret_value(cx: &mut BuildCx<'_>, field: &str, source: &SecretSource) -> Result<HeaderValue, BuildError> {
    let secret = cx.secret(field, source)?;
    let value = HeaderValue::from_bytes(secret.expose());
    let mut value = value.map_err(|_| BuildError::new(field, "has bytes in it that no header may have"))?;
    value.set_sensitive(true);
    Ok(value)
}
