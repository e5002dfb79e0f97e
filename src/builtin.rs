//! THE list of built-in plugins: a plugin of the project's own is its crate and one line here.

use crate::registry::Registry;

/// Adds every built-in plugin that this build has.
pub fn add_all(registry: &mut Registry) {
    #[cfg(feature = "key-auth")]
    registry.add::<portcullis_key_auth::KeyAuth>();
    #[cfg(feature = "consumer-restriction")]
    registry.add::<portcullis_consumer_restriction::ConsumerRestriction>();
    let _ = registry;
}
