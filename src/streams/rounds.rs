//! Rounds of judging: each has every stream judged once, and none waits for an answer from elsewhere.
//!
//! Nearly all judgements are there at once. One that is not (a certificate whose responder is asked, a token whose
//! revocation a store has to tell) goes on beside the rounds, so that a stream which is to end does not wait for others: a
//! responder that is silent would else keep hundreds of revoked streams open. A judgement counts for the round that it
//! was begun in, and never against what a later round has decided.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use portcullis_plugin::Reason;
use tokio::{task::unconstrained, time::timeout};

use super::{OpenStreams, Standing, Stream, Withdrawn};

/// How many judgements wait for an answer from elsewhere at once.
pub const WAITING_MAX: usize = 64;
/// How long one of them waits.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream that is being judged. It holds all that it needs: it may outlive the round.
pub type Judgement = LocalBoxFuture<'static, Standing>;
/// Judges by the configuration of one round.
pub type JudgeBy = Box<dyn Fn(Arc<Stream>) -> Judgement>;

/// Judges the open streams, round after round, on one thread.
pub struct Rounds<'s> {
    streams: &'s OpenStreams,
    /// The last round, and what it judges by; absent while nothing waits, so that no configuration is held.
    newest: Option<(u64, JudgeBy)>,
    /// No stream is here twice, nor here and in the queue.
    waiting: FuturesUnordered<LocalBoxFuture<'static, (Arc<Stream>, u64, Standing)>>,
    /// Those for which there is no room above. They are judged again when there is.
    queue: VecDeque<Weak<Stream>>,
}

/// The outcome of a round so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// How many were due.
    pub streams: usize,
    /// How many of them end.
    pub over: usize,
    /// How many could not be judged yet.
    pub undecided: usize,
}

impl<'s> Rounds<'s> {
    /// None so far.
    pub fn new(streams: &'s OpenStreams) -> Self {
        Self { streams, newest: None, waiting: FuturesUnordered::new(), queue: VecDeque::new() }
    }

    /// Judges those that were not judged in this round or a later one. What cannot be told at once is left to
    /// [`Rounds::work`]. It is called again for the same round to try those again that could not be judged.
    pub fn begin(&mut self, round: u64, judge: JudgeBy) -> Judged {
        let due = self.streams.due(round);
        let mut judged = Judged { streams: due.len(), ..Judged::default() };
        for stream in due {
            let mut judgement = guarded(judge(stream.clone()));
            let at_once = judgement.as_mut().now_or_never();
            let is_waiting = at_once.is_none();
            let standing = at_once.unwrap_or_else(|| Standing::Undecided("it waits for an answer".to_owned()));
            match stream.take(round, standing) {
                Standing::Good(_) => {}
                Standing::Over(_) => judged.over += 1,
                Standing::Undecided(_) => {
                    judged.undecided += 1;
                    // Where an older judgement waits, that one goes on: many rounds would else let none come to its end.
                    if is_waiting && !stream.is_waiting.swap(true, Relaxed) {
                        self.enter(stream, round, judgement);
                    }
                }
            }
        }
        self.newest = Some((round, judge));
        self.fill();
        judged
    }

    /// Sees to the judgements that wait. It never ends; giving it up loses nothing.
    pub async fn work(&mut self) -> Infallible {
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
        self.waiting.push(
            async move {
                let standing = timeout(JUDGE_TIMEOUT, judgement).await;
                (stream, round, standing.unwrap_or_else(|_| Standing::Undecided("it took too long".to_owned())))
            }
            .boxed_local(),
        );
    }

    /// Takes what a judgement came to that had to wait. Where later rounds have begun since, it is judged by the last.
    fn settle(&mut self, stream: &Arc<Stream>, round: u64, standing: Standing) {
        stream.take(round, standing);
        let is_due_again = self.newest.as_ref().is_some_and(|(newest, _)| round < *newest && stream.is_due(*newest));
        stream.is_waiting.store(is_due_again, Relaxed);
        if is_due_again {
            self.queue.push_back(Arc::downgrade(stream));
        }
    }

    /// Has those judged for which there is room now.
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

/// A plugin that panics ends its stream. Judgements are polled by the thousand in one go, which tokio would take for a task
/// that does not let others run: it would have them wait for what is there.
fn guarded(judgement: Judgement) -> Judgement {
    let caught = AssertUnwindSafe(unconstrained(judgement)).catch_unwind();
    caught.map(|it| it.unwrap_or_else(|_| Standing::Over(Withdrawn::by(Reason::PluginFailed)))).boxed_local()
}
