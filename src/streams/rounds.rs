//! Rounds of judging: each judges every stream once, and none waits for an answer from elsewhere.
//!
//! Nearly all judgements complete at once. One that does not (a certificate whose OCSP responder is asked, a token
//! whose revocation is looked up in a store) goes on beside the rounds, so that a stream which is to end does not wait
//! for others: a silent responder would otherwise keep hundreds of revoked streams open. A judgement counts for the
//! round that it was begun in, and never overrides the result of a later round.
//!
//! What completes at once may still take a millisecond of computing: a chain of certificates under a CA that the reload
//! has changed is verified anew. So a round of many streams runs on several threads.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use portcullis_plugin::Reason;
use tokio::{runtime::Handle, task::unconstrained, time::timeout};

use super::{OpenStreams, Standing, Stream, Withdrawn};

/// The most judgements that wait for an answer from elsewhere at once.
pub(crate) const WAITING_MAX: usize = 64;
/// The time limit of such a wait.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(5);
/// The most threads that judge in one round.
const THREADS_MAX: usize = 8;
/// The least number of streams for which a round has another thread.
const THREAD_STREAMS: usize = 128;

/// A running judgement of a stream. It owns everything it needs: it may outlive the round.
pub(crate) type Judgement = BoxFuture<'static, Standing>;
/// Judges by the configuration of one round.
pub(crate) type JudgeBy = Box<dyn Fn(Arc<Stream>) -> Judgement + Send + Sync>;

/// Judges the open streams, round after round.
pub(crate) struct Rounds<'s> {
    streams: &'s OpenStreams,
    /// The last round, and the configuration it judges by; `None` while nothing waits, so that no configuration is
    /// held.
    newest: Option<(u64, JudgeBy)>,
    /// The number of the last round.
    last: u64,
    /// No stream is here twice, nor here and in the queue.
    waiting: FuturesUnordered<BoxFuture<'static, (Arc<Stream>, u64, Standing)>>,
    /// Those for which there is no place above. They are judged again when there is.
    queue: VecDeque<Weak<Stream>>,
}

/// The result of a round so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The number of streams that were due.
    pub streams: usize,
    /// The number of them that end.
    pub over: usize,
    /// The number that could not be judged yet.
    pub undecided: usize,
}

impl<'s> Rounds<'s> {
    /// Returns the state before the first round.
    pub(crate) fn new(streams: &'s OpenStreams) -> Self {
        Self { streams, newest: None, last: 0, waiting: FuturesUnordered::new(), queue: VecDeque::new() }
    }

    /// Judges those that were not judged in this round or a later one. Judgements that do not complete at once are left
    /// to [`Rounds::work`]. It is called again for the same round to retry those that could not be judged; those that
    /// wait already are not begun anew.
    pub(crate) fn begin(&mut self, round: u64, judge: JudgeBy) -> Judged {
        let is_retry = std::mem::replace(&mut self.last, round) == round;
        let due = self.streams.due(round);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX);
        let share = due.len().div_ceil(threads).max(THREAD_STREAMS);
        let begin = |streams: &[Arc<Stream>]| begin(streams, round, is_retry, &judge);
        let mut shares = due.chunks(share);
        let mine = shares.next().unwrap_or_default();
        let begun: Vec<Begun> = thread::scope(|scope| {
            // Hooks find the runtime of the thread that waits for them.
            let runtime = Handle::try_current().ok();
            let others: Vec<_> = shares
                .map(|share| {
                    let runtime = runtime.clone();
                    scope.spawn(move || {
                        let _entered = runtime.as_ref().map(Handle::enter);
                        begin(share)
                    })
                })
                .collect();
            let mine = begin(mine);
            let others = others.into_iter().map(|other| other.join().expect("judgements are guarded"));
            std::iter::once(mine).chain(others).collect()
        });
        let mut judged = Judged { streams: due.len(), ..Judged::default() };
        for Begun { over, undecided, waiting } in begun {
            judged.over += over;
            judged.undecided += undecided;
            waiting.into_iter().for_each(|(stream, judgement)| self.enter(stream, round, judgement));
        }
        self.newest = Some((round, judge));
        self.fill();
        judged
    }

    /// Drives the judgements that wait. It never ends; cancelling it loses nothing.
    pub(crate) async fn work(&mut self) -> Infallible {
        loop {
            match self.waiting.next().await {
                Some((stream, round, standing)) => self.settle(&stream, round, standing),
                None => pending().await,
            }
            self.fill();
        }
    }

    fn enter(&mut self, stream: Arc<Stream>, round: u64, judgement: Judgement) {
        if self.waiting.len() >= WAITING_MAX {
            return self.queue.push_back(Arc::downgrade(&stream));
        }
        stream.asked();
        self.waiting.push(
            async move {
                let standing = timeout(JUDGE_TIMEOUT, judgement).await;
                (stream, round, standing.unwrap_or_else(|_| Standing::Undecided("it took too long".to_owned())))
            }
            .boxed(),
        );
    }

    /// Stores the result of a judgement that had to wait. If later rounds have begun since, the stream is judged by the
    /// last.
    fn settle(&mut self, stream: &Arc<Stream>, round: u64, standing: Standing) {
        stream.take(round, standing);
        let is_due_again = self.newest.as_ref().is_some_and(|(newest, _)| round < *newest && stream.is_due(*newest));
        stream.is_waiting.store(is_due_again, Relaxed);
        if is_due_again {
            self.queue.push_back(Arc::downgrade(stream));
        }
    }

    /// Judges those for which there is a place now.
    fn fill(&mut self) {
        while let Some((round, judge)) = &self.newest
            && self.waiting.len() < WAITING_MAX
            && let Some(stream) = self.queue.pop_front()
        {
            let Some(stream) = stream.upgrade() else { continue };
            if stream.is_due(*round) {
                let (round, judgement) = (*round, guarded(judge(stream.clone())));
                self.enter(stream, round, judgement);
            } else {
                stream.is_waiting.store(false, Relaxed);
            }
        }
        if self.waiting.is_empty() {
            self.newest = None;
        }
    }
}

/// The result of a part of a round.
#[derive(Default)]
struct Begun {
    over: usize,
    undecided: usize,
    /// The judgements that have to wait.
    waiting: Vec<(Arc<Stream>, Judgement)>,
}

fn begin(streams: &[Arc<Stream>], round: u64, is_retry: bool, judge: &JudgeBy) -> Begun {
    let mut begun = Begun::default();
    for stream in streams {
        let mut judgement = None;
        let mut at_once = None;
        if !(is_retry && stream.is_waiting.load(Relaxed)) {
            let begun = judgement.insert(guarded(judge(stream.clone())));
            at_once = begun.as_mut().now_or_never();
        }
        let standing = match at_once {
            Some(standing) => {
                judgement = None;
                stream.take(round, standing)
            }
            None => stream.take_waiting(round),
        };
        match standing {
            Standing::Good(_) => {}
            Standing::Over(_) => begun.over += 1,
            Standing::Undecided(_) => {
                begun.undecided += 1;
                // An older judgement that waits goes on: otherwise many rounds would let none finish.
                if let Some(judgement) = judgement
                    && !stream.is_waiting.swap(true, Relaxed)
                {
                    begun.waiting.push((stream.clone(), judgement));
                }
            }
        }
    }
    begun
}

/// Runs a judgement so that a plugin that panics ends its stream. Thousands of judgements are polled in one go, which
/// tokio would take for a task that does not yield: it would make them wait for what is ready.
fn guarded(judgement: Judgement) -> Judgement {
    let caught = AssertUnwindSafe(unconstrained(judgement)).catch_unwind();
    caught.map(|it| it.unwrap_or_else(|_| Standing::Over(Withdrawn::by(Reason::PluginFailed)))).boxed()
}
