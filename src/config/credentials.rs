//! The credentials of consumers, with every reference resolved.

use std::{
    any::Any,
    collections::{HashMap, HashSet, hash_map::Entry},
    fmt,
    sync::Arc,
};

use portcullis_plugin::{Consumer, CredentialLimits, UnixTime};
use toml::de::DeValue;

use super::{
    drafts::kind_of,
    file,
    fingerprint::Fingerprint,
    location::Location,
    node::{Name, Node},
    problem::Problems,
    references::References,
    value_lints::{self, Unintroduced},
};
use crate::registry::Registry;

/// The SHA-256 of the key that samples show. The loader refuses it wherever a listener is not loopback: no sample
/// credential opens anything.
pub(super) const SAMPLE_KEY_SHA256: &str = "78b40ee681873584e97aba6a4d322d16397d8022036c07feb4d3909798013902";

/// The hash of the password that samples show, in `conf/examples/basic-auth.toml`. It is refused in the same way.
pub(crate) const SAMPLE_PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$jfQMEqkXnmXDrKgCvqBCOg$XoaBhzygRD9fz/ADhc8t0R1MLFH8AeXXgLHEDxdupk0";

/// The secrets that samples show, in `conf/examples/hmac.toml`. They are refused in the same way.
pub(crate) const SAMPLE_SECRETS: [&str; 2] =
    ["sample-signing-secret-that-everybody-knows-0001", "whsec_sample_secret_that_everybody_knows_02"];

/// The placeholder that `portcullis key new` prints where no consumer was given.
pub(crate) const CONSUMER_TO_NAME: &str = "NAME";

/// A consumer's credential entry, before the policies that it opens are resolved.
pub(crate) struct CredentialDraft {
    /// The plugin it belongs to.
    pub kind: &'static str,
    /// Its name.
    pub id: String,
    /// The consumer that it belongs to.
    pub consumer: Arc<Consumer>,
    /// Scopes that go with it.
    pub scopes: Vec<String>,
    /// The contact who is responsible for it.
    pub owner: Option<String>,
    /// A class of service.
    pub tier: Option<String>,
    /// The times and addresses it can be used at.
    pub limits: CredentialLimits,
    /// The plugin's own fields, decoded.
    pub own: Arc<dyn Any + Send + Sync>,
    /// The policies it opens.
    pub opens: Opens,
    /// Set if another credential has the same secret. That error has been reported already, and plugins need not repeat
    /// it.
    pub is_twin: bool,
    /// The fingerprint of all its fields, and of its consumer's name.
    pub said: Fingerprint,
    /// The fingerprint of all its fields and of its whole consumer.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the plugin's own fields alone: of its secret.
    pub own_fingerprint: Fingerprint,
    /// The location of the whole entry.
    pub location: Location,
}

/// The policies that a credential opens.
#[derive(Clone, Debug)]
pub(crate) enum Opens {
    /// The only policy of its kind.
    Only,
    /// All policies of its kind.
    Any,
    /// The policies of these names.
    Named(Vec<String>),
}

/// The consumers of a configuration and their credentials.
pub(super) struct Known {
    pub consumers: HashMap<String, Arc<Consumer>>,
    /// The fingerprint of each consumer, without its credentials.
    pub said: HashMap<String, Fingerprint>,
    pub credentials: Vec<CredentialDraft>,
    /// The ids of all credentials, including invalid ones.
    pub ids: HashSet<String>,
}

/// Reads `[consumers]` one by one, so that a large file never has all of their tables in memory at once.
pub(super) struct Reader<'r> {
    registry: &'r Registry,
    references: &'r References<'r>,
    has_public_listener: bool,
    consumers: HashMap<String, Arc<Consumer>>,
    said: HashMap<String, Fingerprint>,
    credentials: Vec<CredentialDraft>,
    seen: Seen,
    unintroduced: Unintroduced,
}

impl<'r> Reader<'r> {
    /// Returns a reader that has read no consumer yet.
    pub(super) fn new(registry: &'r Registry, references: &'r References<'r>, has_public_listener: bool) -> Self {
        Self {
            registry,
            references,
            has_public_listener,
            consumers: HashMap::new(),
            said: HashMap::new(),
            credentials: Vec::new(),
            seen: Seen::default(),
            unintroduced: Unintroduced::default(),
        }
    }

    /// Reads one consumer, with its credentials.
    pub(super) fn consumer(&mut self, name: Name, mut node: Node<'_>, problems: &mut Problems) {
        let entries = node.take("credentials");
        self.unintroduced.note(&name, &node);
        value_lints::names_of(&node, problems);
        if name.text == CONSUMER_TO_NAME && entries.is_some() {
            let text =
                format!("`{CONSUMER_TO_NAME}` stands for the name of a consumer: write whose credentials these are");
            name.problem(problems, text);
        }
        let about = Fingerprint::of(&node);
        // If the consumer is wrong, which has been reported, its credentials are still read.
        let consumer = node.knowing(&["credentials"]).decode::<file::Consumer>(problems).unwrap_or_default();
        let consumer = Arc::new(Consumer {
            name: name.text.clone(),
            groups: consumer.groups,
            roles: consumer.roles,
            labels: consumer.labels,
            tenant: consumer.tenant,
            client_id: consumer.client_id,
        });
        self.consumers.insert(name.text.clone(), consumer.clone());
        let whole = Fingerprint::all([about, Fingerprint::of_bytes(name.text.as_bytes())]);
        self.said.insert(name.text, about);
        let entries = entries.map(|entries| entries.items(problems)).unwrap_or_default();
        for (number, entry) in (0..).zip(entries) {
            if let Some(sample) = sample_in(entry.value()).filter(|_| self.has_public_listener) {
                let why = "which everybody knows: it works on loopback listeners alone";
                entry.problem(problems, format!("this is the sample {sample}, {why}"));
            }
            let place = Place { consumer: consumer.clone(), number };
            let draft = draft(entry, &place, whole, self.registry, self.references, &mut self.seen, problems);
            if let Some(mut draft) = draft {
                self.seen.check_secret(&mut draft, &place, self.registry, problems);
                self.credentials.push(draft);
            }
        }
    }

    /// Returns all of them, in the order that they have in files which are parsed whole.
    pub(super) fn finish(mut self, problems: &mut Problems) -> Known {
        self.unintroduced.warn(&self.consumers.keys().map(String::as_str), problems);
        let ids = self.seen.ids.into_keys().map(|(_, id)| id).collect();
        let by_place = |one: &CredentialDraft, other: &CredentialDraft| {
            (one.location.file, &one.consumer.name).cmp(&(other.location.file, &other.consumer.name))
        };
        // Sorting takes memory, and most files are in order.
        if !self.credentials.is_sorted_by(|one, other| by_place(one, other).is_le()) {
            self.credentials.sort_by(by_place);
        }
        Known { consumers: self.consumers, said: self.said, credentials: self.credentials, ids }
    }
}

fn draft(
    mut entry: Node<'_>,
    place: &Place,
    about: Fingerprint,
    registry: &Registry,
    references: &References<'_>,
    seen: &mut Seen,
    problems: &mut Problems,
) -> Option<CredentialDraft> {
    let location = Location::of(&entry);
    let entire = Fingerprint::of(&entry);
    let said = Fingerprint::all([Fingerprint::of_bytes(place.consumer.name.as_bytes()), entire]);
    let fingerprint = Fingerprint::all([about, entire]);
    let kind = kind_of(registry, &mut entry, problems);
    // The fields that every kind has are taken out and decoded by themselves; the rest is the plugin's own.
    let mut common = entry.shell();
    for field in COMMON {
        common.move_from(&mut entry, field);
    }
    let id = common.entry("id").and_then(|id| id.name());
    let own_fingerprint = Fingerprint::of_any_case(&entry);
    // Checked before the entry is decoded, so that an entry that is wrong elsewhere is checked as well.
    if let Some(kind) = kind {
        references.check(kind.name, &common, problems);
        id.iter().for_each(|id| seen.check_id(kind.name, id, place, problems));
    } else {
        // Something may refer to it by this id.
        id.iter().for_each(|id| _ = seen.ids.insert((UNKNOWN, id.text.clone()), place.clone()));
    }
    let end =
        Location { file: common.file, span: common.span_of("expires"), path: format!("{}.expires", location.path) };
    let everybody = "this limits nothing; leave `addresses` out, or name networks";
    value_lints::networks(common.entry("addresses"), everybody, problems);
    value_lints::scopes(common.entry("scopes"), problems);
    let common = common.decode::<file::CredentialCommon>(problems);
    common.iter().for_each(|common| check_end(common, &end, problems));
    let kind = kind?;
    let own = entry.knowing(&COMMON).decode_by(kind.credential, problems);
    let (common, own) = (common?, own?);
    let opens = match common.policies {
        None => Opens::Only,
        Some(file::Policies::Any) => Opens::Any,
        Some(file::Policies::Named(names)) => Opens::Named(names),
    };
    let limits = CredentialLimits {
        disabled: !common.enabled,
        not_before: common.not_before.map(|time| time.0),
        expires: common.expires.map(|time| time.0),
        created: common.created.map(|time| time.0),
        routes: common.routes.map(|routes| routes.0),
        addresses: common.addresses.map(|networks| networks.0.into_iter().map(|network| network.0.0).collect()),
    };
    Some(CredentialDraft {
        kind: kind.name,
        id: id?.text,
        consumer: place.consumer.clone(),
        scopes: common.scopes,
        owner: common.owner,
        tier: common.tier,
        limits,
        own,
        opens,
        is_twin: false,
        said,
        fingerprint,
        own_fingerprint,
        location,
    })
}

/// Reports a credential that is never valid as an error, and one that has expired as a warning.
fn check_end(common: &file::CredentialCommon, end: &Location, problems: &mut Problems) {
    let Some(file::Moment(expires)) = common.expires else { return };
    if common.not_before.is_some_and(|begin| begin.0 >= expires) {
        end.problem(problems, "", "this is not after `not_before`: the credential is never valid");
    } else if common.enabled && expires <= UnixTime::now() {
        end.warn(problems, "this is past: the credential opens nothing any more");
    }
}

static COMMON: [&str; 11] =
    ["id", "enabled", "not_before", "expires", "created", "scopes", "routes", "addresses", "policies", "owner", "tier"];

/// The kind of a credential whose plugin is not known.
const UNKNOWN: &str = "";

/// The same id twice is an error; the same secret twice too.
#[derive(Default)]
struct Seen {
    ids: HashMap<(&'static str, String), Place>,
    secrets: HashMap<(&'static str, Fingerprint), Place>,
}

/// The location of a credential, kept small because there may be very many.
#[derive(Clone)]
struct Place {
    consumer: Arc<Consumer>,
    number: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consumers.{}.credentials[{}]", self.consumer.name, self.number)
    }
}

impl Seen {
    fn check_id(&mut self, kind: &'static str, id: &Name, place: &Place, problems: &mut Problems) {
        match self.ids.entry((kind, id.text.clone())) {
            Entry::Vacant(free) => _ = free.insert(place.clone()),
            Entry::Occupied(first) => {
                id.problem(problems, format!("`{}` is the id of {} already", id.text, first.get()));
            }
        }
    }

    fn check_secret(
        &mut self,
        draft: &mut CredentialDraft,
        place: &Place,
        registry: &Registry,
        problems: &mut Problems,
    ) {
        if registry.kind(draft.kind).is_some_and(|kind| !kind.holds_secrets) {
            return;
        }
        match self.secrets.entry((draft.kind, draft.own_fingerprint)) {
            Entry::Vacant(free) => _ = free.insert(place.clone()),
            Entry::Occupied(first) => {
                draft.location.problem(problems, "", format!("this is the same secret as that of {}", first.get()));
                draft.is_twin = true;
            }
        }
    }
}

/// Returns which sample secret an entry contains, if any.
fn sample_in(value: &DeValue<'_>) -> Option<&'static str> {
    match value {
        DeValue::String(text) if text.eq_ignore_ascii_case(SAMPLE_KEY_SHA256) => Some("key"),
        DeValue::String(text) if text == SAMPLE_PASSWORD_HASH => Some("password"),
        DeValue::String(text) if SAMPLE_SECRETS.contains(&&**text) => Some("secret"),
        DeValue::Array(items) => items.iter().find_map(|item| sample_in(item.get_ref())),
        DeValue::Table(table) => table.values().find_map(|value| sample_in(value.get_ref())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::SAMPLE_KEY_SHA256;

    #[test]
    fn the_key_that_readme_shows_is_known_for_a_sample() {
        let key = include_str!("../../README.md").split("X-API-Key: ").nth(1).and_then(|rest| rest.split('\'').next());
        assert_eq!(hex::encode(Sha256::digest(key.expect("a key"))), SAMPLE_KEY_SHA256);
        assert!(include_str!("../../conf/portcullis.toml").contains(SAMPLE_KEY_SHA256));
    }
}
