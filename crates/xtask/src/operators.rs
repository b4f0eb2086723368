//! The operators of the workspace, by the short names that the commands take.

use anyhow::{Context, Result};

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
    /// Whether it has a model for the explorer.
    pub(crate) has_model: bool,
}

/// The operators, in the order of the docs. The first is the default of `cargo xtask demo`.
pub(crate) const OPERATORS: &[Operator] = &[
    Operator {
        short: "vm",
        name: "vm-operator",
        tools: &["etcd", "kube-apiserver", "vcsim"],
        tests: "vm_operator",
        has_model: true,
    },
    Operator {
        short: "ako",
        name: "ako-operator",
        tools: &["capi-core", "etcd", "kube-apiserver"],
        tests: "ako_operator",
        has_model: false,
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

/// Returns the short names, for messages.
pub(crate) fn shorts() -> String {
    OPERATORS.iter().map(|operator| operator.short).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
