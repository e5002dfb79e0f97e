use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use crate::{
    BoxFuture,
    store::{Store, StoreAnswer},
};

/// A store for one test of [`CONFORMANCE`](super::CONFORMANCE), and the means to test it with. It is empty when the test begins.
pub trait StoreUnderTest: Send + Sync {
    /// A client of the store. Several can be asked for; they see the same entries.
    fn store(&self) -> Arc<dyn Store>;

    /// Lets time pass, for the store at least.
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()>;

    /// Does all of this at once, and tells how often the result was `true`. It is polled in turns, unless the test has
    /// threads to do it with.
    fn race(&self, work: Vec<BoxFuture<'static, bool>>) -> BoxFuture<'_, usize> {
        Box::pin(in_turns(work))
    }

    /// The store's time, if it stands still but for [`pass`](Self::pass). Counting is compared with a model then, to the
    /// microsecond.
    fn stopped_clock(&self) -> Option<Duration> {
        None
    }

    /// A client of a store that has room for some thousands of entries at the most, if there is one.
    fn small(&self) -> Option<Arc<dyn Store>> {
        None
    }

    /// A client whose server does not answer, if there is one.
    fn unreachable(&self) -> Option<Arc<dyn Store>> {
        None
    }
}

async fn in_turns(mut work: Vec<BoxFuture<'static, bool>>) -> usize {
    let mut successes = 0;
    poll_fn(|context| {
        work.retain_mut(|one| match Pin::new(one).poll(context) {
            Poll::Ready(success) => {
                successes += usize::from(success);
                false
            }
            Poll::Pending => true,
        });
        if work.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    successes
}

/// The result of an operation that must not fail.
pub(super) async fn ok<T>(answer: StoreAnswer<'_, T>) -> T {
    answer.get().await.unwrap_or_else(|error| panic!("{error}"))
}

/// An hour, in which no test ends.
pub(super) const LONG: Duration = Duration::from_secs(3600);
