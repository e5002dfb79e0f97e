//! The command `refresh` and the parts of `/status` of a policy that fetches key sets.

use std::sync::Arc;

use portcullis_plugin::{Answer, BuildCx, Command, CommandError, StatusRows};
use tokio::time::Instant;

use super::{KeySource, finished};

/// Registers the command `refresh`, which fetches the policy's key sets now, and a part of `/status` for each of them.
/// Without a source it registers nothing.
pub fn register(sources: &[Arc<KeySource>], cx: &mut BuildCx<'_>) {
    if sources.is_empty() {
        return;
    }
    let all: Arc<[Arc<KeySource>]> = sources.into();
    cx.command(Command::new("refresh", "", "fetch the key sets now", move |arguments| {
        if !arguments.is_empty() {
            return Answer::Now(Err(CommandError::usage("`refresh` takes no arguments")));
        }
        let all = all.clone();
        Answer::later(async move { refresh(&all).await.map(Into::into) })
    }));
    for source in sources {
        let of_status = source.clone();
        cx.status(format!("keys of {}", source.place.name), move |rows| of_status.rows(rows));
    }
}

/// Fetches all of them together.
async fn refresh(sources: &[Arc<KeySource>]) -> Result<String, CommandError> {
    let running: Vec<_> = sources.iter().map(|source| source.start(&mut source.place.schedule.lock())).collect();
    for running in running {
        finished(running).await;
    }
    let is_failed = |source: &&Arc<KeySource>| source.place.schedule.lock().failed.is_some();
    let failed: Vec<&str> = sources.iter().filter(is_failed).map(|source| &*source.place.name).collect();
    if !failed.is_empty() {
        return Err(CommandError::failed(format!("not fetched, as the log says: {}", failed.join(", "))));
    }
    let fetched = sources.iter().map(|source| {
        let keys = source.place.known.load().as_ref().map_or(0, |known| known.keys.keys().len());
        format!("fetched {keys} keys of {}", source.place.name)
    });
    Ok(fetched.collect::<Vec<_>>().join("\n"))
}

impl KeySource {
    fn rows(&self, rows: &mut StatusRows) {
        let known = self.place.known.load_full();
        let (has_failed, due) = {
            let schedule = self.place.schedule.lock();
            (schedule.failed.is_some(), self.due(&schedule))
        };
        rows.row("keys", known.as_ref().map_or(0, |known| known.keys.keys().len()));
        if let Some(known) = &known {
            rows.row("fetched_before_s", known.fetched.elapsed().as_secs());
        }
        rows.row("next_fetch_in_s", due.saturating_duration_since(Instant::now()).as_secs());
        rows.row("serves", if self.current().is_ok() { "yes" } else { "no: requests get 503" });
        let last_fetch = match (has_failed, &known) {
            (true, _) => "failed",
            (false, Some(_)) => "ok",
            (false, None) => "none yet",
        };
        rows.row("last_fetch", last_fetch);
    }
}
