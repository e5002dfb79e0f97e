//! Work between building and publishing that policies want finished before they serve, such as the first fetch of a key
//! set.

use std::{
    convert::Infallible,
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

use portcullis_plugin::Background;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::snapshot::Snapshot;

/// The time limit for all work before publishing. A server that does not answer must not block a configuration:
/// unfinished work is dropped, and the policy serves with what it has.
pub(crate) const BEFORE_PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs that work concurrently, and waits for it. A policy that is kept from the snapshot before has done its own
/// already.
pub(crate) fn prepare(snapshot: &Snapshot, runtime: &Handle) {
    wait_for(&start(snapshot, runtime), BEFORE_PUBLISH_TIMEOUT);
}

/// Running work, which drops its end of the channel when it is done.
struct Running {
    tasks: Vec<(String, AbortHandle)>,
    done: mpsc::Receiver<Infallible>,
}

fn start(snapshot: &Snapshot, runtime: &Handle) -> Running {
    let (running, done) = mpsc::channel();
    let work = snapshot
        .instances
        .iter()
        .flat_map(|(policy, instance)| instance.before_publish().into_iter().map(move |work| (policy.clone(), work)));
    let tasks = work.map(|(policy, work)| spawn(&policy, work, &running, runtime)).collect();
    Running { tasks, done }
}

fn spawn(
    policy: &str,
    work: Background,
    running: &mpsc::Sender<Infallible>,
    runtime: &Handle,
) -> (String, AbortHandle) {
    let running = running.clone();
    let task = runtime.spawn(async move {
        work.await;
        drop(running);
    });
    (policy.to_owned(), task.abort_handle())
}

fn wait_for(running: &Running, limit: Duration) {
    let started = Instant::now();
    // Nothing is ever sent: the last task to end, also by a panic, closes the channel.
    if running.done.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected) {
        return;
    }
    for (policy, task) in running.tasks.iter().filter(|(_, task)| !task.is_finished()) {
        task.abort();
        log::warn!("`{policy}` was not ready after {:?}: the configuration is taken without", started.elapsed());
    }
}

#[cfg(test)]
mod tests;
