use std::sync::Arc;

/// A body filter of one request, and whose it is.
pub struct Filter {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What looks at the pieces.
    pub filter: Box<dyn portcullis_plugin::BodyFilter>,
}
