use std::{
    future::{pending, ready},
    net::Ipv4Addr,
};

use futures_util::FutureExt;

use super::*;

mod waiting;

/// Returns the basis of a new request to a public route.
pub(crate) fn basis(streams: &Arc<OpenStreams>) -> Basis {
    let record = RouteRecord {
        name: "app".into(),
        metrics: Arc::default(),
        is_logged: false,
        observe: Vec::new(),
        ways: Box::default(),
        passed: Box::default(),
    };
    Basis {
        round: streams.round(),
        streams: streams.clone(),
        record: Arc::new(record),
        identity: None,
        granted_by: None,
        method: Method::GET,
        uri: Uri::from_static("/events"),
        host: None,
        headers: None,
        address: Ipv4Addr::LOCALHOST.into(),
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        is_https: false,
        connection: None,
    }
}

fn streams() -> (Arc<OpenStreams>, Arc<AtomicUsize>) {
    let count: Arc<AtomicUsize> = Arc::default();
    (Arc::new(OpenStreams::new(count.clone())), count)
}

/// Runs a round in which every judgement has this result.
pub(crate) fn round(streams: &OpenStreams, standing: &Standing) -> Judged {
    let standing = standing.clone();
    begin(&mut Rounds::new(streams), streams, move |_| ready(standing.clone()))
}

/// Begins the round that was requested last.
fn begin<F: Future<Output = Standing> + Send + 'static>(
    rounds: &mut Rounds<'_>,
    streams: &OpenStreams,
    judge: impl Fn(Arc<Stream>) -> F + Send + Sync + 'static,
) -> Judged {
    rounds.begin(streams.round(), Box::new(move |stream| judge(stream).boxed()))
}

const GOOD: Standing = Standing::Good(None);

fn over(reason: Reason) -> Standing {
    Standing::Over(Withdrawn::by(reason))
}

#[test]
fn a_request_is_judged_once_in_each_round_that_was_called_for_since_it_came() {
    let (streams, count) = streams();
    let before = basis(&streams);
    let early = OpenStreams::enter(basis(&streams), NEVER);
    assert_eq!(round(&streams, &GOOD).streams, 0, "nothing has changed");
    streams.judge_again();
    // It was let in before the change, and is registered after the round that the change requested.
    assert_eq!(round(&streams, &GOOD).streams, 1);
    let late = OpenStreams::enter(before, NEVER);
    let new = OpenStreams::enter(basis(&streams), NEVER);
    assert_eq!(round(&streams, &over(Reason::TokenRevoked)), Judged { streams: 1, over: 1, undecided: 0 });
    assert_eq!(late.over(), Some(&Withdrawn::by(Reason::TokenRevoked)));
    assert_eq!((early.over(), new.over()), (None, None));
    assert_eq!((streams.len(), count.load(Relaxed)), (3, 3));
    drop((early, late, new));
    assert!(streams.is_empty() && count.load(Relaxed) == 0);
}

#[test]
fn a_good_request_lasts_as_long_as_it_was_last_judged_to() {
    let (streams, _) = streams();
    let stream = OpenStreams::enter(basis(&streams), 100);
    for (until, expected) in [(Some(UnixTime(200)), 200), (Some(UnixTime(150)), 150), (None, NEVER)] {
        streams.judge_again();
        round(&streams, &Standing::Good(until));
        assert_eq!(stream.deadline(), expected);
    }
}

#[test]
fn what_cannot_be_judged_is_judged_again_and_ends_after_a_while() {
    let (streams, _) = streams();
    let stream = OpenStreams::enter(basis(&streams), NEVER);
    streams.judge_again();
    let undecided = Standing::Undecided("the store does not answer".to_owned());
    for _ in 0..3 {
        assert_eq!(round(&streams, &undecided), Judged { streams: 1, over: 0, undecided: 1 });
    }
    assert_eq!(stream.over(), None);
    assert_eq!(round(&streams, &GOOD).streams, 1);
    streams.judge_again();
    round(&streams, &undecided);
    let since = stream.undecided_since.lock().take().expect("it began");
    *stream.undecided_since.lock() = since.checked_sub(UNDECIDED_MAX);
    assert_eq!(round(&streams, &undecided).over, 1);
    let why = stream.over().expect("it ends");
    assert_eq!((why.reason, why.detail.as_deref()), (Reason::PluginFailed, Some("the store does not answer")));
}

#[test]
fn a_plugin_that_panics_ends_its_request_and_no_other() {
    let (streams, _) = streams();
    let entered: Vec<_> = (0..3).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let second = entered[1].stream.clone();
    let judged = begin(&mut Rounds::new(&streams), &streams, move |stream| {
        let is_second = Arc::ptr_eq(&stream, &second);
        async move {
            assert!(!is_second, "a bug in a plugin");
            GOOD
        }
    });
    assert_eq!(judged, Judged { streams: 3, over: 1, undecided: 0 });
    let reasons = entered.iter().map(|stream| stream.over().map(|why| why.reason));
    assert_eq!(reasons.collect::<Vec<_>>(), [None, Some(Reason::PluginFailed), None]);
}

#[test]
fn a_round_of_many_runs_on_several_threads() {
    const MANY: usize = 1000;
    let (streams, _) = streams();
    let entered: Vec<_> = (0..MANY).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let threads: Arc<Mutex<std::collections::HashSet<_>>> = Arc::default();
    let seen = threads.clone();
    let bad = entered[MANY - 1].stream.clone();
    let judged = begin(&mut Rounds::new(&streams), &streams, move |stream| {
        seen.lock().insert(std::thread::current().id());
        let is_bad = Arc::ptr_eq(&stream, &bad);
        async move {
            assert!(!is_bad, "a bug in a plugin");
            over(Reason::CertificateUnknownCa)
        }
    });
    assert_eq!(judged, Judged { streams: MANY, over: MANY, undecided: 0 });
    let reasons = entered.iter().filter_map(|stream| stream.over()).map(|why| why.reason);
    assert_eq!(reasons.filter(|reason| *reason == Reason::CertificateUnknownCa).count(), MANY - 1);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    assert_eq!(threads.lock().len() > 1, cores > 1);
}
