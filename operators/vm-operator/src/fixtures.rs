//! Objects for tests, and the inventory that goes with them: the feature `fixtures`.
//!
//! Everything belongs to one group, `team/web`, in the cluster `cluster`; [`infra_clients::vsphere::vms::fixtures`] has the
//! rest. Change what a test is about:
//!
//! ```
//! use infra_clients::vsphere::vms::{Vm, fixtures as vcenter};
//! use vm_operator::fixtures;
//!
//! let instance = fixtures::instance(0);
//! let mut inventory = fixtures::inventory();
//! inventory.show_vm(Vm { power: None, ..fixtures::machine("vm-1", &instance) });
//! ```

use infra_clients::vsphere::PowerState;
use infra_clients::vsphere::vms::{Inventory, Vm, fixtures as vcenter};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;

use crate::api::names::{self, Marker};
use crate::api::{
    FINALIZER, GROUP, OWNER_MARKER, REVISION_MARKER, VmGroup, VmGroupSpec, VmInstance, VmInstanceSpec,
};
use crate::vminstance;

/// Id of the cluster.
pub const CLUSTER: &str = "cluster";
/// Namespace of the group.
pub const NAMESPACE: &str = "team";
/// Name of the group.
pub const NAME: &str = "web";
/// UID of the group.
pub const GROUP_UID: &str = "group-uid";
/// Reference of the group's folder.
pub const FOLDER: &str = "group-1";
/// The template's name.
pub const TEMPLATE: &str = "photon";

/// Returns the group, with the finalizer, for so many machines.
#[must_use]
pub fn group(replicas: i32) -> VmGroup {
    let spec = VmGroupSpec { cpu: 1, memory: 1, replicas, template: TEMPLATE.into(), paused: None };
    let mut group = VmGroup::new(NAME, spec);
    group.metadata.namespace = Some(NAMESPACE.into());
    group.metadata.uid = Some(GROUP_UID.into());
    group.metadata.generation = Some(1);
    group.metadata.finalizers = Some(vec![FINALIZER.into()]);
    group
}

/// Returns the group's instance of a slot, with the UID `uid-<slot>` and the instanceUuid `uuid-<slot>`.
#[must_use]
pub fn instance(slot: i32) -> VmInstance {
    let spec = VmInstanceSpec {
        group: NAME.into(),
        group_uid: GROUP_UID.into(),
        slot,
        vm_name: names::vm(NAME, slot),
        instance_uuid: format!("uuid-{slot}"),
        cpu: 1,
        memory: 1,
        template: TEMPLATE.into(),
    };
    let mut instance = VmInstance::new(&names::instance(NAME, slot), spec);
    instance.metadata.namespace = Some(NAMESPACE.into());
    instance.metadata.uid = Some(format!("uid-{slot}"));
    instance.metadata.generation = Some(1);
    instance.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    instance.metadata.finalizers = Some(vec![FINALIZER.into()]);
    instance.metadata.owner_references = Some(vec![OwnerReference {
        api_version: format!("{GROUP}/v1alpha1"),
        kind: "VmGroup".into(),
        name: NAME.into(),
        uid: GROUP_UID.into(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]);
    instance
}

/// Returns whether the machine with this marker is the one of any of these instances, and not a copy or left over.
#[must_use]
pub fn is_member<'a>(mut instances: impl Iterator<Item = &'a VmInstance>, vm: &Vm, marker: &Marker) -> bool {
    instances.any(|instance| {
        instance.spec.instance_uuid == marker.instance_uuid && vminstance::has_machine(instance, vm)
    })
}

/// Returns an object as one that is being deleted.
#[must_use]
pub fn deleting<K: kube::Resource>(mut object: K) -> K {
    object.meta_mut().deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    object
}

/// Returns a complete and current inventory with the group's folder.
#[must_use]
pub fn inventory() -> Inventory {
    let mut inventory = vcenter::inventory();
    inventory.show_folder(vcenter::folder(FOLDER, &names::folder(NAMESPACE, NAME)));
    inventory
}

/// Returns the machine of an instance: powered on, in the group's folder, with its markers and its instanceUuid.
#[must_use]
pub fn machine(id: &str, instance: &VmInstance) -> Vm {
    let owner = Marker::of(CLUSTER, instance).to_string();
    let revision = instance.spec.revision();
    Vm {
        name: instance.spec.vm_name.as_str().into(),
        parent: Some(vcenter::folder_ref(FOLDER)),
        power: Some(PowerState::On),
        instance_uuid: Some(instance.spec.instance_uuid.as_str().into()),
        markers: vcenter::markers(&[(OWNER_MARKER, &owner), (REVISION_MARKER, &revision)]),
        ..vcenter::vm(id)
    }
}
