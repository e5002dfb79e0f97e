//! Keys, which are parsed once, and the choice of the one that a token is verified with.
//!
//! Signatures are verified by aws-lc-rs. Measured for one verification with a key parsed once, in microseconds: RS256
//! 13.5, ES256 48, Ed25519 30; OpenSSL 3.0 takes 18-25, 62-78 and 86-105, pure Rust 135, 230 and 38. jsonwebtoken on
//! the same aws-lc takes 18-23, 51-58 and 32-47 because it parses the key for each token, and it has no ES512.
//!
//! Keys that the gateway's own operator provides (a file, PEM, a secret) are all good or an error. A set that an issuer
//! publishes is read by [`PublishedKeys`], which skips what it cannot use.

mod error;
mod jwk;
mod key;
mod limits;
mod pem;
mod published;
mod set;
mod weak;

pub use error::{KeyError, KeySetError, SkipReason, SkippedKey};
pub use key::{Key, KeyId};
pub use limits::{MAX_KEYS, MAX_KEYS_TRIED, RSA_MAX_BITS, RSA_MIN_BITS};
pub use published::PublishedKeys;
pub use set::{KeySet, Unverified};

#[cfg(test)]
mod tests;
