//! The thread that judges open streams again, whenever it is time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use portcullis_plugin::UnixTime;
use tokio::time::sleep;

use super::recheck::Judge;
use crate::{
    snapshot::Snapshot,
    streams::{Judged, OpenStreams, Rounds, Stream},
};

/// The interval at which all are judged without a known change.
const JUDGE_EVERY: Duration = Duration::from_secs(60);
/// The time until those that could not be judged are judged again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The least time between two rounds: many revocations one after the other are one round.
const PAUSE: Duration = Duration::from_millis(200);

/// Judges open streams whenever it is time, to the end of the process.
pub(crate) fn run(streams: &OpenStreams, current: &ArcSwap<Snapshot>) -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut wait, mut all_judged, mut rounds) = (JUDGE_EVERY, Instant::now(), Rounds::new(streams));
        loop {
            let is_called = tokio::select! {
                biased;
                () = streams.called() => true,
                () = working(&mut rounds, wait) => false,
            };
            if !is_called && all_judged.elapsed() >= JUDGE_EVERY {
                streams.begin_round();
                all_judged = Instant::now();
            }
            let judged = begin(&mut rounds, streams, current);
            wait = if judged.undecided > 0 { RETRY_AFTER } else { JUDGE_EVERY.saturating_sub(all_judged.elapsed()) };
            working(&mut rounds, PAUSE).await;
        }
    })
}

/// Waits, and sees meanwhile to the judgements that wait as well.
async fn working(rounds: &mut Rounds<'_>, time: Duration) {
    tokio::select! {
        () = sleep(time) => {}
        never = rounds.work() => match never {},
    }
}

fn begin(rounds: &mut Rounds<'_>, streams: &OpenStreams, current: &ArcSwap<Snapshot>) -> Judged {
    let started = Instant::now();
    // Read before the snapshot: what is published in between is the next round's.
    let round = streams.round();
    let judge = Judge::new(current.load_full());
    let by = move |stream: Arc<Stream>| {
        let judge = judge.at(UnixTime::now());
        async move { judge.standing(stream.basis()).await }.boxed()
    };
    let judged = rounds.begin(round, Box::new(by));
    if judged.over > 0 || judged.undecided > 0 {
        let Judged { streams, over, undecided } = judged;
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        log::info!(streams, over, undecided, took_ms; "open requests were judged again");
    }
    judged
}
