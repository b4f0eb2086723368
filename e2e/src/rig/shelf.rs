//! The kit's example operator with a kind of cluster scope, and a directory as its outside system.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Rig;
use super::directory::{Directory, GONE};
use crate::install::{Kind, Manifests, Plane, Scope, Subject};
use crate::operator::Launch;
use crate::site::{PATIENCE, Site};

/// The example operator and its directory.
pub struct ShelfRig {
    site: Site,
    shelves: Directory,
}

impl ShelfRig {
    /// Applies a shelf and waits until its file is written.
    async fn write(&self, name: &str, titles: &[&str]) -> Result<()> {
        self.site.apply(None, &shelf(name, titles)).await?;
        self.site.ready_within(name, PATIENCE, |_| true).await?;
        Ok(())
    }
}

/// Returns a shelf.
fn shelf(name: &str, titles: &[&str]) -> Value {
    json!({
        "apiVersion": "example.com/v1",
        "kind": "Shelf",
        "metadata": { "name": name },
        "spec": { "titles": titles, "notes": { "Emma": "lent" }, "order": "ByTitle" },
    })
}

impl Rig for ShelfRig {
    const SUBJECT: Subject = Subject {
        name: "shelf-operator",
        group: "example.com",
        kinds: &[Kind {
            kind: "Shelf",
            plural: "shelves",
            version: "v1",
            by_users: true,
            scope: Scope::Cluster,
        }],
        namespace: "shelf-operator-system",
        manifests: Manifests::Printed,
        all_controllers: false,
        has_fixed_names: false,
        docs: &["docs/operator-kit.md"],
    };
    const STEPS: &'static [&'static str] = &["create", "change", "delete"];
    const FAULTS: &'static [&'static str] = &[GONE];
    // Its faults and decisions are those of `PageRig`; only the scope differs.
    const SAMPLE: usize = 12;
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) = ("example.com", "shelves", "patch");

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        let site = Site::new(&Self::SUBJECT, plane).await?;
        let shelves = Directory::create(&site)?;
        Ok(Self { site, shelves })
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        self.site.base_launch().env("SHELVES", self.shelves.path())
    }

    async fn play(&self, step: &str) -> Result<()> {
        match step {
            "create" => {
                for name in ["one", "two"] {
                    self.write(name, &["Persuasion", "Emma"]).await?;
                }
            }
            "change" => self.write("one", &["Emma"]).await?,
            "delete" => {
                for name in ["one", "two"] {
                    self.site.remove(name).await?;
                }
            }
            other => bail!("unknown step {other}"),
        }
        Ok(())
    }

    /// Also makes the operator publish an event, and repeat it.
    async fn exercise(&self) -> Result<()> {
        self.play("create").await?;
        for titles in [&["Evelina"], &["Belinda"], &["Camilla"]] {
            self.inject(GONE).await?;
            self.write("one", titles).await?;
        }
        self.play("delete").await
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        Ok([("texts".to_owned(), self.shelves.texts()?.into())].into())
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        self.shelves.inject(fault)
    }

    async fn has_fired(&self, _: &str) -> Result<bool> {
        Ok(self.shelves.reports() > 0)
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn samples() -> Vec<Value> {
        vec![shelf("one", &["Persuasion", "Emma"])]
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        let mut titles = object["spec"]["titles"].as_array().cloned().unwrap_or_default();
        if object["spec"]["order"] == "ByTitle" {
            titles.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        }
        let wanted = json!({ "titles": titles, "notes": object["spec"]["notes"] });
        let text = self.shelves.text_of(object)?.unwrap_or_default();
        let has = serde_json::from_str::<Value>(&text).ok();
        Ok((has.as_ref() != Some(&wanted)).then(|| format!("the file has {text:?} instead of {wanted}")))
    }
}
