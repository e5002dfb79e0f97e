//! Tests of judgements that wait for an answer from elsewhere.

use futures_util::{
    FutureExt,
    future::{BoxFuture, select},
};
use tokio::sync::oneshot;

use super::{super::rounds::WAITING_MAX, *};

/// Judgements that were begun and have no answer yet, each with its stream.
type Asked = Arc<Mutex<Vec<(Arc<Stream>, oneshot::Sender<Standing>)>>>;

/// Judges by waiting for an answer of the test.
fn asking(asked: &Asked) -> impl Fn(Arc<Stream>) -> BoxFuture<'static, Standing> + Send + Sync + 'static {
    let asked = asked.clone();
    move |stream| {
        let (answer, waiting) = oneshot::channel();
        asked.lock().push((stream, answer));
        async move { waiting.await.expect("an answer") }.boxed()
    }
}

/// Removes questions that nobody waits for any more, and returns the number of those left.
fn left(asked: &Asked) -> usize {
    asked.lock().retain(|(_, answer)| !answer.is_closed());
    asked.lock().len()
}

/// Answers the question that has waited longest.
fn answer(asked: &Asked, standing: Standing) {
    left(asked);
    let (_, answer) = asked.lock().remove(0);
    answer.send(standing).expect("somebody waits");
}

/// Lets the waiting judgements go on as far as they can.
async fn work(rounds: &mut Rounds<'_>) {
    let mut turns = 0;
    let idle = std::future::poll_fn(|context| {
        turns += 1;
        context.waker().wake_by_ref();
        if turns > 3 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    select(std::pin::pin!(rounds.work()), idle).await;
}

#[tokio::test]
async fn six_hundred_that_wait_do_not_hold_up_one_that_ends() {
    let (streams, _) = streams();
    let waiting: Vec<_> = (0..640).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    let revoked = OpenStreams::enter(basis(&streams), NEVER);
    let other = OpenStreams::enter(basis(&streams), NEVER);
    streams.judge_again();
    let mut rounds = Rounds::new(&streams);
    let is_it = revoked.stream.clone();
    let judge = move |stream: Arc<Stream>| {
        let is_it = Arc::ptr_eq(&stream, &is_it);
        async move { if is_it { over(Reason::TokenRevoked) } else { pending().await } }
    };
    assert_eq!(begin(&mut rounds, &streams, judge), Judged { streams: 642, over: 1, undecided: 641 });
    assert_eq!(revoked.over(), Some(&Withdrawn::by(Reason::TokenRevoked)));
    // The next round ends another one, while all the rest still wait for the first.
    streams.judge_again();
    let is_it = other.stream.clone();
    let judge = move |stream: Arc<Stream>| {
        let is_it = Arc::ptr_eq(&stream, &is_it);
        async move { if is_it { over(Reason::CredentialWithdrawn) } else { pending().await } }
    };
    assert_eq!(begin(&mut rounds, &streams, judge), Judged { streams: 641, over: 1, undecided: 640 });
    assert_eq!(other.over(), Some(&Withdrawn::by(Reason::CredentialWithdrawn)));
    assert!(waiting.iter().all(|stream| stream.over().is_none()));
}

#[tokio::test]
async fn so_many_wait_at_once_and_all_have_their_turn() {
    const MANY: usize = 3 * WAITING_MAX;
    let (streams, _) = streams();
    let mut entered: Vec<_> = (0..MANY).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let (mut rounds, asked) = (Rounds::new(&streams), Asked::default());
    assert_eq!(begin(&mut rounds, &streams, asking(&asked)).undecided, MANY);
    assert_eq!(left(&asked), WAITING_MAX);
    // Those that end meanwhile are not judged.
    let gone = entered.split_off(MANY - 10);
    let is_asked = |stream: &Entered| asked.lock().iter().any(|(of, _)| Arc::ptr_eq(of, &stream.stream));
    let (asked_for, not_yet): (Vec<_>, Vec<_>) = gone.into_iter().partition(is_asked);
    let expected = MANY - not_yet.len();
    drop(not_yet);
    for number in 0..expected {
        assert!(left(&asked) <= WAITING_MAX);
        answer(&asked, Standing::Good(Some(UnixTime(i64::try_from(number).expect("small")))));
        work(&mut rounds).await;
    }
    assert_eq!(left(&asked), 0);
    assert!(entered.iter().chain(&asked_for).all(|stream| stream.deadline() != NEVER));
    assert_eq!(begin(&mut rounds, &streams, asking(&asked)).streams, 0, "all are judged");
}

#[tokio::test]
async fn a_judgement_counts_for_its_round_and_not_against_a_later_one() {
    let (streams, _) = streams();
    let stream = OpenStreams::enter(basis(&streams), NEVER);
    let (mut rounds, asked) = (Rounds::new(&streams), Asked::default());
    // The later one lets it go on, or ends it; then comes the answer of the first.
    for (later, first) in
        [(Standing::Good(Some(UnixTime(7))), over(Reason::PolicyChanged)), (over(Reason::TokenRevoked), GOOD)]
    {
        streams.judge_again();
        begin(&mut rounds, &streams, asking(&asked));
        streams.judge_again();
        let decided = later.clone();
        begin(&mut rounds, &streams, move |_| ready(decided.clone()));
        answer(&asked, first);
        work(&mut rounds).await;
        assert_eq!(stream.deadline(), 7);
        let ended = stream.over().map(|why| Standing::Over(why.clone()));
        assert_eq!(ended, Some(later).filter(|later| matches!(later, Standing::Over(_))));
    }
}

#[tokio::test]
async fn a_judgement_of_an_earlier_round_is_followed_by_one_of_the_last() {
    let (streams, _) = streams();
    let stream = OpenStreams::enter(basis(&streams), NEVER);
    let (mut rounds, first, last) = (Rounds::new(&streams), Asked::default(), Asked::default());
    streams.judge_again();
    begin(&mut rounds, &streams, asking(&first));
    // Many rounds do not prevent a judgement from finishing.
    for _ in 0..3 {
        streams.judge_again();
        begin(&mut rounds, &streams, asking(&last));
        assert_eq!((left(&first), left(&last)), (1, 0));
    }
    answer(&first, Standing::Good(Some(UnixTime(9))));
    work(&mut rounds).await;
    assert_eq!((stream.deadline(), stream.over(), left(&last)), (9, None, 1));
    answer(&last, over(Reason::CertificateRevoked));
    work(&mut rounds).await;
    assert_eq!(stream.over(), Some(&Withdrawn::by(Reason::CertificateRevoked)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_waited_for_a_minute_and_no_longer() {
    let (streams, _) = streams();
    let stream = OpenStreams::enter(basis(&streams), NEVER);
    streams.judge_again();
    let mut rounds = Rounds::new(&streams);
    let never = |_| pending::<Standing>();
    for _ in 0..3 {
        assert_eq!(begin(&mut rounds, &streams, never).undecided, 1);
        let _ = tokio::time::timeout(Duration::from_secs(6), rounds.work()).await;
    }
    assert!(!stream.is_waiting.load(Relaxed), "it is given up, and will be tried again");
    let since = stream.undecided_since.lock().take().expect("it began");
    *stream.undecided_since.lock() = since.checked_sub(UNDECIDED_MAX);
    assert_eq!(begin(&mut rounds, &streams, never).over, 1);
    assert_eq!(stream.over().map(|why| why.reason), Some(Reason::PluginFailed));
}

#[tokio::test]
async fn a_plugin_that_panics_after_it_has_waited_ends_its_request_alone() {
    let (streams, _) = streams();
    let entered: Vec<_> = (0..2).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let (mut rounds, asked) = (Rounds::new(&streams), Asked::default());
    begin(&mut rounds, &streams, asking(&asked));
    // A sender that is dropped is the bug.
    let (bad, _) = asked.lock().remove(0);
    work(&mut rounds).await;
    for stream in &entered {
        let expected = Arc::ptr_eq(&stream.stream, &bad).then_some(Reason::PluginFailed);
        assert_eq!(stream.over().map(|why| why.reason), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_turn_is_not_ended_for_that() {
    let (streams, _) = streams();
    let all: Vec<_> = (0..WAITING_MAX + 1).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let mut rounds = Rounds::new(&streams);
    let never = |_| pending::<Standing>();
    assert_eq!(begin(&mut rounds, &streams, never).undecided, WAITING_MAX + 1);
    let since = |stream: &Entered| *stream.undecided_since.lock();
    assert_eq!(all.iter().filter(|stream| since(stream).is_some()).count(), WAITING_MAX, "one has its turn later");
    for stream in all.iter().filter(|stream| since(stream).is_some()) {
        let before = since(stream).and_then(|since| since.checked_sub(UNDECIDED_MAX));
        *stream.undecided_since.lock() = before;
    }
    assert_eq!(begin(&mut rounds, &streams, never).over, WAITING_MAX);
    assert_eq!(all.iter().filter(|stream| stream.over().is_none()).count(), 1);
}

/// A silent responder of thousands of streams would keep those that nobody has asked about open for long.
#[tokio::test(start_paused = true)]
async fn the_turn_of_a_stream_comes_in_time_or_it_ends() {
    let (streams, _) = streams();
    let all: Vec<_> = (0..WAITING_MAX + 1).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let mut rounds = Rounds::new(&streams);
    let never = |_| pending::<Standing>();
    begin(&mut rounds, &streams, never);
    let last = all.iter().find(|stream| stream.undecided_since.lock().is_none()).expect("one has its turn later");
    let since = last.queued_since.lock().take().expect("it waits");
    *last.queued_since.lock() = since.checked_sub(QUEUED_MAX);
    assert_eq!(begin(&mut rounds, &streams, never).over, 1);
    assert_eq!(last.over().map(|why| why.reason), Some(Reason::PluginFailed));
}

#[tokio::test]
async fn a_retry_asks_nobody_who_is_still_asked() {
    let (streams, _) = streams();
    let _entered: Vec<_> = (0..WAITING_MAX + 5).map(|_| OpenStreams::enter(basis(&streams), NEVER)).collect();
    streams.judge_again();
    let mut rounds = Rounds::new(&streams);
    let count: Arc<AtomicUsize> = Arc::default();
    let asked = || {
        let count = count.clone();
        move |_| {
            count.fetch_add(1, Relaxed);
            pending::<Standing>()
        }
    };
    for _ in 0..3 {
        assert_eq!(begin(&mut rounds, &streams, asked()).undecided, WAITING_MAX + 5);
    }
    assert_eq!(count.load(Relaxed), WAITING_MAX + 5);
    streams.judge_again();
    begin(&mut rounds, &streams, asked());
    assert_eq!(count.load(Relaxed), 2 * (WAITING_MAX + 5), "another configuration may decide at once");
}
