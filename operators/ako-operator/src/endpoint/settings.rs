//! Which control planes AVI balances, and at which address and port: rules on the Cluster and on the operator's flags.

use infra_clients::capi::Cluster;

use crate::api::ENDPOINT_ANNOTATION;

/// TCP port of the API servers on the Machines, and of endpoints unless another one is chosen.
pub const APISERVER_PORT: u16 = 6443;

/// Topology variable: whether AVI balances the control plane.
const PROVIDER_VARIABLE: &str = "aviAPIServerHAProvider";
/// Topology variable: TCP port of the endpoint.
const PORT_VARIABLE: &str = "apiServerPort";
/// Topology variable: host of the endpoint.
pub(super) const HOST_VARIABLE: &str = "apiServerEndpoint";

/// What the operator's flags say. A Cluster with a topology says the first two itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether AVI balances control planes.
    pub is_provider: bool,
    /// TCP port of endpoints.
    pub port: u16,
    /// Whether a Machine that is not ready gets no traffic while others are ready.
    pub ready_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { is_provider: false, port: APISERVER_PORT, ready_only: false }
    }
}

impl Settings {
    /// Returns whether AVI balances the control plane of a Cluster. A variable of another type says nothing.
    #[must_use]
    pub fn is_provider(&self, cluster: &Cluster) -> bool {
        if cluster.is_class_based() {
            cluster.variable::<bool>(PROVIDER_VARIABLE).ok().flatten() == Some(true)
        } else {
            self.is_provider
        }
    }

    /// Returns the TCP port of a Cluster's endpoint: the one it has, else the one that is chosen.
    #[must_use]
    pub fn port(&self, cluster: &Cluster) -> u16 {
        let has = cluster.control_plane_endpoint().map(|endpoint| endpoint.port).filter(|port| *port != 0);
        has.unwrap_or_else(|| {
            if cluster.is_class_based() {
                let chosen = cluster.variable::<u16>(PORT_VARIABLE).ok().flatten();
                chosen.filter(|port| *port != 0).unwrap_or(APISERVER_PORT)
            } else {
                self.port
            }
        })
    }
}

/// Returns the host of a Cluster's endpoint: the one it has, which never changes; else the one that it asks for, by its topology or its
/// annotation.
pub(super) fn host(cluster: &Cluster) -> Option<String> {
    let has = cluster.control_plane_endpoint().map(|endpoint| endpoint.host.clone());
    has.or_else(|| asked(cluster))
}

/// Returns the host that a Cluster asks for.
pub(super) fn asked(cluster: &Cluster) -> Option<String> {
    let variable = cluster.variable::<String>(HOST_VARIABLE).ok().flatten();
    let annotation = cluster.annotation(ENDPOINT_ANNOTATION).map(str::to_owned);
    [variable, annotation].into_iter().flatten().find(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(spec: &Value, annotation: Option<&str>) -> Cluster {
        let annotations = annotation.map(|value| json!({ ENDPOINT_ANNOTATION: value }));
        serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "spec": spec,
            "metadata": { "name": "c", "namespace": "n", "annotations": annotations },
        }))
        .unwrap()
    }

    fn with_variable(name: &str, value: &Value) -> Value {
        let variables = json!([{ "name": name, "value": value }]);
        json!({ "topology": { "classRef": { "name": "class" }, "variables": variables } })
    }

    /// The cases of the original's `ako operator control plane HA provider`.
    #[test]
    fn a_topology_or_the_flag_makes_avi_the_provider() {
        for (spec, flag, wanted) in [
            (json!({}), true, true),
            (json!({}), false, false),
            (with_variable(PROVIDER_VARIABLE, &json!(true)), false, true),
            (with_variable(PROVIDER_VARIABLE, &json!(false)), true, false),
            (with_variable("other", &json!(true)), true, false),
            (with_variable(PROVIDER_VARIABLE, &json!("true")), true, false),
        ] {
            let settings = Settings { is_provider: flag, ..Settings::default() };
            assert_eq!(settings.is_provider(&cluster(&spec, None)), wanted, "{spec} {flag}");
        }
    }

    /// The cases of the original's `Get control plane endpoint port`, but those of flags that are no ports.
    #[test]
    fn a_port_is_that_of_the_endpoint_else_the_one_that_is_chosen() {
        let endpoint = json!({ "controlPlaneEndpoint": { "host": "h", "port": 8443 } });
        for (spec, flag, wanted) in [
            (json!({}), 6443, 6443),
            (json!({}), 31005, 31005),
            (with_variable(PORT_VARIABLE, &json!(31005)), 7443, 31005),
            (with_variable("other", &json!(31005)), 7443, 6443),
            (with_variable(PORT_VARIABLE, &json!("31005")), 7443, 6443),
            (with_variable(PORT_VARIABLE, &json!(0)), 7443, 6443),
            (with_variable(PORT_VARIABLE, &json!(65536)), 7443, 6443),
            (with_variable(PORT_VARIABLE, &json!(-1)), 7443, 6443),
            (endpoint, 31005, 8443),
        ] {
            let settings = Settings { port: flag, ..Settings::default() };
            assert_eq!(settings.port(&cluster(&spec, None)), wanted, "{spec} {flag}");
        }
    }

    /// The cases of the original's `get cluster endpoint`.
    #[test]
    fn a_host_is_that_of_the_endpoint_else_the_one_that_is_asked_for() {
        let variable = |value: Value| with_variable(HOST_VARIABLE, &value);
        let mut both = variable(json!("10.0.0.1"));
        both["controlPlaneEndpoint"] = json!({ "host": "10.0.0.9", "port": 6443 });
        let has = json!({ "controlPlaneEndpoint": { "host": "10.0.0.9", "port": 6443 } });
        for (spec, annotation, wanted) in [
            (json!({}), None, None),
            (json!({}), Some("10.0.0.2"), Some("10.0.0.2")),
            (has.clone(), None, Some("10.0.0.9")),
            (has, Some("10.0.0.2"), Some("10.0.0.9")),
            (variable(json!("10.0.0.1")), None, Some("10.0.0.1")),
            (variable(json!("api.example.com")), Some("10.0.0.2"), Some("api.example.com")),
            (with_variable("other", &json!("x")), None, None),
            (variable(json!("")), None, None),
            (variable(json!(5)), None, None),
            (both, None, Some("10.0.0.9")),
        ] {
            assert_eq!(host(&cluster(&spec, annotation)).as_deref(), wanted, "{spec} {annotation:?}");
        }
    }
}
