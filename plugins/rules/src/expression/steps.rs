use std::{
    any::Any,
    fmt,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use cel::common::{
    types::Type,
    value::{StaticVal, Val},
};

/// The most steps of one evaluation: an item of a list, a turn of `all` or `map`, 64 bytes of a text count one each.
///
/// A token brings lists as long as it likes, and an expression may go through one of them for each item of another.
pub const EVALUATION_MAX_STEPS: u32 = 4096;

/// The length of text that counts as one step.
pub(super) const TEXT_STEP_BYTES: usize = 64;

/// The steps that are left of [`EVALUATION_MAX_STEPS`]. A value, so that functions find it among the variables; atomic,
/// because every value has to be `Sync`.
pub(crate) struct Steps(AtomicU32);

impl Steps {
    /// The variable it is found at.
    pub(super) const NAME: &'static str = "@steps";

    pub(super) fn new() -> Self {
        Self(AtomicU32::new(EVALUATION_MAX_STEPS))
    }

    /// Takes so many; `false` where they are not left, and then none ever is again.
    pub(super) fn take(&self, count: usize) -> bool {
        let left = self.0.load(Relaxed).saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        self.0.store(left, Relaxed);
        left > 0
    }

    /// Takes what a text of this length costs.
    pub(super) fn take_text(&self, length: usize) -> bool {
        self.take(1 + length / TEXT_STEP_BYTES)
    }

    pub(super) fn are_spent(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Steps")
    }
}

static TYPE: Type = Type::new_unspecified_type("steps");

impl Val for Steps {
    fn get_type(&self) -> &Type {
        &TYPE
    }
    fn cel_type() -> &'static Type {
        &TYPE
    }
    /// A clone would be steps to spend on the side; nothing clones it, and if something did it would be spent.
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self(AtomicU32::new(0)))
    }
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Steps {}
