//! Another Kubernetes version is rolled out: every Machine is replaced, and the Nodes are the new ones'.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use testbed::{Management, Workload};

use crate::SOON;
use crate::objects::Objects;

/// A Cluster whose control plane and MachineDeployment stand for themselves.
pub(crate) async fn of_objects(management: &Management) -> Result<()> {
    let workload = management.workload("rollout").namespace("rollout").start().await?;
    of(&Objects::of(management, &workload), &workload).await
}

pub(crate) async fn of(objects: &Objects, workload: &Workload) -> Result<()> {
    let api: Api<Node> = Api::all(workload.plane().client());
    let before = objects.list("Machine").await?;
    let old = before[0].data["spec"]["version"].as_str().context("a Machine without a version")?;
    let new = next(old)?;
    let uids: BTreeSet<_> = before.iter().filter_map(ResourceExt::uid).collect();

    workload.roll_out(&new).await?;
    workload.rolled_out(&new, SOON).await?;
    let after = objects.list("Machine").await?;
    ensure!(after.len() == before.len(), "{} Machines were {}", after.len(), before.len());
    ensure!(after.iter().filter_map(ResourceExt::uid).all(|uid| !uids.contains(&uid)), "a Machine stays");

    // Cluster API has removed the old Machines' Nodes before those, and the new ones say what they are.
    let nodes = api.list(&ListParams::default()).await?.items;
    let names: BTreeSet<_> = nodes.iter().map(ResourceExt::name_any).collect();
    let machines: BTreeSet<_> = after.iter().map(ResourceExt::name_any).collect();
    ensure!(names == machines && workload.nodes().names() == machines, "{names:?} are not {machines:?}");
    for node in nodes {
        let name = node.name_any();
        let info = node.status.and_then(|status| status.node_info).context("no nodeInfo")?;
        ensure!(info.kubelet_version == new, "{name} has {}", info.kubelet_version);
    }
    Ok(())
}

/// The next patch version.
fn next(version: &str) -> Result<String> {
    let (minor, patch) = version.rsplit_once('.').context("a version has dots")?;
    Ok(format!("{minor}.{}", patch.parse::<u32>()? + 1))
}
