//! The request as the upstream gets it. One function makes it, for the upstream and for `echo` alike.
//!
//! The order matters: first everything that only the gateway may say is removed, in every spelling, then the route's
//! plugins edit, and last the gateway says it, so that neither the client nor a plugin has the last word. It runs after
//! Pingora has taken out hop-by-hop headers: `Connection: X-User-ID` removes nothing that is set here.

use std::{fmt::Write, net::IpAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::Result;
use pingora::http::RequestHeader;
use portcullis_plugin::{Places, RequestCx};

use super::{
    edit::UpstreamEdit,
    heads::open,
    hook::{Call, Undecided},
    state::RequestState,
    target::{internal, set_target},
};
use crate::{
    snapshot::{
        Route,
        client_address::ClientAddress,
        route::{Callers, Ending},
    },
    telemetry::events::append_address,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The most headers that the gateway adds to a request.
const MANAGED_HEADERS: usize = 16;

/// Takes out of the client's request what must not be forwarded: headers that only the gateway may set, the places in
/// which credentials stand, and the cookies of policies. Done once, before Pingora copies the head.
pub(crate) fn strip(head: &mut RequestHeader, callers: &Callers, hidden: Option<&Places>) -> Result<()> {
    // Names are gathered first because a header map cannot be walked and changed at once; mostly there are none.
    let foreign: Vec<HeaderName> = callers.identity.foreign(&head.headers).cloned().collect();
    for name in &foreign {
        head.remove_header(name);
    }
    for hidden in hidden.into_iter().chain([&callers.cookies]).filter(|hidden| !hidden.0.is_empty()) {
        hide(head, hidden)?;
    }
    Ok(())
}

fn hide(head: &mut RequestHeader, hidden: &Places) -> Result<()> {
    for (name, _) in hidden.headers() {
        // By the eyes of the one who looks for credentials: what it would find must not be left.
        let is_there = |value: &HeaderValue| hidden.has_header_line(name, value.as_bytes());
        if head.headers.get_all(name).iter().any(is_there) {
            head.remove_header(name);
        }
    }
    if hidden.has_query()
        && let Some(query) = head.uri.query()
        && let Some(kept) = hidden.strip_query(query)
    {
        let path = head.uri.path();
        let target = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
        set_target(head, &target)?;
    }
    if hidden.has_cookie() {
        let is_there = |line: &HeaderValue| hidden.strip_cookies(line.as_bytes()).is_some();
        if head.headers.get_all(header::COOKIE).iter().any(is_there) {
            let lines: Vec<HeaderValue> = head.headers.get_all(header::COOKIE).iter().cloned().collect();
            head.remove_header(&header::COOKIE);
            for line in lines {
                let kept =
                    hidden.strip_cookies(line.as_bytes()).map_or(Ok(line), |kept| HeaderValue::from_bytes(&kept));
                let kept = kept.map_err(|_| internal("a cookie that was kept is not a header value"))?;
                if !kept.is_empty() {
                    head.append_header(header::COOKIE, kept)?;
                }
            }
        }
    }
    Ok(())
}

/// Names the host that the upstream is asked for, where the file says another than the client's.
pub(crate) fn set_host(head: &mut RequestHeader, route: &Route) {
    if let Ending::Forward(upstream) = &route.ending
        && let Some(host) = &upstream.host
    {
        open(head, |parts| drop(parts.headers.insert(header::HOST, host.clone())));
    }
}

/// Has the route's plugins change the upstream's request.
///
/// # Errors
/// The policy whose plugin could not, and why.
pub(crate) fn edit<'r>(
    head: &mut RequestHeader,
    route: &'r Route,
    state: &RequestState,
    cx: &mut RequestCx<'_>,
) -> Result<(), (&'r str, Undecided)> {
    let mut edit = UpstreamEdit::new(head, &route.callers.identity);
    for step in &route.edit_request {
        let call = Call { state, policy: &step.policy, hook: "edit_request" };
        cx.enter(step.number);
        call.run(|| step.hook.edit_request(cx, &mut edit)).map_err(|why| (&*step.policy, why))?;
    }
    Ok(())
}

/// Says in the upstream's request, last of all, what only the gateway says. `received` are the client's headers.
pub(crate) fn announce(head: &mut RequestHeader, callers: &Callers, state: &RequestState, received: &HeaderMap) {
    let host = received.get(header::HOST);
    open(head, |parts| say(&mut parts.headers, callers, state, host));
}

fn say(headers: &mut HeaderMap, callers: &Callers, state: &RequestState, host: Option<&HeaderValue>) {
    // Grown once. A header map holds 32,768 entries; the front lets a hundred through.
    headers.reserve(MANAGED_HEADERS);
    if let Some(identity) = &state.identity {
        for (name, value) in callers.identity.of(identity) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(name) = callers.identity.request_id()
        && let Ok(id) = HeaderValue::from_str(state.id.as_str())
    {
        headers.insert(name, id);
    }
    forwarded(headers, &callers.client_address, state, host);
    // HTTP/1.0 may leave the Host out. What goes to the upstream is HTTP/1.1, which may not (RFC 9112 section 3.2).
    if !headers.contains_key(header::HOST)
        && let Some(choice) = &state.choice
        && let Ok(target) = HeaderValue::from_str(&choice.target.address)
    {
        headers.insert(header::HOST, target);
    }
}

/// Tells the upstream about the client: every hop that is believed, and the one that sent this.
fn forwarded(headers: &mut HeaderMap, rule: &ClientAddress, state: &RequestState, host: Option<&HeaderValue>) {
    let host = host.or_else(|| headers.get(header::HOST)).cloned();
    let proto = if state.is_https { "https" } else { "http" };
    if rule.sends_x_forwarded() {
        if let Ok(value) = HeaderValue::from_maybe_shared(addresses(state)) {
            headers.insert(X_FORWARDED_FOR, value);
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
        if let Some(host) = &host {
            headers.insert(X_FORWARDED_HOST, host.clone());
        }
    }
    if rule.sends_forwarded() {
        let host = host.as_ref().and_then(|host| host.to_str().ok());
        if let Ok(value) = HeaderValue::try_from(forwarded_value(state, host, proto)) {
            headers.insert(header::FORWARDED, value);
        }
    }
}

/// The client and the hops behind it, as `X-Forwarded-For` has them.
fn addresses(state: &RequestState) -> Bytes {
    let mut text = Vec::with_capacity(40);
    append_address(state.client, &mut text);
    for hop in &state.hops {
        text.extend_from_slice(b", ");
        append_address(*hop, &mut text);
    }
    text.into()
}

/// Returns the value of `Forwarded` (RFC 7239 section 4): one element a hop; IPv6 addresses in brackets and quotes.
fn forwarded_value(state: &RequestState, host: Option<&str>, proto: &str) -> String {
    let node = |address: &IpAddr| match address {
        IpAddr::V4(v4) => format!("for={v4}"),
        IpAddr::V6(v6) => format!("for=\"[{v6}]\""),
    };
    let mut text = node(&state.client);
    for hop in &state.hops {
        let _ = write!(text, ", {}", node(hop));
    }
    if let Some(host) = host {
        let _ = write!(text, ";host=\"{}\"", host.replace(['"', '\\'], ""));
    }
    let _ = write!(text, ";proto={proto}");
    text
}
