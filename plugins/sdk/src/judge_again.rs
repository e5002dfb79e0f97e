use std::sync::Arc;

/// Has all requests judged again that were let in and have not ended. A policy calls it when it learns by itself that what
/// it took may be good no longer: an issuer has withdrawn a key. See [`BuildCx::judge_again`](crate::BuildCx::judge_again).
///
/// It returns at once. The judging is done elsewhere, and many calls are one; without open requests it costs nothing.
#[derive(Clone, Default)]
pub struct JudgeAgain(Option<Arc<dyn Fn() + Send + Sync>>);

impl JudgeAgain {
    /// Has it done by this, which returns at once. By default nothing is done.
    pub fn new(judge: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    /// Has them judged again. To be called when the change can be seen.
    pub fn call(&self) {
        self.0.iter().for_each(|judge| judge());
    }
}
