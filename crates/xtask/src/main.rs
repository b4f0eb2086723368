//! `cargo xtask …`: the commands of the workspace. The recipes of the justfile and CI call only these.
//!
//! Owns which programs run, in which order, and how results are reported. The rules of the checks are in Cargo.toml (lints),
//! clippy.toml, deny.toml and words.txt.

mod book;
mod cargo_tools;
mod checks;
mod coverage;
mod deny;
mod explore;
mod generate;
mod mutants;
mod operators;
mod programs;
mod python;
mod report;
mod rigs;
mod runner;
mod slowest;

mod words;

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};
use testbed::Tools;

use crate::operators::{EXAMPLES, OPERATORS};

/// The commands, without the names of the operators.
const COMMANDS: &str = "\
usage: cargo xtask COMMAND

  test [STEP…]         runs all checks, or the named ones; continues after a failure and prints a summary.
                       The step avisdk needs python3 with venv; without it the step is skipped.
                       The step drivers runs only if it is named: it builds vSphere's drivers, which takes 15 minutes, once
  lint                 runs the checks without Rust tests: fmt, clippy, docs, generated, go, deny, advisories,
                       book, words
  test e2e [OPERATOR]  runs the end-to-end tests and the contract, of one operator or of all
  demo [OPERATOR] [--keep] [--drivers]
                       runs an operator, the first by default, with a control plane and simulators of its outside systems;
                       --drivers has the real CPI and CSI run in the demo of vdo, as root: their builds take 15 minutes, once
  bench vm [PART…]     measures the release build of vm-operator, or parts: starts, 50, latency, 200, 1000, 10000
  bench vm --write     the same, and updates docs/benchmarks.md
  bench ako [PART…]    measures the release build of ako-operator, or parts: starts, 100; --write as well
  bench avi [--write]  measures the AVI client and simulator; --write updates docs/benchmarks.md
  mutate OPERATOR      changes an operator's objects to each value that their CRDs allow, alone, in pairs and in walks
  explore OPERATOR     explores the largest configurations of an operator's model
  mutants OPERATOR     changes the plans of an operator line by line, and reports the changes that no test of them notices;
                       arguments after OPERATOR go to cargo-mutants
  perturb OPERATOR     runs the main job of an operator again and again, with one thing going wrong in each run
                       For mutate and perturb, --run NAME repeats a run, --list prints the names, `mutate OPERATOR --help` explains more;
                       `mutants OPERATOR --help` has the options of cargo-mutants
  generate [--check]   writes the generated files under deploy/; --check only compares them
  tools                builds the Go programs that tests run and prints their paths
  docs                 builds the API documentation and, if mdbook is installed, the book
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

/// Returns the help text.
fn help() -> String {
    let incomplete: Vec<_> = OPERATORS.iter().filter(|operator| !operator.lacks.is_empty()).collect();
    let lacks = |of: &&operators::Operator| format!("{} does not have {} yet", of.name, of.lacks.join(", "));
    let lacks = incomplete.iter().map(lacks).collect::<Vec<_>>().join("\n");
    format!(
        "{COMMANDS}\nOPERATOR is one of {}; for mutate and perturb also one of the kit's examples, {}\n{lacks}\n",
        operators::shorts(),
        EXAMPLES.join(", ")
    )
}

/// Prints a text, or the part of it that its reader waits for, such as `head`.
fn show(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Returns whether help is that of a program of `e2e` or of cargo-mutants, which needs an operator to be named.
fn has_help_of_its_own(arguments: &[&str]) -> bool {
    matches!(arguments, ["mutants" | "mutate" | "perturb", operator, ..] if !operator.starts_with('-'))
}

/// Runs a command. Returns false if a check failed.
fn run(arguments: &[&str]) -> Result<bool> {
    match arguments {
        // That of bench and demo comes before their builds, which take minutes.
        [] | ["help", ..] | [.., "--help" | "-h"] if !has_help_of_its_own(arguments) => {
            show(&mut io::stdout(), &help())?;
        }
        ["test", "e2e", names @ ..] => return programs::e2e(names),
        ["test", names @ ..] => return checks::run(names),
        ["lint"] => return checks::run(checks::LINT),
        ["demo", rest @ ..] => programs::demo(rest)?,
        ["bench", rest @ ..] => programs::bench(rest)?,
        ["mutate", rest @ ..] => rigs::run("mutate", rest)?,
        ["explore", rest @ ..] => explore::run(rest)?,
        ["mutants", rest @ ..] => mutants::run(rest)?,
        ["perturb", rest @ ..] => rigs::run("perturb", rest)?,
        ["generate"] => generate::write()?,
        ["generate", "--check"] => generate::check()?,
        ["tools"] => {
            for (name, path) in Tools::ensure()?.iter() {
                println!("{name:24} {}", path.display());
            }
        }
        ["docs"] => programs::docs()?,
        other => bail!("unknown command: {}\n\n{}", other.join(" "), help()),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_and_refusals_name_every_operator() {
        let refused = |line: &[&str]| run(line).unwrap_err().to_string();
        for text in [
            help(),
            refused(&["demo", "vdx"]),
            refused(&["bench", "vdx"]),
            refused(&["explore", "vdx"]),
            refused(&["mutants", "vdx"]),
            refused(&["perturb", "vdx"]),
            refused(&["test", "e2e", "vdx"]),
        ] {
            assert!(text.contains(&format!("one of {}", operators::shorts())), "{text}");
        }
    }

    /// Fails as a pipe without a reader, or as a full disk.
    struct Full(ErrorKind);

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_help_ends_with_its_reader_and_fails_with_its_disk() {
        show(&mut Full(ErrorKind::BrokenPipe), "help").unwrap();
        show(&mut Full(ErrorKind::StorageFull), "help").unwrap_err();
        let mut shown = Vec::new();
        show(&mut shown, "help").unwrap();
        assert_eq!(shown, b"help");
    }

    #[test]
    fn programs_that_take_options_explain_them() {
        for command in ["mutants", "mutate", "perturb"] {
            assert!(has_help_of_its_own(&[command, "vm", "--help"]), "{command}");
            assert!(!has_help_of_its_own(&[command, "--help"]), "{command}");
        }
        assert!(!has_help_of_its_own(&["explore", "vm", "--help"]));
    }

    #[test]
    fn commands_that_take_long_have_help_at_once() {
        for line in [
            &["demo", "-h"][..],
            &["test", "--help"],
            &["explore", "vm", "--help"],
            &["bench", "vm", "-h"],
            &["perturb", "-h"],
        ] {
            assert!(run(line).unwrap(), "{line:?}");
        }
    }
}
