use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;

use super::subject::{StoreUnderTest, ok};
use crate::store::{Event, Space, Subscription};

static CHANNELS: Space = Space::shared("conformance");

pub(super) async fn messages_reach_all(test: &dyn StoreUnderTest) {
    let (store, channel) = (test.store(), CHANNELS.key(b"news"));
    ok(store.publish(channel, Bytes::from_static(b"nobody hears it"))).await;
    let mut subscriptions = [ok(store.subscribe(channel)).await, ok(test.store().subscribe(channel)).await];
    let mut other = ok(store.subscribe(CHANNELS.key(b"other"))).await;
    for number in 0..100_u32 {
        ok(test.store().publish(channel, number.to_string().into())).await;
    }
    for subscription in &mut subscriptions {
        for number in 0..100_u32 {
            assert_eq!(subscription.next().await, Event::Message(number.to_string().into()), "in order, and once");
        }
    }
    assert!(!has_event(&mut other).await, "another channel");
    let [mut first, second] = subscriptions;
    drop(second);
    ok(store.publish(channel, Bytes::new())).await;
    assert_eq!(first.next().await, Event::Message(Bytes::new()));

    // A subscriber who does not listen may miss messages, learns of it, and hears the messages after.
    const LAST: u32 = 5_000;
    for number in 0..=LAST {
        ok(store.publish(channel, number.to_string().into())).await;
    }
    let mut expected = 0;
    loop {
        match first.next().await {
            Event::Message(message) => assert_eq!(message, expected.to_string(), "nothing is missed without a word"),
            Event::Interrupted => continue,
            Event::Resumed => break,
        }
        if expected == LAST {
            break;
        }
        expected += 1;
    }
    ok(store.publish(channel, Bytes::from_static(b"after"))).await;
    assert_eq!(first.next().await, Event::Message(Bytes::from_static(b"after")));
}

async fn has_event(subscription: &mut Subscription) -> bool {
    let mut next = pin!(subscription.next());
    poll_fn(|context| Poll::Ready(next.as_mut().poll(context).is_ready())).await
}
