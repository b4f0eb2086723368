//! The kinds that AKO 2.2 waits for when it starts: it serves nothing before all of them are served. A secondary AKO waits for the same.
//!
//! From AKO 2.2.1: `internal/k8s/controller.go` and `crdcontroller.go`, and of its gateway `ako-gateway-api/k8s/gateway_controller.go`.

use std::fmt;

use crate::api::AkoDeploymentConfigSpec;

/// The group of AKO's own kinds.
pub const AKO_GROUP: &str = "ako.vmware.com";
/// The group of the former Gateway API, whose definitions AKO's chart has: no other project publishes them any more.
pub const SERVICES_API_GROUP: &str = "networking.x-k8s.io";
/// The group of the Gateway API, which is a project of its own.
pub const GATEWAY_API_GROUP: &str = "gateway.networking.k8s.io";

/// Always.
const ALWAYS: [AwaitedKind; 6] = [
    ako("v1beta1", "AviInfraSetting", "aviinfrasettings"),
    ako("v1beta1", "HostRule", "hostrules"),
    ako("v1beta1", "HTTPRule", "httprules"),
    ako("v1alpha2", "L4Rule", "l4rules"),
    ako("v1alpha2", "L7Rule", "l7rules"),
    ako("v1alpha2", "SSORule", "ssorules"),
];
/// With `servicesAPI`.
const SERVICES_API: [AwaitedKind; 2] = [
    AwaitedKind::of(SERVICES_API_GROUP, "v1alpha1", "GatewayClass", "gatewayclasses"),
    AwaitedKind::of(SERVICES_API_GROUP, "v1alpha1", "Gateway", "gateways"),
];
/// With `ingress.enableMCI`.
const SEVERAL_CLUSTERS: [AwaitedKind; 2] = [
    ako("v1alpha1", "MultiClusterIngress", "multiclusteringresses"),
    ako("v1alpha1", "ServiceImport", "serviceimports"),
];
/// With the gate GatewayAPI: AKO's gateway waits for them.
const GATEWAY_API: [AwaitedKind; 3] = [
    AwaitedKind::of(GATEWAY_API_GROUP, "v1", "GatewayClass", "gatewayclasses"),
    AwaitedKind::of(GATEWAY_API_GROUP, "v1", "Gateway", "gateways"),
    AwaitedKind::of(GATEWAY_API_GROUP, "v1", "HTTPRoute", "httproutes"),
];

/// A kind that AKO waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AwaitedKind {
    /// Its API group.
    pub group: &'static str,
    /// The version in which AKO reads it.
    pub version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

impl AwaitedKind {
    const fn of(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self { group, version, kind, plural }
    }

    /// Returns the name of its CustomResourceDefinition.
    #[must_use]
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

impl fmt::Display for AwaitedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}/{})", self.kind, self.group, self.version)
    }
}

const fn ako(version: &'static str, kind: &'static str, plural: &'static str) -> AwaitedKind {
    AwaitedKind::of(AKO_GROUP, version, kind, plural)
}

/// Returns the kinds that an AKO waits for which is as this spec asks.
#[must_use]
pub fn awaited_kinds(spec: &AkoDeploymentConfigSpec) -> Vec<AwaitedKind> {
    let extra = spec.extra_configs.clone().unwrap_or_default();
    let mut kinds = ALWAYS.to_vec();
    if extra.services_api == Some(true) {
        kinds.extend(SERVICES_API);
    }
    if extra.ingress.is_some_and(|ingress| ingress.enable_mci == Some(true)) {
        kinds.extend(SEVERAL_CLUSTERS);
    }
    if spec.has_gateway() {
        kinds.extend(GATEWAY_API);
    }
    kinds
}
