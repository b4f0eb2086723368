//! `vdo version`: what really runs, beside what vdo has applied.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use serde_json::json;

use super::access::Access;
use super::error::Error;
use super::status::{OperatorSeen, operator, operator_line};
use super::{Done, Ends};
use crate::foreign;
use crate::installer::{Record, set};
use crate::matrix::Driver;
use crate::program::OPERATOR;
use crate::render::own_version;

/// Shows which versions really run: of the operator and of the drivers, beside what vdo has applied
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Version {
    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Version of this command.
    command: &'static str,
    kubernetes: String,
    operator: OperatorSeen,
    drivers: Vec<DriverSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct DriverSeen {
    driver: &'static str,
    /// The version that vdo has applied last, and since when.
    applied: Option<String>,
    since: Option<String>,
    /// The versions that run, by the driver's own images. Several run while it is rolled out.
    running: Vec<String>,
    workloads: Vec<Workload>,
}

/// A DaemonSet or Deployment of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Workload {
    /// Such as `DaemonSet kube-system/vsphere-cloud-controller-manager`.
    object: String,
    /// Whether it is of vdo.
    ours: bool,
    images: Vec<Image>,
}

/// An image of the Pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Image {
    #[serde(rename = "image")]
    name: String,
    /// Containers that have it.
    containers: usize,
    /// Those of them that are ready, or have done their work.
    ready: usize,
    /// What the container runtimes call it.
    ids: Vec<String>,
}

impl Version {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let client = self.access.client().await?;
        let workloads = workloads(&client).await?;
        let mut drivers = Vec::new();
        for driver in Driver::ALL {
            drivers.push(driver_seen(&client, driver, &workloads).await?);
        }
        let report = Report {
            command: OPERATOR.version,
            kubernetes: client.apiserver_version().await?.git_version,
            operator: operator(&client, &self.access.operator_namespace).await?,
            drivers,
        };
        Ok(Done { text: text(&report), json: json!(report), ends: Ends::Well })
    }
}

/// Returns all DaemonSets and Deployments, with the labels of their Pods.
async fn workloads(client: &Client) -> Result<Vec<(DynamicObject, LabelSelector)>, Error> {
    let mut found = Vec::new();
    for object in Api::<DaemonSet>::all(client.clone()).list(&ListParams::default()).await? {
        let spec = object.spec.clone().unwrap_or_default();
        found.push((workload("DaemonSet", &object, &spec.template)?, spec.selector));
    }
    for object in Api::<Deployment>::all(client.clone()).list(&ListParams::default()).await? {
        let spec = object.spec.clone().unwrap_or_default();
        found.push((workload("Deployment", &object, &spec.template)?, spec.selector));
    }
    Ok(found)
}

fn workload(
    kind: &str,
    object: &impl kube::Resource,
    template: &PodTemplateSpec,
) -> Result<DynamicObject, Error> {
    let (name, namespace) = (object.meta().name.clone(), object.meta().namespace.clone());
    let metadata = json!({"name": name, "namespace": namespace, "labels": object.meta().labels});
    let json =
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}});
    serde_json::from_value(json).map_err(|error| Error::Internal(error.to_string()))
}

async fn driver_seen(
    client: &Client,
    driver: Driver,
    all: &[(DynamicObject, LabelSelector)],
) -> Result<DriverSeen, Error> {
    let set = set(client, &OPERATOR.field_manager("drivers"), driver);
    let record = set.notes().await?.as_ref().map(Record::read);
    let id = set.id();
    let mut workloads = Vec::new();
    for (object, selector) in all {
        let ours = foreign::is_ours(object, std::slice::from_ref(&id));
        if !ours && !foreign::runs(object, driver) {
            continue;
        }
        let images = images(&pods(client, object, selector).await?);
        workloads.push(Workload { object: foreign::name_of(object), ours, images });
    }
    let images = workloads.iter().flat_map(|workload| &workload.images);
    let mut running: Vec<_> =
        images.filter_map(|of| own_version(driver, &of.name)).map(str::to_owned).collect();
    running.sort_unstable();
    running.dedup();
    Ok(DriverSeen {
        driver: driver.name(),
        applied: record.as_ref().map(|record| record.version.to_string()),
        since: record.as_ref().map(|record| record.since.to_string()),
        running,
        workloads,
    })
}

/// Returns the Pods of a workload.
async fn pods(client: &Client, object: &DynamicObject, selector: &LabelSelector) -> Result<Vec<Pod>, Error> {
    let labels = selector.match_labels.iter().flatten();
    let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let api = Api::<Pod>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    Ok(api.list(&ListParams::default().labels(&labels.join(","))).await?.items)
}

/// Returns the images of Pods, each once.
fn images(pods: &[Pod]) -> Vec<Image> {
    let mut found = BTreeMap::<String, Image>::new();
    for pod in pods {
        let Some(spec) = &pod.spec else { continue };
        let status = pod.status.clone().unwrap_or_default();
        let statuses: Vec<_> = [status.init_container_statuses, status.container_statuses]
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
            let Some(image) = &container.image else { continue };
            let of = found.entry(image.clone()).or_insert_with(|| Image {
                name: image.clone(),
                containers: 0,
                ready: 0,
                ids: Vec::new(),
            });
            of.containers += 1;
            let Some(status) = statuses.iter().find(|status| status.name == container.name) else { continue };
            of.ready += usize::from(status.ready);
            if !status.image_id.is_empty() && !of.ids.contains(&status.image_id) {
                of.ids.push(status.image_id.clone());
            }
        }
    }
    found.into_values().collect()
}

fn text(report: &Report) -> String {
    let mut text = format!("Command: vdo {}\n{}", report.command, operator_line(&report.operator));
    let _ = writeln!(text, "Cluster: Kubernetes {}", report.kubernetes);
    for driver in &report.drivers {
        let DriverSeen { driver, applied, since, running, workloads } = driver;
        if applied.is_none() && workloads.is_empty() {
            continue;
        }
        let applied = match (applied, since) {
            (Some(version), Some(since)) => format!("vdo has applied {version} at {since}"),
            _ => "vdo has not installed it".to_owned(),
        };
        let running = if running.is_empty() {
            "none of its own images runs".to_owned()
        } else {
            running.join(", ") + " runs"
        };
        let _ = writeln!(text, "\n{driver}: {applied}; {running}");
        for Workload { object, ours, images } in workloads {
            let ours = if *ours { "" } else { ", of another tool" };
            let _ = writeln!(text, "  {object}{ours}");
            for Image { name, containers, ready, .. } in images {
                let _ = writeln!(text, "    {name}: {ready} of {containers} containers are ready");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(image: &str, ready: bool, id: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}, {"name": "side", "image": "side:v1"}]},
            "status": {"containerStatuses": [
                {"name": "c", "image": image, "imageID": id, "ready": ready, "restartCount": 0},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn images_are_counted_by_what_their_containers_do() {
        let found = images(&[
            pod("cpi:v1", true, "sha256:a"),
            pod("cpi:v1", false, ""),
            pod("cpi:v2", true, "sha256:b"),
        ]);
        let of = |image: &str, containers, ready, ids: &[&str]| Image {
            name: image.to_owned(),
            containers,
            ready,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let wanted =
            [of("cpi:v1", 2, 1, &["sha256:a"]), of("cpi:v2", 1, 1, &["sha256:b"]), of("side:v1", 3, 0, &[])];
        assert_eq!(found, wanted);
    }
}
