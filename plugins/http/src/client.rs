use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{body::Incoming, ext::on_informational};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, capture_connection},
    },
    rt::{TokioExecutor, TokioTimer},
};
use portcullis_plugin::{
    BuildCx, BuildError,
    bytes::Bytes,
    http::{self, Extensions, HeaderMap, Method, Uri, header},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, Semaphore};
use url::Url;

use crate::{
    HttpError, HttpSettings, Limits, Request, Response, address, body,
    dial::{Dial, Used},
    error::{Stage, causes},
    limits::{MAX_EXCHANGES, MAX_HEAD_BYTES, MAX_HEADER_LINES, MAX_INTERIM_ANSWERS},
    settings::Read,
    tls,
};

/// The most idle connections to one host that are kept.
const MAX_IDLE_CONNECTIONS: usize = 32;
/// An idle connection is kept for so long.
const MAX_IDLE: Duration = Duration::from_secs(15);

type Hyper = legacy::Client<Dial, Full<Bytes>>;

/// Asks servers, which it mistrusts. Clones are cheap, and all clients with equal settings share their connections, over
/// policies and reloads.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    /// Turns with the configured origin.
    turns: Arc<Turns>,
    origin: Arc<Url>,
    headers: Arc<HeaderMap>,
    limits: Limits,
    digest: Arc<str>,
}

/// Connections, under one set of settings.
struct Transport {
    /// To addresses that the file names.
    configured: Hyper,
    /// To addresses that documents name. They share no connections: one that was opened without the rules would go around
    /// them.
    named: Hyper,
}

struct Turns(Semaphore);

impl Client {
    /// The client for a server of which the file says the address, or one that was made with equal settings before.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, by field.
    pub fn shared(
        cx: &mut BuildCx<'_>,
        origin: &Url,
        settings: &HttpSettings,
        usual: Limits,
    ) -> Result<Self, BuildError> {
        let read = settings.read(cx, origin, usual)?;
        let (key, digest) = (key(origin, &read), digest(origin, &read));
        let tls = tls::connector(&read)?;
        let proxy = read.proxy.map(|proxy| (proxy, read.proxy_authorization));
        let elsewhere = match read.connect_to {
            Some(elsewhere) => Some((uri(origin).map_err(|why| BuildError::new("", why.to_string()))?, elsewhere)),
            None => None,
        };
        let dial = Dial { tls, proxy, elsewhere, rules: None };
        let guarded = Dial { rules: Some(cx.address_rules()), ..dial.clone() };
        let transport =
            cx.shared(&key, || Transport { configured: hyper(dial.clone()), named: hyper(guarded.clone()) });
        let turns = cx.shared(&format!("{key} {}", origin.origin().ascii_serialization()), || {
            Turns(Semaphore::new(MAX_EXCHANGES))
        });
        let (origin, headers, digest) = (Arc::new(origin.clone()), Arc::new(read.headers), digest.into());
        Ok(Self { transport, turns, origin, headers, limits: read.limits, digest })
    }

    /// The limits of its exchanges.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A digest of all that its requests depend on beside their own parts, limits aside: what one client was answered is
    /// good for another one with the same digest. It may be part of a key, and shows no secret.
    pub fn settings_digest(&self) -> &str {
        &self.digest
    }

    /// Sends a request, and waits for the whole answer, whatever its status. Dropping the future ends the exchange and its
    /// connection.
    ///
    /// # Errors
    /// There is no answer, or none that can be used.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let (has_turn, has_head) = (AtomicBool::new(false), AtomicBool::new(false));
        let within = request.timeout.unwrap_or(self.limits.timeout).min(self.limits.timeout);
        let exchange = async {
            let _turn = self.turns.0.acquire().await;
            has_turn.store(true, Relaxed);
            self.with_redirects(&request, &has_head).await
        };
        tokio::time::timeout(within, exchange).await.unwrap_or_else(|_| {
            let stage = match (has_turn.into_inner(), has_head.into_inner()) {
                (false, _) => Stage::Queue,
                (true, false) => Stage::Head,
                (true, true) => Stage::Body,
            };
            Err(HttpError::Timeout(within, stage))
        })
    }

    async fn with_redirects(&self, request: &Request, has_head: &AtomicBool) -> Result<Response, HttpError> {
        let (mut url, mut is_named) = (request.url.clone(), request.is_named);
        let mut left = request.redirects;
        loop {
            has_head.store(false, Relaxed);
            let response = self.once(request, &url, is_named, has_head).await?;
            let Some(next) = response.location(&url).filter(|_| left > 0 && request.method == Method::GET) else {
                return Ok(response);
            };
            let next = next.map_err(HttpError::Malformed)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(HttpError::Forbidden("the answer is a redirect from https to http".to_owned()));
            }
            left -= 1;
            is_named = true;
            url = next;
        }
    }

    async fn once(
        &self,
        request: &Request,
        url: &Url,
        is_named: bool,
        has_head: &AtomicBool,
    ) -> Result<Response, HttpError> {
        let is_origin = address::is_same_origin(url, &self.origin);
        let is_first = *url == request.url;
        let make = || self.message(request, url, is_origin, is_first);
        let hyper = if is_named && !is_origin { &self.transport.named } else { &self.transport.configured };
        match send(hyper, make()?, self.limits.max_body_bytes, has_head).await {
            // The server closed the connection just as the request was sent over it, which servers do with idle ones.
            Err(Failed { error: _, is_stale: true }) if request.is_repeatable => {
                send(hyper, make()?, self.limits.max_body_bytes, has_head).await.map_err(|failed| failed.error)
            }
            outcome => outcome.map_err(|failed| failed.error),
        }
    }

    fn message(
        &self,
        request: &Request,
        url: &Url,
        is_origin: bool,
        is_first: bool,
    ) -> Result<http::Request<Full<Bytes>>, HttpError> {
        let mut message = http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = uri(url)?;
        let headers = message.headers_mut();
        headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static("gzip"));
        headers.insert(header::USER_AGENT, http::HeaderValue::from_static("portcullis"));
        if is_origin {
            replace(headers, &self.headers);
        }
        // Those of the request itself are for the address that it was made for, and not for one that answers it.
        if is_first || is_origin && address::is_same_origin(url, &request.url) {
            replace(headers, &request.headers);
        }
        Ok(message)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("origin", &self.origin.origin().ascii_serialization()).finish_non_exhaustive()
    }
}

/// Sets headers in the place of those of the same names. (`extend` would add a second line.)
fn replace(headers: &mut HeaderMap, by: &HeaderMap) {
    for (name, value) in by {
        headers.insert(name, value.clone());
    }
}

/// An exchange that failed.
struct Failed {
    error: HttpError,
    /// The connection was an old one, and ended before anything was answered.
    is_stale: bool,
}

impl From<HttpError> for Failed {
    fn from(error: HttpError) -> Self {
        Self { error, is_stale: false }
    }
}

async fn send(
    hyper: &Hyper,
    mut message: http::Request<Full<Bytes>>,
    limit: usize,
    has_head: &AtomicBool,
) -> Result<Response, Failed> {
    let connection = capture_connection(&mut message);
    let interim = count_interim_answers(&mut message);
    let was_used = || {
        let mut extras = Extensions::new();
        connection.connection_metadata().iter().for_each(|connected| connected.get_extras(&mut extras));
        extras.get::<Used>().is_some_and(Used::mark)
    };
    let answer = tokio::select! {
        answer = hyper.request(message) => answer,
        () = interim.notified() => {
            let why = format!("the server sent more than {MAX_INTERIM_ANSWERS} interim answers (1xx)");
            return Err(HttpError::Malformed(why).into());
        }
    };
    let was_used = was_used();
    let answer = answer.map_err(|error| failure(&error, was_used))?;
    has_head.store(true, Relaxed);
    let read = read(answer, limit).await;
    if read.is_err() {
        // Whatever else comes over it answers no request of ours.
        connection.connection_metadata().iter().for_each(Connected::poison);
    }
    Ok(read?)
}

async fn read(answer: http::Response<Incoming>, limit: usize) -> Result<Response, HttpError> {
    let (head, incoming) = answer.into_parts();
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || lengths == 1 && head.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(HttpError::Malformed("the answer says twice how long it is".to_owned()));
    }
    let body = body::read(&head.headers, incoming, limit).await?;
    Ok(Response { status: head.status, headers: head.headers, body: body.into() })
}

/// hyper skips interim answers for as long as they come.
fn count_interim_answers(message: &mut http::Request<Full<Bytes>>) -> Arc<Notify> {
    let (enough, seen) = (Arc::new(Notify::new()), AtomicUsize::new(0));
    let reached = enough.clone();
    on_informational(message, move |_| {
        if seen.fetch_add(1, Relaxed) >= MAX_INTERIM_ANSWERS {
            reached.notify_one();
        }
    });
    enough
}

fn failure(error: &legacy::Error, was_used: bool) -> Failed {
    if let Some(dial) = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
        return dial.clone().into();
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) => {
            let is_stale = was_used && (error.is_incomplete_message() || error.is_closed() || error.is_canceled());
            Failed { error: body::failure(error), is_stale }
        }
        None => HttpError::Unreachable(crate::error::words(error)).into(),
    }
}

fn uri(url: &Url) -> Result<Uri, HttpError> {
    url.as_str().parse().map_err(|_| HttpError::Malformed("the address cannot be asked".to_owned()))
}

fn hyper(dial: Dial) -> Hyper {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(MAX_IDLE)
        .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http1_max_headers(MAX_HEADER_LINES)
        .build(dial)
}

/// A digest of all that connections depend on.
fn key(origin: &Url, read: &Read) -> String {
    let mut parts = Parts::default();
    parts.feed(read.ca.as_deref());
    parts.feed(read.has_system_ca.then_some(&[]));
    parts.feed(read.own.as_ref().map(|(cert, _)| &cert[..]));
    parts.feed(read.own.as_ref().map(|(_, key)| key.expose()));
    parts.feed(read.proxy.as_ref().map(Uri::to_string).as_deref().map(str::as_bytes));
    parts.feed(read.proxy_authorization.as_ref().map(http::HeaderValue::as_bytes));
    let elsewhere = read.connect_to.as_ref().map(|to| format!("{} {to}", origin.origin().ascii_serialization()));
    parts.feed(elsewhere.as_deref().map(str::as_bytes));
    parts.digest()
}

/// A digest of that, and of the headers that go to the origin.
fn digest(origin: &Url, read: &Read) -> String {
    let mut parts = Parts::default();
    parts.feed(Some(key(origin, read).as_bytes()));
    if !read.headers.is_empty() {
        parts.feed(Some(origin.origin().ascii_serialization().as_bytes()));
    }
    for (name, value) in &read.headers {
        parts.feed(Some(name.as_str().as_bytes()));
        parts.feed(Some(value.as_bytes()));
    }
    parts.digest()
}

/// Each part is fed with its length in front, so that no two lists of parts feed the same bytes.
#[derive(Default)]
struct Parts(Sha256);

impl Parts {
    fn feed(&mut self, part: Option<&[u8]>) {
        self.0.update([u8::from(part.is_some())]);
        let part = part.unwrap_or_default();
        self.0.update(part.len().to_le_bytes());
        self.0.update(part);
    }

    fn digest(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
