//! The commands mutate and perturb, which build an operator and a program of `e2e`, and run the program.

use std::process::Command;

use anyhow::{Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, build};
use crate::operators::{self, EXAMPLES};
use crate::programs::exec;

/// Runs a program of `e2e` that takes the name of an operator, then options.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let known = names();
    let (name, options) = match arguments {
        [name, options @ ..] if !name.starts_with('-') => (*name, options),
        _ => bail!("usage: cargo xtask {program} OPERATOR [OPTION…]; OPERATOR is one of {known}"),
    };
    let name = if EXAMPLES.contains(&name) {
        build(&[program])?;
        name
    } else {
        let Ok(operator) = operators::find(name) else {
            bail!("unknown operator {name}; use one of {known}");
        };
        operators::find_for(program, name)?;
        Tools::of(operator.tools)?;
        build(&[operator.name, program])?;
        operator.short
    };
    let mut command = Command::new(binaries()?.join(program));
    exec(command.arg(name).args(options).current_dir(project_root()?))
}

/// Returns the names of the operators that have a rig, for messages.
fn names() -> String {
    format!("{}, {}", operators::shorts(), EXAMPLES.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_operator_is_refused_with_those_that_exist() {
        let error = run("mutate", &["vdx"]).unwrap_err();
        assert_eq!(error.to_string(), format!("unknown operator vdx; use one of {}", names()));
    }

    #[test]
    fn the_operator_comes_before_the_options() {
        let usage = format!("usage: cargo xtask perturb OPERATOR [OPTION…]; OPERATOR is one of {}", names());
        for line in [&[][..], &["--list"], &["--list", "vm"]] {
            assert_eq!(run("perturb", line).unwrap_err().to_string(), usage, "{line:?}");
        }
    }
}
