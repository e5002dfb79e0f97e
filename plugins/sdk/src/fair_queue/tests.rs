use std::{
    net::Ipv4Addr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Wake,
};

use super::*;

fn address(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(number))
}

/// The permit, if it is there already.
fn permit(acquire: &mut Acquire) -> Option<Permit> {
    match pin!(acquire).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

/// Whoever has the permit now, by its number in the list; it is taken out of the list.
fn served<N>(waiting: &mut Vec<(N, Acquire)>) -> (N, Permit) {
    for at in 0..waiting.len() {
        if let Some(permit) = permit(&mut waiting[at].1) {
            return (waiting.remove(at).0, permit);
        }
    }
    panic!("nobody has the permit");
}

/// A queue of 256 places with one permit, which is taken.
fn busy() -> (FairQueue, Permit) {
    let queue = FairQueue::new(1, 256);
    let first = permit(&mut queue.acquire(address(0), None).unwrap()).expect("it is free");
    (queue, first)
}

/// As many as may wait with this name, from this address.
fn fill(queue: &FairQueue, from: IpAddr, known: Option<&[u8]>) -> Vec<Acquire> {
    std::iter::from_fn(|| queue.acquire(from, known).ok()).collect()
}

#[test]
fn permits_are_given_out_and_go_to_whoever_waits() {
    let queue = FairQueue::new(2, 8);
    let take = || permit(&mut queue.acquire(address(1), None).unwrap());
    let (one, two) = (take().unwrap(), take().unwrap());
    let mut third = queue.acquire(address(1), None).unwrap();
    assert!(permit(&mut third).is_none());
    drop(one);
    let third = permit(&mut third).expect("it was given back");
    assert!(take().is_none());
    drop((two, third));
    assert!(take().is_some());
    assert_eq!(queue.available(), 2);
}

#[test]
fn a_request_that_is_dropped_leaves_the_queue_and_passes_its_permit_on() {
    let (queue, first) = busy();
    let waiting: Vec<_> = (1..=3).map(|number| queue.acquire(address(number), None).unwrap()).collect();
    let [one, two, mut three] = <[Acquire; 3]>::try_from(waiting).ok().unwrap();
    drop(two);
    assert_eq!(queue.waiting(), 2);
    drop(first);
    assert_eq!(queue.waiting(), 1);
    assert!(permit(&mut three).is_none());
    // It has the permit and has not looked.
    drop(one);
    assert!(permit(&mut three).is_some());
    assert_eq!((queue.waiting(), queue.available()), (0, 1));
}

#[test]
fn a_request_that_waits_is_woken() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let (queue, first) = busy();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let (waker, mut waiting) = (Waker::from(woken.clone()), queue.acquire(address(1), None).unwrap());
    assert!(pin!(&mut waiting).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(woken.0.load(SeqCst), 0);
    drop(first);
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(pin!(&mut waiting).poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn one_address_leaves_places_and_turns_to_others() {
    let (queue, first) = busy();
    let flood = fill(&queue, address(1), None);
    assert_eq!(flood.len(), 96, "half of what strangers have");
    let mut waiting: Vec<_> = flood.into_iter().map(|acquire| (1, acquire)).collect();
    waiting.push((2, queue.acquire(address(2), None).expect("a place is left")));
    drop(first);
    let (one, permit) = served(&mut waiting);
    drop(permit);
    let (two, permit) = served(&mut waiting);
    assert_eq!((one, two), (1, 2), "it is next, whoever waits before it with more");
    drop(permit);
    assert_eq!(served(&mut waiting).0, 1);
    // An IPv6 network is one address.
    let of = |text: &str| text.parse().unwrap();
    let (queue, _first) = busy();
    let count = fill(&queue, of("2001:db8::1"), None);
    assert!(queue.acquire(of("2001:db8::2"), None).is_err());
    assert!(queue.acquire(of("2001:db8:0:1::"), None).is_ok(), "{}", count.len());
}

#[test]
fn a_flood_from_many_addresses_keeps_nobody_waiting_who_is_known() {
    let (queue, first) = busy();
    let mut waiting: Vec<_> =
        (1..1_000).filter_map(|number| Some((number, queue.acquire(address(number), None).ok()?))).collect();
    assert_eq!(waiting.len(), 192);
    assert!(queue.acquire(address(5_000), None).is_err(), "the queue is full of strangers");
    waiting.push((5_000, queue.acquire(address(5_000), Some(b"ada")).expect("she is known")));
    drop(first);
    let (one, permit) = served(&mut waiting);
    drop(permit);
    let (two, _permit) = served(&mut waiting);
    assert!([one, two].contains(&5_000), "one of the next two");
}

#[test]
fn a_principal_with_many_addresses_is_one_principal() {
    let (queue, first) = busy();
    let known: Option<&[u8]> = Some(b"mallory");
    let mut waiting: Vec<_> =
        (1..1_000).filter_map(|number| Some((number, queue.acquire(address(number), known).ok()?))).collect();
    assert_eq!(waiting.len(), 32 + 192, "half of the places for those who are known, and all of the strangers'");
    waiting.push((5_000, queue.acquire(address(5_000), Some(b"ada")).expect("a place is left")));
    drop(first);
    let mut permits = 0;
    loop {
        let (number, permit) = served(&mut waiting);
        permits += 1;
        drop(permit);
        if number == 5_000 {
            break;
        }
    }
    assert!(permits <= 4, "{permits}: every second permit is for those who are known, and of these every second hers");
}

#[test]
fn strangers_go_on_while_those_who_are_known_keep_the_queue_busy() {
    let (queue, first) = busy();
    let mut waiting: Vec<_> =
        (0..64u32).filter_map(|n| Some((n, queue.acquire(address(1), Some(&n.to_be_bytes())).ok()?))).collect();
    assert_eq!(waiting.len(), 64);
    waiting.push((5_000, queue.acquire(address(2), None).unwrap()));
    drop(first);
    let (one, permit) = served(&mut waiting);
    drop(permit);
    let (two, _permit) = served(&mut waiting);
    assert!([one, two].contains(&5_000));
}
