use http::Uri;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;

/// Asks for another path and query, in origin form.
pub fn set_target(head: &mut RequestHeader, target: &str) -> Result<()> {
    let uri = Uri::try_from(target).map_err(|_| internal("the path that was made is not one"))?;
    head.set_uri(uri);
    Ok(())
}

/// A mistake of the gateway: 500.
pub fn internal(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, why)
}
