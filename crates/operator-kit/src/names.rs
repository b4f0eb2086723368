//! Names derived from other names: deterministic, within a limit, and different for different inputs. And lists of names in messages.

use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest, Sha256};

/// Longest value of a Kubernetes label, in bytes.
const LABEL_VALUE: usize = 63;
/// Characters of hash that replace what is cut off or cannot be kept.
const HASH: usize = 8;
/// Longest name of an object, in bytes.
const OBJECT_NAME: usize = 253;
/// Characters of a wrong name that a message shows.
const SHOWN: usize = 60;
/// How many things a message names.
const FEW: usize = 5;

/// Returns `name` if it has at most `max` bytes; else its beginning, `-` and 8 characters of its SHA-256.
///
/// The result ends at a character and has at most `max` bytes, whatever the input; `max` is at least 10.
///
/// ```
/// use operator_kit::names::bounded;
/// assert_eq!(bounded("web-0", 80), "web-0");
/// assert_eq!(bounded("a-very-long-name", 14), "a-ver-dgaoggl0");
/// ```
#[must_use]
pub fn bounded(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    hashed(name, name, max)
}

/// Lists things for a message: the first five, and how many others there are.
///
/// ```
/// use operator_kit::names::first_few;
/// assert_eq!(first_few(&["a".to_owned(), "b".to_owned()]), "a, b");
/// ```
#[must_use]
pub fn first_few(all: &[String]) -> String {
    let (named, others) = all.split_at(all.len().min(FEW));
    let named = named.join(", ");
    if others.is_empty() { named } else { format!("{named} and {} more", others.len()) }
}

/// Checks that an object of Kubernetes can have this name, before it becomes part of the URL of a request.
///
/// ```
/// use operator_kit::names::check_object_name;
/// assert_eq!(check_object_name("account.vc-1"), Ok(()));
/// assert!(check_object_name("../other").unwrap_err().contains("is no name of an object: write"));
/// ```
///
/// # Errors
/// If it is not a DNS subdomain; says what to write instead.
pub fn check_object_name(name: &str) -> Result<(), String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let (first, last) = (label.bytes().next(), label.bytes().next_back());
        first.is_some_and(is_inner)
            && last.is_some_and(is_inner)
            && label.bytes().all(|byte| is_inner(byte) || byte == b'-')
    };
    if name.len() <= OBJECT_NAME && name.split('.').all(is_label) {
        return Ok(());
    }
    let shown: String = name.chars().take(SHOWN).collect();
    let rest = if shown.len() < name.len() { "…" } else { "" };
    Err(format!(
        "{shown:?}{rest} is no name of an object: write at most {OBJECT_NAME} lower-case letters, digits, '-' and '.', with a letter or digit at \
         both ends"
    ))
}

/// Returns `text` as the value of a Kubernetes label: unchanged where it is one, else with what a label cannot hold
/// replaced by `-`, and 8 characters of its SHA-256 appended.
///
/// ```
/// use operator_kit::names::label_value;
/// assert_eq!(label_value("web.team-a"), "web.team-a");
/// assert_eq!(label_value("größe"), "gr--e-qd9q4por");
/// ```
#[must_use]
pub fn label_value(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |text: &str| {
        let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        alphanumeric(text.chars().next()) && alphanumeric(text.chars().next_back())
    };
    if text.is_empty() || (text.len() <= LABEL_VALUE && text.chars().all(fits) && ends(text)) {
        return text.to_owned();
    }
    let kept: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    hashed(kept.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()), text, LABEL_VALUE)
}

/// The beginning of `head`, and a hash of `whole`.
fn hashed(head: &str, whole: &str, max: usize) -> String {
    let hash = BASE32HEX_NOPAD.encode(&Sha256::digest(whole).as_slice()[..5]).to_ascii_lowercase();
    let end = head.floor_char_boundary(max.saturating_sub(HASH + 1));
    let head = head[..end].trim_end_matches(|c: char| !c.is_alphanumeric());
    if head.is_empty() { hash } else { format!("{head}-{hash}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_names_five() {
        let all: Vec<String> = (0..7).map(|i| i.to_string()).collect();
        assert_eq!(first_few(&all[..0]), "");
        assert_eq!(first_few(&all[..5]), "0, 1, 2, 3, 4");
        assert_eq!(first_few(&all), "0, 1, 2, 3, 4 and 2 more");
    }

    #[test]
    fn names_of_objects_are_subdomains() {
        for name in ["a", "0", "a-b.c1", &"a".repeat(253)] {
            assert_eq!(check_object_name(name), Ok(()), "{name}");
        }
        for name in
            ["", "A", "-a", "a-", "a..b", ".a", "a/b", "..", "a\nb", "a b", "ä", "a_b", &"a".repeat(254)]
        {
            let error = check_object_name(name).unwrap_err();
            assert!(!error.contains('\n') && error.len() < 300, "{error}");
        }
        let error = check_object_name("a\na").unwrap_err();
        assert!(error.starts_with(r#""a\na" is no name of an object: write at most 253"#), "{error}");
    }

    proptest! {
        #[test]
        fn names_fit_and_stay_apart(a in ".{0,120}", b in ".{0,120}", max in 10..100usize) {
            prop_assert!(bounded(&a, max).len() <= max);
            prop_assert_eq!(bounded(&a, max), bounded(&a, max));
            if a != b {
                prop_assert_ne!(bounded(&a, max), bounded(&b, max));
                prop_assert_ne!(label_value(&a), label_value(&b));
            }
        }

        #[test]
        fn label_values_are_valid(text in ".{0,120}") {
            let value = label_value(&text);
            let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
            prop_assert!(value.len() <= LABEL_VALUE);
            prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            prop_assert!(end(value.chars().next()) && end(value.chars().next_back()), "{}", value);
        }

        #[test]
        fn object_names_stay_object_names(name in "[a-z]([-.a-z0-9]{0,250}[a-z0-9])?", max in 10..100usize) {
            let short = bounded(&name, max);
            prop_assert!(short.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(short.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
