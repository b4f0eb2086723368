//! The text of a matrix. What the original reads means the same; members that it does not have are optional.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::Value;

use super::{Driver, Matrix, Release};
use crate::version::{Bound, InvalidVersion, Range, Version};

/// Why a text is no matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMatrix {
    /// It is not of the form.
    #[error("the matrix is not of the form {{\"CSI\": {{version: {{…}}}}, \"CPI\": {{…}}}}: {0}")]
    Form(String),
    /// A version is none.
    #[error("{at} of the matrix: {error}")]
    Version {
        /// The member.
        at: String,
        /// What is wrong with it.
        error: InvalidVersion,
    },
    /// A range has no version in it.
    #[error("{at} of the matrix: no version is from {min} to {max}: swap the two")]
    EmptyRange {
        /// The member.
        at: String,
        /// Lower end.
        min: String,
        /// Upper end.
        max: String,
    },
    /// A version is listed twice, such as `3.0` and `3.0.0`.
    #[error("{driver} {version} is twice in the matrix: remove one")]
    Twice {
        /// The driver.
        driver: Driver,
        /// The version.
        version: Version,
    },
    /// No release has a manifest.
    #[error("{driver} {version} of the matrix has no deploymentPath: write the URLs of its manifests")]
    NoManifests {
        /// The driver.
        driver: Driver,
        /// The version.
        version: Version,
    },
}

type Rest = BTreeMap<String, Value>;

#[derive(Deserialize)]
struct WireMatrix {
    #[serde(default, rename = "CNI")]
    cni: BTreeMap<String, WireRelease>,
    #[serde(default, rename = "CPI")]
    cpi: BTreeMap<String, WireRelease>,
    #[serde(default, rename = "SnapshotController")]
    snapshots: BTreeMap<String, WireRelease>,
    #[serde(default, rename = "CSI")]
    csi: BTreeMap<String, WireRelease>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRelease {
    #[serde(default, rename = "vSphere")]
    vsphere: WireRange,
    #[serde(default)]
    k8s: WireRange,
    #[serde(default, rename = "isCPIRequired")]
    is_cpi_required: bool,
    #[serde(default)]
    deployment_path: Vec<String>,
    #[serde(default)]
    revoked: Option<String>,
    #[serde(default)]
    lts: bool,
    #[serde(default)]
    upgrade_from: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireRange {
    #[serde(default)]
    min: Option<String>,
    #[serde(default)]
    max: Option<String>,
    /// The one minor version of Kubernetes that a CPI works with.
    #[serde(default)]
    skew_version: Option<String>,
    #[serde(flatten)]
    rest: Rest,
}

pub(super) fn parse(text: &str) -> Result<Matrix, InvalidMatrix> {
    let wire: WireMatrix =
        serde_json::from_str(text).map_err(|error| InvalidMatrix::Form(error.to_string()))?;
    let mut matrix = Matrix { ignored: wire.rest.keys().cloned().collect(), ..Matrix::default() };
    let all = [
        (Driver::Cni, wire.cni),
        (Driver::Cpi, wire.cpi),
        (Driver::Snapshots, wire.snapshots),
        (Driver::Csi, wire.csi),
    ];
    for (driver, releases) in all {
        for (text, release) in releases {
            let at = format!("{driver}.{text}");
            let version: Version = read(&at, &text)?;
            let release = release.read(&at, &mut matrix.ignored)?;
            if release.manifests.is_empty() {
                return Err(InvalidMatrix::NoManifests { driver, version });
            }
            if matrix.release(driver, &version).is_some() {
                return Err(InvalidMatrix::Twice { driver, version });
            }
            matrix.add(driver, version, release);
        }
    }
    Ok(matrix)
}

fn read<T: FromStr<Err = InvalidVersion>>(at: &str, text: &str) -> Result<T, InvalidMatrix> {
    text.parse().map_err(|error| InvalidMatrix::Version { at: at.to_owned(), error })
}

impl WireRelease {
    fn read(self, at: &str, ignored: &mut Vec<String>) -> Result<Release, InvalidMatrix> {
        ignored.extend(self.rest.keys().map(|key| format!("{at}.{key}")));
        Ok(Release {
            vsphere: self.vsphere.read(&format!("{at}.vSphere"), ignored)?,
            kubernetes: self.k8s.read(&format!("{at}.k8s"), ignored)?,
            is_cpi_required: self.is_cpi_required,
            manifests: self.deployment_path,
            revoked: self.revoked,
            is_lts: self.lts,
            upgrade_from: self
                .upgrade_from
                .map(|text| read(&format!("{at}.upgradeFrom"), &text))
                .transpose()?,
            source: self.source,
        })
    }
}

impl WireRange {
    fn read(self, at: &str, ignored: &mut Vec<String>) -> Result<Range, InvalidMatrix> {
        ignored.extend(self.rest.keys().map(|key| format!("{at}.{key}")));
        let bound = |member: &str, text: Option<String>| -> Result<Option<Bound>, InvalidMatrix> {
            text.filter(|text| !text.is_empty())
                .map(|text| read(&format!("{at}.{member}"), &text))
                .transpose()
        };
        let skew = bound("skewVersion", self.skew_version)?;
        let range = Range {
            min: bound("min", self.min)?.or_else(|| skew.clone()),
            max: bound("max", self.max)?.or(skew),
        };
        if range.is_empty() {
            let text = |end: &Option<Bound>| end.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(InvalidMatrix::EmptyRange {
                at: at.to_owned(),
                min: text(&range.min),
                max: text(&range.max),
            });
        }
        Ok(range)
    }
}
