//! Names of artifacts: `registry/repository:tag` or `registry/repository@sha256:…`.

use std::fmt;
use std::str::FromStr;

use super::super::{Address, SettingError};

const DIGEST: &str = "sha256:";
/// Longest tag.
const TAG: usize = 128;

/// The name of an artifact. Formats as it was written, without blanks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    pub(super) repository: String,
    tag: Option<String>,
    digest: Option<String>,
    /// Of the repository.
    address: Address,
}

impl Reference {
    /// Returns host and port of the registry.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the digest, `sha256:…`, if the name has one: then it always stands for the same file.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    pub(super) fn host(&self) -> &str {
        self.address.host()
    }

    pub(super) fn manifest(&self) -> Address {
        let name = self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest");
        self.address.below(["manifests", name])
    }

    /// Returns the address of a blob; `None` if it is no digest.
    pub(super) fn blob(&self, digest: &str) -> Option<Address> {
        is_digest(digest).then(|| self.address.below(["blobs", digest]))
    }
}

/// Returns the address of a repository; `None` if that is no host. `docker.io` has another host than its name, and names of images without
/// a user.
fn address_of(registry: &str, repository: &str) -> Option<Address> {
    let is_docker = registry == "docker.io";
    let host = if is_docker { "registry-1.docker.io" } else { registry };
    let library = if is_docker && !repository.contains('/') { "library/" } else { "" };
    format!("https://{host}/v2/{library}{repository}").parse().ok()
}

fn is_digest(text: &str) -> bool {
    let digits = text.strip_prefix(DIGEST).unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_repository(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.split('/').all(|part| {
        let bytes = part.as_bytes();
        bytes.iter().all(|byte| is_char(*byte)) && is_end(bytes.first()) && is_end(bytes.last())
    })
}

fn is_tag(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TAG).contains(&text.len()) && text.bytes().all(is_char) && !text.starts_with(['.', '-'])
}

impl FromStr for Reference {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Self, SettingError> {
        let bad = |why: &str| {
            SettingError::new(format!(
                "the artifact {text:?} {why}: write one such as registry.example.com/vdo/antrea:v2.7.0 or …/antrea@sha256:…"
            ))
        };
        let bare = text.trim();
        let (name, digest) = match bare.split_once('@') {
            Some((name, digest)) if is_digest(digest) => (name, Some(digest.to_owned())),
            Some(_) => return Err(bad("has a digest that is not sha256: and 64 digits")),
            None => (bare, None),
        };
        let (registry, rest) = name.split_once('/').ok_or_else(|| bad("has no registry"))?;
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if !is_host {
            return Err(bad("has no registry"));
        }
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag.to_owned())),
            Some(_) => return Err(bad("has a tag that is none")),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(bad("has a repository that is none"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(bad("has neither a tag nor a digest"));
        }
        let address = address_of(registry, repository).ok_or_else(|| bad("has no registry"))?;
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest, address })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_have_a_registry_and_a_tag_or_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let rows = [
            (
                "registry.example.com/a/b:v1".to_owned(),
                "https://registry.example.com/v2/a/b/manifests/v1".to_owned(),
            ),
            ("localhost:5000/a:v1".to_owned(), "https://localhost:5000/v2/a/manifests/v1".to_owned()),
            (
                "docker.io/antrea:v1".to_owned(),
                "https://registry-1.docker.io/v2/library/antrea/manifests/v1".to_owned(),
            ),
            ("docker.io/a/b:v1".to_owned(), "https://registry-1.docker.io/v2/a/b/manifests/v1".to_owned()),
            (format!("r.example.com/a@{digest}"), format!("https://r.example.com/v2/a/manifests/{digest}")),
            (
                format!("r.example.com/a:v1@{digest}"),
                format!("https://r.example.com/v2/a/manifests/{digest}"),
            ),
        ];
        for (text, wanted) in rows {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.manifest().to_string(), wanted, "{text}");
            assert_eq!(reference.to_string(), text);
        }
        let reference: Reference = "localhost:5000/a:v1".parse().unwrap();
        assert_eq!((reference.registry(), reference.host()), ("localhost:5000", "localhost"));
        assert_eq!(reference.blob("sha256:../x"), None);
        for (bad, why) in [
            ("antrea:v1", "has no registry"),
            ("antrea/antrea:v1", "has no registry"),
            ("user:pw@r.example.com/a:v1", "has a digest that is not"),
            ("r.example.com/a", "has neither a tag nor a digest"),
            ("r.example.com/A:v1", "has a repository that is none"),
            ("r.example.com/../a:v1", "has a repository that is none"),
            ("r.example.com/a:v/1", "has a tag that is none"),
            ("r.example.com/a?x:v1", "has a repository that is none"),
            ("r.exa mple.com/a:v1", "has no registry"),
            ("r.example.com/a@sha256:ab", "has a digest that is not"),
        ] {
            let error = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("write one such as"), "{bad}: {error}");
        }
    }
}
