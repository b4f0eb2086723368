//! Reasons: the CamelCase constants that conditions, events and metrics share.

operator_kit::reasons! {
    /// A Cluster uses kube-vip for its Services, so it takes no AKO.
    KUBE_VIP = "KubeVipProvidesLoadBalancers";
    /// A Cluster is not ready, so nothing is installed in it yet.
    CLUSTER_NOT_READY = "ClusterNotReady";
    /// The label of a Cluster names an AKODeploymentConfig that does not exist, or that cannot select it.
    NO_SUCH_ADC = "NoSuchAKODeploymentConfig";
    /// A field of an AKODeploymentConfig has a value that AKO cannot be delivered with.
    INVALID_SPEC = "InvalidSpec";
    /// AKO does not work with this version of the controller.
    CONTROLLER_UNSUPPORTED = "ControllerVersionUnsupported";
    /// AKO does not support the address families of a Cluster.
    IP_FAMILY_UNSUPPORTED = "IPFamilyUnsupported";
    /// A Secret with credentials of the controller is missing or incomplete.
    CREDENTIALS_MISSING = "CredentialsMissing";
    /// AKO is installed in a workload cluster.
    INSTALLED = "AKOInstalled";
    /// AKO has removed what it made on AVI.
    CLEANED_UP = "AKOCleanedUp";
    /// AKO supports the address families of a Cluster.
    IP_FAMILY_SUPPORTED = "IPFamilySupported";
    /// The workload cluster has an AKO that is not of this operator.
    AKO_OF_OTHERS = "AKOOfOthers";
    /// AKO was delivered to the workload cluster in another way than it would be now.
    DELIVERED_OTHERWISE = "AKODeliveredOtherwise";
    /// The add-on manager has not installed AKO yet.
    ADDON_PENDING = "AddonPending";
    /// The add-on Secret has a type that the add-on manager of the Cluster does not read.
    ADDON_SECRET_TAKEN = "AddonSecretTaken";
    /// The ClusterBootstrap of a Cluster does not exist yet, or has no release.
    BOOTSTRAP_PENDING = "ClusterBootstrapPending";
    /// The release of a Cluster has no package of AKO.
    PACKAGE_MISSING = "AddonPackageMissing";
    /// An event: the ClusterBootstrap of a Cluster that AKO has left still lists the package.
    PACKAGE_STAYS = "AddonPackageStays";
    /// AKO is to leave a Cluster, and nothing was changed for that yet.
    TO_LEAVE = "AKOToLeave";
    /// AKO leaves a Cluster, or has left it.
    LEAVING = "AKOLeaving";
    /// An event: a role that the operator made stays on AVI, as users of others have it.
    ROLE_KEPT = "AviRoleKept";
    /// An event: the AviInfraSetting of a deleted AKODeploymentConfig stays, as Services of control planes name it.
    INFRA_SETTING_KEPT = "AviInfraSettingKept";
    /// The AviInfraSetting of a deleted AKODeploymentConfig goes once the Services of control planes have gone that name it.
    INFRA_SETTING_IN_USE = "AviInfraSettingInUse";
    /// AVI has a user of the name that a new Cluster's is to have.
    USER_TAKEN = "AviUserTaken";
    /// AKO has left a Cluster that lives on, and nothing of it is left: its finalizer goes next.
    LEFT = "AKOLeft";
    /// AKO removes what it made on AVI.
    CLEANING_UP = "AKOCleaningUp";
    /// AKO gave up removing what it made on AVI.
    CLEANUP_TIMED_OUT = "AKOCleanupTimedOut";
    /// The time for AKO's cleanup is over: the operator removes what AKO made.
    CLEANUP_OVERDUE = "AKOCleanupOverdue";
    /// An event: the operator removed what AKO had left on AVI.
    REMOVED_FROM_AVI = "AviObjectsRemoved";
    /// An event: what AKO made may be left on AVI, as a person has ended the wait, or AVI refuses to remove it.
    LEFT_ON_AVI = "AviObjectsLeft";
    /// AKO does not learn that it has to remove what it made on AVI: its ConfigMap is gone.
    CLEANUP_IMPOSSIBLE = "AKOCleanupImpossible";
    /// AKO is to remove what it made and make nothing, as the label of the Cluster says.
    CONFIG_DELETED = "AviConfigDeleted";
    /// Another program changes objects in a workload cluster each time they are written.
    OBJECTS_REVERTED = "AKOObjectsReverted";
    /// No Pod of AKO is ready.
    AKO_NOT_READY = "AKONotReady";
    /// AKO waits for kinds that the workload cluster does not serve.
    DEFINITIONS_MISSING = "AKOCRDsMissing";
    /// The workload cluster does not serve the kinds yet that the operator defined.
    DEFINITIONS_PENDING = "AKOCRDsPending";
    /// The files with AKO's CustomResourceDefinitions cannot be used.
    DEFINITIONS_INVALID = "AKOCRDsInvalid";
    /// The workload cluster has objects of AKO's kinds in versions that the files of the operator do not have.
    DEFINITIONS_NEWER = "AKOCRDsNewer";
    /// The Pods of AKO end.
    AKO_ENDING = "AKOEnding";
    /// AVI has all that an AKODeploymentConfig asks for.
    AS_ASKED = "AsAsked";
    /// AVI was asked or changed, and what it has now is looked at next.
    PROGRESSING = "Progressing";
    /// The AKODeploymentConfig of a Cluster is not ready, so nothing is installed in the Cluster yet.
    ADC_NOT_READY = "AKODeploymentConfigNotReady";
    /// An AKODeploymentConfig does not parse, or has an invalid selector: what it selects, and has recorded, is not known.
    ADC_INVALID = "AKODeploymentConfigInvalid";
    /// An AKODeploymentConfig is being deleted while Clusters take AKO from it.
    IN_USE = "InUse";
    /// The place on AVI was changed while something of the AKODeploymentConfig is there.
    PLACE_CHANGED = "PlaceChanged";
    /// AVI does not keep what the operator writes.
    NOT_KEPT = "AviConfigurationReverted";
    /// Another Cluster has the same name on AVI.
    NAME_TAKEN = "ClusterNameAmbiguous";
    /// The operating system gives no random bytes for a password.
    NO_RANDOMNESS = "RandomSourceFailed";
    /// The Secret for the credentials of a Cluster's AVI user is of others.
    USER_SECRET_TAKEN = "AviUserSecretTaken";
    /// An event: a Cluster's AVI user was made.
    USER_MADE = "AviUserMade";
    /// An event: a Cluster's AVI user got another password.
    USER_ROTATED = "AviUserPasswordChanged";
    /// A Cluster's AVI user goes after what AKO made on AVI. As the original calls it.
    USER_CLEANUP = "AviResourceCleanup";
    /// A Cluster's AVI user is gone, or there was none.
    USER_CLEANED_UP = "AviUserRemoved";
    /// A Cluster's AVI user cannot be removed: its AKODeploymentConfig is gone.
    USER_CLEANUP_IMPOSSIBLE = "AviUserCleanupImpossible";
    /// The Cluster is paused.
    PAUSED = "ClusterPaused";
    /// AVI has no cloud of this name.
    CLOUD_NOT_FOUND = "AviCloudNotFound";
    /// AVI has no service engine group of this name in the cloud.
    SE_GROUP_NOT_FOUND = "AviServiceEngineGroupNotFound";
    /// AVI has no tenant of this name.
    TENANT_NOT_FOUND = "AviTenantNotFound";
    /// A tenant of a Cluster or of a namespace was made by others.
    TENANT_OF_OTHERS = "AviTenantOfOthers";
    /// A tenant has routing contexts of its own, and a network of the AKODeploymentConfig is in none of them.
    TENANT_CONTEXT_DIFFERS = "AviTenantRoutingContextDiffers";
    /// No Cluster needs a tenant any more that the operator made, and something is in it.
    TENANT_IN_USE = "AviTenantInUse";
    /// AVI has no network of this name in the cloud.
    NETWORK_NOT_FOUND = "AviNetworkNotFound";
    /// The cloud has no IPAM profile.
    IPAM_MISSING = "AviIpamProfileMissing";
    /// A pool of an AKODeploymentConfig overlaps a range of AVI that is not its own, or its subnet another one.
    POOLS_OVERLAP = "IPPoolsOverlap";
    /// vCenter has no distributed switch of this name, or several.
    SWITCH_NOT_FOUND = "DistributedSwitchNotFound";
    /// vCenter has a port group of this name that the operator did not make, or whose mark was removed.
    PORT_GROUP_OF_OTHERS = "PortGroupOfOthers";
    /// A task of vCenter on a port group runs, or may do so.
    PORT_GROUP_TASK = "PortGroupTaskRunning";
    /// Something uses a port group that is to be removed.
    PORT_GROUP_IN_USE = "PortGroupInUse";
    /// AVI has not found a port group yet.
    PORT_GROUP_UNDISCOVERED = "PortGroupNotDiscovered";
    /// The vCenter is another one than that with the port groups that the operator made.
    PORT_GROUPS_ELSEWHERE = "PortGroupsInAnotherVCenter";
    /// vCenter does not keep what the operator writes.
    PORT_GROUP_NOT_KEPT = "PortGroupReverted";
    /// An event: the operator made, changed or removed a port group.
    PORT_GROUP_CONFIGURED = "PortGroupConfigured";
    /// The operator added to the configuration of AVI, or removed from it.
    AVI_CONFIGURED = "AviConfigured";
    /// The control plane of a Cluster is reached at its endpoint.
    ENDPOINT_READY = "ControlPlaneEndpointReady";
    /// AKO of the management cluster has given the Service of the control plane no address yet.
    ADDRESS_PENDING = "ControlPlaneAddressPending";
    /// The Service of the control plane has another address than the Cluster's endpoint.
    ADDRESS_DIFFERS = "ControlPlaneAddressDiffers";
    /// The name of the control plane cannot be resolved.
    NAME_UNRESOLVED = "ControlPlaneNameUnresolved";
    /// The Service of the control plane would have a name that Kubernetes does not accept.
    SERVICE_NAME_INVALID = "ControlPlaneServiceNameInvalid";
    /// The Service of a management cluster's control plane does not exist yet, so AKO is not installed there.
    SERVICE_MISSING = "ControlPlaneServiceMissing";
    /// A Service of another program has the name of the control plane's.
    SERVICE_OF_OTHERS = "ControlPlaneServiceOfOthers";
    /// The Service of the control plane is being deleted.
    SERVICE_ENDING = "ControlPlaneServiceEnding";
    /// No Machine of the control plane has an address yet.
    NO_ADDRESSES = "ControlPlaneMachinesWithoutAddress";
    /// The AviInfraSetting for the control plane's Service does not exist yet.
    INFRA_SETTING_MISSING = "AviInfraSettingMissing";
    /// AKO of the management cluster has not accepted the AviInfraSetting for the control plane's Service yet.
    INFRA_SETTING_PENDING = "AviInfraSettingPending";
    /// No AKODeploymentConfig selects a management cluster whose control plane AVI is to balance, or a Cluster that has AKO.
    ADC_MISSING = "AKODeploymentConfigMissing";
}

#[cfg(test)]
mod tests {
    use infra_clients::{avi, capi, vsphere};

    use super::ALL;

    #[test]
    fn the_docs_explain_every_reason() {
        let docs = include_str!("../../../../docs/ako-operator/README.md");
        let clients = [capi::REASONS, avi::REASONS, vsphere::REASONS].concat();
        operator_kit::reasons::check_documented(docs, ALL.iter().chain(&clients)).unwrap();
    }
}
