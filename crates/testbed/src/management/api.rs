//! The kinds of the testbed's provider, in the shape of Cluster API's contract `v1beta2`: simulated infrastructure, unused
//! bootstrap data, a control plane that is another process, and their templates.
//!
//! Owns the CRDs. [`super::provider`] reconciles the objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, CustomResourceExt, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The label of each CRD: the contract, and the version that implements it.
const CONTRACT: (&str, &str) = ("cluster.x-k8s.io/v1beta2", "v1");

/// Returns the CRDs.
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

/// The infrastructure of a cluster: only the address of its API server.
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
    /// The address of the workload cluster's API server. Set by the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane_endpoint: Option<Endpoint>,
}

/// The status of a cluster's infrastructure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TestbedClusterStatus {
    #[serde(default)]
    pub initialization: Provisioned,
}

/// The address of an API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Endpoint {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: i32,
}

/// Whether the infrastructure was provisioned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Provisioned {
    /// Never becomes false again.
    #[serde(default)]
    pub provisioned: bool,
}

/// A simulated machine: it has addresses, and its Node joins the workload cluster.
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
    /// Equals the Node's `spec.providerID`. Set by the provider.
    #[serde(default, rename = "providerID", skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
}

/// The status of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TestbedMachineStatus {
    #[serde(default)]
    pub initialization: Provisioned,
    /// The machine's addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
}

/// The address of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Address {
    /// `InternalIP` or `ExternalIP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub address: String,
}

/// The bootstrap data of a machine.
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

/// The status of a bootstrap configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedBootstrapConfigStatus {
    #[serde(default)]
    pub initialization: DataSecret,
    /// The Secret's name.
    #[serde(default)]
    pub data_secret_name: String,
}

/// Whether the Secret has a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataSecret {
    /// Never becomes false again.
    #[serde(default)]
    pub data_secret_created: bool,
}

/// A control plane: a set of Machines. Its API server runs independently of them.
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
    /// The number of Machines. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The Kubernetes version, for example `v1.36.1`.
    #[serde(default)]
    pub version: String,
    /// The template of the Machines.
    #[serde(default)]
    pub machine_template: MachineTemplate,
}

/// The template of a control plane's Machines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct MachineTemplate {
    /// Labels and annotations of the Machines.
    #[serde(default)]
    pub metadata: TemplateMetadata,
    /// Stored but not used; Cluster API's topology controller writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub spec: Option<serde_json::Value>,
}

/// Labels and annotations of objects that are created from a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(super) struct TemplateMetadata {
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// The status of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TestbedControlPlaneStatus {
    #[serde(default)]
    pub initialization: Initialized,
    /// The label selector of the Machines, for the scale subresource.
    #[serde(default)]
    pub selector: String,
    /// The number of Machines.
    #[serde(default)]
    pub replicas: i32,
    /// The number of Machines with Ready=True.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The number of Machines with Available=True.
    #[serde(default)]
    pub available_replicas: i32,
    /// The number of Machines with the version of the spec.
    #[serde(default)]
    pub up_to_date_replicas: i32,
    /// The lowest version of the Machines.
    #[serde(default)]
    pub version: String,
    /// The condition `Available`.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// Whether the API server has answered a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialized {
    /// Never becomes false again.
    #[serde(default)]
    pub control_plane_initialized: bool,
}

macro_rules! template {
    ($spec:ident, $inner:ident, $of:ident, $kind:literal, $group:literal) => {
        #[doc = concat!("The template ", $kind)]
        #[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[kube(group = $group, version = "v1", kind = $kind, category = "cluster-api", namespaced)]
        pub(super) struct $spec {
            /// The object that is created from the template.
            pub template: $inner,
        }

        /// The object that is created from a template.
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
