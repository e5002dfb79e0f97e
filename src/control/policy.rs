//! Commands of policies: a plugin has registered them when its policy was built, and an operator runs them by
//! `portcullis policy`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize, mpsc},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use log::Level;
use portcullis_plugin::{Answer, Command, CommandError};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::{
    served_file::{is_one_file, serves_another},
    slot::Slot,
};
use crate::{
    services::Services,
    snapshot::Snapshot,
    telemetry::{Note, Value},
};

/// The time that a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The most commands that run at once, those that ignore their deadline included.
const COMMANDS_MAX: usize = 4;
/// The largest answer of a command.
const ANSWER_MAX_BYTES: usize = 256 << 10;

/// The command that a caller wants a policy to carry out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// The configuration's file of the gateway that the caller means.
    pub serves: PathBuf,
    /// The policy's name. Absent: all policies with commands are listed.
    pub policy: Option<String>,
    /// The command's name. Absent: the policy's commands are listed.
    pub command: Option<String>,
    /// The arguments.
    pub arguments: Vec<String>,
}

/// The result of an [`Order`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Carried {
    /// The result.
    pub outcome: Outcome,
    /// The answer as JSON, or the error's text.
    pub answer: serde_json::Value,
}

/// The kinds of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The command was carried out, or the list was made.
    Done,
    /// The order is wrong: there is no such policy or command, or the arguments are wrong.
    Wrong,
    /// The command failed.
    Failed,
    /// The command did not end in time: it may have been carried out or not.
    Unknown,
}

/// Carries out commands of the current policies.
pub(crate) struct Orders {
    services: Arc<Services>,
    runtime: Handle,
    current: Arc<ArcSwap<Snapshot>>,
    running: Arc<AtomicUsize>,
}

impl Orders {
    /// Returns what carries out commands; those that wait use the timers and sockets of `runtime`.
    pub(crate) fn new(services: Arc<Services>, runtime: Handle, current: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { services, runtime, current, running: Arc::default() }
    }

    /// Carries out an order, and logs it with the user who gave it.
    pub(super) fn carry_out(&self, order: &Order, serves: &Path, user: libc::uid_t) -> Carried {
        if !is_one_file(&order.serves, serves) {
            return Carried { outcome: Outcome::Failed, answer: serves_another(serves).into() };
        }
        // The configuration is let go before the command runs, which may take long.
        let found = find(&self.current.load(), order);
        let command = match found {
            Ok(command) => command,
            Err(listed) => return listed,
        };
        let carried = match check(&order.arguments) {
            Ok(()) => self.run(command, &order.arguments),
            Err(why) => Carried { outcome: Outcome::Wrong, answer: why.into() },
        };
        self.note(order, &carried, user);
        carried
    }

    /// Runs a command on a thread of its own, so that one that blocks keeps nobody waiting after its deadline.
    fn run(&self, command: Command, arguments: &[String]) -> Carried {
        let Some(slot) = Slot::take(&self.running, COMMANDS_MAX) else {
            let why = format!("{COMMANDS_MAX} commands run already: try again later");
            return Carried { outcome: Outcome::Failed, answer: why.into() };
        };
        let (told, waits) = mpsc::channel();
        let (runtime, arguments) = (self.runtime.clone(), arguments.to_vec());
        let run = move || {
            let _slot = slot;
            // Nobody may wait any more.
            _ = told.send(contained(&runtime, &command, &arguments));
        };
        if let Err(error) = thread::Builder::new().name("command".into()).spawn(run) {
            return Carried { outcome: Outcome::Failed, answer: error.to_string().into() };
        }
        // A moment more than the command has: one that waits ends by itself.
        waits.recv_timeout(COMMAND_TIMEOUT + Duration::from_secs(1)).unwrap_or_else(|_| too_late())
    }

    fn note(&self, order: &Order, carried: &Carried, user: libc::uid_t) {
        let arguments = serde_json::to_string(&order.arguments).unwrap_or_default();
        let (level, message) = match carried.outcome {
            Outcome::Done => (Level::Info, "a command of a policy was carried out"),
            Outcome::Wrong | Outcome::Failed => (Level::Error, "a command of a policy failed"),
            Outcome::Unknown => (Level::Error, "a command of a policy did not end in time"),
        };
        let error = carried.answer.as_str().filter(|_| carried.outcome != Outcome::Done);
        let mut fields = vec![
            ("policy", Value::Text(order.policy.as_deref().unwrap_or_default())),
            ("command", Value::Text(order.command.as_deref().unwrap_or_default())),
            ("arguments", Value::Text(&arguments)),
            ("user", Value::Number(user.into())),
        ];
        fields.extend(error.map(|error| ("error", Value::Text(error))));
        self.services.output.note(&Note { level, event: "command", message, fields: &fields });
    }
}

/// Returns the command that an order means, or else a list of those that there are.
fn find(snapshot: &Snapshot, order: &Order) -> Result<Command, Carried> {
    let Some(policy) = &order.policy else {
        return Err(Carried { outcome: Outcome::Done, answer: policies(snapshot).into() });
    };
    let wrong = |text: String| Carried { outcome: Outcome::Wrong, answer: text.into() };
    let Some(instance) = snapshot.instances.get(policy) else {
        let text = format!("there is no policy `{}`. {}", policy.escape_debug(), policies(snapshot));
        return Err(wrong(text));
    };
    let all = listed(policy, &instance.commands);
    let Some(name) = &order.command else { return Err(Carried { outcome: Outcome::Done, answer: all.into() }) };
    let command = instance.commands.iter().find(|command| command.name == name);
    let unknown = || wrong(format!("the policy `{policy}` has no command `{}`. {all}", name.escape_debug()));
    command.cloned().ok_or_else(unknown)
}

/// Lists the policies with commands.
fn policies(snapshot: &Snapshot) -> String {
    let mut all: Vec<_> = snapshot.instances.iter().filter(|(_, policy)| !policy.commands.is_empty()).collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    let all: Vec<String> = all.iter().map(|(name, policy)| listed(name, &policy.commands)).collect();
    if all.is_empty() { "No policy has commands.".to_owned() } else { all.join("\n") }
}

fn listed(policy: &str, commands: &[Command]) -> String {
    if commands.is_empty() {
        return format!("The policy `{policy}` has no commands.");
    }
    let lines = commands.iter().map(|command| {
        let usage = format!("{} {}", command.name, command.arguments);
        format!("\n  {}: {}", usage.trim_end(), command.help)
    });
    format!("Commands of the policy `{policy}`:{}", lines.collect::<String>())
}

fn check(arguments: &[String]) -> Result<(), String> {
    if arguments.len() > Command::ARGUMENTS_MAX {
        return Err(format!("a command has at most {} arguments", Command::ARGUMENTS_MAX));
    }
    match arguments.iter().any(|argument| argument.len() > Command::ARGUMENT_MAX_BYTES) {
        true => Err(format!("an argument has at most {} bytes", Command::ARGUMENT_MAX_BYTES)),
        false => Ok(()),
    }
}

/// Runs a command so that its panic is an answer, and so is its lateness.
#[expect(clippy::disallowed_methods, reason = "a command runs on a thread of its own")]
fn contained(runtime: &Handle, command: &Command, arguments: &[String]) -> Carried {
    let run = || {
        // Work that the command spawns needs a runtime.
        let _entered = runtime.enter();
        match command.run(arguments) {
            Answer::Now(answer) => Some(answer),
            Answer::Later(future) => runtime.block_on(tokio::time::timeout(COMMAND_TIMEOUT, future)).ok(),
        }
    };
    let Ok(answer) = catch_unwind(AssertUnwindSafe(run)) else {
        let why = format!("the plugin panicked in its command `{}`: a bug in it", command.name);
        log::error!("{why}");
        return Carried { outcome: Outcome::Failed, answer: why.into() };
    };
    match answer {
        None => too_late(),
        Some(Err(CommandError::Usage(why))) => Carried { outcome: Outcome::Wrong, answer: why.into() },
        Some(Err(CommandError::Failed(why))) => Carried { outcome: Outcome::Failed, answer: why.into() },
        Some(Ok(answer)) if answer.to_string().len() > ANSWER_MAX_BYTES => {
            let why = format!("it was carried out; its answer is longer than {ANSWER_MAX_BYTES} bytes");
            Carried { outcome: Outcome::Failed, answer: why.into() }
        }
        Some(Ok(answer)) => Carried { outcome: Outcome::Done, answer },
    }
}

fn too_late() -> Carried {
    let why = format!("it did not end within {} s: it may have been carried out or not", COMMAND_TIMEOUT.as_secs());
    Carried { outcome: Outcome::Unknown, answer: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(run: fn(&[String]) -> Answer<'static, Result<serde_json::Value, CommandError>>) -> (Outcome, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let carried = contained(runtime.handle(), &Command::new("go", "", "", run), &[]);
        (carried.outcome, carried.answer.to_string())
    }

    #[test]
    fn whatever_a_command_does_is_an_answer() {
        assert_eq!(carried(|_| Answer::Now(Ok(7.into()))), (Outcome::Done, "7".to_owned()));
        assert_eq!(carried(|_| Answer::later(async { Ok(8.into()) })), (Outcome::Done, "8".to_owned()));
        assert_eq!(carried(|_| Answer::Now(Err(CommandError::usage("no")))).0, Outcome::Wrong);
        assert_eq!(carried(|_| Answer::Now(Err(CommandError::failed("no")))).0, Outcome::Failed);
        for panics in [|_: &[String]| panic!("now"), |_: &[String]| Answer::later(async { panic!("later") })] {
            let (outcome, answer) = carried(panics);
            assert!(outcome == Outcome::Failed && answer.contains("panicked"), "{answer}");
        }
        let (outcome, answer) = carried(|_| Answer::Now(Ok("a".repeat(ANSWER_MAX_BYTES).into())));
        assert!(outcome == Outcome::Failed && answer.contains("longer than"), "{answer}");
    }
}
