//! Runs the Rust tests: several test binaries beside each other, because most of them wait most of the time.
//!
//! Cargo runs one test binary after the other, and a runner with a process for each test would start a control plane for
//! each. Owns the order of the binaries and their output; libtest runs the tests.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use testbed::project_root;

use crate::checks::{binaries, cargo};
use crate::slowest;

/// Test binaries at a time.
const LANES: usize = 2;
/// Tests of one binary at a time: most of them wait for servers.
const THREADS: &str = "8";

/// Tests to run.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a> {
    /// The name of the test binary.
    pub(crate) binary: &'a str,
    /// A part of the names of its tests; empty: all.
    pub(crate) filter: String,
}

impl<'a> Selection<'a> {
    /// Returns all tests of a binary.
    pub(crate) fn all(binary: &'a str) -> Self {
        Self { binary, filter: String::new() }
    }
}

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Binary {
    program: PathBuf,
    /// The source file, relative to the project.
    source: String,
    /// The directory of the package, in which Cargo runs tests.
    package: PathBuf,
}

/// Returns the file with the output of the latest run.
pub(crate) fn log_path() -> Result<PathBuf> {
    Ok(binaries()?.with_file_name("test.log"))
}

/// Runs the selected tests, or all if none are. The output of a binary is shown when it ends, and written to
/// [`log_path`], that of selected tests beside it.
pub(crate) fn run(selections: &[Selection<'_>]) -> Result<()> {
    let path = log_path()?;
    let times = slowest::binary_times(&fs::read_to_string(&path).unwrap_or_default());
    // The times of a part would put the next full run in a wrong order.
    let path = if selections.is_empty() { path } else { path.with_file_name("test-part.log") };
    let mut tests: Vec<(Binary, String)> =
        build()?.into_iter().map(|binary| (binary, String::new())).collect();
    if !selections.is_empty() {
        tests = select(&tests, selections)?;
    }
    // The longest first, so that the lanes end at the same time; new ones before them.
    let time = |binary: &Binary| times.get(&binary.source).copied().unwrap_or(f64::INFINITY);
    tests.sort_by(|(one, _), (other, _)| time(one).total_cmp(&time(other)));

    let output = Output::create(&path)?;
    let failed = Mutex::new(Vec::new());
    in_lanes(tests, |(binary, filter)| match run_one(&binary, &filter, &output) {
        Ok(true) => {}
        Ok(false) => lock(&failed).push(binary.source),
        Err(error) => lock(&failed).push(format!("{} ({error:#})", binary.source)),
    });
    if selections.is_empty() && !run_examples(&output)? {
        lock(&failed).push("examples in the documentation".to_owned());
    }
    println!("log: {}", path.display());
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "failed: {}; log: {}", failed.join(", "), path.display());
    Ok(())
}

/// Does the work on each item, the last item first, on [`LANES`] items at a time.
fn in_lanes<T: Send>(items: Vec<T>, work: impl Fn(T) + Sync) {
    let queue = Mutex::new(items);
    // A function of its own, so that the lock is released before the work begins.
    let next = || lock(&queue).pop();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

/// Returns the selected binaries, each with its filter.
fn select(tests: &[(Binary, String)], selections: &[Selection<'_>]) -> Result<Vec<(Binary, String)>> {
    let mut selected = Vec::new();
    for Selection { binary, filter } in selections {
        let found = tests.iter().find(|(test, _)| stem(&test.program).as_deref() == Some(*binary));
        let (test, _) = found.with_context(|| format!("there is no test binary {binary}"))?;
        selected.push((test.clone(), filter.clone()));
    }
    Ok(selected)
}

/// Builds everything and returns the test binaries.
fn build() -> Result<Vec<Binary>> {
    let root = project_root()?;
    let mut command = cargo()?;
    command.args(["build", "--workspace", "--all-targets", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build: {}", output.status);
    let messages = String::from_utf8(output.stdout)?;
    let tests = messages.lines().map(|line| parse(line, &root));
    Ok(tests.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Returns the test binary that a message of Cargo is about, if any.
fn parse(message: &str, root: &Path) -> Result<Option<Binary>> {
    let message: Value = serde_json::from_str(message).context("Cargo printed a message that is not JSON")?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return Ok(None);
    }
    let path = |value: &Value| value.as_str().map(PathBuf::from);
    let (Some(program), Some(source), Some(manifest)) =
        (path(&message["executable"]), path(&message["target"]["src_path"]), path(&message["manifest_path"]))
    else {
        bail!("Cargo printed a test without an executable: {message}");
    };
    let source = source.strip_prefix(root).unwrap_or(&source).to_string_lossy().into_owned();
    let package = manifest.parent().context("a manifest without a directory")?.to_owned();
    Ok(Some(Binary { program, source, package }))
}

/// Runs one test binary. Returns whether all its tests passed.
fn run_one(binary: &Binary, filter: &str, output: &Output) -> Result<bool> {
    let begin = Instant::now();
    let mut command = Command::new(&binary.program);
    // Cargo sets the directory and this variable. RUSTC_BOOTSTRAP makes libtest accept --report-time.
    command
        .current_dir(&binary.package)
        .env("CARGO_MANIFEST_DIR", &binary.package)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUST_TEST_THREADS", env::var("RUST_TEST_THREADS").unwrap_or_else(|_| THREADS.to_owned()))
        .args(["-Z", "unstable-options", "--report-time"])
        .args(Some(filter).filter(|filter| !filter.is_empty()));
    output.show_start(&binary.source)?;
    let (text, success) = collect(command)?;
    output.show_end(&binary.source, &text, begin.elapsed())?;
    Ok(success)
}

/// Runs the examples in the documentation. Returns whether all passed.
fn run_examples(output: &Output) -> Result<bool> {
    let begin = Instant::now();
    let mut command = cargo()?;
    command.args(["test", "--workspace", "--no-fail-fast", "--doc"]);
    let (text, success) = collect(command)?;
    output.show_end("examples in the documentation", &text, begin.elapsed())?;
    Ok(success)
}

/// Runs a command. Returns its stdout and stderr in their order, and whether it succeeded.
fn collect(mut command: Command) -> Result<(Vec<u8>, bool)> {
    let (mut output, input) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().context("cannot run the tests")?;
    // The command holds the write end of the pipe; with it open, reading would never end.
    drop(command);
    let mut text = Vec::new();
    output.read_to_end(&mut text)?;
    Ok((text, child.wait()?.success()))
}

/// The terminal and the log, to which a binary's output is written as a whole.
struct Output(Mutex<File>);

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Mutex::new(file)))
    }

    fn show_start(&self, source: &str) -> Result<()> {
        let _log = lock(&self.0);
        println!("running {source}");
        std::io::stdout().flush()?;
        Ok(())
    }

    fn show_end(&self, source: &str, text: &[u8], took: Duration) -> Result<()> {
        let mut log = lock(&self.0);
        let head = format!("\n     Running {source}\n");
        let foot = format!("     Ended {source} after {:.1} s\n", took.as_secs_f64());
        for part in [head.as_bytes(), text, foot.as_bytes()] {
            log.write_all(part)?;
            std::io::stdout().write_all(part)?;
        }
        std::io::stdout().flush()?;
        Ok(())
    }
}

/// Returns the name of a test binary without Cargo's hash.
fn stem(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    Some(name.rsplit_once('-')?.0.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn lanes_work_beside_each_other() {
        let (sender, receiver) = mpsc::channel();
        let (receiver, met) = (Mutex::new(receiver), Mutex::new(None));
        in_lanes(vec!["starts", "waits"], |item| match item {
            "starts" => sender.send(()).unwrap(),
            // It comes first, and ends once the other has begun.
            _ => *lock(&met) = Some(lock(&receiver).recv_timeout(Duration::from_secs(30))),
        });
        assert_eq!(*lock(&met), Some(Ok(())));
    }

    #[test]
    fn the_hash_is_no_part_of_a_binarys_name() {
        assert_eq!(stem(Path::new("/t/deps/vm_operator-bb30")).as_deref(), Some("vm_operator"));
        assert_eq!(stem(Path::new("/t/deps/x")), None);
    }

    #[test]
    fn test_binaries_are_read_from_the_messages_of_cargo() {
        let message = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/e2e/Cargo.toml","profile":{{"test":{test}}},
                "target":{{"src_path":"/w/e2e/tests/a.rs"}},"executable":"/t/a-1"}}"#
            )
        };
        let binary =
            Binary { program: "/t/a-1".into(), source: "e2e/tests/a.rs".into(), package: "/w/e2e".into() };
        assert_eq!(parse(&message(true), Path::new("/w")).unwrap(), Some(binary));
        assert_eq!(parse(&message(false), Path::new("/w")).unwrap(), None);
        assert_eq!(parse(r#"{"reason":"build-finished"}"#, Path::new("/w")).unwrap(), None);
    }

    #[test]
    fn output_of_both_streams_is_collected() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(collect(shell).unwrap(), (b"out\nerr\n".to_vec(), false));
    }
}
