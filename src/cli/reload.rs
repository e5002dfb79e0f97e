use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use log::Level;

use super::{config_argument::ConfigArgument, failure::Failure};
use crate::{
    config::{Report, Source, problem::counted},
    control::{self, Asked, NoAnswer},
    telemetry::journal::stderr,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The gateway's control socket; absent: as the configuration has it, else in the runtime directory.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// `portcullis reload`.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.config.file()?;
    let socket = Socket::find(arguments.socket.as_deref(), file)?;
    let reloaded = match control::ask(&socket.path, file).map_err(|why| socket.no_answer(&why))? {
        Asked::Reloaded(reloaded) => reloaded,
        Asked::ServesAnother { serves } => return Err(Failure::CommandLine(control::serves_another(&serves))),
    };
    let Some(changes) = reloaded.changes else {
        return Err(Failure::Refused(Report(reloaded.errors)));
    };
    let mut out = io::stdout();
    writeln!(out, "generation {} serves, {}", reloaded.generation, counted(reloaded.routes, "route", "routes"))?;
    for line in changes.lines().chain(changes.tls.iter().cloned()) {
        writeln!(out, "{line}")?;
    }
    if !reloaded.not_reread.is_empty() {
        writeln!(out, "not read again, as it was at the start until a restart: {}", reloaded.not_reread.join(", "))?;
    }
    let warnings = changes.exposed.iter().map(ToString::to_string);
    let warnings = warnings.chain(reloaded.warnings.iter().map(ToString::to_string));
    warnings.for_each(|warning| stderr(Level::Warn, &format!("warning: {warning}")));
    Ok(())
}

/// The control socket of the gateway that serves a file.
pub(super) struct Socket {
    pub(super) path: PathBuf,
    origin: Origin,
    /// The error of the file, if the socket could not be read from it.
    file_error: Option<String>,
}

/// The source of a socket's path.
enum Origin {
    /// The command line.
    Said,
    /// The current content of the file.
    Configured,
    /// The default.
    Guessed,
}

impl Socket {
    /// Returns the path of the command line, else that of the file, else the default.
    pub(super) fn find(said: Option<&Path>, config: &Path) -> Result<Self, Failure> {
        if let Some(path) = said {
            return Ok(Self { path: path.to_owned(), origin: Origin::Said, file_error: None });
        }
        let (configured, file_error) = match configured(config) {
            Ok(configured) => (configured, None),
            Err(why) => (None, Some(format!("{}: {why}", config.display()))),
        };
        let configured = configured.map(|path| (path, Origin::Configured));
        match configured.or_else(|| control::default_path().map(|path| (path, Origin::Guessed))) {
            Some((path, origin)) => Ok(Self { path, origin, file_error }),
            None => Err(because_of(
                file_error.as_deref(),
                "there is no runtime directory to find a gateway in; say --socket".to_owned(),
            )),
        }
    }

    /// Returns the failure that nobody answered. An error of the file comes first: it may be the only reason.
    pub(super) fn no_answer(&self, why: &NoAnswer) -> Failure {
        let error = match why {
            NoAnswer::Ended => {
                return Failure::Unknown(format!(
                    "the gateway at {} ended before it answered: it is not known what came of this; see its log",
                    self.path.display()
                ));
            }
            NoAnswer::Silent(error) => error,
        };
        let hint = match self.origin {
            Origin::Said => "",
            Origin::Configured => {
                " (`server.control` as the file has it now; a gateway that was started with another place listens there: \
                 say --socket)"
            }
            Origin::Guessed => " (the usual place, which is a guess; say --socket for another)",
        };
        let silent = format!("no gateway answers at {}{hint}: {error}", self.path.display());
        because_of(self.file_error.as_deref(), silent)
    }
}

fn because_of(file_error: Option<&str>, why: String) -> Failure {
    match file_error {
        Some(file_error) => Failure::CommandLine(format!("{file_error}; and {why}")),
        None => Failure::Other(why),
    }
}

/// Returns `server.control` of the file, even of a file with errors: to report those is up to the gateway, if it can be
/// found. If the parser fails before that line, only the line is searched for.
///
/// # Errors
/// Returns why it cannot be read from the file.
fn configured(config: &Path) -> Result<Option<PathBuf>, String> {
    let source = Source::read(config)?;
    let (root, errors) = toml::de::DeTable::parse_recoverable(&source.text);
    let control = root.get_ref().get("server").and_then(|server| server.get_ref().get("control"));
    if let Some(control) = control {
        let path = control.get_ref().as_str().map(PathBuf::from);
        return path.map(Some).ok_or_else(|| "`server.control` is no text".to_owned());
    }
    match (errors.first(), source.text.lines().find_map(control_line)) {
        (None, _) => Ok(None),
        (Some(_), Some(found)) => Ok(Some(found)),
        (Some(error), None) => Err(error.message().to_owned()),
    }
}

/// Parses the line `control = "..."`.
fn control_line(line: &str) -> Option<PathBuf> {
    let table: toml::Table = line.trim().starts_with("control").then(|| line.parse().ok()).flatten()?;
    table.get("control")?.as_str().map(PathBuf::from)
}
