use std::sync::Arc;

use crate::{Denial, HeaderEdits, Identity, Reason, Respond};

/// The result of an authenticator.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// The request proves this identity.
    Granted(Arc<Identity>),
    /// The same, with changes to the response's headers, such as a cookie that was refreshed. They are made if the whole
    /// alternative grants.
    GrantedWith(Arc<Identity>, HeaderEdits),
    /// Nothing in any of the places this authenticator looks at.
    Absent,
    /// The same, with something to say about it.
    AbsentWith(Absence),
    /// A credential is there, and it is wrong.
    Denied(Denial),
}

/// An absence with something to say about it.
///
/// ```
/// use portcullis_plugin::{Absence, Authentication, HeaderEdits, Reason, Respond, http::{HeaderValue, header}};
///
/// // A cookie is there that does not open: it counts as none, and the browser is rid of it.
/// let mut edits = HeaderEdits::new();
/// edits.append(header::SET_COOKIE, HeaderValue::from_static("__Host-session=; Secure; Path=/; Max-Age=0"))?;
/// let login = Respond::redirect(Reason::Plugin("login_needed"), "https://login.example/")?;
/// let absent: Authentication = Absence::new().proposing(login).with(edits).into();
/// # let _ = absent;
/// # Ok::<_, portcullis_plugin::PluginError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// The answer in place of 401, such as a redirect to log in. It is used if no alternative of the route grants, fails
    /// or is denied and the route has no anonymous consumer; of several the first in the file. What a part of an all-of
    /// proposes is not used.
    pub proposal: Option<Respond>,
    /// Changes to the headers of the response, whoever grants; of a part of an all-of they are not made.
    pub headers: HeaderEdits,
}

impl Absence {
    /// Without anything to say yet.
    pub const fn new() -> Self {
        Self { proposal: None, headers: HeaderEdits::new() }
    }

    /// Proposes an answer.
    #[must_use]
    pub fn proposing(self, answer: Respond) -> Self {
        Self { proposal: Some(answer), ..self }
    }

    /// Adds changes to the headers of the response.
    #[must_use]
    pub fn with(self, headers: HeaderEdits) -> Self {
        Self { headers, ..self }
    }
}

impl From<Absence> for Authentication {
    fn from(absence: Absence) -> Self {
        Self::AbsentWith(absence)
    }
}

/// The client's attempt, for the choice of a challenge.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    /// Nothing for this authenticator.
    Absent,
    /// A credential that was not accepted.
    Denied(Reason),
}
