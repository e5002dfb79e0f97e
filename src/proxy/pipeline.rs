//! A route's phases before the request is let through: guards, authentication, restrictions, in the order of the file.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use pingora_proxy::Session;
use portcullis_plugin::{Answer as HookAnswer, Identity, PluginError, Reason, RequestCx, Verdict};

use super::{
    audit::Trail,
    authenticate::{Decision, authenticate},
    exchange::SessionExchange,
    refusal::{Answer, Problem},
    state::RequestState,
};
use crate::snapshot::Route;

/// Runs them; `None`: the request is let through.
pub async fn run(
    route: &Arc<Route>,
    session: &mut Session,
    state: &mut RequestState,
    body: &mut Option<Bytes>,
) -> Option<Answer> {
    if let Some(refused) = declared_too_large(route, session) {
        state.reason = Some(Reason::BodyTooLarge);
        return Some(refused);
    }
    let name = &*route.record.name;
    let mut outcome = Outcome::default();
    {
        let mut trail = Trail::of(state, &route.settings.audit, name);
        let mut exchange = SessionExchange { session, state, route: name, body };
        let mut cx = RequestCx::new(&mut exchange);
        guards(route, &mut cx, &mut trail, &mut outcome).await;
        if outcome.answer.is_none()
            && let Some(auth) = &route.auth
        {
            match authenticate(auth, &mut cx, &route.realm, &mut trail).await {
                Decision::Granted(identity) => outcome.identity = Some(identity),
                Decision::Refused(answer, reason) => outcome.refuse(answer, reason),
            }
        }
        outcome.end(trail);
    }
    state.identity = outcome.identity.take();
    if outcome.answer.is_none()
        && let Some(identity) = state.identity.clone()
    {
        let mut trail = Trail::of(state, &route.settings.audit, name);
        let mut exchange = SessionExchange { session, state, route: name, body };
        let mut cx = RequestCx::new(&mut exchange);
        admits(route, &mut cx, &identity, &mut trail, &mut outcome).await;
        if outcome.answer.is_none() && !route.settings.identity.fits(&identity) {
            trail.forbidden(None, Reason::IdentityTooLarge, Some(&identity));
            outcome.refuse(Problem::Forbidden.into(), Reason::IdentityTooLarge);
        }
        outcome.end(trail);
    } else if outcome.answer.is_none() && !route.pipeline.admit.is_empty() {
        // A route with restrictions and without authentication is refused when it is compiled: this is for the day when
        // that is forgotten.
        outcome.refuse(Problem::Internal.into(), Reason::PluginFailed);
    }
    state.reason = outcome.reason;
    if let Some(why) = outcome.failure {
        state.failed(why);
    }
    outcome.answer
}

/// What came of the phases so far.
#[derive(Default)]
struct Outcome {
    answer: Option<Answer>,
    reason: Option<Reason>,
    failure: Option<String>,
    identity: Option<Arc<Identity>>,
}

impl Outcome {
    fn refuse(&mut self, answer: Answer, reason: Reason) {
        self.answer = Some(answer);
        self.reason = Some(reason);
    }

    /// Takes what a hook said; `false`: the request ends here.
    fn take(
        &mut self,
        verdict: Result<Verdict, PluginError>,
        policy: &str,
        cx: &RequestCx<'_>,
        trail: &mut Trail<'_>,
    ) -> bool {
        match verdict {
            Ok(Verdict::Allow) => return true,
            Ok(Verdict::Refuse(refusal)) => {
                trail.forbidden(Some(policy), refusal.reason, cx.identity().map(Arc::as_ref));
                let answer = Answer { retry_after: refusal.retry_after, ..Problem::from(refusal.status).into() };
                self.refuse(answer, refusal.reason);
            }
            Err(error) => {
                trail.forbidden(Some(policy), Reason::PluginFailed, cx.identity().map(Arc::as_ref));
                self.failure = Some(format!("{policy}: {error}"));
                self.refuse(Problem::Unavailable.into(), Reason::PluginFailed);
            }
        }
        false
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

async fn guards(route: &Route, cx: &mut RequestCx<'_>, trail: &mut Trail<'_>, outcome: &mut Outcome) {
    for step in &route.pipeline.guard {
        let verdict = HookAnswer::get(step.hook.guard(cx)).await;
        if !outcome.take(verdict, &step.policy, cx, trail) {
            return;
        }
    }
}

async fn admits(
    route: &Route,
    cx: &mut RequestCx<'_>,
    identity: &Arc<Identity>,
    trail: &mut Trail<'_>,
    outcome: &mut Outcome,
) {
    for step in &route.pipeline.admit {
        let verdict = HookAnswer::get(step.hook.admit(cx, identity)).await;
        if !outcome.take(verdict, &step.policy, cx, trail) {
            return;
        }
    }
}

/// A body whose length is said beforehand is not waited for.
fn declared_too_large(route: &Route, session: &Session) -> Option<Answer> {
    let limit = route.max_body_bytes?;
    let length = session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
    (length > limit).then(|| Problem::BodyTooLarge.into())
}
