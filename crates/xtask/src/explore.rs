//! The command explore: every state that the model of an operator reaches. The models are ignored tests of the operators.

use anyhow::{Result, bail};

use crate::checks::{cargo, run_command};

/// The operators that have a model.
const OPERATORS: &[&str] = &["vm"];
/// The test of an operator that explores its largest configurations.
const TEST: &str = "model::tests::explore_the_largest_configurations";

/// Explores the model of an operator.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let known = OPERATORS.join(", ");
    match arguments {
        [operator] if OPERATORS.contains(operator) => {
            let mut test = cargo()?;
            test.args(["test", "--workspace", "--lib", "--", "--ignored", "--exact", "--nocapture"]);
            // Each crate with a model has a test of this name; only that of the operator runs.
            test.arg(TEST).env("EXPLORE", operator);
            run_command(&mut test)
        }
        [unknown] => bail!("unknown operator {unknown}; use one of {known}"),
        _ => bail!("usage: cargo xtask explore OPERATOR, which is one of {known}"),
    }
}
