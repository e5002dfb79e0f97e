//! File descriptors: each connection of a client uses one, and one more to its upstream.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything else: listeners, the control socket, files that are read, key sets that are fetched.
const RESERVE: u64 = 128;

/// Raises the limit of open file descriptors of this process to the most that is allowed. The lower limit is for
/// programs that use select(2), which supports 1024 of them.
///
/// # Errors
/// The system does not allow it.
pub(crate) fn raise_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    }
    Ok(())
}

/// Returns a warning if this process may run out of file descriptors with this many connections of clients.
pub(crate) fn shortage(max_connections: usize) -> Option<String> {
    shortage_within(max_connections, getrlimit(Resource::Nofile).maximum)
}

/// `None` for the limit: there is none.
fn shortage_within(max_connections: usize, limit: Option<u64>) -> Option<String> {
    let wanted = (max_connections as u64).saturating_mul(2).saturating_add(RESERVE);
    let limit = limit.filter(|limit| *limit < wanted)?;
    Some(format!(
        "`server.max_connections` is {max_connections}, for which the gateway may need {wanted} file descriptors, and this \
         process may open {limit} (`ulimit -n`, `LimitNOFILE=` of the unit): requests above that are 503"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_for_each_connection_and_some_for_everything_else() {
        let is_short = |limit| shortage_within(1000, limit).is_some();
        assert_eq!([Some(0), Some(1024), Some(2127)].map(is_short), [true; 3]);
        assert_eq!([Some(2128), Some(1 << 20), None].map(is_short), [false; 3]);
        assert!(shortage_within(usize::MAX, Some(u64::MAX - 1)).is_some());
    }
}
