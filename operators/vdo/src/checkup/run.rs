//! Runs the checks: reads what they need of the cluster and of the vCenters.

use std::collections::BTreeMap;
use std::time::Duration;

use infra_clients::vsphere::checks::Checks;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use operator_kit::Key;

use super::Order;
use crate::api::ManagementState;
use crate::config::{Trust, Vcenter, Zones};
use crate::connection::session;
use crate::error::Error;
use crate::foreign::Foreign;
use crate::installer::{Shared, all, has_snapshots, workloads};
use crate::matrix::Driver;
use crate::plan::Drivers;
use crate::preflight::{
    Facts, Gathered, NodeFacts, Search, StorageClassFacts, VcenterFacts, assign, attached, gather, lost,
    run as check, uuids,
};

/// How long a vCenter may take to end a session.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be done after a run.
#[derive(Debug)]
pub(crate) struct Ran {
    /// After which time the checks run again.
    pub(crate) again: Duration,
    /// Names of connections whose vCenter has not answered.
    pub(crate) silent: Vec<String>,
}

/// Runs the checks, and notes what they find.
pub(crate) async fn run(shared: &Shared, order: &Order) -> Result<Ran, Error> {
    let nodes: Vec<Node> = shared.nodes.all().iter().map(|brief| brief.labelled()).collect();
    let attachments: Vec<VolumeAttachment> = all(&shared.client).await?;
    let classes: Vec<StorageClass> = all(&shared.client).await?;
    let (uuids, volumes) = (uuids(&nodes), attached(&attachments));
    let (mut gathered, mut silent) = (Vec::new(), Vec::new());
    for (uid, name, vcenter) in &order.vcenters {
        let of = of_vcenter(vcenter, order, &uuids).await;
        if of.vcenter.known.is_err() {
            // Its connection says more, and remembers a login that was refused.
            shared.answers.outdate(uid);
            silent.push(name.clone());
        }
        gathered.push(of);
    }
    let tolerations = &order.desired.drivers.csi.tolerations;
    let mut seen: Vec<_> = nodes
        .iter()
        .map(|node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let csi_node = shared.csi_nodes.valid(&Key::new("", name));
            NodeFacts::read(
                node,
                csi_node.as_deref(),
                volumes.get(name).copied().unwrap_or_default(),
                tolerations,
            )
        })
        .collect();
    assign(&mut seen, &gathered);
    let sets: Vec<_> = Driver::ALL.iter().map(|driver| shared.sets.get(*driver).id()).collect();
    let found = workloads(&shared.client, &sets).await?.foreign;
    let installs_snapshots = order.desired.drivers.snapshots.state == ManagementState::Managed;
    let facts = Facts {
        vcenters: gathered.into_iter().map(|of| of.vcenter).collect(),
        nodes: seen,
        storage_classes: classes.iter().filter_map(StorageClassFacts::read).collect(),
        csi: order.csi.clone(),
        features: order.desired.features.clone(),
        categories: categories(order),
        chooses_addresses: order.desired.nodes != crate::config::Nodes::default(),
        has_cpi: order.ours.cpi || found.cpi.is_some(),
        foreign: in_the_way(order, &found),
        has_snapshot_kinds: installs_snapshots || has_snapshots(&shared.client).await?,
        lost_attachments: lost(&attachments, &nodes),
        openshift: None,
    };
    let findings = check(&facts, &order.desired.skipped);
    let now: Timestamp = shared.clock.now();
    Ok(Ran { again: shared.checkups.note(order, findings, now), silent })
}

async fn of_vcenter(vcenter: &Vcenter, order: &Order, uuids: &BTreeMap<String, String>) -> Gathered {
    let (server, is_insecure) = (vcenter.server.as_str(), matches!(vcenter.trust, Trust::Insecure));
    let session = match session(vcenter) {
        Ok(session) => session,
        Err(error) => {
            let known = Err(error.to_string());
            let vcenter = VcenterFacts { server: server.to_owned(), is_insecure, known };
            return Gathered { vcenter, machines: BTreeMap::new() };
        }
    };
    let has_file_volumes = order.desired.shares != crate::config::FileShares::default();
    let search = Search { server, is_insecure, datacenters: &vcenter.datacenters, uuids, has_file_volumes };
    let gathered = gather(&Checks::new(session.clone()), &search).await;
    // Else the vCenter keeps it until it idles out.
    let _ = tokio::time::timeout(PATIENCE, session.close()).await;
    gathered
}

fn categories(order: &Order) -> Vec<String> {
    match &order.desired.zones {
        Some(Zones::Categories(categories)) => {
            categories.iter().map(|category| category.name.clone()).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns drivers of other tools where ours are to be installed.
fn in_the_way(order: &Order, found: &Drivers<Option<Foreign>>) -> Drivers<Option<String>> {
    Drivers::of(|driver: Driver| {
        let request = order.desired.drivers.get(driver);
        let is_ours = *order.ours.get(driver) || request.adopts || request.state != ManagementState::Managed;
        found.get(driver).as_ref().filter(|_| !is_ours).map(|foreign| foreign.what.clone())
    })
}
