//! YAML as the original wrote its data values: mappings in a given order, 4 spaces for each level, its library's choice of quotes.

use serde_json::Value;

/// A value of a mapping.
pub(super) enum Node {
    Text(String),
    Bool(bool),
    Number(i64),
    Map(Vec<(&'static str, Node)>),
}

/// A mapping of texts.
pub(super) fn texts<const N: usize>(pairs: [(&'static str, String); N]) -> Vec<(&'static str, Node)> {
    pairs.into_iter().map(|(key, value)| (key, Node::Text(value))).collect()
}

/// Returns the mapping as a document.
pub(super) fn document(map: &[(&'static str, Node)]) -> String {
    let mut out = String::new();
    write(&mut out, 0, map);
    out
}

fn write(out: &mut String, level: usize, map: &[(&'static str, Node)]) {
    for (key, node) in map {
        let indent = "    ".repeat(level);
        let value = match node {
            Node::Map(map) => {
                out.extend([&indent, *key, ":\n"]);
                write(out, level + 1, map);
                continue;
            }
            Node::Bool(value) => value.to_string(),
            Node::Number(value) => value.to_string(),
            Node::Text(text) => scalar(text, level + 1),
        };
        out.extend([&indent, *key, ": ", &value, "\n"]);
    }
}

/// Returns a text as a scalar: plain where a reader takes it for text, in double quotes where it takes it for something else, in single
/// quotes where its characters need them, and as a literal block where it has lines.
fn scalar(text: &str, level: usize) -> String {
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return quoted(text);
    }
    if text.contains('\n') {
        return literal(text, level);
    }
    if is_other_than_text(text) {
        return quoted(text);
    }
    if is_plain(text) { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// JSON's quoting is one of YAML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn literal(text: &str, level: usize) -> String {
    let lines: Vec<_> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    if lines.iter().any(|line| line.ends_with(' ')) {
        return quoted(text);
    }
    let hint = if text.starts_with([' ', '\n']) { "4" } else { "" };
    let chomp = if !text.ends_with('\n') {
        "-"
    } else if text == "\n" || text.ends_with("\n\n") {
        "+"
    } else {
        ""
    };
    let indent = "    ".repeat(level);
    let body =
        lines.iter().map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") });
    format!("|{hint}{chomp}\n{}", body.collect::<Vec<_>>().join("\n"))
}

/// Returns whether YAML 1.1 or 1.2 reads the plain text as nothing, a truth value, a number or a time.
fn is_other_than_text(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "", "~", "null", "true", "false", "y", "n", "yes", "no", "on", "off", ".inf", "+.inf", "-.inf",
        ".nan", "<<",
    ];
    let lower = text.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower).replace('_', "");
    let is_radix = ["0x", "0o", "0b"].iter().any(|prefix| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    });
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    is_radix || (starts && (unsigned.parse::<f64>().is_ok() || is_sexagesimal(&unsigned) || is_date(&lower)))
}

/// Numbers to the base 60, such as 1:30.
fn is_sexagesimal(text: &str) -> bool {
    let mut parts = text.split(':');
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    parts.clone().count() > 1 && parts.all(is_digits)
}

/// Dates such as 2026-11-29, with or without a time.
fn is_date(text: &str) -> bool {
    let date = text.split(['t', ' ']).next().unwrap_or_default();
    let parts: Vec<_> = date.split('-').collect();
    let is_number = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == 3 && parts[0].len() == 4 && parts.iter().all(is_number)
}

/// Returns whether the text needs no quotes for its characters.
fn is_plain(text: &str) -> bool {
    let indicators = [',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`'];
    let dashes = ["- ", "? ", ": ", "---", "..."];
    !(text.starts_with(indicators)
        || dashes.iter().any(|dash| text.starts_with(dash))
        || matches!(text, "-" | "?" | ":")
        || text.starts_with(' ')
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_quoted_as_the_original_did() {
        let cases = [
            ("", r#""""#),
            ("1800", r#""1800""#),
            ("30.2", r#""30.2""#),
            ("30.2.1", "30.2.1"),
            ("true", r#""true""#),
            ("Off", r#""Off""#),
            ("0x1f", r#""0x1f""#),
            ("2026-11-29", r#""2026-11-29""#),
            ("1:30", r#""1:30""#),
            ("10.0.0.0/24", "10.0.0.0/24"),
            ("fd00::/64", "fd00::/64"),
            ("avi.example.com:443", "avi.example.com:443"),
            ("VM Network", "VM Network"),
            ("Admin!23", "Admin!23"),
            ("!bang", "'!bang'"),
            ("it's: ", "'it''s: '"),
            ("-----BEGIN-----", "'-----BEGIN-----'"),
            (r#"[{"a":1}]"#, r#"'[{"a":1}]'"#),
            ("a\tb", r#""a\tb""#),
            ("a\nb\n", "|\n    a\n    b"),
            ("a\n\nb", "|-\n    a\n\n    b"),
            ("a\n\n", "|+\n    a\n"),
        ];
        for (text, wanted) in cases {
            assert_eq!(scalar(text, 1), wanted, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(text in "[ -~\n\u{e9}]{0,24}") {
            let document = document(&[("outer", Node::Map(vec![("key", Node::Text(text.clone()))]))]);
            let read: Value = serde_saphyr::from_str(&document).unwrap();
            proptest::prop_assert_eq!(read["outer"]["key"].as_str(), Some(text.as_str()), "{}", document);
        }
    }
}
