//! Limits on keys and on sets of them.

/// The most keys in a set, for whatever use. Issuers publish two or three, directories with many tenants a few dozen.
pub const MAX_KEYS: usize = 128;

/// The most keys that are tried on one token. Each costs a verification, and a token without `kid` fits every key of its
/// type: with more of them in the set such a token is verified by none.
pub const MAX_KEYS_TRIED: usize = 8;

/// The shortest RSA modulus, in bits (RFC 7518 section 3.3).
pub const RSA_MIN_BITS: usize = 2048;

/// The longest RSA modulus, in bits. A longer one makes each verification expensive for us, and nothing safer.
pub const RSA_MAX_BITS: usize = 8192;
