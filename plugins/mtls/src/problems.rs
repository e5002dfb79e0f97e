//! The problems of a policy, as they are collected while it is built.

/// Pairs of a field and why it is wrong.
pub(crate) type Problems = Vec<(String, String)>;
