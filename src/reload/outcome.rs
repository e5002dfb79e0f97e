use crate::{
    config::{Located, problem::counted},
    snapshot::{Changes, Snapshot},
};

/// What came of a reload.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Reloaded {
    /// The generation that serves now.
    pub generation: u64,
    /// How many routes it has.
    pub routes: usize,
    /// What is different, where it was taken.
    pub changes: Option<Changes>,
    /// What is wrong, where it was not.
    pub errors: Vec<Located>,
    /// What is hardly meant, where it was taken.
    pub warnings: Vec<Located>,
    /// Secrets that a reload does not read again, each in words. A gateway before an upgrade does not tell.
    #[serde(default)]
    pub not_reread: Vec<String>,
}

impl Reloaded {
    /// What `systemctl status` shows.
    pub fn status(&self) -> String {
        let serving = format!("generation {}, {}", self.generation, counted(self.routes, "route", "routes"));
        let problems = counted(self.errors.len(), "problem", "problems");
        match self.errors.as_slice() {
            [] => serving,
            [first, ..] => format!("{serving}; the last reload was refused ({problems}): {first}"),
        }
    }

    /// Nothing was done, and nothing had to be.
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
