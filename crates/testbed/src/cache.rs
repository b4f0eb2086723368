//! The cache that all checkouts and test processes of a machine share. Owns its location, the keys of its entries, and the
//! locks by which only one process creates an entry. Knows nothing about the contents.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the directory of the cache, which is outside of any checkout: `$INFRA_OPERATORS_CACHE`, else
/// `$XDG_CACHE_HOME/infra-operators`, else `~/.cache/infra-operators`.
///
/// # Errors
/// If none of the three variables is set.
pub fn cache_root() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("INFRA_OPERATORS_CACHE") {
        return Ok(path);
    }
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let base = base.context("set INFRA_OPERATORS_CACHE: neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("infra-operators"))
}

/// A key that changes with everything that was added to it; formats as 16 hexadecimal digits.
///
/// Uses FNV-1a: a cache key needs no cryptographic strength, but must be the same with every version of std.
#[derive(Debug, Clone)]
pub struct CacheKey(u64);

impl Default for CacheKey {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl CacheKey {
    /// Adds a part on which the entry depends. The same parts in the same order give the same key.
    pub fn add(&mut self, bytes: &[u8]) {
        // Hashes the length first: otherwise ("ab", "c") and ("a", "bc") would give the same key.
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Locks `file` until the handle is dropped; waits while another process holds the lock. `doing` is what that process does,
/// for the message on stderr: "waiting for another process that {doing}".
///
/// # Errors
/// If the file cannot be created or locked.
pub fn lock(file: &Path, doing: &str) -> Result<File> {
    // The kernel releases the lock with the file handle, also if the process is killed.
    let lock = File::create(file).with_context(|| format!("cannot create the lock {}", file.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another process that {doing}");
        lock.lock().with_context(|| format!("cannot lock {}", file.display()))?;
    }
    Ok(lock)
}
