//! The registry of plugins. A plugin is added by its type; everything the engine does with it afterwards goes through
//! the functions kept here, so that the engine names no plugin outside [`builtin`](crate::builtin).

use std::{
    any::{Any, TypeId},
    collections::BTreeMap,
    sync::Arc,
};

use portcullis_plugin::{
    BuildCx, BuildError, Hooks, NoCredential, Plugin,
    schemars::{Schema, schema_for},
    serde::Deserialize,
};
use toml::de::{DeValue, Error, ValueDeserializer};

/// A value of a file.
pub(crate) type Value<'i> = toml::Spanned<DeValue<'i>>;

/// A policy's configuration, decoded, before its plugin is built.
pub(crate) type Decoded = Box<dyn Any>;

/// A consumer's entry, decoded.
pub(crate) type Own = Arc<dyn Any + Send + Sync>;

/// One plugin.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Its name, as in `use = "..."`.
    pub name: &'static str,
    /// Set if a consumer's entry holds a secret.
    pub holds_secrets: bool,
    /// Set if a policy admits callers only by the credentials in consumers' entries, and so nobody if there are none.
    pub needs_credentials: bool,
    /// Decodes a policy's configuration.
    pub config: fn(Value<'_>) -> Result<Decoded, Error>,
    /// Decodes a consumer's entry.
    pub credential: fn(Value<'_>) -> Result<Own, Error>,
    /// Builds the hooks of a policy.
    pub build: fn(Decoded, &mut BuildCx<'_>) -> Result<Hooks, BuildError>,
    /// The configuration's JSON Schema.
    pub config_schema: fn() -> Schema,
    /// The JSON Schema of a consumer's entry.
    pub credential_schema: fn() -> Schema,
}

/// All plugins that a configuration may use.
#[derive(Default)]
pub(crate) struct Registry {
    kinds: BTreeMap<&'static str, Kind>,
}

impl Registry {
    /// Returns a registry without plugins.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a plugin.
    ///
    /// # Panics
    /// Another plugin has the same name: a mistake in the program, found at its first start.
    pub(crate) fn add<P: Plugin>(&mut self) {
        let kind = Kind {
            name: P::NAME,
            holds_secrets: P::HOLDS_SECRETS,
            needs_credentials: P::HOLDS_SECRETS && TypeId::of::<P::Credential>() != TypeId::of::<NoCredential>(),
            config: |value| Ok(Box::new(P::Config::deserialize(ValueDeserializer::from(value))?)),
            credential: |value| Ok(Arc::new(P::Credential::deserialize(ValueDeserializer::from(value))?)),
            build: |config, cx| {
                let config = config.downcast::<P::Config>().expect("a kind builds what it decoded");
                P::build(*config, cx)
            },
            config_schema: || schema_for!(P::Config),
            credential_schema: || schema_for!(P::Credential),
        };
        assert!(self.kinds.insert(P::NAME, kind).is_none(), "two plugins are named `{}`", P::NAME);
    }

    /// Returns all plugins, by name.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.values()
    }

    /// Returns the plugin of this name.
    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }
}
