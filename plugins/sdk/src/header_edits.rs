use http::{HeaderName, HeaderValue, header};

use crate::ManagedHeader;

/// Changes to the headers of the response that ends a request, made before it is known which response that is: a cookie
/// that was refreshed, the state of a limit. They are attached to a grant, to an absence, to `Allow` or to a refusal, and
/// are made after every `edit_response`, so that no other plugin loses them.
///
/// ```
/// use portcullis_plugin::{HeaderEdits, Reach, http::{HeaderValue, header}};
///
/// let mut edits = HeaderEdits::new();
/// edits.append(header::SET_COOKIE, HeaderValue::from_static("__Host-session=new; Secure; Path=/"))?;
/// assert!(edits.append(header::CONTENT_LENGTH, HeaderValue::from_static("7")).is_err());
///
/// let limit = HeaderEdits::new().reaching(Reach::Authenticated);
/// # let _ = limit;
/// # Ok::<_, portcullis_plugin::ManagedHeader>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits(Option<Box<Edits>>);

/// In a box, because most verdicts have none and all of them are moved around.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Edits {
    reach: Reach,
    all: Vec<(HeaderName, HeaderEdit)>,
}

/// One change to the headers of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// This value in place of all of that name.
    Set(HeaderValue),
    /// This value beside those that are there.
    Append(HeaderValue),
    /// None of that name.
    Remove,
}

/// The responses that edits are made to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Whatever response ends the request: the upstream's (101 and 304 too), the route's, a refusal, an error.
    #[default]
    Every,
    /// All but an answer that an authenticator proposed, such as a redirect to log in.
    NoProposal,
    /// All but a proposed answer and a 401, which are for callers who have yet to say who they are. A refusal of a guard
    /// is among them, and so is an error: nobody was asked then.
    Authenticated,
}

impl HeaderEdits {
    /// None yet. Nothing is allocated before the first.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Says which responses they are made to; [`Reach::Every`] unless said.
    #[must_use]
    pub fn reaching(mut self, reach: Reach) -> Self {
        self.0.get_or_insert_default().reach = reach;
        self
    }

    /// Has a header set in place of all of that name.
    ///
    /// # Errors
    /// The name is the gateway's: see [`ManagedHeader::is_gateways`].
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<&mut Self, ManagedHeader> {
        let value = discreet(&name, value);
        self.add(name, HeaderEdit::Set(value))
    }

    /// Has a header added beside those of that name.
    ///
    /// # Errors
    /// The name is the gateway's: see [`ManagedHeader::is_gateways`].
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<&mut Self, ManagedHeader> {
        let value = discreet(&name, value);
        self.add(name, HeaderEdit::Append(value))
    }

    /// Has all headers of that name removed.
    ///
    /// # Errors
    /// The name is the gateway's: see [`ManagedHeader::is_gateways`].
    pub fn remove(&mut self, name: HeaderName) -> Result<&mut Self, ManagedHeader> {
        self.add(name, HeaderEdit::Remove)
    }

    fn add(&mut self, name: HeaderName, edit: HeaderEdit) -> Result<&mut Self, ManagedHeader> {
        let name = ManagedHeader::check(name)?;
        self.0.get_or_insert_default().all.push((name, edit));
        Ok(self)
    }

    /// Returns `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|edits| edits.all.is_empty())
    }

    /// The responses that they are made to.
    pub fn reach(&self) -> Reach {
        self.0.as_ref().map(|edits| edits.reach).unwrap_or_default()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderEdit)> {
        self.0.iter().flat_map(|edits| &edits.all)
    }
}

/// Marks the value of a cookie, which may be a session, as one that logs do not show and HPACK does not index.
pub(crate) fn discreet(name: &HeaderName, mut value: HeaderValue) -> HeaderValue {
    if name == header::SET_COOKIE {
        value.set_sensitive(true);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_not_shown() {
        let session = HeaderValue::from_static("session=s3cret");
        let mut edits = HeaderEdits::new();
        edits.append(header::SET_COOKIE, session.clone()).unwrap().set(header::SET_COOKIE, session.clone()).unwrap();
        let answer = crate::Respond::new(http::StatusCode::OK, crate::Reason::Plugin("test"));
        let answer = answer.header(header::SET_COOKIE, session).unwrap();
        for said in [format!("{edits:?}"), format!("{answer:?}")] {
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
