use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_plugin::{Claims, Reason};
use serde_json::Value;

use crate::{Algorithm, Wrong, json};

/// The longest token that is looked at, in bytes, unless the caller says otherwise. Most are below 2 KiB, those of
/// directories that list every group of a user below 8 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The longest token that a caller can ask for, in bytes.
pub const MAX_TOKEN_BYTES_CAP: usize = 64 << 10;

/// A signed token in compact form (RFC 7515 section 7.1) that is in shape. Nothing in it is to be believed before
/// [`KeySet::verify`](crate::KeySet::verify) has agreed.
pub struct Token<'t> {
    header: Header,
    claims: Claims,
    signed: &'t [u8],
    signature: Vec<u8>,
}

/// The members of a token's header that count here.
#[derive(Debug)]
pub struct Header {
    /// The algorithm it claims to be signed with.
    pub algorithm: Algorithm,
    /// Which key it claims to be signed with.
    pub kid: Option<String>,
    /// The type that it claims to be of, such as `at+jwt`.
    pub typ: Option<String>,
}

impl<'t> Token<'t> {
    /// Reads a token of at most [`MAX_TOKEN_BYTES`].
    ///
    /// # Errors
    /// [`Reason::TokenMalformed`], or [`Reason::AlgorithmNotAllowed`] where the header names an algorithm that is none
    /// of ours.
    pub fn parse(token: &'t [u8]) -> Result<Self, Wrong> {
        Self::parse_within(token, MAX_TOKEN_BYTES)
    }

    /// Reads a token of at most `max_bytes`, and never one longer than [`MAX_TOKEN_BYTES_CAP`].
    ///
    /// # Errors
    /// As [`Token::parse`].
    pub fn parse_within(token: &'t [u8], max_bytes: usize) -> Result<Self, Wrong> {
        if token.len() > max_bytes.min(MAX_TOKEN_BYTES_CAP) {
            return Err(Wrong::malformed("longer than a token may be"));
        }
        let [header, claims, signature] = segments(token)?;
        let header = object(header).ok_or(Wrong::malformed("the header is no JSON object that can be read"))?;
        let header = Header::read(&header)?;
        let claims = object(claims).ok_or(Wrong::malformed("the claims are no JSON object that can be read"))?;
        let signature = decode(signature).ok_or(Wrong::malformed("the signature is not base64url"))?;
        let signed = &token[..token.iter().rposition(|byte| *byte == b'.').unwrap_or_default()];
        Ok(Self { header, claims, signed, signature })
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The algorithm that the header names.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// The key that the header names.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Returns the claims, which nothing has verified yet.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the claims, to keep.
    pub fn into_claims(self) -> Claims {
        self.claims
    }

    /// A claim that is text; `None` where it is absent or something else.
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Returns the bytes that were signed (RFC 7515 section 5.1).
    pub fn signing_input(&self) -> &'t [u8] {
        self.signed
    }

    /// The signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Never prints the token: whoever reads it could use it.
impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// The three parts. Encrypted tokens have five, and tokens with fewer are not signed.
fn segments(token: &[u8]) -> Result<[&[u8]; 3], Wrong> {
    let mut parts = token.split(|byte| *byte == b'.');
    match [parts.next(), parts.next(), parts.next(), parts.next()] {
        [Some(header), Some(claims), Some(signature), None] => Ok([header, claims, signature]),
        _ => Err(Wrong::malformed("not three parts")),
    }
}

/// Base64url without padding, white space or stray bits: one text for each value (RFC 7515 section 2). Were there several,
/// a revoked token could be written in another way.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn object(text: &[u8]) -> Option<Claims> {
    json::object(&decode(text)?).ok()
}

impl Header {
    /// Members that change what the rest of the token means, or bring a key along.
    ///
    /// - `crit` lists extensions that must be understood, and none is (RFC 7515 section 4.1.11).
    /// - `b64` and `zip` change what is signed or claimed (RFC 7797, RFC 7516 section 4.1.3).
    /// - `jwk` is the key to verify the token with, brought by whoever sends it. No bearer token needs it.
    ///
    /// `jku`, `x5u`, `x5c` and `x5t` are passed over, like all members that we do not know: some issuers write `jku`
    /// into every token. They choose nothing here, and nothing is ever fetched because a token says so.
    const REFUSED: [&'static str; 4] = ["crit", "b64", "zip", "jwk"];

    fn read(members: &Claims) -> Result<Self, Wrong> {
        if Self::REFUSED.iter().any(|name| members.contains_key(*name)) {
            return Err(Wrong::malformed("a header with `crit`, `b64`, `zip` or `jwk`"));
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(Wrong::malformed("`alg`, `kid` or `typ` is no text")),
        };
        let name = text("alg")?.ok_or(Wrong::malformed("no `alg`"))?;
        Ok(Self {
            algorithm: Algorithm::by_name(name).ok_or(Reason::AlgorithmNotAllowed)?,
            kid: text("kid")?.map(str::to_owned),
            typ: text("typ")?.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests;
