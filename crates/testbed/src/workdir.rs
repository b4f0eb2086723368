//! A directory for a server's files: configuration, keys, logs.
//!
//! It is removed with its owner unless the test fails; then its path is printed, for the logs in it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs, thread};

use anyhow::{Context, Result};

/// The age at which directories of killed or failed tests are removed, by the next test that starts.
const MAX_AGE: Duration = Duration::from_hours(24);

/// A directory under `$TMPDIR/infra-operators-testbed/`, readable by its owner only.
///
/// On drop it is removed, unless the thread is panicking or `INFRA_TESTBED_KEEP=1`.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    name: String,
}

impl Workdir {
    /// Creates a directory whose name starts with `name`.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        let parent = env::temp_dir().join("infra-operators-testbed");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        remove_old(&parent);
        let path = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in {}", parent.display()))?
            .keep();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { path, name: name.unwrap_or_default() })
    }

    /// Returns the path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's unique name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if thread::panicking() || env::var_os("INFRA_TESTBED_KEEP").is_some_and(|keep| keep == "1") {
            eprintln!("testbed: kept {}", self.path.display());
        } else {
            // A directory that cannot be removed now is removed later as an old one.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes old directories of tests that were killed or failed.
fn remove_old(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age > MAX_AGE) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
