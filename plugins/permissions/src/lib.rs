//! The scopes, roles and claims plugins of Portcullis.
