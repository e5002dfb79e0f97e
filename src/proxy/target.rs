//! The target of the request to the upstream.

use http::Uri;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, Result};

/// Sets another path and query, in origin form.
pub(super) fn set_target(head: &mut RequestHeader, target: &str) -> Result<()> {
    let uri = Uri::try_from(target).map_err(|_| internal("the path that was made is not one"))?;
    head.set_uri(uri);
    Ok(())
}

/// Returns the error for a mistake of the gateway: 500.
pub(super) fn internal(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, why)
}
