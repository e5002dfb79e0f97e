//! The names of certificates, as a configuration writes them. Each is converted to the form of the names in
//! certificates, so that they can be compared byte by byte.

use std::fmt;

use portcullis_x509::canonical_dn;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// The longest SPIFFE ID (SPIFFE ID section 2.3).
const SPIFFE_ID_MAX_BYTES: usize = 2048;

/// The most of a text that is no name which is shown with the reason.
const SHOWN_MAX_CHARS: usize = 100;

/// Declares a name that is read from a text by `parse`, which says what is wrong with it.
macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident = $parse:expr;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq, Hash, JsonSchema)]
            pub struct $name(#[schemars(with = "String")] String);

            impl TryFrom<String> for $name {
                type Error = String;

                fn try_from(written: String) -> Result<Self, String> {
                    let parse: fn(&str) -> Result<String, String> = $parse;
                    parse(&written).map(Self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_str(Written(Self::try_from))
                }
            }

            impl $name {
                /// As certificates' names are written.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0)
                }
            }
        )+
    };
}

/// Reads a text. The error arises where the text stands, and not where the list of it does: so it is told with the place
/// in the list, which `try_from` of serde would lose.
struct Written<T>(fn(String) -> Result<T, String>);

impl<T> de::Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, written: &str) -> Result<T, E> {
        (self.0)(written.to_owned()).map_err(|why| match written {
            "" => E::custom(why),
            _ => E::custom(format!("`{}` {why}", shown(written))),
        })
    }
}

fn shown(written: &str) -> String {
    let mut chars = written.chars();
    let begin: String = chars.by_ref().take(SHOWN_MAX_CHARS).flat_map(char::escape_debug).collect();
    if chars.next().is_some() { begin + "..." } else { begin }
}

names! {
    /// A distinguished name (RFC 4514).
    Dn = |written| canonical_dn(written).map_err(|why| why.to_string());
    /// A common name; `*.` before a host name stands for one label.
    CnPattern = |written| match written.strip_prefix("*.") {
        Some(host) => host_name(host).map(|host| format!("*.{host}")),
        None if written.is_empty() => Err("is empty: no certificate would fit".to_owned()),
        None if written.contains('*') => Err("has a `*` that is not the whole first label of a host name".to_owned()),
        None => Ok(written.to_owned()),
    };
    /// A host name; `*.` at the beginning stands for one label.
    DnsPattern = |written| match written.strip_prefix("*.") {
        Some(host) => host_name(host).map(|host| format!("*.{host}")),
        None => host_name(written),
    };
    /// A URI.
    Uri = |written| match written.split_once(':') {
        _ if !is_visible(written) => Err("is not a URI: visible ASCII only".to_owned()),
        _ if written.contains('*') => Err("has a `*`, and a URI is compared whole, as it stands: for everything \
                                           below a path a policy has `spiffe.paths`, such as `/ns/prod/*`"
            .to_owned()),
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(written.to_owned()),
        _ => Err("is not a URI: it has no scheme".to_owned()),
    };
    /// An e-mail address; the part after the `@` is compared without case (RFC 5321 section 2.4).
    Email = |written| match written.rsplit_once('@') {
        Some((local, host)) if !local.is_empty() && is_visible(local) => {
            Ok(format!("{local}@{}", host_name(host)?))
        }
        _ => Err("is not an e-mail address".to_owned()),
    };
    /// The SHA-256 of a certificate: 64 hexadecimal digits, with or without a `:` after every two. The whole line that
    /// `openssl x509 -noout -fingerprint -sha256` prints is taken too: `sha256 Fingerprint=AB:CD:...`.
    Fingerprint = |written| {
        // Before version 3 OpenSSL wrote `SHA256`.
        let is_label = |label: &str| label.eq_ignore_ascii_case("sha256 Fingerprint");
        let digits = written.split_once('=').filter(|(label, _)| is_label(label)).map_or(written, |(_, digits)| digits);
        let digits = digits.replace(':', "").to_ascii_lowercase();
        let is_digest = digits.len() == 64 && hex::decode(&digits).is_ok();
        is_digest.then_some(digits).ok_or_else(|| {
            "is not 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them".to_owned()
        })
    };
    /// A serial number: hexadecimal digits, with or without a `:` after every two.
    Serial = |written| {
        let digits = written.replace(':', "").to_ascii_uppercase();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err("is not a number in hexadecimal digits, as `openssl x509 -noout -serial` prints it".to_owned());
        }
        let digits = digits.trim_start_matches('0');
        Ok(match digits.len() {
            0 => "00".to_owned(),
            length if length % 2 == 1 => format!("0{digits}"),
            _ => digits.to_owned(),
        })
    };
    /// The trust domain of SPIFFE IDs, such as `example.org`.
    TrustDomain = |written| {
        // SPIFFE ID section 2.1: lower case, digits, `.`, `-`, `_`.
        let is_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let is_fit = (1..=255).contains(&written.len()) && written.chars().all(is_domain);
        is_fit.then(|| written.to_owned()).ok_or_else(|| "is not a trust domain, such as `example.org`".to_owned())
    };
    /// The path of a SPIFFE ID; one that ends in `/*` stands for everything below.
    SpiffePath = |written| {
        let path = written.strip_suffix("/*").unwrap_or(written);
        let is_fit = written == "/*" || is_spiffe_path(path);
        is_fit.then(|| written.to_owned()).ok_or_else(|| "is not a SPIFFE path, such as `/ns/prod/*`".to_owned())
    };
}

impl DnsPattern {
    /// Returns `true` if a certificate's host name fits. A wildcard in the certificate is no host and fits nothing.
    pub(crate) fn fits(&self, name: &str) -> bool {
        fits(&self.0, name)
    }

    /// Returns `true` if it stands for more than one name.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

impl CnPattern {
    /// Returns `true` if a certificate's common name fits. Only those that are host names are compared without case.
    pub(crate) fn fits(&self, cn: &str) -> bool {
        if self.0.starts_with("*.") { fits(&self.0, &cn.to_ascii_lowercase()) } else { self.0 == cn }
    }
}

impl Email {
    /// Returns `true` if a certificate's address is this one.
    pub(crate) fn fits(&self, address: &str) -> bool {
        Self::try_from(address.to_owned()).is_ok_and(|address| address == *self)
    }
}

impl SpiffePath {
    fn fits(&self, path: &str) -> bool {
        match self.0.strip_suffix("/*") {
            Some(above) => path.strip_prefix(above).is_some_and(|below| below.len() > 1 && below.starts_with('/')),
            None => self.0 == path,
        }
    }
}

/// Returns `true` if a URI is a SPIFFE ID of one of these trust domains and, where some are given, paths.
pub(crate) fn is_spiffe(uri: &str, domains: &[TrustDomain], paths: Option<&[SpiffePath]>) -> bool {
    let Some((domain, path)) = spiffe_id(uri) else { return false };
    domains.iter().any(|wanted| wanted.0 == domain)
        && paths.is_none_or(|paths| paths.iter().any(|wanted| wanted.fits(path)))
}

/// Trust domain and path of the SPIFFE ID of a workload: one without a path is the trust domain's own (X509-SVID section
/// 2). One that is not in its one spelling (SPIFFE ID section 2) is none: no escapes, no dots, no empty segments, no query.
fn spiffe_id(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("spiffe://")?;
    let (domain, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let domain_is_fit = TrustDomain::try_from(domain.to_owned()).is_ok();
    (domain_is_fit && is_spiffe_path(path) && uri.len() <= SPIFFE_ID_MAX_BYTES).then_some((domain, path))
}

fn is_spiffe_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(is_fit)
    };
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// Compares a pattern or a name with a name; `*.` stands for one label of a host name, and neither for a certificate's
/// own wildcard nor for whatever else a CA may have put before the dot (`root@evil .example.com`).
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(domain) => name.strip_suffix(domain).is_some_and(is_label),
        None => pattern == name,
    }
}

fn is_label(text: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=63).contains(&text.len()) && text.chars().all(is_fit)
}

fn host_name(written: &str) -> Result<String, String> {
    if written.len() <= 253 && written.split('.').all(is_label) {
        Ok(written.to_ascii_lowercase())
    } else {
        Err("is not a host name: letters, digits and `-` with dots between; a `*` only as the whole first label"
            .to_owned())
    }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
