use std::{net::SocketAddr, sync::Arc};

type Judge = dyn Fn(SocketAddr) -> Result<(), &'static str> + Send + Sync;

/// The rules for addresses that a plugin connects to and that the configuration does not name: no listener of the gateway,
/// no link-local address, no metadata service of a cloud. Whoever writes a document, or answers for a name, would else
/// reach with it what only this machine may.
#[derive(Clone)]
pub struct AddressRules(Arc<Judge>);

impl AddressRules {
    /// Rules that say why an address must not be asked, as in "it is a link-local address".
    pub fn new(judge: impl Fn(SocketAddr) -> Result<(), &'static str> + Send + Sync + 'static) -> Self {
        Self(Arc::new(judge))
    }

    /// Judges an address.
    ///
    /// # Errors
    /// It must not be asked, for this reason.
    pub fn judge(&self, address: SocketAddr) -> Result<(), &'static str> {
        (self.0)(address)
    }
}
