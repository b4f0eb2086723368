//! The check `avisdk`: runs the Python suite in `crates/avi-simulator/tests/avisdk` against the AVI simulator.
//!
//! Owns a Python environment in the cache with exactly the pinned packages. Changes neither the Python of the machine nor
//! that of the user.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{CacheKey, cache_root, lock, project_root};

use crate::checks::{cargo, run_command};
use crate::report::Outcome;

/// The directory of the suite and its pins.
const SUITE: &str = "crates/avi-simulator/tests/avisdk";
/// The files of pinned packages, in the order of installation: the second needs the first for its build.
const PINS: &[&str] = &["build-requirements.txt", "requirements.txt"];
/// The pauses between tries to install, for a package index that is temporarily unreachable.
const PAUSES: &[Duration] = &[Duration::from_secs(10), Duration::from_secs(40)];
/// The oldest Python version of the pinned packages.
const OLDEST: (u32, u32) = (3, 9);
/// Prints the version and imports the modules that create an environment. Debian packages them separately.
const PROBE: &str = "import sys
print(sys.version_info[0], sys.version_info[1], sys.version_info[2], sys.executable)
import ensurepip, venv";

/// Runs the suite against the simulator, and against simulators with one broken rule each.
pub(crate) fn avisdk() -> Result<Outcome> {
    let python = match Python::find()? {
        Ok(python) => python,
        Err(missing) => return Ok(Outcome::Skipped(missing)),
    };
    let interpreter = environment(&python)?;
    let mut test = cargo()?;
    // With --workspace, as in `build`, so that nothing is compiled twice.
    test.args(["test", "--workspace", "--test", "avisdk", "--", "--ignored", "--show-output"])
        .env("AVISDK_PYTHON", interpreter);
    run_command(&mut test)?;
    Ok(Outcome::Passed)
}

/// The Python of the machine.
struct Python {
    /// `major minor micro path`.
    identity: String,
}

impl Python {
    /// Finds `python3` in the PATH, or returns the reason why it cannot be used.
    fn find() -> Result<Result<Python, String>> {
        let mut python = isolated("python3");
        let output = match python.args(["-c", PROBE]).stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err("python3 is not on the PATH".to_owned()));
            }
            Err(error) => return Err(error).context("cannot run python3"),
        };
        let identity = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        Ok(check_probe(&identity, output.status.success(), &stderr).map(|()| Python { identity }))
    }
}

/// Checks the output of [`PROBE`]. The error is the reason why this Python cannot be used.
fn check_probe(identity: &str, success: bool, stderr: &str) -> Result<(), String> {
    let mut words = identity.split(' ').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (words.next(), words.next()) else {
        return Err(format!(
            "python3 printed no version ({}); install Python {}.{} or newer",
            last_line(stderr),
            OLDEST.0,
            OLDEST.1
        ));
    };
    if (major, minor) < OLDEST {
        return Err(format!("python3 is {major}.{minor}; install {}.{} or newer", OLDEST.0, OLDEST.1));
    }
    if !success {
        // "ModuleNotFoundError: No module named 'ensurepip'"
        return Err(format!(
            "python3 cannot create an environment (on Debian: apt-get install python3-venv): {}",
            last_line(stderr)
        ));
    }
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

/// Returns the interpreter of the environment with the pinned packages, which is created if it does not exist.
fn environment(python: &Python) -> Result<PathBuf> {
    let suite = project_root()?.join(SUITE);
    let parent = cache_root()?.join("python");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let name = format!("avisdk-{}", environment_key(python, &suite)?);
    let directory = parent.join(&name);
    // An environment contains its own path, so it cannot be moved into place when complete; the marker is written last.
    let marker = directory.join("complete");
    let interpreter = directory.join("bin/python");

    let _lock = lock(&parent.join(format!("{name}.lock")), "installs avisdk")?;
    if marker.is_file() && is_usable(&interpreter) {
        return Ok(interpreter);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let started = Instant::now();
    eprintln!("installing avisdk into {}; this takes about ten seconds, once", directory.display());
    run_command(isolated("python3").args(["-m", "venv"]).arg(&directory))?;
    for pins in PINS {
        let mut pip = isolated(&interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
            // With the defaults pip gives up after 13 s.
            .args(["--retries", "8", "--timeout", "30"])
            // Only the pinned files; avisdk's source is built with the pinned setuptools.
            .args(["--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517", "--requirement"])
            .arg(suite.join(pins));
        let mut pauses = PAUSES.iter();
        while let Err(error) = run_command(&mut pip) {
            let Some(&pause) = pauses.next() else {
                return Err(error).with_context(|| {
                    format!("cannot install {SUITE}/{pins}; check that pip reaches PyPI or a mirror")
                });
            };
            eprintln!("  {pins}: failed, next try in {} s: {error:#}", pause.as_secs());
            thread::sleep(pause);
        }
        eprintln!("  {pins}: installed after {:.1} s", started.elapsed().as_secs_f64());
    }
    ensure!(
        is_usable(&interpreter),
        "avisdk was installed into {} but cannot be imported",
        directory.display()
    );
    File::create(&marker).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(interpreter)
}

/// Returns the key of the environment, which depends on the interpreter and the pins.
fn environment_key(python: &Python, suite: &Path) -> Result<CacheKey> {
    let mut key = CacheKey::default();
    key.add(python.identity.as_bytes());
    for pins in PINS {
        let path = suite.join(pins);
        key.add(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(key)
}

/// Returns whether the environment can be used. The interpreter on which it depends may have been removed.
fn is_usable(interpreter: &Path) -> bool {
    let mut import = isolated(interpreter);
    import.args(["-c", "import avi.sdk.avi_api"]).stdin(Stdio::null()).stdout(Stdio::null());
    import.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Returns a Python command that ignores `PYTHON…` variables, packages of the user, and the working directory.
fn isolated(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg("-I");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_must_be_new_enough_and_have_venv() {
        assert_eq!(check_probe("3 9 0 /usr/bin/python3", true, ""), Ok(()));
        assert!(check_probe("3 8 10 /usr/bin/python3", true, "").unwrap_err().contains("3.9 or newer"));
        let no_venv = "Traceback\nModuleNotFoundError: No module named 'ensurepip'\n";
        assert!(check_probe("3 12 1 /usr/bin/python3", false, no_venv).unwrap_err().contains("'ensurepip'"));
        assert!(check_probe("", false, "pyenv: no such version").unwrap_err().contains("no such version"));
    }
}
