//! What policies name of the rest of the configuration, looked up there.
//!
//! It is done for every configuration, and also for policies that are kept from the one before: what they name may be
//! gone.

use std::{collections::HashMap, sync::Arc};

use portcullis_plugin::{Mention, Mentioned};

use super::instance::Instance;
use crate::config::{Configuration, PolicyDraft, Problems, RouteDraft, problem::suggestion};

/// Says which names nobody has.
pub(super) fn check(configuration: &Configuration<'_>, instances: &[Option<Arc<Instance>>], problems: &mut Problems) {
    let mut of_paths: HashMap<usize, Vec<(String, String)>> = HashMap::new();
    for (number, (policy, instance)) in configuration.policies.iter().zip(instances).enumerate() {
        let admit = instance.as_ref().and_then(|instance| instance.hooks.admit.as_ref());
        for Mention { field, of } in admit.map(|admit| admit.mentions()).unwrap_or_default() {
            match of {
                Mentioned::PathParameter(name) => of_paths.entry(number).or_default().push((field, name)),
                of => unknown(configuration, &of).into_iter().for_each(|why| policy.problem(problems, &field, why)),
            }
        }
    }
    if of_paths.is_empty() {
        return;
    }
    for route in &configuration.routes {
        for number in route.plugins.iter().map(|plugin| plugin.policy) {
            for (field, name) in of_paths.get(&number).into_iter().flatten() {
                parameter(route, &configuration.policies[number], field, name, problems);
            }
        }
    }
}

/// What is wrong with a name.
fn unknown(configuration: &Configuration<'_>, of: &Mentioned) -> Option<String> {
    let (what, name, near) = match of {
        Mentioned::Consumer(name) if !configuration.consumers.contains_key(name) => {
            ("consumer", name, suggestion(name, configuration.consumers.keys().map(String::as_str)))
        }
        Mentioned::Credential(id) if !configuration.credential_ids.contains(id) => {
            ("credential", id, suggestion(id, configuration.credential_ids.iter().map(String::as_str)))
        }
        _ => return None,
    };
    Some(format!("there is no {what} `{name}`{near}"))
}

/// Every path of the route has the parameter: on one that lacks it the policy would find no value.
fn parameter(route: &RouteDraft, policy: &PolicyDraft<'_>, field: &str, name: &str, problems: &mut Problems) {
    let Some(path) = route.pattern.paths.iter().find(|path| path.parameters().all(|known| known != name)) else {
        return;
    };
    let known: Vec<_> = path.parameters().map(|name| format!("`{name}`")).collect();
    let known = match known.as_slice() {
        [] => "no parameters".to_owned(),
        known => format!("{} and not `{name}`", known.join(", ")),
    };
    let text = format!("the path `{path}` of the route `{}` has {known}", route.name.text);
    policy.problem(problems, field, format!("{text}{}", suggestion(name, path.parameters())));
}
