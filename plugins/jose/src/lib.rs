//! Key sets and token verification for Portcullis plugins: what `jwt` and `oidc` share, and not a plugin itself.
//!
//! A token is judged in steps, each of which a caller takes by itself:
//!
//! ```
//! use portcullis_jose::{Algorithm, Expectations, KeySet, Token};
//! use portcullis_plugin::{Secret, UnixTime};
//!
//! // Once, when the policy is built.
//! let secret = Secret::new(b"a secret of at least as many bytes as the hash".to_vec());
//! let keys = KeySet::from_secret(&secret, Algorithm::Hs256)?;
//! let expected = Expectations { issuer: Some("joe".to_owned()), ..Expectations::default() };
//!
//! // For each token.
//! let bytes = b"eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UifQ.c2lnbmF0dXJl";
//! let token = Token::parse(bytes).expect("a token in shape");
//! assert!(keys.verify(&token, &[Algorithm::Hs256]).is_err(), "but with a signature that is none");
//! assert!(expected.check(&token, UnixTime(1_300_000_000)).is_err(), "and without an end");
//! # Ok::<(), portcullis_jose::KeySetError>(())
//! ```
//!
//! # What is believed
//! - The algorithm comes from the configuration and has to fit the key (RFC 8725 sections 3.1 and 3.2). The token's
//!   `alg` chooses among those and nothing else.
//! - Keys come from the configuration, or from the address that it names. Keys that a token names (`jku`, `x5u`, `x5c`,
//!   `jwk`) are never followed.
//! - Nothing that was parsed is believed before [`KeySet::verify`] has agreed, but the issuer has to be read first to
//!   find the keys. So the parser is the part that all the world can talk to: it is bounded in length and depth, refuses
//!   whatever two readers could read differently, and never panics.
//!
//! # Rooms
//! [`Token`] parses a token, [`KeySet`] verifies its signature, [`Expectations`] checks its claims, [`Binding`] compares
//! it with the connection's certificate, [`claims`] finds and compares single claims, [`remote`] fetches key sets, and
//! [`VerifiedTokens`] remembers tokens that were verified.

#![forbid(unsafe_code)]

mod algorithm;
mod binding;
pub mod claims;
mod expectations;
#[cfg(test)]
mod hostile_tokens;
mod json;
mod keys;
pub mod remote;
#[cfg(test)]
mod testing;
mod token;
mod verified;
mod wrong;

pub use algorithm::{Algorithm, Family};
pub use binding::{Binding, CertificateBinding};
pub use expectations::{Expectations, MAX_NUMERIC_DATE, Times};
pub use json::MAX_DEPTH;
pub use keys::{
    Key, KeyError, KeyId, KeySet, KeySetError, MAX_KEYS, MAX_KEYS_TRIED, PublishedKeys, RSA_MAX_BITS, RSA_MIN_BITS,
    SkipReason, SkippedKey, Unverified,
};
pub use token::{Header, MAX_TOKEN_BYTES, MAX_TOKEN_BYTES_CAP, Token};
pub use verified::{TokenDigest, Verified, VerifiedTokens};
pub use wrong::Wrong;
