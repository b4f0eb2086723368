//! The checks `deny` and `advisories`, which run cargo-deny. Owns its version and installation; deny.toml has the rules.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::{cache_root, project_root};

use crate::checks::{cargo, run_command};
use crate::report::Outcome;

const VERSION: &str = "0.20.2";
/// The time limit for fetching the advisory database, for a network that drops packets.
const FETCH: Duration = Duration::from_mins(1);

/// Checks bans, licences and sources of the dependencies.
pub(crate) fn check() -> Result<Outcome> {
    let mut command = Command::new(program()?);
    command.current_dir(project_root()?).args(["check", "bans", "licenses", "sources"]);
    run_command(&mut command)?;
    Ok(Outcome::Passed)
}

/// Checks the advisories; skipped if their database, a git repository, cannot be fetched.
pub(crate) fn advisories() -> Result<Outcome> {
    let program = program()?;
    let root = project_root()?;
    let mut fetch = Command::new(&program);
    fetch.current_dir(&root).args(["fetch", "db"]).stdin(Stdio::null());
    if !run_within(&mut fetch, FETCH)? {
        return Ok(Outcome::Skipped("the advisory database cannot be fetched".to_owned()));
    }
    let mut command = Command::new(&program);
    command.current_dir(&root).args(["check", "--disable-fetch", "advisories"]);
    run_command(&mut command)?;
    Ok(Outcome::Passed)
}

/// Returns the path of cargo-deny: from the PATH, or from the cache, into which it is installed if necessary.
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
        println!("installing cargo-deny {VERSION} into {}; this takes minutes, once", root.display());
        let mut install = cargo()?;
        install
            .args(["install", "cargo-deny", "--locked", "--force", "--version", VERSION, "--root"])
            .arg(&root)
            // In a temporary target directory, which cargo removes.
            .env_remove("CARGO_TARGET_DIR");
        run_command(&mut install).context("cannot install cargo-deny")?;
    }
    Ok(program)
}

/// Runs a command and kills it after `time`. Returns whether it succeeded in time.
fn run_within(command: &mut Command, time: Duration) -> Result<bool> {
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
