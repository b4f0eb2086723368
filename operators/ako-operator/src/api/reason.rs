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
    /// No template for this version of AKO is known.
    AKO_UNKNOWN = "AKOVersionUnknown";
    /// AKO does not work with this version of the controller.
    CONTROLLER_UNSUPPORTED = "ControllerVersionUnsupported";
    /// AKO does not support the address families of a Cluster.
    IP_FAMILY_UNSUPPORTED = "IPFamilyUnsupported";
    /// A Secret with credentials of the controller is missing or incomplete.
    CREDENTIALS_MISSING = "CredentialsMissing";
    /// The workload cluster has an AKO that is not of this operator.
    AKO_OF_OTHERS = "AKOOfOthers";
    /// AKO removes what it made on AVI.
    CLEANING_UP = "AKOCleaningUp";
    /// AKO gave up removing what it made on AVI.
    CLEANUP_TIMED_OUT = "AKOCleanupTimedOut";
    /// AKO does not learn that it has to remove what it made on AVI: its ConfigMap is gone.
    CLEANUP_IMPOSSIBLE = "AKOCleanupImpossible";
    /// The Pods of AKO end.
    AKO_ENDING = "AKOEnding";
}

#[cfg(test)]
mod tests {
    use infra_clients::capi::REASONS;

    use super::ALL;

    #[test]
    fn the_docs_explain_every_reason() {
        let docs = include_str!("../../../../docs/ako-operator/README.md");
        operator_kit::reasons::check_documented(docs, ALL.iter().chain(REASONS)).unwrap();
    }
}
