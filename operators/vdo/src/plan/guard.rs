//! What must not happen to a cluster: Nodes that CPI deletes, volumes without a driver, Pods without a network.

use operator_kit::names::first_few;

use super::{Hold, Step};
use crate::api::reason;
use crate::matrix::Driver;

/// What the steps depend on beside the drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Nodes that no cloud provider has set up.
    pub uninitialized: Vec<String>,
    /// Nodes whose machine the account of CPI does not see in the datacenters that are named; `None` while that is not known.
    pub invisible: Option<Vec<String>>,
    /// Whether an object decides about CPI. Else it is not known how it is.
    pub is_cpi_kept: bool,
    /// Whether CPI keeps Nodes whose machine it does not see.
    pub keeps_nodes: bool,
    /// Volumes, attachments and snapshots of CSI, such as `PersistentVolume pvc-1`.
    pub volumes: Vec<String>,
    /// Snapshots of any storage driver, such as `VolumeSnapshot web/data`: the API server deletes them with their kinds.
    pub snapshots: Vec<String>,
    /// Pods with addresses of the network.
    pub pods: Vec<String>,
    /// Whether versions may change now.
    pub is_window_open: bool,
    /// What the preflight checks forbid.
    pub checks: Checks,
}

/// What preflight checks forbid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// Nothing.
    #[default]
    Passed,
    /// It is not known yet.
    Running,
    /// Something.
    Failed {
        /// Whether drivers may be installed.
        install: bool,
        /// Whether versions may change.
        upgrade: bool,
        /// What was found.
        message: String,
    },
}

impl Checks {
    /// Returns what an installation waits for, or a change of version.
    pub(super) fn hold(&self, is_installation: bool) -> Option<Step> {
        match self {
            Self::Passed => None,
            Self::Running => {
                let message = "the preflight checks have not run yet".to_owned();
                Some(Step::Wait(Hold { reason: reason::CHECKS_RUNNING, message }))
            }
            Self::Failed { install, upgrade, .. } if if is_installation { *install } else { *upgrade } => {
                None
            }
            Self::Failed { message, .. } => {
                Some(Step::Blocked(Hold { reason: reason::CHECKS_FAILED, message: message.clone() }))
            }
        }
    }
}

/// Returns why CPI is neither installed nor changed: it deletes Nodes that are not ready and whose machine it does not see.
pub(super) fn lost_sight(cluster: &Cluster) -> Option<Step> {
    if cluster.keeps_nodes {
        return None;
    }
    match &cluster.invisible {
        None => Some(Step::Wait(Hold {
            reason: reason::MACHINES_UNKNOWN,
            message: "the vCenters have to answer whether the account sees the machines of all Nodes"
                .to_owned(),
        })),
        Some(nodes) if nodes.is_empty() => None,
        Some(nodes) => Some(Step::Blocked(Hold {
            reason: reason::MACHINES_INVISIBLE,
            message: format!(
                "CPI would delete these Nodes, whose machines its account does not see: {}; grant it the right to read them, name \
                 their datacenters, or have CPI keep such Nodes",
                first_few(nodes)
            ),
        })),
    }
}

/// Returns that CSI waits for Nodes to be set up.
pub(super) fn uninitialized(cluster: &Cluster) -> Option<Step> {
    let message =
        || format!("no cloud provider has set up these Nodes: {}", first_few(&cluster.uninitialized));
    let hold = || Hold { reason: reason::NODES_UNINITIALIZED, message: message() };
    (!cluster.uninitialized.is_empty()).then(|| Step::Wait(hold()))
}

/// Returns that a driver of another tool is left alone.
pub(super) fn foreign(driver: Driver, what: &str) -> Hold {
    let message = format!(
        "another tool has installed {driver}, as {what} shows: remove it, or have vdo adopt it, or manage no {driver}"
    );
    Hold { reason: reason::FOREIGN_DRIVER, message }
}

/// Returns that the kinds of snapshots stay while CSI does.
pub(super) fn snapshotter() -> Hold {
    Hold {
        reason: reason::SNAPSHOTS_REQUIRED,
        message: "the csi-snapshotter of CSI fails without the kinds of snapshots: remove CSI first, or leave the SnapshotController \
                  unmanaged"
            .to_owned(),
    }
}

/// The reasons of [`in_use`]: what uses the drivers is not watched.
pub(crate) const REASONS_IN_USE: [&str; 3] =
    [reason::VOLUMES_IN_USE, reason::SNAPSHOTS_IN_USE, reason::NETWORK_IN_USE];

/// Returns why a driver is not removed.
pub(super) fn in_use(driver: Driver, cluster: &Cluster) -> Option<Hold> {
    let (reason, names, what, remedy) = match driver {
        Driver::Cpi => return None,
        Driver::Csi => (
            reason::VOLUMES_IN_USE,
            &cluster.volumes,
            "CSI has to detach and delete these",
            "delete the claims and snapshots, or keep the driver",
        ),
        Driver::Snapshots => (
            reason::SNAPSHOTS_IN_USE,
            &cluster.snapshots,
            "these would go with their kinds",
            "delete them, or leave the SnapshotController unmanaged",
        ),
        Driver::Cni => (
            reason::NETWORK_IN_USE,
            &cluster.pods,
            "these Pods have addresses of the network",
            "delete them, or keep the driver",
        ),
    };
    (!names.is_empty()).then(|| Hold { reason, message: format!("{what}: {}; {remedy}", first_few(names)) })
}
