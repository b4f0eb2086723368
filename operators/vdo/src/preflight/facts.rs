//! What the checks are made of: what was gathered of the vCenters, the Nodes and the cluster.

use std::collections::{BTreeMap, BTreeSet};

use infra_clients::vsphere::checks::{Datastore, Host, Machine, Tag};
use jiff::SignedDuration;

use super::privileges::Kind;
use crate::plan::Drivers;
use crate::version::{Version, Vsphere};

/// Everything that was gathered.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The vCenters of the drivers.
    pub vcenters: Vec<VcenterFacts>,
    /// The Nodes.
    pub nodes: Vec<NodeFacts>,
    /// StorageClasses of CSI.
    pub storage_classes: Vec<StorageClassFacts>,
    /// The version of CSI that is chosen.
    pub csi: Option<Version>,
    /// Features of CSI that are switched on or off.
    pub features: BTreeMap<String, bool>,
    /// Tag categories of topology.
    pub categories: Vec<String>,
    /// Whether settings say which addresses of a machine count.
    pub chooses_addresses: bool,
    /// Whether CPI runs, which gives Nodes their provider IDs.
    pub has_cpi: bool,
    /// What shows drivers of other tools.
    pub foreign: Drivers<Option<String>>,
    /// Whether the kinds of snapshots exist.
    pub has_snapshot_kinds: bool,
    /// Attachments of volumes to Nodes that do not exist: names of the VolumeAttachment and the Node.
    pub lost_attachments: Vec<(String, String)>,
    /// Whether the cluster is one of OpenShift.
    pub openshift: Option<OpenShift>,
}

/// What is known of OpenShift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenShift {
    /// Whether it manages CSI: the annotation `csi.openshift.io/managed`.
    pub manages_csi: bool,
    /// Whether the accounts of the drivers may use the SecurityContextConstraints that their Pods need.
    pub admits_pods: bool,
}

/// A vCenter.
#[derive(Clone, Debug)]
pub struct VcenterFacts {
    /// Its address.
    pub server: String,
    /// Whether its certificate is not checked.
    pub is_insecure: bool,
    /// What it says; else why it says nothing.
    pub known: Result<Known, String>,
}

/// What a vCenter says.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its version.
    pub version: Option<Vsphere>,
    /// How far its clock is ahead.
    pub clock: SignedDuration,
    /// Names of datacenters that were looked for and that the account does not see.
    pub missing_datacenters: Vec<String>,
    /// Names of the datacenters that are used; empty for all.
    pub datacenters: Vec<String>,
    /// Objects on which the account lacks privileges that it needs: of [`super::needed`].
    pub lacking: Vec<Lacking>,
    /// Datastores that the hosts of all machines share.
    pub shared: Vec<Datastore>,
    /// Names of the storage policies; `None` if they cannot be read.
    pub policies: Option<BTreeSet<String>>,
}

/// An object on which the account lacks privileges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// What it is.
    pub kind: Kind,
    /// Its name or path.
    pub object: String,
    /// What the account lacks.
    pub privileges: Vec<String>,
}

/// A StorageClass of CSI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageClassFacts {
    /// Its name.
    pub name: String,
    /// Its parameter `storagepolicyname`.
    pub policy: Option<String>,
    /// Its parameter `datastoreurl`.
    pub datastore_url: Option<String>,
}

/// A Node.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its provider ID.
    pub provider_id: Option<String>,
    /// Whether it is of the control plane.
    pub is_control_plane: bool,
    /// Taints that the controllers of the drivers do not tolerate.
    pub taints: Vec<String>,
    /// Volumes of CSI that are attached to it.
    pub volumes: usize,
    /// How many CSI attaches at most.
    pub volume_limit: Option<usize>,
    /// Its machine.
    pub machine: Seen,
}

/// Whether a machine is seen.
#[derive(Clone, Debug, Default)]
pub enum Seen {
    /// A vCenter does not answer.
    #[default]
    Unknown,
    /// No vCenter shows it to the account.
    No,
    /// One does.
    Yes(Box<MachineFacts>),
}

/// A machine.
#[derive(Clone, Debug)]
pub struct MachineFacts {
    /// Address of its vCenter.
    pub server: String,
    /// Name of its datacenter.
    pub datacenter: String,
    /// What the vCenter says of it.
    pub machine: Machine,
    /// Its host, if the account may read it.
    pub host: Option<Host>,
    /// Names of other machines with the same host name.
    pub same_host_name: Vec<String>,
    /// Tags of its host, and of what that is in; `None` if they cannot be read.
    pub tags: Option<BTreeSet<Tag>>,
}
