//! Assembles routes from their policies and upstreams, each with its whole pipeline.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::HeaderName;
use portcullis_plugin::{Identity, Places};

use super::{
    instance::Instance,
    record::{Mark, RouteRecord, Step},
    route::{self, Alternative, Auth, Authenticator, Gate, Pipeline, Route, Settings},
};
use crate::{
    config::{self, Configuration, Ending, Fingerprint, PluginUse, PolicyDraft, Problems, RouteDraft},
    services::Services,
    upstream::Upstream,
};

/// The parts that routes are assembled from.
pub(super) struct Built<'b, 'i> {
    pub(super) configuration: &'b Configuration<'i>,
    pub(super) instances: &'b [Option<Arc<Instance>>],
    pub(super) upstreams: &'b BTreeMap<String, Arc<Upstream>>,
    pub(super) services: &'b Services,
    pub(super) settings: &'b Arc<Settings>,
}

impl Built<'_, '_> {
    /// Returns `None` if a part of the route is wrong, which has been reported: a route has its whole pipeline or does
    /// not exist.
    pub(super) fn gate(&self, draft: &RouteDraft, problems: &mut Problems) -> Option<Arc<Gate>> {
        let mut pipeline = Pipeline::default();
        let auth = self.auth(draft, &mut pipeline, problems);
        for plugin in &draft.plugins {
            let policy = &self.configuration.policies[plugin.policy];
            // What is wrong with it has been reported. A route goes without none of its policies.
            let Some(instance) = &self.instances[plugin.policy] else { return None };
            let hooks = &instance.hooks;
            if hooks.authenticate.is_some() && !matches!(draft.ending, Ending::Own(_)) {
                plugin.location.problem(
                    problems,
                    "",
                    format!("`{}` finds out who is calling: it belongs into `auth`", policy.key),
                );
            }
            if hooks.admit.is_some() && draft.auth.is_empty() && !matches!(draft.ending, Ending::Own(_)) {
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
            Ending::Own(number) => {
                // Nobody is authenticated here, and nothing is forwarded.
                pipeline = Pipeline { admit: Vec::new(), prepare: Vec::new(), ..pipeline };
                let policy = &self.configuration.policies[*number];
                let hook = self.instances[*number].as_ref()?.hooks.serve.clone()?;
                let (name, timeout) = (policy.key.as_str().into(), self.timeout(policy));
                route::Ending::Own(Step { policy: name, number: *number, hook, timeout })
            }
        };
        let Pipeline { guard, admit, prepare, edit_request, edit_response, body, observe } = pipeline;
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
            needs_certificate: self.needs_certificate(draft),
            guard,
            admit,
            prepare,
            allows_encoded_slash: draft.allows_encoded_slash,
            realm: draft.realm.replace(['"', '\\'], "'"),
            https_redirect: draft.https_redirect,
            hsts: draft.hsts.clone(),
        }))
    }

    /// Returns whether a policy that finds out who is calling, or that answers on its own path, uses the certificate.
    fn needs_certificate(&self, draft: &RouteDraft) -> bool {
        let of_auth = draft.auth.iter().flat_map(|together| &together.policies).map(|plugin| plugin.policy);
        let hooks = of_auth.chain(draft.policy()).filter_map(|policy| Some(&self.instances[policy].as_ref()?.hooks));
        hooks.filter_map(|hooks| hooks.authenticate.as_ref()).any(|hook| hook.needs_certificate())
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
        is_whole.then(|| Some(Auth { alternatives: alternatives.into(), anonymous, hidden }))
    }

    /// Returns the fingerprint of a route with everything that it uses.
    pub(super) fn fingerprint(&self, draft: &RouteDraft) -> Fingerprint {
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
