use std::time::Duration;

use portcullis_plugin::{Claims, Reason, UnixTime};
use serde_json::Value;

use crate::{Token, Wrong};

/// The last moment that a date in a token can name: the end of the year 9999.
pub const MAX_NUMERIC_DATE: i64 = 253_402_300_799;

/// The claims that a token has to have, beside its signature: the checks of RFC 7519 section 4.1 and RFC 8725 section 3
/// that a library for signatures leaves to its caller.
///
/// A claim that is configured must be present and right: a token without a claim never passes a check of that claim.
/// `exp` is always required.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// `iss`, character by character.
    pub issuer: Option<String>,
    /// Any of these in `aud`; empty: not checked.
    pub audiences: Vec<String>,
    /// The header's `typ`, such as `at+jwt` (RFC 9068 section 2.1): without case, and with or without `application/`.
    pub typ: Option<String>,
    /// The most that the issuer's clock may be ahead of ours or behind it.
    pub leeway: Duration,
    /// The longest time since `iat`, which is then required.
    pub max_age: Option<Duration>,
    /// The longest time between `iat`, which is then required, and `exp`.
    pub max_lifetime: Option<Duration>,
}

impl Expectations {
    /// The leeway unless said otherwise, in seconds. Servers that keep time at all are closer.
    pub const LEEWAY_SECONDS: u64 = 30;

    /// Judges header and claims.
    ///
    /// # Errors
    /// The first of these that is wrong: type, issuer, audience, times.
    pub fn check(&self, token: &Token<'_>, now: UnixTime) -> Result<Times, Wrong> {
        self.check_typ(token.header().typ.as_deref())?;
        self.check_claims(token.claims(), now)
    }

    /// Judges the claims alone, where there is no header: an answer of introspection or of a userinfo endpoint.
    ///
    /// # Errors
    /// As [`Expectations::check`].
    pub fn check_claims(&self, claims: &Claims, now: UnixTime) -> Result<Times, Wrong> {
        check_types(claims)?;
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        let times = self.times(claims)?;
        times.check(now)?;
        self.check_lifetime(&times)?;
        Ok(times)
    }

    /// Judges the header's `typ` alone.
    ///
    /// # Errors
    /// [`Reason::TokenTypeMismatch`].
    pub fn check_typ(&self, typ: Option<&str>) -> Result<(), Reason> {
        let Some(expected) = &self.typ else { return Ok(()) };
        let is_it = typ.is_some_and(|typ| short_type(typ).eq_ignore_ascii_case(short_type(expected)));
        if is_it { Ok(()) } else { Err(Reason::TokenTypeMismatch) }
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Reason> {
        let Some(expected) = &self.issuer else { return Ok(()) };
        let is_it = claims.get("iss").and_then(Value::as_str) == Some(expected);
        if is_it { Ok(()) } else { Err(Reason::IssuerUnknown) }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Reason> {
        let is_ours = |audience: &Value| self.audiences.iter().any(|ours| audience.as_str() == Some(ours));
        let is_meant = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(audiences)) => audiences.iter().any(is_ours),
            Some(audience) => is_ours(audience),
            None => false,
        };
        if is_meant { Ok(()) } else { Err(Reason::AudienceMismatch) }
    }

    fn times(&self, claims: &Claims) -> Result<Times, Wrong> {
        let expires = date(claims, "exp", f64::floor)?.ok_or(Wrong::malformed("no `exp`"))?;
        let issued = date(claims, "iat", f64::floor)?;
        Ok(Times {
            expires,
            not_before: date(claims, "nbf", f64::ceil)?,
            issued,
            leeway: seconds(self.leeway),
            max_age: self.max_age.map(seconds),
        })
    }

    fn check_lifetime(&self, times: &Times) -> Result<(), Reason> {
        let starts = [times.issued, times.not_before].into_iter().flatten();
        if starts.into_iter().any(|start| start >= times.expires) {
            // Never valid at any moment, and not for the leeway either: such a token must not be remembered as good.
            return Err(Reason::TokenExpired);
        }
        let Some(longest) = self.max_lifetime else { return Ok(()) };
        let lifetime = times.issued.map(|issued| times.expires - issued);
        if lifetime.is_some_and(|lifetime| lifetime <= seconds(longest)) { Ok(()) } else { Err(Reason::TokenTooOld) }
    }
}

impl Default for Expectations {
    /// Requires nothing but an end, with the usual leeway.
    fn default() -> Self {
        Self {
            issuer: None,
            audiences: Vec::new(),
            typ: None,
            leeway: Duration::from_secs(Self::LEEWAY_SECONDS),
            max_age: None,
            max_lifetime: None,
        }
    }
}

/// The time in which a token is valid. It is remembered with the token and checked on every request: a token that has
/// ended must not live on in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    expires: i64,
    not_before: Option<i64>,
    issued: Option<i64>,
    leeway: i64,
    max_age: Option<i64>,
}

impl Times {
    /// Checks that the token is valid now. Allocates nothing.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`], [`Reason::TokenNotYetValid`] or [`Reason::TokenTooOld`].
    pub fn check(&self, now: UnixTime) -> Result<(), Reason> {
        // Valid until before `exp`, and from `nbf` on (RFC 7519 sections 4.1.4 and 4.1.5).
        if now.0 >= self.expires + self.leeway {
            return Err(Reason::TokenExpired);
        }
        if [self.not_before, self.issued].into_iter().flatten().any(|start| now.0 + self.leeway < start) {
            return Err(Reason::TokenNotYetValid);
        }
        match (self.max_age, self.issued) {
            (None, _) => Ok(()),
            (Some(longest), Some(issued)) if now.0 - issued <= longest + self.leeway => Ok(()),
            (Some(_), _) => Err(Reason::TokenTooOld),
        }
    }

    /// The first moment at which the token is no longer valid, leeway included: what was opened with it ends then.
    pub fn ends(&self) -> UnixTime {
        let too_old = self.issued.zip(self.max_age).map(|(issued, longest)| issued + longest + self.leeway + 1);
        let expired = self.expires + self.leeway;
        UnixTime(too_old.map_or(expired, |too_old| too_old.min(expired)))
    }

    /// `exp` as it stands in the token.
    pub fn expires(&self) -> UnixTime {
        UnixTime(self.expires)
    }

    /// `iat` as it stands in the token.
    pub fn issued(&self) -> Option<UnixTime> {
        self.issued.map(UnixTime)
    }
}

/// Checks that registered claims have the types that RFC 7519 section 4.1 gives them, whether or not their values are
/// checked: an upstream may read them.
fn check_types(claims: &Claims) -> Result<(), Wrong> {
    let is_text = |claim: &str| claims.get(claim).is_none_or(Value::is_string);
    let is_audience = claims.get("aud").is_none_or(|audience| match audience {
        Value::Array(audiences) => audiences.iter().all(Value::is_string),
        one => one.is_string(),
    });
    if !is_audience {
        return Err(Wrong::malformed("`aud` is neither a text nor a list of texts"));
    }
    let are_texts = ["iss", "sub", "jti"].into_iter().all(is_text);
    if are_texts { Ok(()) } else { Err(Wrong::malformed("`iss`, `sub` or `jti` is no text")) }
}

/// A NumericDate (RFC 7519 section 2). Fractions are allowed there and are rounded, so that a token lives no longer than
/// it says. Text is none, and neither is a number that no clock will show.
fn date(claims: &Claims, claim: &str, round: impl Fn(f64) -> f64) -> Result<Option<i64>, Wrong> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and what is out of range is refused below")]
    let rounded = |number: f64| round(number) as i64;
    let seconds = value.as_i64().or_else(|| value.as_f64().map(rounded)).ok_or(NO_DATE)?;
    if (0..=MAX_NUMERIC_DATE).contains(&seconds) { Ok(Some(seconds)) } else { Err(NO_DATE) }
}

const NO_DATE: Wrong =
    Wrong::malformed("`exp`, `nbf` or `iat` is no number of seconds since 1970, or is after the year 9999");

/// Converts a span to seconds. Spans in configurations end at ten years, far below an overflow.
fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(MAX_NUMERIC_DATE).min(MAX_NUMERIC_DATE)
}

/// A media type without `application/`, which may be left out where no other `/` follows (RFC 7515 section 4.1.9).
fn short_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    let rest = typ.split_at_checked(PREFIX.len()).filter(|(start, _)| start.eq_ignore_ascii_case(PREFIX));
    rest.map(|(_, rest)| rest).filter(|rest| !rest.contains('/')).unwrap_or(typ)
}

#[cfg(test)]
mod tests;
