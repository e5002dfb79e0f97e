use std::{any::Any, fmt, sync::Arc};

/// The evidence of an identity that an authenticator keeps to judge it again later: the id of the key that verified a
/// token, a certificate. It is kept as long as the request lasts, so it should be small, and hold no table.
///
/// ```
/// use portcullis_plugin::Proof;
///
/// let proof = Proof::new(7_u32);
/// assert_eq!((proof.get::<u32>(), proof.get::<u64>()), (Some(&7), None));
/// ```
#[derive(Clone, Default)]
pub struct Proof(Option<Arc<dyn Any + Send + Sync>>);

impl Proof {
    /// Keeps a value.
    pub fn new<T: Any + Send + Sync>(kept: T) -> Self {
        Self(Some(Arc::new(kept)))
    }

    /// The value, if one of this type was kept. One of another type is another plugin's.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

/// It may have been made from a secret.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(***)")
    }
}
