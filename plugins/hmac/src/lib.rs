//! The hmac plugin of Portcullis.
