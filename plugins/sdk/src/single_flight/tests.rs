use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use tokio::sync::Notify;

use super::*;

struct Fixture {
    flights: Arc<SingleFlight<u8, usize>>,
    begun: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

impl Fixture {
    fn new(most: usize) -> Self {
        Self { flights: Arc::new(SingleFlight::new(most)), begun: Arc::default(), go: Arc::default() }
    }

    /// Waits for work that ends once it is told to, with how often work was begun.
    fn run(&self, key: u8) -> impl Future<Output = Result<usize, FlightError>> + Send + use<> {
        let (flights, begun, go) = (self.flights.clone(), self.begun.clone(), self.go.clone());
        async move {
            let work = || {
                let number = begun.fetch_add(1, SeqCst) + 1;
                async move {
                    go.notified().await;
                    number
                }
            };
            flights.run(key, work).await
        }
    }

    async fn settled(&self) {
        while self.flights.under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wait_for_one() {
    let (flights, begun) = (Arc::new(SingleFlight::new(8)), Arc::new(AtomicUsize::new(0)));
    let run = || {
        let (flights, begun) = (flights.clone(), begun.clone());
        async move {
            let work = || async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                begun.fetch_add(1, SeqCst)
            };
            flights.run(1, work).await
        }
    };
    let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(run())).collect();
    for one in waiting {
        assert!(one.await.unwrap().is_ok());
    }
    assert!(begun.load(SeqCst) < 10, "who comes while it is under way waits for the same");
}

#[tokio::test]
async fn the_first_may_leave() {
    let fixture = Fixture::new(8);
    let mut first = Box::pin(fixture.run(1));
    assert!(tokio::time::timeout(Duration::ZERO, &mut first).await.is_err());
    let second = tokio::spawn(fixture.run(1));
    tokio::task::yield_now().await;
    drop(first);
    fixture.go.notify_one();
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!(fixture.begun.load(SeqCst), 1, "once for both");
}

#[tokio::test]
async fn the_work_goes_on_when_everybody_has_left() {
    let fixture = Fixture::new(8);
    assert!(tokio::time::timeout(Duration::ZERO, fixture.run(1)).await.is_err());
    assert_eq!(fixture.flights.under_way(), 1);
    fixture.go.notify_one();
    fixture.settled().await;
    fixture.go.notify_one();
    assert_eq!(fixture.run(1).await, Ok(2), "and nothing is left of it");
}

#[tokio::test]
async fn others_are_others_up_to_a_number() {
    let fixture = Fixture::new(2);
    let waiting = [tokio::spawn(fixture.run(1)), tokio::spawn(fixture.run(2))];
    tokio::task::yield_now().await;
    assert_eq!(fixture.run(3).await, Err(FlightError::Full));
    let joined = tokio::spawn(fixture.run(1));
    tokio::task::yield_now().await;
    fixture.go.notify_waiters();
    for one in waiting {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(joined.await.unwrap(), Ok(1), "who joins needs no room");
    fixture.settled().await;
}

#[tokio::test]
async fn work_that_panics_is_lost_and_may_begin_again() {
    let flights: SingleFlight<u8, u8> = SingleFlight::new(1);
    let panicking = flights.run(1, || async { panic!("on purpose") });
    assert_eq!(panicking.await, Err(FlightError::Lost));
    assert_eq!(flights.run(1, || async { 7 }).await, Ok(7));
}
