use std::{borrow::Cow, fmt, sync::Arc};

/// An operation of a [store](crate::store) that was not done, or of which nobody knows whether it was.
///
/// A caller that needs the answer to let a request pass refuses it: [`PluginError`](crate::PluginError) can be made of
/// this error. A caller that can do without, such as a limit with counters of its own, tells the cases apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or was not asked because it did not answer others. Nothing was done.
    #[error("store: {0}")]
    Unavailable(Cow<'static, str>),
    /// The store has no room for another entry of this space. Nothing was done, and nothing was forgotten for it.
    #[error("store: no room for another {0}")]
    Full(SpaceName),
    /// The deadline passed. The operation may have been done or not, and will not be done later: a put that timed out
    /// counts as refused, and a value that was being taken counts as gone.
    #[error("store: no answer within the deadline")]
    Timeout,
    /// The request is one that no store carries out, such as a value above the limit, or the entry that was found cannot
    /// be read. Trying again does not help.
    #[error("store: {0}")]
    Invalid(Cow<'static, str>),
}

impl StoreError {
    /// A failure of the store, in words for the log. They must not hold a secret.
    pub fn unavailable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unavailable(why.into())
    }

    /// A request that cannot be carried out or an entry that cannot be read, in words for the log.
    pub fn invalid(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid(why.into())
    }
}

/// The name of a [`Space`](crate::store::Space) in errors: its kind, and its policy where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceName {
    /// The kind of entry, such as `"session"`.
    pub kind: &'static str,
    /// The policy that the space belongs to.
    pub policy: Option<Arc<str>>,
}

impl fmt::Display for SpaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.kind)?;
        self.policy.as_ref().map_or(Ok(()), |policy| write!(f, " of the policy `{policy}`"))
    }
}
