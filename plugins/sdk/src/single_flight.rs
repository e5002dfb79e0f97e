use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

type Flights<K, V> = Mutex<HashMap<K, watch::Receiver<Option<V>>>>;

/// Work that many wait for and that is done once: an introspection, a fetch, a refresh.
///
/// It is done by a task of its own, so that it goes on when whoever began it leaves, and the others lose nothing.
///
/// ```
/// use portcullis_plugin::{FlightError, SingleFlight};
///
/// async fn introspect(flights: &SingleFlight<[u8; 32], bool>, digest: [u8; 32]) -> Result<bool, FlightError> {
///     flights.run(digest, || async { /* ask, and put the answer into the cache */ true }).await
/// }
/// ```
pub struct SingleFlight<K, V> {
    flights: Arc<Flights<K, V>>,
    most: usize,
}

/// The reason why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlightError {
    /// As much as allowed is under way for other keys.
    #[error("too much of this kind is under way")]
    Full,
    /// The work panicked, or its runtime ended.
    #[error("the work ended without an outcome")]
    Lost,
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> SingleFlight<K, V> {
    /// Nothing is under way; `most` keys may be at once.
    pub fn new(most: usize) -> Self {
        Self { flights: Arc::default(), most }
    }

    /// Waits for the work that is under way for this key, or has it done. Its outcome has to be kept by the work itself,
    /// where it is to be found: whoever comes after the end begins anew. It must run on tokio's runtime, and has no
    /// deadline: the work needs its own.
    ///
    /// # Errors
    /// There is no outcome.
    pub async fn run<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<V, FlightError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flight = self.join(key, work)?;
        let outcome = flight.wait_for(Option::is_some).await.map_err(|_| FlightError::Lost)?;
        outcome.clone().ok_or(FlightError::Lost)
    }

    /// So many keys are under way.
    pub fn under_way(&self) -> usize {
        self.flights.lock().len()
    }

    fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<watch::Receiver<Option<V>>, FlightError>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return Ok(flight.clone());
        }
        if flights.len() >= self.most {
            return Err(FlightError::Full);
        }
        let (outcome, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let landing = Landing { flights: self.flights.clone(), key };
        let work = work();
        tokio::spawn(async move {
            let _landing = landing;
            outcome.send_replace(Some(work.await));
        });
        Ok(flight)
    }
}

/// Takes the key out when the work has ended, in whatever way.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
