//! `VmInstance`: one slot of a group, and the durable intent to have its virtual machine.
//!
//! The operator creates it before any request to the vCenter, so that a crash at any moment leaves a record of what may
//! exist there. Users read it; deleting one replaces its virtual machine.

use data_encoding::BASE32HEX_NOPAD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One virtual machine of a VmGroup. Created by vm-operator; not meant to be written by hand.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vm.codeconnect.vmworld.com",
    version = "v1alpha1",
    kind = "VmInstance",
    plural = "vminstances",
    singular = "vminstance",
    shortname = "vgi",
    namespaced,
    status = "VmInstanceStatus",
    derive = "PartialEq",
    doc = "VmInstance is one virtual machine of a VmGroup. vm-operator creates and removes it; delete one to have its virtual machine replaced.",
    printcolumn = r#"{"name":"Slot","type":"integer","jsonPath":".spec.slot"}"#,
    printcolumn = r#"{"name":"VM","type":"string","jsonPath":".status.vmRef"}"#,
    printcolumn = r#"{"name":"Power","type":"string","jsonPath":".status.power"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Task","type":"string","jsonPath":".status.task.ref","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct VmInstanceSpec {
    /// Name of the VmGroup it belongs to.
    #[schemars(
        length(max = 253),
        regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
        extend("x-kubernetes-validations" = immutable("group"))
    )]
    pub group: String,
    /// UID of that VmGroup: a later one of the same name is another group.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[-a-zA-Z0-9]+$"),
        extend("x-kubernetes-validations" = immutable("groupUid"))
    )]
    pub group_uid: String,
    /// Its place in the group, from 0.
    #[schemars(range(min = 0), extend("x-kubernetes-validations" = immutable("slot")))]
    pub slot: i32,
    /// Name of the virtual machine inside its folder.
    #[schemars(length(min = 1, max = 80), extend("x-kubernetes-validations" = immutable("vmName")))]
    pub vm_name: String,
    /// The virtual machine's instanceUuid, random for each VmInstance and fixed before the machine is requested. A machine
    /// with the owner marker but another instanceUuid is a copy, which the operator never touches.
    #[schemars(
        regex(pattern = "^[-0-9a-f]{36}$"),
        extend("x-kubernetes-validations" = immutable("instanceUuid"))
    )]
    pub instance_uuid: String,
    /// Virtual CPUs, in cores: 1 to 4, as in the group.
    #[schemars(range(min = 1, max = 4))]
    pub cpu: i32,
    /// Memory, in GB (1024 MB): 1 to 8, as in the group.
    #[schemars(range(min = 1, max = 8))]
    pub memory: i32,
    /// The template it is cloned from: a name or an inventory path.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = super::vmgroup::template_rules()))]
    pub template: String,
}

/// Returns the CEL rule of a field that never changes.
fn immutable(field: &str) -> serde_json::Value {
    serde_json::json!([{
        "rule": "self == oldSelf",
        "message": format!("{field} is immutable: delete the VmInstance to have its virtual machine replaced"),
    }])
}

impl VmInstanceSpec {
    /// Returns a short hash of all that a virtual machine is made from. Equal revisions, equal machines.
    #[must_use]
    pub fn revision(&self) -> String {
        revision(self.cpu, self.memory, &self.template)
    }
}

/// Returns a short hash of all that a virtual machine is made from (13 characters of `0-9a-v`).
#[must_use]
pub fn revision(cpu: i32, memory: i32, template: &str) -> String {
    let digest = Sha256::digest(format!("cpu={cpu};memory={memory};template={template}"));
    BASE32HEX_NOPAD.encode(&digest[..8]).to_ascii_lowercase()
}

/// The observed state of the virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmInstanceStatus {
    /// The vCenter's reference to the machine, such as `vm-42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_ref: Option<String>,
    /// The instanceUuid of the vCenter in which the machine is, or is made. In another vCenter the references say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcenter: Option<String>,
    /// The last power state the vCenter reported: `poweredOn`, `poweredOff` or `suspended`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<String>,
    /// The revision the machine was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The machine had the owner marker once. One that has lost it is not the instance's any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<bool>,
    /// The instance had a machine that was powered on. What the operator does for the machine from then on is a repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<bool>,
    /// The clone task, until its outcome is dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskStatus>,
    /// The spec's generation that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready and, with the annotation `detach`, Detached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A vCenter task that the operator submitted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The vCenter's reference to the task, such as `task-117`.
    pub r#ref: String,
    /// What it does.
    pub kind: TaskKind,
    /// When it was submitted, by the operator's clock.
    pub submitted_at: Time,
}

/// What a task does to the virtual machine. A status of a newer operator may have others: they read as `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum TaskKind {
    /// CloneVM_Task.
    Clone,
    /// PowerOnVM_Task.
    PowerOn,
    /// PowerOffVM_Task.
    PowerOff,
    /// Destroy_Task.
    Destroy,
    /// ReconfigVM_Task: sets the owner marker of an adopted machine.
    Mark,
    /// A task of a newer operator.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::revision;

    #[test]
    fn a_task_of_a_newer_operator_is_readable() {
        let task = r#"{"ref":"task-1","kind":"Migrate","submittedAt":"2026-01-01T00:00:00Z","progress":7}"#;
        let task: super::TaskStatus = serde_json::from_str(task).unwrap();
        assert_eq!(task.kind, super::TaskKind::Unknown);
    }

    #[test]
    fn revision_is_stable_and_tells_specs_apart() {
        // Machines carry it: another text for the same spec would make each of them outdated.
        assert_eq!(revision(2, 1, "t"), "4p6lv533lm0ho");
        assert_ne!(revision(2, 1, "t"), revision(1, 2, "t"));
        assert_ne!(revision(2, 1, "t"), revision(2, 1, "u"));
    }
}
