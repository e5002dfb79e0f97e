//! Key sets and token verification for Portcullis plugins.
