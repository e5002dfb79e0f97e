//! `[routes]`, with every reference resolved.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use portcullis_plugin::Consumer;
use toml::Spanned;

use super::{
    drafts::{PolicyCommon, PolicyDraft, kind_of},
    file,
    fingerprint::Fingerprint,
    location::Location,
    node::{Name, Node},
    problem::{Problems, suggestion},
};
use crate::{
    registry::Registry,
    router::{HeaderCondition, Pattern},
};

/// An index into the configuration's policies.
pub(crate) type PolicyRef = usize;

/// `[policies]` by name. `None` if a policy exists but its plugin is not known, which has been reported.
pub(super) type Named = HashMap<String, Option<PolicyRef>>;

/// One entry of `auth`: a policy, or several that must all grant.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    /// The policies.
    pub policies: Vec<PluginUse>,
    /// The index of the policy whose identity the request gets, if the file names one.
    pub speaker: Option<usize>,
}

/// A policy where a route uses it.
#[derive(Clone, Debug)]
pub(crate) struct PluginUse {
    /// The policy.
    pub policy: PolicyRef,
    /// The location of the use: on the route, or in `[defaults]`.
    pub location: Location,
    /// Set if it comes from `[defaults] plugins`.
    pub is_default: bool,
}

/// The way that a route answers a request that it lets through.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// Forwards it to the upstream of this name.
    Forward(String),
    /// Answers with a fixed response.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body.
        body: Bytes,
        /// The body's media type.
        content_type: HeaderValue,
    },
    /// Answers with the request that would have been forwarded.
    Echo,
    /// Has a policy answer, whose own path it is. No file says so.
    Own(PolicyRef),
}

/// A route whose references are resolved.
#[derive(Debug)]
pub(crate) struct RouteDraft {
    /// Its name.
    pub name: Name,
    /// The requests that it matches.
    pub pattern: Pattern,
    /// The way that it answers.
    pub ending: Ending,
    /// The alternatives of authentication, in order. Empty: the route is public.
    pub auth: Vec<Alternative>,
    /// The consumer of a request without any credential.
    pub anonymous: Option<Name>,
    /// Its plugins, the defaults first.
    pub plugins: Vec<PluginUse>,
    /// Set if this open catch-all may stand beside protected routes.
    pub is_overlap_accepted: bool,
    /// Lets `%2F` pass as data.
    pub allows_encoded_slash: bool,
    /// The largest request body.
    pub max_body_bytes: Option<u64>,
    /// The realm of challenges.
    pub realm: String,
    /// The redirect of clients that did not come over TLS, instead of the listener's setting.
    pub https_redirect: Option<file::HttpsRedirect>,
    /// The value of `Strict-Transport-Security`, instead of the listener's setting.
    pub hsts: Option<HeaderValue>,
    /// The fingerprint of all its fields.
    pub fingerprint: Fingerprint,
    /// Its location.
    pub location: Location,
}

impl RouteDraft {
    /// Returns the policy whose own path this is, if it is no route of the file.
    pub(crate) fn policy(&self) -> Option<PolicyRef> {
        match self.ending {
            Ending::Own(policy) => Some(policy),
            Ending::Forward(_) | Ending::Respond { .. } | Ending::Echo => None,
        }
    }
}

/// The largest request body of a route that sets none.
const DEFAULT_MAX_BODY_BYTES: u64 = 100 << 20;

/// `[defaults]`: settings that every route starts with.
#[derive(Default)]
pub(super) struct Defaults<'i> {
    /// The `auth` of routes with neither `auth` nor `public`.
    pub(super) auth: Option<Node<'i>>,
    /// Named policies, before every route's own.
    pub(super) plugins: Vec<Name>,
    /// The largest request body of routes that set none.
    pub(super) max_body_bytes: Option<u64>,
}

/// The names that routes may refer to.
pub(super) struct Known<'k, 'i> {
    pub(super) registry: &'k Registry,
    pub(super) upstreams: &'k HashSet<String>,
    pub(super) consumers: &'k HashMap<String, Arc<Consumer>>,
    pub(super) named: &'k Named,
    pub(super) policies: &'k mut Vec<PolicyDraft<'i>>,
    /// Inline policies by their key.
    pub(super) inline: HashMap<String, PolicyRef>,
    pub(super) defaults: &'k Defaults<'i>,
}

impl<'i> Known<'_, 'i> {
    /// Reads one route.
    pub(super) fn route(&mut self, name: Name, mut node: Node<'i>, problems: &mut Problems) -> Option<RouteDraft> {
        let fingerprint = Fingerprint::of(&node);
        let location = Location { span: name.span.clone(), ..Location::of(&node) };
        let is_named_ill =
            name.text.is_empty() || name.text.len() > 128 || !name.text.bytes().all(|b| b.is_ascii_graphic());
        if is_named_ill {
            name.problem(
                problems,
                "a route's name is 1 to 128 visible ASCII characters: it appears in logs and metrics",
            );
        }
        let (own_auth, own_plugins) = (node.take("auth"), node.take("plugins"));
        let says_public =
            node.entry("public").is_some_and(|public| !matches!(public.decode(&mut Problems::default()), Some(false)));
        let auth_node = own_auth.or_else(|| if says_public { None } else { self.defaults.auth.clone() });
        let auth = auth_node.as_ref().map(|auth| self.auth(auth, &name.text, problems)).unwrap_or_default();
        let partly = node.knowing(&["auth", "plugins"]).decode_partly::<file::Route>(problems);
        let without = partly.as_ref().map(|partly| partly.value.without.as_slice()).unwrap_or_default();
        let plugins = self.plugins(without, own_plugins, &name, &location, problems);
        let partly = partly?;
        let file = &partly.value;

        match (auth_node.is_some(), file.public) {
            _ if partly.lacks("public") => {}
            (false, false) => {
                name.problem(problems, "`auth` is missing: add it, or set `public = true` to let everybody in");
            }
            (true, true) => name.problem(problems, "`auth` and `public = true` contradict each other"),
            _ => {}
        }
        let anonymous = file.anonymous.as_ref().map(|who| located(who, &location, "anonymous"));
        if let Some(who) = &anonymous {
            if auth_node.is_none() {
                who.problem(problems, "`anonymous` needs `auth`: without it no credential is looked for");
            }
            if !self.consumers.contains_key(&who.text) {
                who.unknown("consumer", self.consumers.keys().map(String::as_str), problems);
            }
        }
        let is_ending_wrong = partly.lacks("upstream") || partly.lacks("respond");
        let ending = if is_ending_wrong { None } else { self.ending(file, &location, problems) };
        let is_whole = partly.is_whole();
        let file = partly.value;
        let max_body_bytes = file.max_body_bytes.or(self.defaults.max_body_bytes).unwrap_or(DEFAULT_MAX_BODY_BYTES);
        if !is_whole {
            return None;
        }
        Some(RouteDraft {
            pattern: Pattern {
                hosts: file.hosts.into_iter().flat_map(|hosts| hosts.0).map(|host| host.0).collect(),
                paths: file.paths.0.into_iter().map(|path| path.0).collect(),
                methods: file.methods.map(|methods| methods.0).unwrap_or_default(),
                headers: file
                    .headers
                    .0
                    .into_iter()
                    .map(|(name, rule)| HeaderCondition { name, value: rule.0 })
                    .collect(),
            },
            ending: ending?,
            auth,
            anonymous,
            plugins,
            is_overlap_accepted: file.overlap.is_some(),
            allows_encoded_slash: file.allow_encoded_slash,
            https_redirect: file.https_redirect,
            hsts: file.hsts.as_ref().map(|hsts| hsts.0.0.clone()),
            max_body_bytes: (max_body_bytes > 0).then_some(max_body_bytes),
            realm: file.realm.map_or_else(|| name.text.clone(), |realm| realm.0.0),
            fingerprint,
            location,
            name,
        })
    }

    fn ending(&self, file: &file::Route, location: &Location, problems: &mut Problems) -> Option<Ending> {
        match (&file.upstream, &file.respond) {
            (Some(_), Some(_)) => {
                location.problem(problems, "", "`upstream` and `respond` exclude each other");
                None
            }
            (None, None) => {
                location.problem(problems, "", "a route ends in an `upstream` or in `respond`");
                None
            }
            (Some(upstream), None) => {
                let name = located(upstream, location, "upstream");
                if !self.upstreams.contains(&name.text) {
                    name.unknown("upstream", self.upstreams.iter().map(String::as_str), problems);
                }
                Some(Ending::Forward(name.text))
            }
            (None, Some(respond)) => Some(answer(respond, location, problems)),
        }
    }

    /// Reads `auth`: a list of alternatives. A string names a policy, a table is an inline policy, a list means all of
    /// its items, and so does a table with `all` and `speaker`.
    fn auth(&mut self, node: &Node<'i>, route: &str, problems: &mut Problems) -> Vec<Alternative> {
        let problems_before = problems.len();
        let items = node.clone().items(problems);
        if items.is_empty() {
            if problems.len() == problems_before {
                node.problem(problems, "an empty `auth` lets nobody in; set `public = true` to let everybody in");
            }
            return vec![Alternative { policies: Vec::new(), speaker: None }]; // wrong, but not public
        }
        let mut alternatives: Vec<Alternative> = Vec::with_capacity(items.len());
        for item in items {
            let alternative = match item.value() {
                toml::de::DeValue::Array(_) => self.all_of(&item, None, route, problems),
                _ if item.has("use") => self.single(item.clone(), route, problems),
                _ if item.has("all") || item.has("speaker") => self.spoken(item.clone(), route, problems),
                _ => self.single(item.clone(), route, problems),
            };
            let policies = &alternative.policies;
            let is_same = |other: &Alternative| {
                !policies.is_empty() && is_among(policies, &other.policies) && is_among(&other.policies, policies)
            };
            if let Some(first) = alternatives.iter().position(is_same) {
                item.problem(problems, format!("the same alternative is already at {}[{first}]", node.path));
            }
            alternatives.push(alternative);
        }
        alternatives
    }

    fn single(&mut self, item: Node<'i>, route: &str, problems: &mut Problems) -> Alternative {
        Alternative { policies: self.plugin_use(item, route, problems).into_iter().collect(), speaker: None }
    }

    /// Reads `{ all = [...], speaker = "..." }`: policies that must all grant, and the name of the one whose identity
    /// the request gets.
    fn spoken(&mut self, mut item: Node<'i>, route: &str, problems: &mut Problems) -> Alternative {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Spoken {
            speaker: Spanned<String>,
        }
        let location = Location::of(&item);
        let all = item.take("all");
        let spoken = item.knowing(&["all"]).decode::<Spoken>(problems);
        let speaker = spoken.map(|spoken| located(&spoken.speaker, &location, "speaker"));
        match all {
            Some(all) => self.all_of(&all, speaker.as_ref(), route, problems),
            None => {
                location.problem(problems, "", "`all` is missing: it lists the policies of which one speaks");
                Alternative { policies: Vec::new(), speaker: None }
            }
        }
    }

    /// Reads a list of policies that must all grant.
    fn all_of(&mut self, list: &Node<'i>, speaker: Option<&Name>, route: &str, problems: &mut Problems) -> Alternative {
        let items = list.clone().items(problems);
        if items.is_empty() && list.is_list() {
            list.problem(problems, "an empty list proves nothing");
        }
        let names: Vec<String> = items.iter().filter_map(called).collect();
        let mut alternative = Alternative { policies: Vec::with_capacity(items.len()), speaker: None };
        for item in items {
            let is_speaker = speaker.is_some_and(|speaker| called(&item).as_ref() == Some(&speaker.text));
            let before = alternative.policies.len();
            self.add_use(item, &mut alternative.policies, route, problems);
            if is_speaker && alternative.policies.len() > before {
                alternative.speaker = Some(before);
            }
        }
        if let Some(speaker) = speaker {
            match names.iter().filter(|name| **name == speaker.text).count() {
                0 if names.is_empty() => {}
                0 => {
                    let near = suggestion(&speaker.text, names.iter().map(String::as_str));
                    speaker.problem(problems, format!("no policy in `all` is called `{}`{near}", speaker.text));
                }
                1 if names.len() == 1 => speaker.problem(problems, "one policy alone speaks anyway: write its name"),
                1 => {}
                _ => speaker.problem(problems, format!("several in `all` are called `{}`", speaker.text)),
            }
        }
        alternative
    }

    fn plugins(
        &mut self,
        without: &[Spanned<String>],
        own: Option<Node<'i>>,
        name: &Name,
        location: &Location,
        problems: &mut Problems,
    ) -> Vec<PluginUse> {
        let mut uses = Vec::new();
        for left_out in without {
            let left_out = located(left_out, location, "without");
            if !self.defaults.plugins.iter().any(|default| default.text == left_out.text) {
                let known = self.defaults.plugins.iter().map(|name| name.text.as_str());
                left_out.unknown("default plugin", known, problems);
            }
        }
        for default in &self.defaults.plugins {
            let is_left_out = without.iter().any(|left_out| *left_out.get_ref() == default.text);
            if let (false, Some(Some(policy))) = (is_left_out, self.named.get(&default.text)) {
                let location = Location { file: default.file, span: default.span.clone(), path: default.path.clone() };
                uses.push(PluginUse { policy: *policy, location, is_default: true });
            }
        }
        for item in own.map(|own| own.items(problems)).unwrap_or_default() {
            self.add_use(item, &mut uses, &name.text, problems);
        }
        uses
    }

    /// Adds a policy to others, unless it is already among them.
    fn add_use(&mut self, item: Node<'i>, uses: &mut Vec<PluginUse>, route: &str, problems: &mut Problems) {
        let Some(plugin) = self.plugin_use(item, route, problems) else { return };
        match uses.iter().find(|other| other.policy == plugin.policy) {
            Some(first) => {
                let text = format!("the same policy is already at {}", first.location.path);
                plugin.location.problem(problems, "", text);
            }
            None => uses.push(plugin),
        }
    }

    /// Reads a name or a table in `auth` or `plugins`.
    fn plugin_use(&mut self, mut item: Node<'i>, route: &str, problems: &mut Problems) -> Option<PluginUse> {
        let location = Location::of(&item);
        if let Some(name) = item.name() {
            let found = self.named.get(&name.text).copied();
            if found.is_none() {
                let is_plugin = self.registry.kind(&name.text).is_some();
                if is_plugin {
                    name.problem(
                        problems,
                        format!("a string names a policy; write {{ use = \"{}\" }} for the plugin", name.text),
                    );
                } else {
                    name.unknown("policy", self.named.keys().map(String::as_str), problems);
                }
            }
            return found.flatten().map(|policy| PluginUse { policy, location, is_default: false });
        }
        if !item.is_table() {
            item.problem(problems, "write the name of a policy, or a table with `use`");
            return None;
        }
        let common = PolicyCommon::take(&mut item, problems);
        let fingerprint = Fingerprint::of(&item);
        let kind = *kind_of(self.registry, &mut item, problems)?;
        let id = match item.take("id") {
            None => kind.name.to_owned(),
            Some(id) => id.as_str().map(str::to_owned).or_else(|| {
                id.problem(problems, "an id is a string");
                None
            })?,
        };
        // The key of an inline policy is made of its route and its id, never of its position: it keeps its state when
        // others move.
        let key = format!("{route}/{id}");
        if let Some(twin) = self.inline.get(&key).copied() {
            if self.policies[twin].fingerprint == fingerprint && self.policies[twin].is_default_of(&location) {
                return Some(PluginUse { policy: twin, location, is_default: false });
            }
            let first = &self.policies[twin].location.path;
            location.problem(
                problems,
                "",
                format!("`{id}` is already used at {first}; give one of them an `id` of its own"),
            );
            return None;
        }
        let policy = self.policies.len();
        self.inline.insert(key.clone(), policy);
        self.policies.push(PolicyDraft::read(key, Some(route.to_owned()), kind, (common, fingerprint), item, problems));
        Some(PluginUse { policy, location, is_default: false })
    }
}

/// Returns the name of a policy where it is used; of an inline one its `id`, or else its plugin.
fn called(item: &Node<'_>) -> Option<String> {
    let inline = || item.entry("id").or_else(|| item.entry("use"));
    item.as_str().map(str::to_owned).or_else(|| inline()?.as_str().map(str::to_owned))
}

/// Returns whether every policy of the one is among those of the other.
fn is_among(one: &[PluginUse], other: &[PluginUse]) -> bool {
    one.iter().all(|plugin| other.iter().any(|other| other.policy == plugin.policy))
}

fn located(name: &Spanned<String>, location: &Location, field: &str) -> Name {
    Name {
        text: name.get_ref().clone(),
        file: location.file,
        span: name.span(),
        path: format!("{}.{field}", location.path),
    }
}

fn answer(respond: &file::Respond, location: &Location, problems: &mut Problems) -> Ending {
    if respond.echo {
        if respond.status.is_some() || respond.body.is_some() || respond.content_type.is_some() {
            location.problem(problems, "respond", "`echo` makes the whole answer: it goes with no other field");
        }
        return Ending::Echo;
    }
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ending::Respond {
        status: respond.status.map_or(StatusCode::OK, |status| status.0),
        body: Bytes::from(respond.body.clone().unwrap_or_default()),
        content_type: respond.content_type.clone().map_or(text, |media_type| media_type.0),
    }
}
