//! The services of the gateway: one for each listener, and the admin listener's.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora::proxy::HttpProxy;
use pingora::{
    apps::ServerApp,
    listeners::ListenerConfig,
    server::{Fds, ShutdownWatch},
    services::{Service as _, listening::Service},
};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    listening::{acceptor, buffers},
    sockets::{admin_permissions, bind_admin},
};
use crate::{
    admin::Admin,
    config::file,
    control::SocketFile,
    front::{Acceptor, Front, Limits, Open, Refuse},
    proxy::Proxy,
    services::Services,
    snapshot::Snapshot,
};

/// The parts that the services of the gateway are made of.
pub(super) struct Parts {
    pub(super) services: Arc<Services>,
    pub(super) current: Arc<ArcSwap<Snapshot>>,
    pub(super) open: Arc<Open>,
    pub(super) limits: Limits,
    pub(super) refuse: Refuse,
    pub(super) runtime: Handle,
    /// The runtime of the admin listener.
    pub(super) admin: Handle,
    /// Signals that the gateway stops.
    pub(super) closing: ShutdownWatch,
}

impl Parts {
    /// Serves a listener's connections until the gateway stops.
    pub(super) fn listen(
        &self,
        number: usize,
        address: &str,
        proxy: &Arc<HttpProxy<Proxy>>,
        fds: &Arc<Mutex<Fds>>,
    ) -> JoinHandle<()> {
        let acceptor = acceptor(number, &self.services, &self.current);
        let front = Front::new(proxy.clone(), self.limits.clone(), self.open.clone(), self.refuse.clone(), acceptor);
        let mut service = Service::new(format!("listener {address}"), front);
        let buffers = buffers(self.current.load().settings.tls(number));
        service.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers));
        serve(&self.runtime, service, fds.clone(), self.closing.clone())
    }

    fn administer(&self, listens: &AdminAddress, fds: Arc<Mutex<Fds>>, until: ShutdownWatch) -> JoinHandle<()> {
        let AdminAddress { configured, bound } = listens;
        let closing = self.closing.clone();
        let app = Admin::new(self.services.clone(), self.current.clone(), self.open.clone(), closing, configured);
        // Counted separately: a scrape is not traffic, and a flood of traffic must not keep the operator out.
        let (limits, refuse) = (self.limits.clone(), self.refuse.clone());
        let front = Front::new(Arc::new(app), limits, Arc::default(), refuse, Acceptor::plain(false));
        let mut service = Service::new("admin".into(), front);
        match configured {
            file::AdminAddress::Tcp(_) => service.add_tcp(bound),
            // Repeated here, because Pingora sets the mode of a socket that it is given, by default for everybody on
            // the machine. This restores the permissions that the umask took away.
            file::AdminAddress::Unix(_) => service.add_uds(bound, Some(admin_permissions())),
        }
        serve(&self.admin, service, fds, until)
    }
}

/// The address of the admin listener, as the file has it and as it was bound.
pub(super) struct AdminAddress {
    pub(super) configured: file::AdminAddress,
    pub(super) bound: String,
}

/// The admin listener. It serves the operator also while the gateway stops.
pub(super) struct AdminListener {
    parts: Parts,
    listens: AdminAddress,
    /// The file of a Unix socket.
    file: Option<SocketFile>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl AdminListener {
    pub(super) fn start(parts: Parts, listens: AdminAddress, file: Option<SocketFile>, fds: Arc<Mutex<Fds>>) -> Self {
        let (stop, until) = watch::channel(false);
        let serving = parts.administer(&listens, fds, until);
        Self { parts, listens, file, stop, serving }
    }

    /// Makes the Unix socket again if somebody has deleted it. Connections over the old one are served to the end.
    pub(super) fn renew(&mut self) {
        let Some(file) = &self.file else { return };
        let mut fds = Fds::new();
        let renewed = file.renew("the admin socket", |path| bind_admin(path, &mut fds));
        let Some(renewed) = renewed else { return };
        self.file = Some(renewed);
        self.stop();
        let (stop, until) = watch::channel(false);
        self.stop = stop;
        self.serving = self.parts.administer(&self.listens, Arc::new(Mutex::new(fds)), until);
    }

    /// Stops accepting, and closes connections that are idle.
    pub(super) fn stop(&self) {
        let _ = self.stop.send(true);
    }

    pub(super) fn is_finished(&self) -> bool {
        self.serving.is_finished()
    }

    /// Removes the Unix socket, unless its path is somebody else's by now.
    pub(super) fn remove(&self) {
        self.file.iter().for_each(SocketFile::remove);
    }
}

fn serve<A: ServerApp + Send + Sync + 'static>(
    runtime: &Handle,
    mut service: Service<A>,
    fds: Arc<Mutex<Fds>>,
    until: ShutdownWatch,
) -> JoinHandle<()> {
    runtime.spawn(async move { service.start_service(Some(fds), until, 1).await })
}
