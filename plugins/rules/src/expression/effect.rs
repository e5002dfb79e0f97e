//! The two uses of an expression in a policy.

/// The use of an expression: it lets requests through, or keeps them out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It has to hold.
    Require,
    /// It must not hold.
    Deny,
}
