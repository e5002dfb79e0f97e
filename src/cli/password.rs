//! `portcullis password`: makes the lines that stand in the configuration for the passwords of `basic-auth`.
//!
//! A password is read from standard input and never taken as an argument, where the shell's history and every process
//! list would show it.

use std::io::{Read, Write};

use clap::{Args, Subcommand, ValueEnum};
use portcullis_basic_auth::{Algorithm, PASSWORD_MAX_BYTES, hash_password};
use portcullis_plugin::Secret;

/// Makes the lines that stand in the configuration for passwords.
#[derive(Debug, Subcommand)]
pub(super) enum PasswordCommand {
    /// Reads a password from standard input and prints the line for the configuration.
    ///
    /// The password may end with one newline. It has at least 12 characters: whoever gets hold of the file can try
    /// shorter ones out, at leisure and with no limit on attempts.
    Hash(HashPassword),
}

/// The arguments of `portcullis password hash`.
#[derive(Debug, Args)]
pub(super) struct HashPassword {
    /// The algorithm of the hash.
    #[arg(long, value_enum, default_value_t)]
    pub algorithm: AlgorithmName,
}

/// The name of an algorithm for password hashes.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum AlgorithmName {
    /// Argon2id with 19 MiB and two passes.
    #[default]
    Argon2id,
    /// bcrypt with a cost of 12, for files that other programs read too; at most 72 bytes of password.
    Bcrypt,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Argon2id => Self::Argon2id,
            AlgorithmName::Bcrypt => Self::Bcrypt,
        }
    }
}

/// The shortest password that is hashed, in characters.
const PASSWORD_MIN_CHARS: usize = 12;

/// Runs the command.
///
/// # Errors
/// Returns what went wrong, in words that show no password.
pub(super) fn run(command: &PasswordCommand, out: &mut impl Write, input: &mut impl Read) -> Result<(), String> {
    let PasswordCommand::Hash(options) = command;
    let password = read_password(input)?;
    let hash = hash_password(options.algorithm.into(), password.expose()).map_err(|error| error.to_string())?;
    // Nothing in a hash needs escaping in TOML: letters, digits and `$=,+/.`.
    let line = writeln!(out, "password_hash = \"{hash}\"");
    line.and_then(|()| out.flush()).map_err(|error| format!("cannot write: {error}"))
}

/// Reads one password, without the newline that an editor or `echo` adds.
fn read_password(input: &mut impl Read) -> Result<Secret, String> {
    // Enough to detect a longer one. Allocated at once, so that no copy of the password is left behind when the buffer
    // grows.
    const READ_MAX_BYTES: usize = PASSWORD_MAX_BYTES + 3;
    let mut bytes = Vec::with_capacity(READ_MAX_BYTES + 1);
    let read = input.take(READ_MAX_BYTES as u64).read_to_end(&mut bytes);
    let text = Secret::new(bytes);
    read.map_err(|error| format!("cannot read the password: {error}"))?;
    let line = text.expose();
    let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
    if line.is_empty() {
        return Err(
            "no password came on standard input: `printf %s \"$PASSWORD\" | portcullis password hash`".to_owned()
        );
    }
    // Text that is not UTF-8 counts by its bytes here, and is refused when it is hashed.
    let chars = str::from_utf8(line).map_or(line.len(), |text| text.chars().count());
    if chars < PASSWORD_MIN_CHARS {
        return Err(format!(
            "the password has fewer than {PASSWORD_MIN_CHARS} characters: whoever gets hold of its hash could try them \
             all out"
        ));
    }
    Ok(Secret::new(line.to_vec()))
}

#[cfg(test)]
mod tests;
