//! Renders the manifests of a driver for a cluster: what its project published, with typed changes, in waves.
//!
//! Pure: from a list of objects to waves of objects, the same for the same settings. A change that finds nothing to change is a
//! problem, not a silence. Nothing changes the version of a sidecar: the project tested the one in its manifests.

mod files;
mod images;
mod kubelet;
mod manifest;
mod waves;
mod workload;

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::json;
use sha2::{Digest, Sha256};

pub use images::Images;
pub(crate) use images::own_version;
pub use manifest::parse;
pub use workload::images_of;

use crate::matrix::Driver;
use crate::problem::Problem;
use crate::version::Version;

/// How the manifests are changed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The driver.
    pub driver: Driver,
    /// Its version: the images of the driver itself get it as their tag.
    pub version: Version,
    /// Whether another version of the driver runs. The network's controller goes before its agents then; on a cluster without a
    /// network, it cannot be scheduled before they run.
    pub is_upgrade: bool,
    /// From where images are pulled.
    pub images: Images,
    /// Directory of the kubelet. Default: `/var/lib/kubelet`.
    pub kubelet: Option<String>,
    /// Nodes of the control plane, on which controllers run: one replica on each, at most as many as the manifests have.
    pub control_plane_nodes: usize,
    /// What containers request, by name of the container.
    pub resources: BTreeMap<String, ResourceRequirements>,
    /// Further tolerations of all Pods.
    pub tolerations: Vec<Toleration>,
    /// Features of CSI that are switched on or off. The manifests have those that the version knows.
    pub features: BTreeMap<String, bool>,
    /// Whether CPI keeps Nodes whose machine it does not see. Else it deletes them.
    pub keeps_nodes: bool,
}

impl Settings {
    /// Returns settings that change no more than they must.
    #[must_use]
    pub fn new(driver: Driver, version: Version, control_plane_nodes: usize) -> Self {
        Self {
            driver,
            version,
            is_upgrade: false,
            images: Images::default(),
            kubelet: None,
            control_plane_nodes,
            resources: BTreeMap::new(),
            tolerations: Vec::new(),
            features: BTreeMap::new(),
            keeps_nodes: false,
        }
    }
}

/// The objects of a driver. Formats as their kinds and names: some hold credentials.
#[derive(Clone, Default, PartialEq)]
pub struct Rendered {
    /// The objects, in waves: each is applied when the one before is ready.
    pub waves: Vec<Vec<DynamicObject>>,
    /// The images that run, each once.
    pub images: Vec<String>,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waves: Vec<Vec<_>> = self.waves.iter().map(|wave| wave.iter().map(name_of).collect()).collect();
        f.debug_struct("Rendered").field("waves", &waves).field("images", &self.images).finish()
    }
}

impl Rendered {
    /// Returns a hash of the objects, the same in every process. Secrets are left out, as a password could be guessed from a hash that
    /// is in a status: `sources`, such as `<uid>/<resourceVersion>` of the Secrets that users wrote, stand for them.
    #[must_use]
    pub fn digest(&self, sources: &[String]) -> String {
        let objects = self.waves.iter().flatten().filter(|object| kind_of(object) != "Secret");
        // The order of an installation is not that of an upgrade.
        let mut texts: Vec<_> = objects.map(|object| json!(object).to_string()).collect();
        texts.sort_unstable();
        let mut hash = Sha256::new();
        for text in texts {
            hash.update(text);
            hash.update([0]);
        }
        for source in sources {
            hash.update(source);
            hash.update([0]);
        }
        HEXLOWER.encode(&hash.finalize())
    }
}

/// Returns which object it is, for messages.
fn name_of(object: &DynamicObject) -> String {
    let kind = kind_of(object);
    match &object.metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", object.name_any()),
        None => format!("{kind} {}", object.name_any()),
    }
}

fn kind_of(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| types.kind.as_str())
}

/// Renders the manifests. `configuration` holds the objects that the driver reads: they go before what runs.
///
/// # Errors
/// What cannot be done: all of it.
pub fn render(
    manifests: Vec<DynamicObject>,
    configuration: Vec<DynamicObject>,
    settings: &Settings,
) -> Result<Rendered, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut objects = files::without_samples(manifests, settings.driver);
    objects.extend(configuration);
    problems.extend(manifest::unusable(&objects, settings.driver));
    problems.extend(files::connect(&mut objects, settings.driver));
    problems.extend(files::set_features(&mut objects, settings));
    problems.extend(workload::change(&mut objects, settings));
    problems.extend(kubelet::move_to(&mut objects, settings.kubelet.as_deref()));
    let images = match images::replace(&mut objects, settings) {
        Ok(images) => images,
        Err(more) => {
            problems.extend(more);
            Vec::new()
        }
    };
    if !problems.is_empty() {
        return Err(problems);
    }
    files::secure_namespace(&mut objects, settings.driver);
    Ok(Rendered { waves: waves::arrange(objects, settings), images })
}

#[cfg(test)]
mod tests;
