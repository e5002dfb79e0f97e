//! Everything a Portcullis plugin needs, and nothing of the engine.
//!
//! A plugin is a type with a name, a typed configuration and a `build` that returns the hooks it takes part in.
//! The smallest useful one, whole:
//!
//! ```
//! use portcullis_plugin::*;
//!
//! /// Refuses every request that comes from outside a country club.
//! struct Doorman;
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The word that opens the door.
//!     word: String,
//! }
//!
//! impl Plugin for Doorman {
//!     const NAME: &'static str = "doorman";
//!     type Config = Config;
//!     type Credential = NoCredential;
//!
//!     fn build(config: Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
//!         Ok(Hooks::new().guard(Door(config.word)))
//!     }
//! }
//!
//! struct Door(String);
//!
//! impl Guard for Door {
//!     fn guard<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Verdict, PluginError>> {
//!         let said = cx.headers().get("x-word").is_some_and(|said| said.as_bytes() == self.0.as_bytes());
//!         Answer::Now(Ok(if said { Verdict::Allow } else { Verdict::Refuse(Refusal::forbidden(Reason::Plugin("wrong_word"))) }))
//!     }
//! }
//! ```
//!
//! # The order of things
//! `guard` runs before anyone is known, `authenticate` finds out who calls, `admit` decides whether they may; then the
//! request is edited and forwarded, the response edited on its way back (last plugin first), and `observe` sees how it
//! ended. Inside a phase the order is the order in the file.
//!
//! # What a plugin may rely on
//! - `build` may read files through [`BuildCx`]; it does not connect, bind or spawn.
//! - A **refusal** is a value with a reason; a **failure** ([`PluginError`]) refuses the request with 503; a panic is a bug.
//! - Only the engine sets an identity on a request, and only the engine writes identity headers.
//! - What a credential's entry says for all kinds (`enabled`, `expires`, `routes`, ...) the engine checks by itself after
//!   a plugin has granted: see [`Credential`].

mod address_block;
mod answer;
mod attempts;
mod build;
mod claimed;
mod counter;
mod hooks;
mod identity;
mod mention;
mod places;
mod reason;
mod request;
mod revocation;
mod secret;
mod span;
mod store;
pub mod testing;

pub use address_block::AddressBlock;
pub use answer::{Answer, BoxFuture};
pub use attempts::{AttemptLimits, AttemptTable, Attempts, Begun, Checked, FailedAttempt};
pub use build::{Background, BuildCx, BuildEnv, BuildError, CredentialEntry, Ends, NoCredential, Plugin};
pub use claimed::Claimed;
pub use counter::Counter;
pub use hooks::{
    Admit, Attempt, Authenticate, Authentication, Body, BodyFilter, Challenge, Denial, DenialStatus, EditRequest,
    EditResponse, Guard, Hooks, Observe, Outcome, PluginError, Refusal, RefusalStatus, Verdict,
};
pub use identity::{
    CertificateNames, Claims, Consumer, Credential, CredentialLimits, Identity, IdentityField, Rendered, Usage,
    encode_item,
};
pub use mention::{Mention, Mentioned};
pub use places::{Found, HeaderNames, Place, PlaceFields, Places};
pub use reason::Reason;
pub use request::{BodyCheck, BodyError, ClientCert, Exchange, ManagedHeader, RequestCx, RequestHead, ResponseHead};
pub use revocation::{Revocation, RevocationKeys, Revocations};
pub use secret::{Secret, SecretSource};
pub use span::{Span, UnixTime};
pub use store::{LocalStore, Store, StoreError};

/// Re-exported so that a plugin's versions agree with the engine's.
pub use {bytes, http, ipnet, schemars, serde, serde_json};
