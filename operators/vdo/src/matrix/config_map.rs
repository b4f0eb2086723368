//! The ConfigMap that says which matrix is used.

use std::collections::BTreeMap;

const URL: &str = "versionConfigURL";
const CONTENT: &str = "versionConfigContent";
const AUTO_UPGRADE: &str = "auto-upgrade";

/// What the ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the matrix is.
    pub source: Source,
    /// Whether a driver that is installed moves on to a newer version of the matrix.
    pub auto_upgrade: bool,
}

/// Where the matrix is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// At a URL.
    Url(String),
    /// Here.
    Content(String),
}

/// Reads the data of the ConfigMap.
///
/// # Errors
/// If it names no matrix or two, or `auto-upgrade` is unclear: the text says what to write.
pub fn settings(data: &BTreeMap<String, String>) -> Result<Settings, String> {
    let of = |key: &str| data.get(key).map(|text| text.trim()).filter(|text| !text.is_empty());
    let source = match (of(URL), of(CONTENT)) {
        (Some(url), None) => Source::Url(url.to_owned()),
        (None, Some(content)) => Source::Content(content.to_owned()),
        (Some(_), Some(_)) => {
            return Err(format!("the ConfigMap has {URL} and {CONTENT}: remove one of the two"));
        }
        (None, None) => {
            return Err(format!(
                "the ConfigMap names no matrix: write its URL into {URL}, or the matrix into {CONTENT}"
            ));
        }
    };
    let auto_upgrade = match of(AUTO_UPGRADE).map(str::to_ascii_lowercase).as_deref() {
        None | Some("disabled" | "false") => false,
        Some("enabled" | "true") => true,
        Some(other) => {
            return Err(format!("{AUTO_UPGRADE} is {other:?}: write \"enabled\" or \"disabled\""));
        }
    };
    Ok(Settings { source, auto_upgrade })
}
