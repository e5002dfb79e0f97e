//! Requests that were let in and have not ended: a WebSocket, a stream of events, a call of gRPC.
//!
//! Authentication happens once, at the beginning. A request that would be refused if it came now must not live on, so
//! the engine judges such requests again after each reload and each revocation, when a policy says so
//! ([`JudgeAgain`](crate::JudgeAgain)), and once a minute: it asks
//! [`Authenticate::recheck`](crate::Authenticate::recheck) and [`Admit::recheck`](crate::Admit::recheck). The request's
//! head is gone by then, and a signature or a password cannot be proven again; what is left is the identity, and the
//! evidence that the authenticator kept ([`Proof`](crate::Proof)).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::Method;

use crate::{Authentication, ClientCert, Credential, Denial, Identity, Reason, UnixTime};

/// A request that was let in and has not ended, as a policy sees it when it is judged again.
#[derive(Clone, Copy)]
pub struct OpenStream<'s> {
    /// Who is calling, as it was found out when the request came.
    pub identity: &'s Arc<Identity>,
    /// The identity's credentials by the configuration that serves now, in the same order. They are all there, open
    /// this policy and can be used: the engine has made sure of that.
    pub credentials: &'s [Arc<Credential>],
    /// The policy has the settings that it had when it let the request in.
    pub has_same_settings: bool,
    /// The files and secrets that the policy reads, and those of its credentials, have not changed since then.
    pub has_same_files: bool,
    /// The name of the route.
    pub route: &'s str,
    /// The request's method.
    pub method: &'s Method,
    /// The canonical path.
    pub path: &'s str,
    /// The client's address, after trusted hops.
    pub address: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The certificate of the connection, judged by the configuration that serves now: see
    /// [`RequestCx::certificate`](crate::RequestCx::certificate).
    pub certificate: Result<Option<&'s ClientCert>, Reason>,
    /// The time.
    pub now: UnixTime,
}

impl OpenStream<'_> {
    /// Returns `true` if nothing has changed in the policy and the files that it reads, nor in the identity's
    /// credentials and their consumers.
    pub fn is_unchanged(&self) -> bool {
        let mut credentials = self.identity.credentials.iter().zip(self.credentials);
        self.has_same_settings && self.has_same_files && credentials.all(|(then, now)| then.says_the_same(now))
    }

    /// Grants the identity as it was, unless something has changed: for authenticators that cannot tell what a change
    /// means for it.
    pub fn unless_changed(&self) -> Authentication {
        match self.is_unchanged() {
            true => Authentication::Granted(self.identity.clone()),
            false => Self::changed(),
        }
    }

    /// Returns the identity that the one credential stands for now, for authenticators that make their identities by
    /// [`Identity::of_client`].
    pub fn client(&self) -> Option<Identity> {
        match self.credentials {
            [credential] => Some(Identity::of_client(credential)),
            _ => None,
        }
    }

    /// Grants this identity; without one the request ends.
    pub fn granted(identity: Option<Identity>) -> Authentication {
        identity.map_or_else(Self::changed, |identity| Authentication::Granted(Arc::new(identity)))
    }

    /// The answer of a policy that cannot tell whether it would still take this: the request ends.
    pub fn changed() -> Authentication {
        Authentication::Denied(Denial::unauthorized(Reason::PolicyChanged))
    }
}
