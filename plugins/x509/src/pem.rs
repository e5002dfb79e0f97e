use openssl::x509::X509;

use crate::Facts;

/// The most certificates in one file: a system's whole list of public CAs has about 150.
pub const MAX_CERTIFICATES: usize = 1000;

/// Why a file is not one of certificates.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// There is no certificate in it.
    #[error("holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)")]
    Empty,
    /// Broken PEM: a block without an end, or one that is not Base64.
    #[error("is not PEM: a block has no end, or is not Base64")]
    NotPem,
    /// Something else than certificates is in it.
    #[error("holds a `{0}`: only certificates belong here")]
    Other(String),
    /// A certificate cannot be read.
    #[error("certificate {0} in it cannot be read")]
    Malformed(usize),
    /// There are more than [`MAX_CERTIFICATES`].
    #[error("holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
}

/// The certificates in a PEM file, in its order. Text between them is skipped, anything else is not.
///
/// # Errors
/// There is none, or one that cannot be read, or something else.
pub fn certificates(pem: &[u8]) -> Result<Vec<X509>, CertificatesError> {
    of_blocks(&blocks(pem).ok_or(CertificatesError::NotPem)?)
}

/// The same for a file that holds the key as well, and perhaps the parameters of the key: they are left to whoever reads
/// the key.
///
/// # Errors
/// As with [`certificates`].
pub fn certificates_beside_key(pem: &[u8]) -> Result<Vec<X509>, CertificatesError> {
    let mut blocks = blocks(pem).ok_or(CertificatesError::NotPem)?;
    blocks.retain(|block| !block.tag().ends_with("PRIVATE KEY") && !block.tag().ends_with(" PARAMETERS"));
    of_blocks(&blocks)
}

fn of_blocks(blocks: &[pem::Pem]) -> Result<Vec<X509>, CertificatesError> {
    if blocks.len() > MAX_CERTIFICATES {
        return Err(CertificatesError::TooMany);
    }
    if blocks.is_empty() {
        return Err(CertificatesError::Empty);
    }
    let certificate = |(at, block): (usize, &pem::Pem)| {
        if block.tag() != "CERTIFICATE" {
            return Err(CertificatesError::Other(printable(block.tag())));
        }
        let unreadable = CertificatesError::Malformed(at + 1);
        let (Ok(_), Ok(certificate)) = (Facts::of_der(block.contents()), X509::from_der(block.contents())) else {
            return Err(unreadable);
        };
        Ok(certificate)
    };
    blocks.iter().enumerate().map(certificate).collect()
}

/// All blocks; `None` where one is broken.
pub(crate) fn blocks(pem: &[u8]) -> Option<Vec<pem::Pem>> {
    let blocks = pem::parse_many(pem).ok()?;
    // The parser stops in silence at a block that it cannot find the end of: what follows would be missing.
    let begun = pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    (begun == blocks.len()).then_some(blocks)
}

pub(crate) const BEGIN: &[u8] = b"-----BEGIN ";

/// A block's name, for a message: it comes from a file that may hold anything.
fn printable(tag: &str) -> String {
    tag.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect()
}

#[cfg(test)]
mod tests;
