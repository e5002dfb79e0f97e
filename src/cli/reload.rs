use std::{
    io::Write,
    path::{Path, PathBuf},
};

use super::{ConfigArgument, Failure};
use crate::{
    config::{Report, Source},
    control,
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
    let socket = socket(arguments.socket.as_deref(), file)?;
    let reloaded = control::ask(&socket, file)
        .map_err(|error| Failure::Other(format!("no gateway answers at {}: {error}", socket.display())))?;
    let Some(changes) = reloaded.changes else {
        return Err(Failure::Configuration(Report(reloaded.errors)));
    };
    let mut out = std::io::stdout();
    writeln!(out, "generation {} serves, {} routes", reloaded.generation, reloaded.routes)?;
    for line in changes.lines().chain(changes.tls.iter().cloned()) {
        writeln!(out, "{line}")?;
    }
    reloaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(())
}

/// Where the gateway that serves this file can be asked.
pub(super) fn socket(said: Option<&Path>, config: &Path) -> Result<PathBuf, Failure> {
    let socket = said.map(Path::to_owned).or_else(|| configured(config)).or_else(control::default_path);
    socket.ok_or_else(|| Failure::Other("there is no runtime directory to find a gateway in; say --socket".into()))
}

/// `server.control` of the file, also of one that has errors: what is wrong with it is the gateway's to say, if it can be
/// found. Where the parser lost its way before that line, the line alone is looked for.
fn configured(config: &Path) -> Option<PathBuf> {
    let source = Source::read(config).ok()?;
    let (root, errors) = toml::de::DeTable::parse_recoverable(&source.text);
    let control = root.get_ref().get("server").and_then(|server| server.get_ref().get("control"));
    let control = control.and_then(|control| control.get_ref().as_str().map(PathBuf::from));
    control.or_else(|| if errors.is_empty() { None } else { source.text.lines().find_map(control_line) })
}

/// `control = "..."`.
fn control_line(line: &str) -> Option<PathBuf> {
    let table: toml::Table = line.trim().starts_with("control").then(|| line.parse().ok()).flatten()?;
    table.get("control")?.as_str().map(PathBuf::from)
}
