//! From files to a [`Configuration`]: reads every table and resolves every name, and builds nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use portcullis_plugin::{Consumer, Secret};

use super::{
    credentials::{self, CredentialDraft},
    drafts::{PolicyCommon, PolicyDraft, UpstreamDraft, kind_of},
    file,
    fingerprint::Fingerprint,
    listeners::{self, ListenerDraft, takes_a_port},
    location::Location,
    node::{Name, Node},
    pieces::{self, Piece},
    problem::{Problems, suggestion},
    references::References,
    routes::{Defaults, Known, Named, RouteDraft},
    secrets::Secrets,
    sources::Sources,
    value_lints,
};
use crate::registry::Registry;

/// A configuration whose files are read and whose names are known, before plugins are built.
pub(crate) struct Configuration<'i> {
    /// `[server]`.
    pub server: file::Server,
    /// `[admin]`: its address and token.
    pub admin: Option<(file::AdminAddress, Option<Secret>)>,
    /// `[[listeners]]`.
    pub listeners: Vec<ListenerDraft<'i>>,
    /// `[client_address]`.
    pub client_address: file::ClientAddress,
    /// `[identity]`.
    pub identity: file::Identity,
    /// The location of `[identity]`, for errors that are found later.
    pub identity_at: Option<Node<'i>>,
    /// `[log]`.
    pub log: file::Log,
    /// `[audit]`.
    pub audit: file::Audit,
    /// The fingerprint of each table that holds for every route and can change while the gateway runs.
    pub tables: HashMap<String, Fingerprint>,
    /// `[upstreams]`, with their locations.
    pub upstreams: BTreeMap<String, UpstreamDraft<'i>>,
    /// `[policies]`, and inline policies.
    pub policies: Vec<PolicyDraft<'i>>,
    /// `[routes]`.
    pub routes: Vec<RouteDraft>,
    /// `[consumers]`.
    pub consumers: HashMap<String, Arc<Consumer>>,
    /// The fingerprint of each consumer, without its credentials.
    pub said_of_consumers: HashMap<String, Fingerprint>,
    /// Their credentials.
    pub credentials: Vec<CredentialDraft>,
    /// The ids of all credentials, including invalid ones.
    pub credential_ids: HashSet<String>,
    /// The sources of secrets in this run.
    pub secrets: Secrets,
}

const TABLES: [&str; 14] = [
    "server",
    "admin",
    "listeners",
    "client_address",
    "identity",
    "log",
    "audit",
    "defaults",
    "upstreams",
    "policies",
    "routes",
    "consumers",
    "include",
    "include_empty",
];

/// Reads a configuration. Errors are added to `problems`; `None` if nothing can be returned.
pub(crate) fn load<'i>(
    sources: &'i Sources,
    registry: &Registry,
    secrets: Secrets,
    problems: &mut Problems,
) -> Option<Configuration<'i>> {
    let files = sources.0.iter().enumerate();
    let cut: Vec<_> = files.map(|(file, source)| pieces::cut(file, &source.text)).collect();
    if cut.iter().any(Option::is_some) {
        let mut of_pieces = Problems::default();
        if let Ok(configuration) = read(sources, cut, registry, secrets.clone(), &mut of_pieces) {
            problems.append(of_pieces);
            return configuration;
        }
    }
    let whole = sources.0.iter().map(|_| None).collect();
    read(sources, whole, registry, secrets, problems).unwrap_or_default()
}

/// The error of a file whose pieces may mean something else than the whole: it has to be parsed as a whole.
#[derive(Debug)]
pub(super) struct InDoubt;

/// Reads a configuration of which some files are cut into pieces.
pub(super) fn read<'i>(
    sources: &'i Sources,
    cut: Vec<Option<Vec<Piece>>>,
    registry: &Registry,
    secrets: Secrets,
    problems: &mut Problems,
) -> Result<Option<Configuration<'i>>, InDoubt> {
    let mut roots = Vec::new();
    let mut of_consumers = Vec::new();
    for (file, (source, pieces)) in sources.0.iter().zip(cut).enumerate() {
        let Some(pieces) = pieces else {
            roots.push(Node::parse(file, &source.text, problems));
            continue;
        };
        for piece in pieces {
            if piece.is_of_consumers {
                of_consumers.push((&*source.text, piece));
            } else {
                roots.push(Some(piece.parse(&source.text).ok_or(InDoubt)?));
            }
        }
    }
    let Some(roots) = roots.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let mut tables = Tables::merge(sources, roots, problems);
    tables.refuse_hollow_files(problems);

    let settings = tables.fingerprints(&["admin", "client_address", "identity", "log", "audit"]);
    value_lints::limit_per_address(tables.single.get("server"), tables.single.get("client_address"), problems);
    let server = tables.one::<file::Server>("server", problems).unwrap_or_default();
    let problems_before = problems.len();
    let nodes = tables.lists("listeners", problems);
    if nodes.is_empty() && problems.len() == problems_before {
        problems.add(0, 0..0, "listeners", "there is no `[[listeners]]`: the gateway would accept nothing");
    }
    let listeners = listeners::read(nodes, problems);
    let admin = tables.single.remove("admin").and_then(|node| admin(node, &listeners, &secrets, problems));
    let has_public_listener = listeners.iter().any(|listener| !listener.file.address.ip().is_loopback());

    let upstreams: BTreeMap<_, _> = tables
        .named("upstreams", problems)
        .into_iter()
        .filter_map(|(name, node)| {
            let fingerprint = Fingerprint::of(&node);
            let file = node.clone().decode::<file::Upstream>(problems)?;
            Some((name.text, UpstreamDraft { file, fingerprint, node }))
        })
        .collect();

    let mut policies = Vec::new();
    let mut named = HashMap::new();
    for (name, mut node) in tables.named("policies", problems) {
        let common = PolicyCommon::take(&mut node, problems);
        let fingerprint = Fingerprint::of(&node);
        if name.text.contains('/') {
            name.problem(problems, "a policy's name has no `/`");
        }
        let Some(kind) = kind_of(registry, &mut node, problems).copied() else {
            named.insert(name.text, None);
            continue;
        };
        named.insert(name.text.clone(), Some(policies.len()));
        policies.push(PolicyDraft::read(name.text, None, kind, (common, fingerprint), node, problems));
    }

    let consumer_nodes = tables.named("consumers", problems);
    let route_nodes = tables.named("routes", problems);
    let route_names: HashSet<String> = route_nodes.iter().map(|(name, _)| name.text.clone()).collect();
    let references = References::new(&named, &policies, &route_names);
    let mut reader = credentials::Reader::new(registry, &references, has_public_listener);
    consumer_nodes.into_iter().for_each(|(name, node)| reader.consumer(name, node, problems));
    for (text, piece) in of_consumers {
        let consumers = piece.parse(text).and_then(|mut root| root.take("consumers")).ok_or(InDoubt)?;
        for (name, node) in consumers.entries(problems) {
            // One file cannot have a name twice: the cut makes sure of that.
            if sources.0.len() == 1 || tables.is_first("consumers", &name, problems) {
                reader.consumer(name, node, problems);
            }
        }
    }
    let credentials::Known { consumers, said: said_of_consumers, credentials, ids: credential_ids } =
        reader.finish(problems);

    let defaults = defaults(tables.single.remove("defaults"), &named, problems);
    let upstream_names: HashSet<String> = tables.names.remove("upstreams").unwrap_or_default().into_keys().collect();
    let mut known = Known {
        registry,
        upstreams: &upstream_names,
        consumers: &consumers,
        named: &named,
        policies: &mut policies,
        inline: HashMap::new(),
        defaults: &defaults,
    };
    let routes = route_nodes.into_iter().filter_map(|(name, node)| known.route(name, node, problems)).collect();

    let identity_at = tables.single.get("identity").cloned();
    let trusted = tables.single.get("client_address").and_then(|node| node.entry("trust"));
    let trusted = trusted.filter(|trust| matches!(trust.value(), toml::de::DeValue::Array(_)));
    value_lints::networks(trusted, "anyone who connects can claim any address; name your proxies' networks", problems);
    Ok(Some(Configuration {
        server,
        admin,
        listeners,
        client_address: tables.one("client_address", problems).unwrap_or_default(),
        identity: tables.one("identity", problems).unwrap_or_default(),
        identity_at,
        log: tables.one("log", problems).unwrap_or_default(),
        audit: tables.one("audit", problems).unwrap_or_default(),
        tables: settings,
        upstreams,
        policies,
        routes,
        consumers,
        said_of_consumers,
        credentials,
        credential_ids,
        secrets,
    }))
}

/// The tables of all files, merged.
struct Tables<'i> {
    sources: &'i Sources,
    single: HashMap<&'static str, Node<'i>>,
    listed: Vec<(&'static str, Node<'i>)>,
    /// The entries of a table, each with its file.
    names: HashMap<&'static str, HashMap<String, usize>>,
    /// The included files that are empty.
    hollow: Vec<usize>,
}

impl<'i> Tables<'i> {
    fn merge(sources: &'i Sources, roots: Vec<Node<'i>>, problems: &mut Problems) -> Self {
        let mut tables =
            Self { sources, single: HashMap::new(), listed: Vec::new(), names: HashMap::new(), hollow: Vec::new() };
        for root in roots {
            let file = root.file;
            if file != 0 && root.is_hollow() {
                tables.hollow.push(file);
            }
            for (name, node) in root.entries(problems) {
                let Some(table) = TABLES.iter().copied().find(|table| *table == name.text) else {
                    let near = suggestion(&name.text, TABLES);
                    name.problem(problems, format!("unknown table `{}`{near}", name.text));
                    continue;
                };
                match table {
                    "include" if file == 0 => {}
                    "include" | "include_empty" if file != 0 => {
                        name.problem(problems, "an included file includes no others");
                    }
                    "listeners" | "upstreams" | "policies" | "routes" | "consumers" => {
                        tables.listed.push((table, node));
                    }
                    _ => match tables.single.get(table) {
                        Some(first) => tables.twice(&name, first.file, problems),
                        None => _ = tables.single.insert(table, node),
                    },
                }
            }
        }
        tables
    }

    /// Refuses empty included files: a file that lost its content, or is being written, looks like one that never had
    /// any.
    fn refuse_hollow_files(&mut self, problems: &mut Problems) {
        if self.one::<file::Accepted>("include_empty", problems).is_some() {
            return;
        }
        let main = self.sources.0[0].path.display();
        for file in &self.hollow {
            let text = format!("this file is empty; if that is meant, write `include_empty = \"accepted\"` in {main}");
            problems.add(*file, 0..0, "", text);
        }
    }

    fn one<T: serde::de::DeserializeOwned>(&mut self, table: &str, problems: &mut Problems) -> Option<T> {
        self.single.remove(table)?.decode(problems)
    }

    /// Returns the fingerprints of those of these tables that are present.
    fn fingerprints(&self, names: &[&str]) -> HashMap<String, Fingerprint> {
        let of = |name: &&str| Some(((*name).to_owned(), Fingerprint::of(self.single.get(*name)?)));
        names.iter().filter_map(of).collect()
    }

    fn all(&mut self, table: &str) -> Vec<Node<'i>> {
        self.listed.extract_if(.., |(name, _)| *name == table).map(|(_, node)| node).collect()
    }

    fn lists(&mut self, table: &str, problems: &mut Problems) -> Vec<Node<'i>> {
        self.all(table).into_iter().flat_map(|node| node.items(problems)).collect()
    }

    /// Returns the entries of a table over all files; the same name twice is an error, and the first one counts.
    fn named(&mut self, table: &'static str, problems: &mut Problems) -> Vec<(Name, Node<'i>)> {
        let nodes = self.all(table).into_iter().flat_map(|node| node.entries(problems));
        let mut nodes: Vec<_> = nodes.collect();
        // The same order as from a file that is parsed whole.
        nodes.sort_by(|(one, _), (other, _)| (one.file, &one.text).cmp(&(other.file, &other.text)));
        nodes.retain(|(name, _)| self.is_first(table, name, problems));
        nodes
    }

    /// Returns whether no earlier file has this name; otherwise reports the error.
    fn is_first(&mut self, table: &'static str, name: &Name, problems: &mut Problems) -> bool {
        let names = self.names.entry(table).or_default();
        if let Some(first) = names.get(&name.text).copied() {
            self.twice(name, first, problems);
            return false;
        }
        names.insert(name.text.clone(), name.file);
        true
    }

    /// Reports a name that two files have. Within one file it would be a syntax error.
    fn twice(&self, name: &Name, file: usize, problems: &mut Problems) {
        let first = self.sources.0[file].path.display();
        name.problem(problems, format!("`{}` is already defined in {first}", name.text));
    }
}

/// The shortest token of the admin listener; a shorter one could be guessed.
const MIN_TOKEN_BYTES: usize = 16;

fn admin(
    node: Node<'_>,
    listeners: &[ListenerDraft<'_>],
    secrets: &Secrets,
    problems: &mut Problems,
) -> Option<(file::AdminAddress, Option<Secret>)> {
    let location = Location::of(&node);
    let token_at = node.span_of("token");
    let admin = node.decode::<file::Admin>(problems)?;
    let token = match admin.token.as_ref().map(|source| secrets.read(source)) {
        Some(Err(why)) => {
            problems.add(location.file, token_at, "admin.token", why);
            return None;
        }
        Some(Ok(secret))
            if secret.expose().len() < MIN_TOKEN_BYTES || secret.expose().trim_ascii() != secret.expose() =>
        {
            let text = format!("a token has at least {MIN_TOKEN_BYTES} characters, and no spaces around it");
            problems.add(location.file, token_at, "admin.token", text);
            return None;
        }
        Some(Ok(secret)) => Some(secret),
        None => None,
    };
    let span = admin.listen.span();
    let listen = admin.listen.into_inner().0;
    if let file::AdminAddress::Tcp(address) = listen {
        if token.is_none() && !address.ip().is_loopback() {
            let text = "an admin listener that is not loopback needs a `token`";
            problems.add(location.file, span.clone(), "admin.listen", text);
        }
        let is_taken = |other: &&ListenerDraft<'_>| other.file.address == address && takes_a_port(address);
        if let Some(other) = listeners.iter().find(is_taken) {
            problems.add(location.file, span, "admin.listen", format!("{} listens there already", other.location.path));
        }
    }
    Some((listen, token))
}

fn defaults<'i>(node: Option<Node<'i>>, named: &Named, problems: &mut Problems) -> Defaults<'i> {
    let Some(mut node) = node else { return Defaults::default() };
    let auth = node.take("auth");
    let mut plugins: Vec<Name> = Vec::new();
    for item in node.take("plugins").map(|list| list.items(problems)).unwrap_or_default() {
        match item.name() {
            None => item.problem(problems, "default plugins are named policies: write the name of one"),
            Some(name) if !named.contains_key(&name.text) => {
                name.unknown("policy", named.keys().map(String::as_str), problems);
            }
            Some(name) => match plugins.iter().find(|other| other.text == name.text) {
                Some(first) => name.problem(problems, format!("the same policy is already at {}", first.path)),
                None => plugins.push(name),
            },
        }
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rest {
        max_body_bytes: Option<u64>,
    }
    let max_body_bytes = node.knowing(&["auth", "plugins"]).decode::<Rest>(problems).unwrap_or_default().max_body_bytes;
    Defaults { auth, plugins, max_body_bytes }
}
