//! The settings of a policy, as they stand in the file.

use std::time::Duration;

use portcullis_plugin::{AttemptLimits, Span};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Aws4Config, CavageConfig, PortcullisConfig, TimestampConfig, clock::Clock, problems::Problems, scheme::Scheme,
};

/// Proves a client by a signature over the request.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The kind of signature: `portcullis` (RFC 9421, HTTP Message Signatures) unless said.
    #[serde(default)]
    pub scheme: SchemeName,
    /// With `scheme = "portcullis"`: its settings.
    pub portcullis: Option<PortcullisConfig>,
    /// With `scheme = "timestamp"`: its settings.
    pub timestamp: Option<TimestampConfig>,
    /// With `scheme = "cavage"`: its settings.
    pub cavage: Option<CavageConfig>,
    /// With `scheme = "aws4"`: its settings.
    pub aws4: Option<Aws4Config>,
    /// The greatest age of a signature; 5 minutes unless said. Signatures are remembered for as long, so that none is
    /// taken twice.
    pub window: Option<Span>,
    /// The most that the client's clock may be ahead or behind: 30 seconds unless said, and never more than the
    /// `window`.
    pub clock_skew: Option<Span>,
    /// The answer to a signature that was seen before: `refuse` unless said.
    pub replay: Option<Replay>,
    /// `signed` (unless said) requires that the signature covers the body. DANGER: with `unsigned`, whoever gets hold
    /// of a signed request may put any body into it.
    #[serde(default)]
    pub body: BodyRule,
    /// The largest body that is read and verified, in bytes; 8 MiB unless said. A larger one is refused with 413.
    pub max_body_bytes: Option<usize>,
    /// The number of attempts that may fail before a client has to wait: any number unless said, for nobody guesses a
    /// secret of 128 bits or more. See the documentation of limits on failed attempts.
    #[serde(default)]
    pub attempts: AttemptLimits,
    /// Leaves the signature in the request that is forwarded.
    #[serde(default)]
    pub keep_credential: bool,
}

/// The largest body that is read, in bytes, unless the policy says.
const BODY_MAX_BYTES: usize = 8 * 1024 * 1024;
/// The most that a policy can set.
pub(crate) const BODY_MAX_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A kind of signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SchemeName {
    /// RFC 9421, HTTP Message Signatures.
    #[default]
    Portcullis,
    /// A few fields joined by newlines, as many services and webhooks do it.
    Timestamp,
    /// draft-cavage-http-signatures, as clients of other gateways send it.
    Cavage,
    /// AWS Signature Version 4.
    Aws4,
}

/// The answer to a signature that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// It is refused for as long as it would be valid.
    Refuse,
    /// It is taken again until the window ends. Only for requests that do no harm when they are repeated.
    Allow,
}

/// The rule for bodies that a signature does not cover.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyRule {
    /// A request with a body is refused unless its signature covers it.
    #[default]
    Signed,
    /// A body that no signature covers is let through.
    Unsigned,
}

impl Config {
    /// Builds the scheme with its settings. A table of another scheme would be ignored, and is an error.
    pub(crate) fn build_scheme(&mut self, problems: &mut Problems) -> Option<Box<dyn Scheme>> {
        let (portcullis, timestamp) = (self.portcullis.take(), self.timestamp.take());
        let (cavage, aws4) = (self.cavage.take(), self.aws4.take());
        let given = [
            (SchemeName::Portcullis, portcullis.is_some()),
            (SchemeName::Timestamp, timestamp.is_some()),
            (SchemeName::Cavage, cavage.is_some()),
            (SchemeName::Aws4, aws4.is_some()),
        ];
        for (name, _) in given.into_iter().filter(|(name, is_given)| *is_given && *name != self.scheme) {
            let name = name.as_str();
            problems
                .push((name.to_owned(), format!("is for another scheme: write scheme = \"{name}\", or leave it out")));
        }
        let mut own = Problems::new();
        let scheme = match self.scheme {
            SchemeName::Portcullis => portcullis.unwrap_or_default().build(&mut own),
            SchemeName::Timestamp => timestamp.unwrap_or_default().build(&mut own),
            SchemeName::Cavage => cavage.unwrap_or_default().build(&mut own),
            SchemeName::Aws4 => aws4.unwrap_or_default().build(&mut own),
        };
        let table = self.scheme.as_str();
        let whole = |field: String| if field.is_empty() { table.to_owned() } else { format!("{table}.{field}") };
        problems.extend(own.into_iter().map(|(field, why)| (whole(field), why)));
        scheme
    }
}

impl Config {
    /// Reports settings that do not go with the scheme, or are out of bounds. `room` is the most of one body that can
    /// be held.
    pub(crate) fn check(&self, has_time: bool, room: usize, problems: &mut Problems) {
        let mut wrong = |field: &str, why: &str| problems.push((field.to_owned(), why.to_owned()));
        let timed = [
            ("window", self.window.is_some()),
            ("clock_skew", self.clock_skew.is_some()),
            ("replay", self.replay.is_some()),
        ];
        for (field, _) in timed.into_iter().filter(|(_, is_given)| *is_given && !has_time) {
            wrong(field, "has no meaning here: these signatures have no time, and can be sent again for ever");
        }
        if self.window.is_some_and(|span| !(Duration::from_secs(1)..=Clock::WINDOW_MAX).contains(&span.0)) {
            wrong("window", "is not between a second and a day");
        }
        if self.clock_skew.is_some_and(|span| span.0 > Clock::SKEW_MAX) {
            wrong("clock_skew", "is more than 15 minutes");
        }
        // The skew is granted at both ends: if it were more than the window, a signature would live longer by the skew
        // than by the greatest age in the file.
        if self.clock_skew.is_some_and(|span| span.0 > self.clock().window) {
            wrong("clock_skew", "is more than the `window`, which is 5 minutes unless said");
        }
        if self.max_body_bytes.is_some_and(|bytes| !(1..=BODY_MAX_BYTES_MAX).contains(&bytes)) {
            wrong("max_body_bytes", "is not between 1 and 268435456 (256 MiB)");
        }
        if self.max_body_bytes.is_some_and(|bytes| bytes > room) {
            let text = format!("is more than there is ever room for: {room}, half of `server.max_held_body_bytes`");
            wrong("max_body_bytes", &text);
        }
    }

    /// The largest body that is read, where there is `room` for so much of one.
    pub(crate) fn max_body_bytes(&self, room: usize) -> usize {
        self.max_body_bytes.unwrap_or(BODY_MAX_BYTES.min(room))
    }

    /// The window and the skew.
    pub(crate) fn clock(&self) -> Clock {
        let window = self.window.map_or(Clock::WINDOW, |span| span.0);
        Clock { window, skew: self.clock_skew.map_or(Clock::SKEW.min(window), |span| span.0) }
    }
}

impl SchemeName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Timestamp => "timestamp",
            Self::Cavage => "cavage",
            Self::Aws4 => "aws4",
        }
    }
}
