//! The body filters of a request, as its state keeps them.

use std::sync::Arc;

/// A body filter of one request, with its policy.
pub(crate) struct Filter {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The filter.
    pub filter: Box<dyn portcullis_plugin::BodyFilter>,
}
