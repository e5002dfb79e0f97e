//! The command line. One file a subcommand.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed: a port is taken, no gateway listens, input is wrong |
//! | 2 | the configuration is wrong, or the command line is |
//! | 3 | done, with a warning: `revoke`, where it has no effect |
//! | 4 | it is not known: the gateway that was asked ended before it answered, or a command of `policy` took too long |

mod check;
mod completions;
mod config_argument;
mod failure;
#[cfg(feature = "key-auth")]
mod key;
#[cfg(feature = "basic-auth")]
mod password;
mod plugins;
mod policy;
mod reload;
mod revoke;
mod run;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use log::Level;

use self::{config_argument::ConfigArgument, failure::Failure};
use crate::{
    config::{Report, problem::counted},
    registry::Registry,
    signals,
    telemetry::journal::stderr,
};

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 it failed; 2 the configuration or the command line is wrong; 3 done, with a warning (revoke);
4 not known: the gateway ended before it answered (reload, revoke, policy), or a command took too long (policy).

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
    /// Have a policy of the running gateway carry out a command, or list its commands.
    Policy(policy::Arguments),
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
        Command::Policy(arguments) => policy::run(&arguments),
        #[cfg(feature = "key-auth")]
        Command::Key(command) => key::run(command, &mut io::stdout(), &mut io::stdin()).map_err(Failure::Other),
        #[cfg(feature = "basic-auth")]
        Command::Password(command) => {
            password::run(&command, &mut io::stdout(), &mut io::stdin()).map_err(Failure::Other)
        }
        Command::Plugins(arguments) => plugins::run(&arguments, &registry),
        Command::Completions(arguments) => completions::run(&arguments, &mut Cli::command()),
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

/// Prints what is wrong with a configuration.
fn wrong(report: &Report) -> ExitCode {
    let problems = counted(report.0.len(), "problem", "problems");
    stderr(Level::Error, &format!("{report}{} the configuration has {problems}", error_label()));
    ExitCode::from(2)
}

/// Returns the label of errors: red on a terminal, plain elsewhere and with `NO_COLOR`.
fn error_label() -> &'static str {
    let is_coloured = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if is_coloured { "\u{1b}[1;31merror:\u{1b}[0m" } else { "error:" }
}
