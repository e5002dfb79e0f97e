use std::{borrow::Borrow, hash::Hash, time::Duration};

use quick_cache::sync;
use tokio::time::Instant;

/// Answers that are kept for a while: a bounded number of them, each for its own time. What was used least lately makes
/// room. Readers of different keys do not wait for each other.
///
/// One that outlives a reload comes from [`BuildCx::cache`](crate::BuildCx::cache).
///
/// ```
/// use std::time::Duration;
/// use portcullis_plugin::Cache;
///
/// let cache: Cache<[u8; 32], bool> = Cache::new(10_000);
/// cache.insert([7; 32], true, Duration::from_secs(30));
/// assert_eq!(cache.get(&[7; 32]), Some(true));
/// ```
pub struct Cache<K, V>(sync::Cache<K, Kept<V>>);

#[derive(Clone)]
struct Kept<V> {
    value: V,
    /// `None`: later than any clock can tell.
    until: Option<Instant>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// An empty one, for so many values.
    pub fn new(most: usize) -> Self {
        Self(sync::Cache::new(most))
    }

    /// The value, if its time is not over.
    pub fn get<Q: ?Sized + Eq + Hash>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let kept = self.0.get(key)?;
        kept.until.is_none_or(|until| Instant::now() < until).then_some(kept.value)
    }

    /// Keeps a value for so long, in the place of the one before. For no time it is not kept, and nor is the one before.
    pub fn insert(&self, key: K, value: V, ttl: Duration) {
        if ttl.is_zero() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, Kept { value, until: Instant::now().checked_add(ttl) });
        }
    }

    /// Forgets a value.
    pub fn remove<Q: ?Sized + Eq + Hash>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.remove(key);
    }

    /// Forgets all values.
    pub fn clear(&self) {
        self.0.clear();
    }

    /// The number of values, those included whose time is over and that have not made room yet.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if there is no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_value_has_its_own_time() {
        let cache = Cache::new(10);
        cache.insert("short".to_owned(), 1, Duration::from_secs(1));
        cache.insert("long".to_owned(), 2, Duration::from_secs(10));
        cache.insert("ever".to_owned(), 3, Duration::MAX);
        let values = || ["short", "long", "ever"].map(|key| cache.get(key));
        assert_eq!(values(), [Some(1), Some(2), Some(3)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(values(), [None, Some(2), Some(3)], "it ends at the moment, not after it");
        cache.insert("long".to_owned(), 4, Duration::from_secs(1));
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(values(), [None, Some(4), Some(3)]);
        cache.insert("long".to_owned(), 5, Duration::ZERO);
        assert_eq!(values(), [None, None, Some(3)], "what must not be kept takes the old one away");
        cache.remove("ever");
        assert_eq!(values(), [None; 3]);
    }

    #[test]
    fn it_holds_no_more_than_it_may() {
        let cache = Cache::new(100);
        for key in 0..10_000_u32 {
            cache.insert(key, key, Duration::from_secs(60));
        }
        assert!(cache.len() <= 100, "{}", cache.len());
        cache.clear();
        assert!(cache.is_empty());
    }
}
