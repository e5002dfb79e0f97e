//! From a head to a route: what is ambiguous ends here, and what goes on has one path, one host and no tricks left.
//!
//! HTTP/1 heads have passed the check of [`crate::front`] already; HTTP/2 heads have passed the codec's, and are held
//! to the same size here.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts, uri::PathAndQuery};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use portcullis_plugin::UnixTime;

use super::{
    heads,
    refusal::{Answer, Problem},
    request_id::RequestId,
    state::RequestState,
};
use crate::{
    canonical::{PathFault, canonical},
    front::{Entered, http2_head_fits, is_authority, is_target},
    router::{Find, MatchedFirst, request_host_key},
    snapshot::{Gate, Snapshot},
    tls::Misdirected,
};

/// Makes the head unambiguous, and finds the route.
pub(crate) fn matched(
    snapshot: &Snapshot,
    session: &mut Session,
    state: &mut RequestState,
) -> Result<Arc<Gate>, Answer> {
    identify(snapshot, session, state);
    let target = unambiguous(session.req_header_mut());
    // A head that is refused is logged as well.
    state.remember(session);
    let Target { has_encoded_slash, received, wants_upgrade } = target.map_err(|fault| fault.noted(state))?;
    (state.received_target, state.wants_upgrade) = (received, wants_upgrade);

    let head = session.req_header();
    let host = head.headers.get(header::HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let host = request_host_key(host).ok_or_else(|| Fault::bad("Host").noted(state))?;
    let headers = MatchedFirst::new(&head.headers);
    let found = snapshot.router.find(&host, head.uri.path(), &head.method, &headers);
    state.is_conditional = headers.is_conditional();
    let gate = match found {
        Find::Route(index) => &snapshot.gates[index],
        Find::NotFound => {
            let elsewhere = redirected(snapshot, session, state, None, &host);
            return Err(elsewhere.unwrap_or(Problem::RouteNotFound.into()));
        }
        Find::MethodNotAllowed { allow } => {
            return Err(Answer { allow: Some(Box::new(allow.clone())), ..Problem::MethodNotAllowed.into() });
        }
    };
    if has_encoded_slash && !gate.allows_encoded_slash {
        return Err(Fault::path("the path has a `%2F`, and the route does not take it").noted(state));
    }
    if let Err(answer) = belongs(snapshot, session, state, gate, &host) {
        // It is the route's, though it does not get there.
        state.matched(&gate.route);
        // It will not become another connection.
        session.set_keepalive(None);
        return Err(answer);
    }
    if let Some(elsewhere) = redirected(snapshot, session, state, Some(gate), &host) {
        return Err(elsewhere);
    }
    if state.is_https && gate.hsts.is_some() {
        state.hsts.clone_from(&gate.hsts);
    }
    Ok(gate.clone())
}

/// Checks whether the request came on the right connection: a client certificate belongs to its connection, and was
/// asked for by the name that the connection was made for.
fn belongs(
    snapshot: &Snapshot,
    session: &Session,
    state: &mut RequestState,
    gate: &Gate,
    host: &str,
) -> Result<(), Answer> {
    let fits = fits(snapshot, Entered::of(session.digest()), gate, host, state.now);
    fits.map_err(|Misdirected { why, reason }| {
        state.reason = reason;
        Fault { problem: Problem::Misdirected, why: why.into() }.noted(state)
    })
}

/// Checks whether a request of this route, for this host, may come on a connection.
pub(super) fn fits(
    snapshot: &Snapshot,
    entered: Option<&Entered>,
    gate: &Gate,
    host: &str,
    now: UnixTime,
) -> Result<(), Misdirected> {
    let Some(Entered { listener, secured }) = entered else { return Ok(()) };
    let tls = snapshot.settings.tls(*listener);
    match secured {
        Some(secured) => secured.fits(tls, host, gate.needs_certificate, now),
        None if tls.is_some() => Err(Misdirected::by_age("the listener speaks TLS since this connection was made")),
        None => Ok(()),
    }
}

/// Returns the port that a client is redirected to because it did not speak TLS. The setting of a route overrides that
/// of its listener.
pub(super) fn https_port(snapshot: &Snapshot, entered: Option<&Entered>, gate: Option<&Gate>) -> Option<u16> {
    let of_listener = || snapshot.settings.listeners.get(entered?.listener)?.https_redirect;
    gate.and_then(|gate| gate.https_redirect).map_or_else(of_listener, |redirect| redirect.0)
}

/// Returns the redirect of a client that did not speak TLS where it has to.
fn redirected(
    snapshot: &Snapshot,
    session: &Session,
    state: &RequestState,
    gate: Option<&Gate>,
    host: &str,
) -> Option<Answer> {
    if state.is_https {
        return None;
    }
    let port = https_port(snapshot, Entered::of(session.digest()), gate)?;
    let target = session.req_header().uri.path_and_query().map_or("/", PathAndQuery::as_str);
    // Without a host there is nowhere to send it to: HTTP/1.0 may leave it out.
    let location = match (host, port) {
        ("", _) => None,
        (_, 443) => HeaderValue::try_from(format!("https://{host}{target}")).ok(),
        _ => HeaderValue::try_from(format!("https://{host}:{port}{target}")).ok(),
    };
    let problem = if location.is_some() { Problem::HttpsRequired } else { Problem::BadRequest };
    Some(Answer { location: location.map(Box::new), ..problem.into() })
}

/// The reason why a head is refused: a row of the table, and a text for the log alone.
struct Fault {
    problem: Problem,
    why: Cow<'static, str>,
}

impl Fault {
    fn bad(why: &'static str) -> Self {
        Self { problem: Problem::BadRequest, why: why.into() }
    }

    fn path(why: &'static str) -> Self {
        Self { problem: Problem::BadPath, why: why.into() }
    }

    /// Stores the text for the log line.
    fn noted(self, state: &mut RequestState) -> Answer {
        state.failed(self.why);
        self.problem.into()
    }
}

impl From<PathFault> for Fault {
    fn from(fault: PathFault) -> Self {
        Self { problem: Problem::BadPath, why: fault.to_string().into() }
    }
}

/// The facts about a target that was made canonical.
struct Target {
    /// Set if its path contains `%2F`.
    has_encoded_slash: bool,
    /// The target as it came, if that is another.
    received: Option<Box<str>>,
    /// Set if the request asks for an upgrade that may pass.
    wants_upgrade: bool,
}

/// Makes a head such that it can be read in one way only.
fn unambiguous(head: &mut RequestHeader) -> Result<Target, Fault> {
    if head.version == Version::HTTP_2 {
        http2(head)?;
    }
    let target = make_canonical(head)?;
    // The target is its URI from here on, and the spelling of names is let go.
    let wants_upgrade = heads::open(head, hop_by_hop);
    Ok(Target { wants_upgrade, ..target })
}

/// Sets the client's address and the request's id. A trusted peer may have given it one.
fn identify(snapshot: &Snapshot, session: &Session, state: &mut RequestState) {
    let settings = &snapshot.settings;
    let headers = &session.req_header().headers;
    let is_believed = settings.callers.client_address.trusts(state.client);
    if is_believed {
        (state.client, state.hops) = settings.callers.client_address.of(state.peer, headers);
    }
    let entered = Entered::of(session.digest());
    let is_secured = entered.is_some_and(|entered| entered.secured.is_some());
    let told = is_believed.then(|| settings.callers.client_address.says_https(headers)).flatten();
    state.is_https = told.unwrap_or(is_secured);
    if is_secured {
        let listener = entered.and_then(|entered| settings.listeners.get(entered.listener));
        state.hsts = listener.and_then(|listener| listener.hsts.clone());
    }
    let name = settings.callers.identity.request_id().filter(|_| is_believed);
    let given = name.and_then(|name| RequestId::accepted(headers.get(name)?.as_bytes()));
    state.id = given.unwrap_or_else(RequestId::random);
}

/// Refuses or mends what the HTTP/2 codec lets through and HTTP/1 upstreams would misread.
fn http2(head: &mut RequestHeader) -> Result<(), Fault> {
    http2_head_fits(head).map_err(|why| Fault { problem: Problem::HeadTooLarge, why: why.into() })?;
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(Fault { problem: Problem::MethodNotAllowed, why: "method TRACE or CONNECT".into() });
    }
    if head.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Fault::bad("two Authorization lines"));
    }
    if !head.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte.is_ascii_digit()) {
        return Err(Fault::bad("method"));
    }
    if let Some(authority) = head.uri.authority() {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Fault::bad("authority"))?;
        head.insert_header(header::HOST, value).map_err(|_| Fault::bad("authority"))?;
    }
    // As strict as over HTTP/1: a list of hosts would be read as its first by one and as its last by another.
    if !head.headers.get(header::HOST).is_some_and(|host| is_authority(host.as_bytes())) {
        return Err(Fault::bad("Host"));
    }
    // RFC 9113 section 8.2.3: crumbs become one line before anything else reads them.
    if head.headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let crumbs: Vec<&[u8]> = head.headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map_err(|_| Fault::bad("Cookie"))?;
        head.remove_header(&header::COOKIE);
        head.insert_header(header::COOKIE, whole).map_err(|_| Fault::bad("Cookie"))?;
    }
    Ok(())
}

/// Makes the target origin form with the canonical path.
fn make_canonical(head: &mut RequestHeader) -> Result<Target, Fault> {
    // HTTP/2 has its target in parts, and HTTP/1 as the bytes that came; those may be in absolute form.
    let has_authority = head.uri.authority().is_some();
    let raw = head.raw_path();
    let target = if raw.starts_with(b"/") { raw } else { absolute(raw)? };
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    };
    // As over HTTP/1, where these bytes have been looked at already: the codec of HTTP/2 takes more.
    if !is_target(target) {
        return Err(Fault::bad("byte in the target"));
    }
    let path = if path.is_empty() { &b"/"[..] } else { path };
    let made = canonical(path)?;
    let is_as_it_came = matches!(made.path, Cow::Borrowed(_)) && !has_authority && raw.starts_with(b"/");
    if is_as_it_came && head.raw_path_is_utf8() {
        return Ok(Target { has_encoded_slash: made.has_encoded_slash, received: None, wants_upgrade: false });
    }
    // A signature is over these bytes; what is neither path nor query was refused, so they are ASCII.
    let is_canonical = matches!(made.path, Cow::Borrowed(_));
    let received = if is_canonical { None } else { str::from_utf8(target).ok().map(Box::from) };
    let mut whole = made.path.into_owned().into_bytes();
    if let Some(query) = query {
        whole.push(b'?');
        whole.extend_from_slice(query);
    }
    let has_encoded_slash = made.has_encoded_slash;
    let target = PathAndQuery::try_from(whole).map_err(|_| Fault::bad("target"))?;
    head.set_uri(target.into());
    Ok(Target { has_encoded_slash, received, wants_upgrade: false })
}

/// Returns the path and query of `http://host/path` (RFC 9112 section 3.2.2); that its authority is the `Host` has been
/// checked.
fn absolute(raw: &[u8]) -> Result<&[u8], Fault> {
    let no_path = || Fault::bad("target in neither origin nor absolute form");
    let after_scheme = memchr::memmem::find(raw, b"://").ok_or_else(no_path)? + 3;
    let authority_end = raw[after_scheme..].iter().position(|byte| matches!(byte, b'/' | b'?'));
    Ok(authority_end.map_or(&b"/"[..], |end| &raw[after_scheme + end..]))
}

/// Headers that are about this connection alone. Those of an upgrade stay where it is one to WebSocket.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "upgrade",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "trailer",
];

/// Reduces `Connection` to what the gateway itself does with the connection, so that it names no header that would be
/// removed from what the upstream gets, and lets no upgrade pass but WebSocket. Returns whether one passes.
fn hop_by_hop(head: &mut Parts) -> bool {
    // One look at each name costs less than a search for each of these.
    if !head.headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str())) {
        return false;
    }
    let upgrade = if is_websocket(head) { head.headers.remove(header::UPGRADE) } else { None };
    for name in HOP_BY_HOP {
        head.headers.remove(name);
    }
    let Some(upgrade) = upgrade else { return false };
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers.insert(header::UPGRADE, upgrade);
    true
}

fn is_websocket(head: &Parts) -> bool {
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    protocols.next().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
        && head.version == Version::HTTP_11
        && head.method == Method::GET
        && names_upgrade(&head.headers)
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}
