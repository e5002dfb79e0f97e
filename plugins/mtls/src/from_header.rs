//! Reads the certificate that a load balancer hands on: in the form of RFC 9440 (`:MIIC...:`), or as URL-encoded PEM,
//! which nginx (`$ssl_client_escaped_cert`) and the load balancers of AWS send.
//!
//! All that stands here is a claim. The policy asks whether the sender may make it, and the certificate is verified
//! like one of a connection.

use percent_encoding::percent_decode;
use portcullis_plugin::{
    ClientCert,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use portcullis_x509::{MAX_SENT_CERTIFICATES, certificates};
use sfv::{BareItem, Item, List, ListEntry, Parser};

/// The certificate, `None` where there is none.
///
/// # Errors
/// A header is there more than once, or cannot be read. Some load balancers send an empty one where there is no
/// certificate; that is none.
pub(crate) fn read(
    headers: &HeaderMap,
    header: &HeaderName,
    chain: Option<&HeaderName>,
) -> Result<Option<ClientCert>, Malformed> {
    let Some(value) = only(headers, header)? else { return Ok(None) };
    let mut found = if value.starts_with(b":") { vec![byte_sequence(value)?] } else { pem(value)? };
    if let Some(value) = chain.map(|chain| only(headers, chain)).transpose()?.flatten() {
        found.extend(byte_sequences(value)?);
    }
    if found.len() > MAX_SENT_CERTIFICATES + 1 {
        return Err(Malformed);
    }
    let chain = found.split_off(1);
    Ok(found.pop().map(|leaf| ClientCert::new(leaf, chain)))
}

/// The header is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value of a header that may be there once. Of two lines nobody could say which one the load balancer has written.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Malformed> {
    let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next().map(<[u8]>::trim_ascii);
    if lines.next().is_some() { Err(Malformed) } else { Ok(first.filter(|value| !value.is_empty())) }
}

/// RFC 9440 section 2.2: an item.
fn byte_sequence(value: &[u8]) -> Result<Vec<u8>, Malformed> {
    let item = Parser::new(value).parse::<Item>().map_err(|_| Malformed)?;
    bytes(item)
}

/// RFC 9440 section 2.3: a list.
fn byte_sequences(value: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let list = Parser::new(value).parse::<List>().map_err(|_| Malformed)?;
    let item = |entry| match entry {
        ListEntry::Item(item) => bytes(item),
        ListEntry::InnerList(_) => Err(Malformed),
    };
    list.into_iter().map(item).collect()
}

fn bytes(item: Item) -> Result<Vec<u8>, Malformed> {
    match item.bare_item {
        BareItem::ByteSequence(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(Malformed),
    }
}

/// URL-encoded PEM, the certificate first. A `+` is a `+`: it stands in Base64.
fn pem(value: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let decoded = percent_decode(value).collect::<Vec<_>>();
    let found = certificates(&decoded).map_err(|_| Malformed)?;
    found.iter().map(|certificate| certificate.to_der().map_err(|_| Malformed)).collect()
}

#[cfg(test)]
mod tests;
