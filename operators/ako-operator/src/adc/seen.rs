//! What a pass over an AKODeploymentConfig sees, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use infra_clients::avi::Version;
use infra_clients::avi::objects::Subnet;
use jiff::Timestamp;

use super::lost::Unsettled;
use super::port_groups;
use super::record::Items;
use crate::delivery::Way;
use crate::infra_setting;
use crate::problem::Problem;

/// What a pass sees.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether a person has ended the wait for AVI.
    pub is_forced: bool,
    /// Clusters that take AKO from it, as `namespace/name`, in order.
    pub clusters: Vec<String>,
    /// Clusters that AKO was delivered to from it and that still have it, or their finalizer, in order.
    pub delivered: Vec<String>,
    /// Those of them that are being deleted.
    pub departing: Departing,
    /// Those of them that are gone, and whose remains AVI refused to remove.
    pub unsettled: BTreeMap<String, Unsettled>,
    /// What makes asking AVI impossible.
    pub problem: Option<Problem>,
    /// How its Clusters get AKO; all ways, if it has none.
    pub ways: Vec<Way>,
    /// What an answer of AVI depends on.
    pub basis: Basis,
    /// What AVI had when it was asked last, and when that was.
    pub answer: Option<Arc<Answer>>,
    /// What other AKODeploymentConfigs, which are not being deleted, have added as well.
    pub claimed: Items,
    /// What those that are being deleted have added.
    pub released: Items,
    /// Names of those that do not parse: what they have added is not known.
    pub unread: Vec<String>,
    /// What each of the others has added at the same controller, by its name.
    pub others: Vec<(String, Items)>,
    /// Its AviInfraSetting in the management cluster, where it asks for one or is being deleted.
    pub infra: Option<infra_setting::Live>,
    /// The Services of control planes that name it; only where the AKODeploymentConfig is being deleted.
    pub balanced: Balanced,
    /// Names of roles that AVI does not remove, as users of others have them.
    pub kept_roles: BTreeSet<String>,
    /// Its port groups.
    pub groups: port_groups::Seen,
}

/// Services of control planes that name an AviInfraSetting, as `namespace/name`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balanced {
    /// Those that go: they are being deleted, or Kubernetes deletes them with their Cluster.
    pub ending: Vec<String>,
    /// Those that stay.
    pub lasting: Vec<String>,
}

/// Clusters that AKO was delivered to and that are being deleted, or were when they were seen last, as `namespace/name`, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departing {
    /// All that were seen being deleted, and not paused.
    pub leaving: Vec<String>,
    /// Those of them that are gone without having been let go: what they have left on AVI is looked for.
    pub lost: Vec<String>,
}

/// What an answer of AVI depends on: with another one, AVI is asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// Versions of the Secrets; empty without them.
    pub credentials: String,
    /// Whether the AKODeploymentConfig is being deleted: then only what was added is looked at.
    pub is_deleting: bool,
}

/// An answer of AVI, or of another system.
#[derive(Clone, Debug)]
pub struct Answer<B = Basis, F = Facts> {
    /// What it depends on.
    pub basis: B,
    /// When the system was asked.
    pub at: Timestamp,
    /// What it has.
    pub facts: F,
}

/// What AVI has.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Version of the controller.
    pub version: Option<Version>,
    /// The cloud of the spec; `None` if there is none of its name.
    pub cloud: Option<Cloud>,
    /// Whether the cloud has the service engine group of the spec.
    pub has_group: bool,
    /// Tenants that Clusters need, or that the record names, by name; `None` for those that do not exist.
    pub tenants: BTreeMap<String, Option<Tenant>>,
    /// Roles of the tenant `admin` that the spec needs, or that the record names, by name.
    pub roles: BTreeMap<String, Role>,
    /// UUIDs of the networks of the spec that exist, by name.
    pub names: BTreeMap<String, String>,
    /// UUIDs of the routing contexts of these networks, by name of the network.
    pub contexts: BTreeMap<String, String>,
    /// Subnets of these networks, and of others that the record names, by UUID.
    pub networks: BTreeMap<String, Vec<Subnet>>,
    /// UUIDs of the usable networks of AVI's own IPAM profiles, by UUID of the profile.
    pub profiles: BTreeMap<String, BTreeSet<String>>,
    /// UUIDs of all networks and profiles that were asked for, and names of all roles.
    pub asked: BTreeSet<String>,
}

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Its UUID.
    pub uuid: String,
    /// Whether its description has the mark of those that the operator makes.
    pub is_marked: bool,
    /// Whether it has the service engine group of the spec; `None` if its service engines are those of the provider.
    pub has_group: Option<bool>,
    /// UUIDs of its routing contexts; `None` if it has those of the provider.
    pub contexts: Option<BTreeSet<String>>,
    /// What is in it; `None` where that was not asked, as it is needed.
    pub content: Option<Vec<String>>,
    /// Why AVI refused to remove it, if that was tried since it was asked.
    pub refusal: Option<String>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Its UUID.
    pub uuid: String,
    /// Whether it allows too little, or too much.
    pub is_wrong: bool,
}

/// A cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cloud {
    /// UUID of its IPAM profile.
    pub profile: Option<String>,
    /// Whether it finds the port groups of a vCenter.
    pub is_of_vcenter: bool,
}
