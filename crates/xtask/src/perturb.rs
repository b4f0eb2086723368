//! The command perturb, which builds an operator and runs its main job with one thing going wrong in each run.

use std::process::Command;

use anyhow::{Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, build, cargo, run_command};
use crate::mutate::{EXAMPLE, known};
use crate::operators;
use crate::programs::exec;

/// Perturbs an operator.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [name, options @ ..] = arguments else {
        bail!("usage: cargo xtask perturb OPERATOR [OPTION…]; OPERATOR is one of {}", known());
    };
    let name = if *name == EXAMPLE.0 {
        run_command(cargo()?.args(["build", "--workspace", "--bin", "perturb", "--example", EXAMPLE.1]))?;
        EXAMPLE.0
    } else {
        let Ok(operator) = operators::find(name) else {
            bail!("unknown operator {name}; use one of {}", known());
        };
        Tools::of(operator.tools)?;
        build(&[operator.name, "perturb"])?;
        operator.short
    };
    let mut perturb = Command::new(binaries()?.join("perturb"));
    exec(perturb.arg(name).args(options).current_dir(project_root()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_refused_with_those_that_exist() {
        assert_eq!(run(&["vdx"]).unwrap_err().to_string(), "unknown operator vdx; use one of vm, page");
        assert!(run(&[]).unwrap_err().to_string().ends_with("OPERATOR is one of vm, page"));
    }
}
