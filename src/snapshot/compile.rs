//! Compiles a configuration to a snapshot: builds plugins, assembles routes, refuses ties and overlaps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use http::HeaderName;
use portcullis_plugin::{Credential, CredentialEntry, Identity, Places};

use super::{
    Fixed, Listener, Snapshot,
    client_address::ClientAddress,
    client_certificate_lints, contended_header_lints,
    fingerprints::OtherFingerprints,
    identity_headers::IdentityHeaders,
    instance::{Instance, Surroundings},
    mentions,
    record::{Mark, RouteRecord},
    route::{self, Alternative, Auth, Authenticator, Callers, Gate, Pipeline, Route, Settings},
    usage_lints,
};
use crate::{
    body_budget::BodyBudget,
    config::{
        self, Configuration, Ending, Fingerprint, ListenerDraft, Location, Opens, PluginUse, PolicyDraft, Problems,
        Report, RouteDraft,
    },
    router::{self, Pattern, Router},
    services::{CredentialKey, Services},
    tls::Tls,
    upstream::{Name, Upstream, tls::SystemAuthorities},
};

/// Compiles a configuration; errors are added to `problems`. Policies that do not change are taken over from the
/// snapshot before.
pub fn compile(
    mut configuration: Configuration<'_>,
    services: &Services,
    before: Option<&Snapshot>,
    problems: &mut Problems,
) -> Option<Snapshot> {
    let credentials = credentials(&configuration, services, before);
    let upstreams = upstreams(&configuration, services, problems);
    let opened = opened(&configuration);
    let instances = instances(&mut configuration, &credentials, &opened, services, before, problems);
    // The rest of the drafts is no longer needed, and is most of a large configuration.
    let drafts = std::mem::take(&mut configuration.credentials);
    let secrets = drafts.iter().map(|draft| draft.own_fingerprint).collect();
    let said = credentials.iter().zip(&drafts).map(|(credential, draft)| (key_of(credential), draft.said)).collect();
    drop(drafts);
    let patterns: Vec<(&str, &Pattern)> =
        configuration.routes.iter().map(|route| (route.name.text.as_str(), &route.pattern)).collect();
    let router = match Router::build(&patterns) {
        Ok(router) => Some(router),
        Err(ties) => {
            for tie in ties {
                let (first, second) = (&configuration.routes[tie.first], &configuration.routes[tie.second]);
                let text = format!("this ties with {}: {}", first.location.path, tie.what);
                second.location.problem(problems, "", text);
            }
            None
        }
    };
    refuse_overlaps(&configuration, &upstreams, problems);
    mentions::check(&configuration, &credentials, &instances, problems);
    client_certificate_lints::check(&configuration, &instances, problems);
    contended_header_lints::check(&configuration, &instances, problems);
    if configuration.routes.is_empty() {
        problems.warn(0, 0..0, "routes", "there is no `[routes.NAME]`: every request is answered with 404");
    }
    let listeners = listeners(&configuration, services, problems);
    let settings = Arc::new(settings(&configuration, &instances, listeners, services, problems));
    usage_lints::check(&configuration, &instances, &settings, problems);
    let built = Built {
        configuration: &configuration,
        instances: &instances,
        upstreams: &upstreams,
        services,
        settings: &settings,
    };
    let gates: Vec<_> = configuration.routes.iter().map(|route| built.gate(route, problems)).collect();
    if !problems.is_empty() {
        return None;
    }
    let fingerprints = configuration.routes.iter().map(|route| (route.name.text.clone(), built.fingerprint(route)));
    let fingerprints = fingerprints.collect();
    let other_fingerprints = other_fingerprints(&mut configuration, &upstreams, said);
    let keys = || configuration.policies.iter().map(|policy| policy.key.clone());
    let numbers = opened.iter().map(|opened| opened.iter().filter_map(|number| u32::try_from(*number).ok()).collect());
    let opened = keys().zip(numbers).collect();
    let instances = keys().zip(instances).filter_map(|(key, instance)| Some((key, instance?))).collect();
    let conditions = configuration.routes.iter().flat_map(|route| &route.pattern.headers);
    let named_targets = named_targets(&configuration, &upstreams);
    let condition_headers: HashSet<HeaderName> = conditions.map(|condition| condition.name.clone()).collect();
    Some(Snapshot {
        generation: before.map_or(1, |before| before.generation + 1),
        gates: gates.into_iter().collect::<Option<_>>()?,
        router: router?,
        settings,
        sources: Arc::default(),
        warnings: Report::default(),
        of_the_start: BTreeSet::new(),
        fixed: Fixed {
            server: configuration.server,
            admin: configuration.admin.map(|(listen, _)| listen),
            listeners: configuration.listeners.iter().map(|listener| listener.file.address).collect(),
        },
        secrets,
        credentials,
        opened,
        condition_headers: condition_headers.into_iter().collect(),
        named_targets,
        upstreams: upstreams.into_values().collect(),
        fingerprints,
        other_fingerprints,
        instances,
    })
}

fn key_of(credential: &Credential) -> CredentialKey {
    (credential.kind, credential.id.clone())
}

/// Returns the fingerprints that show later whether something beside the routes has changed.
fn other_fingerprints(
    configuration: &mut Configuration<'_>,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
    credentials: HashMap<CredentialKey, Fingerprint>,
) -> OtherFingerprints {
    let upstreams = configuration.upstreams.iter().map(|(name, draft)| {
        let files = upstreams.get(name).map(|upstream| upstream.files);
        (name.clone(), Fingerprint::all(std::iter::once(draft.fingerprint).chain(files)))
    });
    OtherFingerprints {
        upstreams: upstreams.collect(),
        credentials,
        tables: std::mem::take(&mut configuration.tables),
        consumers: std::mem::take(&mut configuration.said_of_consumers),
    }
}

/// Returns all credentials, in the order of the configuration. One that is unchanged since the snapshot before, as is
/// its consumer, is shared with it: it is not in memory twice.
fn credentials(
    configuration: &Configuration<'_>,
    services: &Services,
    before: Option<&Snapshot>,
) -> Vec<Arc<Credential>> {
    let known = before.map(|before| before.credentials.as_slice()).unwrap_or_default();
    let places: HashMap<_, _> = known.iter().zip(0_usize..).map(|(known, at)| ((known.kind, &*known.id), at)).collect();
    let drafts = configuration.credentials.iter().map(|draft| {
        let said = |known: &Credential| {
            before.and_then(|before| before.other_fingerprints.credentials.get(&key_of(known))).copied()
        };
        let known = places.get(&(draft.kind, draft.id.as_str())).map(|at| &known[*at]);
        if let Some(known) = known.filter(|known| said(known) == Some(draft.said) && known.consumer == draft.consumer) {
            return Arc::clone(known);
        }
        let id: Arc<str> = draft.id.as_str().into();
        Arc::new(Credential {
            kind: draft.kind,
            consumer: draft.consumer.clone(),
            scopes: draft.scopes.clone(),
            owner: draft.owner.clone(),
            tier: draft.tier.clone(),
            limits: draft.limits.clone(),
            usage: services.usage(&(draft.kind, id.clone()), draft.own_fingerprint),
            id,
        })
    });
    drafts.collect()
}

fn upstreams(
    configuration: &Configuration<'_>,
    services: &Services,
    problems: &mut Problems,
) -> BTreeMap<String, Arc<Upstream>> {
    let system = SystemAuthorities::default();
    let mut upstreams = BTreeMap::new();
    for (name, draft) in &configuration.upstreams {
        match Upstream::compile(name, &draft.file, &configuration.secrets, &system, &services.of_upstreams()) {
            Ok(upstream) => {
                // At each load, so that it is in every log that somebody may look at.
                if upstream.is_unverified {
                    let text = "anybody can pass for this upstream: its certificate is not looked at";
                    draft.warn(problems, "tls.unverified", text);
                }
                upstreams.insert(name.clone(), Arc::new(upstream));
            }
            Err(wrong) => wrong.into_iter().for_each(|(field, why)| draft.problem(problems, &field, why)),
        }
    }
    upstreams
}

/// Returns the targets that are names, with their locations.
fn named_targets(
    configuration: &Configuration<'_>,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
) -> Vec<(Arc<Name>, Location)> {
    let of_all = upstreams.iter().filter_map(|(name, upstream)| Some((configuration.upstreams.get(name)?, upstream)));
    let of_each = of_all.flat_map(|(draft, upstream)| {
        upstream.names().map(|(index, name)| (name.clone(), draft.target_location(index)))
    });
    of_each.collect()
}

/// Returns which credentials open which policies, as indexes into both lists.
fn opened(configuration: &Configuration<'_>) -> Vec<Vec<usize>> {
    let mut of_kind: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut on_route: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (index, credential) in configuration.credentials.iter().enumerate().filter(|(_, of)| !of.is_twin) {
        of_kind.entry(credential.kind).or_default().push(index);
        if matches!(credential.opens, Opens::Named(_)) {
            continue;
        }
        for route in credential.limits.routes.iter().flatten() {
            on_route.entry((credential.kind, route)).or_default().push(index);
        }
    }
    let mut named: HashMap<&str, usize> = HashMap::new();
    for policy in configuration.policies.iter().filter(|policy| policy.route.is_none()) {
        *named.entry(policy.kind.name).or_default() += 1;
    }
    let opens = |policy: &PolicyDraft<'_>| match &policy.route {
        Some(route) => on_route.get(&(policy.kind.name, route)).cloned().unwrap_or_default(),
        None => {
            let all = of_kind.get(policy.kind.name).map(Vec::as_slice).unwrap_or_default().iter().copied();
            all.filter(|index| match &configuration.credentials[*index].opens {
                Opens::Any => true,
                // With several it is an error, which has been reported.
                Opens::Only => named[policy.kind.name] == 1,
                Opens::Named(names) => names.contains(&policy.key),
            })
            .collect()
        }
    };
    configuration.policies.iter().map(opens).collect()
}

fn nobody_gets_in(policy: &PolicyDraft<'_>) -> String {
    let how = match &policy.route {
        Some(route) => format!("; one that opens it lists the route, as in `routes = [\"{route}\"]`"),
        None => String::new(),
    };
    format!("no consumer has a credential of {} that opens this: it lets nobody in{how}", policy.kind.name)
}

fn instances(
    configuration: &mut Configuration<'_>,
    credentials: &[Arc<Credential>],
    opened: &[Vec<usize>],
    services: &Services,
    before: Option<&Snapshot>,
    problems: &mut Problems,
) -> Vec<Option<Arc<Instance>>> {
    let used = usage_lints::used_policies(&configuration.routes);
    let Configuration { policies, credentials: drafts, secrets, server, .. } = configuration;
    let max_held_body_bytes = BodyBudget::largest_part(server.max_held_body_bytes.get());
    let around = Surroundings { secrets, services, max_held_body_bytes, hook_timeout: server.hook_timeout.0 };
    let built = policies.iter_mut().zip(opened).enumerate().map(|(number, (policy, opened))| {
        if policy.kind.needs_credentials && opened.is_empty() && used.contains(&number) {
            policy.warn(problems, nobody_gets_in(policy));
        }
        let of_credentials = opened.iter().map(|index| drafts[*index].fingerprint);
        let fingerprint = Fingerprint::all(std::iter::once(policy.fingerprint).chain(of_credentials));
        let kept = before
            .and_then(|before| before.instances.get(&policy.key))
            .filter(|kept| kept.fingerprint == fingerprint && policy.is_whole() && kept.is_current(secrets));
        if let Some(kept) = kept {
            return Some(kept.clone());
        }
        let entries: Vec<_> = opened
            .iter()
            .map(|index| CredentialEntry { common: credentials[*index].clone(), own: drafts[*index].own.clone() })
            .collect();
        let mut report = |entry: usize, field: &str, text: String, problems: &mut Problems| {
            drafts[opened[entry]].location.problem(problems, field, text);
        };
        Instance::build(policy, fingerprint, &entries, &mut report, &around, problems).map(Arc::new)
    });
    built.collect()
}

fn settings(
    configuration: &Configuration<'_>,
    instances: &[Option<Arc<Instance>>],
    listeners: Vec<Arc<Listener>>,
    services: &Services,
    problems: &mut Problems,
) -> Settings {
    let mut identity =
        IdentityHeaders::compile(&configuration.identity, &configuration.client_address).unwrap_or_else(|wrong| {
            for (field, why) in wrong {
                let at = configuration.identity_at.as_ref();
                let (file, span) = at.map_or((0, 0..0), |node| (node.file, node.span_of(&field)));
                problems.add(file, span, format!("identity.{field}"), why);
            }
            IdentityHeaders::default()
        });
    for (policy, instance) in configuration.policies.iter().zip(instances) {
        let hook = instance.as_ref().and_then(|instance| instance.hooks.authenticate.as_ref());
        for name in hook.map(|hook| hook.headers()).unwrap_or_default() {
            identity.add(name).unwrap_or_else(|why| policy.problem(problems, "", why));
        }
    }
    Settings {
        callers: Arc::new(Callers { identity, client_address: ClientAddress::compile(&configuration.client_address) }),
        log: configuration.log.clone(),
        audit: configuration.audit.clone(),
        admin_token: configuration.admin.as_ref().and_then(|(_, token)| token.clone()),
        listeners,
        _alive: services.metrics.live_generation(),
    }
}

/// Returns the settings of each listener. In a run without secrets it has no certificates either.
fn listeners(configuration: &Configuration<'_>, services: &Services, problems: &mut Problems) -> Vec<Arc<Listener>> {
    let has_files = !configuration.secrets.is_absent_fine();
    let compiled = configuration.listeners.iter().enumerate().map(|(number, ListenerDraft { file, tls, location })| {
        let draft = tls.as_ref().filter(|_| has_files);
        let before = problems.len();
        let tls = draft.and_then(|tls| Tls::build(tls, number, &configuration.secrets, &services.tickets, problems));
        // After any error, even an unreported one: a listener with TLS must never fall back to plain connections.
        if draft.is_some() && tls.is_none() && problems.len() == before {
            location.problem(problems, "tls", "this listener cannot speak TLS");
        }
        let networks = file.proxy_protocol.iter().flat_map(|networks| &networks.0);
        Arc::new(Listener {
            h2c: file.h2c,
            proxy_protocol: networks.map(|network| network.0.0).collect(),
            https_redirect: file.https_redirect.0,
            hsts: file.hsts.as_ref().map(|hsts| hsts.0.0.clone()),
            tls,
        })
    });
    compiled.collect()
}

/// Refuses an open catch-all beside a protected route of the same servers. It is a way around the protection: any path
/// that somebody forgot to protect, or that a server reads differently, goes through the open one. Two upstreams with a
/// server in common count as one. If only their names resolve to one address that is a warning: behind it may be
/// several services, told apart by their host, and the addresses of a name change independently of the file.
fn refuse_overlaps(
    configuration: &Configuration<'_>,
    compiled: &BTreeMap<String, Arc<Upstream>>,
    problems: &mut Problems,
) {
    let mut told: HashSet<usize> = HashSet::new();
    let named = |name: &str| -> Vec<String> {
        let targets = configuration.upstreams[name].file.targets.0.iter();
        targets.map(|target| target.get_ref().address.to_ascii_lowercase()).collect()
    };
    for (open, beside) in overlaps(configuration, named) {
        if told.insert(open) {
            let text = format!(
                "this open catch-all reaches the upstream of {}, which asks who is calling; narrow its paths, or say \
                 `overlap = \"accepted\"`",
                configuration.routes[beside].location.path
            );
            configuration.routes[open].location.problem(problems, "paths", text);
        }
    }
    let resolved = |name: &str| -> Vec<String> {
        let addresses = compiled.get(name).into_iter().flat_map(|upstream| upstream.addresses());
        addresses.map(|address| address.to_string()).collect()
    };
    for (open, beside) in overlaps(configuration, resolved) {
        if told.insert(open) {
            let text = format!(
                "this open catch-all goes to the same address as {}, which asks who is calling: is it another service, \
                 or a way around?",
                configuration.routes[beside].location.path
            );
            configuration.routes[open].location.warn(problems, text);
        }
    }
}

/// Returns open catch-alls, each with a protected route that it reaches, by the addresses of upstreams.
fn overlaps(configuration: &Configuration<'_>, places: impl Fn(&str) -> Vec<String>) -> Vec<(usize, usize)> {
    let routes = &configuration.routes;
    let mut by_upstream: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, route) in routes.iter().enumerate() {
        if let Ending::Forward(upstream) = &route.ending {
            by_upstream.entry(upstream).or_default().push(number);
        }
    }
    let mut by_place: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in configuration.upstreams.keys().filter(|name| by_upstream.contains_key(name.as_str())) {
        for place in places(name) {
            by_place.entry(place).or_default().insert(name);
        }
    }
    // Most upstreams share no server with others: each set of routes is looked at once.
    let together: BTreeSet<BTreeSet<&str>> = by_place.into_values().collect();
    let mut found = Vec::new();
    for upstreams in together {
        let numbers = upstreams.iter().flat_map(|name| &by_upstream[name]).copied();
        // An anonymous request needs no credential either.
        let is_open = |number: &usize| routes[*number].auth.is_empty() || routes[*number].anonymous.is_some();
        let (open, protected): (Vec<usize>, Vec<usize>) = numbers.partition(is_open);
        let protected = router::Protected::new(protected.into_iter().map(|number| (number, &routes[number].pattern)));
        let open = open.into_iter().filter(|number| !routes[*number].is_overlap_accepted);
        found.extend(open.filter_map(|number| Some((number, protected.first_reached_by(&routes[number].pattern)?))));
    }
    found
}

/// The parts that routes are assembled from.
struct Built<'b, 'i> {
    configuration: &'b Configuration<'i>,
    instances: &'b [Option<Arc<Instance>>],
    upstreams: &'b BTreeMap<String, Arc<Upstream>>,
    services: &'b Services,
    settings: &'b Arc<Settings>,
}

impl Built<'_, '_> {
    /// Returns `None` if a part of the route is wrong, which has been reported: a route has its whole pipeline or does
    /// not exist.
    fn gate(&self, draft: &RouteDraft, problems: &mut Problems) -> Option<Arc<Gate>> {
        let mut pipeline = Pipeline::default();
        let auth = self.auth(draft, &mut pipeline, problems);
        for plugin in &draft.plugins {
            let policy = &self.configuration.policies[plugin.policy];
            // What is wrong with it has been reported. A route goes without none of its policies.
            let Some(instance) = &self.instances[plugin.policy] else { return None };
            let hooks = &instance.hooks;
            if hooks.authenticate.is_some() {
                plugin.location.problem(
                    problems,
                    "",
                    format!("`{}` finds out who is calling: it belongs into `auth`", policy.key),
                );
            }
            if hooks.admit.is_some() && draft.auth.is_empty() {
                let text = format!("`{}` needs to know who is calling, and this route has no `auth`", policy.key);
                match plugin.is_default {
                    true => draft.location.problem(problems, "without", format!("{text}: leave it out here")),
                    false => plugin.location.problem(problems, "", text),
                }
            }
            pipeline.add((&policy.key.as_str().into(), plugin.policy), hooks, self.timeout(policy));
        }
        let ending = match &draft.ending {
            Ending::Forward(upstream) => route::Ending::Forward(self.upstreams.get(upstream)?.clone()),
            Ending::Respond { status, body, content_type } => {
                route::Ending::Respond { status: *status, body: body.clone(), content_type: content_type.clone() }
            }
            Ending::Echo => route::Ending::Echo,
        };
        let Pipeline { guard, admit, edit_request, edit_response, body, observe } = pipeline;
        let record = RouteRecord {
            name: draft.name.text.as_str().into(),
            metrics: self.services.metrics.route(&draft.name.text),
            is_logged: self.settings.log.access,
            observe,
            ways: draft.auth.iter().map(|together| self.marks(together.policies.iter())).collect(),
            passed: self.marks(draft.plugins.iter()),
        };
        let route = Route {
            record: Arc::new(record),
            callers: self.settings.callers.clone(),
            edit_request,
            edit_response,
            body,
            ending,
            pattern: draft.pattern.clone(),
            max_body_bytes: draft.max_body_bytes,
        };
        Some(Arc::new(Gate {
            route: Arc::new(route),
            settings: self.settings.clone(),
            auth: auth?,
            guard,
            admit,
            allows_encoded_slash: draft.allows_encoded_slash,
            realm: draft.realm.replace(['"', '\\'], "'"),
            https_redirect: draft.https_redirect,
            hsts: draft.hsts.clone(),
        }))
    }

    /// Returns the time limit for the hooks of a policy.
    fn timeout(&self, policy: &PolicyDraft<'_>) -> Duration {
        policy.hook_timeout.unwrap_or(self.configuration.server.hook_timeout).0
    }

    /// Returns the marks of the policies that were built.
    fn marks<'p>(&self, uses: impl Iterator<Item = &'p PluginUse>) -> Box<[Arc<Mark>]> {
        uses.filter_map(|plugin| Some(self.instances[plugin.policy].as_ref()?.mark.clone())).collect()
    }

    /// Returns the authentication of a route; the outer `None`: a part is wrong.
    #[expect(clippy::option_option, reason = "the outer one is failure, the inner one a public route")]
    fn auth(&self, draft: &RouteDraft, pipeline: &mut Pipeline, problems: &mut Problems) -> Option<Option<Auth>> {
        if draft.auth.is_empty() {
            return Some(None);
        }
        let mut hidden = Places::default();
        let mut is_whole = true;
        let mut needs_certificate = false;
        let mut added: Vec<usize> = Vec::new();
        let mut authenticator = |plugin: &PluginUse, problems: &mut Problems| {
            let policy = &self.configuration.policies[plugin.policy];
            let instance = self.instances[plugin.policy].as_ref()?;
            let Some(hook) = &instance.hooks.authenticate else {
                plugin.location.problem(
                    problems,
                    "",
                    format!("`{}` does not find out who is calling: it belongs into `plugins`", policy.key),
                );
                return None;
            };
            let name: Arc<str> = policy.key.as_str().into();
            let managed = |name: &&HeaderName| Some(*name) == self.settings.callers.identity.request_id();
            if let Some(name) = hook.hidden().headers().map(|(name, _)| name).find(managed) {
                let text =
                    format!("`{}` looks for a credential in `{name}`, which is part of every log line", policy.key);
                plugin.location.problem(problems, "", text);
            }
            if !added.contains(&plugin.policy) {
                added.push(plugin.policy);
                hidden.merge(hook.hidden());
                if hook.needs_certificate() {
                    needs_certificate = true;
                }
                pipeline.add((&name, plugin.policy), &instance.hooks, self.timeout(policy));
            }
            Some(Authenticator {
                metrics: self.services.metrics.policy(&policy.key),
                policy: name,
                number: plugin.policy,
                places: hook.places(),
                fills: hook.headers().into(),
                hook: hook.clone(),
                timeout: self.timeout(policy),
            })
        };
        let mut alternatives: Vec<Alternative> = Vec::new();
        for config::Alternative { policies, speaker } in &draft.auth {
            let together: Vec<_> = policies.iter().map(|plugin| authenticator(plugin, problems)).collect();
            is_whole &= together.iter().all(Option::is_some) && !together.is_empty();
            alternatives.push(Alternative { parts: together.into_iter().flatten().collect(), speaker: *speaker });
        }
        let anonymous = match &draft.anonymous {
            None => None,
            Some(name) => Some(Arc::new(Identity::anonymous(self.configuration.consumers.get(&name.text)?))),
        };
        is_whole.then(|| Some(Auth { needs_certificate, alternatives: alternatives.into(), anonymous, hidden }))
    }

    /// Returns the fingerprint of a route with everything that it uses.
    fn fingerprint(&self, draft: &RouteDraft) -> Fingerprint {
        let uses = draft.auth.iter().flat_map(|together| &together.policies).chain(&draft.plugins);
        let said = |policy: &PolicyDraft<'_>| Fingerprint::of_bytes(format!("{:?}", policy.hook_timeout).as_bytes());
        let policies = uses.filter_map(|plugin| {
            let built = self.instances[plugin.policy].as_ref()?.fingerprint;
            Some([built, said(&self.configuration.policies[plugin.policy])])
        });
        let policies = policies.flatten();
        let own = [draft.fingerprint, self.inherited(draft)];
        let Ending::Forward(name) = &draft.ending else {
            return Fingerprint::all(own.into_iter().chain(policies));
        };
        let upstream = self.configuration.upstreams.get(name).map(|upstream| upstream.fingerprint);
        let files = self.upstreams.get(name).map(|upstream| upstream.files);
        Fingerprint::all(own.into_iter().chain(policies).chain(upstream).chain(files))
    }

    /// Returns the fingerprint of the settings that a route may have from `[defaults]`, as they hold for this one: its
    /// policies, their combinations, and the size limit of bodies.
    fn inherited(&self, draft: &RouteDraft) -> Fingerprint {
        let name = |plugin: &PluginUse| self.configuration.policies[plugin.policy].key.as_str();
        let together =
            |together: &config::Alternative| (together.policies.iter().map(name).collect::<Vec<_>>(), together.speaker);
        let auth: Vec<_> = draft.auth.iter().map(together).collect();
        let plugins: Vec<&str> = draft.plugins.iter().map(name).collect();
        Fingerprint::of_bytes(format!("{:?}", (auth, plugins, draft.max_body_bytes)).as_bytes())
    }
}
