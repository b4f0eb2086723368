//! Reasons: the CamelCase constants that conditions, events and metrics share, and the test that the docs explain each.

use std::collections::BTreeSet;

/// Declares reasons as documented constants, and `ALL` of them for [`check_documented`].
///
/// ```
/// mod reason {
///     operator_kit::reasons! {
///         /// The object is as its spec asks.
///         AS_ASKED = "AsAsked";
///         /// The quota of the outside system is used up.
///         QUOTA_EXCEEDED = "QuotaExceeded";
///     }
/// }
/// assert_eq!(reason::ALL, [reason::AS_ASKED, "QuotaExceeded"]);
/// ```
#[macro_export]
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $value;)+
        /// Every reason declared here.
        pub const ALL: &[&str] = &[$($value),+];
    };
}

/// Reasons of the kit itself, which the docs of every operator explain.
pub const KIT: &[&str] = &[
    crate::error::KUBERNETES_API,
    crate::error::KUBERNETES_REFUSED,
    crate::error::NOT_LEADER,
    crate::error::INTERNAL_ERROR,
    crate::driver::INVALID_OBJECT,
    crate::driver::FINALIZERS_LEFT,
    crate::driver::OBJECTS_LEFT,
];

/// Compares the reasons with the tables of a docs page, whose rows begin with `` | `Reason` ``. For a test of each operator.
///
/// # Errors
/// Says which reasons have no row, and which rows are no reason.
pub fn check_documented<'a>(
    docs: &'a str,
    reasons: impl IntoIterator<Item = &'a &'a str>,
) -> Result<(), String> {
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let described: BTreeSet<&str> = rows.map(|(reason, _)| reason).collect();
    let declared: BTreeSet<&str> = reasons.into_iter().chain(KIT).copied().collect();
    if described == declared {
        return Ok(());
    }
    let missing: Vec<_> = declared.difference(&described).collect();
    let unknown: Vec<_> = described.difference(&declared).collect();
    Err(format!("reasons without a row: {missing:?}; rows without a reason: {unknown:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_and_reasons_are_compared_both_ways() {
        let kit = KIT.iter().map(|reason| format!("| `{reason}` | … |")).collect::<Vec<_>>().join("\n");
        assert_eq!(check_documented(&format!("{kit}\n| `Known` | … |"), &["Known"]), Ok(()));
        let error = check_documented(&format!("{kit}\n| `Old` | … |"), &["New"]).unwrap_err();
        assert!(
            error.contains(r#"without a row: ["New"]"#) && error.contains(r#"without a reason: ["Old"]"#),
            "{error}"
        );
    }
}
