//! `VmGroup`: n virtual machines cloned from one template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The desired state of a group of virtual machines.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vm.codeconnect.vmworld.com",
    version = "v1alpha1",
    kind = "VmGroup",
    plural = "vmgroups",
    singular = "vmgroup",
    shortname = "vg",
    namespaced,
    status = "VmGroupStatus",
    derive = "PartialEq",
    doc = "VmGroup keeps a number of equal virtual machines, cloned from a vCenter template, in existence and powered on.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Current","type":"integer","jsonPath":".status.currentReplicas"}"#,
    printcolumn = r#"{"name":"Desired","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"CPU","type":"integer","jsonPath":".spec.cpu"}"#,
    printcolumn = r#"{"name":"Memory","type":"integer","jsonPath":".spec.memory"}"#,
    printcolumn = r#"{"name":"Template","type":"string","jsonPath":".spec.template"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.ready","priority":1}"#,
    printcolumn = r#"{"name":"Synced","type":"string","jsonPath":".status.conditions[?(@.type==\"ConfigSynced\")].status","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp","priority":1}"#,
    printcolumn = r#"{"name":"Last_Message","type":"string","jsonPath":".status.lastMessage"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VmGroupSpec {
    /// Virtual CPUs of each virtual machine, in cores: 1 to 4.
    #[schemars(range(min = 1, max = 4))]
    pub cpu: i32,
    /// Memory of each virtual machine, in GB (1024 MB): 1 to 8.
    #[schemars(range(min = 1, max = 8))]
    pub memory: i32,
    /// Number of virtual machines. 0 keeps the group and its folder, but no machine. At most `--max-replicas` of the
    /// operator, and never more than 100,000, which is more than a vCenter holds.
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: i32,
    /// Name of the template, unique in the datacenter, or the inventory path of a template or virtual machine, such as
    /// `/DC0/vm/templates/photon-5`. Without blanks around it; at most 253 characters.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = template_rules()))]
    pub template: String,
    /// Stops all work on the group and its virtual machines, deletion included, until it is removed or false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Returns the CEL rules of a template, of both kinds. An object that broke them before they existed can still be changed: the API server checks only
/// fields that change.
pub(super) fn template_rules() -> serde_json::Value {
    serde_json::json!([
        {
            "rule": "self.trim().size() > 0",
            "message": "the template is blank: write the name of a template, or the inventory path of a template or virtual machine",
        },
        {
            "rule": "self == self.trim() || self.trim().size() == 0",
            // For a line break, which the API server allows in no message.
            "message": "the template has blanks or line breaks around it: remove them",
            "messageExpression": "'the template \"' + self + '\" has blanks around it: write \"' + self.trim() + '\"'",
        },
    ])
}

impl VmGroupSpec {
    /// Returns the revision of a machine made from this spec: see [`VmInstanceSpec::revision`].
    ///
    /// [`VmInstanceSpec::revision`]: super::VmInstanceSpec::revision
    #[must_use]
    pub fn revision(&self) -> String {
        super::vminstance::revision(self.cpu, self.memory, &self.template)
    }

    /// Returns whether work on the group is stopped.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.unwrap_or_default()
    }
}

/// The observed state of the group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmGroupStatus {
    /// RUNNING: as the spec asks. PENDING: work is in flight, or waits for the vCenter. DELETING: the group is being deleted.
    /// ERROR: a person has to act; the Ready condition says how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Virtual machines that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_replicas: Option<i32>,
    /// `spec.replicas` of the generation that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// The Ready condition's message, and whether machines were made from an earlier spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<String>,
    /// The spec's generation that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Virtual machines that exist; what the scale subresource reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Virtual machines that exist and are powered on. 0 while the vCenter cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Ready and desired virtual machines, such as `3/4`: the column Ready of `kubectl get vg -o wide`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Label selector of the group's VmInstances, in the form the scale subresource wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The vCenter's reference to the group's folder, such as `group-v7`, once the operator has created it or machines of the
    /// group were in it. Only such a folder is removed with the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Folder of the original operator in which adopted virtual machines stand, under the operator's root folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_folder: Option<String>,
    /// The instanceUuid of the vCenter in which the group's folder and virtual machines are, or are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcenter: Option<String>,
    /// Ready, Progressing, ConfigSynced, OrphansFound and, with the annotation `detach`, Detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Values of [`VmGroupStatus::phase`].
pub mod phase {
    /// The group is as its spec asks.
    pub const RUNNING: &str = "RUNNING";
    /// Work is in flight, or waits for the vCenter.
    pub const PENDING: &str = "PENDING";
    /// The group is being deleted.
    pub const DELETING: &str = "DELETING";
    /// A person has to act.
    pub const ERROR: &str = "ERROR";
}
