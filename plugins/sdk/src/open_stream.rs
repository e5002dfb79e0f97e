//! Requests that were let in and have not ended: a WebSocket, a stream of events, a call of gRPC.
//!
//! Authentication happens once, at the beginning. What would be refused if it came now must not live on, so the engine
//! judges such requests again after each reload and each revocation, when a policy says so ([`JudgeAgain`]), and once a
//! minute: it asks
//! [`Authenticate::recheck`](crate::Authenticate::recheck) and [`Admit::recheck`](crate::Admit::recheck). The request's
//! head is gone by then, and a signature or a password cannot be proven again; what is left is the identity, and what the
//! authenticator kept of how it was proven ([`Proof`]).

use std::{
    any::Any,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::Method;

use crate::{Authentication, ClientCert, Credential, Denial, Identity, Reason, UnixTime};

/// What an authenticator keeps of how an identity was proven, to judge it again later: the id of the key that verified a
/// token, a certificate. It is kept as long as the request lasts, so it should be small, and hold no table.
///
/// ```
/// use portcullis_plugin::Proof;
///
/// let proof = Proof::new(7_u32);
/// assert_eq!((proof.get::<u32>(), proof.get::<u64>()), (Some(&7), None));
/// ```
#[derive(Clone, Default)]
pub struct Proof(Option<Arc<dyn Any + Send + Sync>>);

impl Proof {
    /// Keeps a value.
    pub fn new<T: Any + Send + Sync>(kept: T) -> Self {
        Self(Some(Arc::new(kept)))
    }

    /// The value, if one of this type was kept. One of another type is another plugin's.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

/// It may have been made from a secret.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(***)")
    }
}

/// Has all requests judged again that were let in and have not ended. A policy calls it when it learns by itself that what
/// it took may be good no longer: an issuer has withdrawn a key. See [`BuildCx::judge_again`](crate::BuildCx::judge_again).
///
/// It returns at once. The judging is done elsewhere, and many calls are one; without open requests it costs nothing.
#[derive(Clone, Default)]
pub struct JudgeAgain(Option<Arc<dyn Fn() + Send + Sync>>);

impl JudgeAgain {
    /// Has it done by this, which returns at once. By default nothing is done.
    pub fn new(judge: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    /// Has them judged again. To be called when the change can be seen.
    pub fn call(&self) {
        self.0.iter().for_each(|judge| judge());
    }
}

/// A request that was let in and has not ended, as a policy sees it when it is judged again.
#[derive(Clone, Copy)]
pub struct OpenStream<'s> {
    /// Who is calling, as it was found out when the request came.
    pub identity: &'s Arc<Identity>,
    /// The identity's credentials as the configuration says them now, in the same order. They are all there, open this
    /// policy and can be used: the engine has made sure of that.
    pub credentials: &'s [Arc<Credential>],
    /// The policy says what it said when it let the request in.
    pub has_same_settings: bool,
    /// The files and secrets that the policy reads, those of its credentials too, hold what they held then.
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
    /// Whether nothing has changed that the policy says or reads, or that the configuration says of the identity's
    /// credentials and of whose they are.
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

    /// What the identity's one credential stands for now, for authenticators that make their identities by
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
