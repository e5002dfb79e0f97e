//! `jwt`: a signed token in the request proves who calls (RFC 7519, RFC 8725).
//!
//! ```toml
//! [policies.api]
//! use = "jwt"
//! issuer = "https://auth.example.com"
//! audience = ["https://api.example.com"]
//! discovery = true
//! ```
//!
//! Everything that decides whose tokens are taken comes from the configuration: the issuers, their keys, the
//! algorithms. A token chooses among its issuer's keys by `kid`, and nothing else. A claim that is configured has to be
//! in the token and right; a setting that is left out is refused at build, unless the file says in words that it does
//! not matter (`any_issuer`, `any_audience`).
//!
//! A verified token is remembered, together with the identity that its claims make. The clock, the revocations and the
//! issuer's keys are looked at each time. After the token was granted, the engine checks whether the consumer's
//! credential may be used now, from here and on this route.
//!
//! # Rooms
//! `config` has the settings, `tables` and `layers` check them, and `issuers` and `keys` are built from them. `policy`
//! judges a request; `issuer` judges the claims of a verified token by `mapping`, `consumers` and `headers`.

#![forbid(unsafe_code)]

mod challenges;
mod config;
mod consumers;
mod headers;
mod issuer;
mod issuers;
mod keys;
mod layers;
mod mapping;
mod policy;
mod problems;
mod tables;

pub use config::{By, ClaimIs, ClaimPaths, Config, ConsumerBy, Holder, Issuer, Mapping};

use std::num::NonZeroUsize;

use portcullis_jose::{MAX_TOKEN_BYTES, MAX_TOKEN_BYTES_CAP, VerifiedTokens};
use portcullis_plugin::{Attempts, BuildCx, BuildError, Hooks, Places, Plugin, Revocations, Verifications};

use crate::{challenges::Challenges, issuer::METHOD, issuers::Issuers, policy::Policy, problems::Problems};

/// The number of verified tokens that a policy remembers, unless it says otherwise.
pub const MAX_CACHED_TOKENS: usize = 10_000;
/// The most that it can remember.
pub const MAX_CACHED_TOKENS_CAP: usize = 1_000_000;
/// The room for each of them, on the average, in bytes of the token. An entry takes a few times as much.
const CACHED_TOKEN_BYTES: usize = 2 << 10;
/// The least room that a cache has, in bytes, so that one with few entries still takes a long token.
const CACHE_MIN_BYTES: usize = 2 << 20;

/// The plugin `jwt`.
pub struct Jwt;

impl Plugin for Jwt {
    const NAME: &'static str = METHOD;
    type Config = Config;
    type Credential = Holder;
    const HOLDS_SECRETS: bool = false;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        Ok(Hooks::new().authenticate(policy(config, cx)?))
    }
}

fn policy(mut config: Config, cx: &mut BuildCx<'_>) -> Result<Policy, BuildError> {
    let mut problems = Problems::new();
    let places = config.places(&mut problems);
    let issuers = Issuers::build(&mut config, cx, &mut problems);
    let attempts = Attempts::new(config.attempts, cx).map_err(|error| problems.extend(error.problems));
    let (max_token_bytes, max_cached_tokens) = limits(&config, &mut problems);
    let (Some(issuers), Ok(attempts), true) = (issuers, attempts, problems.is_empty()) else {
        return Err(BuildError { problems });
    };
    Ok(Policy {
        challenges: Challenges::new(&places),
        hidden: if config.keep_credential { Places::default() } else { places.clone() },
        places,
        issuers,
        tokens: VerifiedTokens::new(max_cached_tokens, (max_cached_tokens * CACHED_TOKEN_BYTES).max(CACHE_MIN_BYTES)),
        revocations: Revocations::new(cx.store()),
        attempts,
        verifications: Verifications::new(cx),
        max_token_bytes,
    })
}

/// The longest token, and how many of them are remembered.
fn limits(config: &Config, problems: &mut Problems) -> (usize, usize) {
    let mut limit = |field: &str, said: Option<NonZeroUsize>, usual: usize, cap: usize| {
        let limit = said.map_or(usual, NonZeroUsize::get);
        if limit > cap {
            problems.push((field.to_owned(), format!("is more than {cap}")));
        }
        limit.min(cap)
    };
    (
        limit("max_token_bytes", config.max_token_bytes, MAX_TOKEN_BYTES, MAX_TOKEN_BYTES_CAP),
        limit("max_cached_tokens", config.max_cached_tokens, MAX_CACHED_TOKENS, MAX_CACHED_TOKENS_CAP),
    )
}

#[cfg(test)]
mod tests;
