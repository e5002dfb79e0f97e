use std::sync::Arc;

use crate::{Denial, Identity, Reason};

/// The result of an authenticator.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The request proves this identity.
    Granted(Arc<Identity>),
    /// Nothing in any of the places this authenticator looks at.
    Absent,
    /// A credential is there, and it is wrong.
    Denied(Denial),
}

/// The client's attempt, for the choice of a challenge.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// Nothing for this authenticator.
    Absent,
    /// A credential that was not accepted.
    Denied(Reason),
}
