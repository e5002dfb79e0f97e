use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;

/// An event of a [`Subscription`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Somebody published this.
    Message(Bytes),
    /// The store has lost its server: messages are missed from here on, until [`Event::Resumed`].
    Interrupted,
    /// Messages were missed before this event and are no longer: what they tell of has to be read again.
    Resumed,
}

/// The messages of a channel from the moment on at which [`Store::subscribe`](super::Store::subscribe) answered: see there.
///
/// It never ends by itself, and holds a bounded number of messages: who does not fetch them in time misses some, and learns
/// of it by [`Event::Resumed`].
pub struct Subscription(Box<dyn Events>);

impl Subscription {
    /// Wraps a store's own end of a channel.
    pub fn new(events: impl Events + 'static) -> Self {
        Self(Box::new(events))
    }

    /// Waits for the next event. Nothing is lost where this future is dropped.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| self.0.poll_next(context)).await
    }
}

/// A store's own end of a [`Subscription`]. Dropping it ends the subscription.
pub trait Events: Send {
    /// The next event, or `Pending` after the waker is noted.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event>;
}
