//! cargo-deny: which version, where it comes from, and what it is asked. deny.toml says what it demands.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::{cache_root, project_root};

use crate::checks::{cargo, succeed};
use crate::report::Outcome;

const VERSION: &str = "0.20.2";
/// A host that drops packets must not hold up the other checks.
const FETCH: Duration = Duration::from_mins(1);

/// Everything that can be told from Cargo.lock and the crates themselves.
pub(crate) fn check() -> Result<Outcome> {
    let mut command = Command::new(program()?);
    command.current_dir(project_root()?).args(["check", "bans", "licenses", "sources"]);
    succeed(&mut command)?;
    Ok(Outcome::Passed)
}

/// What the advisory database says. It lives in a git repository, which not every network reaches.
pub(crate) fn advisories() -> Result<Outcome> {
    let program = program()?;
    let root = project_root()?;
    let mut fetch = Command::new(&program);
    fetch.current_dir(&root).args(["fetch", "db"]).stdin(Stdio::null());
    if !succeed_within(&mut fetch, FETCH)? {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched from here".to_owned()));
    }
    let mut command = Command::new(&program);
    command.current_dir(&root).args(["check", "--disable-fetch", "advisories"]);
    succeed(&mut command)?;
    Ok(Outcome::Passed)
}

/// cargo-deny from the PATH, or from the cache, where it is installed once.
fn program() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|dir| dir.join("cargo-deny")).find(|file| file.is_file())
    {
        return Ok(found);
    }
    let root = cache_root()?.join("cargo-tools");
    let program = root.join("bin/cargo-deny");
    let is_current = Command::new(&program)
        .arg("--version")
        .output()
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(VERSION));
    if !is_current {
        println!("installing cargo-deny {VERSION} into {}, once; minutes on 2 cores", root.display());
        let mut install = cargo()?;
        install
            .args(["install", "cargo-deny", "--locked", "--force", "--version", VERSION, "--root"])
            .arg(&root)
            // A build directory of its own, removed afterwards.
            .env_remove("CARGO_TARGET_DIR");
        succeed(&mut install).context("cannot install cargo-deny")?;
    }
    Ok(program)
}

fn succeed_within(command: &mut Command, time: Duration) -> Result<bool> {
    let end = Instant::now() + time;
    let mut child = command.spawn().context("cannot run cargo-deny")?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
}
