use std::{future::Future, pin::Pin};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a hook: the answer itself, or a future that will have it.
///
/// Most hooks know at once (a map was asked, a list was walked), and `Now` allocates nothing. A hook that has to wait
/// returns [`Answer::later`]; the engine drops that future when its deadline passes or its client leaves, wherever it waits
/// (see [Deadlines and departure](crate#deadlines-and-departure)).
pub enum Answer<'a, T> {
    /// The answer is there.
    Now(T),
    /// The answer has to be waited for.
    Later(BoxFuture<'a, T>),
}

impl<'a, T> Answer<'a, T> {
    /// Boxes a future.
    pub fn later(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }

    /// The answer with this change, at once where it is there at once.
    #[inline]
    pub fn map<U>(self, change: impl FnOnce(T) -> U + Send + 'a) -> Answer<'a, U>
    where
        T: 'a,
    {
        match self {
            Self::Now(answer) => Answer::Now(change(answer)),
            Self::Later(future) => Answer::later(async move { change(future.await) }),
        }
    }

    /// Waits for the answer, if it has to be waited for.
    #[inline]
    pub async fn get(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(future) => future.await,
        }
    }
}
