//! The Kubernetes API of ako-operator: group `networking.tkg.tanzu.vmware.com`, version `v1alpha1`.
//!
//! Owns the kind, and the strings that users meet: labels, annotations, finalizers, names, condition types, reasons. Never talks to
//! anything. The first operator wrote `network` in its strings, its successor `networking`: the former are written, both are read.

mod adc;
mod extra;
mod place;
mod port_groups;
pub mod reason;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use adc::{
    Added, AddedRange, AddedSubnet, AddedUsableNetwork, AkoDeploymentConfig, AkoDeploymentConfigSpec,
    AkoDeploymentConfigStatus, ControlPlaneNetwork, DataNetwork, IpPool, IpType, SecretRef, Tenant,
    TenantContext, TenantScope,
};
pub use extra::{
    AutoFqdn, CniPlugin, ExtraConfigs, FeatureGates, Ingress, L4Config, Log, LogLevel, NamespaceSelector,
    NetworksConfig, NodeNetwork, NodePortSelector, PassthroughShardSize, Rbac, ServiceType, ShardSize,
};
pub use place::{
    ADMIN_TENANT, Place, Works, asks_for, find_elsewhere, find_namesake, has_lost_finalizer, is_stripped,
    may_have_had_ako, recorded, says_leaving, says_nowhere, unrecorded,
};
pub use port_groups::{AddedPortGroup, PortBinding, PortGroup, Vcenter, VlanRange};

/// API group of the kind.
pub const GROUP: &str = "networking.tkg.tanzu.vmware.com";

/// Label with which a user asks for AKO in a Cluster. An empty value leaves the choice of the AKODeploymentConfig to the selectors; any
/// other value names it. Its value is never overwritten.
pub const AVI_LABEL: &str = "cluster-service.network.tkg.tanzu.vmware.com/avi";
/// Label that the later operator wrote on a Cluster: the AKODeploymentConfig that had selected it.
pub const LATER_AVI_LABEL: &str = "networking.tkg.tanzu.vmware.com/avi";
/// Label of a workload Cluster with the value `true`: AKO removes what it made on AVI, and makes nothing more.
pub const DELETE_CONFIG_LABEL: &str = "networking.tkg.tanzu.vmware.com/avi-config-delete";

/// Annotation with the value `true`. Of a Cluster: the operator does not wait for AKO's cleanup any more. Of an AKODeploymentConfig that is
/// being deleted: it does not wait for AVI. What was made on AVI may stay there.
pub const FORCE_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/force-cleanup";

/// What the description of a port group has that the operator made: `[<mark>=<UID of the AKODeploymentConfig>]`.
pub const PORT_GROUP_MARK: &str = "ako-operator.network.tkg.tanzu.vmware.com/adc";

/// What the description of a tenant has that the operator made: `[<mark>]`.
pub const TENANT_MARK: &str = "ako-operator.network.tkg.tanzu.vmware.com/tenant";

/// Annotation of a Cluster that names the AKODeploymentConfig that it is to take AKO from, although AKO works at another place: AKO leaves first.
pub const MOVE_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/move-to";
/// Annotation of a Cluster: with another value, its AVI user gets another password. The Secret of the user has the value that was served.
pub const ROTATE_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/rotate-credentials";

/// Finalizer of AKODeploymentConfigs and of Clusters with AKO.
pub const FINALIZER: &str = "ako-operator.network.tkg.tanzu.vmware.com";
/// The finalizer that the later operator wrote.
pub const LATER_FINALIZER: &str = "ako-operator.networking.tkg.tanzu.vmware.com";
/// Returns whether an object has the finalizer, by this operator or by the later one.
#[must_use]
pub fn is_held(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|held| held == FINALIZER || held == LATER_FINALIZER)
}

/// Finalizer of the Service of a management cluster's control plane, as the later operator spelled it.
pub const LATER_HA_FINALIZER: &str = "ako-operator.networking.tkg.tanzu.vmware.com/ha";

/// Annotation of a Cluster: address or name of its control plane, for the Service with which AVI balances it.
pub const ENDPOINT_ANNOTATION: &str = "tkg.tanzu.vmware.com/cluster-controlplane-endpoint";
/// Label of a management cluster's Cluster, with any value.
pub const MANAGEMENT_LABEL: &str = "cluster-role.tkg.tanzu.vmware.com/management";

/// Annotation of the Machines of a Cluster with AKO, with the value [`HOOK_OWNER`]: they run until AKO has cleaned up.
pub const PRE_TERMINATE_HOOK: &str = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/avi-cleanup";
/// Value of [`PRE_TERMINATE_HOOK`].
pub const HOOK_OWNER: &str = "ako-operator";

/// Namespace of management clusters.
pub const SYSTEM_NAMESPACE: &str = "tkg-system";
/// Name of the AKODeploymentConfig that may have an empty selector: it selects the Clusters that no other one selects.
pub const DEFAULT_ADC: &str = "install-ako-for-all";
/// Name of the only AKODeploymentConfig that selects Clusters of [`SYSTEM_NAMESPACE`].
pub const MANAGEMENT_ADC: &str = "install-ako-for-management-cluster";

/// Condition types.
pub mod condition {
    /// Of an AKODeploymentConfig: it can be used as it is.
    pub const READY: &str = "Ready";
    /// Of an AKODeploymentConfig for whose Clusters the operator makes tenants: AKO can work in each, and none is left over.
    pub const TENANTS_READY: &str = "TenantsReady";
    /// Of an AKODeploymentConfig with Clusters that are gone without having been let go: what they have left on AVI is removed. Only while it
    /// is not.
    pub const LOST_CLEANED_UP: &str = "LostClustersCleanedUp";
    /// Of a Cluster: AKO is installed as its AKODeploymentConfig says. Unknown while the workload cluster cannot be read, and where AKO may
    /// have been installed and waits.
    pub const AKO_INSTALLED: &str = "AKOInstalled";
    /// Of a Cluster: AKO has removed what it made on AVI.
    pub const RESOURCES_CLEANED_UP: &str = "AviResourceCleanupSucceeded";
    /// Of a Cluster: its AVI user is removed.
    pub const USER_CLEANED_UP: &str = "AviUserCleanupSucceeded";
    /// Of a Cluster: AKO supports its address families, with those of its AKODeploymentConfig.
    pub const IP_FAMILY_VALID: &str = "ClusterIpFamilyValidationSucceeded";
    /// Of a Cluster whose control plane AVI balances: it is reached at the Cluster's endpoint.
    pub const ENDPOINT_READY: &str = "AviControlPlaneEndpointReady";
    /// The conditions of Clusters that say how far AKO is.
    pub const OWNED: [&str; 4] = [AKO_INSTALLED, RESOURCES_CLEANED_UP, USER_CLEANED_UP, IP_FAMILY_VALID];
}
