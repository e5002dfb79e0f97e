//! Warnings about credentials that must be proved together but cannot: two in the same header, because a request has
//! that header once.

use std::{collections::BTreeSet, sync::Arc};

use http::HeaderName;
use portcullis_plugin::{Place, Places};

use super::instance::Instance;
use crate::config::{Configuration, PluginUse, Problems};

/// Warns of alternatives of `auth` that no request can satisfy.
pub(super) fn check(configuration: &Configuration<'_>, instances: &[Option<Arc<Instance>>], problems: &mut Problems) {
    for alternative in configuration.routes.iter().flat_map(|route| &route.auth) {
        let together = &alternative.policies;
        for (number, second) in together.iter().enumerate() {
            let header = together[..number].iter().find_map(|first| contended(first, second, configuration, instances));
            if let Some((header, first)) = header {
                let text = format!(
                    "no request satisfies this together with `{first}`: both read only `{header}`, each for \
                     another credential, and a request has that header once"
                );
                second.location.warn(problems, text);
            }
        }
    }
}

/// Returns the one header that both need for themselves, and the name of the first policy. Two policies of one kind
/// that look for the same may be satisfied by one credential.
fn contended(
    first: &PluginUse,
    second: &PluginUse,
    configuration: &Configuration<'_>,
    instances: &[Option<Arc<Instance>>],
) -> Option<(HeaderName, String)> {
    let places = |plugin: &PluginUse| Some(instances[plugin.policy].as_ref()?.hooks.authenticate.as_ref()?.hidden());
    let (ours, theirs) = (places(first)?, places(second)?);
    let (header, schemes) = only_header(&ours)?;
    let (other_header, other_schemes) = only_header(&theirs)?;
    let (policy, other) = (&configuration.policies[first.policy], &configuration.policies[second.policy]);
    let is_one_credential = policy.kind.name == other.kind.name && !schemes.is_disjoint(&other_schemes);
    (header == other_header && !is_one_credential).then(|| (header.clone(), policy.key.clone()))
}

/// Returns the header that is the only place, with the schemes before the credential.
fn only_header(places: &Places) -> Option<(&HeaderName, BTreeSet<Option<String>>)> {
    let headers: Option<Vec<_>> = places.0.iter().map(header).collect();
    let headers = headers?;
    let (name, _) = *headers.first()?;
    let schemes = headers.iter().map(|(_, scheme)| scheme.map(str::to_ascii_lowercase)).collect();
    headers.iter().all(|(other, _)| *other == name).then_some((name, schemes))
}

fn header(place: &Place) -> Option<(&HeaderName, Option<&str>)> {
    match place {
        Place::Header { name, scheme } => Some((name, scheme.as_deref())),
        Place::Query(_) | Place::Cookie(_) => None,
    }
}
