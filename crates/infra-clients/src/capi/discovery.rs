//! The versions of Cluster API that a management cluster serves. Owns finding them, once, and the `Api`s for them.

use kube::api::ListParams;
use kube::core::DynamicResourceScope;
use kube::{Api, Client, Resource};

use super::bootstrap::ClusterBootstrap;
use super::cluster::Cluster;
use super::error::{Error, Kind};
use super::machine::Machine;
use super::object::{CLUSTER_NAME_LABEL, CORE_GROUP};
use super::release::TanzuKubernetesRelease;
use super::sets::CONTROL_PLANE_GROUP;
use super::version::{ReadIn, Version};

/// Machines per page.
const PAGE: u32 = 100;

/// Which kinds of TKG's add-on managers a management cluster serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Addons {
    /// ClusterBootstraps, for Clusters that are created from a ClusterClass.
    pub bootstraps: bool,
    /// TanzuKubernetesReleases, in any version: every management cluster of TKG has them.
    pub releases: bool,
}

/// A management cluster with Cluster API in it.
///
/// For watches: `Api`s from here work with any wrapper that keeps the kind's `DynamicType`, such as
/// `Api<PartialObjectMeta<Machine>>`. The `DynamicType` of these kinds has a default, so stores and controllers need
/// no argument for it.
#[derive(Clone)]
pub struct Capi {
    client: Client,
    core: Version,
    control_plane: Option<Version>,
}

impl std::fmt::Debug for Capi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capi")
            .field("core", &self.core)
            .field("control_plane", &self.control_plane)
            .finish_non_exhaustive()
    }
}

impl Capi {
    /// Finds the versions that are served: v1beta2 if it is, else v1beta1, for each group separately.
    ///
    /// To be called once, when the operator starts: versions that are served later are not noticed. When the version
    /// that was found is not served any more, because Cluster API was upgraded, every call fails with
    /// [`Kind::NotInstalled`], and discovery has to be repeated; watches keep failing, so a restart is best.
    ///
    /// # Errors
    /// [`Kind::NotInstalled`]: Clusters are not served in a version this module knows. And whatever a call can fail
    /// with.
    pub async fn discover(client: Client) -> Result<Self, Error> {
        let groups = client.list_api_groups().await.map_err(Error::of_read)?.groups;
        let served = |group: &str| {
            let group = groups.iter().find(|candidate| candidate.name == group);
            let versions = group.map(|group| group.versions.as_slice()).unwrap_or_default();
            versions.iter().map(|version| version.version.clone()).collect::<Vec<_>>()
        };
        let core = served(CORE_GROUP);
        let Some(version) = newest(&client, CORE_GROUP, &core, "clusters").await? else {
            let message = if core.is_empty() {
                "Cluster API is not installed: the API server knows no cluster.x-k8s.io".to_owned()
            } else {
                let served = core.join(", ");
                format!(
                    "Cluster API serves Clusters neither in v1beta2 nor in v1beta1; of cluster.x-k8s.io there is {served}"
                )
            };
            return Err(Error::new(Kind::NotInstalled, message));
        };
        let control_plane =
            newest(&client, CONTROL_PLANE_GROUP, &served(CONTROL_PLANE_GROUP), "kubeadmcontrolplanes")
                .await?;
        Ok(Self { client, core: version, control_plane })
    }

    /// Finds out which kinds of TKG's add-on managers are served, as [`discover`](Self::discover) does for those of Cluster API.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn addons(&self) -> Result<Addons, Error> {
        let (bootstrap, release) = (ClusterBootstrap::plural(&()), TanzuKubernetesRelease::plural(&()));
        let mut addons = Addons::default();
        let groups = self.client.list_api_groups().await.map_err(Error::of_read)?.groups;
        let group = groups.into_iter().find(|group| group.name == ClusterBootstrap::group(&()));
        for version in group.into_iter().flat_map(|group| group.versions) {
            let listed = self.client.list_api_group_resources(&version.group_version).await;
            let served = listed.map_err(Error::of_read)?.resources;
            let has = |plural: &str| served.iter().any(|resource| resource.name == plural);
            addons.bootstraps |= version.version == ClusterBootstrap::version(&()) && has(&bootstrap);
            addons.releases |= has(&release);
        }
        Ok(addons)
    }

    /// Returns the version that Clusters, Machines and MachineDeployments are read in.
    #[must_use]
    pub fn version(&self) -> Version {
        self.core
    }

    /// Returns the `Api` of a kind in all namespaces.
    ///
    /// # Errors
    /// [`Kind::NotInstalled`]: KubeadmControlPlanes are not served.
    pub fn all<K: Resource<DynamicType = ReadIn>>(&self) -> Result<Api<K>, Error> {
        Ok(Api::all_with(self.client.clone(), &self.read_in::<K>()?))
    }

    /// Returns the `Api` of a kind in one namespace.
    ///
    /// # Errors
    /// [`Kind::NotInstalled`]: KubeadmControlPlanes are not served.
    pub fn namespaced<K>(&self, namespace: &str) -> Result<Api<K>, Error>
    where
        K: Resource<DynamicType = ReadIn, Scope = DynamicResourceScope>,
    {
        Ok(Api::namespaced_with(self.client.clone(), namespace, &self.read_in::<K>()?))
    }

    /// Returns the version that a kind is read and written in, as kube's `DynamicType`.
    ///
    /// # Errors
    /// [`Kind::NotInstalled`]: KubeadmControlPlanes are not served.
    pub fn read_in<K: Resource<DynamicType = ReadIn>>(&self) -> Result<ReadIn, Error> {
        let version = if K::group(&ReadIn::default()) == CONTROL_PLANE_GROUP {
            self.control_plane.ok_or_else(|| {
                Error::new(Kind::NotInstalled, format!("the API server knows no {CONTROL_PLANE_GROUP}"))
            })?
        } else {
            self.core
        };
        Ok(ReadIn(version))
    }

    /// Returns a Cluster, or `None` if it does not exist.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn cluster(&self, namespace: &str, name: &str) -> Result<Option<Cluster>, Error> {
        self.namespaced::<Cluster>(namespace)?.get_opt(name).await.map_err(Error::of_read)
    }

    /// Returns the Machines of a Cluster, read from the API server now.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn machines(&self, cluster: &Cluster) -> Result<Vec<Machine>, Error> {
        let labels = format!("{CLUSTER_NAME_LABEL}={}", cluster.name());
        let api = self.namespaced::<Machine>(cluster.namespace())?;
        let mut page = ListParams::default().labels(&labels).limit(PAGE);
        let mut machines = Vec::new();
        loop {
            let list = api.list(&page).await.map_err(Error::of_read)?;
            machines.extend(list.items);
            match list.metadata.continue_ {
                Some(token) if !token.is_empty() => page = page.continue_token(&token),
                _ => return Ok(machines),
            }
        }
    }
}

/// Returns the newest version known here in which `group` has `plural`.
async fn newest(
    client: &Client,
    group: &str,
    served: &[String],
    plural: &str,
) -> Result<Option<Version>, Error> {
    for version in [Version::V1Beta2, Version::V1Beta1] {
        if !served.iter().any(|candidate| candidate == version.as_str()) {
            continue;
        }
        let resources =
            client.list_api_group_resources(&format!("{group}/{version}")).await.map_err(Error::of_read)?;
        if resources.resources.iter().any(|resource| resource.name == plural) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}
