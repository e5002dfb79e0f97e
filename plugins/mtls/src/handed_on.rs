//! The headers in which the upstream is told about the certificate.

use base64::{Engine, engine::general_purpose::STANDARD};
use portcullis_plugin::{
    ClientCert, encode_item,
    http::{HeaderName, HeaderValue},
};
use portcullis_x509::Facts;

use crate::config::HandedOn;

impl HandedOn {
    /// The header.
    pub(crate) fn name(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::ClientCert => "client-cert",
            Self::ClientCertChain => "client-cert-chain",
            Self::XClientCertCn => "x-client-cert-cn",
            Self::XClientCertSerial => "x-client-cert-serial",
            Self::XClientCertFingerprint => "x-client-cert-fingerprint",
            Self::XClientCertVerify => "x-client-cert-verify",
            Self::XForwardedClientCert => "x-forwarded-client-cert",
        })
    }

    /// Returns the header's value for a certificate; `None` where the certificate has nothing for it.
    fn value(self, sent: &ClientCert, facts: &Facts) -> Option<String> {
        match self {
            Self::ClientCert => Some(byte_sequence(&sent.der)),
            Self::ClientCertChain => {
                let chain: Vec<_> = sent.chain.iter().map(|der| byte_sequence(der)).collect();
                (!chain.is_empty()).then(|| chain.join(", "))
            }
            Self::XClientCertCn => facts.cn.as_deref().map(encoded),
            Self::XClientCertSerial => Some(facts.serial.clone()),
            Self::XClientCertFingerprint => Some(hex::encode(facts.sha256)),
            Self::XClientCertVerify => Some("SUCCESS".to_owned()),
            Self::XForwardedClientCert => Some(xfcc(facts)),
        }
    }
}

/// The headers that are asked for.
pub(crate) fn fill(wanted: &[HandedOn], sent: &ClientCert, facts: &Facts) -> Vec<(HeaderName, HeaderValue)> {
    let header = |header: &HandedOn| {
        let value = header.value(sent, facts)?;
        Some((header.name(), HeaderValue::try_from(value).expect("all of these are visible ASCII and spaces")))
    };
    wanted.iter().filter_map(header).collect()
}

/// RFC 8941 section 3.3.5.
fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

fn encoded(value: &str) -> String {
    let mut bytes = Vec::new();
    encode_item(value, &mut bytes);
    String::from_utf8(bytes).expect("encoded items are ASCII")
}

/// One element as Envoy writes it (`x-forwarded-client-cert`): the certificate's SHA-256, the subject, every URI, every
/// host name.
fn xfcc(facts: &Facts) -> String {
    let mut element = format!("Hash={};Subject=\"{}\"", hex::encode(facts.sha256), subject(&facts.subject));
    let names = facts.uris.iter().map(|uri| ("URI", uri)).chain(facts.dns.iter().map(|name| ("DNS", name)));
    for (key, name) in names {
        let name = name.replace('\\', "%5C").replace('"', "%22");
        let is_quoted = name.contains([',', ';', '=']);
        let quote = if is_quoted { "\"" } else { "" };
        element.push_str(&format!(";{key}={quote}{name}{quote}"));
    }
    element
}

/// Writes a subject so that no reader takes it for more than one: some know `\\` inside quotes and some only `\"`, so
/// that `O=x\\"` ends for the one and goes on for the other. Escapes by number (RFC 4514 section 2.4) are neither.
fn subject(text: &str) -> String {
    let mut subject = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        subject.push(character);
        if character == '\\' {
            match characters.next() {
                Some('\\') => subject.push_str("5C"),
                Some('"') => subject.push_str("22"),
                Some(other) => subject.push(other),
                None => {}
            }
        }
    }
    subject
}

#[cfg(test)]
mod tests;
