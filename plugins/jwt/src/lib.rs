//! The jwt plugin of Portcullis.
