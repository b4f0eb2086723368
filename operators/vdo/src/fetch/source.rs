//! Where a file is, as users write it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use infra_clients::download::Address;
use infra_clients::download::registry::Reference;
use operator_kit::names::check_object_name;

use crate::api::CompatibilityMatrixSpec;
use crate::problem::Problem;

const CHECKSUM: &str = "sha256=";

/// Where a file is, and its checksum, if that is known. Formats without query and checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    place: Place,
    sha256: Option<String>,
    /// As it was written, without the checksum.
    identity: String,
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a server: `https://…`, or `http://…` with a checksum.
    Url(Address),
    /// In a registry, as an artifact that is one file: `oci://registry/repository:tag`.
    Artifact(Reference),
    /// In a ConfigMap of the namespace of the object that names it: `configmap:name/key`.
    ConfigMap {
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// In the operator's directory of files: `file:path`.
    File(PathBuf),
}

impl Source {
    /// Returns where the file is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the SHA-256 of the file, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }

    /// Returns whether the source always stands for the same file: it has a checksum, or is an artifact with a digest.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        let has_digest = matches!(&self.place, Place::Artifact(reference) if reference.digest().is_some());
        has_digest || self.sha256.is_some()
    }

    /// Returns whether the file comes over the network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Url(_) | Place::Artifact(_))
    }

    /// Returns what tells it from other sources: as it was written, without the checksum.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Reads where a matrix is; `None` if it is in the object itself.
    ///
    /// # Errors
    /// If that is not clear.
    pub fn of_matrix(spec: &CompatibilityMatrixSpec) -> Result<Option<Self>, Problem> {
        let (field, text) = match spec {
            CompatibilityMatrixSpec { url: Some(file), .. } => {
                ("spec.url", format!("{}#{CHECKSUM}{}", file.url, file.sha256))
            }
            CompatibilityMatrixSpec { oci: Some(reference), .. } => {
                ("spec.oci", format!("oci://{reference}"))
            }
            CompatibilityMatrixSpec { config_map: Some(of), .. } => {
                ("spec.configMap", format!("configmap:{}/{}", of.name, of.key))
            }
            _ => return Ok(None),
        };
        text.parse().map(Some).map_err(|message: String| Problem::new(field, message))
    }
}

impl FromStr for Source {
    type Err = String;

    /// Reads `https://…`, `oci://…`, `configmap:name/key` or `file:path`, with `#sha256=…` at the end.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (identity, sha256) = match text.split_once('#') {
            Some((identity, fragment)) => (identity, Some(checksum(fragment)?)),
            None => (text, None),
        };
        let (scheme, rest) = identity.split_once(':').unwrap_or_default();
        let place = match scheme.to_ascii_lowercase().as_str() {
            "https" | "http" => Place::Url(identity.parse::<Address>().map_err(|error| error.to_string())?),
            "oci" => {
                let name = rest.trim_start_matches('/');
                Place::Artifact(name.parse::<Reference>().map_err(|error| error.to_string())?)
            }
            "configmap" => config_map(rest)?,
            "file" => file(rest)?,
            _ => {
                return Err(format!(
                    "{identity:?} is no source: write https://…, oci://registry/repository:tag, configmap:name/key or file:path"
                ));
            }
        };
        if let Place::Url(address) = &place
            && address.is_plain()
            && sha256.is_none()
        {
            return Err(format!(
                "{address} can be changed on its way: use https, or add #{CHECKSUM}… with its checksum"
            ));
        }
        Ok(Self { place, sha256, identity: identity.to_owned() })
    }
}

fn checksum(fragment: &str) -> Result<String, String> {
    let digits = fragment.strip_prefix(CHECKSUM).map(str::to_ascii_lowercase);
    digits.filter(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).ok_or_else(|| {
        format!("#{fragment} is no checksum: write #{CHECKSUM} and the 64 digits that `sha256sum` prints for the file")
    })
}

fn config_map(text: &str) -> Result<Place, String> {
    match text.split_once('/') {
        Some((name, key)) if !name.is_empty() && !key.is_empty() && !key.contains('/') => {
            check_object_name(name)?;
            Ok(Place::ConfigMap { name: name.to_owned(), key: key.to_owned() })
        }
        _ => Err(format!("configmap:{text} names no key: write configmap:name/key")),
    }
}

fn file(text: &str) -> Result<Place, String> {
    let path = Path::new(text);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if text.is_empty() || !is_below {
        return Err(format!(
            "file:{text} leads out of the operator's directory of files: write a path below it, such as file:antrea/v2.7.0.yaml"
        ));
    }
    Ok(Place::File(path.to_owned()))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Url(address) => fmt::Display::fmt(address, f),
            Place::Artifact(reference) => write!(f, "oci://{reference}"),
            Place::ConfigMap { name, key } => write!(f, "configmap:{name}/{key}"),
            Place::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ConfigMapKey, Download};

    #[test]
    fn sources_are_read() {
        let sum = "ab".repeat(32);
        let digest = format!("oci://r.example.com/a@sha256:{sum}");
        for (text, shown, is_remote, is_pinned) in [
            ("https://host/a.yaml?x=1".to_owned(), "https://host/a.yaml", true, false),
            (
                format!(" https://host/a.yaml#sha256={} ", sum.to_uppercase()),
                "https://host/a.yaml",
                true,
                true,
            ),
            (format!("http://host/a.yaml#sha256={sum}"), "http://host/a.yaml", true, true),
            ("oci://r.example.com/a:v1".to_owned(), "oci://r.example.com/a:v1", true, false),
            (digest.clone(), digest.as_str(), true, true),
            ("configmap:matrix/content".to_owned(), "configmap:matrix/content", false, false),
            (format!("file:antrea/v2.7.0.yaml#sha256={sum}"), "file:antrea/v2.7.0.yaml", false, true),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(
                (source.to_string().as_str(), source.is_remote(), source.is_pinned()),
                (shown, is_remote, is_pinned)
            );
            assert!(source.sha256().is_none_or(|found| found == sum));
        }
    }

    #[test]
    fn what_is_no_source_says_what_to_write() {
        for (text, wanted) in [
            ("", "is no source: write https://"),
            ("antrea.yaml", "is no source: write https://"),
            ("ftp://host/a", "is no source: write https://"),
            ("https://", "cannot be read: write one such as https://"),
            ("https://user:pw@host/a", "holds a user"),
            ("http://host/a", "http://host/a can be changed on its way: use https, or add #sha256="),
            ("https://host/a#sha256=ab", "#sha256=ab is no checksum: write #sha256= and the 64 digits"),
            ("https://host/a#top", "#top is no checksum"),
            ("oci://antrea:v1", "has no registry: write one such as"),
            ("configmap:matrix", "names no key: write configmap:name/key"),
            ("configmap:a/b/c", "names no key"),
            ("configmap:a\nb/c", "is no name of an object: write at most 253"),
            ("configmap:../b", "is no name of an object"),
            ("file:", "leads out of the operator's directory"),
            ("file:///etc/passwd", "leads out of the operator's directory"),
            ("file:../a", "leads out of the operator's directory"),
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(error.contains(wanted) && !error.contains("pw"), "{text}: {error}");
        }
    }

    #[test]
    fn a_matrix_is_in_its_object_or_elsewhere() {
        let sum = "ab".repeat(32);
        let read = |spec: CompatibilityMatrixSpec| {
            Source::of_matrix(&spec).map(|source| source.map(|source| source.to_string()))
        };
        let inline =
            CompatibilityMatrixSpec { inline: Some("{}".to_owned()), ..CompatibilityMatrixSpec::default() };
        assert_eq!(read(inline), Ok(None));
        let url = |url: &str| CompatibilityMatrixSpec {
            url: Some(Download { url: url.to_owned(), sha256: sum.clone() }),
            ..CompatibilityMatrixSpec::default()
        };
        assert_eq!(read(url("https://host/m.json")), Ok(Some("https://host/m.json".to_owned())));
        let error = read(url("https://u:p@host/m.json")).unwrap_err();
        assert!(error.to_string().starts_with("spec.url: the URL"), "{error}");
        let key = ConfigMapKey { name: "m".to_owned(), key: "k".to_owned() };
        let spec = CompatibilityMatrixSpec { config_map: Some(key), ..CompatibilityMatrixSpec::default() };
        assert_eq!(read(spec), Ok(Some("configmap:m/k".to_owned())));
        let oci = |text: &str| CompatibilityMatrixSpec {
            oci: Some(text.to_owned()),
            ..CompatibilityMatrixSpec::default()
        };
        assert_eq!(read(oci("r.example.com/m:v1")), Ok(Some("oci://r.example.com/m:v1".to_owned())));
        assert!(read(oci("m")).unwrap_err().to_string().starts_with("spec.oci: the artifact"));
    }
}
