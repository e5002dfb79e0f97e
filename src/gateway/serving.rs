//! The services of the gateway: one for each listener, and the admin listener's.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use pingora_core::{
    apps::ServerApp,
    listeners::ListenerConfig,
    server::{Fds, ShutdownWatch},
    services::{Service as _, listening::Service},
};
use pingora_proxy::HttpProxy;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{
    listening::{buffers, entrance},
    sockets::admin_permissions,
};
use crate::{
    admin::Admin,
    config::file,
    front::{Entrance, Front, Limits, Open, Refuse},
    proxy::Proxy,
    services::Services,
    snapshot::Snapshot,
};

/// What every service of the gateway is made of.
pub(super) struct Parts<'p> {
    pub(super) services: &'p Arc<Services>,
    pub(super) current: &'p Arc<ArcSwap<Snapshot>>,
    pub(super) open: &'p Arc<Open>,
    pub(super) limits: Limits,
    pub(super) refuse: Refuse,
    pub(super) fds: Arc<Mutex<Fds>>,
    pub(super) runtime: &'p Handle,
    /// Where the admin listener is served.
    pub(super) admin: &'p Handle,
}

impl Parts<'_> {
    /// Serves a listener's connections until `closing`.
    pub(super) fn listen(
        &self,
        number: usize,
        address: &str,
        proxy: &Arc<HttpProxy<Proxy>>,
        closing: &ShutdownWatch,
    ) -> JoinHandle<()> {
        let entrance = entrance(number, self.services, self.current);
        let front = Front::new(proxy.clone(), self.limits.clone(), self.open.clone(), self.refuse.clone(), entrance);
        let mut service = Service::new(format!("listener {address}"), front);
        let buffers = buffers(self.current.load().settings.tls(number));
        service.add_listener(ListenerConfig::tcp(address).l4_buffer(buffers));
        serve(self.runtime, service, self.fds.clone(), closing.clone())
    }

    /// Serves the operator, also while the gateway stops: until it has.
    pub(super) fn administer(
        &self,
        admin: &file::AdminAddress,
        address: &str,
        closing: &ShutdownWatch,
        until: ShutdownWatch,
    ) -> JoinHandle<()> {
        let app = Admin::new(self.services.clone(), self.current.clone(), self.open.clone(), closing.clone(), admin);
        // Counted apart: a scrape is no traffic, and a flood of traffic must not keep the operator out.
        let (limits, refuse) = (self.limits.clone(), self.refuse.clone());
        let front = Front::new(Arc::new(app), limits, Arc::default(), refuse, Entrance::plain(false));
        let mut service = Service::new("admin".into(), front);
        match admin {
            file::AdminAddress::Tcp(_) => service.add_tcp(address),
            // Said again: Pingora sets the mode of a socket that it is handed, by default to that for everybody on the
            // machine. Where the umask took permissions away this gives them back.
            file::AdminAddress::Unix(_) => service.add_uds(address, Some(admin_permissions())),
        }
        serve(self.admin, service, self.fds.clone(), until)
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
