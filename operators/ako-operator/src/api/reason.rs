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
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn the_docs_explain_every_reason() {
        let docs = include_str!("../../../../docs/ako-operator/README.md");
        operator_kit::reasons::check_documented(docs, ALL).unwrap();
    }
}
