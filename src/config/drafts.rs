//! Upstreams and policies as the file has them, before anything is built from them.

use portcullis_plugin::Span;

use super::{
    file,
    fingerprint::Fingerprint,
    location::Location,
    node::{Node, Partly},
    problem::{Problems, suggestion},
};
use crate::registry::{Decoded, Kind, Registry};

/// An upstream before its names are resolved.
pub(crate) struct UpstreamDraft<'i> {
    /// Its decoded fields.
    pub file: file::Upstream,
    /// The fingerprint of its fields.
    pub fingerprint: Fingerprint,
    pub(super) node: Node<'i>,
}

impl UpstreamDraft<'_> {
    /// Adds an error about a field of it.
    pub(crate) fn problem(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let field = field.trim_end_matches('.');
        problems.add(self.node.file, self.node.span_of(field), format!("{}.{field}", self.node.path), text);
    }

    /// Adds a warning about a field of it, or about all of it where `field` is empty.
    pub(crate) fn warn(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let path = if field.is_empty() { self.node.path.clone() } else { format!("{}.{field}", self.node.path) };
        problems.warn(self.node.file, self.node.span_of(field), path, text);
    }

    /// Returns the location of one of its targets.
    pub(crate) fn target_location(&self, index: usize) -> Location {
        let field = format!("targets[{index}]");
        Location {
            span: self.node.span_of(&field),
            path: format!("{}.{field}", self.node.path),
            ..Location::of(&self.node)
        }
    }
}

/// A policy before its plugin is built.
pub(crate) struct PolicyDraft<'i> {
    /// Its unique key: the name, or `route/id` of an inline policy.
    pub key: String,
    /// The route it belongs to if it is inline; `None` for a policy of `[policies]`.
    pub route: Option<String>,
    /// Its plugin.
    pub kind: Kind,
    /// The time limit of its hooks, if it sets one.
    pub hook_timeout: Option<Span>,
    /// Its configuration, as far as it could be decoded; `None` if nothing of it could.
    pub config: Option<Partly<Decoded>>,
    /// The fingerprint of its plugin and configuration, without the settings that only the engine reads.
    pub fingerprint: Fingerprint,
    /// Its location.
    pub location: Location,
    pub(super) node: Node<'i>,
}

/// The settings that a policy of any plugin may have, which the engine reads.
pub(super) struct PolicyCommon {
    hook_timeout: Option<Span>,
}

impl PolicyCommon {
    /// Takes these settings out of a policy.
    pub(super) fn take(node: &mut Node<'_>, problems: &mut Problems) -> Self {
        let hook_timeout = node.take("hook_timeout").and_then(|value| value.decode::<file::SpanAboveZero>(problems));
        Self { hook_timeout: hook_timeout.map(|span| span.0) }
    }
}

impl<'i> PolicyDraft<'i> {
    pub(super) fn read(
        key: String,
        route: Option<String>,
        kind: Kind,
        (common, fingerprint): (PolicyCommon, Fingerprint),
        node: Node<'i>,
        problems: &mut Problems,
    ) -> Self {
        let mut location = Location::of(&node);
        location.path = format!("{} ({})", location.path, kind.name);
        let mut shown = node.clone().knowing(&["use", "id", "hook_timeout"]);
        shown.path.clone_from(&location.path);
        let config = shown.decode_partly_by(kind.config, problems);
        Self { key, route, kind, hook_timeout: common.hook_timeout, config, fingerprint, location, node }
    }

    /// Adds an error about a field of it.
    pub(crate) fn problem(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        let path =
            if field.is_empty() { self.location.path.clone() } else { format!("{}.{field}", self.location.path) };
        problems.add(self.location.file, self.node.span_of(field), path, text);
    }

    /// Adds a warning about the policy as a whole.
    pub(crate) fn warn(&self, problems: &mut Problems, text: impl Into<String>) {
        problems.warn(self.location.file, self.location.span.clone(), self.location.path.clone(), text);
    }

    /// Adds a warning about a field of it.
    pub(crate) fn warn_of(&self, problems: &mut Problems, field: &str, text: impl Into<String>) {
        problems.warn(self.location.file, self.node.span_of(field), format!("{}.{field}", self.location.path), text);
    }

    /// Returns whether all of its configuration could be decoded.
    pub(crate) fn is_whole(&self) -> bool {
        self.config.as_ref().is_some_and(Partly::is_whole)
    }

    /// Adds a further error about a policy of which a part could not be decoded, unless the error may be a consequence
    /// of that part. Left out are errors about the policy as a whole, about fields that are not there, and about those
    /// in which something was wrong: items of a list have other numbers since.
    pub(crate) fn problem_beside(&self, partly: &Partly<()>, problems: &mut Problems, field: &str, text: String) {
        let first = field.split(['.', '[']).next().unwrap_or_default();
        if !partly.lacks_a_choice() && self.node.has(first) && !partly.lacks(first) {
            self.problem(problems, field, text);
        }
    }

    /// Returns whether both have the same location: `[defaults] auth` is read once for each route.
    pub(super) fn is_default_of(&self, location: &Location) -> bool {
        self.location.file == location.file && self.location.span == location.span
    }
}

/// Takes `use` out of a table and looks up the plugin that it names.
pub(super) fn kind_of<'r>(registry: &'r Registry, node: &mut Node<'_>, problems: &mut Problems) -> Option<&'r Kind> {
    let Some(named) = node.take("use") else {
        node.problem(problems, "`use` is missing: it names the plugin");
        return None;
    };
    let Some(name) = named.as_str() else {
        named.problem(problems, "this has to be the name of a plugin");
        return None;
    };
    let kind = registry.kind(name);
    if kind.is_none() {
        let near = suggestion(name, registry.kinds().map(|kind| kind.name));
        named.problem(problems, format!("there is no plugin `{name}`{near}"));
    }
    kind
}
