//! YAML for CPI: mappings and lists, with every text in double quotes.

use std::fmt::Write;

/// A value.
pub(super) enum Node {
    Text(String),
    Bool(bool),
    Number(u64),
    List(Vec<String>),
    Map(Vec<(String, Node)>),
}

/// Returns the mapping as a document.
pub(super) fn document(map: &[(String, Node)]) -> String {
    let mut out = String::new();
    add(&mut out, "", map);
    out
}

fn add(out: &mut String, indent: &str, map: &[(String, Node)]) {
    for (key, node) in map {
        out.extend([indent, key, ":"]);
        match node {
            Node::Map(map) => {
                out.push('\n');
                add(out, &format!("{indent}    "), map);
                continue;
            }
            Node::List(items) => {
                for item in items {
                    out.extend(["\n", indent, "    - ", &quoted(item)]);
                }
            }
            Node::Text(text) => out.extend([" ", &quoted(text)]),
            Node::Bool(value) => out.extend([" ", &value.to_string()]),
            Node::Number(value) => out.extend([" ", &value.to_string()]),
        }
        out.push('\n');
    }
}

/// Returns a text in double quotes. A reader of YAML refuses the control characters, and takes some others for line breaks.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                // Writing into a String does not fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn values_have_one_form() {
        let text = |text: &str| Node::Text(text.to_owned());
        let map = vec![
            ("a".to_owned(), Node::Bool(false)),
            ("b".to_owned(), Node::Number(443)),
            ("c".to_owned(), Node::List(vec!["x".to_owned(), "- y".to_owned()])),
            (quoted("10.0.0.1"), Node::Map(vec![("d".to_owned(), text("p\"a\\s #;\n\u{7f}wörd"))])),
        ];
        let wanted = "a: false\nb: 443\nc:\n    - \"x\"\n    - \"- y\"\n\"10.0.0.1\":\n    d: \"p\\\"a\\\\s #;\\n\\u007Fwörd\"\n";
        assert_eq!(document(&map), wanted);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in any::<String>(), key in "[ -~é]{1,8}") {
            let map = vec![(quoted(&key), Node::Map(vec![("inner".to_owned(), Node::Text(text.clone()))]))];
            let document = document(&map);
            let read: Value = serde_saphyr::from_str(&document).unwrap();
            prop_assert_eq!(read[&key]["inner"].as_str(), Some(text.as_str()), "{}", document);
        }
    }
}
