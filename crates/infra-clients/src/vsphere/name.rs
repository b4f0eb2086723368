//! Names as vCenter writes them. Inside vCenter an object's name never holds a bare `%`, `/` or `\`: they are
//! escaped, so that inventory paths can be split at `/`. Owns that mapping and nothing else.

use std::borrow::Cow;

/// Returns the name in vCenter's escaped form.
#[must_use]
pub fn escape(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '/', '\\']) {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        match c {
            '%' => out.push_str("%25"),
            '/' => out.push_str("%2f"),
            '\\' => out.push_str("%5c"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Returns the name a person gave, from vCenter's escaped form. Other escape sequences stay as they are.
#[must_use]
pub fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut parts = name.split('%');
    let mut out = String::with_capacity(name.len());
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let plain = match part.get(..2) {
            Some("25") => Some('%'),
            Some("2f" | "2F") => Some('/'),
            Some("5c" | "5C") => Some('\\'),
            _ => None,
        };
        if let (Some(plain), Some(rest)) = (plain, part.get(2..)) {
            out.push(plain);
            out.push_str(rest);
        } else {
            out.push('%');
            out.push_str(part);
        }
    }
    Cow::Owned(out)
}

/// Returns the name to send in a call that creates or renames. vCenter escapes `/`, `\` and `%` itself, except a `%`
/// that already begins an escape sequence: only such a name has to be escaped here, and every other name is sent as it
/// is (the simulator escapes without exception).
pub(super) fn to_send(name: &str) -> Cow<'_, str> {
    if unescape(name) == name { Cow::Borrowed(name) } else { escape(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_vcenter_escapes() {
        assert_eq!(escape("a/b%c\\d é"), "a%2fb%25c%5cd é");
        assert_eq!(unescape("a%2Fb%25c%5Cd%20"), "a/b%c\\d%20");
        assert_eq!(unescape("100%"), "100%");
        assert_eq!(unescape("%é"), "%é");
    }

    #[test]
    fn sends_only_the_ambiguous_escaped() {
        assert_eq!(to_send("a/b 50% \\"), "a/b 50% \\");
        assert_eq!(to_send("literal %2f"), "literal %252f");
    }

    proptest! {
        #[test]
        fn unescape_undoes_escape(name in prop_oneof!["[a-z%/\\\\25cfFC é]{0,24}", ".{0,24}"]) {
            let escaped = escape(&name).into_owned();
            prop_assert!(!escaped.contains(['/', '\\']));
            prop_assert_eq!(unescape(&escaped), name);
        }

        /// Names from outside are not always escaped as vCenter does it.
        #[test]
        fn unescape_takes_any_text(name in prop_oneof!["[%25fFcC日é]{0,12}", ".{0,24}"]) {
            let plain = unescape(&name).into_owned();
            prop_assert!(plain.len() <= name.len());
            prop_assert_eq!(unescape(&to_send(&plain)).into_owned(), plain);
        }
    }
}
