use std::{io::Write, sync::Arc, time::Duration};

use log::Level;

use super::{config_argument::ConfigArgument, failure::Failure};
use crate::{
    config::{Sources, file::AdminAddress, problem::counted},
    descriptors,
    registry::Registry,
    reload,
    services::Services,
    snapshot::Snapshot,
    telemetry::{Metrics, Output, journal::stderr},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Go without secrets and upstreams' certificates, as a CI machine has to.
    #[arg(long)]
    no_secrets: bool,
    /// Look up the names of targets as well, and warn of those that lead nowhere.
    #[arg(long)]
    online: bool,
}

/// The time limit for all names together.
const NAMES_TIMEOUT: Duration = Duration::from_secs(10);

/// `portcullis check`: does everything that a start does, but binds nothing, publishes nothing, and asks no other
/// machine.
pub(super) fn run(arguments: &Arguments, registry: &Registry) -> Result<(), Failure> {
    let path = arguments.config.file()?;
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), Box::new(|| 0), Box::new(|| 0));
    let services = Services::new(Arc::new(metrics), Output::start(std::io::sink())?);
    let sources = Arc::new(Sources::read(path)?);
    let load =
        |before: Option<&Snapshot>| reload::check(path, &sources, registry, &services, before, arguments.no_secrets);
    let mut snapshot = load(None)?;
    if arguments.online {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let fixed = &snapshot.fixed;
        let admin = fixed.admin.iter().filter_map(AdminAddress::tcp);
        services.names.begin(&fixed.server.name_servers(), fixed.listeners.iter().copied().chain(admin).collect());
        reload::look_up(&snapshot, &services, runtime.handle());
        runtime.block_on(reload::settle(&snapshot, NAMES_TIMEOUT));
        // Once more, with the addresses known now: two names may resolve to one address.
        snapshot = load(Some(&snapshot))?;
        snapshot.warnings.0.extend(reload::unresolved(&snapshot, &sources));
    }
    let shortage = descriptors::shortage(snapshot.fixed.server.max_connections.get());
    let warnings = snapshot.warnings.0.iter().map(ToString::to_string).chain(shortage);
    warnings.for_each(|warning| stderr(Level::Warn, &format!("warning: {warning}")));
    let routes = counted(snapshot.gates.len(), "route", "routes");
    let policies = counted(snapshot.instances.len(), "policy", "policies");
    let credentials = counted(snapshot.credentials.len(), "credential", "credentials");
    let mut out = std::io::stdout();
    writeln!(out, "{}: {routes}, {policies}, {credentials}", path.display())?;
    Ok(())
}
