//! What users ask for, in one form: of a `VDOConfig`, and of a `DriverSet`.
//!
//! Pure. Both kinds are read here and nowhere else: what follows does not know them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};

use crate::api::{
    CpiSpec, CsiSpec, DeletionPolicy, DriverSetSpec, DriverSpec, FileVolumes, MaintenanceWindow,
    ManagementState, NodeAddresses, VdoConfigSpec, VersionPolicy, reason,
};
use crate::choose::{Choice, Policy, Step};
use crate::config::{Category, ClusterId, Cpi, Csi, FileShares, Nodes, Permission, Vcenter, Zones};
use crate::matrix::{Driver, Matrix};
use crate::plan::{Drivers, Hold, Target, Wanted};
use crate::preflight::Check;
use crate::problem::Problem;
use crate::render::{Images, Rendered, Settings};
use crate::version::Version;

/// What users ask for.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Of each driver.
    pub drivers: Drivers<Request>,
    /// When versions may change.
    pub window: Option<MaintenanceWindow>,
    /// What happens when the object is deleted.
    pub on_deletion: DeletionPolicy,
    /// Directory of the kubelet.
    pub kubelet: Option<String>,
    /// Tag categories of regions and zones, for CPI.
    pub labels: Option<(String, String)>,
    /// Which addresses of a machine become those of its Node.
    pub nodes: Nodes,
    /// Whether CPI keeps Nodes whose machine it does not see.
    pub keeps_nodes: bool,
    /// Name of the distribution.
    pub distribution: Option<String>,
    /// How CSI takes topology from tags.
    pub zones: Option<Zones>,
    /// Volumes that several Nodes can use.
    pub shares: FileShares,
    /// Keys of the section `Global`.
    pub global: BTreeMap<String, String>,
    /// Keys of the section `Snapshot`.
    pub snapshot: BTreeMap<String, String>,
    /// Features of CSI.
    pub features: BTreeMap<String, bool>,
    /// Preflight checks that are switched off.
    pub skipped: BTreeSet<Check>,
    /// What the annotation says whose change lets versions be tried again whose upgrade has failed.
    pub retry: String,
}

/// What users ask of one driver. The default is a driver that is left alone.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether it is managed.
    pub state: ManagementState,
    /// Whether one of another tool is taken over.
    pub adopts: bool,
    /// How its version is chosen.
    pub policy: VersionChoice,
    /// Names of its vCenters' objects.
    pub connections: Vec<String>,
    /// From where images are pulled.
    pub images: Images,
    /// What containers request.
    pub resources: BTreeMap<String, ResourceRequirements>,
    /// Further tolerations.
    pub tolerations: Vec<Toleration>,
}

/// How a version is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionChoice {
    /// By a policy.
    Policy(Policy),
    /// By `auto-upgrade` of the original's ConfigMap.
    AutoUpgrade,
}

impl VersionChoice {
    /// Returns the policy for a driver of which this version is installed.
    #[must_use]
    pub fn policy(&self, auto_upgrade: bool, installed: Option<&Version>) -> Policy {
        match self {
            Self::Policy(policy) => policy.clone(),
            Self::AutoUpgrade => Policy::of_auto_upgrade(auto_upgrade, installed),
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            state: ManagementState::Unmanaged,
            adopts: false,
            policy: VersionChoice::AutoUpgrade,
            connections: Vec::new(),
            images: Images::default(),
            resources: BTreeMap::new(),
            tolerations: Vec::new(),
        }
    }
}

impl Desired {
    /// Reads a VDOConfig. A cloud provider without vCenters is left alone, as the original does.
    #[must_use]
    pub fn of_vdo_config(spec: &VdoConfigSpec) -> Self {
        let managed = |connections: &[String]| Request {
            state: ManagementState::Managed,
            connections: connections.to_vec(),
            ..Request::default()
        };
        let storage = &spec.storage_provider;
        let cloud = spec.cloud_provider.as_ref().filter(|cloud| !cloud.vsphere_cloud_configs.is_empty());
        Self {
            drivers: Drivers {
                cni: Request::default(),
                cpi: cloud.map(|cloud| managed(&cloud.vsphere_cloud_configs)).unwrap_or_default(),
                snapshots: Request::default(),
                csi: managed(std::slice::from_ref(&storage.vsphere_cloud_config)),
            },
            kubelet: not_empty(storage.custom_kubelet_path.as_ref()),
            labels: cloud
                .and_then(|cloud| cloud.topology.as_ref())
                .map(|topology| (topology.region.clone(), topology.zone.clone())),
            distribution: not_empty(storage.cluster_distribution.as_ref()),
            shares: storage.file_volumes.as_ref().map(|volumes| shares(volumes, &[])).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Reads a DriverSet.
    ///
    /// # Errors
    /// If a pinned version is none.
    pub fn of_driver_set(spec: &DriverSetSpec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut read = |field: &str, driver: Option<&DriverSpec>, connections: Option<&[String]>| {
            let Some(driver) = driver else { return Request::default() };
            request(driver, connections.unwrap_or_default()).unwrap_or_else(|message| {
                problems.push(Problem::new(format!("spec.{field}.version"), message));
                Request::default()
            })
        };
        let (cpi, csi) = (spec.cpi.as_ref(), spec.csi.as_ref());
        let drivers = Drivers {
            cni: read("cni", spec.cni.as_ref(), None),
            cpi: read("cpi", cpi.map(|cpi| &cpi.driver), cpi.map(|cpi| cpi.connections.as_slice())),
            snapshots: read("snapshotController", spec.snapshot_controller.as_ref(), None),
            csi: read("csi", csi.map(|csi| &csi.driver), csi.map(|csi| csi.connections.as_slice())),
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut desired = Self {
            drivers,
            window: spec.maintenance_window.clone(),
            on_deletion: spec.deletion_policy.unwrap_or_default(),
            skipped: spec.skip_checks.iter().copied().collect(),
            ..Self::default()
        };
        if let Some(cpi) = cpi {
            desired.add_cpi(cpi);
        }
        if let Some(csi) = csi {
            desired.add_csi(csi);
        }
        Ok(desired)
    }

    fn add_cpi(&mut self, CpiSpec { driver: _, connections: _, topology, nodes, keep_nodes }: &CpiSpec) {
        self.labels = topology.as_ref().map(|topology| (topology.region.clone(), topology.zone.clone()));
        self.nodes = nodes.as_ref().map(node_addresses).unwrap_or_default();
        self.keeps_nodes = keep_nodes.unwrap_or_default();
    }

    fn add_csi(&mut self, spec: &CsiSpec) {
        let numbers = |values: &BTreeMap<String, u32>| {
            values.iter().map(|(key, number)| (key.clone(), number.to_string())).collect()
        };
        let categories: Vec<_> = spec
            .topology_categories
            .iter()
            .map(|category| Category { name: category.name.clone(), label: category.label.clone() })
            .collect();
        self.kubelet = not_empty(spec.kubelet_path.as_ref());
        self.distribution = not_empty(spec.cluster_distribution.as_ref());
        self.zones = (!categories.is_empty()).then_some(Zones::Categories(categories));
        self.shares = shares(
            spec.file_volumes.as_ref().unwrap_or(&FileVolumes::default()),
            &spec.file_service_clusters,
        );
        self.global = numbers(&spec.global);
        self.snapshot = numbers(&spec.snapshot);
        self.features = spec.features.clone();
    }

    /// Returns what a user wants of a driver: `target` says how it is to run, or why that is not known.
    #[must_use]
    pub fn wanted(&self, driver: Driver, is_deleted: bool, target: Result<Target, Hold>) -> Wanted {
        match (self.drivers.get(driver).state, is_deleted, self.on_deletion) {
            (ManagementState::Unmanaged, ..) => Wanted::Unmanaged,
            (ManagementState::Managed, true, DeletionPolicy::Orphan) => Wanted::Released,
            (ManagementState::Removed, ..) | (ManagementState::Managed, true, DeletionPolicy::Uninstall) => {
                Wanted::Removed
            }
            (ManagementState::Managed, false, _) => target.map_or_else(Wanted::Unclear, Wanted::Present),
        }
    }

    /// Returns how a driver is to run, from its choice and from what was rendered for it. `sources` name the versions of what the user
    /// wrote credentials into: see [`Rendered::digest`].
    ///
    /// # Errors
    /// If no version fits, or it cannot be rendered.
    pub fn target(
        &self,
        matrix: &Matrix,
        choice: &Choice,
        rendered: &Result<Rendered, Vec<Problem>>,
        sources: &[String],
    ) -> Result<Target, Hold> {
        let Some(version) = &choice.version else {
            return Err(Hold { reason: reason::NO_VERSION_FITS, message: choice.explain() });
        };
        let rendered = rendered.as_ref().map_err(|problems| {
            let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Hold { reason: reason::INVALID_SETTINGS, message: texts.join("; ") }
        })?;
        Ok(Target {
            version: version.clone(),
            digest: rendered.digest(sources),
            needs_cpi: matrix.release(choice.driver, version).is_some_and(|release| release.is_cpi_required),
            adopts: self.drivers.get(choice.driver).adopts,
            rolls_back: choice.step == Step::Rollback,
        })
    }

    /// Returns what CPI is configured with.
    #[must_use]
    pub fn cpi(&self, vcenters: Vec<Vcenter>) -> Cpi {
        Cpi { vcenters, labels: self.labels.clone(), nodes: self.nodes.clone() }
    }

    /// Returns what CSI is configured with.
    #[must_use]
    pub fn csi(&self, version: Version, vcenters: Vec<Vcenter>, cluster_id: ClusterId) -> Csi {
        Csi {
            version,
            vcenters,
            cluster_id,
            distribution: self.distribution.clone(),
            zones: self.zones.clone(),
            shares: self.shares.clone(),
            global: self.global.clone(),
            snapshot: self.snapshot.clone(),
        }
    }

    /// Returns what of the settings is in the Secret of CSI only.
    #[must_use]
    pub fn in_secret(&self) -> String {
        format!("{:?}", (&self.distribution, &self.zones, &self.shares, &self.global, &self.snapshot))
    }

    /// Returns how the manifests of a driver are changed.
    #[must_use]
    pub fn settings(&self, driver: Driver, version: Version, control_plane_nodes: usize) -> Settings {
        let request = self.drivers.get(driver);
        let is_csi = driver == Driver::Csi;
        Settings {
            images: request.images.clone(),
            kubelet: self.kubelet.clone(),
            resources: request.resources.clone(),
            tolerations: request.tolerations.clone(),
            features: if is_csi { self.features.clone() } else { BTreeMap::new() },
            keeps_nodes: self.keeps_nodes,
            ..Settings::new(driver, version, control_plane_nodes)
        }
    }
}

fn request(spec: &DriverSpec, connections: &[String]) -> Result<Request, String> {
    let policy = match spec.version_policy.unwrap_or_default() {
        VersionPolicy::Latest => Policy::Latest,
        VersionPolicy::Patch => Policy::Patch,
        VersionPolicy::Lts => Policy::Lts,
        VersionPolicy::Pinned => {
            let text = spec.version.as_deref().unwrap_or_default();
            Policy::Pinned(text.parse().map_err(|error: crate::version::InvalidVersion| error.to_string())?)
        }
    };
    let overrides = spec.image_overrides.clone().unwrap_or_default();
    Ok(Request {
        state: spec.management_state.unwrap_or_default(),
        adopts: spec.adopt.unwrap_or_default(),
        policy: VersionChoice::Policy(policy),
        connections: connections.to_vec(),
        images: Images { registries: overrides.registries, digests: overrides.digests },
        resources: spec.resources.clone(),
        tolerations: spec.tolerations.clone(),
    })
}

fn not_empty(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn shares(volumes: &FileVolumes, clusters: &[String]) -> FileShares {
    let permissions = volumes.net_permissions.iter().map(|permission| Permission {
        ips: permission.ips.clone(),
        access: not_empty(permission.permissions.as_ref()),
        root_squash: permission.root_squash.unwrap_or_default(),
    });
    FileShares {
        datastore_urls: volumes.vsan_data_store_url.clone(),
        clusters: clusters.to_vec(),
        permissions: permissions.collect(),
    }
}

fn node_addresses(addresses: &NodeAddresses) -> Nodes {
    let NodeAddresses {
        internal_network_subnet_cidr,
        external_network_subnet_cidr,
        internal_vm_network_name,
        external_vm_network_name,
        exclude_internal_network_subnet_cidr,
        exclude_external_network_subnet_cidr,
    } = addresses.clone();
    Nodes {
        internal_network_subnet_cidr,
        external_network_subnet_cidr,
        internal_vm_network_name,
        external_vm_network_name,
        exclude_internal_network_subnet_cidr,
        exclude_external_network_subnet_cidr,
    }
}

#[cfg(test)]
mod tests;
