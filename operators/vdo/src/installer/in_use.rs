//! What keeps a driver from being installed or removed: drivers of other tools, volumes, Pods. Asked for only when it matters.

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, TypeMeta};
use kube::core::ObjectList;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::foreign::{self, Workloads};
use crate::nodes::CSI_DRIVER;

/// Objects that one answer of the API server has.
const PAGE: u32 = 100;
/// Objects that are enough to say why something is not done.
const ENOUGH: usize = 10;

/// Kind of the snapshots as storage drivers have them.
const CONTENTS: &str = "VolumeSnapshotContent";

/// Calls `each` with the objects of a kind, page by page, until it returns false.
async fn pages<K>(api: &Api<K>, mut each: impl FnMut(ObjectList<K>) -> bool) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let next = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        if !each(page) {
            return Ok(());
        }
        let Some(token) = next else { return Ok(()) };
        params = params.continue_token(&token);
    }
}

/// Returns all objects of a kind without a namespace.
pub(crate) async fn all<K>(client: &Client) -> Result<Vec<K>, Error>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut found = Vec::new();
    pages(&Api::<K>::all(client.clone()), |page| {
        found.extend(page.items);
        true
    })
    .await?;
    Ok(found)
}

/// Returns whether the cluster has the kinds of snapshots.
pub(crate) async fn has_snapshots(client: &Client) -> Result<bool, Error> {
    match of_snapshots(client, CONTENTS).list(&ListParams::default().limit(1)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the snapshots of all storage drivers: the API server deletes them with their kinds.
pub(super) async fn snapshots(client: &Client) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for kind in ["VolumeSnapshot", CONTENTS] {
        let all = of_snapshots(client, kind);
        let listed = pages(&all, |page| {
            let name = |of: &DynamicObject| match of.namespace() {
                Some(namespace) => format!("{kind} {namespace}/{}", of.name_any()),
                None => format!("{kind} {}", of.name_any()),
            };
            found.extend(page.iter().map(name).take(ENOUGH));
            found.len() < ENOUGH
        });
        match listed.await {
            // The cluster has no snapshots.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            listed => listed?,
        }
    }
    Ok(found)
}

fn of_snapshots(client: &Client, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", kind);
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

/// Returns what the workloads of the cluster show of drivers.
pub(crate) async fn workloads(client: &Client, sets: &[String]) -> Result<Workloads, Error> {
    Ok(foreign::find(&drivers(client, sets).await?, sets))
}

/// Returns the workloads of drivers, ours and those of other tools.
pub(crate) async fn drivers(client: &Client, sets: &[String]) -> Result<Vec<DynamicObject>, Error> {
    let mut all = Vec::new();
    let kinds = [types::<DaemonSet>(), types::<Deployment>()];
    for (types, resource) in kinds {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        pages(&api, |page| {
            // A list says its kind once, for all of its items.
            let of_kind = page.items.into_iter().map(|of| DynamicObject { types: Some(types.clone()), ..of });
            all.extend(of_kind.filter(|workload| foreign::matters(workload, sets)));
            true
        })
        .await?;
    }
    Ok(all)
}

fn types<K: Resource<DynamicType = ()>>() -> (TypeMeta, ApiResource) {
    let (version, kind) = (K::api_version(&()).into_owned(), K::kind(&()).into_owned());
    (TypeMeta { api_version: version, kind }, ApiResource::erase::<K>(&()))
}

/// Returns volumes, attachments and snapshots of CSI.
pub(super) async fn volumes(client: &Client) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    pages(&volumes, |page| {
        let is_ours = |volume: &&PersistentVolume| {
            let source = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
            source.is_some_and(|source| source.driver == CSI_DRIVER)
        };
        let names =
            page.iter().filter(is_ours).map(|volume| format!("PersistentVolume {}", volume.name_any()));
        found.extend(names.take(ENOUGH));
        found.len() < ENOUGH
    })
    .await?;
    let attachments: Api<VolumeAttachment> = Api::all(client.clone());
    pages(&attachments, |page| {
        let ours = page.iter().filter(|attachment| attachment.spec.attacher == CSI_DRIVER);
        found.extend(ours.map(|of| format!("VolumeAttachment {}", of.name_any())).take(ENOUGH));
        found.len() < 2 * ENOUGH
    })
    .await?;
    let contents = of_snapshots(client, CONTENTS);
    let listed = pages(&contents, |page| {
        let ours = page.iter().filter(|snapshot| snapshot.data["spec"]["driver"] == CSI_DRIVER);
        found.extend(ours.map(|of| format!("VolumeSnapshotContent {}", of.name_any())).take(ENOUGH));
        found.len() < 3 * ENOUGH
    });
    match listed.await {
        // The cluster has no snapshots.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(found),
        listed => Ok(listed.map(|()| found)?),
    }
}

/// Returns Pods with addresses of the network.
pub(super) async fn pods(client: &Client) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let pods: Api<Pod> = Api::all(client.clone());
    pages(&pods, |page| {
        let has_address = |pod: &&Pod| {
            let is_of_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            !is_of_host && !matches!(phase, Some("Succeeded" | "Failed"))
        };
        let names = page
            .iter()
            .filter(has_address)
            .map(|pod| format!("Pod {}/{}", pod.namespace().unwrap_or_default(), pod.name_any()));
        found.extend(names.take(ENOUGH));
        found.len() < ENOUGH
    })
    .await?;
    Ok(found)
}
