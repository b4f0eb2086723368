//! The checks of `cargo xtask test`, in the order in which they run: quick answers first, tests last.

use std::env;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use testbed::{Tools, project_root};

use crate::report::{self, Check, Outcome};
use crate::{book, deny, generate, python, words};

/// The checks that run no test.
pub(crate) const LINT: &[&str] =
    &["fmt", "clippy", "docs", "generated", "go", "deny", "advisories", "book", "words"];

const CHECKS: &[Check] = &[
    Check { name: "fmt", about: "every Rust file is formatted", run: fmt },
    Check { name: "tools", about: "the Go programs that tests run are built", run: tools },
    Check { name: "build", about: "everything compiles: libraries, binaries, tests", run: compile },
    Check { name: "clippy", about: "no warnings", run: clippy },
    Check { name: "docs", about: "the API documentation has no warnings", run: docs },
    Check { name: "generated", about: "generated files are what the code generates", run: generated },
    Check { name: "go", about: "our Go programs: gofmt, vet, tests", run: go },
    Check { name: "deny", about: "licences, sources and duplicates of the dependencies", run: deny::check },
    Check { name: "advisories", about: "known holes in the dependencies", run: deny::advisories },
    Check { name: "book", about: "the links of README and docs lead somewhere", run: book },
    Check {
        name: "words",
        about: "plain words, as docs/contributing.md says, and no file over 500 lines",
        run: words,
    },
    Check { name: "test", about: "every Rust test", run: test },
    Check {
        name: "avisdk",
        about: "the AVI simulator, by a client that is not ours: Python's avisdk",
        run: python::avisdk,
    },
    Check { name: "ako", about: "the AVI simulator, by an unmodified AKO where there is one", run: ako },
];

/// Runs the checks named, or all; whether none failed.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    for name in names {
        if !CHECKS.iter().any(|check| check.name == *name) {
            let known: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
            bail!("no check is named {name}; there are {}", known.join(", "));
        }
    }
    let wanted = |check: &&Check| names.is_empty() || names.contains(&check.name);
    let checks: Vec<&Check> = CHECKS.iter().filter(wanted).collect();
    Ok(report::run(&checks))
}

/// The cargo that runs us, in the project's root.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(project_root()?);
    // What `cargo run` tells us of our own package. Build scripts that watch these variables (ring's does)
    // would run again, and all above them be compiled again, whenever cargo is called with us in between or not.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs a command whose output the user sees; an error if it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let name =
        Path::new(&program).file_name().map_or(program.clone(), |name| name.to_string_lossy().into_owned());
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    ensure!(status.success(), "{name} {}: {status}", arguments.join(" "));
    Ok(())
}

/// Builds binaries of the dev profile.
pub(crate) fn build(names: &[&str]) -> Result<()> {
    let mut command = cargo()?;
    // Of the workspace, not of a package: the features are those of every other build then, and nothing is
    // compiled a second time.
    command.args(["build", "--workspace"]);
    for name in names {
        command.args(["--bin", name]);
    }
    succeed(&mut command)
}

/// The directory of the dev profile's binaries: ours is one of them.
pub(crate) fn binaries() -> Result<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.parent().context("the xtask has no directory")?.to_owned())
}

fn passed(command: &mut Command) -> Result<Outcome> {
    succeed(command)?;
    Ok(Outcome::Passed)
}

fn fmt() -> Result<Outcome> {
    passed(cargo()?.args(["fmt", "--all", "--check"]))
}

fn tools() -> Result<Outcome> {
    Tools::ensure()?;
    Ok(Outcome::Passed)
}

fn compile() -> Result<Outcome> {
    // The same units that `test` needs, and the binaries besides: nothing is compiled twice.
    passed(cargo()?.args(["build", "--workspace", "--all-targets"]))
}

fn clippy() -> Result<Outcome> {
    passed(cargo()?.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn docs() -> Result<Outcome> {
    passed(cargo()?.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
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
    let complaint = String::from_utf8_lossy(&badly_formatted.stderr);
    ensure!(names.is_empty() && badly_formatted.status.success(), "run gofmt -w on\n{names}{complaint}");
    for verb in ["vet", "test"] {
        // The flags of the tools' build, so that its compiled packages serve here too.
        let mut go = Command::new("go");
        go.current_dir(tools.join("vcsim")).env("CGO_ENABLED", "0").args([
            verb,
            "-mod=readonly",
            "-trimpath",
            "./...",
        ]);
        succeed(&mut go)?;
    }
    Ok(Outcome::Passed)
}

fn book() -> Result<Outcome> {
    book::check(&project_root()?)?;
    Ok(Outcome::Passed)
}

fn words() -> Result<Outcome> {
    words::check(&project_root()?)?;
    Ok(Outcome::Passed)
}

/// Runs the test with AKO, which comes from nowhere that a script could take it from.
fn ako() -> Result<Outcome> {
    if env::var_os("AKO_BIN").is_none() || env::var_os("AKO_CRDS").is_none() {
        let missing = "AKO_BIN and AKO_CRDS are not both set: docs/testing.md says how to build an AKO";
        return Ok(Outcome::Skipped(missing.to_owned()));
    }
    passed(cargo()?.args(["test", "--workspace", "--test", "ako", "--", "--ignored"]))
}

/// Runs the tests, their output shown and kept.
fn test() -> Result<Outcome> {
    let path = binaries()?.with_file_name("test.log");
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    // One pipe for both, so that the log keeps their order.
    let (mut output, input) = std::io::pipe()?;
    let mut command = cargo()?;
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .stdin(Stdio::null())
        .stdout(input.try_clone()?)
        .stderr(input);
    let mut child = command.spawn().context("cannot run cargo test")?;
    // The command holds the pipe's other end; the loop below would never see it closed.
    drop(command);
    let mut buffer = [0; 8192];
    loop {
        let count = output.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        log.write_all(bytes)?;
        std::io::stdout().write_all(bytes)?;
        std::io::stdout().flush()?;
    }
    let status = child.wait()?;
    println!("log: {}", path.display());
    ensure!(status.success(), "cargo test: {status}; log: {}", path.display());
    Ok(Outcome::Passed)
}
