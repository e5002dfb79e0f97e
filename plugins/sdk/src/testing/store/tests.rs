use std::{sync::Arc, time::Duration};

use super::*;
use crate::store::{LocalStore, SimulatedClock, Store, StoreError};

/// A local store, directly or as if it were elsewhere.
struct Local {
    store: Arc<LocalStore>,
    clock: SimulatedClock,
    is_distant: bool,
}

impl Local {
    fn new(is_distant: bool) -> Self {
        let clock = SimulatedClock::default();
        clock.advance(Duration::from_micros(7_777_777));
        Self { store: Arc::new(LocalStore::simulated(1 << 20, &clock)), clock, is_distant }
    }
}

impl StoreUnderTest for Local {
    fn store(&self) -> Arc<dyn Store> {
        if self.is_distant { Arc::new(DistantStore::new(self.store.clone())) } else { self.store.clone() }
    }
    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.clock.advance(time);
        Box::pin(async {})
    }
    fn race(&self, work: Vec<BoxFuture<'static, bool>>) -> BoxFuture<'_, usize> {
        let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
        Box::pin(async move {
            let mut successes = 0;
            for task in tasks {
                successes += usize::from(task.await.expect("the work does not panic"));
            }
            successes
        })
    }
    fn stopped_clock(&self) -> Option<Duration> {
        Some(self.clock.elapsed())
    }
    fn small(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(LocalStore::simulated(4_096, &self.clock)))
    }
    fn unreachable(&self) -> Option<Arc<dyn Store>> {
        let store = DistantStore::new(self.store.clone());
        store.fail(Some(StoreError::Timeout));
        Some(Arc::new(store))
    }
}

fn passes(is_distant: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
    for (name, test) in CONFORMANCE {
        println!("{name}");
        runtime.block_on(test(&Local::new(is_distant)));
    }
}

#[test]
fn the_local_store_passes() {
    passes(false);
}

#[test]
fn a_store_that_answers_later_passes() {
    passes(true);
}
