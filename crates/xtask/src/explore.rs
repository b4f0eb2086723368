//! The command explore: every state that the model of an operator reaches. The models are ignored tests of the operators.

use anyhow::{Result, bail};

use crate::checks::{cargo, run_command};
use crate::operators;

/// The test of an operator that explores its largest configurations.
const TEST: &str = "model::tests::explore_the_largest_configurations";

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
    run_command(&mut test)
}
