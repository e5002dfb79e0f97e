use std::{io::Write, sync::Arc};

use super::{ConfigArgument, Failure};
use crate::{
    registry::Registry,
    reload,
    services::Services,
    telemetry::{Metrics, Output},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Go without secrets, upstreams' certificates and looking up the names of targets, as a CI machine has to.
    #[arg(long)]
    no_secrets: bool,
}

/// `portcullis check`: everything that a start does, but nothing is bound, connected or published.
pub(super) fn run(arguments: &Arguments, registry: &Registry) -> Result<(), Failure> {
    let path = arguments.config.file()?;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), Box::new(|| 0), Box::new(|| 0));
    let services = Services::new(Arc::new(metrics), Output::start(std::io::sink())?);
    let snapshot = reload::load(path, registry, &services, None, arguments.no_secrets)?;
    snapshot.warnings.0.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let counts = (snapshot.gates.len(), snapshot.instances.len(), snapshot.credentials.len());
    let mut out = std::io::stdout();
    writeln!(out, "{}: {} routes, {} policies, {} credentials", path.display(), counts.0, counts.1, counts.2)?;
    Ok(())
}
