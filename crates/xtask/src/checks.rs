//! The checks of `cargo xtask test`, in the order in which they run: quick ones first, tests last.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use testbed::{Tools, project_root};

use crate::report::{self, Check, Outcome};
use crate::{book, coverage, deny, generate, python, runner, slowest, words};

/// The checks of `cargo xtask lint`, which runs no Rust test.
pub(crate) const LINT: &[&str] =
    &["fmt", "clippy", "docs", "generated", "go", "deny", "advisories", "book", "words"];

const CHECKS: &[Check] = &[
    Check { name: "fmt", about: "format of the Rust files", run: fmt },
    Check { name: "tools", about: "builds the Go programs that tests run", run: tools },
    Check { name: "build", about: "compiles all libraries, binaries and tests", run: compile },
    Check { name: "clippy", about: "lints", run: clippy },
    Check { name: "docs", about: "warnings of the API documentation", run: docs },
    Check { name: "generated", about: "generated files are up to date", run: generated },
    Check { name: "go", about: "gofmt, vet and tests of the Go programs", run: go },
    Check { name: "deny", about: "licences, sources and duplicates of dependencies", run: deny::check },
    Check { name: "advisories", about: "known vulnerabilities of dependencies", run: deny::advisories },
    Check { name: "book", about: "links of README.md and docs, names of tests in them", run: book },
    Check {
        name: "words",
        about: "phrases to avoid and lengths of files, see docs/contributing.md",
        run: words,
    },
    Check { name: "test", about: "all Rust tests", run: test },
    Check { name: "avisdk", about: "the AVI simulator with the vendor's Python SDK", run: python::avisdk },
    Check {
        name: "ako",
        about: "AVI simulator and ako-operator with an unmodified AKO, if AKO_BIN is set",
        run: ako,
    },
    Check {
        name: DRIVERS,
        about: "the real drivers of vSphere against its simulator, where they can be built and run; only if it is named",
        run: drivers,
    },
];

/// A check that runs only if it is named.
pub(crate) const DRIVERS: &str = "drivers";

/// Runs the named checks, or all. Returns whether none failed.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    for name in names {
        if !CHECKS.iter().any(|check| check.name == *name) {
            let known: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
            bail!("unknown check {name}; use one of {}", known.join(", "));
        }
    }
    let is_selected = |check: &&Check| {
        if names.is_empty() { check.name != DRIVERS } else { names.contains(&check.name) }
    };
    let checks: Vec<&Check> = CHECKS.iter().filter(is_selected).collect();
    let passed = report::run(&checks);
    if checks.iter().any(|check| check.name == "test") {
        print_slowest()?;
    }
    Ok(passed)
}

/// Returns the cargo that runs this program, with the root of the checkout as its working directory.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(project_root()?);
    // `cargo run` sets these variables for this program. A build script that watches one (ring's does) would run again
    // whenever cargo is called by this program after a direct call, or the reverse, and its dependents be compiled again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command with its output on the terminal. Fails if the command fails.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let name =
        Path::new(&program).file_name().map_or(program.clone(), |name| name.to_string_lossy().into_owned());
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    ensure!(status.success(), "{name} {}: {status}", arguments.join(" "));
    Ok(())
}

/// Builds binaries with the dev profile.
pub(crate) fn build(names: &[&str]) -> Result<()> {
    let mut command = cargo()?;
    // With --workspace the features of dependencies are those of all other builds, so that nothing is compiled twice.
    // With examples, also those of dev-dependencies are.
    command.args(["build", "--workspace", "--examples"]);
    for name in names {
        command.args(["--bin", name]);
    }
    run_command(&mut command)
}

/// Returns the directory of the dev profile's binaries, which contains this program.
pub(crate) fn binaries() -> Result<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.parent().context("the path of the xtask has no directory")?.to_owned())
}

/// Runs a command as a check.
fn check_command(command: &mut Command) -> Result<Outcome> {
    run_command(command)?;
    Ok(Outcome::Passed)
}

fn fmt() -> Result<Outcome> {
    check_command(cargo()?.args(["fmt", "--all", "--check"]))
}

fn tools() -> Result<Outcome> {
    Tools::ensure()?;
    Ok(Outcome::Passed)
}

fn compile() -> Result<Outcome> {
    // All targets, so that `test` compiles nothing.
    check_command(cargo()?.args(["build", "--workspace", "--all-targets"]))
}

fn clippy() -> Result<Outcome> {
    check_command(cargo()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn docs() -> Result<Outcome> {
    check_command(cargo()?.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

fn generated() -> Result<Outcome> {
    generate::check()?;
    Ok(Outcome::Passed)
}

fn go() -> Result<Outcome> {
    let tools = project_root()?.join("e2e/tools");
    let badly_formatted = Command::new("gofmt").arg("-l").arg(&tools).output();
    let badly_formatted = badly_formatted.context("cannot run gofmt; it comes with Go")?;
    let names = String::from_utf8_lossy(&badly_formatted.stdout);
    let stderr = String::from_utf8_lossy(&badly_formatted.stderr);
    ensure!(names.is_empty() && badly_formatted.status.success(), "run gofmt -w on\n{names}{stderr}");
    for verb in ["vet", "test"] {
        // The flags of the tools' build, so that both share Go's build cache.
        let mut go = Command::new("go");
        go.current_dir(tools.join("vcsim")).env("CGO_ENABLED", "0").args([
            verb,
            "-mod=readonly",
            "-trimpath",
            "./...",
        ]);
        run_command(&mut go)?;
    }
    Ok(Outcome::Passed)
}

fn book() -> Result<Outcome> {
    book::check(&project_root()?)?;
    coverage::check(&project_root()?)?;
    Ok(Outcome::Passed)
}

fn words() -> Result<Outcome> {
    words::check(&project_root()?)?;
    Ok(Outcome::Passed)
}

/// Runs the tests with AKO. Its binary must be given, because no package registry has it.
fn ako() -> Result<Outcome> {
    if env::var_os("AKO_BIN").is_none() || env::var_os("AKO_CRDS").is_none() {
        let missing = "set AKO_BIN and AKO_CRDS, see docs/testing.md";
        return Ok(Outcome::Skipped(missing.to_owned()));
    }
    build(&["ako-operator"])?;
    let tests = ["test", "--workspace", "--test", "ako", "--test", "ako_operator", "--", "--ignored"];
    check_command(cargo()?.args(tests))
}

/// Runs the tests with the drivers of vSphere, which need root and are built from modules that a registry has.
fn drivers() -> Result<Outcome> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(Outcome::Skipped("running the drivers' Pods as processes needs root".to_owned()));
    }
    if let Err(error) = Tools::of(&["cpi", "csi", "csi-provisioner"]) {
        return Ok(Outcome::Skipped(format!("the drivers cannot be built: {error:#}")));
    }
    let tests = ["test", "--workspace", "--test", DRIVERS, "--", "--ignored", "--test-threads=1"];
    check_command(cargo()?.args(tests))
}

/// Prints the slowest tests of the latest run.
fn print_slowest() -> Result<()> {
    let log = fs::read(runner::log_path()?).unwrap_or_default();
    let lines = slowest::report(&String::from_utf8_lossy(&log));
    if !lines.is_empty() {
        println!("\n=== slowest Rust tests\n{lines}");
    }
    Ok(())
}

fn test() -> Result<Outcome> {
    runner::run(&[])?;
    Ok(Outcome::Passed)
}
