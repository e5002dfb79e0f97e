//! Runs the hooks of plugins: under their deadline, while their client is there, and so that a panic in one of them is
//! the end of its request alone.
//!
//! A hook that answers at once pays for none of this but the frame that catches a panic. For one that has to wait there
//! is a timer and, over HTTP/2, a look at the stream; [`Client`] says how it is told that a client has left.

mod client;
mod undecided;

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Duration,
};

use portcullis_plugin::{Answer, BoxFuture, PluginError};

pub(crate) use self::{
    client::{Client, Lent},
    undecided::Undecided,
};
use super::state::RequestState;

#[cfg(panic = "abort")]
compile_error!("a panic in a plugin must end one request and not the process: build with `panic = \"unwind\"`");

/// One hook of one policy, for one request.
#[derive(Clone, Copy)]
pub(crate) struct Call<'c> {
    /// The request.
    pub state: &'c RequestState,
    /// The policy's name.
    pub policy: &'c str,
    /// The name of the hook.
    pub hook: &'static str,
}

impl Call<'_> {
    /// Runs a hook that answers at once.
    ///
    /// # Errors
    /// It failed, or panicked.
    pub(crate) fn run<T>(&self, hook: impl FnOnce() -> Result<T, PluginError>) -> Result<T, Undecided> {
        self.caught(hook).and_then(|answer| answer.map_err(Undecided::from)).inspect_err(|why| self.count(why))
    }

    /// Runs a hook that may wait, for at most `timeout` of its own time. What is waited for of the client's body is the
    /// client's time.
    ///
    /// # Errors
    /// It failed, panicked, or was ended.
    pub(crate) async fn wait<'a, T>(
        &self,
        client: &Client<'_>,
        timeout: Duration,
        hook: impl FnOnce() -> Answer<'a, Result<T, PluginError>>,
    ) -> Result<T, Undecided> {
        let answer = match self.caught(hook) {
            Ok(Answer::Now(answer)) => Ok(answer),
            Ok(Answer::Later(future)) => {
                let mut future = Waiting(Some(future));
                match poll_fn(|cx| Poll::Ready(self.poll(&mut future, cx))).await {
                    Poll::Ready(answer) => answer,
                    // Boxed: what few hooks need must not make the future of every request larger.
                    Poll::Pending => Box::pin(self.watched(future, client, timeout)).await,
                }
            }
            Err(panicked) => Err(panicked),
        };
        answer.and_then(|answer| answer.map_err(Undecided::from)).inspect_err(|why| self.count(why))
    }

    async fn watched<T>(
        &self,
        mut future: Waiting<'_, T>,
        client: &Client<'_>,
        timeout: Duration,
    ) -> Result<T, Undecided> {
        // A moment ago, by this very task, which is woken when there is more: a hook that lets others go first would else
        // not have done so.
        let mut was_polled = true;
        let answer =
            poll_fn(|cx| if std::mem::take(&mut was_polled) { Poll::Pending } else { self.poll(&mut future, cx) });
        tokio::select! {
            biased;
            answer = answer => answer,
            ended = client.ends_after(timeout) => Err(ended),
        }
    }

    fn poll<T>(&self, future: &mut Waiting<'_, T>, cx: &mut Context<'_>) -> Poll<Result<T, Undecided>> {
        let Some(waiting) = &mut future.0 else { return Poll::Pending };
        match self.caught(|| waiting.as_mut().poll(cx)) {
            Ok(polled) => polled.map(Ok),
            Err(panicked) => Poll::Ready(Err(panicked)),
        }
    }

    /// Runs what a plugin brought with it. Its state is the plugin's business: hooks share it by `&self` alone, so that
    /// whatever they guard by a lock is as consistent as after a return.
    fn caught<T>(&self, plugin: impl FnOnce() -> T) -> Result<T, Undecided> {
        catch_unwind(AssertUnwindSafe(plugin)).map_err(|payload| {
            let (policy, hook, request_id) = (self.policy, self.hook, self.state.id.as_str());
            let route = self.state.record.as_ref().map_or("", |record| &*record.name);
            log::error!(request_id, policy, route; "a plugin panicked in `{hook}`: {}", message(&*payload));
            discard(payload);
            Undecided::Panicked
        })
    }

    fn count(&self, why: &Undecided) {
        self.state.services.metrics.policy(self.policy).undecided(self.hook, why.reason());
    }
}

/// A hook's future. One that is given up, or has panicked, is dropped so that a panic in its destructors ends here.
struct Waiting<'a, T>(Option<BoxFuture<'a, T>>);

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        discard(self.0.take());
    }
}

/// Drops what a plugin made, so that a panic of its destructor ends here.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        log::error!("a plugin panicked while it was ended: {}", message(&*payload));
        // Its own destructor may panic as well; it is not worth a third try.
        std::mem::forget(payload);
    }
}

/// The words of a panic.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

#[cfg(test)]
mod tests;
