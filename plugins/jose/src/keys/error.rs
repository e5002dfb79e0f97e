use crate::Algorithm;

use super::limits::{MAX_KEYS, MAX_KEYS_TRIED, RSA_MAX_BITS, RSA_MIN_BITS};

/// Why there is no key set. The text shows nothing of a key but its `kid`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, nested too deep, or a member twice.
    #[error("is not a key set: {0}")]
    NotJson(String),
    /// No `keys`, or something else than a list of objects.
    #[error("is not a key set: `keys` is not a list of keys")]
    NoList,
    /// No key is left to verify a token with.
    #[error("has no key that can verify a signature")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("has more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// More than [`MAX_KEYS_TRIED`] that have no `kid`.
    #[error("has more than {MAX_KEYS_TRIED} keys without `kid`: each would be tried on each token")]
    TooManyWithoutKid,
    /// Secrets beside public keys.
    #[error("has secrets (`oct`) beside public keys")]
    Mixed,
    /// Two keys for one algorithm under one `kid`, or one key twice.
    #[error("has {0} twice")]
    Double(String),
    /// One key is wrong.
    #[error("{which} {problem}")]
    Key {
        /// Its `kid`, or its place.
        which: String,
        /// Its problem.
        problem: KeyError,
    },
    /// The secret is wrong.
    #[error("{0}")]
    Secret(KeyError),
    /// Not PEM, or nothing in it that is known.
    #[error("{0}")]
    Pem(String),
}

/// The problem of one key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A member is missing, of another type or not base64url.
    #[error("has no `{0}`, or one that cannot be read")]
    Member(&'static str),
    /// An entry of the list that is no object, or names a member twice.
    #[error("is not an object, or names a member twice")]
    NotAnObject,
    /// The private half is there.
    #[error("has the private member `{0}`: whoever has read it can sign, so it must not be used any more")]
    Private(&'static str),
    /// A secret where public keys are expected.
    #[error("is a secret (`oct`) that was published: everyone who can read it can sign")]
    Published,
    /// The public half of a private key that was published as well.
    #[error("is the public half of a private key that the same set publishes")]
    Exposed,
    /// Two different keys, of which the `kid` can mean either.
    #[error("has the `kid` of a different key for the same algorithm: a token could mean either")]
    Ambiguous,
    /// A secret that does not say what it is for.
    #[error("is a secret without `alg`: say HS256, HS384 or HS512")]
    SecretWithoutAlgorithm,
    /// The key's `alg` takes keys of another type.
    #[error("is not a key for {0}")]
    Algorithm(Algorithm),
    /// `use` and `key_ops` contradict each other, or `key_ops` has an entry twice (RFC 7517 section 4.3).
    #[error("has `key_ops` that contradict its `use` or themselves")]
    Operations,
    /// An RSA modulus below [`RSA_MIN_BITS`].
    #[error("is an RSA key of {0} bits; at least {RSA_MIN_BITS} are required")]
    RsaShort(usize),
    /// An RSA modulus above [`RSA_MAX_BITS`].
    #[error("is an RSA key of {0} bits: at most {RSA_MAX_BITS}")]
    RsaLong(usize),
    /// An RSA exponent that is even, 1 or huge. With 1 the signature is the message, and anyone can make it.
    #[error("is an RSA key with an unsafe exponent")]
    RsaExponent,
    /// An RSA key made by a generator whose keys can be factored.
    #[error("is an RSA key that can be factored (ROCA, CVE-2017-15361): its owner has to make a new one")]
    RsaRoca,
    /// No point of its curve, or otherwise refused by the library.
    #[error("is not a valid key of its type")]
    Invalid,
    /// Not RSA, not on P-256, P-384, P-521 or Ed25519.
    #[error("is of a type that cannot verify tokens: RSA, P-256, P-384, P-521 or Ed25519")]
    Unsupported,
    /// A secret that is shorter than the hash.
    #[error("is a secret of {bytes} bytes: {algorithm} takes at least {least}")]
    SecretShort {
        /// The algorithm that it is for.
        algorithm: Algorithm,
        /// Its length.
        bytes: usize,
        /// The least length for the algorithm.
        least: usize,
    },
    /// The algorithm takes no secret.
    #[error("{0} takes no secret: HS256, HS384 or HS512")]
    SecretAlgorithm(Algorithm),
}

/// The kinds of fault for which a key of a published set is skipped, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// It cannot be read, contradicts itself, or is longer than is taken.
    Invalid,
    /// It is too short, or known to be breakable.
    Weak,
    /// Its `kid` can also mean another key.
    Ambiguous,
    /// It is private or a secret, or belongs to a private key that was published too.
    Private,
}

impl SkipReason {
    /// Every reason there is.
    pub const ALL: [Self; 4] = [Self::Invalid, Self::Weak, Self::Ambiguous, Self::Private];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Weak => "weak",
            Self::Ambiguous => "ambiguous",
            Self::Private => "private",
        }
    }
}

impl KeyError {
    /// The kind of fault.
    pub fn skip_reason(&self) -> SkipReason {
        match self {
            Self::Private(_) | Self::Published | Self::Exposed => SkipReason::Private,
            Self::RsaShort(_) | Self::RsaExponent | Self::RsaRoca | Self::SecretShort { .. } => SkipReason::Weak,
            Self::Ambiguous => SkipReason::Ambiguous,
            _ => SkipReason::Invalid,
        }
    }
}

/// A key of a published set that is not used, with the reason. Its text is for the log: it names the key by its `kid`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{which} {why}")]
pub struct SkippedKey {
    /// Its `kid`, or its place in the list.
    pub which: String,
    /// Its problem.
    pub why: KeyError,
}

/// A key as errors name it. A `kid` comes from outside: only the start is shown, and nothing that moves a cursor.
pub(super) fn shown(kid: Option<&str>) -> String {
    const SHOWN_CHARS: usize = 64;
    kid.map_or_else(
        || "a key without `kid`".to_owned(),
        |kid| format!("the key `{}`", kid.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect::<String>()),
    )
}
