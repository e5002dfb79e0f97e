//! The rules plugin of Portcullis: expressions on identity and request.
