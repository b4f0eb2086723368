//! A directory for one server's files: configuration, keys, logs.
//!
//! Removed with its owner, unless the test is failing: then its path is printed, because its logs are
//! what one wants to read next.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use std::{env, fs, thread};

use anyhow::{Context, Result};

/// Directories of killed or failed tests are removed after this long, by the next test that starts.
const KEPT: Duration = Duration::from_hours(24);

/// A directory under `$TMPDIR/infra-operators-testbed/`, readable by its owner only.
///
/// On drop it is removed, unless the thread is panicking or `INFRA_TESTBED_KEEP=1`.
#[derive(Debug)]
pub struct Workdir {
    path: PathBuf,
    name: String,
}

impl Workdir {
    /// Makes a new one; `name` starts the directory's name.
    ///
    /// # Errors
    /// If the temporary directory cannot be written.
    pub fn new(name: &str) -> Result<Self> {
        let parent = env::temp_dir().join("infra-operators-testbed");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        sweep(&parent);
        let path = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a directory in {}", parent.display()))?
            .keep();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { path, name: name.unwrap_or_default() })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path outside of the directory for files that are written often: in memory where there is a memory
    /// disk. The caller creates and removes it.
    pub(crate) fn memory_path(&self, kind: &str) -> PathBuf {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        parent.join(format!("infra-operators-{kind}-{}", self.name))
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
            // What cannot be removed now is swept tomorrow.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes what tests that were killed or failed have left, once nobody will look at it any more.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
