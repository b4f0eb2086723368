//! Reasons: the CamelCase constants that conditions, events and metrics share.

operator_kit::reasons! {
    /// A Cluster uses kube-vip for its Services, so it takes no AKO.
    KUBE_VIP = "KubeVipProvidesLoadBalancers";
    /// A Cluster is not ready, so nothing is installed in it yet.
    CLUSTER_NOT_READY = "ClusterNotReady";
    /// The label of a Cluster names an AKODeploymentConfig that does not exist, or that cannot select it.
    NO_SUCH_ADC = "NoSuchAKODeploymentConfig";
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
