//! The basic-auth plugin of Portcullis.
