//! The command explore: every state that the model of an operator reaches. The models are ignored tests of the operators.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::checks::cargo;
use crate::operators;

/// The test of an operator that explores its largest configurations.
const TEST: &str = "model::tests::explore_the_largest_configurations";

/// How the last line of the test ends.
const EXPLORED: &str = " states in all";

/// Explores the model of an operator.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [name] = arguments else {
        bail!("usage: cargo xtask explore OPERATOR; OPERATOR is one of {}", operators::shorts());
    };
    let operator = operators::find_for("explore", name)?;
    let mut test = cargo()?;
    test.args(["test", "--workspace", "--lib", "--", "--ignored", "--exact", "--nocapture"]);
    // Each crate with a model has a test of this name; only that of the operator runs.
    test.arg(TEST).env("EXPLORE", operator.short);
    let mut test = test.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = test.stdout.take().context("cargo without stdout")?;
    let mut is_explored = false;
    for line in BufReader::new(output).lines() {
        let line = line?;
        is_explored |= line.ends_with(EXPLORED);
        println!("{line}");
    }
    let status = test.wait()?;
    ensure!(status.success(), "cargo test {TEST}: {status}");
    ensure!(
        is_explored,
        "{} explored nothing: it has no test {TEST} that prints \"N{EXPLORED}\"",
        operator.name
    );
    Ok(())
}
