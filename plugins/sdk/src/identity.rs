use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::{Consumer, Credential, Proof, UnixTime};

/// The claims of a token (RFC 7519 section 4).
pub type Claims = serde_json::Map<String, serde_json::Value>;

/// The names of the holder in a certificate that proved a client.
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

/// The result of authentication of one request.
///
/// A plugin makes one where it can when it is built (one for each credential), and granting is a reference count.
#[derive(Debug, Default)]
pub struct Identity {
    /// The method of proof: the names of the plugins, such as `key-auth` or `mtls+jwt`.
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
    /// All claims of a token: for restrictions that ask for one or another.
    pub claims: Option<Arc<Claims>>,
    /// The names in the client's certificate: for restrictions, and apart from the claims of a token.
    pub certificate: Option<Arc<CertificateNames>>,
    /// Headers beside those that every identity has. Their names are those that [`Authenticate::headers`] returns.
    ///
    /// [`Authenticate::headers`]: crate::Authenticate::headers
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// When the proof ends, if before its credentials do.
    pub expires: Option<UnixTime>,
    /// The evidence that the authenticator keeps: see [`Authenticate::recheck`].
    ///
    /// [`Authenticate::recheck`]: crate::Authenticate::recheck
    pub proof: Proof,
    /// The result of each method, where all of several were asked for.
    pub parts: Vec<Arc<Identity>>,
    /// Its values as headers carry them, made when first needed.
    pub rendered: Rendered,
}

/// A part of the identity that fills a header.
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
    /// The method of proof: `X-Auth-Method`.
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

    /// Returns `true` if a restriction would find the same in both.
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

    /// The identity as header values, in a fixed order; empty ones are left out. Made once for each identity, so that a
    /// request of a known credential copies nothing.
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
