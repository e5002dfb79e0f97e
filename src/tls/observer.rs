//! Records facts in the course of a handshake, from OpenSSL's callbacks.

use std::sync::{Arc, LazyLock, OnceLock};

use openssl::{
    error::ErrorStack,
    ex_data::Index,
    ssl::{Ssl, SslRef},
    x509::{X509Ref, X509StoreContextRef},
};
use portcullis_plugin::UnixTime;
use portcullis_x509::{Facts, Fault, MAX_SENT_CERTIFICATES};

use super::{clients::Clients, ffi, names::Name};

/// The facts found in the course of a handshake. It is attached to the connection, because OpenSSL's callbacks get
/// nothing else.
#[derive(Default)]
pub(super) struct HandshakeObserver {
    pub(super) asked: OnceLock<Asked>,
    pub(super) fault: OnceLock<Fault>,
    /// Subject and issuer of a certificate that was not accepted.
    pub(super) named: OnceLock<(String, String)>,
}

/// The name that the client asked for, and the settings that it gets.
pub(super) type Asked = (Option<Box<str>>, Option<Arc<Name>>);

static OBSERVER: LazyLock<Index<Ssl, Arc<HandshakeObserver>>> =
    LazyLock::new(|| Ssl::new_ex_index().expect("OpenSSL has room for one more index"));

/// Attaches an observer to a connection, for the callbacks to find.
pub(super) fn attach(ssl: &mut Ssl, observer: &Arc<HandshakeObserver>) {
    ssl.set_ex_data(*OBSERVER, observer.clone());
}

/// Returns the observer of this connection.
pub(super) fn observer(ssl: &SslRef) -> Option<&Arc<HandshakeObserver>> {
    ssl.ex_data(*OBSERVER)
}

impl HandshakeObserver {
    /// Notes the name that the client asked for, and the settings that it gets; `None` if it is refused.
    pub(super) fn note_name(&self, server_name: Option<Box<str>>, name: Option<Arc<Name>>) {
        // The context of the name has no such callback: a second first message (RFC 8446 section 4.1.4) that asks for
        // another name is ignored, and the first one counts.
        let _ = self.asked.set((server_name, name));
    }

    /// Judges one certificate of a chain; OpenSSL calls this for each, the client's own last.
    pub(super) fn judge(&self, clients: &Clients, is_good: bool, chain: &mut X509StoreContextRef) -> bool {
        let fault = if !is_good {
            Fault::of(chain.error()).unwrap_or(Fault::UnknownCa)
        } else if chain.error_depth() > 0 {
            return true;
        } else {
            let judged = judged(clients, chain);
            // A comparison with the wrong CA leaves errors behind, and OpenSSL would take them for this connection's
            // own when it next has to wait for the client.
            drop(ErrorStack::get());
            match judged {
                Ok(()) => return true,
                Err(fault) => fault,
            }
        };
        chain.set_error(fault.verdict());
        let _ = self.fault.set(fault);
        if let Some(facts) = chain.chain().and_then(|chain| Facts::of(chain.get(0)?).ok()) {
            let _ = self.named.set((facts.subject, facts.issuer));
        }
        false
    }
}

/// Checks what OpenSSL does not check with its store.
fn judged(clients: &Clients, chain: &X509StoreContextRef) -> Result<(), Fault> {
    let (trust, verified) = clients.trust.as_ref().zip(chain.chain()).ok_or(Fault::UnknownCa)?;
    if ffi::sent_along(chain) > MAX_SENT_CERTIFICATES {
        return Err(Fault::ChainTooLong);
    }
    let links: Vec<&X509Ref> = verified.iter().collect();
    trust.check_purpose(links.first().ok_or(Fault::UnknownCa)?)?;
    trust.revocation(&links, UnixTime::now())
}
