//! Answers of a route's own: fixed ones, and `echo`.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Result, protocols::http::ServerSession};
use serde_json::{Map, Value, json};

use super::{heads, state::RequestState};

/// Returns a fixed answer.
pub(super) fn fixed(status: StatusCode, body: &Bytes, content_type: &HeaderValue) -> Result<(ResponseHeader, Bytes)> {
    let mut head = ResponseHeader::build(status, Some(4))?;
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        if !body.is_empty() {
            head.insert_header(header::CONTENT_TYPE, content_type)?;
        }
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    Ok((head, body.clone()))
}

/// Returns the request that would have been forwarded, as JSON: method, target and headers. A header that occurs
/// several times is a list.
pub(super) fn echo(request: &RequestHeader) -> Result<(ResponseHeader, Bytes)> {
    let mut headers = Map::new();
    for name in request.headers.keys() {
        let values = request.headers.get_all(name).iter();
        let mut values: Vec<Value> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        headers.insert(name.as_str().to_owned(), value);
    }
    let target = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let shown = json!({ "method": request.method.as_str(), "target": target, "headers": headers });
    let body = Bytes::from(format!("{shown:#}\n"));
    fixed(StatusCode::OK, &body, &HeaderValue::from_static("application/json"))
}

/// Sends a response of the gateway's own.
pub(super) async fn send(
    session: &mut Session,
    state: &mut RequestState,
    mut head: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    state.answered(head.status.as_u16());
    state.secure(&mut head)?;
    let has_body = !body.is_empty()
        && session.req_header().method != Method::HEAD
        && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if session.req_header().version == Version::HTTP_2 {
        // Of an HTTP/2 connection a hundred answers may wait for a client that takes none. Nobody reads the requests any
        // more, and HPACK makes them much larger than what was sent.
        heads::open(session.req_header_mut(), |parts| (parts.uri, parts.headers) = Default::default());
    }
    if has_body {
        session.write_response_header(Box::new(head), false).await?;
        return session.write_response_body(Some(body), true).await;
    }
    // Pingora's own way leaves an HTTP/2 stream open behind the head, and resets it when the request failed. A gRPC
    // answer without a body has to end with its head: that is what makes it trailers-only.
    match &mut *session.downstream_session {
        ServerSession::H2(stream) => stream.write_response_header(Box::new(head), true),
        _ => session.write_response_header(Box::new(head), true).await,
    }
}
