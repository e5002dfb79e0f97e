//! The interface of a scheme: it reads one kind of signature out of a request, and says which bytes were signed.
//!
//! A scheme is pure. It sees the request's head and nothing else: no secret, no clock, no store, no body. It says what
//! the request *claims*; the frame ([`crate::signatures`]) finds the key, looks at the clock, reads the body, verifies
//! and remembers. All of that is the same for every scheme, and so is every mistake that could be made in it.
//!
//! A claim owns its data. The body is read through the same request that the head belongs to, and a borrowed claim
//! would have to be read a second time after it.

use std::borrow::Cow;

use portcullis_plugin::{
    Challenge, Denial, Places, Reason, UnixTime,
    http::{HeaderMap, Method, header},
};

use crate::{
    body::{BodyDigest, Hash},
    key::{Algorithm, SigningKey},
};

/// The parts of a request that a signature can be over, as the client sent them.
#[derive(Clone, Copy)]
pub(crate) struct SignedRequest<'r> {
    pub method: &'r Method,
    /// The target in origin form as it came, query and all: `RequestCx::received_target`, not the canonical path.
    pub target: &'r str,
    /// The headers. `Host` is always there, HTTP/2's `:authority` in it.
    pub headers: &'r HeaderMap,
    /// The client spoke TLS.
    pub is_https: bool,
}

impl<'r> SignedRequest<'r> {
    /// The target's path, still encoded as it came.
    pub(crate) fn path(&self) -> &'r str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The target's query without its `?`; `None` where there is no `?`.
    pub(crate) fn query(&self) -> Option<&'r str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// `Host`, as it came.
    pub(crate) fn host(&self) -> Option<&'r str> {
        self.headers.get(header::HOST)?.to_str().ok()
    }
}

/// The result of reading a request.
pub(crate) enum Reading {
    /// Nothing in any place of this scheme.
    Absent,
    /// A signature that no key can make valid.
    Wrong(Wrong),
    /// At least one claim, at most [`CLAIMS_MAX`]. They are judged in their order.
    Presented(Vec<Claim>),
}

/// Why a signature cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// For audit log and metric: `SignatureMalformed` or `SignatureIncomplete`, as a rule.
    pub reason: Reason,
    /// More exactly, for the audit log, where whoever writes a client finds it. It holds nothing that the client sent.
    pub why: &'static str,
}

impl Wrong {
    /// A signature that cannot be read.
    pub(crate) fn malformed(why: &'static str) -> Self {
        Self { reason: Reason::SignatureMalformed, why }
    }

    /// A signature that leaves out a part that it has to cover.
    pub(crate) fn incomplete(why: &'static str) -> Self {
        Self { reason: Reason::SignatureIncomplete, why }
    }
}

impl From<Wrong> for Denial {
    fn from(wrong: Wrong) -> Self {
        Self::unauthorized(wrong.reason).detailed(wrong.why)
    }
}

impl From<Wrong> for Reading {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// For schemes that have one claim at most.
impl From<Result<Option<Claim>, Wrong>> for Reading {
    fn from(found: Result<Option<Claim>, Wrong>) -> Self {
        match found {
            Ok(None) => Self::Absent,
            Ok(Some(claim)) => Self::Presented(vec![claim]),
            Err(wrong) => wrong.into(),
        }
    }
}

/// The most claims of one request that are judged: each may cost a verification.
pub(crate) const CLAIMS_MAX: usize = 4;
/// The most candidates for the signature of one claim.
pub(crate) const CANDIDATES_MAX: usize = 8;
/// The longest signature, in bytes: RSA with 8192 bits.
pub(crate) const SIGNATURE_MAX_BYTES: usize = 1024;
/// The longest key id, in bytes.
pub(crate) const KEY_ID_MAX_BYTES: usize = 256;

/// One signature and everything that it says about itself. Nothing in it is to be believed before it is verified.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The name of the key that made it; `None` where the scheme does not say, and every key of the policy is tried.
    pub key_id: Option<String>,
    /// The signature, decoded. Several are alternatives: one that fits is enough (a client that changes its secret sends
    /// one of the old and one of the new). At least one, at most [`CANDIDATES_MAX`].
    pub signatures: Vec<Vec<u8>>,
    /// The algorithm; `None` where the key decides.
    pub algorithm: Option<Algorithm>,
    /// When it was made. Only a time that is part of what was signed may stand here, and so for `expires` and `nonce`.
    pub created: Option<UnixTime>,
    /// The end of its validity, if it has one.
    pub expires: Option<UnixTime>,
    /// `expires` takes the place of the policy's window, and is required: a presigned URL is meant to be kept for a
    /// while.
    pub is_presigned: bool,
    /// A value that the client uses only once. Without it the message itself cannot be sent twice.
    pub nonce: Option<String>,
    /// The claim's hold on the body.
    pub body: BodyUse,
    /// The bytes that were signed.
    pub message: Message,
    /// The scope that the key is derived for, in schemes that do so (`20150830/us-east-1/service/aws4_request`); else
    /// empty.
    pub scope: String,
}

/// The way in which a signature covers the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyUse {
    /// Nothing. A request with a body is then refused, unless the policy says `body = "unsigned"`.
    NotCovered,
    /// Its digest stands in a header that is part of what was signed: the signature is verified first, the body after.
    /// Every digest has to fit; at least one.
    Declared(Vec<BodyDigest>),
    /// The message has [`Piece::Body`] or [`Piece::BodyHash`]: the body has to be read first.
    InMessage,
}

/// The bytes that were signed: the pieces, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Message(pub Vec<Piece>);

/// A message with the body in its place: pieces that follow on each other.
pub(crate) type MessagePieces<'m> = [Cow<'m, [u8]>];

/// A piece of a message.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Known from the head.
    Bytes(Vec<u8>),
    /// The whole body.
    Body,
    /// The body's hash in lower-case hexadecimal.
    BodyHash(Hash),
}

impl Message {
    /// A message that is known from the head.
    pub(crate) fn of_head(bytes: Vec<u8>) -> Self {
        Self(vec![Piece::Bytes(bytes)])
    }

    /// The message with the body in its place, without copying what is there already.
    pub(crate) fn with_body<'m>(&'m self, body: &'m [u8]) -> Vec<Cow<'m, [u8]>> {
        let piece = |piece: &'m Piece| match piece {
            Piece::Bytes(bytes) => Cow::Borrowed(bytes.as_slice()),
            Piece::Body => Cow::Borrowed(body),
            Piece::BodyHash(hash) => Cow::Owned(hash.hex_of(body).into_bytes()),
        };
        self.0.iter().map(piece).collect()
    }
}

/// One kind of signature, with the settings of one policy.
pub(crate) trait Scheme: Send + Sync {
    /// Reads the signatures of a request. It takes time linear in the head, whatever stands there, and never panics.
    fn read(&self, request: &SignedRequest<'_>) -> Reading;

    /// Returns `true` if this key made one of the claim's signatures over this message (its pieces, one after the
    /// other).
    fn verify(&self, key: &SigningKey, claim: &Claim, message: &MessagePieces<'_>) -> bool {
        key.verify(claim.algorithm, message, &claim.signatures)
    }

    /// The algorithms that the policy takes, the one of a claim that does not say first. A key of another kind is
    /// refused when it is loaded, a claim with another algorithm when it comes.
    fn algorithms(&self) -> &[Algorithm];

    /// Returns `true` if a claim can name its key. Otherwise every key is tried, and the policy has
    /// [`KEYS_TRIED_MAX`](crate::keyring::KEYS_TRIED_MAX) credentials at most.
    fn names_key(&self) -> bool {
        true
    }

    /// Returns `true` if claims have a `created`; one without is then refused. Without a time there is no window, and
    /// no end to the time for which a signature would have to be remembered.
    fn has_time(&self) -> bool {
        true
    }

    /// The shortest secret, in bytes, once it is decoded: that of the hash (RFC 2104 section 3), unless the scheme's
    /// own specification hands out shorter ones.
    fn secret_min_bytes(&self) -> usize {
        32
    }

    /// The key in a secret as it is written, where the credential has no `secret_encoding`: the text itself, unless the
    /// scheme has a form of its own (`whsec_...`). An error does not repeat the secret.
    fn decode_secret(&self, written: &[u8]) -> Result<Vec<u8>, &'static str> {
        Ok(written.to_vec())
    }

    /// The places of the signature, which are emptied before the request is forwarded. Headers that an upstream has a
    /// use for (`Content-Digest`, `Date`) are none of these.
    fn places(&self) -> Places;

    /// The challenge for a client that sent no signature.
    fn challenge(&self) -> Challenge;
}
