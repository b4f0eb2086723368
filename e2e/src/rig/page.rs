//! The kit's example operator: the smallest rig, with a directory as its outside system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Rig;
use crate::install::{Kind, Manifests, Plane, Subject};
use crate::operator::Launch;
use crate::site::{PATIENCE, Site};

/// The example operator and its directory.
pub struct PageRig {
    site: Site,
    pages: PathBuf,
}

impl PageRig {
    async fn new(plane: Arc<Plane>, is_shared: bool) -> Result<Self> {
        let site = Site::new(&Self::SUBJECT, plane, is_shared).await?;
        let pages = site.directory().join("pages");
        fs::create_dir(&pages)?;
        Ok(Self { site, pages })
    }

    /// Applies a page and waits until its file has the text.
    async fn write(&self, name: &str, text: &str) -> Result<()> {
        self.site.apply(None, &page(name, text)).await?;
        self.site.ready_within(name, PATIENCE, |_| true).await?;
        Ok(())
    }

    /// Returns the text of each file.
    fn texts(&self) -> Result<Vec<String>> {
        let files = fs::read_dir(&self.pages)?;
        files.map(|file| Ok(fs::read_to_string(file?.path())?)).collect()
    }
}

/// Returns how often the operator has reported that its directory does not exist.
fn reports(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().matches("DirectoryNotWritable").count()
}

/// Returns a page.
fn page(name: &str, text: &str) -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Page", "metadata": { "name": name }, "spec": { "text": text } })
}

impl Rig for PageRig {
    const SUBJECT: Subject = Subject {
        name: "page-operator",
        group: "example.com",
        version: "v1",
        kinds: &[Kind { kind: "Page", plural: "pages", by_users: true }],
        namespace: "page-operator-system",
        manifests: Manifests::Printed,
        docs: &["docs/operator-kit.md"],
    };
    const STEPS: &'static [&'static str] = &["create", "change", "delete"];
    const FAULTS: &'static [&'static str] = &["directory-gone"];
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) = ("example.com", "pages", "patch");

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        Self::new(plane, true).await
    }

    async fn start_alone(plane: Plane) -> Result<Self> {
        Self::new(Arc::new(plane), false).await
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        self.site.launch().env("PAGES", self.pages.as_path())
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
                    self.site.delete(name).await?;
                    self.site.gone(name).await?;
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
            self.inject("directory-gone").await?;
            self.write("one", text).await?;
        }
        self.play("delete").await
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        let mut texts = self.texts()?;
        texts.sort();
        Ok([("texts".to_owned(), texts.into())].into())
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        let away = self.pages.with_extension("away");
        fs::rename(&self.pages, &away).with_context(|| format!("cannot inject {fault}"))?;
        let (pages, log) = (self.pages.clone(), self.site.log_path());
        let before = reports(&log);
        thread::spawn(move || {
            let end = Instant::now() + PATIENCE;
            while reports(&log) == before && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            fs::rename(&away, &pages)
        });
        Ok(())
    }

    async fn has_fired(&self, _: &str) -> Result<bool> {
        Ok(reports(&self.site.log_path()) > 0)
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    fn samples(&self) -> Vec<Value> {
        vec![page("one", "first")]
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        let uid = object["metadata"]["uid"].as_str().context("no uid")?;
        let text = fs::read_to_string(self.pages.join(format!("{uid}.txt"))).ok();
        let wanted = object["spec"]["text"].as_str();
        Ok((text.as_deref() != wanted).then(|| format!("the file has {text:?} instead of {wanted:?}")))
    }
}
