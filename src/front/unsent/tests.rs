use std::task::Waker;

use super::*;
use crate::unsent_budget::SHARE;

const MAX: usize = SHARE * 10_000;
const RATE: MinBodyRate = MinBodyRate { bytes_per_second: 0, patience: Duration::ZERO };

fn backlog(max_bytes: usize) -> (Arc<Backlog>, Arc<ConnectionBacklog>, Arc<UnsentBudget>) {
    let budget = Arc::new(UnsentBudget::default());
    budget.set_max_bytes(max_bytes);
    let connection = Arc::new(ConnectionBacklog::new(budget.clone(), Duration::ZERO, RATE));
    (Arc::new(Backlog::new(connection.clone())), connection, budget)
}

/// Returns whether a request is polled.
fn is_polled(backlog: &Arc<Backlog>) -> bool {
    backlog.is_forwarded.store(true, SeqCst);
    poll(backlog)
}

fn poll(backlog: &Arc<Backlog>) -> bool {
    let mut is_polled = false;
    let request = pin!(poll_fn(|_| {
        is_polled = true;
        Poll::<()>::Pending
    }));
    let _ = backlog.poll(request, &mut Context::from_waker(Waker::noop()), true);
    is_polled
}

fn piece(bytes: usize) -> Bytes {
    vec![0; bytes].into()
}

#[test]
fn a_piece_counts_until_its_last_part_is_gone() {
    let (backlog, connection, budget) = backlog(MAX);
    let mut first = backlog.response(piece(1000));
    let second = backlog.response(piece(10));
    let used = || budget.used().load(SeqCst);
    assert_eq!((used(), connection.bytes.load(SeqCst)), (1010 + 2 * PIECE_OVERHEAD_BYTES, used()));
    let part = first.split_to(500);
    drop((first, second));
    assert_eq!(used(), 1000 + PIECE_OVERHEAD_BYTES);
    drop(part);
    assert_eq!((used(), connection.bytes.load(SeqCst), backlog.bytes.load(SeqCst)), (0, 0, 0));
}

#[test]
fn a_response_goes_on_only_when_its_client_has_moved() {
    let (backlog, ..) = backlog(MAX);
    assert!(is_polled(&backlog));
    let small = backlog.response(piece(100));
    assert!(is_polled(&backlog) && is_polled(&backlog), "little waits");
    let large = backlog.response(piece(READ_AHEAD_BYTES));
    assert!(!is_polled(&backlog));
    backlog.wake_by_ref();
    assert!(!is_polled(&backlog), "an upstream that has more is no reason");
    ACTING.set(Acting::Connection);
    backlog.wake_by_ref();
    ACTING.set(Acting::Other);
    assert!(is_polled(&backlog) && !is_polled(&backlog), "once");
    drop(small);
    assert!(is_polled(&backlog) && !is_polled(&backlog), "a piece is gone");
    drop(large);
    assert!(is_polled(&backlog) && is_polled(&backlog));
}

/// When a request of `h2` ends, the window that it had reserved goes to the others, and wakes them from there.
#[test]
fn a_response_goes_on_when_another_one_leaves_it_the_window() {
    let (first, connection, _) = backlog(MAX);
    let second = Arc::new(Backlog::new(connection));
    let _held = first.response(piece(READ_AHEAD_BYTES));
    let waker = Waker::from(first.clone());
    let mut cx = Context::from_waker(Waker::noop());
    let wakes = OnDrop(|| waker.wake_by_ref());
    let mut ends_early = Box::pin(paced(&second, true, async move {
        let _wakes = wakes;
        std::future::pending::<()>().await;
    }));
    assert!(ends_early.as_mut().poll(&mut cx).is_pending() && !is_polled(&first));
    drop(ends_early);
    assert!(is_polled(&first) && !is_polled(&first), "once");
    let _ = pin!(paced(&second, true, async { waker.wake_by_ref() })).poll(&mut cx);
    assert!(is_polled(&first));
    let _ = pin!(paced(&first, true, async { waker.wake_by_ref() })).poll(&mut cx);
    assert!(!is_polled(&first), "its own pieces are no reason");
    let (stranger, ..) = backlog(MAX);
    let _ = pin!(paced(&stranger, true, async { waker.wake_by_ref() })).poll(&mut cx);
    assert!(!is_polled(&first), "nor is a request of another connection");
    assert_eq!(ACTING.get(), Acting::Other);
}

#[test]
fn responses_of_a_connection_wait_for_its_share() {
    let (first, connection, budget) = backlog(MAX);
    let second = Arc::new(Backlog::new(connection.clone()));
    let held = first.response(piece(10_000));
    assert!(is_polled(&first) && !is_polled(&second), "10,000 bytes are the share");
    assert_eq!(connection.waiting.lock().len(), 1);
    let other = Arc::new(ConnectionBacklog::new(budget.clone(), Duration::ZERO, RATE));
    let other = Arc::new(Backlog::new(other));
    assert!(is_polled(&other), "another connection has its own");
    drop(held);
    assert_eq!(connection.waiting.lock().len(), 0, "it was woken");
    assert!(is_polled(&second));
    let all = first.response(piece(MAX));
    assert!(!is_polled(&other), "nothing is left");
    drop(all);
    assert!(is_polled(&other));
}

#[tokio::test]
async fn a_request_is_let_through_or_refused_while_others_wait() {
    let budget = Arc::new(UnsentBudget::default());
    let connection = Arc::new(ConnectionBacklog::new(budget, Duration::from_millis(10), RATE));
    let backlog = Arc::new(Backlog::new(connection.clone()));
    connection.set_blocked(true);
    assert!(poll(&backlog), "it may be one to refuse");
    assert!(!backlog.forward().await, "its client takes nothing");
    assert!(!poll(&backlog));
    backlog.reset();
    assert!(poll(&backlog));
    connection.set_blocked(false);
    assert!(backlog.forward().await && poll(&backlog));
}

#[tokio::test]
async fn an_upload_goes_on_and_stops_no_response() {
    let (uploading, connection, _budget) = backlog(MAX);
    let responding = Arc::new(Backlog::new(connection));
    let upload = uploading.upload().forward(piece(2 * MAX)).await;
    assert!(is_polled(&uploading) && is_polled(&responding));
    let held = responding.response(piece(MAX));
    assert!(is_polled(&uploading), "its upstream may take something");
    drop(upload);
    assert!(!is_polled(&uploading));
    drop(held);
}

#[test]
fn a_client_that_takes_nothing_is_stalled() {
    let (backlog, connection, budget) = backlog(MAX);
    assert!(!backlog.is_stalled(), "nothing waits");
    let held = backlog.response(piece(1));
    assert!(backlog.is_stalled());
    drop(held);
    assert!(!backlog.is_stalled());
    let patient = Arc::new(ConnectionBacklog::new(budget, Duration::from_secs(60), RATE));
    let patient = Arc::new(Backlog::new(patient));
    let _held = patient.response(piece(1));
    assert!(!patient.is_stalled());
    drop(connection);
}

/// A client can begin and reset any number of requests while there is no room.
#[test]
fn a_request_that_is_over_waits_no_longer() {
    let (_, connection, _) = backlog(MAX);
    connection.set_blocked(true);
    let mut cx = Context::from_waker(Waker::noop());
    let backlogs: Vec<_> = (0..3).map(|_| Arc::new(Backlog::new(connection.clone()))).collect();
    let mut requests: Vec<_> =
        backlogs.iter().map(|one| Box::pin(paced(one, true, std::future::pending::<()>()))).collect();
    for (backlog, request) in backlogs.iter().zip(&mut requests) {
        backlog.is_forwarded.store(true, SeqCst);
        assert!(request.as_mut().poll(&mut cx).is_pending() && request.as_mut().poll(&mut cx).is_pending());
    }
    assert_eq!(connection.waiting.lock().len(), 3);
    drop(requests.remove(1));
    assert_eq!(connection.waiting.lock().len(), 2);
    connection.set_blocked(false);
    assert_eq!(connection.waiting.lock().len(), 0);
}

#[test]
fn a_panic_leaves_no_mark_on_its_thread() {
    let panics = std::panic::catch_unwind(|| {
        let mut connection = pin!(driven(poll_fn(|_| -> Poll<()> {
            assert_eq!(ACTING.get(), Acting::Connection);
            panic!("as a hook may")
        })));
        let _ = connection.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    assert_eq!((panics.is_err(), ACTING.get()), (true, Acting::Other));
}
