//! `vdo bundle`: what a cluster without access to the internet needs, in a directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use data_encoding::HEXLOWER;
use infra_clients::Trust;
use infra_clients::download::{Downloader, Limits, registry};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::access::Format;
use super::error::Error;
use super::{Done, Ends, deploy};
use crate::choose::{History, Policy, Surroundings, Vcenter, choose};
use crate::connection::said;
use crate::fetch::{Place, Source};
use crate::matrix::{BUILT_IN, Driver, Matrix, Release};
use crate::program::{NAMESPACE, OPERATOR};
use crate::render::{Settings, parse, render};
use crate::version::{Kubernetes, Version, Vsphere};

/// Name of the CompatibilityMatrix, and beginning of the names of the ConfigMaps.
const NAME: &str = "vdo-bundle";
/// Largest ConfigMap that is written.
const LARGEST: usize = 1_000_000;

/// Collects what a cluster without access to the internet needs: manifests, matrix, list of images, checksums
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Bundle {
    /// Directory to write to; it is created, and must be empty
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,

    /// Version of the cluster's Kubernetes, such as 1.36
    #[arg(long, value_name = "VERSION")]
    kubernetes: Kubernetes,

    /// Version of a vCenter, such as 8.0.3; may be repeated
    #[arg(long, value_name = "VERSION")]
    vsphere: Vec<Vsphere>,

    /// Drivers that are collected
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Name::Cni, Name::Cpi, Name::Csi])]
    drivers: Vec<Name>,

    /// A version to take in place of the highest that fits, such as CSI=3.7.3; may be repeated
    #[arg(long, value_name = "DRIVER=VERSION", value_parser = pin)]
    pin: Vec<(Driver, Version)>,

    /// File with the matrix in JSON [default: the one that is built in]
    #[arg(long, value_name = "FILE")]
    matrix: Option<PathBuf>,

    /// Image of the operator: its manifests are collected as well
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// Namespace of the DriverSet and of the operator
    #[arg(short, long, value_name = "NAMESPACE", default_value = NAMESPACE)]
    namespace: String,

    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The network: Antrea
    Cni,
    /// The cloud provider
    Cpi,
    /// The storage driver
    Csi,
}

impl From<Name> for Driver {
    fn from(name: Name) -> Self {
        match name {
            Name::Cni => Self::Cni,
            Name::Cpi => Self::Cpi,
            Name::Csi => Self::Csi,
        }
    }
}

fn pin(text: &str) -> Result<(Driver, Version), String> {
    let wrong = || format!("{text:?}: write a driver and its version, such as CSI=3.7.3");
    let (name, version) = text.split_once('=').ok_or_else(wrong)?;
    let driver = Driver::ALL.into_iter().find(|driver| driver.name().eq_ignore_ascii_case(name));
    Ok((driver.ok_or_else(wrong)?, version.parse().map_err(|_| wrong())?))
}

/// The files of a bundle, by their paths.
#[derive(Default)]
struct Files {
    all: BTreeMap<String, Vec<u8>>,
    images: BTreeSet<String>,
    /// ConfigMaps and the CompatibilityMatrix.
    objects: Vec<Value>,
}

impl Bundle {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        is_usable(&self.directory)?;
        let text = match &self.matrix {
            Some(file) => read(file)?,
            None => BUILT_IN.to_owned(),
        };
        let matrix = Matrix::parse(&text).map_err(|error| Error::Usage(error.to_string()))?;
        let chosen = self.chosen(&matrix)?;
        let mut wire: Value = serde_json::from_str(&text).map_err(|error| Error::Usage(error.to_string()))?;
        let mut files = Files::default();
        let agent = (OPERATOR.name, OPERATOR.version);
        let downloader = Downloader::new(&Trust::System, agent, Limits::default())?;
        for (driver, version, release) in &chosen {
            let mut texts = Vec::new();
            for path in &release.manifests {
                texts.push(fetch(&downloader, path, self.matrix.as_deref()).await?);
            }
            let sources = files.add(*driver, version, &texts, &self.namespace)?;
            keep(&mut wire, *driver, version, &sources);
        }
        drop_others(&mut wire, &chosen);
        files.finish(&wire, &self.namespace, self.image.as_deref())?;
        files.write(&self.directory)?;
        Ok(self.done(&chosen, &files))
    }

    /// Returns the versions that are collected.
    fn chosen<'a>(&self, matrix: &'a Matrix) -> Result<Vec<(Driver, Version, &'a Release)>, Error> {
        let vcenters = self
            .vsphere
            .iter()
            .map(|version| Vcenter { server: format!("vSphere {version}"), version: *version });
        let vcenters: Vec<_> = vcenters.collect();
        let mut chosen = Vec::new();
        for driver in self.drivers.iter().map(|name| Driver::from(*name)) {
            let pinned = self.pin.iter().find(|(of, _)| *of == driver);
            let policy = pinned.map_or(Policy::Latest, |(_, version)| Policy::Pinned(version.clone()));
            let vcenters = if driver == Driver::Cni { Vec::new() } else { vcenters.clone() };
            let surroundings = Surroundings { kubernetes: self.kubernetes, vcenters, has_cpi: true };
            let choice = choose(matrix, driver, &surroundings, &policy, &History::default());
            let found =
                choice.version.as_ref().and_then(|version| Some((version, matrix.release(driver, version)?)));
            let Some((version, release)) = found else { return Err(Error::Usage(choice.explain())) };
            chosen.push((driver, version.clone(), release));
        }
        Ok(chosen)
    }

    fn done(&self, chosen: &[(Driver, Version, &Release)], files: &Files) -> Done {
        let mut text = String::new();
        for (driver, version, _) in chosen {
            let _ = writeln!(text, "{driver} {version}");
        }
        let directory = self.directory.display();
        let _ = writeln!(
            text,
            "{} files in {directory}; check them with `sha256sum -c SHA256SUMS`",
            files.all.len()
        );
        text += "In the cluster:\n";
        text += "  copy the images of images.txt to your registry, and name it in spec.<driver>.imageOverrides.registries\n";
        if self.image.is_some() {
            text += "  kubectl apply --server-side -f operator.yaml\n";
        }
        text += "  kubectl apply --server-side -f objects.yaml\n";
        let _ = writeln!(text, "  vdo configure drivers --matrix {NAME}");
        let versions: BTreeMap<_, _> =
            chosen.iter().map(|(driver, version, _)| (driver.name(), version.to_string())).collect();
        let paths: Vec<_> = files.all.keys().collect();
        Done {
            text,
            json: json!({"versions": versions, "files": paths, "images": files.images}),
            ends: Ends::Well,
        }
    }
}

impl Files {
    /// Adds the manifests of a version; returns the sources with which the matrix names them.
    fn add(
        &mut self,
        driver: Driver,
        version: &Version,
        texts: &[String],
        namespace: &str,
    ) -> Result<Vec<String>, Error> {
        let mut objects = Vec::new();
        for text in texts {
            objects.extend(
                parse(text).map_err(|problem| Error::Usage(format!("{driver} {version}: {problem}")))?,
            );
        }
        let rendered = render(objects, Vec::new(), &Settings::new(driver, version.clone(), 3));
        let rendered =
            rendered.map_err(|problems| Error::Usage(format!("{driver} {version}: {}", said(&problems))))?;
        self.images.extend(rendered.images);
        let mut sources = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let name = format!("{NAME}-{}-{version}-{number}", driver.name().to_lowercase());
            if text.len() > LARGEST {
                return Err(Error::Usage(format!(
                    "{driver} {version}: a manifest is larger than a ConfigMap may be"
                )));
            }
            self.objects.push(json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace}, "data": {"manifest.yaml": text},
            }));
            sources.push(format!("configmap:{name}/manifest.yaml#sha256={}", sum(text.as_bytes())));
            self.all.insert(format!("manifests/{name}.yaml"), text.clone().into_bytes());
        }
        Ok(sources)
    }

    /// Adds the files that list the others.
    fn finish(&mut self, matrix: &Value, namespace: &str, image: Option<&str>) -> Result<(), Error> {
        let text = format!("{matrix:#}\n");
        Matrix::parse(&text).map_err(|error| Error::Internal(error.to_string()))?;
        self.objects.push(json!({
            "apiVersion": "vdo.vmware.com/v1beta1", "kind": "CompatibilityMatrix",
            "metadata": {"name": NAME, "namespace": namespace}, "spec": {"inline": text},
        }));
        self.all.insert("matrix.json".to_owned(), text.into_bytes());
        self.all.insert("objects.yaml".to_owned(), yaml(&self.objects)?);
        if let Some(image) = image {
            self.images.insert(image.to_owned());
            let waves = deploy::waves(namespace, image, 1)?;
            let objects: Vec<Value> = waves.iter().flatten().map(|object| json!(object)).collect();
            self.all.insert("operator.yaml".to_owned(), yaml(&objects)?);
        }
        let images: Vec<_> = self.images.iter().cloned().collect();
        self.all.insert("images.txt".to_owned(), lines(&images));
        let sums: Vec<_> = self.all.iter().map(|(path, raw)| format!("{}  {path}", sum(raw))).collect();
        self.all.insert("SHA256SUMS".to_owned(), lines(&sums));
        Ok(())
    }

    fn write(&self, directory: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(directory.join("manifests"))?;
        for (path, raw) in &self.all {
            std::fs::write(directory.join(path), raw)?;
        }
        Ok(())
    }
}

fn lines(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}

fn yaml(objects: &[Value]) -> Result<Vec<u8>, Error> {
    let mut text = String::new();
    for object in objects {
        let object = serde_saphyr::to_string(object).map_err(|error| Error::Internal(error.to_string()))?;
        text += "---\n";
        text += &object;
    }
    Ok(text.into_bytes())
}

fn sum(raw: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(raw))
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

/// Checks that nothing in the directory would be overwritten or mixed with the bundle.
fn is_usable(directory: &Path) -> Result<(), Error> {
    let mut entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if entries.next().is_some() {
        let message = format!("{} is not empty: name another directory", directory.display());
        return Err(Error::Usage(message));
    }
    Ok(())
}

/// Fetches a manifest. One of `file:…` is beside the matrix.
async fn fetch(downloader: &Downloader, path: &str, matrix: Option<&Path>) -> Result<String, Error> {
    let fail = |why: String| Error::Usage(format!("{path}: {why}"));
    let source: Source = path.parse().map_err(&fail)?;
    let raw = match source.place() {
        // The error names the URL.
        Place::Url(address) => {
            downloader.get(address).await.map_err(|error| Error::Usage(error.to_string()))?
        }
        Place::Artifact(reference) => {
            let pulled = registry::pull(downloader, reference, None).await;
            pulled.map_err(|error| fail(error.to_string()))?.file
        }
        Place::File(file) => {
            let directory = matrix.and_then(Path::parent).unwrap_or(Path::new("."));
            std::fs::read(directory.join(file)).map_err(|error| fail(error.to_string()))?
        }
        Place::ConfigMap { .. } => {
            return Err(fail("it is in a cluster: name a URL, an artifact or a file".to_owned()));
        }
    };
    if let Some(wanted) = source.sha256().filter(|wanted| *wanted != sum(&raw)) {
        return Err(fail(format!("its checksum is {}, and not {wanted}", sum(&raw))));
    }
    String::from_utf8(raw).map_err(|_| fail("it is no text in UTF-8".to_owned()))
}

/// Names the sources of a version in the matrix.
fn keep(wire: &mut Value, driver: Driver, version: &Version, sources: &[String]) {
    let releases = wire[driver.name()].as_object_mut();
    for (key, release) in releases.into_iter().flatten() {
        if key.parse::<Version>().is_ok_and(|of| of == *version) {
            release["deploymentPath"] = json!(sources);
        }
    }
}

/// Removes the versions from the matrix that were not collected.
fn drop_others(wire: &mut Value, chosen: &[(Driver, Version, &Release)]) {
    for driver in Driver::ALL {
        let is_kept = |key: &String| {
            let is = |(of, version, _): &&(Driver, Version, &Release)| {
                *of == driver && key.parse::<Version>().is_ok_and(|parsed| parsed == *version)
            };
            chosen.iter().any(|of| is(&of))
        };
        if let Some(releases) = wire.get_mut(driver.name()).and_then(Value::as_object_mut) {
            releases.retain(|key, _| is_kept(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const CPI: &str = include_str!("../render/tests/cpi.yaml");
    const CSI: &str = include_str!("../render/tests/csi.yaml");

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bundle: Bundle,
    }

    async fn run(directory: &Path, more: &[&str]) -> Result<Done, Error> {
        let out = directory.join("out");
        let matrix = directory.join("matrix.json");
        let line =
            ["bundle", out.to_str().unwrap(), "--kubernetes=1.36", "--vsphere=8.0.3", "--drivers=cpi,csi"];
        let line = [&line[..], &["--matrix", matrix.to_str().unwrap()], more].concat();
        Line::try_parse_from(line).unwrap().bundle.run().await
    }

    /// Writes a matrix with two versions of CSI, and its manifests.
    fn write(directory: &Path) {
        std::fs::write(directory.join("cpi.yaml"), CPI).unwrap();
        std::fs::write(directory.join("csi.yaml"), CSI).unwrap();
        let sum = sum(CPI.as_bytes());
        let csi = json!({"k8s": {"min": "1.30"}, "lts": true, "deploymentPath": ["file:csi.yaml"]});
        let matrix = json!({
            "CPI": {"1.36.0": {"deploymentPath": [format!("file:cpi.yaml#sha256={sum}")]}},
            "CSI": {"3.7.3": csi, "3.6.0": csi},
        });
        std::fs::write(directory.join("matrix.json"), matrix.to_string()).unwrap();
    }

    #[tokio::test]
    async fn a_bundle_has_all_that_the_versions_need() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        let done = run(directory.path(), &["--image=registry.example.com/vdo:1"])
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(done.text.starts_with("CPI 1.36.0\nCSI 3.7.3\n"), "{}", done.text);
        let read = |name: &str| std::fs::read_to_string(directory.path().join("out").join(name)).unwrap();
        let images = read("images.txt");
        assert!(images.contains("registry.example.com/vdo:1\n") && images.contains(":v3.7.3\n"), "{images}");
        let matrix = Matrix::parse(&read("matrix.json")).unwrap();
        let release = matrix.release(Driver::Csi, &Version::new(3, 7, 3)).unwrap();
        assert!(
            release.is_lts
                && release.manifests[0].starts_with("configmap:vdo-bundle-csi-3.7.3-0/manifest.yaml#sha256=")
        );
        assert!(matrix.release(Driver::Csi, &Version::new(3, 6, 0)).is_none(), "its manifests are not there");
        for line in read("SHA256SUMS").lines() {
            let (wanted, path) = line.split_once("  ").unwrap();
            assert_eq!(sum(read(path).as_bytes()), wanted, "{path}");
        }
        let objects = parse(&read("objects.yaml")).unwrap();
        let texts: Vec<_> =
            objects.iter().filter_map(|object| object.data["data"]["manifest.yaml"].as_str()).collect();
        assert_eq!(texts, [CPI, CSI]);
        assert_eq!(
            parse(&read("operator.yaml")).unwrap().len(),
            deploy::waves("n", "i", 1).unwrap().concat().len()
        );
        let error = run(directory.path(), &[]).await.err().unwrap().to_string();
        assert!(error.ends_with("is not empty: name another directory"), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_collected_says_why() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        for (flag, wanted) in [
            ("--pin=CSI=9.9.9", "CSI 9.9.9 is pinned, and the matrix does not have it"),
            (
                "--pin=CSI=3.6.0",
                "CSI 3.6.0: manifests: they are those of CSI 3.7.3, and 3.6.0 is required: use those of that version",
            ),
        ] {
            let error =
                run(directory.path(), &[flag]).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error, wanted);
        }
        let directory = tempfile::tempdir().unwrap();
        write(directory.path());
        std::fs::write(directory.path().join("cpi.yaml"), "a: 1\n").unwrap();
        let error = run(directory.path(), &[]).await.err().unwrap().to_string();
        assert!(error.contains("its checksum is "), "{error}");
        for bad in ["CSI", "XXX=1.0.0", "CSI=x"] {
            assert!(pin(bad).unwrap_err().ends_with("such as CSI=3.7.3"), "{bad}");
        }
    }
}
