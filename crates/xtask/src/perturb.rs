//! `cargo xtask perturb OPERATOR`: builds an operator and runs its main job with one thing going wrong in each run.

use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::{Tools, project_root};

use crate::checks::{binaries, cargo, run_command};
use crate::operators;
use crate::programs::exec;

/// The kit's example operator, which is no operator of the workspace.
const EXAMPLE: &str = "page";
const TOOLS: &[&str] = &["etcd", "kube-apiserver", "vcsim"];

/// Builds with the dev profile and runs.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [operator, rest @ ..] = arguments else {
        bail!(
            "usage: cargo xtask perturb {}|{EXAMPLE} [--run NAME | --sample COUNT [--seed NUMBER] | --list] [--lanes NUMBER]",
            operators::shorts().replace(", ", "|")
        );
    };
    let example = format!("{EXAMPLE}-operator");
    let (name, tools) = if *operator == EXAMPLE || *operator == example {
        (example.as_str(), TOOLS)
    } else {
        let known = format!("the example is {EXAMPLE}");
        let operator = operators::find(operator).context(known)?;
        (operator.name, operator.tools)
    };
    Tools::of(tools)?;
    // As in the tests, so that nothing is compiled twice.
    run_command(cargo()?.args(["build", "--workspace", "--bins", "--examples"]))?;
    let mut perturb = Command::new(binaries()?.join("perturb"));
    exec(perturb.arg(name).args(rest).current_dir(project_root()?))
}
