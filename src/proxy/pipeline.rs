//! A route's phases before the request is let through, each in the order of the file: guards, authentication,
//! restrictions, checks of the whole body, preparation. On a policy's own path the policy answers then.

use std::sync::Arc;

use http::header;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use portcullis_plugin::{
    Attempt, BodyError, Challenge, FailedAttempt, Identity, Reason, RequestCx, Respond, Serve, Verdict,
};

use super::{
    audit::{Trail, refused_late},
    authenticate::{Decision, Granted, authenticate, disproved},
    challenges,
    deferred_checks::DeferredCheck,
    exchange::SessionExchange,
    held_body::{Failure, Held},
    hook::{Call, Client, Undecided},
    refusal::{Answer, Problem},
    state::RequestState,
};
use crate::snapshot::{Gate, Route, Step, route::Ending};

/// Runs them; `None`: the request is let through.
///
/// # Errors
/// The client has left.
pub(super) async fn run(
    gate: &Gate,
    session: &mut Session,
    state: &mut RequestState,
    held: &mut Held,
) -> Result<Option<Answer>> {
    let (route, settings) = (&*gate.route, &*gate.settings);
    if let Some(refused) = declared_too_large(route, session) {
        state.reason = Some(Reason::BodyTooLarge);
        refused_late(state, None, Reason::BodyTooLarge, None);
        return Ok(Some(refused));
    }
    if gate.is_open() {
        return Ok(None);
    }
    let mut outcome = Outcome::default();
    {
        let mut trail = Trail::of(state, &settings.audit, &route.record.name);
        let client = Client::of(session);
        let mut exchange = SessionExchange::new(&client, state, route, settings, held);
        let mut cx = RequestCx::new(&mut exchange);
        guards(gate, &mut cx, &client, &mut trail, &mut outcome).await;
        if outcome.answer.is_none()
            && let Some(auth) = &gate.auth
        {
            match authenticate(auth, &mut cx, &client, &gate.realm, &mut trail).await {
                Decision::Granted(Granted { identity, by, excusable }) => {
                    (outcome.identity, outcome.by, outcome.excusable) = (Some(identity), by, excusable);
                }
                Decision::Refused(answer, reason) => outcome.refuse(answer, reason),
                Decision::Ended(why) => outcome.undecided(&why),
            }
        }
        if outcome.answer.is_none() && !trail.must_refuse() {
            exchange.knows(outcome.identity.as_ref());
            admits(gate, &mut RequestCx::new(&mut exchange), &client, &mut trail, &mut outcome).await;
        }
        outcome.end(trail);
    }
    (state.identity, state.granted_by) = (outcome.identity.take(), outcome.by);
    // Boxed: what happens to few requests must not make the future of all of them larger.
    if outcome.answer.is_none() && state.deferred_checks.count() > 0 {
        Box::pin(settle(gate, session, state, held, &mut outcome)).await;
    }
    if outcome.answer.is_none() && !gate.prepare.is_empty() && held.failure().is_none() {
        Box::pin(prepare(gate, session, state, held, &mut outcome)).await;
    }
    if outcome.answer.is_none()
        && held.failure().is_none()
        && let Ending::Own(step) = &route.ending
    {
        Box::pin(serve(step, gate, session, state, held, &mut outcome)).await;
    }
    outcome.excusable.drain(..).for_each(FailedAttempt::excuse);
    outcome.lose(held.failure());
    state.reason = outcome.reason;
    if let Some(why) = outcome.failure {
        state.failed(why);
    }
    if outcome.is_abandoned {
        return Err(Error::new_down(ErrorType::ConnectionClosed));
    }
    Ok(outcome.answer)
}

/// The result of the phases so far.
#[derive(Default)]
struct Outcome {
    answer: Option<Answer>,
    reason: Option<Reason>,
    failure: Option<String>,
    identity: Option<Arc<Identity>>,
    /// The alternative that found it out.
    by: Option<usize>,
    /// Failed attempts that do not count unless the body proves the identity wrong.
    excusable: Vec<FailedAttempt>,
    /// The client has left: there is nobody to answer.
    is_abandoned: bool,
}

impl Outcome {
    fn refuse(&mut self, answer: Answer, reason: Reason) {
        self.answer = Some(answer);
        self.reason = Some(reason);
    }

    /// Refuses a request whose body is lost, whatever a hook made of it; a client that was too slow is told so. The
    /// reason of an answer that is replaced goes with it.
    fn lose(&mut self, failure: Option<Failure>) {
        let (problem, why) = match failure {
            Some(Failure::Stalled) => (Problem::RequestTimeout, "client: the body did not come in time"),
            Some(Failure::Broken) => (Problem::BadRequest, "client: the body broke off"),
            None => return,
        };
        self.failure.get_or_insert_with(|| why.to_owned());
        if failure == Some(Failure::Stalled) || self.answer.is_none() {
            (self.answer, self.reason) = (Some(problem.into()), None);
        }
    }

    /// Refuses a request about which nothing was decided.
    fn undecided(&mut self, why: &Undecided) {
        self.is_abandoned = *why == Undecided::ClientGone;
        self.refuse(why.problem().into(), why.reason());
    }

    /// Takes what a hook said; `false`: the request ends here.
    fn take(
        &mut self,
        verdict: Result<Verdict, Undecided>,
        policy: &str,
        gate: &Gate,
        cx: &mut RequestCx<'_>,
        trail: &mut Trail<'_>,
    ) -> bool {
        match verdict {
            Ok(Verdict::Allow) => return true,
            Ok(Verdict::AllowWith(edits)) => {
                trail.state().edits.add(edits);
                return true;
            }
            Ok(Verdict::Respond(answer)) => self.answer(answer, policy, gate, cx, trail),
            Ok(Verdict::Refuse(refusal)) => {
                let identity = cx.identity().map(Arc::as_ref);
                trail.forbidden(Some(policy), refusal.reason, refusal.detail.as_deref(), identity);
                trail.state().edits.add(refusal.headers);
                let wanted = refusal.challenge.filter(|wanted| self.is_its_way(gate, wanted, cx, trail));
                let wanted = wanted.map(Arc::unwrap_or_clone);
                let challenges = challenges::lines(wanted, &gate.realm, &trail.state().edits);
                let retry_after = refusal.retry_after;
                let answer = Answer { retry_after, challenges, ..Problem::from(refusal.status).into() };
                self.refuse(answer, refusal.reason);
            }
            Err(why) => {
                trail.forbidden(Some(policy), why.reason(), None, cx.identity().map(Arc::as_ref));
                self.failure = Some(format!("{policy}: {why}"));
                self.undecided(&why);
            }
        }
        false
    }

    /// Takes the answer that a plugin makes by itself. The audit log has it where it is an error, or is about somebody
    /// who is known; what a guard answers to everybody, such as a preflight, is in the access log alone.
    fn answer(&mut self, answer: Respond, policy: &str, gate: &Gate, cx: &RequestCx<'_>, trail: &mut Trail<'_>) {
        let (reason, identity) = (answer.reason(), cx.identity().map(Arc::as_ref));
        if identity.is_some() || answer.status().as_u16() >= 400 {
            trail.forbidden(Some(policy), reason, None, identity);
        }
        let challenges = challenges::lines(answer.challenges().iter().cloned(), &gate.realm, &trail.state().edits);
        self.refuse(Answer { challenges, declared: Some(answer), ..Problem::Forbidden.into() }, reason);
    }

    /// Returns whether the identity was proven in the way that a challenge asks for: who sent a key is not told about
    /// tokens.
    fn is_its_way(&self, gate: &Gate, wanted: &Challenge, cx: &mut RequestCx<'_>, trail: &Trail<'_>) -> bool {
        let granted = gate.auth.as_ref().zip(self.by).map(|(auth, by)| &auth.alternatives[by].parts);
        granted.into_iter().flatten().any(|authenticator| {
            let call = Call { state: trail.state(), policy: &authenticator.policy, hook: "challenge" };
            cx.enter(authenticator.number);
            let own = call.run(|| Ok(authenticator.hook.challenges(cx, Attempt::Absent))).unwrap_or_default();
            own.iter().any(|own| own.is_scheme(&wanted.scheme))
        })
    }

    /// A request whose trail could not be written is refused, where the configuration says so.
    fn end(&mut self, trail: Trail<'_>) {
        let (failure, must_refuse) = trail.finish();
        if self.failure.is_none() {
            self.failure = failure;
        }
        if must_refuse && self.answer.is_none() {
            self.refuse(Problem::Unavailable.into(), Reason::AuditFull);
        }
    }
}

async fn guards(
    gate: &Gate,
    cx: &mut RequestCx<'_>,
    client: &Client<'_>,
    trail: &mut Trail<'_>,
    outcome: &mut Outcome,
) {
    for step in &gate.guard {
        let call = Call { state: trail.state(), policy: &step.policy, hook: "guard" };
        cx.enter(step.number);
        let verdict = {
            let cx = &mut *cx;
            call.wait(client, step.timeout, move || step.hook.guard(cx)).await
        };
        if !outcome.take(verdict, &step.policy, gate, cx, trail) {
            return;
        }
    }
}

/// Decides whether the caller may make the request.
async fn admits(
    gate: &Gate,
    cx: &mut RequestCx<'_>,
    client: &Client<'_>,
    trail: &mut Trail<'_>,
    outcome: &mut Outcome,
) {
    let Some(identity) = outcome.identity.clone() else {
        // A route with restrictions and without authentication is refused when it is compiled: this is for the day when
        // that is forgotten.
        if !gate.admit.is_empty() {
            outcome.refuse(Problem::Internal.into(), Reason::PluginFailed);
        }
        return;
    };
    for step in &gate.admit {
        let call = Call { state: trail.state(), policy: &step.policy, hook: "admit" };
        cx.enter(step.number);
        let verdict = {
            let (cx, identity) = (&mut *cx, &identity);
            call.wait(client, step.timeout, move || step.hook.admit(cx, identity)).await
        };
        if !outcome.take(verdict, &step.policy, gate, cx, trail) {
            return;
        }
    }
    if !gate.settings.callers.identity.fits(&identity) {
        trail.forbidden(None, Reason::IdentityTooLarge, None, Some(&identity));
        outcome.refuse(Problem::Forbidden.into(), Reason::IdentityTooLarge);
    }
}

/// Has a request that was let through prepared for its upstream.
async fn prepare(gate: &Gate, session: &mut Session, state: &mut RequestState, held: &mut Held, outcome: &mut Outcome) {
    {
        let mut trail = Trail::of(state, &gate.settings.audit, &gate.route.record.name);
        let client = Client::of(session);
        let mut exchange = SessionExchange::new(&client, state, &gate.route, &gate.settings, held);
        let mut cx = RequestCx::new(&mut exchange);
        for step in &gate.prepare {
            let call = Call { state: trail.state(), policy: &step.policy, hook: "prepare" };
            cx.enter(step.number);
            let verdict = {
                let cx = &mut cx;
                call.wait(&client, step.timeout, move || step.hook.prepare(cx)).await
            };
            if !outcome.take(verdict, &step.policy, gate, &mut cx, &mut trail) {
                break;
            }
        }
        outcome.end(trail);
    }
    // One that has the body judged has it judged.
    if outcome.answer.is_none() && state.deferred_checks.count() > 0 {
        settle(gate, session, state, held, outcome).await;
    }
}

/// Has a policy answer on its own path.
async fn serve(
    step: &Step<dyn Serve>,
    gate: &Gate,
    session: &mut Session,
    state: &mut RequestState,
    held: &mut Held,
    outcome: &mut Outcome,
) {
    {
        let mut trail = Trail::of(state, &gate.settings.audit, &gate.route.record.name);
        let client = Client::of(session);
        let mut exchange = SessionExchange::new(&client, state, &gate.route, &gate.settings, held);
        let mut cx = RequestCx::new(&mut exchange);
        let call = Call { state: trail.state(), policy: &step.policy, hook: "serve" };
        cx.enter(step.number);
        let answer = {
            let cx = &mut cx;
            call.wait(&client, step.timeout, move || step.hook.serve(cx)).await
        };
        outcome.take(answer.map(Verdict::Respond), &step.policy, gate, &mut cx, &mut trail);
        outcome.end(trail);
    }
    if state.deferred_checks.count() > 0 {
        settle(gate, session, state, held, outcome).await;
    }
}

/// Has the body judged by those who asked for it, all else being decided. A body that proves the identity wrong takes it
/// away.
async fn settle(gate: &Gate, session: &mut Session, state: &mut RequestState, held: &mut Held, outcome: &mut Outcome) {
    let checks = state.deferred_checks.take();
    if judged(checks, gate, session, state, held, outcome).await == Settled::Disproved {
        state.identity = None;
        outcome.excusable.clear();
    }
}

/// Reads the body and has it judged. Pingora's own way would be to hold it back
/// while it passes, which shows the upstream the head of a request that may be forged; here it is read as
/// [`RequestCx::body`] reads it, and the upstream sees nothing of a request whose body is wrong.
async fn judged(
    checks: Vec<DeferredCheck>,
    gate: &Gate,
    session: &mut Session,
    state: &RequestState,
    held: &mut Held,
    outcome: &mut Outcome,
) -> Settled {
    let Some((limit, strictest)) = checks.first().map(|first| (first.limit, first.policy)) else {
        return Settled::Otherwise;
    };
    let body = held.read(session, state, limit).await;
    let mut trail = Trail::of(state, &gate.settings.audit, &gate.route.record.name);
    let (policy, answer, reason) = match body.map(|body| judge(checks, &body, gate, state)) {
        Ok(Ok(())) => return Settled::Otherwise,
        Ok(Err((policy, Objection::Undecided(why)))) => {
            outcome.failure.get_or_insert_with(|| format!("{policy}: {why}"));
            (policy, why.problem(), why.reason())
        }
        Ok(Err((policy, Objection::Wrong(reason)))) => {
            let client = Client::of(session);
            let mut exchange = SessionExchange::new(&client, state, &gate.route, &gate.settings, held);
            let mut cx = RequestCx::new(&mut exchange);
            // Nobody's credential was disproved, and so no authenticator is told of.
            if outcome.by.is_none() {
                trail.forbidden(Some(policy), reason, None, state.identity.as_deref());
            }
            let auth = gate.auth.as_ref();
            let answer = auth.map(|auth| disproved(auth, outcome.by, reason, &mut cx, &gate.realm, &mut trail));
            outcome.refuse(answer.unwrap_or(Problem::Unauthenticated.into()), reason);
            outcome.end(trail);
            return Settled::Disproved;
        }
        Err(BodyError::TooLarge) => (gate.policy(strictest), Problem::BodyTooLarge, Reason::BodyTooLarge),
        Err(BodyError::NoRoom) => {
            outcome.failure.get_or_insert_with(|| "max_held_body_bytes: no room for another body".to_owned());
            (gate.policy(strictest), Problem::Unavailable, Reason::PluginFailed)
        }
        // The request is refused for having lost its body.
        Err(BodyError::Broken(_)) => return Settled::Otherwise,
    };
    trail.forbidden(Some(policy), reason, None, state.identity.as_deref());
    outcome.refuse(answer.into(), reason);
    outcome.end(trail);
    Settled::Otherwise
}

/// The objection of a check to a body.
enum Objection {
    /// The body is wrong.
    Wrong(Reason),
    /// The check panicked.
    Undecided(Undecided),
}

/// Runs the checks one after the other.
///
/// # Errors
/// Returns the first objection, and the policy that raised it.
fn judge<'g>(
    checks: Vec<DeferredCheck>,
    body: &[u8],
    gate: &'g Gate,
    state: &RequestState,
) -> Result<(), (&'g str, Objection)> {
    checks.into_iter().try_for_each(|DeferredCheck { policy, check, .. }| {
        let policy = gate.policy(policy);
        match (Call { state, policy, hook: "hold_body" }).run(|| Ok(check(body))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => Err((policy, Objection::Wrong(reason))),
            Err(why) => Err((policy, Objection::Undecided(why))),
        }
    })
}

/// The result of the checks of a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The body proves the identity wrong.
    Disproved,
    /// Anything else.
    Otherwise,
}

/// A body whose length is said beforehand is not waited for.
fn declared_too_large(route: &Route, session: &Session) -> Option<Answer> {
    let limit = route.max_body_bytes?;
    let length = session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    (length > limit).then(|| Problem::BodyTooLarge.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_body_is_told_with_the_reason_of_no_other_answer() {
        let lost = |failure, refused: bool| {
            let mut outcome = Outcome::default();
            if refused {
                outcome.refuse(Problem::Unauthenticated.into(), Reason::SignatureInvalid);
            }
            outcome.lose(failure);
            (outcome.answer.map(|answer| answer.problem), outcome.reason)
        };
        let refused = (Some(Problem::Unauthenticated), Some(Reason::SignatureInvalid));
        assert_eq!(lost(None, true), refused);
        assert_eq!(lost(None, false), (None, None));
        assert_eq!(lost(Some(Failure::Stalled), true), (Some(Problem::RequestTimeout), None));
        assert_eq!(lost(Some(Failure::Stalled), false), (Some(Problem::RequestTimeout), None));
        assert_eq!(lost(Some(Failure::Broken), true), refused);
        assert_eq!(lost(Some(Failure::Broken), false), (Some(Problem::BadRequest), None));
    }

    /// Pingora copies the future of a request a dozen times: what few requests need is boxed.
    #[test]
    fn the_future_of_a_request_stays_small() {
        fn size<F>(
            _: impl Fn(&'static Gate, &'static mut Session, &'static mut RequestState, &'static mut Held) -> F,
        ) -> usize {
            size_of::<F>()
        }
        assert!(size(run) <= 1960, "{}", size(run));
    }
}
