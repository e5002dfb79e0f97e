//! `consumer-restriction`: lets callers in, or keeps them out, by their identity.
//!
//! ```toml
//! plugins = [
//!     { use = "consumer-restriction", allow = [
//!         { groups = ["partners"], methods = ["GET"] },
//!         { consumers = ["acme"], scopes = ["orders:write"] },
//!     ], deny = [{ labels = { status = "suspended" } }] },
//! ]
//! ```
//!
//! The fields of an entry hold together, the entries are alternatives, and `deny` wins. A request that `allow` does not
//! name is refused.
//!
//! Where several credentials came together, names (consumer, group, tenant, credential, label) may come from any of them.
//! Roles and scopes that let somebody in are those of the one that speaks: two tokens that each may do half of a thing
//! may not do it together. Those that keep somebody out count in any of them.

#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_plugin::{
    Admit, Answer, BuildCx, BuildError, Consumer, Hooks, Identity, Mention, Mentioned, NoCredential, OpenStream,
    Plugin, PluginError, Reason, Refusal, RequestCx, Verdict, http::Method,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The plugin `consumer-restriction`.
pub struct ConsumerRestriction;

impl Plugin for ConsumerRestriction {
    const NAME: &'static str = "consumer-restriction";
    type Config = Config;
    type Credential = NoCredential;

    fn build(config: Config, _: &mut BuildCx<'_>) -> Result<Hooks, BuildError> {
        let mut problems = Vec::new();
        if config.allow.is_none() && config.deny.is_none() {
            problems.push((String::new(), "restricts nothing: it needs `allow`, `deny` or both".to_owned()));
        }
        let mut list = |effect, field, entries| rules(effect, field, entries, &mut problems);
        let of_list = |field, entries: &Option<Vec<Entry>>| mentions(field, entries.iter().flatten());
        let mentions = [of_list("allow", &config.allow), of_list("deny", &config.deny)].concat();
        let allow = config.allow.map(|entries| list(Effect::Allow, "allow", entries));
        let deny = config.deny.map(|entries| list(Effect::Deny, "deny", entries)).unwrap_or_default();
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        Ok(Hooks::new().admit(Restriction { allow, deny, mentions, nobody: "no entry of allow".into() }))
    }
}

/// Lets callers in, or keeps them out, by who they are: at least one of `allow` and `deny`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The callers that are let in; all others are refused.
    pub allow: Option<Vec<Entry>>,
    /// The callers that are refused, even if `allow` names them.
    pub deny: Option<Vec<Entry>>,
}

/// The callers that an entry is about: all the fields that are there have to fit. In a list one fitting item is enough,
/// but for `scopes`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names of consumers, which have to be there.
    pub consumers: Option<Vec<String>>,
    /// Groups of the consumer.
    pub groups: Option<Vec<String>>,
    /// Roles of the subject or of the consumer.
    pub roles: Option<Vec<String>>,
    /// Tenants.
    pub tenants: Option<Vec<String>>,
    /// Ids of credentials, which have to be there.
    pub credentials: Option<Vec<String>>,
    /// Scopes, all of which one credential must have; in `allow` the one that speaks for the request.
    pub scopes: Option<Vec<String>>,
    /// Labels of the consumer, all of which must be equal.
    pub labels: Option<BTreeMap<String, String>>,
    /// The methods for which this entry counts; `GET` includes `HEAD`.
    pub methods: Option<Vec<String>>,
}

/// Pairs of a field and why it is wrong.
type Problems = Vec<(String, String)>;

/// Compiles a list of entries. An empty one is a mistake either way: `allow` would refuse everyone, `deny` no one.
fn rules(effect: Effect, field: &str, entries: Vec<Entry>, problems: &mut Problems) -> Vec<Rule> {
    if entries.is_empty() {
        problems.push((field.to_owned(), "is empty: name whom it is about, or leave it out".to_owned()));
    }
    let entries = entries.into_iter().enumerate();
    entries.map(|(index, entry)| Rule::new(effect, &format!("{field}[{index}]"), entry, problems)).collect()
}

/// Returns the parts of the rest of the file that the entries name.
fn mentions<'e>(field: &str, entries: impl Iterator<Item = &'e Entry>) -> Vec<Mention> {
    let mut mentions = Vec::new();
    for (index, entry) in entries.enumerate() {
        let mut add = |name: &str, list: &Option<Vec<String>>, of: fn(String) -> Mentioned| {
            let names = list.iter().flatten().enumerate();
            let field = |at| format!("{field}[{index}].{name}[{at}]");
            mentions.extend(names.map(|(at, name)| Mention { field: field(at), of: of(name.clone()) }));
        };
        add("consumers", &entry.consumers, Mentioned::Consumer);
        add("groups", &entry.groups, Mentioned::Group);
        add("roles", &entry.roles, Mentioned::Role);
        add("tenants", &entry.tenants, Mentioned::Tenant);
        add("credentials", &entry.credentials, Mentioned::Credential);
        add("scopes", &entry.scopes, Mentioned::Scope);
        add("methods", &entry.methods, Mentioned::Method);
        mentions.extend(entry.labels.iter().flatten().map(|(label, value)| Mention {
            field: format!("{field}[{index}].labels.{label}"),
            of: Mentioned::Label(label.clone(), value.clone()),
        }));
    }
    mentions
}

/// A set of names. Most lists hold a few, where comparing costs less than hashing; some hold thousands.
type Names = BTreeSet<String>;

/// A compiled entry. A field that the file leaves out always fits.
struct Rule {
    /// Its name in the log: `allow[0]`.
    path: Arc<str>,
    effect: Effect,
    consumers: Option<Names>,
    groups: Option<Names>,
    roles: Option<Names>,
    tenants: Option<Names>,
    credentials: Option<Names>,
    scopes: Option<Names>,
    labels: Option<BTreeMap<String, String>>,
    methods: Option<Vec<Method>>,
}

/// The verdict on a request that fits an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// The request may pass.
    Allow,
    /// The request is refused.
    Deny,
}

/// The result of comparing a rule with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    /// Every field fits.
    Full,
    /// Every field fits but for the scopes.
    AllButScopes,
    /// Some other field does not fit.
    No,
}

impl Rule {
    fn new(effect: Effect, path: &str, entry: Entry, problems: &mut Problems) -> Self {
        let mut names = |field: &str, list: Option<Vec<String>>| names(&format!("{path}.{field}"), list, problems);
        let rule = Self {
            path: path.into(),
            effect,
            consumers: names("consumers", entry.consumers),
            groups: names("groups", entry.groups),
            roles: names("roles", entry.roles),
            tenants: names("tenants", entry.tenants),
            credentials: names("credentials", entry.credentials),
            scopes: names("scopes", entry.scopes),
            labels: entry.labels,
            methods: methods(&format!("{path}.methods"), entry.methods, problems),
        };
        if rule.labels.as_ref().is_some_and(BTreeMap::is_empty) {
            problems.push((format!("{path}.labels"), EMPTY.to_owned()));
        }
        for scope in rule.scopes.iter().flatten().filter(|scope| scope.contains(char::is_whitespace)) {
            // RFC 6749 section 3.3: a space stands between scopes and never in one.
            let why = format!("`{}` is not one scope: write them as a list", scope.escape_debug());
            problems.push((format!("{path}.scopes"), why));
        }
        if rule.is_empty() {
            problems.push((path.to_owned(), "has no field, and would be about every request".to_owned()));
        }
        rule
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.consumers, &self.groups, &self.roles, &self.tenants, &self.credentials, &self.scopes];
        lists.iter().all(|list| list.is_none()) && self.labels.is_none() && self.methods.is_none()
    }

    fn matches(&self, method: &Method, identity: &Identity) -> Match {
        if !self.fits_method(method) || !self.fits_names(identity) {
            Match::No
        } else if self.scopes.as_ref().is_none_or(|scopes| self.speakers(identity).any(|part| has_all(part, scopes))) {
            Match::Full
        } else {
            Match::AllButScopes
        }
    }

    /// Returns the parts of the identity whose roles and scopes count: to let somebody in only those of the part that
    /// speaks, which are the identity's own.
    fn speakers<'i>(&self, identity: &'i Identity) -> impl Iterator<Item = &'i Identity> {
        let parts = if self.effect == Effect::Deny { identity.parts.as_slice() } else { &[] };
        std::iter::once(identity).chain(parts.iter().map(Arc::as_ref))
    }

    fn fits_method(&self, method: &Method) -> bool {
        let has = |method: &Method| self.methods.as_ref().is_none_or(|methods| methods.contains(method));
        has(method) || (method == Method::HEAD && has(&Method::GET))
    }

    fn fits_names(&self, identity: &Identity) -> bool {
        fits(self.consumers.as_ref(), identity, |part, names| consumer(part).is_some_and(|of| names.contains(&of.name)))
            && fits(self.groups.as_ref(), identity, |part, names| {
                consumer(part).is_some_and(|of| any(&of.groups, names))
            })
            && self.roles.as_ref().is_none_or(|names| self.speakers(identity).any(|part| any(&part.roles, names)))
            && fits(self.tenants.as_ref(), identity, |part, names| any(&part.tenant, names))
            && fits(self.credentials.as_ref(), identity, |part, names| {
                part.credentials.iter().any(|credential| names.contains(&*credential.id))
            })
            && fits(self.labels.as_ref(), identity, |part, labels| {
                consumer(part).is_some_and(|of| labels.iter().all(|(name, value)| of.labels.get(name) == Some(value)))
            })
    }
}

/// Returns `true` if a field is left out, or fits the identity or one of its parts.
fn fits<T>(field: Option<&T>, identity: &Identity, test: impl Fn(&Identity, &T) -> bool) -> bool {
    field.is_none_or(|wanted| test(identity, wanted) || identity.parts.iter().any(|part| test(part, wanted)))
}

fn consumer(part: &Identity) -> Option<&Consumer> {
    part.consumer.as_deref()
}

fn any<'n>(of: impl IntoIterator<Item = &'n String>, names: &Names) -> bool {
    of.into_iter().any(|name| names.contains(name))
}

/// Walks the wanted scopes, whose number is the operator's; a token brings as many as it likes.
fn has_all(part: &Identity, scopes: &Names) -> bool {
    scopes.iter().all(|scope| part.scopes.contains(scope))
}

const EMPTY: &str = "is empty: nothing could fit, so leave it out or fill it";

/// Compiles a list of names.
fn names(field: &str, list: Option<Vec<String>>, problems: &mut Problems) -> Option<Names> {
    let list = list?;
    if list.is_empty() {
        problems.push((field.to_owned(), EMPTY.to_owned()));
    }
    if list.iter().any(String::is_empty) {
        problems.push((field.to_owned(), "has an empty name in it".to_owned()));
    }
    Some(list.into_iter().collect())
}

/// Compiles a list of methods. They are case-sensitive (RFC 9110 section 9.1): `get` would never fit.
fn methods(field: &str, list: Option<Vec<String>>, problems: &mut Problems) -> Option<Vec<Method>> {
    let list = list?;
    if list.is_empty() {
        problems.push((field.to_owned(), EMPTY.to_owned()));
    }
    let mut methods = Vec::with_capacity(list.len());
    for name in list {
        match Method::from_bytes(name.as_bytes()) {
            Ok(method) if !name.contains(|letter: char| letter.is_ascii_lowercase()) => methods.push(method),
            Ok(method) => problems.push((field.to_owned(), format!("`{method}` has to be written in capitals"))),
            Err(_) => problems.push((field.to_owned(), format!("`{}` is not a method", name.escape_debug()))),
        }
    }
    Some(methods)
}

/// One policy, ready to judge requests.
struct Restriction {
    allow: Option<Vec<Rule>>,
    deny: Vec<Rule>,
    mentions: Vec<Mention>,
    /// The detail for the log where no entry of `allow` fits. It is made once, so that a refusal allocates nothing.
    nobody: Arc<str>,
}

impl Restriction {
    /// Returns the reason why the request may not go on, if it may not.
    fn objection(&self, method: &Method, identity: &Identity) -> Option<Refusal> {
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(method, identity) == Match::Full) {
            return Some(Refusal::forbidden(Reason::ConsumerNotAllowed).detailed(rule.path.clone()));
        }
        let mut without_scopes = None;
        for rule in self.allow.as_ref()? {
            match rule.matches(method, identity) {
                Match::Full => return None,
                Match::AllButScopes => _ = without_scopes.get_or_insert(&rule.path),
                Match::No => {}
            }
        }
        Some(match without_scopes {
            Some(path) => Refusal::forbidden(Reason::ScopeMissing).detailed(path.clone()),
            None => Refusal::forbidden(Reason::ConsumerNotAllowed).detailed(self.nobody.clone()),
        })
    }
}

impl Admit for Restriction {
    fn admit<'a>(
        &'a self,
        cx: &'a mut RequestCx<'_>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok(self.objection(cx.method(), identity).map_or(Verdict::Allow, Verdict::Refuse)))
    }

    fn recheck<'a>(
        &'a self,
        stream: &'a OpenStream<'a>,
        identity: &'a Arc<Identity>,
    ) -> Answer<'a, Result<Verdict, PluginError>> {
        Answer::Now(Ok(self.objection(stream.method, identity).map_or(Verdict::Allow, Verdict::Refuse)))
    }

    fn mentions(&self) -> Vec<Mention> {
        self.mentions.clone()
    }
}

#[cfg(test)]
mod tests;
