//! Builds the programs of one Go module and copies the files that tests need. Does not decide which modules are built.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Module;
use crate::cache::lock;

/// The interval of progress messages during a build.
const PROGRESS: Duration = Duration::from_secs(15);
/// The error if `go` cannot be started.
const NO_GO: &str = "cannot run `go`. The tests run real servers built from Go modules: Go must be on the PATH \
                     (the version e2e/tools/kubernetes/go.mod names, or newer), from https://go.dev/dl/";
/// The number of lines of a failed build in the error.
const FAILURE_LINES: usize = 30;

impl Module {
    /// Builds the `missing` programs into a temporary directory and moves them to `directory` when all are built.
    pub(super) fn build(&self, source: &Path, directory: &Path, missing: &[(&str, &str)]) -> Result<()> {
        let bin = directory.join("bin");
        fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
        let _lock = lock(&directory.join("lock"), &format!("builds {}", self.name))?;
        let missing: Vec<_> = missing.iter().filter(|(name, _)| !bin.join(name).is_file()).collect();
        if missing.is_empty() {
            return self.copy_manifests(source, directory);
        }

        let version = self.version(source)?;
        let names = missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let cores = thread::available_parallelism().map_or(1, usize::from);
        eprintln!(
            "building {names} ({version}); up to {} cold on 2 cores (this machine: {cores}), once",
            self.duration
        );
        let started = Instant::now();
        let scratch = tempfile::Builder::new().prefix("building-").tempdir_in(directory)?;
        // `go build` names a binary after the last element of the package path, which is wrong for etcd.
        let output = match missing.as_slice() {
            [(name, _)] => scratch.path().join(name),
            _ => scratch.path().to_owned(),
        };
        // The same flags for all programs of a module, so that they share Go's build cache.
        let mut go = Command::new("go");
        go.current_dir(source)
            .env("CGO_ENABLED", "0")
            .args(["build", "-v", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags"])
            .arg(self.ldflags(&version))
            .arg("-o")
            .arg(output)
            .args(missing.iter().map(|(_, package)| package));
        run_with_progress(go, self.name)?;
        for (name, package) in missing {
            fs::rename(scratch.path().join(name), bin.join(name))
                .with_context(|| format!("go build of {package} left no binary {name}"))?;
        }
        eprintln!("built {names} in {} s", started.elapsed().as_secs());
        self.copy_manifests(source, directory)
    }

    /// Returns whether all files of `manifests` have been copied.
    pub(super) fn has_manifests(&self, directory: &Path) -> bool {
        self.manifests.iter().all(|path| directory.join("manifests").join(path).exists())
    }

    /// Copies `manifests` from the pinned module, so that tests do not depend on Go's module cache.
    fn copy_manifests(&self, source: &Path, directory: &Path) -> Result<()> {
        let Some(pinned) = self.pinned.filter(|_| !self.has_manifests(directory)) else {
            return Ok(());
        };
        let mut go = Command::new("go");
        go.current_dir(source).args(["mod", "download", pinned]);
        stdout_of(&mut go).with_context(|| format!("go cannot fetch {pinned}"))?;
        let mut go = Command::new("go");
        go.current_dir(source).args(["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", pinned]);
        let module = stdout_of(&mut go).with_context(|| format!("go cannot find {pinned}"))?;
        let scratch = tempfile::Builder::new().prefix("copying-").tempdir_in(directory)?;
        for path in self.manifests {
            copy(&Path::new(module.trim()).join(path), &scratch.path().join(path))?;
        }
        let target = directory.join("manifests");
        if target.exists() {
            fs::remove_dir_all(&target).context("cannot replace the module's files of an older build")?;
        }
        fs::rename(scratch.keep(), target).context("cannot keep the module's files")
    }

    /// Returns the version of the pinned module in go.mod.
    fn version(&self, source: &Path) -> Result<String> {
        let Some(pinned) = self.pinned else {
            return Ok("this repository".to_owned());
        };
        let file = fs::read_to_string(source.join("go.mod"))?;
        required_version(&file, pinned)
            .map(str::to_owned)
            .with_context(|| format!("{}/go.mod requires no {pinned}", source.display()))
    }

    fn ldflags(&self, version: &str) -> String {
        if self.name != "kubernetes" {
            return "-s -w".to_owned();
        }
        // Without these flags the version is v0.0.0, and clients that choose by version fail.
        let mut parts = version.trim_start_matches('v').split('.');
        let major = parts.next().unwrap_or_default();
        let minor = parts.next().unwrap_or_default();
        let package = "k8s.io/component-base/version";
        format!(
            "-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        )
    }
}

/// Runs a go command and returns its stdout.
fn stdout_of(go: &mut Command) -> Result<String> {
    let answer = go.stdin(Stdio::null()).output().context(NO_GO)?;
    ensure!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr).trim());
    Ok(String::from_utf8(answer.stdout)?)
}

/// Copies a file or a directory with its contents.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().context("a file has a directory")?)?;
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Runs `go build -v`. Prints a progress line at intervals instead of its output.
fn run_with_progress(mut go: Command, name: &str) -> Result<()> {
    let started = Instant::now();
    let mut child = match go.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Err(error).context(NO_GO),
    };
    let stderr = child.stderr.take().context("go's stderr is piped")?;
    let (send, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });

    let (mut downloaded, mut compiled) = (0_u32, 0_u32);
    let mut output = Vec::new();
    let mut next = started + PROGRESS;
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with("go: downloading ") => downloaded += 1,
            Ok(line) => {
                compiled += 1;
                output.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {
                next += PROGRESS;
                eprintln!(
                    "  {name}: {} s, {downloaded} modules downloaded, {compiled} packages compiled",
                    started.elapsed().as_secs()
                );
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let tail = &output[output.len().saturating_sub(FAILURE_LINES)..];
        bail!("go build of {name} failed ({status}):\n{}", tail.join("\n"));
    }
    Ok(())
}

/// Returns the version of `module` that `go.mod` requires.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.next()?;
        let path = if first == "require" { words.next()? } else { first };
        let version = words.next()?;
        (path == module && version.starts_with('v')).then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::super::MODULES;
    use super::*;

    #[test]
    fn versions_are_read_from_go_mod() {
        let file = "module m\nrequire a.b/c v1.2.3\nrequire (\n\td.e/f v0.9.0 // indirect\n)\nreplace x => d.e/g v1.0.0\n";
        assert_eq!(required_version(file, "a.b/c"), Some("v1.2.3"));
        assert_eq!(required_version(file, "d.e/f"), Some("v0.9.0"));
        assert_eq!(required_version(file, "d.e/g"), None);
    }

    #[test]
    fn the_version_of_kubernetes_is_linked_into_its_programs() {
        let module = MODULES.iter().find(|module| module.name == "kubernetes").unwrap();
        let flags = module.ldflags("v1.36.1");
        assert!(flags.contains("gitVersion=v1.36.1") && flags.contains("gitMinor=36"), "{flags}");
    }
}
