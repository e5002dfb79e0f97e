use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::name::{BuildPassOn, Name};
use crate::store::subscription::{Event, Events, Subscription};

/// The channels of a store, each with its subscribers.
#[derive(Default)]
pub(super) struct Channels(Mutex<HashMap<Name, Vec<Weak<Queue>>, BuildPassOn>>);

/// The most messages that wait for one subscriber.
const MAX_WAITING: usize = 1024;

impl Channels {
    pub(super) fn subscribe(&self, channel: Name) -> Subscription {
        let queue = Arc::new(Queue::default());
        let mut channels = self.0.lock();
        channels.retain(|_, subscribers| {
            subscribers.retain(|queue| queue.strong_count() > 0);
            !subscribers.is_empty()
        });
        channels.entry(channel).or_default().push(Arc::downgrade(&queue));
        Subscription::new(Receiver(queue))
    }

    pub(super) fn publish(&self, channel: Name, message: &Bytes) {
        let channels = self.0.lock();
        let subscribers = channels.get(&channel).into_iter().flatten().filter_map(Weak::upgrade);
        subscribers.for_each(|queue| queue.push(message));
    }
}

/// Messages on their way to one subscriber.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    has_missed: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn push(&self, message: &Bytes) {
        let mut waiting = self.0.lock();
        if waiting.messages.len() < MAX_WAITING && !waiting.has_missed {
            waiting.messages.push_back(message.clone());
        } else {
            waiting.has_missed = true;
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A subscriber's end of its queue.
struct Receiver(Arc<Queue>);

impl Events for Receiver {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let mut waiting = self.0.0.lock();
        if let Some(message) = waiting.messages.pop_front() {
            return Poll::Ready(Event::Message(message));
        }
        if std::mem::take(&mut waiting.has_missed) {
            return Poll::Ready(Event::Resumed);
        }
        waiting.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
