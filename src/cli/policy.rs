use std::{io::Write, path::PathBuf};

use super::{config_argument::ConfigArgument, failure::Failure, reload::Socket};
use crate::control::{self, Order, Outcome};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The gateway's control socket; absent: as the configuration has it, else in the runtime directory.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The policy, by its name in the file; absent: list the policies that have commands.
    policy: Option<String>,
    /// The command; absent: list those of the policy.
    command: Option<String>,
    /// Its arguments. They are in the gateway's log: none of them is a secret.
    #[arg(requires = "command")]
    arguments: Vec<String>,
}

/// `portcullis policy`.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.config.file()?;
    let socket = Socket::find(arguments.socket.as_deref(), file)?;
    let order = Order {
        serves: control::absolute(file),
        policy: arguments.policy.clone(),
        command: arguments.command.clone(),
        arguments: arguments.arguments.clone(),
    };
    let carried = control::ask_policy(&socket.path, &order).map_err(|why| socket.no_answer(&why))?;
    let text = match carried.answer.as_str() {
        Some(text) => printable(text),
        None => serde_json::to_string_pretty(&carried.answer).map_err(|error| Failure::Other(error.to_string()))?,
    };
    match carried.outcome {
        Outcome::Done => Ok(writeln!(std::io::stdout(), "{text}")?),
        Outcome::Wrong => Err(Failure::CommandLine(text)),
        Outcome::Failed => Err(Failure::Other(text)),
        Outcome::Unknown => Err(Failure::Unknown(text)),
    }
}

/// Escapes the control characters of a text, so that a terminal does not act on what strangers have sent.
fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter.to_string(),
        _ if letter.is_control() => letter.escape_default().to_string(),
        _ => letter.to_string(),
    };
    text.chars().map(shown).collect()
}
