use std::time::Duration;

use portcullis_plugin::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The address of a JWKS.
    Url(String),
    /// An issuer: its discovery document (OpenID Connect Discovery 1.0 section 4, else RFC 8414 section 3) has the
    /// address. The document's `issuer` has to be this one to the letter.
    Issuer(String),
}

impl Location {
    /// The field that errors are about.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Issuer(_) => "issuer",
        }
    }
}

/// The settings for fetching keys, and for how long they serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Takes `http` for a host that is not loopback. Whoever is on the way can then make tokens.
    pub allow_http: bool,
    /// The longest that one fetch takes; 4 s unless said.
    pub timeout: Span,
    /// The longest that a request with an unknown key waits for a fetch; 3 s unless said.
    pub max_wait: Span,
    /// The time for which keys are fresh where the issuer does not say; 10 min unless said.
    pub refresh: Span,
    /// Keys are fresh for at least so long, whatever the issuer says; 1 min unless said.
    pub min_refresh: Span,
    /// Keys are fresh for at most so long, whatever the issuer says; 24 h unless said. A key that the issuer withdraws
    /// serves no longer than this while the issuer answers, whatever else is wrong with its answer.
    pub max_refresh: Span,
    /// The time between two fetches for unknown keys once a few have been made in a row, and the longest pause after one
    /// that failed; 30 s unless said.
    pub cooldown: Span,
    /// The time for which keys serve after they were due, while the issuer cannot be reached or answers with an error;
    /// 24 h unless said.
    pub max_stale: Span,
}

impl Default for Settings {
    fn default() -> Self {
        let span = |seconds| Span(Duration::from_secs(seconds));
        Self {
            allow_http: false,
            timeout: span(4),
            max_wait: span(3),
            refresh: span(600),
            min_refresh: span(60),
            max_refresh: span(86_400),
            cooldown: span(30),
            max_stale: span(86_400),
        }
    }
}

impl Settings {
    /// The fetch before publishing ends after 5 s in any case.
    pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
    /// A request that waits longer has been given up by its client.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(10);
    /// Shorter, and a failing issuer would be asked all the time.
    pub const SHORTEST_COOLDOWN: Duration = Duration::from_secs(1);
    /// Longer, and a withdrawn key would serve on for days.
    pub const LONGEST_REFRESH: Duration = Duration::from_secs(7 * 86_400);
    /// Shorter, and requests would be refused while the keys are fetched that take the place of those just due.
    pub const SHORTEST_STALE: Duration = Duration::from_secs(60);
    /// Longer, and keys that nobody can confirm would serve on for weeks.
    pub const LONGEST_STALE: Duration = Duration::from_secs(30 * 86_400);

    /// Returns the problems, each with its field.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let mut within = |field, span: Span, shortest: Duration, longest: Duration| {
            if span.0 < shortest {
                problems.push((field, format!("is shorter than {}", Span(shortest))));
            }
            if span.0 > longest {
                problems.push((field, format!("is longer than {}", Span(longest))));
            }
        };
        const MOMENT: Duration = Duration::from_millis(100);
        within("timeout", self.timeout, MOMENT, Self::LONGEST_TIMEOUT);
        within("max_wait", self.max_wait, MOMENT, Self::LONGEST_WAIT);
        within("cooldown", self.cooldown, Self::SHORTEST_COOLDOWN, Self::LONGEST_REFRESH);
        within("min_refresh", self.min_refresh, Self::SHORTEST_COOLDOWN, Self::LONGEST_REFRESH);
        within("max_refresh", self.max_refresh, Self::SHORTEST_COOLDOWN, Self::LONGEST_REFRESH);
        within("max_stale", self.max_stale, Self::SHORTEST_STALE, Self::LONGEST_STALE);
        if self.min_refresh > self.max_refresh {
            problems.push(("min_refresh", "is longer than `max_refresh`".to_owned()));
        } else if !(self.min_refresh..=self.max_refresh).contains(&self.refresh) {
            problems.push(("refresh", "is not between `min_refresh` and `max_refresh`".to_owned()));
        }
        problems
    }

    /// Returns the time for which keys are fresh that their issuer lets be kept for `max_age`.
    pub(super) fn fresh(&self, max_age: Option<Duration>) -> Duration {
        max_age.unwrap_or(self.refresh.0).clamp(self.min_refresh.0, self.max_refresh.0)
    }
}
