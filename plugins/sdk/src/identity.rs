use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::{Denial, Proof, Reason, UnixTime};

/// Someone the gateway knows by name. Any number of credentials of any kind belong to a consumer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The name in the file: `[consumers.NAME]`.
    pub name: String,
    /// Groups it belongs to.
    pub groups: Vec<String>,
    /// Roles it has wherever it calls from.
    pub roles: Vec<String>,
    /// Free labels, for restrictions.
    pub labels: BTreeMap<String, String>,
    /// The tenant it belongs to.
    pub tenant: Option<String>,
    /// The name of the client software (OAuth 2.0, RFC 6749 section 2.2); the consumer's name where absent.
    pub client_id: Option<String>,
}

/// What holds for a credential of any kind. The engine checks all of it after a plugin has granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CredentialLimits {
    /// Switched off without being removed.
    pub disabled: bool,
    /// Not usable before.
    pub not_before: Option<UnixTime>,
    /// Not usable from this moment on.
    pub expires: Option<UnixTime>,
    /// When it was made; a policy's `max_age` counts from here.
    pub created: Option<UnixTime>,
    /// The names of the routes it opens; absent: all.
    pub routes: Option<Vec<String>>,
    /// The networks it may be used from; absent: all.
    pub addresses: Option<Vec<IpNet>>,
}

/// A thing that proves who is calling, without what is secret about it.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The plugin it belongs to, such as `key-auth`.
    pub kind: &'static str,
    /// Its name: unique among all credentials of its kind, and safe to log.
    pub id: Arc<str>,
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// Scopes that go with it (RFC 6749 section 3.3).
    pub scopes: Vec<String>,
    /// Who answers for it; for people.
    pub owner: Option<String>,
    /// A class of service; for limits.
    pub tier: Option<String>,
    /// When and from where it can be used.
    pub limits: CredentialLimits,
    /// How it has been used. It outlives reloads.
    pub usage: Arc<Usage>,
}

impl Credential {
    /// Why this credential cannot be used here and now, if it cannot. A known credential outside its routes or
    /// addresses is 403; everything that makes it no credential at all is 401.
    pub fn objection(&self, now: UnixTime, route: &str, address: IpAddr) -> Option<Denial> {
        let limits = &self.limits;
        if limits.disabled || self.usage.is_revoked() {
            return Some(Denial::unauthorized(Reason::CredentialDisabled));
        }
        if limits.not_before.is_some_and(|from| now < from) {
            return Some(Denial::unauthorized(Reason::CredentialNotYetValid));
        }
        if limits.expires.is_some_and(|until| now >= until) {
            return Some(Denial::unauthorized(Reason::KeyExpired));
        }
        if limits.routes.as_ref().is_some_and(|routes| !routes.iter().any(|name| name == route)) {
            return Some(Denial::forbidden(Reason::RouteNotAllowed));
        }
        let address = address.to_canonical();
        if limits.addresses.as_ref().is_some_and(|networks| !networks.iter().any(|network| network.contains(&address)))
        {
            return Some(Denial::forbidden(Reason::AddressNotAllowed));
        }
        None
    }

    /// Whether both say the same of whose they are and what they are good for, whenever and wherever they can be used.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.id == other.id
            && self.consumer == other.consumer
            && self.scopes == other.scopes
            && self.owner == other.owner
            && self.tier == other.tier
    }

    /// The same credential, usable no longer than `max_age` after it was made.
    pub fn aged(&self, max_age: Duration) -> Self {
        let mut aged = self.clone();
        if let Some(created) = self.limits.created {
            let end = created.after(max_age);
            aged.limits.expires = Some(self.limits.expires.map_or(end, |expires| expires.min(end)));
        }
        aged
    }
}

/// How often a credential was used, when last and from where. Shared by all snapshots that know the credential.
#[derive(Debug, Default)]
pub struct Usage {
    count: AtomicU64,
    last: AtomicI64,
    address: [AtomicU64; 2],
    revoked: AtomicBool,
}

impl Usage {
    /// Counts one use. Values that do not change are not written, so that a busy key's cache line is mostly read.
    pub fn record(&self, now: UnixTime, address: IpAddr) {
        self.count.fetch_add(1, Relaxed);
        if self.last.load(Relaxed) != now.0 {
            self.last.store(now.0, Relaxed);
        }
        let bits = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        for (half, value) in self.address.iter().zip([(bits >> 64) as u64, bits as u64]) {
            if half.load(Relaxed) != value {
                half.store(value, Relaxed);
            }
        }
    }

    /// How often it was used.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// When it was last used, and from which address. The two are read one after the other: under load the address may
    /// be of a use just after.
    pub fn last(&self) -> Option<(UnixTime, IpAddr)> {
        let last = self.last.load(Relaxed);
        let [high, low] = [&self.address[0], &self.address[1]].map(|half| u128::from(half.load(Relaxed)));
        (last != 0).then(|| (UnixTime(last), IpAddr::V6(Ipv6Addr::from_bits(high << 64 | low)).to_canonical()))
    }

    /// Marks the credential as gone or back.
    pub fn set_revoked(&self, revoked: bool) {
        self.revoked.store(revoked, Relaxed);
    }

    /// Whether the credential was taken out of the configuration since.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Relaxed)
    }
}

/// The claims of a token (RFC 7519 section 4).
pub type Claims = serde_json::Map<String, serde_json::Value>;

/// What a certificate that proved a client says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// The subject (RFC 4514).
    pub subject: String,
    /// The subject's common name, if it has one.
    pub cn: Option<String>,
    /// Who made it (RFC 4514).
    pub issuer: String,
    /// The serial number, in upper-case hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of the certificate, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// Alternative names: host names.
    pub dns: Vec<String>,
    /// Alternative names: URIs.
    pub uris: Vec<String>,
    /// Alternative names: e-mail addresses.
    pub emails: Vec<String>,
}

/// What authentication found out about one request.
///
/// A plugin makes one where it can when it is built (one for each credential), and granting is a reference count.
#[derive(Debug, Default)]
pub struct Identity {
    /// How it was proven: the names of the plugins, such as `key-auth` or `mtls+jwt`.
    pub method: String,
    /// The consumer, where one is known.
    pub consumer: Option<Arc<Consumer>>,
    /// The user or service a token speaks of (RFC 7519 section 4.1.2). A key names a client and leaves this empty.
    pub subject: Option<String>,
    /// The client software that calls (RFC 6749 section 2.2).
    pub client: Option<String>,
    /// The tenant, agreed on by everything that was proven.
    pub tenant: Option<String>,
    /// The subject's e-mail address.
    pub email: Option<String>,
    /// Who vouches for the subject (RFC 7519 section 4.1.1).
    pub issuer: Option<String>,
    /// Roles of the subject and of the consumer; of several methods that were asked for together, of the one that speaks.
    pub roles: Vec<String>,
    /// Scopes of the credential that speaks for the request; never a union over several.
    pub scopes: Vec<String>,
    /// Every credential that took part.
    pub credentials: Vec<Arc<Credential>>,
    /// What a token says, whole: for restrictions that ask for one claim or another.
    pub claims: Option<Arc<Claims>>,
    /// What the client's certificate says: for restrictions, and apart from what a token says.
    pub certificate: Option<Arc<CertificateNames>>,
    /// Headers beside those that every identity has. Their names are those that [`Authenticate::headers`] told.
    ///
    /// [`Authenticate::headers`]: crate::Authenticate::headers
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// When the proof ends, if before its credentials do.
    pub expires: Option<UnixTime>,
    /// What the authenticator keeps of how it was proven: see [`Authenticate::recheck`].
    ///
    /// [`Authenticate::recheck`]: crate::Authenticate::recheck
    pub proof: Proof,
    /// Where all of several methods were asked for: what each of them found.
    pub parts: Vec<Arc<Identity>>,
    /// Its values as headers carry them, made when first needed.
    pub rendered: Rendered,
}

/// What one identity header is filled from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityField {
    /// The subject: `X-User-ID`.
    User,
    /// The consumer's name: `X-Consumer`.
    Consumer,
    /// The consumer's groups: `X-Consumer-Groups`.
    Groups,
    /// The ids of the credentials: `X-Credential-ID`.
    Credential,
    /// The client: `X-Client-ID`.
    Client,
    /// The tenant: `X-Tenant-ID`.
    Tenant,
    /// The subject's e-mail address: `X-User-Email`.
    Email,
    /// The roles: `X-User-Roles`.
    Roles,
    /// The scopes, separated by spaces as in RFC 6749 section 3.3: `X-Scopes`.
    Scopes,
    /// How the identity was proven: `X-Auth-Method`.
    Method,
}

/// See [`Identity::values`].
#[derive(Debug, Default)]
pub struct Rendered(OnceLock<Vec<(IdentityField, HeaderValue)>>);

impl Identity {
    /// The identity that a credential which names a client (a key, a signature) stands for.
    pub fn of_client(credential: &Arc<Credential>) -> Self {
        let consumer = &credential.consumer;
        Self {
            method: credential.kind.to_owned(),
            client: Some(consumer.client_id.clone().unwrap_or_else(|| consumer.name.clone())),
            tenant: consumer.tenant.clone(),
            roles: consumer.roles.clone(),
            scopes: credential.scopes.clone(),
            consumer: Some(consumer.clone()),
            credentials: vec![credential.clone()],
            ..Self::default()
        }
    }

    /// The identity of a request that brought no credential, on a route that names an `anonymous` consumer.
    pub fn anonymous(consumer: &Arc<Consumer>) -> Self {
        Self {
            method: "anonymous".to_owned(),
            tenant: consumer.tenant.clone(),
            roles: consumer.roles.clone(),
            consumer: Some(consumer.clone()),
            ..Self::default()
        }
    }

    /// Whether a restriction would find the same in both.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.method == other.method
            && self.consumer == other.consumer
            && (&self.subject, &self.client, &self.tenant) == (&other.subject, &other.client, &other.tenant)
            && (&self.email, &self.issuer) == (&other.email, &other.issuer)
            && (&self.roles, &self.scopes) == (&other.roles, &other.scopes)
            && self.credentials.len() == other.credentials.len()
            && self.credentials.iter().zip(&other.credentials).all(|(a, b)| a.says_the_same(b))
            && self.claims == other.claims
            && self.certificate == other.certificate
            && self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(a, b)| a.says_the_same(b))
    }

    /// The identities this one was put together from, or itself: for what binds every one of them, such as a rule about
    /// claims. Roles and scopes that let somebody in are this identity's own.
    pub fn each(&self) -> impl Iterator<Item = &Identity> {
        let whole = self.parts.is_empty().then_some(self);
        whole.into_iter().chain(self.parts.iter().map(Arc::as_ref))
    }

    /// The identity as header values, in a fixed order; what is empty is left out. Made once for each identity, so that
    /// a request of a known credential copies nothing.
    pub fn values(&self) -> &[(IdentityField, HeaderValue)] {
        self.rendered.0.get_or_init(|| {
            use IdentityField::{Client, Consumer, Credential, Email, Groups, Method, Roles, Scopes, Tenant, User};
            let consumer = self.consumer.as_deref();
            let one = |value: &Option<String>| value.as_deref().and_then(|value| list([value], b','));
            let ids = self.credentials.iter().map(|credential| &*credential.id);
            let values = [
                (User, one(&self.subject)),
                (Consumer, consumer.and_then(|consumer| list([consumer.name.as_str()], b','))),
                (Groups, consumer.and_then(|consumer| list(consumer.groups.iter().map(String::as_str), b','))),
                (Credential, list(ids, b',')),
                (Client, one(&self.client)),
                (Tenant, one(&self.tenant)),
                (Email, one(&self.email)),
                (Roles, list(self.roles.iter().map(String::as_str), b',')),
                (Scopes, list(self.scopes.iter().map(String::as_str), b' ')),
                (Method, list([self.method.as_str()], b',')),
            ];
            values.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
        })
    }

    /// The first moment at which nothing proves this identity any more.
    pub fn deadline(&self) -> Option<UnixTime> {
        self.credentials.iter().filter_map(|credential| credential.limits.expires).chain(self.expires).min()
    }
}

/// A list as one header value; `None` where it is empty.
fn list<'a>(items: impl IntoIterator<Item = &'a str>, separator: u8) -> Option<HeaderValue> {
    let mut bytes = Vec::new();
    for item in items.into_iter().filter(|item| !item.is_empty()) {
        if !bytes.is_empty() {
            bytes.push(separator);
        }
        encode_item(item, &mut bytes);
    }
    let value = (!bytes.is_empty()).then(|| Bytes::from(bytes))?;
    Some(HeaderValue::from_maybe_shared(value).expect("encoded items are visible ASCII"))
}

/// One value as an identity header carries it: `%`, `,`, space and everything but visible ASCII percent-encoded, so
/// that neither a list nor a line can be split by it.
pub fn encode_item(value: &str, into: &mut Vec<u8>) {
    const ENCODED: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%').add(b',').add(b' ');
    for piece in percent_encoding::utf8_percent_encode(value, ENCODED) {
        into.extend_from_slice(piece.as_bytes());
    }
}
