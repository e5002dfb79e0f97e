//! The result of a reload.

use crate::{
    config::{Located, problem::counted},
    snapshot::{Changes, Snapshot},
};

/// The result of a reload.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reloaded {
    /// The generation that serves now.
    pub generation: u64,
    /// The number of its routes.
    pub routes: usize,
    /// The differences, if it was taken.
    pub changes: Option<Changes>,
    /// The errors, if it was refused.
    pub errors: Vec<Located>,
    /// The warnings, if it was taken.
    pub warnings: Vec<Located>,
    /// Secrets that a reload does not read again, each as a sentence. A gateway before an upgrade does not send this
    /// field.
    #[serde(default)]
    pub not_reread: Vec<String>,
}

impl Reloaded {
    /// Returns the line that `systemctl status` shows.
    pub(crate) fn status(&self) -> String {
        let serving = format!("generation {}, {}", self.generation, counted(self.routes, "route", "routes"));
        let problems = counted(self.errors.len(), "problem", "problems");
        match self.errors.as_slice() {
            [] => serving,
            [first, ..] => format!("{serving}; the last reload was refused ({problems}): {first}"),
        }
    }

    /// Returns the result of a reload that had nothing to do.
    pub(super) fn unchanged(serving: &Snapshot) -> Self {
        Self {
            generation: serving.generation,
            routes: serving.gates.len(),
            changes: Some(Changes::default()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_has_the_generation_the_routes_and_what_was_refused() {
        let mut reloaded = Reloaded { generation: 3, routes: 12, ..Reloaded::default() };
        assert_eq!(reloaded.status(), "generation 3, 12 routes");
        let wrong = Located { file: "p.toml".into(), line: 4, column: 1, path: "routes.a".into(), text: "no".into() };
        reloaded.errors.push(wrong);
        let expected = "generation 3, 12 routes; the last reload was refused (1 problem): p.toml:4:1: routes.a: no";
        assert_eq!(reloaded.status(), expected);
    }
}
