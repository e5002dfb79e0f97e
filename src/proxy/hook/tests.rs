use std::sync::Arc;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::{
    services::Services,
    telemetry::{Metrics, Output},
};

fn state() -> RequestState {
    let output = Output::start(std::io::sink()).expect("a thread");
    let metrics = Metrics::new("test", Box::new(|| 0), Box::new(|| 0));
    RequestState::new(Arc::new(Services::new(Arc::new(metrics), output)))
}

fn call(state: &RequestState) -> Call<'_> {
    Call { state, policy: "p", hook: "guard" }
}

/// What comes of a hook that has so long, and the line of metrics about it.
fn asked<'a>(
    timeout: Duration,
    hook: impl FnOnce() -> Answer<'a, Result<(), PluginError>>,
) -> (Result<(), Undecided>, Option<String>) {
    let state = state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(call(&state).wait(&Client::default(), timeout, hook));
    let metrics = state.services.metrics.render();
    let counted =
        metrics.lines().find_map(|line| line.strip_prefix("portcullis_hook_failures_total")).map(str::to_owned);
    (outcome, counted)
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

#[test]
fn an_answer_is_an_answer_at_once_or_later() {
    assert_eq!(asked(LONG, || Answer::Now(Ok(()))), (Ok(()), None));
    assert_eq!(asked(LONG, || Answer::later(async { Ok(()) })), (Ok(()), None));
    let late = || {
        Answer::later(async {
            tokio::task::yield_now().await;
            Ok(())
        })
    };
    assert_eq!(asked(LONG, late), (Ok(()), None));
    let failed = || Answer::Now(Err(PluginError::new("no answer")));
    let counted = "{policy=\"p\",hook=\"guard\",reason=\"plugin_failed\"} 1".to_owned();
    assert_eq!(asked(LONG, failed), (Err(Undecided::Failed("no answer".into())), Some(counted)));
}

#[test]
fn a_hook_that_lets_others_go_first_does() {
    let is_other_done = AtomicBool::new(false);
    let yields = || {
        Answer::later(async {
            tokio::task::yield_now().await;
            assert!(is_other_done.load(Relaxed));
            Ok(())
        })
    };
    let state = state();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (outcome, ()) = runtime.block_on(async {
        let other = async { is_other_done.store(true, Relaxed) };
        futures_util::future::join(call(&state).wait(&Client::default(), LONG, yields), other).await
    });
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_hook_that_takes_too_long_is_dropped() {
    struct Told<'t>(&'t AtomicBool);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let is_dropped = AtomicBool::new(false);
    let told = Told(&is_dropped);
    let endless = || {
        Answer::later(async move {
            let _told = told;
            std::future::pending().await
        })
    };
    let counted = "{policy=\"p\",hook=\"guard\",reason=\"plugin_timed_out\"} 1".to_owned();
    assert_eq!(asked(SHORT, endless), (Err(Undecided::TimedOut(SHORT)), Some(counted)));
    assert!(is_dropped.load(Relaxed));
}

/// Panics when it is dropped, unless something has panicked already.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("in a destructor");
        }
    }
}

#[test]
fn a_panic_ends_in_the_hook_wherever_it_is() {
    let counted = || Some("{policy=\"p\",hook=\"guard\",reason=\"plugin_panicked\"} 1".to_owned());
    assert_eq!(asked(LONG, || panic!("at once")), (Err(Undecided::Panicked), counted()));
    assert_eq!(
        asked(LONG, || Answer::later(async { panic!("at the first poll") })),
        (Err(Undecided::Panicked), counted())
    );
    let later = || {
        Answer::later(async {
            tokio::task::yield_now().await;
            panic!("{} later", "some time")
        })
    };
    assert_eq!(asked(LONG, later), (Err(Undecided::Panicked), counted()));
    let dropped = || {
        Answer::later(async {
            let _grenade = Grenade;
            std::future::pending().await
        })
    };
    assert_eq!(asked(SHORT, dropped).0, Err(Undecided::TimedOut(SHORT)));
    assert_eq!(asked(LONG, || std::panic::panic_any(Grenade)).0, Err(Undecided::Panicked));
}

#[test]
fn a_hook_that_does_not_wait_is_caught_as_well() {
    let state = state();
    assert_eq!(call(&state).run(|| Ok(1)), Ok(1));
    assert_eq!(call(&state).run(|| -> Result<(), _> { panic!("a bug") }), Err(Undecided::Panicked));
    let failed = call(&state).run(|| -> Result<(), _> { Err(PluginError::new("no")) });
    assert_eq!(failed, Err(Undecided::Failed("no".into())));
}

#[test]
fn an_answer_that_is_there_allocates_nothing() {
    let state = state();
    let client = Client::default();
    let allocations = allocation_counter::measure(|| {
        let call = call(&state);
        let mut asking = std::pin::pin!(call.wait(&client, LONG, || Answer::Now(Ok(()))));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(asking.as_mut().poll(&mut cx).is_ready());
    });
    assert_eq!(allocations.count_total, 0);
}
