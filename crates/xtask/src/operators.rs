//! The operators of the workspace, by the short names that the commands take.

use anyhow::{Context, Result, ensure};

/// An operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    /// Its name in commands: `cargo xtask demo vm`.
    pub(crate) short: &'static str,
    /// The name of its binary, its package and its directories under `deploy/` and `docs/`.
    pub(crate) name: &'static str,
    /// The Go programs that its demo and benchmark run.
    pub(crate) tools: &'static [&'static str],
    /// The test binaries that run only this operator, or the outside systems that only it has.
    pub(crate) tests: &'static [&'static str],
    /// The checks of `cargo xtask test` with more tests of it, which need what not every machine has.
    pub(crate) checks: &'static [&'static str],
    /// Whether it has an admission webhook.
    pub(crate) has_webhook: bool,
    /// The commands that it does not have.
    pub(crate) lacks: &'static [&'static str],
}

/// The operators, in the order of the docs. The first is the default of `cargo xtask demo`.
pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        short: "vm",
        name: "vm-operator",
        tools: &["etcd", "kube-apiserver", "vcsim"],
        tests: &["vm_operator"],
        checks: &[],
        has_webhook: false,
        lacks: &[],
    },
    Operator {
        short: "ako",
        name: "ako-operator",
        tools: &["capi-core", "etcd", "kube-apiserver"],
        tests: &["ako_operator", "discovery"],
        checks: &["ako"],
        has_webhook: true,
        lacks: &["mutants"],
    },
    Operator {
        short: "vdo",
        name: "vdo",
        tools: &["etcd", "kube-apiserver", "kube-controller-manager", "vcsim"],
        tests: &["vdo"],
        checks: &[],
        has_webhook: false,
        lacks: &["mutants"],
    },
];

/// The kit's example operators, by the same names. Every build of binaries builds them as well.
pub(crate) const EXAMPLES: &[&str] = &["page", "shelf"];

/// Returns the operator with this short name or name.
///
/// # Errors
/// If there is none; the error lists those that exist.
pub(crate) fn find(name: &str) -> Result<&'static Operator> {
    let found = OPERATORS.iter().find(|operator| operator.short == name || operator.name == name);
    found.with_context(|| format!("unknown operator {name}; use one of {}", shorts()))
}

/// Returns the operator that a command is to run, as [`find`].
///
/// # Errors
/// As [`find`]; or it does not have the command.
pub(crate) fn find_for(command: &str, name: &str) -> Result<&'static Operator> {
    let operator = find(name)?;
    ensure!(!operator.lacks.contains(&command), "{} does not have the command {command} yet", operator.name);
    Ok(operator)
}

/// Returns the short names, for messages.
pub(crate) fn shorts() -> String {
    OPERATORS.iter().map(|operator| operator.short).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use testbed::project_root;

    use super::*;

    #[test]
    fn an_operator_without_a_command_is_refused() {
        assert_eq!(find_for("bench", "vm").unwrap().short, "vm");
        let error = find_for("mutants", "ako").unwrap_err().to_string();
        assert_eq!(error, "ako-operator does not have the command mutants yet");
    }

    /// Returns the names that a list in a source file has in quotation marks, or before colons.
    fn listed(file: &str, begin: &str, end: &str) -> Vec<String> {
        let source = fs::read_to_string(project_root().unwrap().join(file)).unwrap();
        let (_, rest) = source.split_once(begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
        let (list, _) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no {end} after {begin}"));
        let quoted: Vec<_> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
        let named = list.split(',').filter_map(|item| Some(item.split_once(':')?.0.trim().to_owned()));
        if quoted.is_empty() { named.collect() } else { quoted }
    }

    #[test]
    fn the_programs_of_e2e_know_the_same_operators() {
        let having = |command: &str| -> Vec<_> {
            let having = OPERATORS.iter().filter(|operator| !operator.lacks.contains(&command));
            having.map(|operator| operator.short).collect()
        };
        let rigs = [having("perturb"), EXAMPLES.to_vec()].concat();
        assert_eq!(listed("e2e/src/rig.rs", "$what! {", "}"), rigs);
        let demos = listed("e2e/src/bin/demo/main.rs", "\ndemos!(", ")");
        assert_eq!(demos, having("demo"));
        let subjects = listed("e2e/src/bin/bench/main.rs", "\nconst SUBJECTS:", ";\n");
        assert_eq!(subjects, [having("bench"), vec!["avi"]].concat());
    }

    #[test]
    fn an_operator_is_found_by_either_name() {
        assert_eq!(find("vm").unwrap().name, "vm-operator");
        assert_eq!(find("vm-operator").unwrap().short, "vm");
        assert_eq!(
            find("vdx").unwrap_err().to_string(),
            format!("unknown operator vdx; use one of {}", shorts())
        );
    }
}
