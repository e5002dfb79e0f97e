use std::net::IpAddr;

use url::{Host, Url};

/// The reason why a text is no address that a client may ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL, or has no host.
    #[error("is not an address: {0}")]
    Malformed(url::ParseError),
    /// A user name or password, which would end up in logs.
    #[error("has a user name or a password in it")]
    UserInfo,
    /// A fragment.
    #[error("has a fragment: it is not sent to a server")]
    Fragment,
    /// Neither `https` nor `http`.
    #[error("is not https")]
    Scheme,
    /// `http` over a network, where that is not allowed.
    #[error("is not https: whoever is on the way could read and change what is exchanged")]
    PlainText,
}

/// Parses the address of a server: `https`, or `http` to this machine, or any `http` where `allow_http` is set.
///
/// # Errors
/// It is none, or has parts that it must not have.
pub fn address(text: &str, allow_http: bool) -> Result<Url, AddressError> {
    let url = Url::parse(text).map_err(AddressError::Malformed)?;
    if url.username() != "" || url.password().is_some() {
        return Err(AddressError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(AddressError::Fragment);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(AddressError::PlainText),
        _ => Err(AddressError::Scheme),
    }
}

/// Returns `true` where the host is this machine: what is sent to it does not pass a network.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

/// The address without its query, which may hold a secret.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

/// Returns `true` where scheme, host and port are the same.
pub(crate) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}
