//! The way of a request from its head to an answer of the gateway's own, or to being forwarded.

use std::time::Instant;

use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::{Proxy, check, forward, held_body::Held, pipeline, refusal::Answer, state::RequestState};
use crate::telemetry::metrics::Phase;

impl Proxy {
    /// Returns the answer of the gateway's own, or `None` if the request is to be forwarded.
    pub(super) async fn judge(&self, session: &mut Session, state: &mut RequestState) -> Result<Option<Answer>> {
        let round = self.services.streams.round();
        let gate = {
            // The guard keeps the snapshot without counting; the gate that is taken out of it holds all that it needs.
            let snapshot = self.current.load();
            match check::matched(&snapshot, session, state) {
                Ok(gate) => gate,
                Err(answer) => return Ok(Some(answer)),
            }
        };
        state.matched(&gate.route);
        let mut held = Held::default();
        let answer = pipeline::run(&gate, session, state, &mut held).await?;
        state.made_up_bytes = held.made_up_bytes();
        if answer.is_some() {
            return Ok(answer);
        }
        state.held = (!held.is_empty()).then(|| Box::new(held));
        self.services.metrics.observe(Phase::Policy, state.started.elapsed());
        // Copied before credentials are removed: a condition may be about one.
        let conditions =
            state.is_conditional.then(|| self.current.load().conditions_of(&session.req_header().headers)).flatten();
        let hidden = gate.auth.as_ref().map(|auth| &auth.hidden);
        forward::strip(session.req_header_mut(), &gate.route.callers, hidden)?;
        if let Some(life) = &state.life {
            let deadline = state.identity.as_ref().and_then(|identity| identity.deadline());
            deadline.into_iter().for_each(|deadline| life.set_deadline(deadline));
            state.basis(session, round, conditions).into_iter().for_each(|basis| life.rest_on(basis));
        }
        Ok(None)
    }

    /// Waits until the client takes what was sent to it before.
    pub(super) async fn may_forward(&self, state: &mut RequestState) -> Result<()> {
        if let Some(life) = &state.life
            && !life.backlog().forward().await
        {
            state.failed("client: nothing was taken for write_timeout");
            return Err(Error::new_down(ErrorType::WriteTimedout));
        }
        state.forwarded = Some(Instant::now());
        Ok(())
    }
}
