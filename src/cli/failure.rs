use std::io;

use crate::config::Report;

/// The reason why a command failed.
pub(crate) enum Failure {
    /// The configuration is wrong: exit code 2.
    Configuration(Report),
    /// The gateway has refused the configuration, and keeps the one before: exit code 2.
    Refused(Report),
    /// The command line contradicts itself: exit code 2.
    CommandLine(String),
    /// It was done, but probably not with the intended effect: exit code 3.
    Warned(String),
    /// The gateway ended before it answered: exit code 4.
    Unknown(String),
    /// Standard output is closed, so nothing can be reported: exit code 1.
    Unread,
    /// Anything else: exit code 1.
    Other(String),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Configuration(report)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Unread } else { Self::Other(error.to_string()) }
    }
}
