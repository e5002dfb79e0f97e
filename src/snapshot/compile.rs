//! Compiles a configuration to a snapshot: builds upstreams and plugins, has routes assembled, refuses ties.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use http::HeaderName;
use portcullis_plugin::{Credential, CredentialEntry, Places};

use super::{
    Fixed, Listener, Snapshot,
    client_address::ClientAddress,
    client_certificate_lints, contended_header_lints,
    fingerprints::OtherFingerprints,
    gates::Built,
    identity_headers::IdentityHeaders,
    instance::{Instance, Surroundings},
    mentions, overlaps, own_paths,
    route::{Callers, Settings},
    usage_lints,
};
use crate::{
    body_budget::BodyBudget,
    config::{Configuration, Fingerprint, ListenerDraft, Location, Opens, PolicyDraft, Problems, Report},
    router::{Pattern, Router},
    services::{CredentialKey, Services},
    tls::Tls,
    upstream::{Name, Upstream, tls::SystemAuthorities},
};

/// Compiles a configuration; errors are added to `problems`. Policies that do not change are taken over from the
/// snapshot before.
pub(crate) fn compile(
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
    own_paths::add(&mut configuration, &instances, problems);
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
    overlaps::refuse(&configuration, &upstreams, problems);
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
    let max_held_body_bytes = BodyBudget::largest_reservation(server.max_held_body_bytes.get());
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
    let mut cookies = Places::default();
    for (policy, instance) in configuration.policies.iter().zip(instances) {
        cookies.merge(instance.as_ref().map(|instance| instance.cookies.clone()).unwrap_or_default());
        let hook = instance.as_ref().and_then(|instance| instance.hooks.authenticate.as_ref());
        for name in hook.map(|hook| hook.headers()).unwrap_or_default() {
            identity.add(name).unwrap_or_else(|why| policy.problem(problems, "", why));
        }
    }
    Settings {
        callers: Arc::new(Callers {
            identity,
            cookies,
            client_address: ClientAddress::compile(&configuration.client_address),
        }),
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
