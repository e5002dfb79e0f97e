//! From a registry and a configuration to sockets, a runtime and Pingora's services; the main loop and its end.
//!
//! Pingora's own `Server` is not used: it goes on without a listener whose port is taken, sleeps its whole grace
//! period, and knows nothing of a reload. Its parts are.

mod listening;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{fd::IntoRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use log::{Level, LevelFilter};
use parking_lot::Mutex;
use pingora_core::{
    listeners::ListenerConfig,
    server::Fds,
    services::{Service as _, listening::Service},
};
use tokio::sync::watch;

use self::listening::{buffers, entrance, limits, proxy, refuse};
use crate::{
    admin::Admin,
    config::{Report, file},
    control::{self, Control, Revoker},
    front::{Entrance, Front, Open},
    registry::Registry,
    reload::{self, Of, Reloaded, Reloader, Wish},
    services::Services,
    signals::{self, Signal},
    snapshot::Snapshot,
    systemd,
    telemetry::{Logger, Metrics, Note, Output, Value},
};

/// How long SIGINT waits for requests in flight, if `drain_timeout` is not shorter.
const INTERRUPT_DRAIN: Duration = Duration::from_secs(2);
/// Without a request for so long, what is still open are idle peers (HTTP/2 after GOAWAY), and a drain ends.
const QUIET: Duration = Duration::from_secs(1);
/// How long the last lines of the log may take.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(#[from] Report),
    /// A socket, a thread or the runtime is not to be had.
    #[error("{0}: {1}")]
    System(String, io::Error),
}

fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    |error| StartError::System(what.into(), error)
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// It did not start. Nothing was served then.
pub fn run(path: &Path, registry: Registry) -> Result<(), StartError> {
    let signals = signals::receive().map_err(system("signals"))?;
    let open = Arc::new(Open::default());
    let output = Output::stdout().map_err(system("standard output"))?;
    let (counted, lines) = (open.clone(), output.clone());
    let connections = Box::new(move || counted.connections() as u64);
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), connections, Box::new(move || lines.dropped()));
    let services = Arc::new(Services::new(Arc::new(metrics), output.clone()));

    let snapshot = reload::load(path, &registry, &services, None, false)?;
    // A gateway that is run twice in one process (in tests) keeps the first one's logger.
    // Its own limit is none: what `[log] level` says may change by a reload, and stands in `log::max_level` alone.
    drop(Logger::new(output.clone(), LevelFilter::Trace).install());
    log::set_max_level(snapshot.settings.log.level.0);
    services.room.set_max_bytes(snapshot.fixed.server.max_held_body_bytes.get());
    services.room.set_patience(snapshot.fixed.server.body_timeout.0);
    let started = Started::new(path, registry, services, open, snapshot)?;
    started.serve(signals);
    output.flush(FLUSH_TIMEOUT);
    Ok(())
}

/// A gateway whose sockets are bound and whose services run.
struct Started {
    runtime: pingora_runtime::Runtime,
    services: Arc<Services>,
    open: Arc<Open>,
    closing: watch::Sender<bool>,
    /// The admin listener answers until the drain is over: that it stops is to be seen there.
    drained: watch::Sender<bool>,
    running: Vec<tokio::task::JoinHandle<()>>,
    wishes: mpsc::Sender<Wish>,
    drain_timeout: Duration,
    files: Vec<PathBuf>,
}

impl Started {
    fn new(
        path: &Path,
        registry: Registry,
        services: Arc<Services>,
        open: Arc<Open>,
        snapshot: Snapshot,
    ) -> Result<Self, StartError> {
        let fixed = snapshot.fixed.clone();
        let mut sockets = Sockets { fds: Fds::new(), addresses: Vec::new(), files: Vec::new() };
        for listener in &fixed.listeners {
            sockets.bind_tcp(*listener)?;
        }
        match &fixed.admin {
            Some(file::AdminAddress::Tcp(address)) => sockets.bind_tcp(*address)?,
            Some(file::AdminAddress::Unix(path)) => sockets.bind_unix(path)?,
            None => {}
        }
        let control = control(&fixed.server)?;

        let threads = match fixed.server.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        // Stealing: with one connection busier than others, idle workers take over. At two cores it costs the same as
        // workers that keep to themselves, and the slowest requests are faster (see benches/overhead).
        let runtime = pingora_runtime::RuntimeBuilder::new(threads, "worker").work_steal(true).build();
        let ((closing, watch), (drained, until_drained)) = (watch::channel(false), watch::channel(false));
        let (generation, routes) = (snapshot.generation, snapshot.routes.len());
        reload::prepare(&snapshot, runtime.get_handle());
        reload::adopt(&snapshot, &services, runtime.get_handle());
        let current = Arc::new(ArcSwap::from_pointee(snapshot));

        let proxy = proxy(&fixed.server, threads, &services, &current, &watch);
        let limits = limits(&fixed.server);
        let refuse = refuse(&services);
        let addresses = sockets.addresses.clone();
        let fds = Arc::new(Mutex::new(sockets.fds));
        let mut running = Vec::new();
        for (number, address) in addresses.iter().take(fixed.listeners.len()).enumerate() {
            let entrance = entrance(number, &services, &current);
            let front = Front::new(proxy.clone(), limits.clone(), open.clone(), refuse.clone(), entrance);
            let mut service = Service::new(format!("listener {address}"), front);
            service.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers(current.load().settings.tls(number))));
            let (fds, watch) = (fds.clone(), watch.clone());
            running.push(runtime.get_handle().spawn(async move { service.start_service(Some(fds), watch, 1).await }));
        }
        if let (Some(admin), Some(address)) = (&fixed.admin, addresses.last()) {
            let app = Admin::new(services.clone(), current.clone(), open.clone(), watch.clone(), admin);
            // Counted apart: a scrape is no traffic, and a flood of traffic must not keep the operator out.
            let front = Front::new(Arc::new(app), limits.clone(), Arc::default(), refuse, Entrance::plain(false));
            let mut service = Service::new("admin".into(), front);
            match admin {
                file::AdminAddress::Tcp(_) => service.add_tcp(address),
                // Said again: by default Pingora opens a socket to everybody on the machine.
                file::AdminAddress::Unix(_) => service.add_uds(address, Some(admin_permissions())),
            }
            let fds = fds.clone();
            let served = async move { service.start_service(Some(fds), until_drained, 1).await };
            running.push(runtime.get_handle().spawn(served));
        }

        let (wishes, received) = mpsc::channel();
        let reloader = Reloader {
            path: path.to_owned(),
            registry,
            services: services.clone(),
            current: current.clone(),
            runtime: runtime.get_handle().clone(),
        };
        let (watched, watches) = (current.clone(), wishes.clone());
        thread("watch", move || reload::watch(&watched, &watches))?;
        thread("reload", move || reloader.run(&received))?;
        let mut files = sockets.files;
        if let Some(control) = control {
            files.push(control.path().to_owned());
            let (wishes, serves) = (wishes.clone(), control::absolute(path));
            let revoker = Revoker { services: services.clone(), runtime: runtime.get_handle().clone(), current };
            thread("control", move || control.serve(&wishes, &revoker, &serves))?;
        }
        announce(&services, &fixed, &addresses, generation, routes);
        let drain_timeout = fixed.server.drain_timeout.0;
        Ok(Self { runtime, services, open, closing, drained, running, wishes, drain_timeout, files })
    }

    /// The main loop.
    fn serve(self, mut signals: tokio::sync::mpsc::UnboundedReceiver<Signal>) {
        let main =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime without threads");
        main.block_on(async {
            let limit = loop {
                match signals.recv().await {
                    Some(Signal::Reload) => drop(self.wishes.send(Wish { of: Of::File, waits: None })),
                    Some(Signal::Stop) => break self.drain_timeout,
                    Some(Signal::Interrupt) | None => break self.drain_timeout.min(INTERRUPT_DRAIN),
                }
            };
            self.drain(limit, &mut signals).await;
        });
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
        self.runtime.shutdown_timeout(Duration::from_millis(100));
    }

    /// Stops accepting, and ends with the last request in flight, at the limit, or at a second signal.
    async fn drain(&self, limit: Duration, signals: &mut tokio::sync::mpsc::UnboundedReceiver<Signal>) {
        let started = Instant::now();
        systemd::stopping();
        self.note("stopping", "finishing what is in flight", started);
        // Accepting ends, idle HTTP/1 connections close, HTTP/2 peers are told to go away.
        let _ = self.closing.send(true);
        let told_again = async { while signals.recv().await == Some(Signal::Reload) {} };
        let how = tokio::select! {
            () = self.open.drained() => "everything is finished",
            () = self.open.idle_for(QUIET) => "every request is finished; idle peers are left",
            () = tokio::time::sleep(limit) => "the time is up: what was left is cut off",
            () = told_again => "told to stop a second time: what was left is cut off",
        };
        let _ = self.drained.send(true);
        // Services end within moments of being told; one that hangs must not keep the process.
        let services = async {
            while !self.running.iter().all(tokio::task::JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), services).await;
        self.note("stopped", how, started);
    }

    fn note(&self, event: &'static str, message: &str, started: Instant) {
        self.services.output.note(&Note {
            level: Level::Info,
            event,
            message,
            fields: &[
                ("requests_in_flight", Value::Number(self.open.in_flight())),
                ("connections", Value::Number(self.open.connections() as u64)),
                ("after_ms", Value::Number(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))),
            ],
        });
    }
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    std::thread::Builder::new().name(name.into()).spawn(run).map(drop).map_err(system(format!("the thread `{name}`")))
}

/// Sockets, bound before anything runs: a port that is taken is an error of the start.
struct Sockets {
    fds: Fds,
    addresses: Vec<String>,
    files: Vec<PathBuf>,
}

impl Sockets {
    fn bind_tcp(&mut self, address: SocketAddr) -> Result<(), StartError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?.to_string(), listener.into_raw_fd()))
        };
        let (bound, fd) = bind().map_err(system(format!("cannot listen on {address}")))?;
        self.fds.add(bound.clone(), fd);
        self.addresses.push(bound);
        Ok(())
    }

    fn bind_unix(&mut self, path: &Path) -> Result<(), StartError> {
        let bind = || {
            let listener = control::bind(path, admin_permissions())?;
            listener.set_nonblocking(true)?;
            Ok(listener.into_raw_fd())
        };
        let fd = bind().map_err(system(format!("cannot listen on unix:{}", path.display())))?;
        let address = path.display().to_string();
        self.fds.add(address.clone(), fd);
        self.addresses.push(address);
        self.files.push(path.to_owned());
        Ok(())
    }
}

/// Who may connect to the admin listener's Unix socket, which asks for no token: the gateway's user and group.
fn admin_permissions() -> std::fs::Permissions {
    std::fs::Permissions::from_mode(0o660)
}

/// The control socket: one that the configuration names has to be there, the usual one may be missing.
fn control(server: &file::Server) -> Result<Option<Control>, StartError> {
    if let Some(path) = &server.control {
        return Control::bind(path).map(Some).map_err(system(format!("server.control: {}", path.display())));
    }
    let Some(path) = control::default_path() else {
        log::warn!(
            "`portcullis reload` and `portcullis revoke` will not work, SIGHUP will: there is no runtime directory for \
             the control socket ($RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR), and no `server.control`"
        );
        return Ok(None);
    };
    match Control::bind(&path) {
        Ok(control) => Ok(Some(control)),
        Err(error) => {
            log::warn!(
                "`portcullis reload` and `portcullis revoke` will not work, SIGHUP will: {}: {error}",
                path.display()
            );
            Ok(None)
        }
    }
}

/// Says where it listens and that it serves.
fn announce(services: &Services, fixed: &crate::snapshot::Fixed, addresses: &[String], generation: u64, routes: usize) {
    let mut names: Vec<String> = (0..fixed.listeners.len()).map(|index| index.to_string()).collect();
    names.extend(fixed.admin.as_ref().map(|_| "admin".to_owned()));
    for (name, address) in names.iter().zip(addresses) {
        services.output.note(&Note {
            level: Level::Info,
            event: "listening",
            message: "accepting connections",
            fields: &[("listener", Value::Text(name)), ("address", Value::Text(address))],
        });
    }
    services.output.note(&Note {
        level: Level::Info,
        event: "ready",
        message: "the gateway serves",
        fields: &[
            ("version", Value::Text(env!("CARGO_PKG_VERSION"))),
            ("generation", Value::Number(generation)),
            ("routes", Value::Number(routes as u64)),
        ],
    });
    systemd::ready(&Reloaded { generation, routes, changes: None, errors: Vec::new(), warnings: Vec::new() });
}
