//! Warnings about settings that are valid but probably mistakes, found while they are read. They matter because nobody
//! notices a mistake that lets somebody in.

use std::collections::BTreeMap;

use ipnet::IpNet;
use toml::de::DeValue;

use super::{
    file::Network,
    location::Location,
    node::{Name, Node},
    problem::{Problems, nearest},
};

/// Warns of networks that contain every address. `what` is the consequence and the remedy.
pub(super) fn networks(list: Option<Node<'_>>, what: &str, problems: &mut Problems) {
    let items = list.map(|list| list.items(&mut Problems::default())).unwrap_or_default();
    for item in items {
        let network = item.as_str().and_then(|text| text.parse().ok()).map(|Network(network)| network);
        if let Some(network) = network.filter(|network| network.prefix_len() == 0) {
            let family = if matches!(network, IpNet::V4(_)) { "IPv4" } else { "IPv6" };
            item.warn(problems, format!("this is every {family} address: {what}"));
        }
    }
}

/// Warns of several scopes in one string: no restriction that asks for one of them would match.
pub(super) fn scopes(list: Option<Node<'_>>, problems: &mut Problems) {
    for item in list.map(|list| list.items(&mut Problems::default())).unwrap_or_default() {
        let text = item.as_str().unwrap_or_default();
        let several: Vec<_> = text.split([' ', ',', ';']).filter(|scope| !scope.is_empty()).collect();
        if several.len() > 1 {
            let list = several.join("\", \"");
            item.warn(problems, format!("`{text}` is one scope; write a list of them: [\"{list}\"]"));
        } else {
            unlike_others(&item, problems);
        }
    }
}

/// Warns of a limit on connections per address where it has no effect: with a number of hops any peer may be the proxy
/// that brings all clients.
pub(super) fn limit_per_address(server: Option<&Node<'_>>, client_address: Option<&Node<'_>>, problems: &mut Problems) {
    let limit = server.and_then(|server| server.entry("max_connections_per_address"));
    let trust = client_address.and_then(|node| node.entry("trust"));
    if let (Some(limit), Some(trust)) = (limit, trust)
        && matches!(trust.value(), DeValue::Integer(_))
    {
        let text = "this limits nobody: with a number of hops in `client_address.trust` every peer counts as a proxy that \
                    brings many clients; name your proxies' networks there";
        limit.warn(problems, text);
    }
}

/// Warns of attributes of a consumer that are empty or have white space around them: a restriction names them without.
pub(super) fn names_of(consumer: &Node<'_>, problems: &mut Problems) {
    for field in ["groups", "roles"] {
        let items = consumer.entry(field).map(|list| list.items(&mut Problems::default()));
        items.iter().flatten().for_each(|item| unlike_others(item, problems));
    }
    for field in ["tenant", "client_id"] {
        consumer.entry(field).iter().for_each(|value| unlike_others(value, problems));
    }
    let labels = consumer.entry("labels").filter(Node::is_table).map(|labels| labels.entries(problems));
    let labels = labels.iter().flatten().map(|(_, value)| value);
    labels.filter(|value| value.as_str() != Some("")).for_each(|value| unlike_others(value, problems));
}

fn unlike_others(value: &Node<'_>, problems: &mut Problems) {
    match value.as_str() {
        Some("") => value.warn(problems, "this is empty: leave it out, or write what it is"),
        Some(text) if text.trim() != text => {
            value.warn(
                problems,
                format!("this has white space around it, so a rule for `{}` does not match it", text.trim()),
            );
        }
        _ => {}
    }
}

/// Consumers that appear only in `[[consumers.NAME.credentials]]`, with their locations.
#[derive(Default)]
pub(super) struct Unintroduced(BTreeMap<String, Location>);

impl Unintroduced {
    /// With more than this many it is a style of writing, not a mistake.
    const MAX: usize = 100;

    /// Notes a consumer that has no fields `beside` its credentials.
    pub(super) fn note(&mut self, name: &Name, beside: &Node<'_>) {
        // A table without a header of its own has the span of its name in the first header below it.
        if beside.span() == name.span && beside.is_hollow() && self.0.len() <= Self::MAX {
            self.0.insert(name.text.clone(), Location { span: name.span.clone(), ..Location::of(beside) });
        }
    }

    /// Warns of those whose name is similar to another's.
    pub(super) fn warn<'c>(&self, all: &(impl Iterator<Item = &'c str> + Clone), problems: &mut Problems) {
        if self.0.len() > Self::MAX {
            return;
        }
        // Names that differ only in their digits are different on purpose.
        let letters = |name: &str| name.replace(|letter: char| letter.is_ascii_digit(), "");
        for (name, location) in &self.0 {
            let own = letters(name);
            let others = all.clone().filter(|other| !self.0.contains_key(*other) && letters(other) != own);
            if let Some(near) = nearest(name, others) {
                let text = format!(
                    "`{name}` stands here with credentials alone, and has no groups, roles or tenant: is it `{near}`? If \
                     not, write `[consumers.{name}]` above"
                );
                location.warn(problems, text);
            }
        }
    }
}
