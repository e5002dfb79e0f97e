use std::{
    any::{Any, TypeId},
    sync::Arc,
};

use parking_lot::Mutex;

/// The data that policies keep with one request: see [`RequestCx::set_data`](crate::RequestCx::set_data). The engine has
/// one for each request, and so has [`testing::Request`](crate::testing::Request).
///
/// Behind a lock because later hooks see the request by a shared reference; nobody ever waits for it.
#[derive(Default)]
pub struct PolicyData(Mutex<Vec<Entry>>);

struct Entry {
    policy: usize,
    kind: TypeId,
    value: Arc<dyn Any + Send + Sync>,
}

impl PolicyData {
    /// Keeps a value for a policy, in place of its last of this type.
    pub fn set<T: Send + Sync + 'static>(&self, policy: usize, value: T) {
        let kind = TypeId::of::<T>();
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        let mut entries = self.0.lock();
        let before = match entries.iter_mut().find(|entry| (entry.policy, entry.kind) == (policy, kind)) {
            Some(entry) => Some(std::mem::replace(&mut entry.value, value)),
            None => {
                entries.push(Entry { policy, kind, value });
                None
            }
        };
        // A destructor is the plugin's, and may ask for what is kept.
        drop(entries);
        drop(before);
    }

    /// Returns the value of this type that a policy has kept.
    pub fn get<T: Send + Sync + 'static>(&self, policy: usize) -> Option<Arc<T>> {
        let entries = self.0.lock();
        let entry = entries.iter().find(|entry| (entry.policy, entry.kind) == (policy, TypeId::of::<T>()))?;
        entry.value.clone().downcast().ok()
    }

    /// Takes everything out, so that it is dropped where a panic of a destructor is caught.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl std::fmt::Debug for PolicyData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // How many, and not what: it may be secret.
        f.debug_tuple("PolicyData").field(&self.0.lock().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_belongs_to_one_policy_and_has_one_value_for_each_type() {
        let data = PolicyData::default();
        data.set(0, 1_u8);
        data.set(0, 1_u16);
        data.set(1, 2_u8);
        data.set(0, 3_u8);
        assert_eq!((data.get::<u8>(0).as_deref(), data.get::<u8>(1).as_deref()), (Some(&3), Some(&2)));
        assert_eq!((data.get::<u16>(0).as_deref(), data.get::<u16>(1)), (Some(&1), None));
        assert_eq!(format!("{data:?}"), "PolicyData(3)");
    }

    #[test]
    fn nothing_is_allocated_before_something_is_kept() {
        let allocations = allocation_counter::measure(|| {
            let data = PolicyData::default();
            assert!(data.get::<u8>(0).is_none());
        });
        assert_eq!(allocations.count_total, 0);
    }
}
