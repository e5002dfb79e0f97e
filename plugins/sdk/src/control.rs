//! Commands of the control socket and rows of `/status`, for whoever operates the gateway.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use portcullis_plugin::{Answer, BuildCx, Cache, Command, CommandError, testing};
//!
//! fn build(cx: &mut BuildCx<'_>) -> Arc<Cache<String, bool>> {
//!     let answers = cx.cache("answers", 10_000);
//!     let purged = answers.clone();
//!     cx.command(Command::new("purge", "NAME", "forget one answer", move |arguments: &[String]| {
//!         let [name] = arguments else { return Answer::Now(Err(CommandError::usage("say one name"))) };
//!         purged.remove(name);
//!         Answer::Now(Ok("forgotten".into()))
//!     }));
//!     cx.status("answers", |rows| rows.row("limit", 10_000));
//!     answers
//! }
//!
//! let mut env = testing::Build::new();
//! let answers = build(&mut BuildCx::new(&mut env));
//! answers.insert("acme".to_owned(), true, Duration::from_secs(60));
//! assert_eq!(testing::now(env.commands[0].run(&["acme".to_owned()])), Ok("forgotten".into()));
//! assert_eq!(answers.get("acme"), None);
//! ```

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::Answer;

type Run = dyn Fn(&[String]) -> Answer<'static, Result<Value, CommandError>> + Send + Sync;

/// A command of one policy: `portcullis policy POLICY COMMAND [ARGUMENTS...]`. See
/// [`BuildCx::command`](crate::BuildCx::command).
///
/// It runs away from the workers, for root and the gateway's own user only. Command, arguments and caller are in the
/// log: a command takes no secrets. One that waits is dropped at its deadline, as a hook is.
#[derive(Clone)]
pub struct Command {
    /// The name, in kebab-case.
    pub name: &'static str,
    /// The arguments, as in a usage line: `"ADDRESS [USER]"`.
    pub arguments: &'static str,
    /// A short description, in the imperative.
    pub help: &'static str,
    run: Arc<Run>,
}

impl Command {
    /// The most arguments of a call.
    pub const ARGUMENTS_MAX: usize = 16;
    /// The longest argument.
    pub const ARGUMENT_MAX_BYTES: usize = 1024;
    /// The most commands of a policy.
    pub const OF_POLICY_MAX: usize = 16;

    /// Makes a command. `run` returns text, which is printed as it is, or any other JSON.
    pub fn new(
        name: &'static str,
        arguments: &'static str,
        help: &'static str,
        run: impl Fn(&[String]) -> Answer<'static, Result<Value, CommandError>> + Send + Sync + 'static,
    ) -> Self {
        Self { name, arguments, help, run: Arc::new(run) }
    }

    /// Runs it.
    pub fn run(&self, arguments: &[String]) -> Answer<'static, Result<Value, CommandError>> {
        (self.run)(arguments)
    }

    /// Returns `true` if the name can be one: letters, digits and hyphens, at most 32 of them.
    pub fn has_valid_name(&self) -> bool {
        let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=32).contains(&self.name.len()) && self.name.bytes().all(is_part) && !self.name.starts_with('-')
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Command").field(&self.name).finish()
    }
}

/// The reason why a command was not carried out. The operator reads it, and so does the log: it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl CommandError {
    /// The arguments are wrong; `why` says what would be right.
    pub fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    /// The command failed.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }
}

/// The named values of a part of a policy, for `/status`. See [`BuildCx::status`](crate::BuildCx::status).
#[derive(Debug, Default)]
pub struct StatusRows(Map<String, Value>);

impl StatusRows {
    /// The most rows of a part; more are left out.
    pub const ROWS_MAX: usize = 16;
    /// The longest name and text; the rest is cut off.
    pub const TEXT_MAX_BYTES: usize = 256;

    /// Adds a row: a number or a text.
    pub fn row(&mut self, name: &str, value: impl Into<StatusValue>) {
        if self.0.len() < Self::ROWS_MAX {
            let value = match value.into() {
                StatusValue::Number(number) => number.into(),
                StatusValue::Text(text) => cut(&text).into(),
            };
            self.0.insert(cut(name).to_owned(), value);
        }
    }

    /// Returns the rows, by name.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusValue {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl From<u64> for StatusValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for StatusValue {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl From<i32> for StatusValue {
    /// A number below zero is shown as zero.
    fn from(number: i32) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(0))
    }
}

impl From<&str> for StatusValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for StatusValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

fn cut(text: &str) -> &str {
    let most = text.len().min(StatusRows::TEXT_MAX_BYTES);
    let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

/// A part of a policy that `/status` shows.
#[derive(Clone)]
pub struct StatusPart {
    /// The title.
    pub title: String,
    rows: Arc<dyn Fn(&mut StatusRows) + Send + Sync>,
}

impl StatusPart {
    /// The most parts of a policy; more are not shown.
    pub const OF_POLICY_MAX: usize = 64;

    /// Makes a part; its rows are asked for at each look.
    pub fn new(title: impl Into<String>, rows: impl Fn(&mut StatusRows) + Send + Sync + 'static) -> Self {
        let title = title.into();
        Self { title: cut(&title).to_owned(), rows: Arc::new(rows) }
    }

    /// Returns the rows as they are now.
    pub fn rows(&self) -> StatusRows {
        let mut rows = StatusRows::default();
        (self.rows)(&mut rows);
        rows
    }
}

impl fmt::Debug for StatusPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StatusPart").field(&self.title).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_few_and_short() {
        let part = StatusPart::new("ü".repeat(1000), |rows| {
            (0..100).for_each(|number| rows.row(&format!("{number:03}"), "ü".repeat(1000)));
        });
        assert_eq!(part.title.len(), StatusRows::TEXT_MAX_BYTES);
        let rows = part.rows().into_map();
        assert_eq!(rows.len(), StatusRows::ROWS_MAX);
        assert!(rows.values().all(|value| value.as_str().is_some_and(|text| text.len() == 256)));
    }

    #[test]
    fn a_name_of_a_command_is_one_word() {
        let has = |name| Command::new(name, "", "", |_| Answer::Now(Ok(Value::Null))).has_valid_name();
        assert!(["forget", "forget-all", "v2"].into_iter().all(has));
        assert!(!["", "-c", "Forget", "a b", "a\n", "a.b", "abcdefghijklmnopqrstuvwxyz-1234567"].into_iter().any(has));
    }
}
