use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};

use crate::{BuildCx, BuildError, Hooks};

/// A kind of policy: a name, a typed configuration, and the hooks it takes part in.
pub trait Plugin: 'static {
    /// As in `use = "..."`, in kebab-case.
    const NAME: &'static str;
    /// The settings of a policy: `#[serde(deny_unknown_fields)]`, and types that carry their constraints.
    type Config: DeserializeOwned + JsonSchema;
    /// The part of a consumer's credential beside the fields that all kinds have; [`NoCredential`] where there are
    /// none.
    type Credential: DeserializeOwned + JsonSchema + Send + Sync;
    /// `true` if an entry holds a secret, or the hash of one: then two equal entries are an error, wherever they stand.
    /// It is `false` for a plugin whose entries only name somebody.
    const HOLDS_SECRETS: bool = true;

    /// Makes the hooks. It may read files through `cx`; it does not connect, bind or spawn.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration and its credentials, each with the field it is about.
    fn build(config: Self::Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError>;
}

/// The credential of plugins that have none: `use = "..."` in a consumer's entry is an error for them.
#[derive(Debug, JsonSchema)]
pub enum NoCredential {}

impl<'de> Deserialize<'de> for NoCredential {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("consumers have no credentials of this kind"))
    }
}
