//! What is there for one group: its instances and, through the inventory, their machines and folder. Reads
//! caches only; `plan` decides about it next.

use infra_clients::vsphere::{MoRef, PowerState};
use kube::ResourceExt;

use crate::api::{VmGroup, VmInstance, condition, names, reason};
use crate::context::Context;
use crate::vminstance;

use super::expected::Expected;
use super::plan::{Member, Observed};

/// Looks at everything that concerns one group.
pub fn observe(ctx: &Context, group: &VmGroup, expected: &Expected) -> Observed {
    let uid = group.uid().unwrap_or_default();
    let folder = names::folder(&group.namespace().unwrap_or_default(), &group.name_any());
    let instances = ctx.instances_of(&uid);
    let blind = ctx.blind();
    ctx.vcenter.read(|inventory| {
        let synced = inventory.is_synced();
        let member = |instance: &VmInstance| {
            let marker = ctx.marker(instance).ok()?;
            let machines = if synced {
                vminstance::machines(inventory, instance, &marker, recorded(instance).as_ref())
            } else {
                Vec::new()
            };
            let machine = machines.first();
            let uid = instance.uid()?;
            Some(Member {
                name: instance.name_any(),
                slot: instance.spec.slot,
                deleting: instance.metadata.deletion_timestamp.is_some() || expected.is_deleted(&uid),
                exists: machine.is_some(),
                on: machine.is_some_and(|m| m.power == Some(PowerState::On)),
                begun: machine.is_some() || ctx.ledger.is_busy(&uid) || has_record(instance),
                asked: instance.spec.revision(),
                made_from: machine.and_then(|m| m.revision.clone()),
                trouble: trouble(instance),
                uid,
            })
        };
        let mut members: Vec<Member> = instances.iter().filter_map(|i| member(i)).collect();
        members.extend(expected.not_yet_seen(&instances));
        members.sort_by_key(|m| m.slot);
        Observed {
            synced,
            blind: if synced { None } else { blind },
            folder: inventory.folder_named(&folder).is_some(),
            members,
        }
    })
}

/// The machine that its durable status names.
fn recorded(instance: &VmInstance) -> Option<MoRef> {
    instance.status.as_ref()?.vm_ref.as_deref().map(|id| MoRef::new("VirtualMachine", id))
}

/// Whether its durable status says that the vCenter was asked for a machine.
fn has_record(instance: &VmInstance) -> bool {
    instance.status.as_ref().is_some_and(|s| s.task.is_some() || s.vm_ref.is_some())
}

fn trouble(instance: &VmInstance) -> Option<(String, String)> {
    let ready = operator_kit::conditions::get(&instance.status.as_ref()?.conditions, condition::READY)?;
    (ready.status == "False" && reason::needs_help(&ready.reason))
        .then(|| (ready.reason.clone(), ready.message.clone()))
}
