//! What users meet is documented: flags, variables, reasons, metrics.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use kube::api::{DynamicObject, ListParams};
use kube::runtime::watcher::Event;
use serde_json::Value;
use testbed::{eventually, project_root};
use tokio::task::JoinSet;

use crate::follow::follow;
use crate::install::Subject;
use crate::operator::{OperatorProcess, binary};
use crate::rig::Rig;
use crate::site::{PATIENCE, Site};

/// Checks that the operator's pages name each flag and variable of `--help`, each reason that conditions and events had while
/// it worked, and each metric; and that the metrics have the names and types that Prometheus recommends.
pub(super) async fn is_documented<R: Rig>(
    rig: &R,
    operator: &OperatorProcess,
    reasons: &Reasons,
) -> Result<()> {
    let docs = docs(&R::SUBJECT)?;
    let (_, metrics) = operator.get("/metrics").await?;

    let help = Command::new(binary(R::SUBJECT.name)?).arg("--help").output()?;
    let undocumented: Vec<String> = settings(&String::from_utf8(help.stdout)?)
        .into_iter()
        .chain(reasons.so_far::<R>(rig.site()).await?)
        .chain(of_events::<R>(rig.site()).await?)
        .chain(lint(&metrics)?)
        .filter(|name| !docs.contains(name.as_str()))
        .collect();
    ensure!(undocumented.is_empty(), "{:?} do not name {undocumented:?}", R::SUBJECT.docs);
    Ok(())
}

/// Returns the text of the operator's pages.
pub(crate) fn docs(subject: &Subject) -> Result<String> {
    let root = project_root()?;
    let mut text = String::new();
    for page in subject.docs {
        read(&root.join(page), &mut text).with_context(|| format!("cannot read {page}"))?;
    }
    Ok(text)
}

fn read(path: &Path, text: &mut String) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            read(&entry?.path(), text)?;
        }
    } else {
        text.push_str(&fs::read_to_string(path)?);
    }
    Ok(())
}

/// Returns the flags and variables in the output of `--help`, but those of clap.
fn settings(help: &str) -> BTreeSet<String> {
    let words =
        help.split(|c: char| c.is_whitespace() || matches!(c, '[' | ']' | '=' | ',' | '`' | '"' | '\''));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let flags = words.iter().filter(|word| word.starts_with("--") && word.len() > 2);
    let flags = flags.map(|flag| flag.trim_end_matches(['.', ':', ';', ')']));
    let variables =
        words.windows(2).filter(|pair| pair.first() == Some(&"env:")).filter_map(|pair| pair.last().copied());
    let all = flags.chain(variables).filter(|name| !matches!(*name, "--help" | "--version"));
    all.map(str::to_owned).collect()
}

/// The reasons that conditions of the operator's objects have had, also of those that are gone: most reasons are of objects on their
/// way. Collects until it is dropped.
pub(super) struct Reasons {
    seen: Arc<Mutex<BTreeSet<String>>>,
    _following: JoinSet<()>,
}

impl Reasons {
    pub(super) fn start(site: &Site, subject: &Subject) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let notes = Arc::clone(&seen);
        let following = follow(site, subject, move |_, event| {
            if let Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) = event {
                notes.lock().unwrap_or_else(PoisonError::into_inner).extend(of_conditions(&object));
            }
        });
        Self { seen, _following: following }
    }

    /// Returns the reasons so far, with those of the objects that exist.
    async fn so_far<R: Rig>(&self, site: &Site) -> Result<BTreeSet<String>> {
        eventually("the watches have shown each reason that an object has", PATIENCE, async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            ensure!(!seen.is_empty(), "no object of {} has had a condition", R::SUBJECT.name);
            for kind in R::SUBJECT.kinds {
                for object in site.api(kind.kind).list(&ListParams::default()).await? {
                    let missing: Vec<_> =
                        of_conditions(&object).filter(|reason| !seen.contains(reason)).collect();
                    ensure!(missing.is_empty(), "missing: {missing:?}");
                }
            }
            Ok(Some(seen))
        })
        .await
    }
}

/// Returns the reasons in the conditions of an object.
fn of_conditions(object: &DynamicObject) -> impl Iterator<Item = String> {
    let conditions = object.data["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter_map(|condition| condition["reason"].as_str()).map(str::to_owned)
}

/// Returns the reasons in the operator's events.
async fn of_events<R: Rig>(site: &Site) -> Result<BTreeSet<String>> {
    let events: Value = serde_json::from_str(&site.kubectl(&["get", "events", "-o", "json"]).await?)?;
    let events = events["items"].as_array().cloned().unwrap_or_default();
    // Others publish events as well, such as Cluster API.
    let own = events.iter().filter(|event| event["reportingComponent"] == R::SUBJECT.name);
    let own: BTreeSet<_> = own.filter_map(|event| event["reason"].as_str()).map(str::to_owned).collect();
    ensure!(!own.is_empty(), "{} publishes no events", R::SUBJECT.name);
    Ok(own)
}

/// Returns the names of the metrics. Fails if one breaks the conventions of Prometheus.
fn lint(metrics: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').context("a type without a metric")?;
        let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        ensure!(is_plain, "the metric {name} has characters other than a-z, 0-9 and _");
        ensure!(
            (kind == "counter") == name.ends_with("_total"),
            "{name} is a {kind}: counters, and only they, end in _total"
        );
        let help = format!("# HELP {name} ");
        ensure!(
            metrics.lines().any(|line| line.len() > help.len() && line.starts_with(&help)),
            "{name} has no help"
        );
        if kind == "histogram" {
            ensure!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name} names no base unit");
        }
        names.insert(name.to_owned());
    }
    ensure!(!names.is_empty(), "there are no metrics");
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_variables_are_read_from_the_help() {
        let help = "Options:\n  --max-clones <N>\n     Clones at a time; see `--kind=x` [env: MAX_CLONES=] [default: 8]\n -h, --help";
        assert_eq!(settings(help), ["--kind", "--max-clones", "MAX_CLONES"].map(str::to_owned).into());
    }

    #[test]
    fn a_metric_with_a_wrong_name_is_refused() {
        let metric = |name: &str, kind: &str| format!("# HELP {name} Text\n# TYPE {name} {kind}\n{name} 1\n");
        assert_eq!(lint(&metric("a_total", "counter")).unwrap(), ["a_total".to_owned()].into());
        for (name, kind) in [("a", "counter"), ("a_total", "gauge"), ("aB", "gauge"), ("a", "histogram")] {
            assert!(lint(&metric(name, kind)).is_err(), "{name} {kind}");
        }
        assert!(lint("# TYPE a gauge\n").is_err(), "without help");
    }
}
