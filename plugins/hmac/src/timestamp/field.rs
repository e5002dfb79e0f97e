//! The fields that a message can have, and the parts of a request that it should cover.

use portcullis_plugin::schemars::JsonSchema;
use serde::Deserialize;

use crate::body::Hash;

/// One field of a message: the name of a part of the request, or `{ literal = "v0" }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a part (`method`, `target`, `path`, `query`, `timestamp`, `id`, `key-id`, `body-sha256`, \
                               `body-sha384`, `body-sha512`, `body`) or { literal = \"text\" }"
)]
pub enum Field {
    /// A part of the request.
    Part(Part),
    /// Text that is always the same.
    Literal(Literal),
}

/// Text that is always the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Literal {
    /// The text.
    pub literal: String,
}

/// A part of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The method, in capitals.
    Method,
    /// The path with its query, as it is sent.
    Target,
    /// The path, as it is sent.
    Path,
    /// The query without its `?`, as it is sent; empty where there is none.
    Query,
    /// The time, as it is written in `timestamp_header`.
    Timestamp,
    /// The value of `id_header`.
    Id,
    /// The value of `key_id_header`.
    KeyId,
    /// The SHA-256 of the body in lower-case hexadecimal, after `body_hash_prefix`.
    BodySha256,
    /// The SHA-384 of the body in lower-case hexadecimal, after `body_hash_prefix`.
    BodySha384,
    /// The SHA-512 of the body in lower-case hexadecimal, after `body_hash_prefix`.
    BodySha512,
    /// The body itself; only at the end, where nothing can be taken for a part of it.
    Body,
}

impl Part {
    /// The hash function, if the part is a hash of the body.
    pub(super) fn body_hash(self) -> Option<Hash> {
        match self {
            Self::BodySha256 => Some(Hash::Sha256),
            Self::BodySha384 => Some(Hash::Sha384),
            Self::BodySha512 => Some(Hash::Sha512),
            _ => None,
        }
    }
}

/// A part of the request that a message should cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The method: else a signed `GET` is also a `DELETE`.
    Method,
    /// The path: else what is signed for one resource holds for all.
    Path,
    /// The query.
    Query,
    /// The time: else what was sent once can be sent again for ever.
    Timestamp,
    /// The body, or its hash.
    Body,
}

impl Component {
    /// Each with its name in the configuration.
    pub(super) const ALL: [(Self, &'static str); 5] = [
        (Self::Method, "method"),
        (Self::Path, "path"),
        (Self::Query, "query"),
        (Self::Timestamp, "timestamp"),
        (Self::Body, "body"),
    ];

    /// Returns `true` if a message with this part covers the component.
    pub(super) fn is_covered_by(self, part: Part) -> bool {
        match self {
            Self::Method => part == Part::Method,
            Self::Path => matches!(part, Part::Target | Part::Path),
            Self::Query => matches!(part, Part::Target | Part::Query),
            Self::Timestamp => part == Part::Timestamp,
            Self::Body => part == Part::Body || part.body_hash().is_some(),
        }
    }
}
