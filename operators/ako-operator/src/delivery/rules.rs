//! What AKO may do in its cluster: the rules of the ClusterRole `ako-cr`.

use k8s_openapi::api::rbac::v1::PolicyRule;

type Rule = (&'static [&'static str], &'static [&'static str], &'static [&'static str]);

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["get", "list", "watch", "patch", "update"];

const RULES: &[Rule] = &[
    (&[""], &["*"], READ),
    (&[""], &["services", "services/status"], WRITE),
    (&[""], &["secrets"], &["get", "list", "watch", "patch", "update", "create"]),
    (&[""], &["events"], &["create", "patch", "update"]),
    (&["apps"], &["statefulsets", "statefulsets/status"], WRITE),
    (&["networking.k8s.io"], &["ingresses", "ingresses/status"], WRITE),
    (&["networking.k8s.io"], &["ingressclasses"], READ),
    (&["discovery.k8s.io"], &["endpointslices"], READ),
    (&["coordination.k8s.io"], &["leases"], &["create", "get", "update"]),
    (&["crd.projectcalico.org"], &["blockaffinities"], READ),
    (&["cilium.io"], &["ciliumnodes"], READ),
    (&["network.openshift.io"], &["hostsubnets"], READ),
    (&["route.openshift.io"], &["routes", "routes/status"], WRITE),
    (
        &["ako.vmware.com"],
        &[
            "aviinfrasettings",
            "aviinfrasettings/status",
            "hostrules",
            "hostrules/status",
            "httprules",
            "httprules/status",
            "l4rules",
            "l4rules/status",
            "l7rules",
            "l7rules/status",
            "ssorules",
            "ssorules/status",
        ],
        WRITE,
    ),
    (&["ako.vmware.com"], &["multiclusteringresses", "serviceimports"], &["get", "list", "watch", "patch"]),
    (&["ako.vmware.com"], &["multiclusteringresses/status", "serviceimports/status"], &["get", "patch"]),
    (
        &["networking.x-k8s.io"],
        &["gateways", "gateways/status", "gatewayclasses", "gatewayclasses/status"],
        WRITE,
    ),
];

/// With the GatewayAPI gate.
const GATEWAY: Rule = (
    &["gateway.networking.k8s.io"],
    &[
        "gatewayclasses",
        "gatewayclasses/status",
        "gateways",
        "gateways/status",
        "httproutes",
        "httproutes/status",
    ],
    WRITE,
);

/// Returns the rules, with those for Gateways or without.
pub(super) fn rules(with_gateways: bool) -> Vec<PolicyRule> {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let rule = |(groups, resources, verbs): &Rule| PolicyRule {
        api_groups: Some(owned(groups)),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    };
    RULES.iter().chain(with_gateways.then_some(&GATEWAY)).map(rule).collect()
}
