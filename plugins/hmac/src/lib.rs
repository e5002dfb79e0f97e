//! `hmac`: a signature over the request proves which consumer calls, and that nobody has changed what it asks for.
//!
//! ```toml
//! [policies.partner-signatures]
//! use = "hmac"
//!
//! [[consumers.acme.credentials]]
//! use = "hmac"
//! id = "acme-signing-1"
//! secret = { env = "ACME_SIGNING_SECRET" }
//! ```
//!
//! The client never sends its secret. A request that was seen on its way cannot be changed, sent to another host, or sent
//! again.
//!
//! # The parts
//! - A [scheme] reads the signatures of a request: `portcullis` (RFC 9421), `timestamp`, `cavage`, `aws4`. It is pure,
//!   and knows no other scheme. Schemes share small modules: `parameters`, `signed_headers`, `instant` and `tag` read
//!   parts of headers, `body` has digests, `key` has algorithms.
//! - The [frame](signatures) judges a claim, by the same steps for all schemes: limits on [attempts](attempted_keys),
//!   the [clock], the [keys](keyring), the signature, the [body], and the [record](replay) of signatures that were
//!   taken.
//!
//! # What is promised
//! - Only what the signature covers counts, and it covers at least what the policy asks for. A header that is said to
//!   be covered and is not there is a refusal, and is never skipped.
//! - A byte of a body that was not verified never reaches the upstream.
//! - A signature is taken once, within a window, and compared in constant time.
//! - Algorithms come from the policy and the key, never from the request.
//!
//! # Where the promise ends
//! `body = "unsigned"` lets any body through behind a signed head. `replay = "allow"` lets a captured request be sent
//! again until its window ends. Schemes without a time (`github`) can be sent again for ever: their upstream has to know
//! what it has seen.

#![forbid(unsafe_code)]

use portcullis_plugin::{Attempts, BuildCx, BuildError, Hooks, Plugin};

mod attempted_keys;
mod aws4;
mod body;
mod cavage;
mod clock;
mod config;
mod credential;
mod instant;
mod key;
mod keyring;
mod parameters;
mod portcullis;
mod problems;
mod refused;
mod replay;
mod scheme;
#[cfg(test)]
mod sent;
mod signatures;
mod signed_headers;
#[cfg(test)]
mod signing;
mod tag;
mod timestamp;

pub use aws4::Aws4Config;
pub use cavage::{CavageConfig, Dialect};
pub use config::{BodyRule, Config, Replay, SchemeName};
pub use credential::{SecretEncoding, SigningCredential};
pub use portcullis::{MessageAlgorithm, PortcullisConfig, RequiredParameter};
pub use tag::{HmacName, SignatureEncoding};
pub use timestamp::{Component, Field, Literal, Part, Preset, TimestampConfig};

/// The plugin `hmac`.
pub struct Hmac;

impl Plugin for Hmac {
    const NAME: &'static str = "hmac";
    type Config = Config;
    type Credential = SigningCredential;

    fn build(mut config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let mut problems = problems::Problems::new();
        if let Some((field, why)) = config.portcullis.as_ref().and_then(PortcullisConfig::warning) {
            cx.warn(&format!("portcullis.{field}"), why);
        }
        let scheme = config.build_scheme(&mut problems);
        let has_time = scheme.as_ref().is_none_or(|scheme| scheme.has_time());
        config.check(has_time, cx.max_held_body_bytes(), &mut problems);
        let attempts = Attempts::new(config.attempts, cx).map_err(|error| problems.extend(error.problems));
        match (scheme, attempts) {
            (Some(scheme), Ok(attempts)) if problems.is_empty() => {
                Ok(Hooks::new().authenticate(signatures::Signatures::new(&config, scheme, attempts, cx)))
            }
            _ => Err(BuildError { problems }),
        }
    }
}

#[cfg(test)]
mod tests;
