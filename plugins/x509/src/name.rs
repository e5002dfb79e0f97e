//! Distinguished names as text (RFC 4514).

use std::fmt::Write;

use openssl::{asn1::Asn1Object, nid::Nid};
use x509_parser::{
    asn1_rs::{Any, Tag, ToDer},
    oid_registry::OID_X509_COMMON_NAME,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::Fault;

/// The longest distinguished name that is read, in bytes of its encoding.
pub const NAME_MAX_BYTES: usize = 16 * 1024;

/// A name as `openssl x509 -nameopt RFC2253` prints it: the last part first, everything but visible ASCII and space
/// escaped.
pub(crate) fn text(name: &X509Name<'_>) -> Result<String, Fault> {
    if name.as_raw().len() > NAME_MAX_BYTES {
        return Err(Fault::Malformed);
    }
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut text = String::new();
    for part in parts.into_iter().rev() {
        let attributes: Vec<_> = part.iter().collect();
        for (at, attribute) in attributes.into_iter().rev().enumerate() {
            match at {
                0 if text.is_empty() => {}
                0 => text.push(','),
                _ => text.push('+'),
            }
            write_attribute(attribute, &mut text)?;
        }
    }
    Ok(text)
}

/// The common name, if there is exactly one: of several, one reader takes the first and another the last.
pub(crate) fn common_name(name: &X509Name<'_>) -> Result<Option<String>, Fault> {
    let mut names = name.iter_by_oid(&OID_X509_COMMON_NAME);
    let (Some(one), None) = (names.next(), names.next()) else { return Ok(None) };
    let value = string(one.attr_value())?.ok_or(Fault::Malformed)?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, text: &mut String) -> Result<(), Fault> {
    let oid = attribute.attr_type().to_id_string();
    let known = Asn1Object::from_str(&oid).ok().map(|object| object.nid()).filter(|nid| *nid != Nid::UNDEF);
    let short = known.and_then(|nid| nid.short_name().ok());
    match (short, string(attribute.attr_value())?) {
        (Some(short), Some(value)) => {
            text.push_str(short);
            text.push('=');
            escape(&value, text);
        }
        // A type without a name, or a value that is no string, is written as its encoding (RFC 4514 section 2.4).
        (short, _) => {
            let der = attribute.attr_value().to_der_vec().map_err(|_| Fault::Malformed)?;
            text.push_str(short.unwrap_or(&oid));
            text.push_str("=#");
            text.push_str(&hex::encode_upper(der));
        }
    }
    Ok(())
}

/// The text of a string of any of ASN.1's kinds; `None` where the value is no string.
///
/// Control characters are refused, NUL above all: a reader that ends strings there sees another name.
fn string(value: &Any<'_>) -> Result<Option<String>, Fault> {
    let bytes = value.data;
    let text = match value.tag() {
        Tag::Utf8String => str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // Nobody writes T.61 any more: what calls itself so is Latin-1, as OpenSSL reads it too.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => wide(bytes, |two: [u8; 2]| u16::from_be_bytes(two).into()),
        Tag::UniversalString => wide(bytes, u32::from_be_bytes),
        _ => return Ok(None),
    };
    let text = text.ok_or(Fault::Malformed)?;
    if text.chars().any(char::is_control) { Err(Fault::Malformed) } else { Ok(Some(text)) }
}

/// Characters of a fixed width. Halves of a surrogate pair are none (BMPString is UCS-2).
fn wide<const WIDTH: usize>(bytes: &[u8], code: impl Fn([u8; WIDTH]) -> u32) -> Option<String> {
    let pieces = bytes.chunks(WIDTH);
    pieces.map(|piece| char::from_u32(code(piece.try_into().ok()?))).collect()
}

/// RFC 4514 section 2.4, and beyond it everything that is not ASCII, byte by byte in UTF-8.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let is_special = matches!(byte, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\');
        let is_at_the_edge = (byte == b' ' && (at == 0 || at == last)) || (byte == b'#' && at == 0);
        if !byte.is_ascii() {
            let _ = write!(text, "\\{byte:02X}");
        } else {
            if is_special || is_at_the_edge {
                text.push('\\');
            }
            text.push(byte.into());
        }
    }
}

/// Why a text is no distinguished name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a distinguished name as `openssl x509 -noout -subject -nameopt RFC2253` prints one: {0}")]
pub struct DnError(&'static str);

/// A name that a person wrote, in the form that [`Facts`](crate::Facts) have: spaces around separators dropped, types
/// by their usual short names, escapes made the same.
///
/// Without `-nameopt RFC2253` OpenSSL prints the first part first: `O = ACME, CN = alice` before 3.2, and since then
/// `O=ACME, CN=alice`. Read as it stands, that is a name that no certificate has, and whoever wrote it would only ever see
/// refusals.
///
/// # Errors
/// The reason why it is not a name.
pub fn canonical_dn(written: &str) -> Result<String, DnError> {
    if written.len() > NAME_MAX_BYTES {
        return Err(DnError("it is too long"));
    }
    let mut rest = written.trim_start_matches(' ');
    let mut canonical = String::new();
    let mut spaces = Spaces::default();
    let mut levels = Vec::new();
    loop {
        let (kind, after) = rest.split_once('=').ok_or(DnError("a part has no `=`"))?;
        spaces.around_equals |= kind.ends_with(' ') || after.starts_with(' ');
        let kind = canonical_type(kind.trim_matches(' '))?;
        levels.push(level(&kind));
        canonical.push_str(&kind);
        canonical.push('=');
        let after = after.trim_start_matches(' ');
        rest = if after.starts_with('#') { dumped(after, &mut canonical)? } else { value(after, &mut canonical)? };
        let Some(separator) = rest.chars().next() else { break };
        canonical.push(separator);
        rest = &rest[1..];
        spaces.after_separators |= rest.starts_with(' ');
        rest = rest.trim_start_matches(' ');
    }
    spaces.check(&levels).map(|()| canonical)
}

/// Where a written name has spaces that RFC 2253's form has not.
#[derive(Default)]
struct Spaces {
    around_equals: bool,
    after_separators: bool,
}

impl Spaces {
    /// Refuses what OpenSSL prints on its own. Of a name of one part there is only one order.
    fn check(&self, levels: &[u8]) -> Result<(), DnError> {
        let is_top_down = levels.first() < levels.last();
        match levels {
            [_, _, ..] if self.around_equals => {
                Err(DnError("it has spaces around `=`, and without that `-nameopt` the parts stand in the other order"))
            }
            _ if self.after_separators && is_top_down => {
                Err(DnError("its parts stand in the other order, as they do without that `-nameopt`"))
            }
            _ => Ok(()),
        }
    }
}

/// The usual level of a type below the top of the tree of names (RFC 1779 section 2.3, and X.521).
fn level(kind: &str) -> u8 {
    match kind {
        "C" | "DC" => 0,
        "ST" => 1,
        "L" | "street" => 2,
        "O" => 3,
        "OU" => 4,
        _ => 5,
    }
}

/// A type's short name, or its number where it has none.
fn canonical_type(written: &str) -> Result<String, DnError> {
    let is_type = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if written.is_empty() || !written.chars().all(is_type) {
        return Err(DnError("a part has no type before its `=`"));
    }
    let upper = written.to_ascii_uppercase();
    let usual = match upper.as_str() {
        "E" | "EMAIL" | "EMAILADDRESS" => "emailAddress",
        "STREET" | "STREETADDRESS" => "street",
        "SERIALNUMBER" => "serialNumber",
        "S" | "ST" => "ST",
        "CN" | "L" | "O" | "OU" | "C" | "DC" | "UID" | "SN" | "GN" => upper.as_str(),
        _ => written,
    };
    let nid =
        Asn1Object::from_str(usual).map(|object| object.nid()).map_err(|_| DnError("a part has an unknown type"))?;
    Ok(if nid == Nid::UNDEF { usual.to_owned() } else { nid.short_name().unwrap_or(usual).to_owned() })
}

/// A value as its encoding: `#0C0161`.
fn dumped<'t>(written: &'t str, canonical: &mut String) -> Result<&'t str, DnError> {
    let end = written[1..].find(|c: char| !c.is_ascii_hexdigit()).map_or(written.len(), |at| at + 1);
    if end == 1 || end % 2 == 0 {
        return Err(DnError("after `#` come pairs of hexadecimal digits"));
    }
    canonical.push_str(&written[..end].to_ascii_uppercase());
    let rest = written[end..].trim_start_matches(' ');
    if rest.is_empty() || rest.starts_with([',', '+']) {
        Ok(rest)
    } else {
        Err(DnError("something stands after an encoded value"))
    }
}

/// A value as text, up to the `,` or `+` that ends it.
fn value<'t>(written: &'t str, canonical: &mut String) -> Result<&'t str, DnError> {
    let mut rest = written.as_bytes();
    let (mut value, mut kept) = (Vec::new(), 0);
    while let Some((&byte, after)) = rest.split_first().filter(|(byte, _)| !matches!(byte, b',' | b'+')) {
        rest = match byte {
            b'\\' => {
                let (escaped, after) = unescape(after)?;
                value.push(escaped);
                after
            }
            b'"' | b';' | b'<' | b'>' => return Err(DnError("one of `\"`, `;`, `<`, `>` has no `\\` before it")),
            _ => {
                value.push(byte);
                after
            }
        };
        // Spaces before a separator belong to nobody, unless they are escaped.
        if byte != b' ' {
            kept = value.len();
        }
    }
    value.truncate(kept);
    let value = String::from_utf8(value).map_err(|_| DnError("it is not UTF-8"))?;
    if value.chars().any(char::is_control) {
        return Err(DnError("it has a control character in it"));
    }
    escape(&value, canonical);
    Ok(&written[written.len() - rest.len()..])
}

/// Reads the text after a `\`: two hexadecimal digits, or a character that has a meaning without it.
fn unescape(after: &[u8]) -> Result<(u8, &[u8]), DnError> {
    let pair = after.get(..2).and_then(|pair| hex::decode(pair).ok());
    match (pair.as_deref(), after) {
        (Some([byte]), _) => Ok((*byte, &after[2..])),
        (_, [byte @ (b' ' | b'"' | b'#' | b'+' | b',' | b';' | b'<' | b'=' | b'>' | b'\\'), rest @ ..]) => {
            Ok((*byte, rest))
        }
        _ => Err(DnError("a `\\` escapes nothing")),
    }
}

#[cfg(test)]
mod tests;
