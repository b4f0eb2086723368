//! What the pages say about reasons and checks: the same text in the documentation and on a terminal.

use crate::preflight::Check;

const REASONS: &str = include_str!("../../../../docs/vdo/reasons.md");
const CHECKS: &str = include_str!("../../../../docs/vdo/checks.md");

/// Returns the name of a reason as it is written, and what it means and what to do. Upper and lower case are the same.
pub(super) fn reason(word: &str) -> Option<(String, String)> {
    let mut rows = REASONS.lines().filter_map(row);
    rows.find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(name, text)| (name.to_owned(), plain(text)))
}

/// Returns the names of all reasons.
pub(super) fn reasons() -> Vec<String> {
    REASONS.lines().filter_map(row).map(|(name, _)| name.to_owned()).collect()
}

/// Reads a row of the table, such as ``| `Busy` | The vCenter is busy. |``.
fn row(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.strip_prefix("| `")?.split_once("` | ")?;
    Some((name, text.trim_end().strip_suffix('|')?.trim_end()))
}

/// Returns what is said about a check.
pub(super) fn check(check: Check) -> String {
    let heading = format!("### {}\n", check.name());
    let section = CHECKS.split_once(&heading).map(|(_, after)| after).unwrap_or_default();
    let end = section.find("\n#").unwrap_or(section.len());
    let lines: Vec<_> = section[..end].trim().lines().collect();
    plain(&lines.join(" "))
}

/// Returns text without Markdown's links.
fn plain(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, link)) = rest.split_once('[') {
        let Some((name, after)) = link.split_once("](") else { break };
        let Some((_, after)) = after.split_once(')') else { break };
        plain.push_str(before);
        plain.push_str(name);
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason as of;

    #[test]
    fn every_reason_and_check_is_explained() {
        for name in of::ALL {
            let (found, text) = reason(&name.to_lowercase()).unwrap();
            assert!(found == *name && text.len() > 20 && !text.contains("]("), "{name}: {text}");
        }
        assert!(reasons().len() > of::ALL.len());
        assert_eq!(reason("NoSuchReason"), None);
        for of in Check::ALL {
            let text = check(*of);
            assert!(text.len() > 20 && !text.contains("]("), "{of}: {text}");
        }
    }

    #[test]
    fn links_become_their_text() {
        assert_eq!(plain("see [Install](install.md), or [a](b)."), "see Install, or a.");
        assert_eq!(plain("spec.drivers[0] and [x"), "spec.drivers[0] and [x");
    }
}
