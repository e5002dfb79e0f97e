//! From a registry and a configuration to sockets, a runtime and Pingora's services; the main loop and its end.
//!
//! Pingora's own `Server` is not used: it goes on without a listener whose port is taken, sleeps its whole grace
//! period, and knows nothing of a reload. Its parts are.
//!
//! - `sockets`: bound before anything runs.
//! - `listening`: what a listener runs, and its limits.
//! - `serving`: Pingora's services of it.

mod error;
mod listening;
mod serving;
mod sockets;

use std::{
    io,
    os::fd::AsFd,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use log::{Level, LevelFilter};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot, watch},
    task::JoinHandle,
};

pub(crate) use self::error::StartError;
use self::{
    error::system,
    listening::{limits, proxy, refuse},
    serving::{AdminAddress, AdminListener, Parts},
    sockets::{Sockets, control},
};
use crate::{
    admin::PAGES_AT_ONCE_MAX,
    config::file,
    control::{self, Control, Revoker, SocketFile},
    descriptors,
    front::Open,
    proxy::judging,
    registry::Registry,
    reload::{self, ReloadRequest, Reloaded, Reloader, Scope},
    services::Services,
    signals::{self, Signal},
    snapshot::{Fixed, Snapshot},
    systemd,
    telemetry::{Logger, Metrics, Note, Output, Value, journal::stderr},
};

/// The time that SIGINT waits for requests in flight, unless `drain_timeout` is shorter.
const INTERRUPT_DRAIN: Duration = Duration::from_secs(2);
/// After this time without a request a drain ends: the connections that are still open are idle (HTTP/2 after GOAWAY).
const QUIET: Duration = Duration::from_secs(1);
/// The time limit for writing the last lines of the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// It did not start. Nothing was served then.
pub(crate) fn run(path: &Path, registry: Registry) -> Result<(), StartError> {
    let mut signals = signals::receive().map_err(system("signals"))?;
    let output = Output::stdout().map_err(system("standard output"))?;
    let main = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system("the main loop"))?;
    let bound = Bound::default();
    let (path, files, to) = (path.to_owned(), bound.clone(), output.clone());
    let (ready, started) = oneshot::channel();
    // On a thread of its own, because a slow start must not keep the process from ending.
    thread("start", move || drop(ready.send(start(&path, registry, &to, &files))))?;
    let started = main.block_on(until_started(started, &mut signals)).transpose();
    let outcome = started.map(|started| {
        if let Some((started, is_stale)) = started {
            if is_stale {
                drop(started.requests.send(ReloadRequest { scope: Scope::Configuration, answer: None }));
            }
            started.serve(&main, signals);
        }
    });
    bound.remove();
    output.flush(FLUSH_TIMEOUT);
    outcome
}

/// Waits for the gateway to start. Returns whether a reload was requested meanwhile; `None`: it was told to stop.
async fn until_started(
    mut started: oneshot::Receiver<Result<Started, StartError>>,
    signals: &mut UnboundedReceiver<Signal>,
) -> Option<Result<(Started, bool), StartError>> {
    let mut is_stale = false;
    loop {
        tokio::select! {
            started = &mut started => {
                let panicked = || StartError::System("the start".to_owned(), io::Error::other("it panicked"));
                return Some(started.unwrap_or_else(|_| Err(panicked())).map(|started| (started, is_stale)));
            }
            signal = signals.recv() => match signal {
                Some(Signal::Reload) => is_stale = true,
                Some(Signal::Stop | Signal::Interrupt) | None => return None,
            }
        }
    }
}

/// Files of sockets, which are removed at the end.
#[derive(Clone, Default)]
struct Bound(Arc<Mutex<Vec<SocketFile>>>);

impl Bound {
    fn add(&self, files: impl IntoIterator<Item = SocketFile>) {
        self.0.lock().extend(files);
    }

    fn remove(&self) {
        self.0.lock().drain(..).for_each(|file| file.remove());
    }
}

fn start(path: &Path, registry: Registry, output: &Output, bound: &Bound) -> Result<Started, StartError> {
    let open = Arc::new(Open::default());
    let (counted, lines) = (open.clone(), output.clone());
    let connections = Box::new(move || counted.connections() as u64);
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), connections, Box::new(move || lines.dropped()));
    let metrics = metrics.unsent(open.unsent().used());
    let services = Arc::new(Services::new(Arc::new(metrics), output.clone()));

    descriptors::raise_limit().map_err(system("the limit of file descriptors"))?;
    let snapshot = reload::load(path, &registry, &services, None, false)?;
    // A gateway that is run twice in one process (in tests) keeps the first one's logger.
    // The logger's own level is the lowest: `[log] level` may change by a reload, and is set only in `log::max_level`.
    drop(Logger::new(output.clone(), LevelFilter::Trace).install());
    log::set_max_level(snapshot.settings.log.level.0);
    if snapshot.settings.audit.on_full == file::OnFull::Refuse && is_thrown_away(io::stdout()) {
        let lost = "`audit.on_full` is \"refuse\", and standard output is /dev/null: the audit trail is lost";
        stderr(Level::Warn, &format!("warning: {lost}"));
    }
    if let Some(shortage) = descriptors::shortage(snapshot.fixed.server.max_connections.get()) {
        log::warn!("{shortage}");
    }
    services.body_budget.set_max_bytes(snapshot.fixed.server.max_held_body_bytes.get());
    open.unsent().set_max_bytes(snapshot.fixed.server.max_unsent_bytes.get());
    services.body_budget.set_patience(snapshot.fixed.server.body_timeout.0);
    Started::new(path, registry, services, open, snapshot, bound)
}

/// Returns whether the output is `/dev/null`. A descriptor that was closed is opened like that, too.
fn is_thrown_away(output: impl AsFd) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const NULL: u64 = libc::makedev(1, 3);
    let file = output.as_fd().try_clone_to_owned().map(std::fs::File::from);
    let like = file.and_then(|file| file.metadata());
    like.is_ok_and(|like| like.file_type().is_char_device() && like.rdev() == NULL)
}

/// A gateway whose sockets are bound and whose services run.
struct Started {
    runtime: pingora_runtime::Runtime,
    /// The runtime of the admin listener, so that its requests take nothing from the workers.
    admin_runtime: tokio::runtime::Runtime,
    services: Arc<Services>,
    open: Arc<Open>,
    closing: watch::Sender<bool>,
    /// Answers until the drain is over, so that an operator can see there that the gateway is stopping.
    admin: Option<AdminListener>,
    running: Vec<JoinHandle<()>>,
    requests: mpsc::Sender<ReloadRequest>,
    control: Option<Arc<control::Service>>,
    drain_timeout: Duration,
    ready: Ready,
}

/// The announcement that is sent once the main loop handles signals, because its reader may send one.
struct Ready {
    fixed: Fixed,
    addresses: Vec<String>,
    generation: u64,
    routes: usize,
}

impl Started {
    fn new(
        path: &Path,
        registry: Registry,
        services: Arc<Services>,
        open: Arc<Open>,
        snapshot: Snapshot,
        bound: &Bound,
    ) -> Result<Self, StartError> {
        let fixed = snapshot.fixed.clone();
        let sockets = Sockets::bind(&fixed)?;
        bound.add(sockets.admin_file.clone());
        let control = control(&fixed.server)?;
        bound.add(control.as_ref().map(|control| control.file().clone()));
        let threads = worker_threads(&fixed.server);
        // Work stealing: if one connection is busier than others, idle workers take over. At two cores it costs the
        // same as workers that keep to themselves, and the slowest requests are faster (see benches/overhead).
        let runtime = pingora_runtime::RuntimeBuilder::new(threads, "worker").work_steal(true).build();
        let admin_runtime = admin_runtime().map_err(system("the threads of the admin listener"))?;
        let (closing, watch) = watch::channel(false);
        let (generation, routes) = (snapshot.generation, snapshot.gates.len());
        services
            .names
            .begin(&fixed.server.name_servers(), sockets.addresses.iter().flat_map(|own| own.parse()).collect());
        reload::look_up(&snapshot, &services, runtime.get_handle());
        reload::prepare(&snapshot, runtime.get_handle());
        reload::adopt(&snapshot, &services, runtime.get_handle());
        let current = Arc::new(ArcSwap::from_pointee(snapshot));

        let proxy = proxy(&fixed.server, threads, &services, &current, &watch);
        let addresses = sockets.addresses;
        let parts = Parts {
            services: services.clone(),
            current: current.clone(),
            open: open.clone(),
            limits: limits(&fixed.server),
            refuse: refuse(&services),
            runtime: runtime.get_handle().clone(),
            admin: admin_runtime.handle().clone(),
            closing: watch,
        };
        let fds = Arc::new(Mutex::new(sockets.fds));
        let listeners = addresses.iter().take(fixed.listeners.len()).enumerate();
        let running = listeners.map(|(number, address)| parts.listen(number, address, &proxy, &fds)).collect();
        let listens = fixed.admin.clone().zip(addresses.last().cloned());
        let admin = listens.map(|(configured, bound)| {
            AdminListener::start(parts, AdminAddress { configured, bound }, sockets.admin_file, fds)
        });

        let reloader = Reloader {
            path: path.to_owned(),
            registry,
            services: services.clone(),
            current,
            runtime: runtime.get_handle().clone(),
        };
        let (requests, control) = start_threads(reloader, control)?;
        let drain_timeout = fixed.server.drain_timeout.0;
        let ready = Ready { fixed, addresses, generation, routes };
        Ok(Self {
            runtime,
            admin_runtime,
            services,
            open,
            closing,
            admin,
            running,
            requests,
            control,
            drain_timeout,
            ready,
        })
    }

    /// Runs the main loop.
    fn serve(mut self, main: &tokio::runtime::Runtime, mut signals: UnboundedReceiver<Signal>) {
        let Ready { fixed, addresses, generation, routes } = &self.ready;
        announce(&self.services, fixed, addresses, *generation, *routes);
        main.block_on(async {
            let limit = loop {
                match signals.recv().await {
                    Some(Signal::Reload) => {
                        self.control.iter().for_each(control::Service::renew);
                        self.admin.iter_mut().for_each(AdminListener::renew);
                        drop(self.requests.send(ReloadRequest { scope: Scope::Configuration, answer: None }));
                    }
                    Some(Signal::Stop) => break self.drain_timeout,
                    Some(Signal::Interrupt) | None => break self.drain_timeout.min(INTERRUPT_DRAIN),
                }
            };
            self.drain(limit, &mut signals).await;
        });
        self.control.iter().for_each(|control| control.remove());
        self.admin.iter().for_each(AdminListener::remove);
        self.admin_runtime.shutdown_background();
        self.runtime.shutdown_timeout(Duration::from_millis(100));
    }

    /// Stops accepting, and returns with the last request in flight, at the limit, or at a second signal.
    async fn drain(&self, limit: Duration, signals: &mut UnboundedReceiver<Signal>) {
        let started = Instant::now();
        systemd::stopping();
        self.note("stopping", "finishing what is in flight", started);
        // Accepting ends, idle HTTP/1 connections close, HTTP/2 peers are sent GOAWAY.
        let _ = self.closing.send(true);
        let told_again = async { while signals.recv().await == Some(Signal::Reload) {} };
        let how = tokio::select! {
            () = self.open.drained() => "everything is finished",
            () = self.open.idle_for(QUIET) => "every request is finished; idle peers are left",
            () = tokio::time::sleep(limit) => "the time is up: what was left is cut off",
            () = told_again => "told to stop a second time: what was left is cut off",
        };
        self.services.has_stopped.store(true, Relaxed);
        self.admin.iter().for_each(AdminListener::stop);
        // Services end within moments of the signal; one that hangs must not keep the process.
        let services = async {
            let is_over = || {
                self.running.iter().all(JoinHandle::is_finished) && self.admin.iter().all(AdminListener::is_finished)
            };
            while !is_over() {
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

/// Returns a runtime with one thread that answers, and others that make long answers.
fn admin_runtime() -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(PAGES_AT_ONCE_MAX).thread_name("admin").enable_all().build()
}

fn worker_threads(server: &file::Server) -> usize {
    match server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// Starts the threads that judge open streams again, watch files, serve the control socket and reload. Returns the
/// sender of reload requests.
fn start_threads(
    reloader: Reloader,
    control: Option<Control>,
) -> Result<(mpsc::Sender<ReloadRequest>, Option<Arc<control::Service>>), StartError> {
    let (requests, received) = mpsc::channel();
    let (current, services) = (reloader.current.clone(), reloader.services.clone());
    thread("streams", move || {
        if let Err(error) = judging::run(&services.streams, &current) {
            log::error!("open requests are not judged again: {error}");
        }
    })?;
    let (current, reload_requests) = (reloader.current.clone(), requests.clone());
    thread("watch", move || reload::watch(&current, &reload_requests))?;
    let control = control.map(|control| {
        let Reloader { services, runtime, current, .. } = &reloader;
        let (services, runtime, current) = (services.clone(), runtime.clone(), current.clone());
        let orders = control::Orders::new(services.clone(), runtime.clone(), current.clone());
        let revoker = Revoker { services, runtime, current };
        control::Service::start(control, requests.clone(), revoker, orders, control::absolute(&reloader.path))
    });
    let control = control.transpose().map_err(system("the thread `control`"))?;
    thread("reload", move || reloader.run(&received))?;
    Ok((requests, control))
}

/// Says where it listens and that it serves.
fn announce(services: &Services, fixed: &Fixed, addresses: &[String], generation: u64, routes: usize) {
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
    systemd::ready(&Reloaded { generation, routes, ..Reloaded::default() }.status());
}
