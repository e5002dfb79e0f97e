//! Who is calling: the alternatives of a route's `auth`, and what comes of them together.
//!
//! All alternatives are tried until one grants, also after one that denied or failed: a key and a token may share
//! `Bearer`. None granted: one that failed makes 503; else one that denied makes what it says, and of several the
//! greatest [`DenialStatus`] counts (403, 429, 413, 411, 401); else nothing was sent at all, and that is the route's
//! `anonymous` consumer or 401.
//!
//! In place of a 401 for nothing sent there is the answer that an authenticator proposed, of several the first. What a
//! part of an all-of proposes or attaches to an absence counts for nothing: whoever has one part must not learn from it
//! about the other.
//!
//! Attempts that failed count when the request is refused: see [`pending`].

use std::{net::IpAddr, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode};
use portcullis_plugin::{
    Absence, Attempt, Authentication, Challenge, Denial, DenialStatus, FailedAttempt, HeaderEdits, Identity, Reason,
    RequestCx, Respond, UnixTime,
};

use super::{
    audit::{Attempted, Trail},
    challenges,
    hook::{Call, Client, Undecided},
    refusal::{Answer, Problem},
};
use crate::{
    snapshot::route::{Alternative, Auth, Authenticator},
    telemetry::metrics::AuthOutcome,
};

mod pending;

use pending::Pending;

/// The result of authentication.
pub(crate) enum Decision {
    /// The caller is known.
    Granted(Granted),
    /// The caller is not known, and gets this answer.
    Refused(Answer, Reason),
    /// The client left before the caller was known.
    Ended(Undecided),
}

/// A caller that is known.
#[derive(Default)]
pub(crate) struct Granted {
    /// The identity.
    pub identity: Arc<Identity>,
    /// The number of the alternative that granted; `None` for the anonymous consumer.
    pub by: Option<usize>,
    /// Attempts at other policies that failed with the credential that was granted. They count if its body proves it
    /// wrong after all.
    pub excusable: Vec<FailedAttempt>,
}

/// The result of one authenticator, or of all in an alternative.
enum Found {
    Granted(Arc<Identity>),
    /// No credential was sent; with the answer that was proposed for that.
    Absent(Option<Respond>),
    Denied(Denial),
    /// The policy of this name could not decide.
    Failed(Arc<str>, Undecided),
}

/// Tries the alternatives in order.
pub(crate) async fn authenticate(
    auth: &Auth,
    cx: &mut RequestCx<'_>,
    client: &Client<'_>,
    realm: &str,
    trail: &mut Trail<'_>,
) -> Decision {
    let mut failure: Option<(Arc<str>, Undecided)> = None;
    let mut denied: Option<Denial> = None;
    let mut proposal: Option<Box<(Arc<str>, Respond)>> = None;
    // Of all policies, in the order of the file.
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut pending = Pending::default();
    let checks = trail.deferred_checks();
    // What guards asked for stays, whoever grants.
    let checks_before = checks.count();
    trail.state().edits.grant_behind(trail.state().edits.count());
    for (number, alternative) in auth.alternatives.iter().enumerate() {
        if number > 0 {
            // Whoever did not grant has nothing to say about the body either.
            checks.truncate(checks_before);
        }
        let parts = &alternative.parts;
        let edits_before = trail.state().edits.count();
        let found = match &**parts {
            [only] => one(only, cx, client, trail, &mut pending).await,
            _ => all(alternative, cx, client, trail, &mut pending).await,
        };
        // Of an all-of nothing is told: whoever has one part must not learn from it whether that is right.
        let said = match &found {
            Found::Denied(denial) if parts.len() == 1 => Attempt::Denied(denial.reason),
            _ => Attempt::Absent,
        };
        if parts.len() > 1 && !matches!(found, Found::Granted(_)) {
            trail.state().edits.truncate(edits_before);
        }
        match found {
            Found::Granted(identity) => {
                let (now, address) = (cx.now(), cx.address());
                identity.credentials.iter().for_each(|credential| credential.usage.record(now, address));
                parts.iter().for_each(|part| part.metrics.decided(AuthOutcome::Granted, None));
                trail.granted(parts, &identity);
                trail.state().edits.grant_behind(edits_before);
                let excusable = pending.excusable_by(parts);
                return Decision::Granted(Granted { identity, by: Some(number), excusable });
            }
            Found::Denied(denial) if denied.as_ref().is_none_or(|first| first.status < denial.status) => {
                denied = Some(denial);
            }
            Found::Absent(Some(answer)) if parts.len() == 1 && proposal.is_none() => {
                proposal = Some(Box::new((parts[0].policy.clone(), answer)));
            }
            Found::Absent(_) | Found::Denied(_) => {}
            Found::Failed(policy, why) if why.is_about_the_client() => {
                trail.refused();
                trail.failed(format!("{policy}: {why}"));
                return Decision::Ended(why);
            }
            Found::Failed(policy, why) => _ = failure.get_or_insert((policy, why)),
        }
        attempts.extend(std::iter::repeat_n(said, parts.len()));
    }
    if failure.is_none() && denied.is_none() {
        if let Some(anonymous) = &auth.anonymous {
            trail.anonymous(anonymous);
            checks.truncate(checks_before);
            return Decision::Granted(Granted { identity: anonymous.clone(), ..Granted::default() });
        }
        if let Some((policy, answer)) = proposal.map(|proposal| *proposal) {
            trail.attempted(Attempted::denied(Some(&policy), answer.reason()));
            trail.refused();
            return proposed(auth, answer, &attempts, cx, realm, trail);
        }
        trail.attempted(Attempted::denied(None, Reason::CredentialAbsent));
    }
    trail.refused();
    if let Some((policy, why)) = failure {
        trail.failed(format!("{policy}: {why}"));
        return Decision::Refused(why.problem().into(), why.reason());
    }
    let Denial { reason, status, .. } = denied.unwrap_or(Denial::unauthorized(Reason::CredentialAbsent));
    let answer = Answer::from(status);
    let challenges = match status {
        DenialStatus::Unauthorized => challenges(auth, &attempts, cx, realm, trail),
        _ => Vec::new(),
    };
    Decision::Refused(Answer { challenges, ..answer }, reason)
}

/// Returns the answer that an authenticator proposed. One that is a 401 says as well which credentials are taken.
fn proposed(
    auth: &Auth,
    answer: Respond,
    attempts: &[Attempt],
    cx: &mut RequestCx<'_>,
    realm: &str,
    trail: &Trail<'_>,
) -> Decision {
    let mut wanted = answer.challenges().to_vec();
    if answer.status() == StatusCode::UNAUTHORIZED {
        wanted.extend(asked(auth, attempts, cx, trail));
    }
    let challenges = challenges::lines(wanted, realm, &trail.state().edits);
    let reason = answer.reason();
    Decision::Refused(Answer { challenges, declared: Some(answer), ..Problem::Unauthenticated.into() }, reason)
}

/// Returns the answer to a request whose body proves wrong what its head proved, by the alternative that granted.
pub(crate) fn disproved(
    auth: &Auth,
    by: Option<usize>,
    reason: Reason,
    cx: &mut RequestCx<'_>,
    realm: &str,
    trail: &mut Trail<'_>,
) -> Answer {
    let granted = by.map(|by| &auth.alternatives[by].parts);
    for authenticator in granted.into_iter().flatten() {
        authenticator.metrics.decided(AuthOutcome::Denied, Some(reason));
        trail.attempted(Attempted::denied(Some(&authenticator.policy), reason));
    }
    let attempts = auth.alternatives.iter().enumerate().flat_map(|(number, Alternative { parts, .. })| {
        let is_told = by == Some(number) && parts.len() == 1;
        parts.iter().map(move |_| if is_told { Attempt::Denied(reason) } else { Attempt::Absent })
    });
    let attempts: Vec<_> = attempts.collect();
    trail.refused();
    trail.state().edits.disprove();
    Answer { challenges: challenges(auth, &attempts, cx, realm, trail), ..Problem::Unauthenticated.into() }
}

/// Returns the `WWW-Authenticate` lines of all authenticators.
fn challenges(
    auth: &Auth,
    attempts: &[Attempt],
    cx: &mut RequestCx<'_>,
    realm: &str,
    trail: &Trail<'_>,
) -> Vec<HeaderValue> {
    challenges::lines(asked(auth, attempts, cx, trail), realm, &trail.state().edits)
}

/// Returns the challenges of all authenticators.
fn asked(auth: &Auth, attempts: &[Attempt], cx: &mut RequestCx<'_>, trail: &Trail<'_>) -> Vec<Challenge> {
    let asked = auth.authenticators().zip(attempts).flat_map(|(authenticator, attempt)| {
        let call = Call { state: trail.state(), policy: &authenticator.policy, hook: "challenge" };
        cx.enter(authenticator.number);
        // One that panics challenges nobody; the answer is the same without it.
        call.run(|| Ok(authenticator.hook.challenges(cx, *attempt))).unwrap_or_default()
    });
    asked.collect()
}

/// Asks one authenticator, and checks the limits that credentials of every kind have.
async fn one<'a>(
    authenticator: &'a Authenticator,
    cx: &mut RequestCx<'_>,
    client: &Client<'_>,
    trail: &mut Trail<'_>,
    pending: &mut Pending<'a>,
) -> Found {
    let call = Call { state: trail.state(), policy: &authenticator.policy, hook: "authenticate" };
    cx.enter(authenticator.number);
    let answer = {
        let cx = &mut *cx;
        call.wait(client, authenticator.timeout, move || authenticator.hook.authenticate(cx)).await
    };
    let policy = Some(&authenticator.policy);
    let count = |outcome, reason| authenticator.metrics.decided(outcome, reason);
    let denied = |mut denial: Denial, identity: Option<Arc<Identity>>, trail: &mut Trail<'_>| {
        count(AuthOutcome::Denied, Some(denial.reason));
        let (claimed, detail) = (denial.claimed.take(), denial.detail);
        trail.attempted(Attempted { identity, claimed, detail, ..Attempted::denied(policy, denial.reason) });
        Found::Denied(denial)
    };
    let granted = |identity: Arc<Identity>, edits, cx: &RequestCx<'_>, trail: &mut Trail<'_>| {
        // It is counted once the other parts of its alternative have granted too.
        match objection(&identity, cx.now(), cx.route(), cx.address()) {
            None => {
                trail.state().edits.add(edits);
                Found::Granted(identity)
            }
            Some(denial) => denied(denial, Some(identity), trail),
        }
    };
    match answer {
        Ok(Authentication::Granted(identity)) => granted(identity, HeaderEdits::new(), cx, trail),
        Ok(Authentication::GrantedWith(identity, edits)) => granted(identity, edits, cx, trail),
        Ok(Authentication::Absent) => {
            count(AuthOutcome::Absent, None);
            Found::Absent(None)
        }
        Ok(Authentication::AbsentWith(Absence { proposal, headers })) => {
            count(AuthOutcome::Absent, None);
            trail.state().edits.add(headers);
            Found::Absent(proposal)
        }
        Ok(Authentication::Denied(mut denial)) => {
            pending.add(authenticator, std::mem::take(&mut denial.attempts));
            denied(denial, None, trail)
        }
        Err(why) => {
            count(AuthOutcome::Failed, Some(why.reason()));
            trail.attempted(Attempted::failed(policy, why.reason()));
            Found::Failed(authenticator.policy.clone(), why)
        }
    }
}

/// Returns the objection to this identity on this route and now, by the limits of its credentials.
pub(super) fn objection(identity: &Identity, now: UnixTime, route: &str, address: IpAddr) -> Option<Denial> {
    if identity.expires.is_some_and(|until| now >= until) {
        return Some(Denial::unauthorized(Reason::KeyExpired));
    }
    identity.credentials.iter().find_map(|credential| credential.objection(now, route, address))
}

/// Asks all authenticators of an alternative: each has to grant, and they have to agree on the caller.
async fn all<'a>(
    alternative: &'a Alternative,
    cx: &mut RequestCx<'_>,
    client: &Client<'_>,
    trail: &mut Trail<'_>,
    pending: &mut Pending<'a>,
) -> Found {
    let together = &alternative.parts;
    let mut parts: Vec<Arc<Identity>> = Vec::with_capacity(together.len());
    let mut absent: Vec<&Arc<str>> = Vec::new();
    let mut denied: Option<Denial> = None;
    let mut failed = None;
    for authenticator in together.iter() {
        match one(authenticator, cx, client, trail, pending).await {
            Found::Granted(identity) => parts.push(identity),
            Found::Absent(_) => absent.push(&authenticator.policy),
            // The least of them counts here. One that is no credential at all outweighs one that is known and not for
            // here: a caller who has half of what is asked for learns nothing about that half.
            Found::Denied(denial) if denied.as_ref().is_none_or(|first| denial.status < first.status) => {
                denied = Some(denial);
            }
            Found::Denied(_) => {}
            Found::Failed(policy, why) if why.is_about_the_client() => return Found::Failed(policy, why),
            Found::Failed(policy, why) => _ = failed.get_or_insert((policy, why)),
        }
    }
    if let Some((policy, why)) = failed {
        return Found::Failed(policy, why);
    }
    if absent.len() == together.len() {
        return Found::Absent(None);
    }
    absent.iter().for_each(|policy| trail.attempted(Attempted::denied(Some(policy), Reason::CredentialAbsent)));
    // One was sent and the other was not: something was tried, so it is not the anonymous consumer's request. What is
    // absent counts as least, like what is no credential at all.
    let is_weighed = |denial: &Denial| absent.is_empty() || denial.status == DenialStatus::Unauthorized;
    if let Some(denial) = denied.filter(is_weighed) {
        return Found::Denied(denial);
    }
    if !absent.is_empty() {
        return Found::Denied(Denial::unauthorized(Reason::CredentialAbsent));
    }
    match merge(&parts, alternative) {
        Some(identity) => Found::Granted(Arc::new(identity)),
        None => {
            for authenticator in together.iter() {
                authenticator.metrics.decided(AuthOutcome::Denied, Some(Reason::IdentityConflict));
                trail.attempted(Attempted::denied(Some(&authenticator.policy), Reason::IdentityConflict));
            }
            Found::Denied(Denial::forbidden(Reason::IdentityConflict))
        }
    }
}

/// Merges identities that were proven together into one; returns `None` if they do not agree.
///
/// One of them speaks: it gives subject, e-mail, issuer, claims, roles and scopes, none of which is ever added up. The
/// client comes from the first that names one and no subject (a certificate, a key).
pub(super) fn merge(parts: &[Arc<Identity>], alternative: &Alternative) -> Option<Identity> {
    let consumer = agreed(parts.iter().filter_map(|part| part.consumer.as_ref()), |a, b| a.name == b.name)?;
    // What names no user, such as a certificate and a key, names the same client: with a certificate that is nobody's a
    // stolen key would open as much as with its owner's.
    let clients = || parts.iter().filter(|part| part.subject.is_none());
    if clients().any(|part| part.consumer.is_none()) && clients().any(|part| part.consumer.is_some()) {
        return None;
    }
    let tenant = agreed(parts.iter().filter_map(|part| part.tenant.as_ref()), |a, b| a == b)?;
    let speaking = alternative.speaker.or_else(|| only_speaker(parts))?;
    let speaker = parts.get(speaking)?;
    let machine = parts.iter().find(|part| part.subject.is_none() && part.client.is_some()).unwrap_or(speaker);
    Some(Identity {
        method: parts.iter().map(|part| part.method.as_str()).collect::<Vec<_>>().join("+"),
        consumer: consumer.cloned(),
        subject: speaker.subject.clone(),
        client: machine.client.clone(),
        tenant: tenant.cloned(),
        email: speaker.email.clone(),
        issuer: speaker.issuer.clone(),
        roles: speaker.roles.clone(),
        scopes: speaker.scopes.clone(),
        claims: speaker.claims.clone(),
        certificate: parts.iter().find_map(|part| part.certificate.clone()),
        headers: headers(parts, speaking, &alternative.parts.get(speaking)?.fills),
        credentials: parts.iter().flat_map(|part| part.credentials.iter().cloned()).collect(),
        expires: parts.iter().filter_map(|part| part.expires).min(),
        parts: parts.to_vec(),
        ..Identity::default()
    })
}

/// Returns the part that speaks if the file does not name one: the first that names a subject, or else the first.
/// `None`: they name different subjects, and nothing tells which of them the request is made for.
fn only_speaker(parts: &[Arc<Identity>]) -> Option<usize> {
    let mut naming = parts.iter().enumerate().filter(|(_, part)| part.subject.is_some());
    let Some((number, first)) = naming.next() else { return Some(0) };
    naming.all(|(_, other)| is_same_subject(first, other)).then_some(number)
}

/// Returns whether both name the same subject. A name is unique within its issuer only (RFC 7519 section 4.1.2): the
/// same name from another issuer is somebody else, unless the file says that both belong to one consumer.
fn is_same_subject(one: &Identity, other: &Identity) -> bool {
    let is_one_issuer = one.issuer.is_some() && one.issuer == other.issuer;
    let is_one_consumer = match (&one.consumer, &other.consumer) {
        (Some(one), Some(other)) => one.name == other.name,
        _ => false,
    };
    one.subject == other.subject && (is_one_issuer || is_one_consumer)
}

/// Returns the headers that the parts fill. Those that the speaker's policy fills are the speaker's alone: where it
/// fills none of them, such as a plan that its token does not name, there is none. Of others the first part's counts.
fn headers(parts: &[Arc<Identity>], speaking: usize, fills: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<_> = parts[speaking].headers.clone();
    for (_, part) in parts.iter().enumerate().filter(|(number, _)| *number != speaking) {
        let known = headers.len();
        let is_new =
            |name: &HeaderName| !fills.contains(name) && headers[..known].iter().all(|(other, _)| other != name);
        let new: Vec<_> = part.headers.iter().filter(|(name, _)| is_new(name)).cloned().collect();
        headers.extend(new);
    }
    headers
}

/// Returns the value that all agree on, if any has one; the outer `None`: they differ.
#[expect(clippy::option_option, reason = "the outer one is disagreement, the inner one nothing to agree on")]
fn agreed<'a, T>(mut values: impl Iterator<Item = &'a T>, same: impl Fn(&T, &T) -> bool) -> Option<Option<&'a T>> {
    let Some(first) = values.next() else { return Some(None) };
    values.all(|other| same(first, other)).then_some(Some(first))
}

#[cfg(test)]
mod tests;
