//! The command explore: every state that the model of an operator reaches. The models are ignored tests of the operators.

use std::io::{self, BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::checks::cargo;
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
    let mut test = test.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = test.stdout.take().context("cargo without stdout")?;
    let total = pass_on(BufReader::new(output), &mut io::stdout())?;
    let status = test.wait()?;
    ensure!(status.success(), "cargo test {TEST}: {status}");
    ensure!(
        total > 0,
        "{} explored nothing: it has no test {TEST} that calls model::print_total",
        operator.name
    );
    Ok(())
}

/// Passes the output of the tests on, line by line, and returns how many states they have visited in all.
fn pass_on(output: impl BufRead, to: &mut impl io::Write) -> io::Result<usize> {
    let mut total = 0;
    for line in output.lines() {
        let line = line?;
        total += model::parse_total(&line).unwrap_or(0);
        writeln!(to, "{line}")?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What the test harness prints around the output of one test.
    fn printed(test: &str) -> String {
        format!(
            "\nrunning 1 test\ntest {TEST} ... {test}ok\n\ntest result: ok. 1 passed; 0 failed; finished in 0.02s\n\n"
        )
    }

    fn total(output: &str) -> usize {
        let mut to = Vec::new();
        let total = pass_on(output.as_bytes(), &mut to).unwrap();
        assert_eq!(String::from_utf8(to).unwrap(), output);
        total
    }

    #[test]
    fn the_states_of_both_operators_are_read() {
        let vm = "four faults: 12 states (3 in the goal), 40 steps, depth 7, 0.1 s; 4 inventories, 5 memories, 6 passes of instances, \
                  7 of the group\ntwo slots: 30 states (2 in the goal), 70 steps, depth 9, 0.2 s; 4 inventories, 5 memories, 6 passes of \
                  instances, 7 of the group\n42 states in all\n";
        let ako = "five faults: 12 states (3 in the goal), 40 steps, depth 7, 0.1 s\n12 states in all\n";
        // The test of the other operator returns at once.
        let nothing = printed("");
        assert_eq!(total(&(nothing.clone() + &printed(vm))), 42);
        assert_eq!(total(&(printed(ako) + &nothing)), 12);
        assert_eq!(total(&nothing), 0);
        assert_eq!(total(&printed("12 states in all\n")), 12);
        let silent = "five faults: 12 states (3 in the goal), 40 steps, depth 7, 0.1 s\n";
        assert_eq!(total(&printed(silent)), 0);
    }

    #[test]
    fn every_model_has_the_test_and_prints_its_total() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../operators");
        let (_, name) = TEST.rsplit_once("::").unwrap();
        for operator in operators::OPERATORS.iter().filter(|operator| !operator.lacks.contains(&"explore")) {
            let tests = fs::read_to_string(root.join(operator.name).join("src/model/tests.rs")).unwrap();
            assert!(tests.contains(&format!("fn {name}()")), "{}", operator.name);
            assert!(tests.contains("model::print_total("), "{}", operator.name);
        }
    }
}
