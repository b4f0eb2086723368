//! A directory that stands for an outside system: what the kit's example operators write to.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::site::{PATIENCE, Site};

/// The fault that [`Directory::inject`] injects.
pub(super) const GONE: &str = "directory-gone";

/// A directory with a file for each object.
pub(super) struct Directory {
    path: PathBuf,
    log: PathBuf,
}

impl Directory {
    /// Creates the directory of a rig.
    pub(super) fn create(site: &Site) -> Result<Self> {
        let path = site.directory().join("files");
        fs::create_dir(&path)?;
        Ok(Self { path, log: site.log_path() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the text of each file, sorted: the names are UIDs.
    pub(super) fn texts(&self) -> Result<Vec<String>> {
        let files = fs::read_dir(&self.path)?;
        let mut texts =
            files.map(|file| Ok(fs::read_to_string(file?.path())?)).collect::<Result<Vec<_>>>()?;
        texts.sort();
        Ok(texts)
    }

    /// Returns the text of the file of an object.
    pub(super) fn text_of(&self, object: &Value) -> Result<Option<String>> {
        let uid = object["metadata"]["uid"].as_str().context("no uid")?;
        Ok(fs::read_to_string(self.path.join(format!("{uid}.txt"))).ok())
    }

    /// Moves the directory away until the operator has reported that.
    pub(super) fn inject(&self, fault: &str) -> Result<()> {
        let away = self.path.with_extension("away");
        fs::rename(&self.path, &away).with_context(|| format!("cannot inject {fault}"))?;
        let (path, log) = (self.path.clone(), self.log.clone());
        let before = self.reports();
        thread::spawn(move || {
            let end = Instant::now() + PATIENCE;
            while reports(&log) == before && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            fs::rename(&away, &path)
        });
        Ok(())
    }

    /// Returns how often the operator has reported that its directory does not exist.
    pub(super) fn reports(&self) -> usize {
        reports(&self.log)
    }
}

fn reports(log: &Path) -> usize {
    fs::read_to_string(log).unwrap_or_default().matches("DirectoryNotWritable").count()
}
