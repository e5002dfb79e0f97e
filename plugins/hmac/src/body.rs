//! Digests of bodies.

use aws_lc_rs::{constant_time, digest};

/// A hash function. SHA-1 and MD5 are not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// The digest of these bytes.
    pub(crate) fn of(self, bytes: &[u8]) -> digest::Digest {
        digest::digest(self.algorithm(), bytes)
    }

    /// The digest of these bytes in lower-case hexadecimal.
    pub(crate) fn hex_of(self, bytes: &[u8]) -> String {
        hex::encode(self.of(bytes))
    }

    /// The length of a digest.
    pub(crate) fn len_bytes(self) -> usize {
        self.algorithm().output_len()
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// A digest that a request declares for its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BodyDigest {
    hash: Hash,
    value: Vec<u8>,
}

impl BodyDigest {
    /// Makes a digest of its bytes; `None` if digests of this hash have another length.
    pub(crate) fn new(hash: Hash, value: Vec<u8>) -> Option<Self> {
        (value.len() == hash.len_bytes()).then_some(Self { hash, value })
    }

    /// Returns `true` if it is the digest of this body.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.hash.of(body).as_ref(), &self.value).is_ok()
    }
}
