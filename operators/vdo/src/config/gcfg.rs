//! The format of CSI: sections of `key = "value"`, as the Go library gcfg reads it.
//!
//! In quotes it knows the escapes `\\`, `\"`, `\n` and `\t`; in the name of a section only the first two. It drops carriage returns and
//! refuses the character NUL, so that a text with one of them cannot be expressed.

use std::fmt::Write;

/// Returns whether the format can express the text as a value.
pub(super) fn can_express(text: &str) -> bool {
    !text.contains(['\0', '\r'])
}

/// A file that is being written.
#[derive(Default)]
pub(super) struct File(String);

impl File {
    /// Begins a section, such as `[VirtualCenter "10.0.0.1"]`. The name must have no line break.
    pub(super) fn section(&mut self, section: &str, name: Option<&str>) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        let name = name.map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        self.0.extend(["[", section, &name, "]\n"]);
    }

    /// Adds a value to the section.
    pub(super) fn value(&mut self, key: &str, value: &str) {
        // Writing into a String does not fail.
        let _ = writeln!(self.0, "{key} = {}", quoted(value));
    }

    /// Returns the text.
    pub(super) fn text(self) -> String {
        self.0
    }
}

/// Returns a value of a file that [`File`] wrote.
pub(super) fn value_of(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.unwrap_or(value).to_owned()).filter(|value| !value.is_empty() && !value.contains('\\'))
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::iter::Peekable;
    use std::str::Chars;

    use proptest::prelude::*;

    use super::*;

    /// Values by section, its name, and key.
    pub(crate) type Values = BTreeMap<(String, String, String), String>;

    /// Reads a file as gcfg does.
    pub(crate) fn parse(text: &str) -> Result<Values, String> {
        let (mut values, mut section) = (Values::new(), (String::new(), String::new()));
        let mut chars = text.chars().peekable();
        while let Some(&c) = chars.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' => {
                    chars.next();
                }
                ';' | '#' => while chars.next().is_some_and(|c| c != '\n') {},
                '[' => {
                    chars.next();
                    section = (identifier(&mut chars)?, String::new());
                    blanks(&mut chars);
                    if chars.peek() == Some(&'"') {
                        chars.next();
                        section.1 = name(&mut chars)?;
                        blanks(&mut chars);
                    }
                    if chars.next() != Some(']') {
                        return Err("expected right bracket".to_owned());
                    }
                }
                _ => {
                    let key = identifier(&mut chars)?;
                    blanks(&mut chars);
                    if chars.next() != Some('=') {
                        return Err("expected '='".to_owned());
                    }
                    blanks(&mut chars);
                    let value = value(&mut chars)?;
                    values.insert((section.0.clone(), section.1.clone(), key), value);
                }
            }
        }
        Ok(values)
    }

    fn blanks(chars: &mut Peekable<Chars<'_>>) {
        while chars.next_if(|c| matches!(c, ' ' | '\t' | '\r')).is_some() {}
    }

    fn identifier(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
        let mut text = String::new();
        while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '-') {
            text.push(c);
        }
        if text.is_empty() { Err(format!("expected a name before {:?}", chars.peek())) } else { Ok(text) }
    }

    fn escape(chars: &mut Peekable<Chars<'_>>, is_value: bool) -> Result<char, String> {
        match chars.next() {
            Some(c @ ('\\' | '"')) => Ok(c),
            Some('n') if is_value => Ok('\n'),
            Some('t') if is_value => Ok('\t'),
            other => Err(format!("unknown escape sequence {other:?}")),
        }
    }

    fn name(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match chars.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.push(escape(chars, false)?),
                None | Some('\n') => return Err("string not terminated".to_owned()),
                Some(c) => text.push(c),
            }
        }
    }

    fn value(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
        let (mut text, mut is_quoted, mut end) = (String::new(), false, 0);
        loop {
            match chars.peek() {
                None | Some('\n') if is_quoted => return Err("string not terminated".to_owned()),
                None | Some('\n') => break,
                Some(';' | '#') if !is_quoted => break,
                Some('\0') => return Err("illegal character NUL".to_owned()),
                Some('"') => {
                    is_quoted = !is_quoted;
                    end = text.len();
                }
                Some('\\') if is_quoted => {
                    chars.next();
                    text.push(escape(chars, true)?);
                    end = text.len();
                    continue;
                }
                Some('\\') => {
                    return Err("unquoted '\\' must be followed by new line or double quote".to_owned());
                }
                Some('\r') => {}
                Some(c) => {
                    text.push(*c);
                    if is_quoted || !matches!(c, ' ' | '\t') {
                        end = text.len();
                    }
                }
            }
            chars.next();
        }
        text.truncate(end);
        Ok(text)
    }

    #[test]
    fn the_reader_of_the_tests_knows_the_rules() {
        let text = "; comment\n[Global]\na = \"x\" ; more\nb = plain text # more\n[V \"q\\\"\\\\\"]\nc=\"a\\n\\t\\\"\\\\#;\"\n";
        let values = parse(text).unwrap();
        let of =
            |section: &str, name: &str, key: &str| values[&(section.into(), name.into(), key.into())].clone();
        assert_eq!((of("Global", "", "a").as_str(), of("Global", "", "b").as_str()), ("x", "plain text"));
        assert_eq!(of("V", "q\"\\", "c"), "a\n\t\"\\#;");
        for bad in [
            "[a]\nb = \"\\s\"",
            "[a]\nb = \"x",
            "[a]\nb = \"x\ny\"",
            "[a \"\\n\"]",
            "[a",
            "[a]\nb",
            "[a]\nb = \\x",
            "[a]\nb=\"\0\"",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<String>(), name in "[^\r\n\0]{1,12}", plain in "[ -~]{0,24}") {
            prop_assume!(can_express(&value) && !name.contains('\t'));
            let mut file = File::default();
            file.section("Section", Some(&name));
            file.value("key", &value);
            file.section("Global", None);
            file.value("plain-key", &plain);
            let text = file.text();
            let values = parse(&text).map_err(TestCaseError::fail)?;
            prop_assert_eq!(&values[&("Section".to_owned(), name, "key".to_owned())], &value, "{}", &text);
            prop_assert_eq!(&values[&("Global".to_owned(), String::new(), "plain-key".to_owned())], &plain);
        }
    }
}
