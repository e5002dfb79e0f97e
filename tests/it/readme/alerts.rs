//! Rules for Prometheus: their form, and metrics that exist.

use super::tables::{metrics_in, metrics_of_the_source};

/// Every rule has an expression about metrics that the gateway has.
pub(super) fn check(text: &str) -> Result<(), String> {
    let rules: Vec<&str> = text.split("- alert: ").skip(1).collect();
    if rules.is_empty() {
        return Err("there is no rule".into());
    }
    let known = metrics_of_the_source();
    for rule in rules {
        let name = rule.split_whitespace().next().unwrap_or_default();
        let expression = rule.lines().find_map(|line| line.strip_prefix("  expr: "));
        let expression = expression.ok_or_else(|| format!("{name} has no `expr`"))?;
        let is_balanced = [('(', ')'), ('[', ']'), ('{', '}')]
            .iter()
            .all(|(open, close)| expression.matches(*open).count() == expression.matches(*close).count());
        if !is_balanced {
            return Err(format!("{name}: brackets do not match"));
        }
        let metrics = metrics_in(expression);
        if metrics.is_empty() {
            return Err(format!("{name} asks for no metric"));
        }
        if let Some(unknown) = metrics.iter().find(|metric| !known.contains(*metric)) {
            return Err(format!("{name}: there is no metric `{unknown}`"));
        }
        let keys = rule.lines().skip(1).filter(|line| !line.trim().is_empty());
        for line in keys {
            if !["  expr: ", "  for: "].iter().any(|key| line.starts_with(key)) {
                return Err(format!("{name}: `{line}`"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_rule_about_a_metric_that_does_not_exist_is_wrong() {
    assert_eq!(check("- alert: A\n  expr: portcullis_connections > 9\n  for: 1m\n"), Ok(()));
    for wrong in [
        "- alert: A\n",
        "- alert: A\n  expr: portcullis_conections > 9\n",
        "- alert: A\n  expr: rate(portcullis_connections[5m] > 9\n",
        "- alert: A\n  expr: portcullis_connections > 9\n  fro: 1m\n",
    ] {
        assert!(check(wrong).is_err(), "{wrong}");
    }
}
