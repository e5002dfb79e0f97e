//! Password hashes: reading and making them, and limits on their cost.

use std::{fmt, str::FromStr};

use argon2::{
    Argon2, Params, Version,
    password_hash::{self, Output, ParamsString, SaltString},
};
use base64::Engine as _;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{PASSWORD_MAX_BYTES, is_password};

/// The SHA-256 of a hash as it stands in the file, by which the hash is recognized.
pub(crate) type Fingerprint = [u8; 32];

/// A password hash from the file: Argon2id or bcrypt, neither too weak nor too costly.
#[derive(Clone)]
pub struct PasswordHash {
    work: Work,
    fingerprint: Fingerprint,
}

/// The computation of a hash, and its expected result.
#[derive(Clone)]
enum Work {
    Argon2id { params: Params, salt: Box<[u8]>, expected: Box<[u8]> },
    Bcrypt { cost: u32, salt: [u8; 16], expected: [u8; BCRYPT_OUTPUT_BYTES] },
}

/// The bytes of a bcrypt hash in the file: all programs that write `$2b$` leave out the last one.
const BCRYPT_OUTPUT_BYTES: usize = 23;

/// The most bytes that bcrypt hashes. The rest of a longer password would not count, so that such a one is refused.
pub(crate) const BCRYPT_PASSWORD_MAX_BYTES: usize = 72;

/// At least this much memory in KiB with this many passes: the OWASP Password Storage Cheat Sheet's choices of one
/// strength.
const ARGON2_LEAST: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)];

/// The most memory for one hash. All hashes together take [`HASHES_AT_ONCE_MAX`](crate::HASHES_AT_ONCE_MAX) times as
/// much.
const ARGON2_MEMORY_MAX_KIB: u32 = 128 * 1024;

/// The most memory times passes, by which a hash takes its time: about a second.
const ARGON2_WORK_MAX_KIB: u32 = 1024 * 1024;

/// Lanes are computed one after the other, and more of them make a hash no safer here.
const ARGON2_LANES_MAX: u32 = 16;

/// 128 bits of output.
const ARGON2_OUTPUT_MIN_BYTES: usize = 16;

/// As the OWASP Password Storage Cheat Sheet says.
const BCRYPT_COST_MIN: u32 = 10;

/// About a second; each one more doubles it.
const BCRYPT_COST_MAX: u32 = 14;

/// The reason why a hash is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// A password, perhaps.
    #[error("is not a password hash, as `portcullis password hash` prints them")]
    NotAHash,
    /// `$6$`, `$apr1$`, `$argon2i$`, `$2x$` ...
    #[error("is a hash of another kind: Argon2id (`$argon2id$`) and bcrypt (`$2b$`) are taken")]
    OtherKind,
    /// A hash that is incomplete, or has parameters that are not known here.
    #[error("is a password hash that cannot be read: it is incomplete, or has parameters of another version")]
    Malformed,
    /// It is too weak.
    #[error(
        "is too weak: Argon2id needs at least m=19456,t=2 (or m=47104,t=1 ... m=7168,t=5) and 16 bytes, bcrypt a cost \
         of 10; `portcullis password hash` makes a good one"
    )]
    TooWeak,
    /// It costs so much that it could be used to overload the gateway.
    #[error("costs too much: Argon2id may have m=131072, m*t=1048576 and p=16 at most, bcrypt a cost of 14")]
    TooCostly,
}

/// Shows neither salt nor hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let kind = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).ok_or(HashError::NotAHash)?.0;
        let work = match kind {
            "argon2id" => argon2id(text)?,
            // `2x` marks hashes of an implementation that lost the high bits of what is not ASCII; `2a` and `2y` are
            // what others call `2b`.
            "2a" | "2b" | "2y" => bcrypt(text)?,
            _ => return Err(HashError::OtherKind),
        };
        Ok(Self { work, fingerprint: Sha256::digest(text).into() })
    }
}

/// A PHC string (the format of the Password Hashing Competition), version 1.3 of Argon2 (RFC 9106).
fn argon2id(text: &str) -> Result<Work, HashError> {
    let parsed = password_hash::PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    let is_known = |name: &str| matches!(name, "m" | "t" | "p");
    let mut names = parsed.params.iter().map(|(name, _)| name);
    // Without a version it is one from before 2016, and a key id is of a secret that we do not have.
    if parsed.version != Some(Version::V0x13.into()) || !names.all(|name| is_known(name.as_str())) {
        return Err(HashError::Malformed);
    }
    let params = Params::try_from(&parsed).map_err(|_| HashError::Malformed)?;
    let (Some(salt), Some(output)) = (parsed.salt, parsed.hash) else { return Err(HashError::Malformed) };
    let mut bytes = [0; 64];
    let salt = salt.decode_b64(&mut bytes).map_err(|_| HashError::Malformed)?;
    let (memory, passes) = (params.m_cost(), params.t_cost());
    let is_strong = ARGON2_LEAST.iter().any(|(least, with)| memory >= *least && passes >= *with);
    if !is_strong || output.len() < ARGON2_OUTPUT_MIN_BYTES || salt.len() < argon2::MIN_SALT_LEN {
        return Err(HashError::TooWeak);
    }
    let is_affordable = memory <= ARGON2_MEMORY_MAX_KIB
        && memory.saturating_mul(passes) <= ARGON2_WORK_MAX_KIB
        && params.p_cost() <= ARGON2_LANES_MAX;
    if !is_affordable {
        return Err(HashError::TooCostly);
    }
    Ok(Work::Argon2id { params, salt: salt.into(), expected: output.as_bytes().into() })
}

/// `$2b$`, two digits, `$`, 22 characters of salt and 31 of hash.
fn bcrypt(text: &str) -> Result<Work, HashError> {
    let rest = text.get(4..).ok_or(HashError::Malformed)?;
    let (cost, both) = rest.split_once('$').ok_or(HashError::Malformed)?;
    let is_cost = cost.len() == 2 && cost.bytes().all(|digit| digit.is_ascii_digit());
    if !is_cost || both.len() != 53 || !both.is_ascii() {
        return Err(HashError::Malformed);
    }
    let (salt, expected) = both.split_at(22);
    let decoded = |text: &str| bcrypt::BASE_64.decode(text).map_err(|_| HashError::Malformed);
    let salt = decoded(salt)?.try_into().map_err(|_| HashError::Malformed)?;
    let expected = decoded(expected)?.try_into().map_err(|_| HashError::Malformed)?;
    match cost.parse().map_err(|_| HashError::Malformed)? {
        ..BCRYPT_COST_MIN => Err(HashError::TooWeak),
        cost @ BCRYPT_COST_MIN..=BCRYPT_COST_MAX => Ok(Work::Bcrypt { cost, salt, expected }),
        _ => Err(HashError::TooCostly),
    }
}

impl PasswordHash {
    /// Returns the fingerprint, by which the hash is remembered.
    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Returns `true` if this is the password. It takes the same time whether it is or not.
    pub(crate) fn verify(&self, password: &[u8]) -> bool {
        match &self.work {
            Work::Argon2id { params, salt, expected } => {
                let argon2 = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut output = vec![0; expected.len()];
                let is_computed = argon2.hash_password_into(password, salt, &mut output).is_ok();
                is_computed && bool::from(output.ct_eq(expected))
            }
            Work::Bcrypt { cost, salt, expected } => {
                let output = bcrypt_output(*cost, *salt, password);
                // With a zero in it, it would be the same password as without what follows.
                let is_whole = password.len() <= BCRYPT_PASSWORD_MAX_BYTES && !password.contains(&0);
                // Both, so that the answer to a password that is not whole comes no sooner.
                bool::from(output.ct_eq(expected)) & is_whole
            }
        }
    }

    /// The hash that is computed where nobody has a password.
    pub(crate) fn of_nobody() -> Self {
        let work = Work::Argon2id { params: new_params(), salt: [0; 16].into(), expected: [0; 32].into() };
        Self { work, fingerprint: Fingerprint::default() }
    }

    #[cfg(test)]
    pub(crate) fn is_as_costly_as(&self, other: &Self) -> bool {
        match (&self.work, &other.work) {
            (Work::Argon2id { params, .. }, Work::Argon2id { params: others, .. }) => params == others,
            (Work::Bcrypt { cost, .. }, Work::Bcrypt { cost: others, .. }) => cost == others,
            _ => false,
        }
    }

    /// A hash that costs the same and that no password has.
    pub(crate) fn decoy(&self, random: &[u8; 32]) -> Self {
        let mut decoy = self.clone();
        let bytes = random.iter().cycle();
        match &mut decoy.work {
            Work::Argon2id { salt, expected, .. } => {
                salt.iter_mut().chain(expected.iter_mut()).zip(bytes).for_each(|(byte, random)| *byte = *random);
            }
            Work::Bcrypt { salt, expected, .. } => {
                salt.iter_mut().chain(expected.iter_mut()).zip(bytes).for_each(|(byte, random)| *byte = *random);
            }
        }
        decoy.fingerprint = Sha256::digest(random).into();
        decoy
    }
}

/// Of the first 72 bytes, with the zero behind a shorter password that all bcrypts put there.
fn bcrypt_output(cost: u32, salt: [u8; 16], password: &[u8]) -> [u8; BCRYPT_OUTPUT_BYTES] {
    let mut key = zeroize::Zeroizing::new([0; BCRYPT_PASSWORD_MAX_BYTES]);
    let length = password.len().min(BCRYPT_PASSWORD_MAX_BYTES);
    key[..length].copy_from_slice(&password[..length]);
    let with_zero = (length + 1).min(BCRYPT_PASSWORD_MAX_BYTES);
    let output = bcrypt::bcrypt(cost, salt, &key[..with_zero]);
    *output.first_chunk().expect("23 of 24 bytes")
}

/// The algorithm of a new hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Argon2id (RFC 9106) with 19 MiB and two passes, the first choice of the OWASP Password Storage Cheat Sheet: a hash
    /// takes a few hundredths of a second. What RFC 9106 prefers takes several times as long, for each client that is
    /// not known yet.
    #[default]
    Argon2id,
    /// bcrypt with a cost of 12, for files that other programs read too.
    Bcrypt,
}

/// The reason why a password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// No client could send it.
    #[error(
        "this cannot be sent as a password: at most {PASSWORD_MAX_BYTES} bytes of UTF-8 without control characters"
    )]
    Unusable,
    /// bcrypt would cut it off.
    #[error("bcrypt looks at {BCRYPT_PASSWORD_MAX_BYTES} bytes at most, and this has more: take argon2id")]
    TooLong,
    /// The system has no random bits, or no memory.
    #[error("the hash cannot be computed: {0}")]
    Failed(String),
}

/// The hash of a password, as it goes into the file.
///
/// # Errors
/// [`HashingError`], which says for each of its variants when.
pub fn hash_password(algorithm: Algorithm, password: &[u8]) -> Result<String, HashingError> {
    if !is_password(password) {
        return Err(HashingError::Unusable);
    }
    if algorithm == Algorithm::Bcrypt && password.len() > BCRYPT_PASSWORD_MAX_BYTES {
        return Err(HashingError::TooLong);
    }
    let failed = |error: &dyn fmt::Display| HashingError::Failed(error.to_string());
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
    match algorithm {
        Algorithm::Argon2id => new_argon2id(password, &salt).map_err(|error| failed(&error)),
        Algorithm::Bcrypt => Ok(new_bcrypt(password, salt)),
    }
}

fn new_params() -> Params {
    let (memory, passes) = ARGON2_LEAST[1];
    Params::new(memory, passes, 1, Some(Params::DEFAULT_OUTPUT_LEN)).expect("a choice that Argon2 takes")
}

fn new_argon2id(password: &[u8], salt: &[u8]) -> Result<String, password_hash::Error> {
    let params = new_params();
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params.clone());
    argon2.hash_password_into(password, salt, &mut output)?;
    let salt = SaltString::encode_b64(salt)?;
    let hash = password_hash::PasswordHash {
        algorithm: argon2::ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(salt.as_salt()),
        hash: Some(Output::new(&output)?),
    };
    Ok(hash.to_string())
}

fn new_bcrypt(password: &[u8], salt: [u8; 16]) -> String {
    let encoded = |bytes: &[u8]| bcrypt::BASE_64.encode(bytes);
    let output = bcrypt_output(bcrypt::DEFAULT_COST, salt, password);
    format!("$2b${}${}{}", bcrypt::DEFAULT_COST, encoded(&salt), encoded(&output))
}

#[cfg(test)]
mod tests;
