//! Images: the version of the driver's own, other registries, digests. A sidecar keeps its version.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::DynamicObject;

use super::Settings;
use super::workload::{each_container, pod_spec};
use crate::matrix::Driver;
use crate::problem::Problem;
use crate::version::Version;

/// Hexadecimal digits of a SHA-256.
const DIGEST: usize = 64;

/// Paths of the registry in which the images were until 2023.
const OLD_CPI: &str = "cloud-provider-vsphere/cpi/release/manager";
const OLD_CSI: &str = "cloud-provider-vsphere/csi/release/";

/// From where images are pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Registry, or registry and path, to the one that has a copy: `registry.k8s.io` to `mirror.example.com/k8s`. The longest wins.
    pub registries: BTreeMap<String, String>,
    /// Digests, by image and tag: `registry.k8s.io/csi-vsphere/driver:v3.7.3` to `sha256:…`.
    pub digests: BTreeMap<String, String>,
}

/// An image: repository, and tag or digest.
struct Image<'a> {
    repository: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    fn read(text: &'a str) -> Self {
        let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
        let slash = name.rfind('/').map_or(0, |at| at + 1);
        match name[slash..].find(':') {
            Some(colon) => {
                let (repository, tag) = name.split_at(slash + colon);
                Self { repository, tag: Some(&tag[1..]), digest }
            }
            None => Self { repository: name, tag: None, digest },
        }
    }
}

/// Returns a repository with its registry, which container runtimes add where it is missing.
fn with_registry(repository: &str) -> String {
    match repository.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    }
}

/// Returns the version in the tag of one of a driver's own images; `None` for a sidecar.
pub(crate) fn own_version(driver: Driver, image: &str) -> Option<&str> {
    let image = Image::read(image);
    image.tag.filter(|_| is_own(driver, image.repository)).map(|tag| tag.trim_start_matches('v'))
}

/// Returns whether an image has the version of the driver.
fn is_own(driver: Driver, repository: &str) -> bool {
    let name = repository.rsplit('/').next().unwrap_or_default();
    match driver {
        Driver::Cni => name.starts_with("antrea-"),
        Driver::Cpi => name == "cloud-provider-vsphere" || repository.ends_with(OLD_CPI),
        Driver::Snapshots => name == "snapshot-controller",
        Driver::Csi => {
            let is_of_csi = ["csi-vsphere/", OLD_CSI].iter().any(|path| repository.contains(path));
            is_of_csi && matches!(name, "driver" | "syncer")
        }
    }
}

/// Changes the images, and returns those that result, each once.
pub(super) fn replace(
    objects: &mut [DynamicObject],
    settings: &Settings,
) -> Result<Vec<String>, Vec<Problem>> {
    let mut problems = settings.images.problems();
    let (mut images, mut has_own) = (BTreeSet::new(), false);
    for spec in objects.iter_mut().filter_map(pod_spec) {
        each_container(spec, |container| {
            let text = container["image"].as_str().unwrap_or_default().to_owned();
            has_own |= is_own(settings.driver, Image::read(&text).repository);
            match changed(&text, settings) {
                Ok(image) => {
                    container["image"] = image.as_str().into();
                    images.insert(image);
                }
                Err(problem) => problems.push(problem),
            }
        });
    }
    if !has_own {
        let message =
            format!("no container runs an image of {}: use the manifests of a release", settings.driver);
        problems.push(Problem::new("manifests", message));
    }
    problems.sort_by(|a, b| (&a.field, &a.message).cmp(&(&b.field, &b.message)));
    problems.dedup();
    if problems.is_empty() { Ok(images.into_iter().collect()) } else { Err(problems) }
}

fn changed(text: &str, settings: &Settings) -> Result<String, Problem> {
    let Settings { driver, version, images, .. } = settings;
    let image = Image::read(text);
    let mut tag = image.tag.map(str::to_owned);
    if is_own(*driver, image.repository) {
        // The manifests in a release of the snapshot controller may name the image of the release before.
        let published = image.tag.filter(|_| *driver != Driver::Snapshots);
        let published = published.and_then(|tag| tag.parse::<Version>().ok());
        if let Some(published) = published.filter(|published| published.minor() != version.minor()) {
            let message = format!(
                "they are those of {driver} {published}, and {version} is required: use those of that version"
            );
            return Err(Problem::new("manifests", message));
        }
        tag = Some(format!("v{version}"));
    }
    // The digest of an image of another version says nothing about this one.
    let digest = image.digest.filter(|_| tag.as_deref() == image.tag).map(str::to_owned);
    let digest = images.digest(image.repository, tag.as_deref())?.or(digest);
    let mut out = images.mirror(image.repository).unwrap_or_else(|| image.repository.to_owned());
    if let Some(tag) = tag {
        out.extend([":", &tag]);
    }
    if let Some(digest) = digest {
        out.extend(["@", &digest]);
    }
    Ok(out)
}

impl Images {
    /// Returns where a copy of the repository is.
    fn mirror(&self, repository: &str) -> Option<String> {
        let whole = with_registry(repository);
        let matches = self.registries.iter().filter_map(|(from, to)| {
            let rest = whole.strip_prefix(from.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then_some((from.len(), to.trim_end_matches('/'), rest))
        });
        let (_, to, rest) = matches.max_by_key(|(length, ..)| *length)?;
        Some(format!("{to}{rest}"))
    }

    /// Returns the digest of an image. Where other tags of it have one, this one must have one as well: who pins digests does not
    /// want an image without.
    fn digest(&self, repository: &str, tag: Option<&str>) -> Result<Option<String>, Problem> {
        let whole = with_registry(repository);
        let mut others = Vec::new();
        for (key, digest) in &self.digests {
            let pinned = Image::read(key);
            if with_registry(pinned.repository) != whole {
                continue;
            }
            if pinned.tag == tag {
                return Ok(Some(digest.clone()));
            }
            others.push(pinned.tag.unwrap_or_default());
        }
        if others.is_empty() {
            return Ok(None);
        }
        let name = format!("{whole}:{}", tag.unwrap_or_default());
        let message =
            format!("it is pinned for {} only, and this tag is used: add its digest", others.join(", "));
        Err(Problem::new(format!("images.digests[{name}]"), message))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (from, to) in &self.registries {
            let name = to.rsplit('/').next().unwrap_or_default();
            let has_tag = to.contains('/') && name.contains(':');
            let is_bad =
                |text: &str| text.is_empty() || text.contains('@') || text.contains(char::is_whitespace);
            if is_bad(from) || is_bad(to) || has_tag || to.contains("://") {
                let message = format!(
                    "{to:?} is no registry: write a host, and a path if need be, without a tag or digest"
                );
                problems.push(Problem::new(format!("images.registries[{from}]"), message));
            }
        }
        for (image, digest) in &self.digests {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            let is_digest =
                hex.len() == DIGEST && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let field = || format!("images.digests[{image}]");
            if !is_digest {
                problems.push(Problem::new(
                    field(),
                    format!("{digest:?} is no digest: write sha256: and 64 digits"),
                ));
            }
            if Image::read(image).tag.is_none() {
                let message = "the image has no tag: a digest holds for one version, so write image:tag";
                problems.push(Problem::new(field(), message));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_with_ports_tags_and_digests() {
        let cases = [
            ("antrea/antrea-agent-ubuntu:latest", "antrea/antrea-agent-ubuntu", Some("latest"), None),
            ("r.io:5000/a/b", "r.io:5000/a/b", None, None),
            ("r.io:5000/a/b:v1@sha256:ab", "r.io:5000/a/b", Some("v1"), Some("sha256:ab")),
            ("b@sha256:ab", "b", None, Some("sha256:ab")),
        ];
        for (text, repository, tag, digest) in cases {
            let image = Image::read(text);
            assert_eq!((image.repository, image.tag, image.digest), (repository, tag, digest), "{text}");
        }
        assert_eq!(with_registry("busybox"), "docker.io/library/busybox");
        assert_eq!(with_registry("antrea/x"), "docker.io/antrea/x");
        assert_eq!(with_registry("localhost/x"), "localhost/x");
    }

    #[test]
    fn the_longest_registry_wins_at_the_end_of_a_part() {
        let pairs = [
            ("registry.k8s.io", "m.io/k8s"),
            ("registry.k8s.io/csi-vsphere/", "m.io:5000/csi/"),
            ("docker.io/antrea", "m.io/a"),
        ];
        let registries = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let images = Images { registries, ..Images::default() };
        let mirror = |repository| images.mirror(repository);
        assert_eq!(mirror("registry.k8s.io/sig-storage/x").as_deref(), Some("m.io/k8s/sig-storage/x"));
        assert_eq!(mirror("registry.k8s.io/csi-vsphere/driver").as_deref(), Some("m.io:5000/csi/driver"));
        assert_eq!(
            mirror("registry.k8s.io/csi-vsphere2/driver").as_deref(),
            Some("m.io/k8s/csi-vsphere2/driver")
        );
        assert_eq!(mirror("antrea/antrea-agent-ubuntu").as_deref(), Some("m.io/a/antrea-agent-ubuntu"));
        assert_eq!(mirror("quay.io/x"), None);
        assert!(images.problems().is_empty());
    }
}
