//! `key-auth`: a key in the request proves which consumer calls.
//!
//! ```toml
//! [policies.partner-keys]
//! use = "key-auth"
//! header = "x-api-key"
//!
//! [[consumers.acme.credentials]]
//! use = "key-auth"
//! id = "acme-2026-q4"
//! sha256 = "<printed by: portcullis key new --consumer acme>"
//! ```
//!
//! The configuration holds hashes and never keys, and a request's key is hashed before anything is compared: what a
//! comparison tells by its time is about a digest, which leads nobody to a key. Plain SHA-256 is enough because keys
//! are random and there is no dictionary to try. Passwords that people think up do not belong here.
//!
//! A key names a client, not a user. After the key was granted, the engine checks whether the credential may be used
//! now, from here and on this route.

#![forbid(unsafe_code)]

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::Arc,
};

use portcullis_plugin::{
    Answer, Attempt, Authenticate, Authentication, BuildCx, BuildError, Challenge, Credential, Denial, Found,
    HeaderNames, Hooks, Identity, OpenStream, Place, PlaceFields, Places, Plugin, PluginError, Reason, RequestCx, Span,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};

/// The plugin `key-auth`.
pub struct KeyAuth;

impl Plugin for KeyAuth {
    const NAME: &'static str = "key-auth";
    type Config = Config;
    type Credential = KeyHash;

    fn build(config: Config, cx: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let mut problems = config.problems();
        let places = config.places(&mut problems);
        let keys = identities(&config, cx);
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Hooks::new().authenticate(Keys {
            keys,
            max_age: config.max_age,
            challenges: Challenges::new(&places),
            hidden: if config.keep_credential { Places::default() } else { places.clone() },
            prefixes: config.prefixes.unwrap_or_default(),
            places,
        }))
    }
}

/// Proves a client by a key that it sends: the policy says where, the consumers' credentials have the hashes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header, or the headers, that carry the key; `x-api-key` unless said.
    pub header: Option<HeaderNames>,
    /// With `header`: the authentication scheme before the key, such as `Bearer`.
    pub scheme: Option<String>,
    /// All places of the key, in the place of `header` and `scheme`.
    pub from: Option<Places>,
    /// Leaves the key in the request that is forwarded.
    #[serde(default)]
    pub keep_credential: bool,
    /// The prefixes that a key may start with; any other key is refused before it is looked up.
    pub prefixes: Option<Vec<String>>,
    /// Every credential needs an end: `expires` of its own, or this policy's `max_age`.
    #[serde(default)]
    pub require_expiry: bool,
    /// A key ends this long after its `created`, and earlier where its `expires` says so.
    pub max_age: Option<Span>,
}

impl Config {
    /// Returns the problems of the settings, except for those of the places.
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.prefixes.as_ref().is_some_and(Vec::is_empty) {
            problems.push(("prefixes".to_owned(), "is empty: leave it out to take keys with any prefix".to_owned()));
        }
        for (index, prefix) in self.prefixes.iter().flatten().enumerate() {
            if !is_well_formed(prefix.as_bytes()) {
                problems.push((format!("prefixes[{index}]"), "no key starts like this: visible ASCII only".to_owned()));
            }
        }
        if self.max_age.is_some_and(|span| span.0.as_secs() == 0) {
            problems.push(("max_age".to_owned(), "is shorter than a second: every key would have ended".to_owned()));
        }
        problems
    }

    /// Returns the places to look for the key.
    fn places(&self, problems: &mut Vec<(String, String)>) -> Places {
        let fields =
            PlaceFields { header: self.header.as_ref(), scheme: self.scheme.as_deref(), from: self.from.as_ref() };
        fields.places("x-api-key", None, problems)
    }
}

/// A consumer's credential: the SHA-256 of the key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyHash {
    /// As `portcullis key new` and `portcullis key hash` print it.
    pub sha256: KeyDigest,
    /// Known only so that it can be refused in words of its own.
    #[serde(rename = "key")]
    #[schemars(skip)]
    _key: Option<PlainKey>,
}

/// A key in the file, of which there is none.
enum PlainKey {}

impl<'de> Deserialize<'de> for PlainKey {
    /// Refuses without looking at the value, which therefore cannot show up in the message.
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("keys are not kept in the file: `portcullis key hash` makes the line to paste"))
    }
}

/// The SHA-256 of a key. It is written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Hashes a key.
    pub fn of(key: &[u8]) -> Self {
        // Measured with a key of 50 bytes on an EPYC with SHA instructions: sha2 0.10 takes 50 ns, and
        // `openssl::sha::sha256` on OpenSSL 3.0 takes 500 ns.
        Self(Sha256::digest(key).into())
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for KeyDigest {
    /// No error shows the value: it may be a key that was pasted into the wrong field.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Other(de::IgnoredAny),
        }
        let wrong = || de::Error::custom("is not 64 hexadecimal digits, as `portcullis key hash` prints them");
        let Written::Text(text) = Written::deserialize(deserializer)? else { return Err(wrong()) };
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| wrong())?;
        Ok(Self(digest))
    }
}

impl JsonSchema for KeyDigest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyDigest".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$", "description": "the SHA-256 of a key" })
    }
    fn inline_schema() -> bool {
        true
    }
}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[..8]);
    }
}

/// Takes the first eight bytes of a digest for its hash: they are as good as random already.
///
/// A hash without a seed is safe here. The map is filled from the configuration alone, so that nobody outside can make
/// its buckets uneven; and whoever picks keys by their digests to hit one bucket meets the few entries that chance put
/// there.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Filled once from the configuration, and then only read.
type Identities = HashMap<KeyDigest, Arc<Identity>, BuildHasherDefault<FirstBytes>>;

/// One ready-made identity for each credential, by the digest of its key.
fn identities(config: &Config, cx: &mut BuildCx<'_>) -> Identities {
    let credentials = cx.credentials::<KeyHash>();
    let mut keys = Identities::with_capacity_and_hasher(credentials.len(), BuildHasherDefault::default());
    for (index, credential, own) in credentials {
        check_dates(config, cx, index, &credential);
        let credential = config.max_age.map_or_else(|| credential.clone(), |span| Arc::new(credential.aged(span.0)));
        match keys.entry(own.sha256) {
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(Identity::of_client(&credential)));
            }
            Entry::Occupied(entry) => {
                let other = &entry.get().credentials[0].id;
                cx.credential_problem(index, "sha256", format!("the credential `{other}` has the same key"));
            }
        }
    }
    keys
}

/// Reports a credential without the dates that the policy asks for.
fn check_dates(config: &Config, cx: &mut BuildCx<'_>, index: usize, credential: &Credential) {
    let policy = cx.policy().to_owned();
    if config.max_age.is_some() && credential.limits.created.is_none() {
        let why = format!("is missing: the `max_age` of the policy `{policy}` counts from it");
        cx.credential_problem(index, "created", why);
    }
    if config.require_expiry && config.max_age.is_none() && credential.limits.expires.is_none() {
        let why = format!("is missing: the policy `{policy}` takes no key without an end (`require_expiry`)");
        cx.credential_problem(index, "expires", why);
    }
}

/// The longest key that is looked at, in bytes.
pub const KEY_MAX_BYTES: usize = 512;

/// Returns `true` if this can be a key at all: not empty, at most [`KEY_MAX_BYTES`], visible ASCII.
pub fn is_well_formed(key: &[u8]) -> bool {
    (1..=KEY_MAX_BYTES).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic)
}

/// One policy, ready to judge requests.
struct Keys {
    places: Places,
    hidden: Places,
    prefixes: Vec<String>,
    keys: Identities,
    max_age: Option<Span>,
    challenges: Challenges,
}

impl Keys {
    fn judge(&self, cx: &RequestCx<'_>) -> Result<Authentication, Reason> {
        let key = match self.places.find(cx.head()) {
            Found::Absent => return Ok(Authentication::Absent),
            Found::Conflict => return Err(Reason::KeyConflict),
            Found::One(key) => key,
        };
        if !is_well_formed(&key) {
            return Err(Reason::KeyMalformed);
        }
        if !self.has_prefix(&key) {
            return Err(Reason::KeyUnknown);
        }
        let identity = self.keys.get(&KeyDigest::of(&key)).ok_or(Reason::KeyUnknown)?;
        Ok(Authentication::Granted(identity.clone()))
    }

    /// Prefixes are no secret: every key of a kind starts with the same one.
    fn has_prefix(&self, key: &[u8]) -> bool {
        self.prefixes.is_empty() || self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()))
    }
}

impl Authenticate for Keys {
    fn authenticate<'a>(&'a self, cx: &'a mut RequestCx<'_>) -> Answer<'a, Result<Authentication, PluginError>> {
        let denied = |reason| Authentication::Denied(Denial::unauthorized(reason));
        Answer::Now(Ok(self.judge(cx).unwrap_or_else(denied)))
    }

    /// With the same settings the key would be found again: its credential is still there.
    fn recheck<'a>(&'a self, stream: &'a OpenStream<'a>) -> Answer<'a, Result<Authentication, PluginError>> {
        let client = stream.client().filter(|_| stream.has_same_settings).map(|client| match self.max_age {
            None => client,
            Some(span) => Identity::of_client(&Arc::new(client.credentials[0].aged(span.0))),
        });
        Answer::Now(Ok(OpenStream::granted(client)))
    }

    fn challenges(&self, _: &RequestCx<'_>, attempt: Attempt) -> Vec<Challenge> {
        vec![match attempt {
            Attempt::Absent => self.challenges.absent.clone(),
            Attempt::Denied(_) => self.challenges.denied.clone(),
        }]
    }

    fn hidden(&self) -> Places {
        self.hidden.clone()
    }

    fn places(&self) -> Places {
        self.places.clone()
    }
}

/// The challenges for clients without a good key.
struct Challenges {
    absent: Challenge,
    denied: Challenge,
}

impl Challenges {
    /// Names one place: the first header, or the first place where there is no header.
    fn new(places: &Places) -> Self {
        let is_header = |place: &&Place| matches!(place, Place::Header { .. });
        let place = places.0.iter().find(is_header).or(places.0.first()).expect("a policy without places is not built");
        let absent = match place {
            Place::Header { scheme: Some(scheme), .. } => Challenge::new(scheme.clone()),
            Place::Header { name, .. } => api_key().parameter("header", name.as_str()),
            Place::Query(name) => api_key().parameter("in", "query").parameter("name", name),
            Place::Cookie(name) => api_key().parameter("in", "cookie").parameter("name", name),
        };
        let mut denied = absent.clone();
        if denied.is_scheme("Bearer") {
            // An error code where a token was sent, none where there was none (RFC 6750 section 3.1).
            denied.parameters.push(("error", "invalid_token".to_owned()));
        }
        Self { absent, denied }
    }
}

fn api_key() -> Challenge {
    Challenge::new("ApiKey")
}

#[cfg(test)]
mod tests;
