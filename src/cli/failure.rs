use std::io;

use crate::config::Report;

/// Why a command failed.
pub(crate) enum Failure {
    /// The configuration is wrong: exit code 2.
    Configuration(Report),
    /// The gateway has refused the configuration, and keeps the one before: exit code 2.
    Refused(Report),
    /// The command line asks for what cannot be meant: exit code 2.
    CommandLine(String),
    /// It was done, and hardly does what was meant: exit code 3.
    Warned(String),
    /// Whoever was asked ended before it answered: exit code 4.
    Unknown(String),
    /// Nobody reads what is printed, and so nobody is told: exit code 1.
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
