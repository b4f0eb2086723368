//! `cargo xtask …`: the workspace's commands. The justfile's recipes and CI call nothing else.
//!
//! Owns which programs are run, in which order, and how a result is told. Never decides what a check demands:
//! that is in the check's own configuration (Cargo.toml's lints, clippy.toml, deny.toml).

mod book;
mod checks;
mod deny;
mod generate;
mod programs;
mod python;
mod report;
mod words;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};
use testbed::Tools;

const HELP: &str = "\
usage: cargo xtask COMMAND

  test [STEP…]         every check, or the named ones; goes on after a failure and sums up.
                       The step avisdk needs python3 with venv, and is skipped where there is none
  lint                 the checks that run no test: fmt, clippy, docs, generated, go, deny, advisories,
                       book, words
  demo [--keep]        a control plane, a vCenter simulator and vm-operator, shown at work
  bench vm [--write]   measures vm-operator in its release build: the figures in docs/benchmarks.md
  bench avi [--write]  counts what the AVI client asks and what the AVI simulator does for it
  generate [--check]   writes the generated files under deploy/; with --check only compares
  tools                builds the Go programs that tests run, and says where they are
  docs                 API documentation into the target directory, and the book if mdbook is there
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn run(arguments: &[&str]) -> Result<bool> {
    match arguments {
        ["test", names @ ..] => return checks::run(names),
        ["lint"] => return checks::run(checks::LINT),
        ["demo", rest @ ..] => programs::demo(rest)?,
        ["bench", rest @ ..] => programs::bench(rest)?,
        ["generate"] => generate::write()?,
        ["generate", "--check"] => generate::check()?,
        ["tools"] => {
            for (name, path) in Tools::ensure()?.iter() {
                println!("{name:24} {}", path.display());
            }
        }
        ["docs"] => programs::docs()?,
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        other => bail!("unknown command: {}\n\n{HELP}", other.join(" ")),
    }
    Ok(true)
}
