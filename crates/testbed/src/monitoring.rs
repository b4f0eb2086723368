//! The alerts, the dashboard and the page of an operator's metrics: an alert on a metric or a reason that does not exist never fires.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

/// The files of one operator.
pub struct Monitoring {
    alerts: Vec<Rule>,
    dashboard: Value,
    /// The first two cells of each row of the page's tables, whose first cell is a name in backticks.
    rows: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct PrometheusRule {
    spec: Groups,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    r#for: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Monitoring {
    /// Reads a `PrometheusRule`, a dashboard of Grafana, and a page in Markdown.
    ///
    /// # Errors
    /// If one of them does not parse.
    pub fn read(alerts: &str, dashboard: &str, page: &str) -> Result<Self> {
        let rule: PrometheusRule = serde_saphyr::from_str(alerts).context("alerts")?;
        let alerts = rule.spec.groups.into_iter().flat_map(|group| group.rules).collect();
        let dashboard = serde_json::from_str(dashboard).context("dashboard")?;
        let row = |line: &str| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name.to_owned(), rest.split_once(" |")?.0.to_owned()))
        };
        Ok(Self { alerts, dashboard, rows: page.lines().filter_map(row).collect() })
    }

    /// Returns what is wrong with the expressions: metrics that the page does not list, of the words with one of these parts, and labels that
    /// are compared with a value that is none of the known.
    #[must_use]
    pub fn unknown(&self, parts: &[&str], known: &[(&str, BTreeSet<&str>)]) -> Vec<String> {
        let mut problems = Vec::new();
        for expression in self.expressions() {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let is_metric = |word: &&str| parts.iter().any(|part| word.contains(part));
            let metrics: Vec<_> =
                words.filter(is_metric).map(|word| word.trim_end_matches("_bucket")).collect();
            if metrics.is_empty() {
                problems.push(format!("no metric in {expression}"));
            }
            let unlisted = metrics.into_iter().filter(|metric| !self.rows.contains_key(*metric));
            problems.extend(unlisted.map(|metric| format!("{metric} of {expression} is not on the page")));
            for (label, known) in known {
                let others = values(&expression, label).into_iter().filter(|value| !known.contains(value));
                problems.extend(others.map(|value| format!("no {label} {value}: {expression}")));
            }
        }
        problems
    }

    /// Returns what is wrong with the alerts, whose names begin with this: one that the page does not list with its `for`, or that does not
    /// say how bad it is and what to do; and panels without a title.
    #[must_use]
    pub fn unexplained(&self, prefix: &str) -> Vec<String> {
        let mut problems = Vec::new();
        for Rule { alert, r#for, labels, annotations, .. } in &self.alerts {
            let is_listed = alert.starts_with(prefix) && self.rows.get(alert) == Some(r#for);
            let text = |name: &str| annotations.get(name).map(String::as_str).unwrap_or_default();
            let is_graded =
                labels.get("severity").is_some_and(|how| ["critical", "warning"].contains(&&**how));
            let is_explained = !text("summary").is_empty() && text("description").ends_with('.');
            if !(is_listed && is_graded && is_explained) {
                problems.push(alert.clone());
            }
        }
        let named = |name: &&String| self.alerts.iter().any(|rule| rule.alert == **name);
        let listed = self.rows.keys().filter(|name| name.starts_with(prefix));
        problems.extend(listed.filter(|name| !named(name)).map(|name| format!("{name} is no alert")));
        let untitled = self.panels().filter(|panel| panel["title"].as_str().is_none_or(str::is_empty));
        problems.extend(untitled.map(|panel| format!("no title: {panel}")));
        let is_empty = |panel: &&Value| panel["targets"].as_array().is_none_or(Vec::is_empty);
        problems.extend(self.panels().filter(is_empty).map(|panel| format!("no targets: {panel}")));
        if self.panels().next().is_none() {
            problems.push("no panels".to_owned());
        }
        problems
    }

    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.dashboard["panels"].as_array().into_iter().flatten()
    }

    fn expressions(&self) -> Vec<String> {
        let targets = self.panels().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
        let targets = targets.map(|target| target["expr"].as_str().unwrap_or_default().to_owned());
        self.alerts.iter().map(|alert| alert.expr.clone()).chain(targets).collect()
    }
}

/// Returns what an expression compares a label with.
fn values<'a>(expression: &'a str, label: &str) -> Vec<&'a str> {
    let matches = expression.split(['{', ',']).filter_map(|part| {
        let rest = part.trim_start().strip_prefix(label)?.trim_start_matches(['=', '!', '~']);
        rest.strip_prefix('"')?.split_once('"').map(|(values, _)| values)
    });
    matches.flat_map(|values| values.split('|')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALERTS: &str = r#"
spec:
  groups:
    - rules:
        - alert: PageDown
          expr: page_up{state="off|gone"} == 0
          for: 5m
          labels: {severity: warning}
          annotations: {summary: "It is down", description: "Start it."}
"#;
    const PAGE: &str = "| `page_up` | gauge |\n| `PageDown` | 5m | it is down |";

    fn monitoring(alerts: &str, expression: &str, page: &str) -> Monitoring {
        let panel = serde_json::json!({ "title": "Up", "targets": [{ "expr": expression }] });
        let dashboard = serde_json::json!({ "panels": [panel] }).to_string();
        Monitoring::read(alerts, &dashboard, page).unwrap()
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let states: [(&str, BTreeSet<&str>); 1] = [("state", ["off", "gone"].into())];
        let problems = |monitoring: &Monitoring| monitoring.unknown(&["page_"], &states);
        assert_eq!(problems(&monitoring(ALERTS, "page_up", PAGE)), [""; 0]);
        assert_eq!(
            problems(&monitoring(ALERTS, "page_down", PAGE)),
            ["page_down of page_down is not on the page"]
        );
        assert_eq!(problems(&monitoring(ALERTS, "up", PAGE)), ["no metric in up"]);
        let fewer = [("state", ["off"].into())];
        assert_eq!(
            monitoring(ALERTS, "page_up", PAGE).unknown(&["page_"], &fewer),
            [r#"no state gone: page_up{state="off|gone"} == 0"#]
        );
    }

    #[test]
    fn alerts_say_what_to_do_and_are_on_the_page() {
        let problems = |alerts: &str, page: &str| monitoring(alerts, "page_up", page).unexplained("Page");
        assert_eq!(problems(ALERTS, PAGE), [""; 0]);
        assert_eq!(problems(ALERTS, &PAGE.replace("5m", "6m")), ["PageDown"]);
        assert_eq!(problems(&ALERTS.replace("warning", "high"), PAGE), ["PageDown"]);
        assert_eq!(problems(&ALERTS.replace("Start it.", ""), PAGE), ["PageDown"]);
        let more = format!("{PAGE}\n| `PageLost` | 5m | it is lost |");
        assert_eq!(problems(ALERTS, &more), ["PageLost is no alert"]);
    }
}
