//! The command mutants, which runs cargo-mutants over the plans of an operator. Owns its version, and which tests are to
//! notice the changes: those of the plans alone, since each change compiles the operator again.

use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::project_root;

use crate::cargo_tools::program;
use crate::checks::{binaries, run_command};
use crate::operators;

const VERSION: &str = "27.1.0";

/// Changes the plans of an operator, in a copy of the tree, and reports the changes that no test of them notices.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [name, options @ ..] = arguments else {
        bail!("usage: cargo xtask mutants OPERATOR [OPTION…]; OPERATOR is one of {}", operators::shorts());
    };
    let operator = operators::find_for("mutants", name)?;
    if let [.., "--help" | "-h"] = options {
        return run_command(Command::new(program("mutants", VERSION)?).args(["mutants", "--help"]));
    }
    let target = binaries()?.parent().context("no target directory")?.join("mutants");
    // Its tests here are quick, and the compiler is quicker without optimizations.
    let plain = format!("--config=profile.dev.package.{}.opt-level=0", operator.name);
    let mut command = Command::new(program("mutants", VERSION)?);
    command
        .current_dir(project_root()?)
        .env("CARGO_TARGET_DIR", &target)
        .args(["mutants", "--test-workspace", "true", "--exclude", "**/tests*"])
        .args(["plan.rs", "plan/*.rs"].map(|plan| format!("--file=operators/{}/src/*/{plan}", operator.name)))
        .arg(format!("--cargo-arg={plain}"))
        .args(["--cargo-arg=--lib", "--output"])
        .arg(&target)
        .args(options)
        .args(["--", "plan::"]);
    run_command(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_refused_with_those_that_exist() {
        assert_eq!(
            run(&["vdx"]).unwrap_err().to_string(),
            format!("unknown operator vdx; use one of {}", operators::shorts())
        );
        assert!(run(&[]).unwrap_err().to_string().contains("OPERATOR is one of"));
    }
}
