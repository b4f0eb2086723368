//! The command line every operator has: `run` (also without a word), `crd`, `rbac`, `manifests`, `completions`.
//!
//! Owns the commands and Go's spelling of flags. An operator names its kinds, its rights and its work; see [`Program`].

use std::{error::Error as StdError, ffi::OsString, future::Future, process::ExitCode};

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use k8s_openapi::{
    api::rbac::v1::PolicyRule,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};

use crate::{
    args::{CommonArgs, go_style},
    error::{Chain, Error},
    manifests::{self, Account},
    run::{self, Kit, Operator},
};

/// An operator's program. Its `main` returns [`main::<Self>()`](main).
pub trait Program {
    /// The operator's flags, with [`CommonArgs`] flattened into them.
    type Args: Args;
    /// Why the work ends early.
    type Error: Into<Box<dyn StdError + Send + Sync>>;

    /// The operator's identity.
    const OPERATOR: Operator;
    /// First line of `--help`: what the operator does.
    const ABOUT: &'static str;
    /// Namespace that the shipped manifests install the operator in.
    const NAMESPACE: &'static str;

    /// Returns the common flags among the operator's.
    fn common(args: &Self::Args) -> &CommonArgs;

    /// Returns the operator's kinds.
    fn crds() -> Vec<CustomResourceDefinition>;

    /// Returns the rights the operator uses, beside those for events and the Lease.
    fn rights() -> Rights;

    /// Does the operator's work until the kit shuts down.
    fn run(kit: Kit, args: Self::Args) -> impl Future<Output = Result<(), Self::Error>>;
}

/// The rights of an operator.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// On namespaced objects: in a ClusterRole, or with `--watch-namespace` in a Role of each namespace.
    pub namespaced: Vec<PolicyRule>,
    /// On cluster-scoped objects.
    pub cluster: Vec<PolicyRule>,
}

#[derive(Parser)]
struct Cli<A: Args> {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    args: A,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Action {
    /// Run the operator; the same as without a command
    Run,
    /// Print the CustomResourceDefinitions as YAML
    Crd,
    /// Print the ServiceAccount's roles as YAML: exactly the rights the operator uses; with --watch-namespace a Role for
    /// each namespace, and all bindings
    Rbac,
    /// Print both
    Manifests,
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and does what it asks for: the whole of an operator's `main`.
#[must_use]
pub fn main<P: Program>() -> ExitCode {
    let command = command::<P>();
    let matches = command.clone().get_matches_from(normal(std::env::args_os()));
    let Cli { command: action, args } = match Cli::<P::Args>::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.format(&mut command.clone()).exit(),
    };
    let result = match action {
        None | Some(Action::Run) => run::run(P::OPERATOR, &P::common(&args).clone(), |kit| P::run(kit, args)),
        Some(action) => print::<P>(action, P::common(&args), command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", P::OPERATOR.name, Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn command<P: Program>() -> Command {
    Cli::<P::Args>::command()
        .name(P::OPERATOR.name)
        .version(P::OPERATOR.version)
        .about(P::ABOUT)
        .max_term_width(110)
}

/// The arguments in clap's spelling. Flags belong to the program, so the word `run` before them is left out.
fn normal(arguments: impl IntoIterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    go_style(arguments)
        .enumerate()
        .filter(|(n, argument)| *n != 1 || argument != "run")
        .map(|(_, argument)| argument)
}

fn print<P: Program>(action: Action, args: &CommonArgs, mut command: Command) -> Result<(), Error> {
    let crds = || manifests::crds(&P::crds());
    let rbac = || {
        let account = Account { name: P::OPERATOR.name, namespace: P::NAMESPACE };
        manifests::rbac(account, P::rights(), &args.watched())
    };
    match action {
        Action::Run => {}
        Action::Crd => print!("{}", crds()?),
        Action::Rbac => print!("{}", rbac()?),
        Action::Manifests => print!("{}{}", crds()?, rbac()?),
        Action::Completions { shell } => {
            clap_complete::generate(shell, &mut command, P::OPERATOR.name, &mut std::io::stdout());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_the_same_as_no_command() {
        let line = |line: &str| normal(line.split(' ').map(OsString::from)).collect::<Vec<_>>();
        assert_eq!(line("op run -metrics-addr=:1"), ["op", "--metrics-addr=:1"].map(OsString::from));
        assert_eq!(line("op crd"), ["op", "crd"].map(OsString::from));
        assert_eq!(line("op --vc-host run"), ["op", "--vc-host", "run"].map(OsString::from));
    }
}
