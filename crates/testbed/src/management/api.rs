//! The kinds of our provider, in the shapes that Cluster API's contract `v1beta2` asks for: infrastructure
//! without machines, bootstrap data that nobody reads, a control plane that is another process, and their templates.
//!
//! Owns their CRDs. What becomes of the objects is decided in [`super::provider`].

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of our versions serves a contract: every CRD's label.
const CONTRACT: (&str, &str) = ("cluster.x-k8s.io/v1beta2", "v1");

/// Our CRDs.
pub(super) fn definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        TestbedCluster::crd(),
        TestbedClusterTemplate::crd(),
        TestbedMachine::crd(),
        TestbedMachineTemplate::crd(),
        TestbedBootstrapConfig::crd(),
        TestbedBootstrapConfigTemplate::crd(),
        TestbedControlPlane::crd(),
        TestbedControlPlaneTemplate::crd(),
    ];
    for definition in &mut definitions {
        definition.labels_mut().insert(CONTRACT.0.to_owned(), CONTRACT.1.to_owned());
    }
    definitions
}

/// A cluster's infrastructure: nothing but the address of its API server.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1",
    kind = "TestbedCluster",
    status = "TestbedClusterStatus",
    category = "cluster-api",
    namespaced
)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedClusterSpec {
    /// Where the workload cluster's API server is. Set by the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<Endpoint>,
}

/// What the provider says of a cluster's infrastructure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TestbedClusterStatus {
    #[serde(default)]
    pub initialization: Provisioned,
}

/// An address of an API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Endpoint {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: i32,
}

/// Whether something was provisioned once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Provisioned {
    /// True from then on.
    #[serde(default)]
    pub provisioned: bool,
}

/// A machine, simulated: it has addresses, and a Node that joins the workload cluster.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "infrastructure.cluster.x-k8s.io",
    version = "v1",
    kind = "TestbedMachine",
    status = "TestbedMachineStatus",
    category = "cluster-api",
    namespaced
)]
pub(super) struct TestbedMachineSpec {
    /// The same as its Node's `spec.providerID`. Set by the provider.
    #[serde(default, rename = "providerID", skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
}

/// What the provider says of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TestbedMachineStatus {
    #[serde(default)]
    pub initialization: Provisioned,
    /// The machine's addresses, of the types a Machine knows.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// An address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Address {
    /// `InternalIP` or `ExternalIP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub address: String,
}

/// What a machine would start with.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "bootstrap.cluster.x-k8s.io",
    version = "v1",
    kind = "TestbedBootstrapConfig",
    status = "TestbedBootstrapConfigStatus",
    category = "cluster-api",
    namespaced
)]
pub(super) struct TestbedBootstrapConfigSpec {}

/// What the provider says of a bootstrap configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedBootstrapConfigStatus {
    #[serde(default)]
    pub initialization: DataSecret,
    /// The Secret's name.
    #[serde(default)]
    pub data_secret_name: String,
}

/// Whether there is a name for the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataSecret {
    /// True from then on.
    #[serde(default)]
    pub data_secret_created: bool,
}

/// A control plane: a set of Machines in front of an API server that runs anyway.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "controlplane.cluster.x-k8s.io",
    version = "v1",
    kind = "TestbedControlPlane",
    status = "TestbedControlPlaneStatus",
    category = "cluster-api",
    namespaced,
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedControlPlaneSpec {
    /// How many Machines. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The Kubernetes version, such as `v1.36.1`.
    #[serde(default)]
    pub version: String,
    /// What the Machines look like.
    #[serde(default)]
    pub machine_template: MachineTemplate,
}

/// What a control plane's Machines look like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct MachineTemplate {
    /// Labels and annotations of the Machines.
    #[serde(default)]
    pub metadata: TemplateMetadata,
    /// Taken as it is; only Cluster API's topology controller writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub spec: Option<serde_json::Value>,
}

/// Labels and annotations that are handed down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TemplateMetadata {
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// What the provider says of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedControlPlaneStatus {
    #[serde(default)]
    pub initialization: Initialized,
    /// Of the Machines, for the scale subresource.
    #[serde(default)]
    pub selector: String,
    /// Machines there are.
    #[serde(default)]
    pub replicas: i32,
    /// Machines whose Ready is true.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Machines whose Available is true.
    #[serde(default)]
    pub available_replicas: i32,
    /// Machines of the version wanted.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// The lowest version of a Machine.
    #[serde(default)]
    pub version: String,
    /// `Available`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Whether the API server has answered once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialized {
    /// True from then on.
    #[serde(default)]
    pub control_plane_initialized: bool,
}

macro_rules! template {
    ($spec:ident, $inner:ident, $of:ident, $kind:literal, $group:literal) => {
        #[doc = concat!("A template: ", $kind)]
        #[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[kube(group = $group, version = "v1", kind = $kind, category = "cluster-api", namespaced)]
        pub(super) struct $spec {
            /// The object to be made of it.
            pub template: $inner,
        }

        /// The object to be made of a template.
        #[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        pub(super) struct $inner {
            /// Its labels and annotations.
            #[serde(default)]
            pub metadata: TemplateMetadata,
            /// Its spec.
            pub spec: $of,
        }
    };
}

template!(
    TestbedClusterTemplateSpec,
    ClusterResource,
    TestbedClusterSpec,
    "TestbedClusterTemplate",
    "infrastructure.cluster.x-k8s.io"
);
template!(
    TestbedMachineTemplateSpec,
    MachineResource,
    TestbedMachineSpec,
    "TestbedMachineTemplate",
    "infrastructure.cluster.x-k8s.io"
);
template!(
    TestbedBootstrapConfigTemplateSpec,
    BootstrapConfigResource,
    TestbedBootstrapConfigSpec,
    "TestbedBootstrapConfigTemplate",
    "bootstrap.cluster.x-k8s.io"
);
template!(
    TestbedControlPlaneTemplateSpec,
    ControlPlaneResource,
    TestbedControlPlaneSpec,
    "TestbedControlPlaneTemplate",
    "controlplane.cluster.x-k8s.io"
);

fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
