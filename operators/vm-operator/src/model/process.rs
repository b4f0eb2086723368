//! A process of the operator: its caches, its inventory and its memory. The steps are the operator's own: `observe`, `plan`,
//! `apply` and `status` of both controllers, what leaves the queue of requests, and how answers are remembered. Only the
//! order of the driver around them is written again here.
//!
//! What a step computes depends on the process alone, so it is computed once for each process state.

mod client;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Inventory, fixtures};
use k8s_openapi::jiff::Timestamp;
use operator_kit::driver::LOOKS;
use operator_kit::{Key, Outcome, Turn};

use crate::api::names::{Marker, folder};
use crate::api::{VmGroup, VmInstance};
use crate::fixtures::{CLUSTER, NAME, NAMESPACE, is_member};
use crate::in_flight::{Doubt, Entry, FolderChange};
use crate::memory::Memory;
use crate::requests::{self, Request, Subject};
use crate::vcenter::Vcenter as _;
use crate::visibility::Blind;
use crate::{vmgroup, vminstance};

use self::client::Client;
use super::kubernetes::{Group, Instance, Objects, SLOTS};
use super::shown::{Shown, Update, number};
use super::tables::{GROUPS, StatusId, Tables, group_uid, uid};
use super::vcenter::Call;

/// Clones in flight at once.
const MAX_CLONES: usize = 1;

/// The object that something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum For {
    /// The group of this number.
    Group(u8, Change),
    Instance {
        number: u8,
        slot: u8,
    },
}

/// A change of the group's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Create,
    Remove,
}

/// What a process remembers, with the counters of its client.
pub struct Remembered {
    pub memory: Memory,
    /// Tickets are served up to this one.
    pub served: u64,
    newest: u64,
    /// The machines that are looked up.
    pub looking_up: BTreeSet<u8>,
}

impl Remembered {
    pub fn new() -> Self {
        let memory = Memory::new(CLUSTER.into(), MAX_CLONES);
        Self { memory, served: 0, newest: 0, looking_up: BTreeSet::new() }
    }

    /// Returns a copy.
    pub fn copy(&self) -> Self {
        let (served, newest) = (self.served, self.newest);
        Self { memory: self.memory.copy(), served, newest, looking_up: self.looking_up.clone() }
    }

    /// Returns a text that is equal for memories that behave alike.
    pub fn text(&self) -> String {
        let open = |ticket| fixtures::ticket_number(ticket).saturating_sub(self.served);
        format!("{} {:?}\n{}", self.newest - self.served, self.looking_up, self.memory.text(open))
    }

    /// Returns whether clones may be in flight for an instance that no record names.
    pub fn is_in_doubt(&self, number: u8) -> bool {
        self.memory.in_flight.get(&uid(number)).is_none_or(|entry| entry.doubt != Doubt::None)
    }

    /// Returns whether nothing is in flight or in the queue for the group and these instances.
    pub fn is_idle(&self, mut instances: impl Iterator<Item = u8>) -> bool {
        let in_flight = &self.memory.in_flight;
        let is_settled = |entry: Entry| entry.request.is_none();
        self.memory.requests.is_empty()
            && !self.has_open_ticket()
            && self.looking_up.is_empty()
            && (0..GROUPS).all(|group| in_flight.group(group_uid(group)).request.is_none())
            && instances.all(|number| in_flight.get(&uid(number)).is_some_and(is_settled))
    }

    /// Returns whether a refresh was requested that no poll has served.
    pub fn has_open_ticket(&self) -> bool {
        self.newest > self.served
    }
}

/// Everything that a pass reads.
pub struct View<'a> {
    pub tables: &'a Tables,
    pub objects: Objects,
    pub shown: &'a Shown,
    /// A poll is in progress: it does not serve a ticket that is requested now.
    pub is_polling: bool,
}

/// What a pass of an instance leads to.
pub struct InstancePass {
    pub remembered: Remembered,
    /// What is remembered instead where a request is made only if the API server shows the same instance, and it does not.
    pub refused: Option<Remembered>,
    pub updates: Vec<Update>,
    pub end: End,
    /// The status claims what the inventory does not show.
    pub overclaims: bool,
}

impl InstancePass {
    /// Ends the pass with the status, which is to claim nothing that `view` does not show.
    fn finish(
        &mut self,
        view: &View<'_>,
        instance: Instance,
        object: &VmInstance,
        seen: &vminstance::Seen,
        outcome: &Outcome<vminstance::Done, crate::error::Error>,
    ) {
        self.end = view.instance_status(instance, object, seen, outcome);
        self.overclaims = matches!(self.end, End::Status(id) if view.overclaims(instance, id));
    }
}

/// How a pass of an instance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Nothing,
    Status(StatusId),
    RemoveFinalizer,
}

/// What a pass of the group leads to: writes in this order, and then the status.
pub struct GroupPass {
    pub remembered: Remembered,
    /// What is remembered instead where something is created only if the API server shows the same group, and it does not.
    pub refused: Option<Remembered>,
    pub finalizer: Option<bool>,
    pub create: Vec<u8>,
    pub delete: Vec<(u8, u8)>,
    pub status: Option<StatusId>,
    pub updates: Vec<Update>,
    pub overclaims: bool,
}

impl GroupPass {
    /// Returns a pass that leads to nothing.
    fn of(remembered: &Remembered) -> Self {
        Self {
            remembered: remembered.copy(),
            refused: None,
            finalizer: None,
            create: Vec::new(),
            delete: Vec::new(),
            status: None,
            updates: Vec::new(),
            overclaims: false,
        }
    }
}

fn blind(shown: &Shown) -> Option<Blind> {
    let reason = crate::api::reason::REFRESHING;
    let blind = || Blind { reason, message: String::new(), reported: true, needs_help: false };
    (!shown.current).then(blind)
}

impl View<'_> {
    fn instances(&self) -> Vec<Arc<VmInstance>> {
        self.objects.instances.iter().flatten().map(|instance| self.tables.instance(*instance)).collect()
    }

    fn group(&self) -> Option<Arc<VmGroup>> {
        self.objects.group.map(|group| self.tables.group(group))
    }

    fn observe_instance(
        &self,
        memory: &Memory,
        client: &Client,
        inventory: &Inventory,
        object: &VmInstance,
    ) -> vminstance::Seen {
        let recorded_by = |task: &MoRef| {
            let named = |status| self.tables.status(status).task == number(task.value());
            let instances = self.objects.instances.iter().flatten().filter(|found| named(found.status));
            instances.map(|instance| Key::of(&*self.tables.instance(*instance))).collect()
        };
        let is_own = |group: &Arc<VmGroup>| group.metadata.uid.as_ref() == Some(&object.spec.group_uid);
        let group = self.group().filter(is_own);
        let around = vminstance::Surroundings {
            has_surplus: &|| {
                group.as_ref().is_some_and(|group| vmgroup::has_surplus(group, &self.instances()))
            },
            memory,
            vcenter: client,
            inventory,
            blind: blind(self.shown),
            group: group.as_ref().map(|group| vminstance::GroupView::of(group)),
            invalid_group: false,
            group_vcenter: group.as_ref().and_then(|group| group.status.as_ref()?.vcenter.clone()),
            recorded_by: &recorded_by,
            is_member: &|_, _| false, // only a text depends on it
            now: SystemTime::UNIX_EPOCH,
        };
        vminstance::observe_in(&around, object)
    }

    /// Runs the driver's pass over an instance.
    pub fn reconcile_instance(&self, remembered: &Remembered, instance: Instance) -> InstancePass {
        let mut pass = InstancePass {
            remembered: remembered.copy(),
            refused: None,
            updates: Vec::new(),
            end: End::Nothing,
            overclaims: false,
        };
        let object = self.tables.instance(instance);
        let mut shown = self.shown.clone();
        for _ in 0..LOOKS {
            let client = Client::of(&pass.remembered, self.is_polling);
            let inventory = shown.inventory(pass.remembered.served);
            let view = View { shown: &shown, ..*self };
            let seen = view.observe_instance(&pass.remembered.memory, &client, &inventory, &object);
            let (action, goes_on) = match vminstance::plan(&object, &seen) {
                Turn::LookAgain(action) => (action, true),
                Turn::Act(action) => (action, false),
                Turn::Gone if instance.deleting => {
                    pass.end = End::RemoveFinalizer;
                    return pass;
                }
                turn => {
                    pass.finish(&view, instance, &object, &seen, &outcome(turn));
                    return pass;
                }
            };
            pass.refused = action.requests().is_some().then(|| pass.remembered.copy());
            let result = vminstance::apply(&pass.remembered.memory, &client, &object, action);
            (pass.remembered.newest, pass.remembered.looking_up) =
                (client.newest.get(), client.looking_up.take());
            for id in client.followed.take() {
                pass.updates.push(Update::Submit(id));
                shown = shown.after(Update::Submit(id));
            }
            let outcome = match result {
                Ok(_) if goes_on => continue,
                Ok(done) => Outcome::Acted(done),
                Err(error) => Outcome::Failed(Arc::new(error)),
            };
            pass.finish(&View { shown: &shown, ..*self }, instance, &object, &seen, &outcome);
            return pass;
        }
        panic!("the pass does not end")
    }

    fn instance_status(
        &self,
        instance: Instance,
        object: &VmInstance,
        seen: &vminstance::Seen,
        outcome: &Outcome<vminstance::Done, crate::error::Error>,
    ) -> End {
        let old = object.status.as_ref();
        let status = vminstance::status(old, object, Some(seen), outcome, Timestamp::UNIX_EPOCH);
        let id = status.map(|status| self.tables.instance_status(&status));
        id.filter(|id| *id != instance.status).map_or(End::Nothing, End::Status)
    }

    /// Returns whether a status says of an instance what the inventory does not show.
    fn overclaims(&self, instance: Instance, id: StatusId) -> bool {
        let status = self.tables.status(id);
        let is_on = |vm| self.shown.vm(vm).is_some_and(|vm| vm.on && vm.owner == instance.number);
        status.ready.0 == "True" && !(self.shown.current && status.vm.is_some_and(is_on))
    }

    /// Runs the driver's pass over the group.
    pub fn reconcile_group(&self, remembered: &Remembered, group: Group) -> GroupPass {
        let mut pass = GroupPass::of(remembered);
        if !group.finalizer {
            pass.finalizer = (!group.deleting).then_some(true);
            return pass;
        }
        let object = self.tables.group(group);
        let instances = self.instances();
        let mut shown = self.shown.clone();
        for _ in 0..LOOKS {
            let client = Client::of(&pass.remembered, self.is_polling);
            let memory = &pass.remembered.memory;
            let inventory = shown.inventory(remembered.served);
            let seen = self.observe_group(memory, &client, &inventory, &object, &instances);
            let turn = vmgroup::plan(&object, &seen);
            let (outcome, goes_on) = match turn {
                Turn::Act(vmgroup::Plan::Scale(scale)) => {
                    pass.refused = scale
                        .needs_current_group()
                        .then(|| Remembered { newest: client.newest.get(), ..pass.remembered.copy() });
                    vmgroup::begin_scale(memory, &object, &scale);
                    pass.create = scale.create.iter().map(|slot| u8::try_from(*slot).unwrap()).collect();
                    pass.delete = scale.delete.iter().map(|(_, uid)| self.deleted(uid)).collect();
                    (Outcome::Acted(vmgroup::Done::default()), false)
                }
                Turn::LookAgain(plan) => (apply_folder(memory, &client, &object, plan), true),
                Turn::Act(plan) => (apply_folder(memory, &client, &object, plan), false),
                Turn::Wait { reason, message, .. } => (Outcome::Waiting(reason, message), false),
                Turn::Blocked { reason, message } => (Outcome::Blocked(reason, message), false),
                Turn::Settled => (Outcome::Settled, false),
                Turn::Gone => {
                    pass.finalizer = Some(false);
                    return pass;
                }
            };
            pass.remembered.newest = client.newest.get();
            pass.remembered.looking_up = client.looking_up.take();
            for id in client.forgotten.take() {
                pass.updates.push(Update::Expire(id));
                shown = shown.after(Update::Expire(id));
            }
            if goes_on && !matches!(outcome, Outcome::Failed(_)) {
                continue;
            }
            let old = object.status.as_ref();
            let status = vmgroup::status(old, &object, Some(&seen), &outcome, Timestamp::UNIX_EPOCH);
            let id = status.map(|status| self.tables.group_status(&status)).filter(|id| *id != group.status);
            let on = self.shown.vms.iter().flatten().filter(|vm| vm.on && vm.owner != 0).count();
            pass.overclaims = id.is_some_and(|id| usize::from(self.tables.status(id).ready_replicas) > on);
            pass.status = id;
            return pass;
        }
        panic!("the pass does not end")
    }

    fn deleted(&self, of: &str) -> (u8, u8) {
        let found = self.objects.instances.iter().flatten().find(|instance| uid(instance.number) == of);
        found.map(|instance| (instance.slot, instance.number)).unwrap()
    }

    fn observe_group(
        &self,
        memory: &Memory,
        client: &Client,
        inventory: &Inventory,
        object: &VmGroup,
        instances: &[Arc<VmInstance>],
    ) -> vmgroup::Seen {
        let uid = object.metadata.uid.as_ref();
        let own: Vec<_> = instances.iter().filter(|of| Some(&of.spec.group_uid) == uid).cloned().collect();
        let around = vmgroup::Surroundings {
            memory,
            inventory,
            blind: blind(self.shown),
            instances: &own,
            unread: &[],
            is_member: &|vm, marker| is_member(instances.iter().map(AsRef::as_ref), vm, marker),
            is_of_another: &|_| false,
            is_looking_up: &|moref| client.is_looking_up(moref),
            max_replicas: i32::try_from(SLOTS).unwrap(),
            user: None,
            now: SystemTime::UNIX_EPOCH,
        };
        vmgroup::observe_in(&around, object)
    }

    /// Takes the next request from the queue: what is to be sent, if it is still needed.
    pub fn send(&self, remembered: &Remembered) -> Option<(Remembered, Option<(For, Call)>)> {
        let remembered = remembered.copy();
        let Request { group, subject, call } = remembered.memory.requests.pop()?;
        remembered.memory.requests.done(&group);
        let client = Client::of(&remembered, self.is_polling);
        let inventory = self.shown.inventory(remembered.served);
        let memory = &remembered.memory;
        let (subject_, is_needed) = match &subject {
            Subject::Instance { uid: of, .. } => {
                let found = self.objects.instances.iter().flatten().find(|i| uid(i.number) == *of);
                let object = found.map(|instance| self.tables.instance(*instance));
                let is_needed = object.is_some_and(|object| {
                    let seen = self.observe_instance(memory, &client, &inventory, &object);
                    vminstance::is_needed(&object, seen, &call)
                });
                let slot = found.map_or(0, |instance| instance.slot);
                (For::Instance { number: number(of)?, slot }, is_needed)
            }
            Subject::Group { change, uid, .. } => {
                let object = self.group().filter(|group| group.metadata.uid.as_ref() == Some(uid));
                let is_needed = object.is_some_and(|object| {
                    let seen = self.observe_group(memory, &client, &inventory, &object, &self.instances());
                    vmgroup::is_needed(&object, seen, &call)
                });
                let change = if *change == FolderChange::Create { Change::Create } else { Change::Remove };
                let group = (0..GROUPS).find(|group| group_uid(*group) == uid)?;
                (For::Group(group, change), is_needed)
            }
        };
        if !is_needed {
            requests::take_back(memory, &subject);
            return Some((remembered, None));
        }
        Some((remembered, Some((subject_, model_call(&call)))))
    }
}

fn outcome<P: std::fmt::Debug>(turn: Turn<P>) -> Outcome<vminstance::Done, crate::error::Error> {
    match turn {
        Turn::Wait { reason, message, .. } => Outcome::Waiting(reason, message),
        Turn::Blocked { reason, message } => Outcome::Blocked(reason, message),
        Turn::Settled => Outcome::Settled,
        turn => panic!("the pass does not end: {turn:?}"),
    }
}

fn apply_folder(
    memory: &Memory,
    client: &Client,
    object: &VmGroup,
    plan: vmgroup::Plan,
) -> Outcome<vmgroup::Done, crate::error::Error> {
    match vmgroup::apply_folder(memory, client, object, plan) {
        Ok(done) => Outcome::Acted(done),
        Err(error) => Outcome::Failed(Arc::new(error)),
    }
}

fn model_call(call: &requests::Call) -> Call {
    let vm = |moref: &MoRef| number(moref.value()).unwrap();
    match call {
        requests::Call::Clone(clone) => Call::Clone {
            number: number(&clone.instance_uuid).unwrap(),
            slot: number(&clone.name).unwrap(),
            folder: number(clone.folder.value()).unwrap(),
        },
        requests::Call::Mark { vm: moref, marker } => {
            let marker: Marker = marker.parse().unwrap();
            let slot = marker.slot.try_into().unwrap();
            Call::Mark { vm: vm(moref), number: number(&marker.instance_uuid).unwrap(), slot }
        }
        requests::Call::PowerOn(moref) => Call::PowerOn(vm(moref)),
        requests::Call::PowerOff(moref) => Call::PowerOff(vm(moref)),
        requests::Call::Destroy(moref) => Call::Destroy(vm(moref)),
        requests::Call::CreateFolder(name) => {
            assert_eq!(*name, folder(NAMESPACE, NAME));
            Call::CreateFolder
        }
        requests::Call::RemoveFolder(moref) => Call::RemoveFolder(vm(moref)),
    }
}
