//! avisdk's suite against the AVI simulator: a Python with avisdk in it, made once, and the test that runs it.
//!
//! Owns where that Python comes from: an environment under the cache, with exactly the pinned packages, so that
//! neither the machine's Python nor the user's is written to. What the suite asks is in
//! `crates/avi-simulator/tests/avisdk`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{CacheKey, cache_root, lock, project_root};

use crate::checks::{cargo, succeed};
use crate::report::Outcome;

/// Where the suite and its pins are.
const SUITE: &str = "crates/avi-simulator/tests/avisdk";
/// The pins, in the order of their installation: the second needs the first to be built.
const PINS: &[&str] = &["build-requirements.txt", "requirements.txt"];
/// Before each further try to install: an index may be out of reach for a while.
const PAUSES: &[Duration] = &[Duration::from_secs(10), Duration::from_secs(40)];
/// What the pinned packages run on.
const OLDEST: (u32, u32) = (3, 9);
/// What makes an environment, tried before one is begun: Debian ships Python without them.
const PROBE: &str = "import sys
print(sys.version_info[0], sys.version_info[1], sys.version_info[2], sys.executable)
import ensurepip, venv";

/// Runs the suite, as itself and against a simulator with a rule broken.
pub(crate) fn avisdk() -> Result<Outcome> {
    let python = match Python::find()? {
        Ok(python) => python,
        Err(missing) => return Ok(Outcome::Skipped(missing)),
    };
    let interpreter = environment(&python)?;
    let mut test = cargo()?;
    // Of the workspace, as in `build`: nothing is compiled a second time.
    test.args(["test", "--workspace", "--test", "avisdk", "--", "--ignored", "--show-output"])
        .env("AVISDK_PYTHON", interpreter);
    succeed(&mut test)?;
    Ok(Outcome::Passed)
}

/// The machine's Python.
struct Python {
    /// `major minor micro path`.
    identity: String,
}

impl Python {
    /// `python3` of the PATH, or why it cannot be used.
    fn find() -> Result<Result<Python, String>> {
        let mut python = isolated("python3");
        let output = match python.args(["-c", PROBE]).stdin(Stdio::null()).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err("there is no python3 on the PATH".to_owned()));
            }
            Err(error) => return Err(error).context("cannot run python3"),
        };
        let identity = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        Ok(judged(&identity, output.status.success(), &complaint).map(|()| Python { identity }))
    }
}

/// Whether the probe's answer is that of a Python we can use; if not, why.
fn judged(identity: &str, success: bool, complaint: &str) -> Result<(), String> {
    let mut words = identity.split(' ').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (words.next(), words.next()) else {
        return Err(format!("python3 does not tell its version: {}", last_line(complaint)));
    };
    if (major, minor) < OLDEST {
        return Err(format!("python3 is {major}.{minor}; {}.{} or newer is needed", OLDEST.0, OLDEST.1));
    }
    if !success {
        // "ModuleNotFoundError: No module named 'ensurepip'"
        return Err(format!(
            "python3 cannot make an environment (Debian: apt-get install python3-venv): {}",
            last_line(complaint)
        ));
    }
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

/// The interpreter of the environment with the pinned packages, which is made if it is not there.
fn environment(python: &Python) -> Result<PathBuf> {
    let suite = project_root()?.join(SUITE);
    let parent = cache_root()?.join("python");
    fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let name = format!("avisdk-{}", key(python, &suite)?);
    let directory = parent.join(&name);
    // Programs in an environment name its path: it is made where it stays, and the marker says that it is whole.
    let marker = directory.join("complete");
    let interpreter = directory.join("bin/python");

    let _lock = lock(&parent.join(format!("{name}.lock")), "installs avisdk")?;
    if marker.is_file() && works(&interpreter) {
        return Ok(interpreter);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    let started = Instant::now();
    eprintln!("installing avisdk into {}, once; some ten seconds", directory.display());
    succeed(isolated("python3").args(["-m", "venv"]).arg(&directory))?;
    for pins in PINS {
        let mut pip = isolated(&interpreter);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
            // Pip's own defaults give up within 13 s of a network that refuses.
            .args(["--retries", "8", "--timeout", "30"])
            // The files that the pins name and no others; avisdk's source is packaged by the pinned setuptools.
            .args(["--require-hashes", "--no-deps", "--no-build-isolation", "--use-pep517", "--requirement"])
            .arg(suite.join(pins));
        let mut pauses = PAUSES.iter();
        while let Err(error) = succeed(&mut pip) {
            let Some(&pause) = pauses.next() else {
                return Err(error)
                    .with_context(|| format!("cannot install {SUITE}/{pins}: is PyPI to be reached?"));
            };
            eprintln!("  {pins}: not installed, once more in {} s: {error:#}", pause.as_secs());
            thread::sleep(pause);
        }
        eprintln!("  {pins}: installed after {:.1} s", started.elapsed().as_secs_f64());
    }
    ensure!(works(&interpreter), "avisdk was installed into {} but cannot be imported", directory.display());
    File::create(&marker).with_context(|| format!("cannot write {}", marker.display()))?;
    Ok(interpreter)
}

/// Changes with the interpreter and the pins.
fn key(python: &Python, suite: &Path) -> Result<CacheKey> {
    let mut key = CacheKey::default();
    key.add(python.identity.as_bytes());
    for pins in PINS {
        let path = suite.join(pins);
        key.add(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(key)
}

/// Whether the environment can be used: the interpreter that it stands on may have gone.
fn works(interpreter: &Path) -> bool {
    let mut import = isolated(interpreter);
    import.args(["-c", "import avi.sdk.avi_api"]).stdin(Stdio::null()).stdout(Stdio::null());
    import.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A Python that looks at no `PYTHON…` variable, no package of the user's and none of the working directory.
fn isolated(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg("-I");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_python_that_can_do_it_is_taken() {
        assert_eq!(judged("3 9 0 /usr/bin/python3", true, ""), Ok(()));
        assert!(judged("3 8 10 /usr/bin/python3", true, "").unwrap_err().contains("3.9 or newer"));
        let no_venv = "Traceback\nModuleNotFoundError: No module named 'ensurepip'\n";
        assert!(judged("3 12 1 /usr/bin/python3", false, no_venv).unwrap_err().contains("'ensurepip'"));
        assert!(judged("", false, "pyenv: no such version").unwrap_err().contains("no such version"));
    }
}
