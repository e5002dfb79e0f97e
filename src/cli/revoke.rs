use std::{io::Write, path::PathBuf};

use jiff::Timestamp;
use portcullis_plugin::{Revocation, Span, UnixTime};
use serde::{
    Deserialize,
    de::{
        IntoDeserializer,
        value::{self, StrDeserializer},
    },
};

use super::{config_argument::ConfigArgument, failure::Failure, reload::Socket};
use crate::{
    control::{self, Revoke},
    telemetry::clock::rfc3339,
};

#[derive(clap::Args)]
#[group(id = "which", required = true, multiple = false, args = ["token_id", "subject", "all_tokens"])]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The issuer of the tokens: their `iss`, exactly; empty for tokens without one.
    #[arg(long)]
    issuer: String,
    /// One token, by its `jti`.
    #[arg(long, value_name = "JTI")]
    token_id: Option<String>,
    /// The tokens of one subject, by their `sub`.
    #[arg(long)]
    subject: Option<String>,
    /// All tokens of the issuer.
    #[arg(long)]
    all_tokens: bool,
    /// Tokens that were issued at this moment or earlier: a time such as 2026-11-25T10:00:00Z, no later than now, or
    /// `now`.
    #[arg(long, value_name = "TIME", default_value = "now", value_parser = moment)]
    #[arg(conflicts_with_all = ["token_id", "min_version"])]
    issued_before: UnixTime,
    /// With --subject: tokens whose version is lower, or that have none, in place of those issued before a time.
    #[arg(long, value_name = "N", requires = "subject", conflicts_with_all = ["token_id", "all_tokens"])]
    min_version: Option<u64>,
    /// The time to remember it: longer than the tokens live.
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = span)]
    keep: Span,
    /// The gateway's control socket; absent: as the configuration has it, else in the runtime directory.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn moment(text: &str) -> Result<UnixTime, String> {
    let now = UnixTime::now();
    if text == "now" {
        return Ok(now);
    }
    let time =
        text.parse::<Timestamp>().map_err(|_| "write a time such as 2026-11-25T10:00:00Z, or `now`".to_owned())?;
    let time = UnixTime(time.as_second());
    if time > now.after(Revoke::MAX_AHEAD) {
        return Err("it lies ahead: tokens that are not issued yet would be refused as well".to_owned());
    }
    // A time slightly in the future is the present by another clock.
    Ok(time.min(now))
}

fn span(text: &str) -> Result<Span, String> {
    let text: StrDeserializer<'_, value::Error> = text.into_deserializer();
    match Span::deserialize(text) {
        Ok(Span(span)) if span.as_secs() == 0 => Err("shorter than a second: nothing would be revoked".to_owned()),
        span => span.map_err(|error| error.to_string()),
    }
}

impl Arguments {
    fn revocation(&self) -> Revocation {
        let (issuer, issued_until) = (self.issuer.clone(), self.issued_before);
        match (&self.token_id, self.subject.clone(), self.min_version) {
            (Some(jti), ..) => Revocation::Token { issuer, jti: jti.clone() },
            (None, Some(subject), Some(at_least)) => Revocation::Version { issuer, subject, at_least },
            (None, Some(subject), None) => Revocation::Subject { issuer, subject, issued_until },
            (None, None, _) => Revocation::Issuer { issuer, issued_until },
        }
    }
}

/// `portcullis revoke`.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.config.file()?;
    let socket = Socket::find(arguments.socket.as_deref(), file)?;
    let revoke = Revoke {
        serves: control::absolute(file),
        revocation: arguments.revocation(),
        keep_s: arguments.keep.0.as_secs(),
    };
    let revoked = control::ask_to_revoke(&socket.path, &revoke).map_err(|why| socket.no_answer(&why))?;
    if let Some(why) = revoked.error {
        let why = format!("nothing is revoked: {why}");
        return Err(if revoked.is_not_meant { Failure::CommandLine(why) } else { Failure::Other(why) });
    }
    let mut out = std::io::stdout();
    writeln!(out, "revoked: {}", in_words(&revoke.revocation))?;
    let until = rfc3339(UnixTime::now().after(arguments.keep.0));
    writeln!(out, "the gateway remembers it for {}, until {until}; a restart forgets it", arguments.keep)?;
    revoked.warning.map_or(Ok(()), |why| Err(Failure::Warned(why)))
}

/// Describes what is revoked. Text of a caller is escaped, so that a terminal does not act on it.
fn in_words(revocation: &Revocation) -> String {
    let issuer = revocation.issuer().escape_debug();
    match revocation {
        Revocation::Token { jti, .. } => format!("the token `{}` of `{issuer}`", jti.escape_debug()),
        Revocation::Subject { subject, issued_until, .. } => {
            let (subject, until) = (subject.escape_debug(), rfc3339(*issued_until));
            format!("tokens of `{issuer}` for `{subject}` that were issued until {until}")
        }
        Revocation::Issuer { issued_until, .. } => {
            format!("all tokens of `{issuer}` that were issued until {}", rfc3339(*issued_until))
        }
        Revocation::Version { subject, at_least, .. } => {
            format!("tokens of `{issuer}` for `{}` below version {at_least}", subject.escape_debug())
        }
    }
}
