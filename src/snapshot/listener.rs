//! A listener, compiled: what holds for connections to one address. The address itself is fixed, all else may change
//! by a reload.

use http::HeaderValue;
use ipnet::IpNet;

use crate::tls::Tls;

/// What holds for connections to one address.
#[derive(Default)]
pub struct Listener {
    /// Whether plain connections may speak HTTP/2.
    pub h2c: bool,
    /// The networks of load balancers that have to say whom they speak for.
    pub proxy_protocol: Vec<IpNet>,
    /// The port that clients are sent to which did not come by TLS.
    pub https_redirect: Option<u16>,
    /// What `Strict-Transport-Security` says.
    pub hsts: Option<HeaderValue>,
    /// Absent: connections are plain.
    pub tls: Option<Tls>,
}
