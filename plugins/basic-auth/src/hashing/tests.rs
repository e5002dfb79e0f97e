use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
};

use super::*;

/// A stranger; each number has an address of its own.
fn stranger(number: u32) -> Requester<'static> {
    Requester { address: IpAddr::V4(Ipv4Addr::from_bits(number)), known: None }
}

/// Waits until the only turn is taken.
async fn taken(hashing: &Hashing) {
    until(|| hashing.0.available() == 0).await;
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(future)
}

/// Work that is done when the test says so.
fn held() -> (mpsc::Sender<()>, impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel::<()>();
    (done, move || _ = wait.recv())
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn so_many_at_once_and_the_others_wait_for_their_turn() {
    let hashing = Arc::new(Hashing::new(2));
    run(async {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..20)
            .map(|_| {
                let (hashing, running, most) = (hashing.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                    };
                    hashing.run(stranger(0), work).await
                })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), Ok(()));
        }
        assert!((1..=2).contains(&most.load(SeqCst)));
    });
    assert_eq!(hashing.0.waiting(), 0);
}

#[test]
fn a_full_queue_is_no_turn_and_who_gives_up_leaves_it() {
    let hashing = Arc::new(Hashing::new(1));
    run(async {
        let (done, work) = held();
        let first = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run(stranger(0), work).await }
        });
        taken(&hashing).await;
        const STRANGERS: usize = HASHES_WAITING_MAX - HASHES_WAITING_MAX / 4;
        let waiting: Vec<_> = (1..=STRANGERS as u32)
            .map(|number| {
                let hashing = hashing.clone();
                tokio::spawn(async move { hashing.run(stranger(number), || ()).await })
            })
            .collect();
        until(|| hashing.0.waiting() == STRANGERS).await;
        assert_eq!(hashing.run(stranger(0), || ()).await, Err(Unhashed::QueueFull));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        until(|| hashing.0.waiting() == 0).await;
        drop(done);
        assert_eq!(first.await.unwrap(), Ok(()));
        assert_eq!(hashing.run(stranger(0), || 7).await, Ok(7));
    });
}

#[test]
fn work_that_nobody_waits_for_keeps_its_turn_until_it_is_done() {
    let hashing = Arc::new(Hashing::new(1));
    run(async {
        let (done, work) = held();
        let first = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run(stranger(0), work).await }
        });
        taken(&hashing).await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(hashing.0.available(), 0, "or giving up would be a way to more of them");
        drop(done);
        assert_eq!(hashing.run(stranger(0), || 7).await, Ok(7));
    });
}

#[test]
fn nobody_waits_longer_than_clients_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let hashing = Hashing::new(0);
        assert_eq!(hashing.run(stranger(0), || ()).await, Err(Unhashed::NoTurn));
        assert_eq!(hashing.0.waiting(), 0);
    });
}

#[test]
fn work_that_panics_fails_and_gives_its_turn_back() {
    let hashing = Hashing::new(1);
    run(async {
        assert_eq!(hashing.run(stranger(0), || panic!("a test")).await, Err::<(), _>(Unhashed::Broken));
        assert_eq!(hashing.run(stranger(0), || 7).await, Ok(7));
    });
}
