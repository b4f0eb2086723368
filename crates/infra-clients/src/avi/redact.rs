//! Removes secrets from texts that leave the module. Owns the knowledge of what is secret in a request; never logs.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::Secret;

/// The secrets in one exchange.
#[derive(Default)]
pub(super) struct Redact(Vec<Secret>);

impl Redact {
    pub(super) fn add(&mut self, secret: &Secret) {
        if !secret.expose().is_empty() {
            self.0.push(secret.clone());
        }
    }

    /// Adds every field of a body whose name, or the name of a field around it, says that it is secret.
    pub(super) fn add_body(&mut self, body: &Value) {
        self.add_part(body, false);
    }

    fn add_part(&mut self, part: &Value, secret: bool) {
        match part {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, value)| self.add_part(value, secret || is_secret(name)));
            }
            Value::Array(items) => items.iter().for_each(|item| self.add_part(item, secret)),
            Value::String(text) if secret || text.contains("PRIVATE KEY-----") => {
                self.add(&Secret::new(text.clone()));
            }
            _ => {}
        }
    }

    /// Returns the text with every secret, also as escaped in JSON and in URLs, replaced by `***`.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut forms: Vec<Secret> = Vec::new();
        for secret in &self.0 {
            let plain = secret.expose();
            forms.push(secret.clone());
            let json = serde_json::to_string(plain).unwrap_or_default();
            let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
            // Also as Python writes it.
            forms.push(Secret::new(ascii(json)));
            forms.push(Secret::new(json));
            forms.push(Secret::new(utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string()));
        }
        // The longest first: otherwise replacing a secret that is part of another one would hide only that part.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose().len()));
        let mut text = text.to_owned();
        for form in forms {
            if !form.expose().is_empty() && text.contains(form.expose()) {
                text = text.replace(form.expose(), "***");
            }
        }
        text
    }
}

/// Returns the inside of a JSON string with every non-ASCII character escaped.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_ascii() {
            text.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                write!(text, "\\u{unit:04x}").unwrap_or_default();
            }
        }
    }
    text
}

/// Returns whether a field of that name is secret.
pub(super) fn is_secret(field: &str) -> bool {
    let field = field.to_ascii_lowercase();
    ["password", "passwd", "passphrase", "secret", "token", "private_key", "credential"]
        .iter()
        .any(|part| field.contains(part) && !field.ends_with("_ref"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_every_form() {
        let mut redact = Redact::default();
        redact.add(&Secret::new("p\"w d"));
        redact.add_body(&serde_json::json!({
            "a": [{"password": "hunter2", "name": "n"}], "old_password": "hunter", "passwords": ["é\""],
            "oci_credentials": {"pass_phrase": "hunter of old"},
            "key": "-----BEGIN PRIVATE KEY-----\nMC4=\n",
        }));
        let said = r#"p"w d, p\"w d, p%22w%20d, hunter2, hunter of old, hunter, n, é", é\", \u00e9\", -----BEGIN PRIVATE KEY-----\nMC4=\n."#;
        assert_eq!(redact.hide(said), "***, ***, ***, ***, ***, ***, n, ***, ***, ***, ***.");
    }
}
