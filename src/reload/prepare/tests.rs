use std::future::pending;

use tokio::runtime::{Builder, Runtime};

use super::*;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
}

fn running(runtime: &Runtime, work: Vec<Background>) -> Running {
    let (running, done) = mpsc::channel();
    let tasks = work.into_iter().map(|work| spawn("keys", work, &running, runtime.handle())).collect();
    Running { tasks, done }
}

#[test]
fn without_work_nothing_is_waited_for() {
    let (runtime, began) = (runtime(), Instant::now());
    wait_for(&running(&runtime, Vec::new()), BEFORE_PUBLISH_TIMEOUT);
    assert!(began.elapsed() < BEFORE_PUBLISH_TIMEOUT);
}

#[test]
fn all_work_is_waited_for_and_a_panic_is_an_end_too() {
    let (runtime, began) = (runtime(), Instant::now());
    let (done, wait) = mpsc::channel();
    let broken = Box::pin(async { panic!("as it was asked to") });
    let good = Box::pin(async move { done.send(()).expect("somebody waits") });
    wait_for(&running(&runtime, vec![broken, good]), BEFORE_PUBLISH_TIMEOUT);
    assert_eq!(wait.try_recv(), Ok(()), "it was finished");
    assert!(began.elapsed() < BEFORE_PUBLISH_TIMEOUT);
}

#[test]
fn work_that_does_not_end_is_dropped() {
    struct Told(mpsc::Sender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).expect("somebody waits");
        }
    }
    let runtime = runtime();
    let (dropped, wait) = mpsc::channel();
    let told = Told(dropped);
    let endless = Box::pin(async move {
        pending::<()>().await;
        drop(told);
    });
    wait_for(&running(&runtime, vec![endless]), Duration::from_millis(20));
    wait.recv_timeout(Duration::from_secs(10)).expect("it was dropped");
}
