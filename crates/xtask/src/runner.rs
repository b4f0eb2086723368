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

/// Test binaries at a time. With three, the control planes that start together are slower than their managers wait.
const LANES: usize = 2;
/// Tests of one binary at a time: most of them wait for servers.
const THREADS: &str = "8";

/// Tests to run.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a> {
    /// The name of the test, as in `cargo test --test NAME`.
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
    /// The name by which it is selected, if its source is under `tests/`: names of libraries and programs may be the same.
    test: Option<String>,
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
    let binaries = build()?;
    let mut tests: Vec<(Binary, Option<String>)> = if selections.is_empty() {
        binaries.into_iter().map(|binary| (binary, None)).collect()
    } else {
        let selected = select(&binaries, selections)?;
        selected.into_iter().map(|(binary, filter)| (binary, Some(filter))).collect()
    };
    // The longest first, so that the lanes end at the same time; new ones before them.
    let time = |binary: &Binary| times.get(&binary.source).copied().unwrap_or(f64::INFINITY);
    tests.sort_by(|(one, _), (other, _)| time(one).total_cmp(&time(other)));

    let output = Output::create(&path)?;
    let failed = Mutex::new(Vec::new());
    in_lanes(tests, |(binary, filter)| match run_one(&binary, filter.as_deref(), &output) {
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
fn select(binaries: &[Binary], selections: &[Selection<'_>]) -> Result<Vec<(Binary, String)>> {
    let mut selected = Vec::new();
    for Selection { binary: name, filter } in selections {
        let found: Vec<_> = binaries.iter().filter(|binary| binary.test.as_deref() == Some(*name)).collect();
        match found.as_slice() {
            [binary] => selected.push(((*binary).clone(), filter.clone())),
            [] => bail!("there is no test binary {name}"),
            several => {
                let sources: Vec<_> = several.iter().map(|binary| binary.source.as_str()).collect();
                bail!("several test binaries have the name {name}: {}", sources.join(", "));
            }
        }
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
    let is_test =
        message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "test"));
    let test = message["target"]["name"].as_str().filter(|_| is_test).map(str::to_owned);
    Ok(Some(Binary { program, test, source, package }))
}

/// Runs one test binary, or the tests of a selected one that have the filter in their names. Returns whether all passed.
///
/// # Errors
/// If it cannot run; or as [`verdict`].
fn run_one(binary: &Binary, filter: Option<&str>, output: &Output) -> Result<bool> {
    let begin = Instant::now();
    let mut command = Command::new(&binary.program);
    // Cargo sets the directory and this variable. RUSTC_BOOTSTRAP makes libtest accept --report-time.
    command
        .current_dir(&binary.package)
        .env("CARGO_MANIFEST_DIR", &binary.package)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUST_TEST_THREADS", env::var("RUST_TEST_THREADS").unwrap_or_else(|_| THREADS.to_owned()))
        .args(["-Z", "unstable-options", "--report-time"])
        .args(filter.filter(|filter| !filter.is_empty()));
    output.show_start(&binary.source)?;
    let (text, success) = collect(command)?;
    output.show_end(&binary.source, &text, begin.elapsed())?;
    verdict(success, filter.is_some(), &String::from_utf8_lossy(&text))
}

/// Returns whether all tests passed, by how a binary has ended and what it has printed.
///
/// # Errors
/// If it was selected and libtest's last line of results counts no test that has run.
fn verdict(success: bool, is_selected: bool, text: &str) -> Result<bool> {
    let result = text.lines().rev().find(|line| line.starts_with("test result: "));
    let has_run = result.is_some_and(|line| !line.contains(" 0 passed; 0 failed;"));
    ensure!(!success || !is_selected || has_run, "no test has run");
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

    /// Returns a message of Cargo about a target.
    fn message(kind: &str, name: &str, source: &str, test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"/w/e2e/Cargo.toml","profile":{{"test":{test}}},
            "target":{{"kind":["{kind}"],"name":"{name}","src_path":"/w/e2e/{source}"}},"executable":"/t/{name}-1"}}"#
        )
    }

    fn parsed(message: &str) -> Option<Binary> {
        parse(message, Path::new("/w")).unwrap()
    }

    #[test]
    fn test_binaries_are_read_from_the_messages_of_cargo() {
        let binary = |test: Option<&str>, source: &str| Binary {
            program: "/t/a-1".into(),
            test: test.map(str::to_owned),
            source: source.to_owned(),
            package: "/w/e2e".into(),
        };
        let test = parsed(&message("test", "a", "tests/a.rs", true));
        assert_eq!(test, Some(binary(Some("a"), "e2e/tests/a.rs")));
        assert_eq!(parsed(&message("lib", "a", "src/lib.rs", true)), Some(binary(None, "e2e/src/lib.rs")));
        assert_eq!(parsed(&message("bin", "a", "src/main.rs", false)), None);
        assert_eq!(parsed(r#"{"reason":"build-finished"}"#), None);
    }

    #[test]
    fn a_test_is_selected_among_programs_and_libraries_of_its_name() {
        let binaries: Vec<Binary> = [
            message("bin", "perturb", "src/bin/perturb/main.rs", true),
            message("lib", "perturb", "src/lib.rs", true),
            message("test", "perturb", "tests/perturb/main.rs", true),
            message("test", "twice", "tests/twice.rs", true),
            message("test", "twice", "tests/twice/main.rs", true),
        ]
        .iter()
        .filter_map(|message| parsed(message))
        .collect();
        let select = |binary| select(&binaries, &[Selection { binary, filter: "vm::".to_owned() }]);
        let selected = select("perturb").unwrap();
        let selected: Vec<_> =
            selected.iter().map(|(binary, filter)| (binary.source.as_str(), filter.as_str())).collect();
        assert_eq!(selected, [("e2e/tests/perturb/main.rs", "vm::")]);
        let refusal = |binary| select(binary).unwrap_err().to_string();
        assert_eq!(refusal("none"), "there is no test binary none");
        assert_eq!(
            refusal("twice"),
            "several test binaries have the name twice: e2e/tests/twice.rs, e2e/tests/twice/main.rs"
        );
    }

    #[test]
    fn a_selected_binary_without_a_test_that_runs_fails() {
        let one = "running 1 test\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; finished in 0.00s\n";
        let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 3 ignored; finished in 0.00s\n";
        let failed =
            "running 1 test\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; finished in 0.00s\n";
        assert!(verdict(true, true, one).unwrap());
        assert!(!verdict(false, true, failed).unwrap());
        for nothing in [none, "", &format!("{one}{none}")] {
            assert_eq!(verdict(true, true, nothing).unwrap_err().to_string(), "no test has run", "{nothing}");
            assert!(!verdict(false, true, nothing).unwrap());
            // Among all binaries, some have no tests.
            assert!(verdict(true, false, nothing).unwrap());
        }
    }

    #[test]
    fn output_of_both_streams_is_collected() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!(collect(shell).unwrap(), (b"out\nerr\n".to_vec(), false));
    }
}
