//! The dialects of the scheme.

use portcullis_plugin::schemars::JsonSchema;
use serde::Deserialize;

/// The gateway, or the draft, that a client was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// draft-cavage-http-signatures-12.
    Draft,
    /// The plugin `hmac-auth` of Kong.
    Kong,
    /// The plugin `hmac-auth` of APISIX, since 3.11.
    Apisix,
}

impl Dialect {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Draft, Self::Kong, Self::Apisix];

    /// The authentication scheme that stands in `Authorization`.
    pub(super) fn scheme(self) -> &'static str {
        match self {
            Self::Draft | Self::Apisix => "Signature",
            Self::Kong => "hmac",
        }
    }
}
