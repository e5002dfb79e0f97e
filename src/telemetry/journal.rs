//! The priority of lines for systemd's journal: a prefix of each line (sd-daemon(3)), written only if the journal reads
//! the output. Without it a refused reload is as unimportant to `journalctl -p err` as an access line.

use std::{
    fs::File,
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
};

use log::Level;

/// Returns whether the journal reads this output. systemd sets `JOURNAL_STREAM` to the device and inode it connected
/// (systemd.exec(5)), so that output which was redirected since is not mistaken for it.
pub(crate) fn is_journal(output: impl AsFd) -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, output))
}

fn is_stream(stream: &str, output: impl AsFd) -> bool {
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let like = output.as_fd().try_clone_to_owned().and_then(|output| File::from(output).metadata());
    like.is_ok_and(|like| device.parse() == Ok(like.dev()) && inode.parse() == Ok(like.ino()))
}

/// Returns the prefix of a line of this level. Lines without one have the priority that the unit sets, `info` by
/// default.
pub(crate) fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info | Level::Debug | Level::Trace => "",
    }
}

/// Writes lines to standard error, each with its priority if the journal reads them.
pub(crate) fn stderr(level: Level, text: &str) {
    let priority = if is_journal(io::stderr()) { priority(level) } else { "" };
    text.lines().for_each(|line| eprintln!("{priority}{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_stream_that_systemd_names_is_the_journal() {
        let (file, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let like = file.metadata().unwrap();
        let stream = format!("{}:{}", like.dev(), like.ino());
        assert!(is_stream(&stream, &file));
        assert!(!is_stream(&stream, &other), "redirected elsewhere");
        for wrong in ["", ":", "8", &format!("{}:", like.dev()), &format!("{}:{}", like.dev() + 1, like.ino())] {
            assert!(!is_stream(wrong, &file), "{wrong}");
        }
    }
}
