//! Checks one table by itself: that of the policy, or that of an issuer.

use std::time::Duration;

use crate::{
    config::{By, Issuer as IssuerSettings},
    headers,
    problems::Problems,
};

/// The most that clocks may be apart. Clocks that are further apart need mending and not a setting: the leeway is also
/// how much longer than it says a token lives.
pub(crate) const LEEWAY_MAX: Duration = Duration::from_secs(5 * 60);

/// Reports the problems of a table. `prefix` leads to its fields.
pub(crate) fn check(prefix: &str, settings: &IssuerSettings, problems: &mut Problems) {
    let mut wrong = |field: &str, why: &str| problems.push((format!("{prefix}{field}"), why.to_owned()));
    let texts = [
        ("issuer", &settings.issuer),
        ("tenant", &settings.tenant),
        ("typ", &settings.typ),
        ("jwks_url", &settings.jwks_url),
    ];
    for (field, _) in texts.into_iter().filter(|(_, text)| text.as_ref().is_some_and(String::is_empty)) {
        wrong(field, "is empty: leave it out, or fill it");
    }
    if settings.audience.as_ref().is_some_and(|audience| audience.is_empty() || audience.iter().any(String::is_empty)) {
        wrong("audience", "is empty, or has an empty name in it: no token would fit");
    }
    if settings.audience.is_some() && settings.any_audience == Some(true) {
        wrong("any_audience", "stands beside `audience`: one of them is enough");
    }
    if let Some(algorithms) = &settings.algorithms {
        if algorithms.is_empty() {
            wrong("algorithms", "is empty: no token would be taken");
        }
        if algorithms.iter().enumerate().any(|(at, algorithm)| algorithms[..at].contains(algorithm)) {
            wrong("algorithms", "names one twice");
        }
    }
    if settings.claims.as_ref().is_some_and(Vec::is_empty) {
        wrong("claims", "is empty: leave it out, or write a rule");
    }
    check_spans(settings, &mut wrong);
    check_consumer(settings, &mut wrong);
    if let Some(table) = &settings.headers {
        headers::check(&format!("{prefix}headers"), table, problems);
    }
}

fn check_spans(settings: &IssuerSettings, wrong: &mut impl FnMut(&str, &str)) {
    if settings.leeway.is_some_and(|leeway| leeway.0 > LEEWAY_MAX) {
        wrong(
            "leeway",
            "is longer than five minutes: a token would live on for as long as it says, and so much longer",
        );
    }
    for (field, span) in [("max_age", settings.max_age), ("max_lifetime", settings.max_lifetime)] {
        if span.is_some_and(|span| span.0.as_secs() == 0) {
            wrong(field, "is shorter than a second: no token would be taken");
        }
    }
}

fn check_consumer(settings: &IssuerSettings, wrong: &mut impl FnMut(&str, &str)) {
    match &settings.consumer {
        Some(consumer) if consumer.by == By::Claim && consumer.claim.is_none() => {
            wrong("consumer.claim", "is missing: which claim names the consumer?");
        }
        Some(consumer) if consumer.by != By::Claim && consumer.claim.is_some() => {
            wrong("consumer.claim", "goes with `by = \"claim\"` and nothing else");
        }
        _ => {}
    }
}
