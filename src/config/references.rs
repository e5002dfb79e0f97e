//! The policies and routes that credentials name.

use std::collections::{HashMap, HashSet};

use toml::de::DeValue;

use super::{
    drafts::PolicyDraft,
    node::{Name, Node},
    problem::Problems,
    routes::Named,
};

/// The names that a credential may refer to.
pub(super) struct References<'r> {
    named: &'r Named,
    /// The plugin of each named policy that is valid.
    kinds: HashMap<&'r str, &'static str>,
    /// The named policies of each plugin.
    of_kind: HashMap<&'static str, Vec<&'r str>>,
    routes: &'r HashSet<String>,
}

impl<'r> References<'r> {
    /// `policies` are the named ones.
    pub(super) fn new(named: &'r Named, policies: &'r [PolicyDraft<'_>], routes: &'r HashSet<String>) -> Self {
        let mut of_kind: HashMap<&str, Vec<&str>> = HashMap::new();
        for policy in policies {
            of_kind.entry(policy.kind.name).or_default().push(&policy.key);
        }
        let kinds = policies.iter().map(|policy| (policy.key.as_str(), policy.kind.name)).collect();
        Self { named, kinds, of_kind, routes }
    }

    /// Checks the names in a credential of this plugin. Runs before the credential is decoded, so that one that is
    /// wrong elsewhere is checked as well.
    pub(super) fn check(&self, kind: &'static str, credential: &Node<'_>, problems: &mut Problems) {
        for route in names(credential, "routes") {
            if !self.routes.contains(&route.text) {
                route.unknown("route", self.routes.iter().map(String::as_str), problems);
            }
        }
        let of_its_kind = self.of_kind.get(kind).map(Vec::as_slice).unwrap_or_default();
        if !credential.has("policies") && of_its_kind.len() > 1 {
            let which = of_its_kind.join("`, `");
            let text = format!("there are several {kind} policies (`{which}`): say which with `policies`, or \"any\"");
            credential.problem(problems, text);
        }
        for policy in names(credential, "policies") {
            match self.kinds.get(policy.text.as_str()) {
                Some(other) if *other != kind => {
                    policy.problem(problems, format!("`{}` is a policy of {other}", policy.text));
                }
                None if !self.named.contains_key(&policy.text) => {
                    policy.unknown("policy", of_its_kind.iter().copied(), problems);
                }
                _ => {}
            }
        }
    }
}

/// Returns the strings of a list, if it is one.
fn names(of: &Node<'_>, field: &str) -> Vec<Name> {
    let list = of.entry(field).filter(|list| matches!(list.value(), DeValue::Array(_)));
    let items = list.map(|list| list.items(&mut Problems::default())).unwrap_or_default();
    items.iter().filter_map(Node::name).collect()
}
