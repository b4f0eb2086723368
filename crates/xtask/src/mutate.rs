//! The command mutate, which builds an operator and the program that mutates its objects, and runs it.

use std::process::Command;

use anyhow::{Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, build, cargo, run_command};
use crate::operators;
use crate::programs::exec;

/// The kit's example operator: its name in the command, and that of the example.
pub(crate) const EXAMPLE: (&str, &str) = ("page", "page_operator");

/// Mutates the objects of an operator.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [name, options @ ..] = arguments else {
        bail!("usage: cargo xtask mutate OPERATOR [OPTION…]; OPERATOR is one of {}", known());
    };
    let name = if *name == EXAMPLE.0 {
        run_command(cargo()?.args(["build", "--workspace", "--bin", "mutate", "--example", EXAMPLE.1]))?;
        EXAMPLE.0
    } else {
        let Ok(operator) = operators::find(name) else {
            bail!("unknown operator {name}; use one of {}", known());
        };
        Tools::of(operator.tools)?;
        build(&[operator.name, "mutate"])?;
        operator.short
    };
    let mut mutate = Command::new(binaries()?.join("mutate"));
    exec(mutate.arg(name).args(options).current_dir(project_root()?))
}

/// Returns the names of the operators and the example, for messages.
pub(crate) fn known() -> String {
    format!("{}, {}", operators::shorts(), EXAMPLE.0)
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
