//! What systemd is told (sd_notify(3)). Without `NOTIFY_SOCKET` in the environment all of it does nothing.

use sd_notify::NotifyState;

use crate::reload::Reloaded;

/// A reload has begun. `MONOTONIC_USEC` tells systemd that this is about its own `ExecReload`, not about an older one.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    states.extend(NotifyState::monotonic_usec_now());
    notify(&states);
}

/// The gateway serves: after its start, and after each reload, whatever came of it.
pub fn ready(reloaded: &Reloaded) {
    notify(&[NotifyState::Ready, NotifyState::Status(&status(reloaded))]);
}

/// The gateway is on its way out.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing what is in flight")]);
}

fn status(reloaded: &Reloaded) -> String {
    let serving = format!("generation {}, {} routes", reloaded.generation, reloaded.routes);
    match reloaded.errors.as_slice() {
        [] => serving,
        [first, ..] => format!("{serving}; the last reload was refused ({} problems): {first}", reloaded.errors.len()),
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        log::warn!("systemd was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Located;

    #[test]
    fn the_status_has_the_generation_the_routes_and_what_was_refused() {
        let mut reloaded = Reloaded { generation: 3, routes: 12, changes: None, errors: Vec::new() };
        assert_eq!(status(&reloaded), "generation 3, 12 routes");
        let wrong = Located { file: "p.toml".into(), line: 4, column: 1, path: "routes.a".into(), text: "no".into() };
        reloaded.errors.push(wrong);
        let expected = "generation 3, 12 routes; the last reload was refused (1 problems): p.toml:4:1: routes.a: no";
        assert_eq!(status(&reloaded), expected);
    }
}
