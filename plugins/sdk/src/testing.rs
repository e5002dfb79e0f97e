//! A plugin's tests need no socket and no engine: a request is a plain struct, and so is the engine's side of `build`.
//! The tests that every plugin should pass are there already: see [`Conformance`].
//!
//! ```
//! use portcullis_plugin::{testing, *};
//!
//! let mut request = testing::Request::get("/orders/7").header("x-api-key", "sk_1");
//! let cx = request.cx();
//! assert_eq!(cx.path(), "/orders/7");
//! ```

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request::Parts};

use crate::{
    AddressRules, Answer, Background, BodyCheck, BodyError, BoxFuture, BuildCx, BuildEnv, BuildError, ClientCert,
    Command, Consumer, Counter, Credential, CredentialEntry, CredentialLimits, Ends, Exchange, Gauge, HeaderEdit,
    HeaderEdits, Histogram, Hooks, Identity, JudgeAgain, LocalStore, ManagedHeader, Metric, OpenStream, Place, Places,
    Plugin, PolicyData, Reason, RequestCx, ResponseHead, Secret, SecretSource, StatusPart, Store, UnixTime, Usage,
};

mod conformance;
mod forwarded;
pub mod store;

pub use conformance::{Conformance, conformance};
pub use forwarded::Forwarded;

/// A request made by hand.
pub struct Request {
    /// Its head.
    pub head: Parts,
    /// Where it comes from.
    pub address: IpAddr,
    /// The name of the matched route; `"test"` unless changed.
    pub route: String,
    /// Who is calling.
    pub identity: Option<Arc<Identity>>,
    /// Its body.
    pub body: Bytes,
    /// The error of reading the body.
    pub body_error: Option<BodyError>,
    /// So many times the body is waited for in vain, before it comes or fails.
    pub body_waits: usize,
    /// A hook has called [`RequestCx::vouch`].
    pub is_vouched: bool,
    /// Held back by [`RequestCx::hold_body`]: the limit and the check.
    pub held: Option<(usize, BodyCheck)>,
    /// The target as it came, where it differs from the canonical one.
    pub received_target: Option<String>,
    /// The client spoke TLS.
    pub is_https: bool,
    /// The client's certificate, or why the one it sent does not count.
    pub certificate: Result<Option<ClientCert>, Reason>,
    /// The other end of the connection, where it is not `address`.
    pub peer: Option<SocketAddr>,
    /// The parameters of the route's path, with their values.
    pub path_parameters: Vec<(String, String)>,
    /// The time.
    pub now: UnixTime,
    /// What hooks have kept by [`RequestCx::set_data`].
    pub data: PolicyData,
}

impl Request {
    /// A request of this method for this path, with or without a query.
    pub fn new(method: &str, path: &str) -> Self {
        let request = http::Request::builder().method(method).uri(path).body(()).expect("a method and a path");
        Self {
            head: request.into_parts().0,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            route: "test".to_owned(),
            identity: None,
            body: Bytes::new(),
            body_error: None,
            body_waits: 0,
            is_vouched: false,
            held: None,
            received_target: None,
            is_https: false,
            certificate: Ok(None),
            peer: None,
            path_parameters: Vec::new(),
            now: UnixTime(1_800_000_000),
            data: PolicyData::default(),
        }
    }

    /// `GET` for this path.
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.head.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        self
    }

    /// Returns the request as a hook gets it.
    pub fn cx(&mut self) -> RequestCx<'_> {
        RequestCx::new(self)
    }
}

impl Exchange for Request {
    fn head(&self) -> &Parts {
        &self.head
    }
    fn address(&self) -> IpAddr {
        self.address
    }
    fn peer(&self) -> SocketAddr {
        self.peer.unwrap_or_else(|| SocketAddr::new(self.address, 40_000))
    }
    fn certificate(&self) -> Result<Option<&ClientCert>, Reason> {
        self.certificate.as_ref().map(Option::as_ref).map_err(|reason| *reason)
    }
    fn route(&self) -> &str {
        &self.route
    }
    fn request_id(&self) -> &'static str {
        "test-request"
    }
    fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }
    fn now(&self) -> UnixTime {
        self.now
    }
    fn received_target(&self) -> &str {
        let canonical = self.head.uri.path_and_query().map_or("/", |target| target.as_str());
        self.received_target.as_deref().unwrap_or(canonical)
    }
    fn is_https(&self) -> bool {
        self.is_https
    }
    fn path_parameter(&self, name: &str) -> Option<&str> {
        self.path_parameters.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
    fn body(&mut self, limit: usize) -> BoxFuture<'_, Result<Bytes, BodyError>> {
        let body = match self.body_error.take() {
            Some(error) => Err(error),
            None if self.body.len() > limit => Err(BodyError::TooLarge),
            None => Ok(self.body.clone()),
        };
        let mut waits = std::mem::take(&mut self.body_waits);
        Box::pin(async move {
            poll_fn(|context| {
                let Some(left) = waits.checked_sub(1) else { return Poll::Ready(()) };
                waits = left;
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            body
        })
    }
    fn vouch(&mut self) {
        self.is_vouched = true;
    }
    fn hold_body(&mut self, _: usize, limit: usize, check: BodyCheck) {
        self.held = Some((limit, check));
    }
    fn data(&self) -> &PolicyData {
        &self.data
    }
}

/// A response made by hand, for `edit_response`.
///
/// ```
/// use portcullis_plugin::{ResponseHead, http::{HeaderValue, header}, testing};
///
/// let mut response = testing::Response::new(200).header("set-cookie", "upstream=1");
/// response.append(header::SET_COOKIE, HeaderValue::from_static("ours=1")).unwrap();
/// assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
/// ```
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// It is an answer of the gateway's own.
    pub is_own: bool,
}

impl Response {
    /// A response of the upstream.
    pub fn new(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        Self { status, headers: HeaderMap::new(), is_own: false }
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
        self
    }

    /// Makes the changes that came with a verdict, as the engine does when the response is sent.
    pub fn apply(&mut self, edits: &HeaderEdits) {
        for (name, edit) in edits.iter() {
            match edit {
                HeaderEdit::Set(value) => _ = self.headers.insert(name, value.clone()),
                HeaderEdit::Append(value) => _ = self.headers.append(name, value.clone()),
                HeaderEdit::Remove => _ = self.headers.remove(name),
            }
        }
    }

    fn check(&self, name: &HeaderName) -> Result<(), ManagedHeader> {
        match ManagedHeader::is_framing(name) || self.is_own && ManagedHeader::is_of_own_answer(name) {
            true => Err(ManagedHeader(name.clone())),
            false => Ok(()),
        }
    }
}

impl ResponseHead for Response {
    fn is_own(&self) -> bool {
        self.is_own
    }
    fn status(&self) -> StatusCode {
        self.status
    }
    fn set_status(&mut self, status: StatusCode) {
        if !self.is_own {
            self.status = status;
        }
    }
    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
    fn set(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        self.check(&name)?;
        self.headers.insert(name, value);
        Ok(())
    }
    fn append(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), ManagedHeader> {
        self.check(&name)?;
        self.headers.append(name, value);
        Ok(())
    }
    fn remove(&mut self, name: &HeaderName) {
        if self.check(name).is_ok() {
            self.headers.remove(name);
        }
    }
}

/// The answer of a hook that answers at once.
///
/// # Panics
/// The hook wants to wait.
pub fn now<T>(answer: Answer<'_, T>) -> T {
    match answer {
        Answer::Now(answer) => answer,
        Answer::Later(_) => panic!("the hook did not answer at once"),
    }
}

/// A request that was let in by this identity and has not ended, with nothing changed since; a test changes what it is
/// about.
///
/// ```
/// use std::sync::Arc;
/// use portcullis_plugin::{Identity, OpenStream, testing};
///
/// let identity = Arc::new(Identity::default());
/// let stream = OpenStream { has_same_settings: false, ..testing::open_stream(&identity) };
/// assert!(!stream.is_unchanged());
/// ```
pub fn open_stream(identity: &Arc<Identity>) -> OpenStream<'_> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    OpenStream {
        identity,
        credentials: &identity.credentials,
        has_same_settings: true,
        has_same_files: true,
        route: "test",
        method: &Method::GET,
        path: "/",
        address,
        peer: SocketAddr::new(address, 40_000),
        certificate: Ok(None),
        now: UnixTime(1_800_000_000),
    }
}

/// The engine's side of `build`, made by hand.
#[derive(Default)]
pub struct Build {
    credentials: Vec<CredentialEntry>,
    /// What policies share, which a plugin that is built again finds as after a reload.
    shared: HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
    /// The reported problems of credentials: index, field, message.
    pub problems: Vec<(usize, String, String)>,
    /// The warnings: field, message.
    pub warnings: Vec<(String, String)>,
    /// The store of the plugin.
    pub store: Arc<LocalStore>,
    /// The store that it gets instead, where a test has replaced it.
    other_store: Option<Arc<dyn Store>>,
    /// Work to start after publishing.
    pub background: Vec<Background>,
    /// Work to finish before publishing.
    pub before_publish: Vec<Background>,
    /// The number of times that it had open requests judged again.
    pub judged_again: Arc<AtomicUsize>,
    /// Counters, by `name{label=value,...}`.
    pub counters: HashMap<String, Counter>,
    /// Gauges, named likewise.
    pub gauges: HashMap<String, Gauge>,
    /// Histograms, named likewise.
    pub histograms: HashMap<String, Histogram>,
    /// The things that the policy depends on and that end, with the time of their end.
    pub ends: Vec<(Ends, UnixTime)>,
    /// The commands of the control socket.
    pub commands: Vec<Command>,
    /// The parts of `/status`.
    pub status: Vec<StatusPart>,
    /// Addresses that must not be asked where a document names them.
    pub forbidden_addresses: Vec<SocketAddr>,
    /// The most of a body that there is room for; no limit unless changed.
    pub max_held_body_bytes: Option<usize>,
    /// The cookies that the policy has declared.
    pub cookies: Places,
}

impl Build {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a credential of the plugin `P` with what it has of its own, for a consumer of this name; `change` sets what
    /// is common to all kinds.
    #[must_use]
    pub fn credential<P: Plugin>(
        mut self,
        consumer: &str,
        id: &str,
        own: P::Credential,
        change: impl FnOnce(&mut Credential),
    ) -> Self {
        let mut common = Credential {
            kind: P::NAME,
            id: id.into(),
            consumer: Arc::new(Consumer { name: consumer.to_owned(), ..Consumer::default() }),
            scopes: Vec::new(),
            owner: None,
            tier: None,
            limits: CredentialLimits::default(),
            usage: Arc::new(Usage::default()),
        };
        change(&mut common);
        self.credentials.push(CredentialEntry { common: Arc::new(common), own: Arc::new(own) });
        self
    }

    /// Lends plugins another store, such as a [`DistantStore`](store::DistantStore) that fails.
    pub fn replace_store(&mut self, store: Arc<dyn Store>) {
        self.other_store = Some(store);
    }

    /// Builds the plugin from a configuration.
    ///
    /// # Errors
    /// As the plugin's own `build`.
    pub fn plugin<P: Plugin>(&mut self, config: P::Config) -> Result<Hooks, BuildError> {
        P::build(config, &mut BuildCx::new(self))
    }
}

impl BuildEnv for Build {
    fn policy(&self) -> &'static str {
        "test"
    }
    fn credentials(&self) -> &[CredentialEntry] {
        &self.credentials
    }
    fn credential_problem(&mut self, index: usize, field: &str, message: String) {
        self.problems.push((index, field.to_owned(), message));
    }
    fn warn(&mut self, field: &str, message: String) {
        self.warnings.push((field.to_owned(), message));
    }
    fn read_file(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|error| error.to_string())
    }
    fn secret(&mut self, source: &SecretSource) -> Result<Secret, String> {
        match source {
            SecretSource::Value(secret) => Ok(secret.clone()),
            _ => Err("tests have secrets by value alone".to_owned()),
        }
    }
    fn shared(
        &mut self,
        of: TypeId,
        key: &str,
        make: &mut dyn FnMut() -> Arc<dyn Any + Send + Sync>,
    ) -> Arc<dyn Any + Send + Sync> {
        self.shared.entry((of, key.to_owned())).or_insert_with(make).clone()
    }
    fn background(&mut self, work: Background) {
        self.background.push(work);
    }
    fn before_publish(&mut self, work: Background) {
        self.before_publish.push(work);
    }
    fn store(&self) -> Arc<dyn Store> {
        self.other_store.clone().unwrap_or_else(|| self.store.clone())
    }
    fn judge_again(&self) -> JudgeAgain {
        let count = self.judged_again.clone();
        JudgeAgain::new(move || _ = count.fetch_add(1, Relaxed))
    }
    fn address_rules(&self) -> AddressRules {
        let forbidden = self.forbidden_addresses.clone();
        AddressRules::new(move |address| match forbidden.contains(&address) {
            true => Err("forbidden by the test"),
            false => Ok(()),
        })
    }
    fn has_secrets(&self) -> bool {
        true
    }
    fn hook_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
    fn metric(&mut self, name: &'static str, _: &'static str, labels: &[(&'static str, &str)], new: Metric) -> Metric {
        let labels = labels.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(",");
        let name = format!("{name}{{{labels}}}");
        match new {
            Metric::Counter(new) => Metric::Counter(self.counters.entry(name).or_insert(new).clone()),
            Metric::Gauge(new) => Metric::Gauge(self.gauges.entry(name).or_insert(new).clone()),
            Metric::Histogram(new) => Metric::Histogram(self.histograms.entry(name).or_insert(new).clone()),
        }
    }
    fn ends(&mut self, what: Ends, at: UnixTime) {
        self.ends.push((what, at));
    }
    fn command(&mut self, command: Command) {
        self.commands.push(command);
    }
    fn status(&mut self, part: StatusPart) {
        self.status.push(part);
    }
    fn max_held_body_bytes(&self) -> usize {
        self.max_held_body_bytes.unwrap_or(usize::MAX)
    }
    fn cookie(&mut self, place: Place) {
        self.cookies.0.push(place);
    }
}
