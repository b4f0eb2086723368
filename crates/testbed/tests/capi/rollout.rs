//! Rollout of another Kubernetes version: all Machines and Nodes are replaced.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use testbed::{Management, Workload};

use crate::SOON;
use crate::objects::Objects;

/// Checks a rollout of a Cluster without a ClusterClass.
pub(crate) async fn check_standalone(management: &Management) -> Result<()> {
    let workload = management.workload("rollout").namespace("rollout").start().await?;
    check(&Objects::of(management, &workload), &workload).await
}

/// Checks a rollout of the next patch version.
pub(crate) async fn check(objects: &Objects, workload: &Workload) -> Result<()> {
    let api: Api<Node> = Api::all(workload.plane().client());
    let before = objects.list("Machine").await?;
    let old = before[0].data["spec"]["version"].as_str().context("the Machine has no version")?;
    let new = next_patch(old)?;
    let uids: BTreeSet<_> = before.iter().filter_map(ResourceExt::uid).collect();

    workload.roll_out(&new).await?;
    workload.rolled_out(&new, SOON).await?;
    let after = objects.list("Machine").await?;
    ensure!(after.len() == before.len(), "{} Machines, before: {}", after.len(), before.len());
    ensure!(
        after.iter().filter_map(ResourceExt::uid).all(|uid| !uids.contains(&uid)),
        "a Machine was not replaced"
    );

    // Cluster API deletes the Node of a Machine before the Machine. The new Nodes have the new version.
    let nodes = api.list(&ListParams::default()).await?.items;
    let names: BTreeSet<_> = nodes.iter().map(ResourceExt::name_any).collect();
    let machines: BTreeSet<_> = after.iter().map(ResourceExt::name_any).collect();
    ensure!(
        names == machines && workload.nodes().names() == machines,
        "Nodes {names:?}, Machines {machines:?}"
    );
    for node in nodes {
        let name = node.name_any();
        let info = node.status.and_then(|status| status.node_info).context("the Node has no nodeInfo")?;
        ensure!(info.kubelet_version == new, "{name} has {}", info.kubelet_version);
    }
    Ok(())
}

/// Returns the next patch version.
fn next_patch(version: &str) -> Result<String> {
    let (minor, patch) = version.rsplit_once('.').context("the version has no dot")?;
    Ok(format!("{minor}.{}", patch.parse::<u32>()? + 1))
}
