//! The command line. One file a subcommand.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed: a port is taken, no gateway listens, input is wrong |
//! | 2 | the configuration is wrong, or the command line is |
//! | 3 | done, with a warning: `revoke`, where it has no effect |
//! | 4 | it is not known: the gateway that `reload` or `revoke` asked ended before it answered |

mod check;
mod completions;
#[cfg(feature = "key-auth")]
mod key;
#[cfg(feature = "basic-auth")]
mod password;
mod plugins;
mod reload;
mod revoke;
mod run;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use log::Level;

use crate::{
    config::{Report, problem::counted},
    registry::Registry,
    signals,
    telemetry::journal::stderr,
};

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 it failed; 2 the configuration or the command line is wrong; 3 done, with a warning (revoke);
4 not known: the gateway ended before it answered (reload, revoke).

A first look: portcullis run -c conf/portcullis.toml";

/// An API gateway that proves who is calling before it lets a request through.
#[derive(Parser)]
#[command(name = "portcullis", version, about, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway in the foreground.
    ///
    /// SIGHUP takes the configuration as it is now; SIGTERM finishes what is in flight and ends, at most after
    /// `server.drain_timeout`; SIGINT does the same, sooner. Lines of JSON go to standard output.
    Run(ConfigArgument),
    /// Say everything that is wrong with a configuration; change nothing.
    Check(check::Arguments),
    /// Ask the running gateway to take its configuration as it is now, and say what changed or what is wrong.
    Reload(reload::Arguments),
    /// Have the running gateway refuse tokens that are still valid: one, those of a subject, or all of an issuer.
    Revoke(revoke::Arguments),
    /// Make API keys.
    #[cfg(feature = "key-auth")]
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make the hashes of passwords.
    #[cfg(feature = "basic-auth")]
    #[command(subcommand)]
    Password(password::PasswordCommand),
    /// List the plugins of this gateway, or show the configuration of one.
    Plugins(plugins::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
}

/// Where the configuration is, unless the command line says.
const DEFAULT_CONFIG: &str = "/etc/portcullis/portcullis.toml";

/// Where the configuration is.
#[derive(clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl ConfigArgument {
    /// The file; where nobody named one, and there is none in the usual place, that is what has to be said.
    fn file(&self) -> Result<&Path, Failure> {
        if self.config == Path::new(DEFAULT_CONFIG) && !self.config.exists() {
            return Err(
                Report::of_file(&self.config, "there is no such file: name the configuration with -c FILE").into()
            );
        }
        Ok(&self.config)
    }
}

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

/// Runs the command line of this process with these plugins.
pub(crate) fn main(registry: Registry) -> ExitCode {
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Run(_)) {
        signals::unblock();
    }
    let done = match cli.command {
        Command::Run(config) => run::run(&config, registry),
        Command::Check(arguments) => check::run(&arguments, &registry),
        Command::Reload(arguments) => reload::run(&arguments),
        Command::Revoke(arguments) => revoke::run(&arguments),
        #[cfg(feature = "key-auth")]
        Command::Key(command) => key::run(command, &mut io::stdout(), &mut io::stdin()).map_err(Failure::Other),
        #[cfg(feature = "basic-auth")]
        Command::Password(command) => {
            password::run(&command, &mut io::stdout(), &mut io::stdin()).map_err(Failure::Other)
        }
        Command::Plugins(arguments) => plugins::run(&arguments, &registry),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unread) => ExitCode::FAILURE,
        Err(Failure::Other(why)) => {
            stderr(Level::Error, &format!("{} {why}", error_label()));
            ExitCode::FAILURE
        }
        Err(Failure::CommandLine(why)) => {
            stderr(Level::Error, &format!("{} {why}", error_label()));
            ExitCode::from(2)
        }
        Err(Failure::Unknown(why)) => {
            stderr(Level::Error, &format!("{} {why}", error_label()));
            ExitCode::from(4)
        }
        Err(Failure::Warned(why)) => {
            stderr(Level::Warn, &format!("warning: {why}"));
            ExitCode::from(3)
        }
        Err(Failure::Configuration(report)) => wrong(&report),
        Err(Failure::Refused(report)) => {
            let code = wrong(&report);
            stderr(Level::Error, "The previous configuration is still in use.");
            code
        }
    }
}

/// Says what is wrong with a configuration.
fn wrong(report: &Report) -> ExitCode {
    let problems = counted(report.0.len(), "problem", "problems");
    stderr(Level::Error, &format!("{report}{} the configuration has {problems}", error_label()));
    ExitCode::from(2)
}

/// Red on a terminal, plain elsewhere and where `NO_COLOR` asks for it.
fn error_label() -> &'static str {
    let is_coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_coloured { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" }
}
