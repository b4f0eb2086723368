//! The checks `deny` and `advisories`, which run cargo-deny. Owns its version; deny.toml has the rules.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::project_root;

use crate::cargo_tools::program;
use crate::checks::run_command;
use crate::report::Outcome;

const VERSION: &str = "0.20.2";
/// The time limit for fetching the advisory database, for a network that drops packets.
const FETCH: Duration = Duration::from_mins(1);

/// Checks bans, licences and sources of the dependencies.
pub(crate) fn check() -> Result<Outcome> {
    let mut command = Command::new(program("deny", VERSION)?);
    command.current_dir(project_root()?).args(["check", "bans", "licenses", "sources"]);
    run_command(&mut command)?;
    Ok(Outcome::Passed)
}

/// Checks the advisories; skipped if their database, a git repository, cannot be fetched.
pub(crate) fn advisories() -> Result<Outcome> {
    let program = program("deny", VERSION)?;
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
