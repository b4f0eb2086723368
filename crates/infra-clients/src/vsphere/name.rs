//! Names as vCenter writes them. Inside vCenter an object's name never holds a bare `%`, `/` or
//! `\`: they are escaped, so that inventory paths can be split at `/`. Owns that mapping and
//! nothing else.

use std::borrow::Cow;

/// The name in vCenter's escaped form.
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

/// The name a person gave, from vCenter's escaped form. Other escape sequences are left as they are.
#[must_use]
pub fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).map(str::to_ascii_lowercase);
        let plain = match code.as_deref() {
            Some("25") => '%',
            Some("2f") => '/',
            Some("5c") => '\\',
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push(plain);
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The name to send in a call that creates or renames. vCenter escapes `/`, `\` and `%` itself,
/// except a `%` that already begins an escape sequence; so only such a name has to be escaped
/// here, and every other name may be sent as it is (the simulator escapes without exception).
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
        fn unescape_undoes_escape(name in "[a-z%/\\\\25cfFC é]{0,24}") {
            let escaped = escape(&name).into_owned();
            prop_assert!(!escaped.contains(['/', '\\']));
            prop_assert_eq!(unescape(&escaped), name);
        }
    }
}
