//! A compiled listener: the settings of connections to one address. The address itself is fixed, everything else may
//! change by a reload.

use http::HeaderValue;
use ipnet::IpNet;

use crate::tls::Tls;

/// The settings of connections to one address.
#[derive(Default)]
pub(crate) struct Listener {
    /// Allows HTTP/2 on plain connections.
    pub h2c: bool,
    /// The networks of load balancers that must send a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
    /// The port that clients are redirected to that did not come over TLS.
    pub https_redirect: Option<u16>,
    /// The value of `Strict-Transport-Security`.
    pub hsts: Option<HeaderValue>,
    /// `None`: connections are plain.
    pub tls: Option<Tls>,
}
