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
    /// The test binary that runs only this operator.
    pub(crate) tests: &'static str,
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
        tests: "vm_operator",
        has_webhook: false,
        lacks: &[],
    },
    Operator {
        short: "ako",
        name: "ako-operator",
        tools: &["capi-core", "etcd", "kube-apiserver"],
        tests: "ako_operator",
        has_webhook: true,
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
    use super::*;

    #[test]
    fn an_operator_without_a_command_is_refused() {
        assert_eq!(find_for("bench", "vm").unwrap().short, "vm");
        let error = find_for("mutants", "ako").unwrap_err().to_string();
        assert_eq!(error, "ako-operator does not have the command mutants yet");
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
