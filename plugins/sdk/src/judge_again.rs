use std::sync::Arc;

/// A handle to have all open requests judged again. A policy calls it when it learns by itself that something it has
/// granted by may be good no longer: an issuer has withdrawn a key. See
/// [`BuildCx::judge_again`](crate::BuildCx::judge_again).
///
/// It returns at once. The judging is done elsewhere, and many calls are one; without open requests it costs nothing.
#[derive(Clone, Default)]
pub struct JudgeAgain(Option<Arc<dyn Fn() + Send + Sync>>);

impl JudgeAgain {
    /// Makes a handle of a function that returns at once. The default handle does nothing.
    pub fn new(judge: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    /// Has open requests judged again. It has to be called after the change can be seen.
    pub fn call(&self) {
        self.0.iter().for_each(|judge| judge());
    }
}
