//! The kit's example operator: the smallest rig, with a directory as its outside system.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::directory::{Directory, GONE};
use super::{Found, Rig};
use crate::install::{Kind, Manifests, Plane, Scope, Subject};
use crate::operator::Launch;
use crate::site::{PATIENCE, Site};

/// The example operator and its directory.
pub struct PageRig {
    site: Site,
    pages: Directory,
}

impl PageRig {
    /// Applies a page and waits until its file has the text.
    async fn write(&self, name: &str, text: &str) -> Result<()> {
        self.site.apply(None, &page(name, text)).await?;
        self.site.ready_within(name, PATIENCE, |_| true).await?;
        Ok(())
    }
}

/// Returns a page.
fn page(name: &str, text: &str) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Page", "metadata": { "name": name }, "spec": { "text": text } })
}

impl Rig for PageRig {
    const SUBJECT: Subject = Subject {
        name: "page-operator",
        group: "example.com",
        kinds: &[Kind {
            kind: "Page",
            plural: "pages",
            version: "v1",
            by_users: true,
            scope: Scope::Namespaced,
        }],
        namespace: "page-operator-system",
        manifests: Manifests::Printed,
        all_controllers: false,
        has_fixed_names: false,
        docs: &["docs/operator-kit.md"],
    };
    const STEPS: &'static [&'static str] = &["create", "change", "delete"];
    const FAULTS: &'static [&'static str] = &[GONE];
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) = ("example.com", "pages", "patch");
    const FOUND: &'static [Found] = &[
        Found {
            what: "the driver took every 409 for the end of the object, and wrote the status at the object's next change only",
            runs: &["status-409@apply/pages.status/one#2"],
        },
        Found {
            what: "after a restart with an old list, a file was written for a page that had been deleted, and stayed",
            runs: &["older-list-16@patch/pages/two#2"],
        },
        Found {
            what: "a page was let go while its directory was away, and its file stayed",
            runs: &["outside:directory-gone@delete"],
        },
    ];

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        let site = Site::new(&Self::SUBJECT, plane).await?;
        let pages = Directory::create(&site)?;
        Ok(Self { site, pages })
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        self.site.base_launch().env("PAGES", self.pages.path())
    }

    async fn play(&self, step: &str) -> Result<()> {
        match step {
            "create" => {
                for (name, text) in [("one", "first"), ("two", "second")] {
                    self.write(name, text).await?;
                }
            }
            "change" => self.write("one", "third").await?,
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
        for text in ["third", "fourth", "fifth"] {
            self.inject(GONE).await?;
            self.write("one", text).await?;
        }
        self.play("delete").await
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        Ok([("texts".to_owned(), self.pages.texts()?.into())].into())
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        self.pages.inject(fault)
    }

    async fn has_fired(&self, _: &str) -> Result<bool> {
        Ok(self.pages.reports() > 0)
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn samples() -> Vec<Value> {
        vec![page("one", "first")]
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        let text = self.pages.text_of(object)?;
        let wanted = object["spec"]["text"].as_str();
        Ok((text.as_deref() != wanted).then(|| format!("the file has {text:?} instead of {wanted:?}")))
    }
}
