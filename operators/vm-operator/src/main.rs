//! The vm-operator binary.

use std::process::ExitCode;

use clap::Parser;
use operator_kit::error::Chain;
use vm_operator::args::{Cli, Command};
use vm_operator::{OPERATOR, manifests};

fn main() -> ExitCode {
    let Cli { command, args } = Cli::parse_from(operator_kit::args::go_style(std::env::args_os()));
    let result = match command {
        None => operator_kit::run(OPERATOR, &args.common.clone(), |kit| vm_operator::run(kit, args)),
        Some(Command::Crd) => manifests::crds().map(|yaml| print!("{yaml}")),
        Some(Command::Rbac) => manifests::rbac().map(|yaml| print!("{yaml}")),
        Some(Command::Manifests) => {
            manifests::crds().and_then(|crds| manifests::rbac().map(|rbac| print!("{crds}{rbac}")))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", OPERATOR.name, Chain(&error));
            ExitCode::FAILURE
        }
    }
}
