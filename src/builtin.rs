//! THE list of built-in plugins: to add one, write its crate and one line here.

use crate::registry::Registry;

/// Adds every built-in plugin that this build has.
pub(crate) fn add_all(registry: &mut Registry) {
    #[cfg(feature = "basic-auth")]
    registry.add::<portcullis_basic_auth::BasicAuth>();
    #[cfg(feature = "consumer-restriction")]
    registry.add::<portcullis_consumer_restriction::ConsumerRestriction>();
    #[cfg(feature = "hmac")]
    registry.add::<portcullis_hmac::Hmac>();
    #[cfg(feature = "jwt")]
    registry.add::<portcullis_jwt::Jwt>();
    #[cfg(feature = "key-auth")]
    registry.add::<portcullis_key_auth::KeyAuth>();
    #[cfg(feature = "mtls")]
    registry.add::<portcullis_mtls::Mtls>();
    #[cfg(feature = "permissions")]
    {
        registry.add::<portcullis_permissions::Claims>();
        registry.add::<portcullis_permissions::Roles>();
        registry.add::<portcullis_permissions::Scopes>();
    }
    #[cfg(feature = "rules")]
    registry.add::<portcullis_rules::Rules>();
    let _ = registry;
}
