use parking_lot::Mutex;
use portcullis_plugin::BodyCheck;

/// Checks that wait for the whole body: [`RequestCx::hold_body`](portcullis_plugin::RequestCx::hold_body).
///
/// Behind a lock because hooks and the trail of one request share its state; nobody ever waits for it.
#[derive(Default)]
pub struct DeferredChecks(Mutex<Vec<DeferredCheck>>);

struct DeferredCheck {
    limit: usize,
    check: BodyCheck,
}

impl DeferredChecks {
    /// Adds one.
    pub fn add(&self, limit: usize, check: BodyCheck) {
        self.0.lock().push(DeferredCheck { limit, check });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Forgets all but the first so many: who asked for the others did not grant in the end.
    pub fn truncate(&self, count: usize) {
        self.0.lock().truncate(count);
    }

    /// All of them as one: the least limit, and what any of them says.
    pub fn take(&self) -> Option<(usize, BodyCheck)> {
        let checks = std::mem::take(&mut *self.0.lock());
        let limit = checks.iter().map(|one| one.limit).min()?;
        let check = |body: &[u8]| checks.into_iter().try_for_each(|one| (one.check)(body));
        Some((limit, Box::new(check)))
    }
}
