//! Runs a route's `edit_response`.

use std::sync::Arc;

use pingora::http::ResponseHeader;
use portcullis_plugin::RequestCx;

use super::{
    edit::ClientEdit,
    hook::{Call, Undecided},
    state::RequestState,
};
use crate::snapshot::Route;

/// A hook that could not edit a response.
pub(crate) struct Unedited {
    /// Its index among the route's.
    pub step: usize,
    /// Its policy.
    pub policy: Arc<str>,
    /// The reason.
    pub why: Undecided,
}

/// Changes the response of the upstream, or what the route says in its place.
///
/// # Errors
/// A hook failed or panicked.
pub(crate) fn edit(
    route: &Route,
    state: &RequestState,
    cx: &mut RequestCx<'_>,
    head: &mut ResponseHeader,
) -> Result<(), Unedited> {
    let mut edit = ClientEdit::of_response(head);
    route.edit_response.iter().enumerate().rev().try_for_each(|(step, hook)| {
        let call = Call { state, policy: &hook.policy, hook: "edit_response" };
        cx.enter(hook.number);
        let edited = call.run(|| hook.hook.edit_response(cx, &mut edit));
        edited.map_err(|why| Unedited { step, policy: hook.policy.clone(), why })
    })
}

/// Changes an answer of the gateway's own. A hook that fails changes nothing about what the client is told; one that
/// has failed at the upstream's response is not asked again.
pub(crate) fn edit_own(route: &Route, state: &RequestState, cx: &mut RequestCx<'_>, head: &mut ResponseHeader) {
    let mut edit = ClientEdit::of_own_answer(head);
    for (step, hook) in route.edit_response.iter().enumerate().rev() {
        if state.failed_edit == Some(step) {
            continue;
        }
        let call = Call { state, policy: &hook.policy, hook: "edit_response" };
        cx.enter(hook.number);
        let edited = call.run(|| match hook.hook.wants_own_answers() {
            true => hook.hook.edit_response(cx, &mut edit),
            false => Ok(()),
        });
        if let Err(why @ Undecided::Failed(_)) = edited {
            let (request_id, policy) = (state.id.as_str(), &*hook.policy);
            log::warn!(request_id, policy; "`edit_response` could not edit an answer of the gateway's own: {why}");
        }
    }
}
