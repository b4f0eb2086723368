//! Requests to the vCenter: a queue, and workers that send what is in it.
//!
//! A reconcile never waits for the vCenter: it puts a request here and ends. The response goes into the in-flight memory and
//! wakes the object. Removals and repairs go before clones, and both in the order of [`Lines`].
//! Owns the checks that each request passes when it leaves the queue: this process still leads, and the request is still what
//! its object needs.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use infra_clients::Failure;
use infra_clients::vsphere::vms::CloneSpec;
use infra_clients::vsphere::{Error as Fault, MoRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_kit::Key;
use operator_kit::lease::Leadership;
use tokio::sync::Notify;
use tracing::{debug, info};

use crate::api::{OWNER_MARKER, REVISION_MARKER, TaskKind, TaskStatus};
use crate::context::Context;
use crate::error::method;
use crate::in_flight::{FolderChange, FolderRequest};
use crate::lines::{GroupId, Held, Lines, Most};
use crate::memory::Memory;
use crate::{vmgroup, vminstance};

/// Requests sent at the same time.
pub const CONCURRENCY: usize = 32;
/// Requests of one group, and of one namespace, sent at the same time: calls that a vCenter does not answer hold up their own group
/// and, if they are those of several, their own namespace, and not the others.
const MOST: Most = Most { group: 8, namespace: 16 };
/// Megabytes in one GB of `spec.memory`.
const MB_PER_GB: i64 = 1024;

/// The object that a request is for.
#[derive(Clone, Debug)]
pub enum Subject {
    /// A VmInstance, and what is done to its machine.
    Instance {
        /// Its UID.
        uid: String,
        /// Its key.
        key: Key,
        /// What the request does.
        kind: TaskKind,
    },
    /// A VmGroup, and what is done to its folder.
    Group {
        /// Its UID.
        uid: String,
        /// Its key.
        key: Key,
        /// What the request does.
        change: FolderChange,
    },
}

impl Subject {
    fn uid(&self) -> &str {
        match self {
            Self::Instance { uid, .. } | Self::Group { uid, .. } => uid,
        }
    }

    fn key(&self) -> &Key {
        match self {
            Self::Instance { key, .. } | Self::Group { key, .. } => key,
        }
    }

    /// Returns the vCenter's name of the request.
    fn method(&self) -> &'static str {
        match self {
            Self::Instance { kind, .. } => method(*kind),
            Self::Group { change, .. } => change.method(),
        }
    }
}

/// A virtual machine to be cloned.
#[derive(Clone, Debug)]
pub struct NewMachine {
    /// The template.
    pub template: MoRef,
    /// The group's folder.
    pub folder: MoRef,
    /// Name of the machine.
    pub name: String,
    /// Its instanceUuid.
    pub instance_uuid: String,
    /// Virtual CPUs.
    pub cpus: i32,
    /// Memory in GB.
    pub memory_gb: i32,
    /// The owner marker.
    pub marker: String,
    /// The revision marker.
    pub revision: String,
}

/// A call of the vCenter.
#[derive(Clone, Debug)]
pub enum Call {
    /// Clones a machine and powers it on.
    Clone(Box<NewMachine>),
    /// Sets the owner marker of a machine.
    Mark {
        /// The machine.
        vm: MoRef,
        /// The owner marker.
        marker: String,
    },
    /// Powers a machine on.
    PowerOn(MoRef),
    /// Powers a machine off at once.
    PowerOff(MoRef),
    /// Destroys a machine and its disks.
    Destroy(MoRef),
    /// Creates a folder in the root folder.
    CreateFolder(String),
    /// Destroys a folder; machines that came into it meanwhile are unregistered, not destroyed.
    RemoveFolder(MoRef),
}

/// A request for an object.
#[derive(Clone, Debug)]
pub struct Request {
    /// The object's group.
    pub group: GroupId,
    /// The object that the request is for.
    pub subject: Subject,
    /// What.
    pub call: Call,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Requests {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct Waiting {
    first: Lines<Request>,
    clones: Lines<Request>,
    /// The requests that are being sent.
    sending: Held,
}

impl Requests {
    /// Adds a request.
    pub fn push(&self, request: Request) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match request.call {
            Call::Clone(_) => waiting.clones.push(&request.group.clone(), request),
            _ => waiting.first.push(&request.group.clone(), request),
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Returns how many requests wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.first.len() + waiting.clones.len()
    }

    /// Drops the requests of an object that is gone; whether there were any.
    pub fn forget(&self, uid: &str) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_another = |request: &Request| request.subject.uid() != uid;
        let (first, clones) = (waiting.first.retain(is_of_another), waiting.clones.retain(is_of_another));
        first || clones
    }

    /// Takes the request that is sent next, if there is any that may be sent now: removals and repairs before clones. A later
    /// [`done`](Self::done) names its group.
    pub fn pop(&self) -> Option<Request> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { first, clones, sending } = &mut *waiting;
        let (group, request) = first.pop(sending, MOST).or_else(|| clones.pop(sending, MOST))?;
        sending.add(&group);
        Some(request)
    }

    /// Records that a request of this group was answered, or taken back.
    pub fn done(&self, group: &GroupId) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).sending.remove(group);
        self.changed.notify_one();
    }

    /// Returns a copy, for the model.
    #[cfg(test)]
    pub fn copy(&self) -> Self {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { waiting: Mutex::new(waiting), changed: Notify::new() }
    }

    /// Returns whether no request waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.first.len() + waiting.clones.len() == 0
    }

    /// Returns all that decides what is sent next, for the model.
    #[cfg(test)]
    pub fn text(&self) -> String {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{:?}", *waiting)
    }

    async fn take(&self) -> Request {
        loop {
            match self.pop() {
                Some(request) => return request,
                None => self.changed.notified().await,
            }
        }
    }
}

/// Sends requests until dropped.
pub async fn run(ctx: Arc<Context>, leadership: Leadership) {
    let mut sending = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = sending.next() => {}
            request = ctx.memory.requests.take(), if sending.len() < CONCURRENCY => {
                // Another process leads: this one is about to end.
                if leadership.check().is_err() {
                    return;
                }
                if is_due(&ctx, &request) {
                    sending.push(send(&ctx, request));
                } else {
                    take_back(&ctx.memory, &request.subject);
                    ctx.memory.requests.done(&request.group);
                }
            }
        }
    }
}

/// Returns whether a request is still what its object needs, as the plan decides it now. The request may have waited, and
/// meanwhile a person may have paused the group, detached it or moved the machine.
fn is_due(ctx: &Context, request: &Request) -> bool {
    match &request.subject {
        Subject::Instance { key, uid, .. } => {
            let instance = ctx.instances.cache().valid(key).filter(|i| i.metadata.uid.as_ref() == Some(uid));
            instance.is_some_and(|instance| vminstance::needs(ctx, &instance, &request.call))
        }
        Subject::Group { key, uid, .. } => {
            let group =
                ctx.groups.cache().valid(key).filter(|group| group.metadata.uid.as_ref() == Some(uid));
            group.is_some_and(|group| vmgroup::needs(ctx, &group, &request.call))
        }
    }
}

/// Forgets a request that was not sent, and has its object plan again.
pub fn take_back(memory: &Memory, subject: &Subject) {
    let (object, method) = (subject.key(), subject.method());
    info!(%object, method, "request taken back: what its object needs is decided again");
    match subject {
        Subject::Instance { uid, key, .. } => {
            memory.in_flight.settle(uid);
            // Its instance may be gone.
            memory.answered(uid, None);
            memory.instance_triggers.wake(key);
        }
        Subject::Group { uid, key, .. } => {
            memory.in_flight.folder_answered(uid, key, None);
            memory.group_triggers.wake(key);
        }
    }
}

async fn send(ctx: &Context, Request { group, subject, call }: Request) {
    let vms = &ctx.vms;
    let result = match &call {
        Call::Clone(clone) => send_clone(ctx, clone, subject.uid()).await.map(Some),
        Call::Mark { vm, marker } => vms.set_extra_config(vm, &[(OWNER_MARKER, marker)]).await.map(Some),
        Call::PowerOn(vm) => vms.power_on(vm).await.map(Some),
        Call::PowerOff(vm) => vms.power_off(vm).await.map(Some),
        Call::Destroy(vm) => vms.destroy(vm).await.map(Some),
        Call::CreateFolder(name) => vms.create_folder(name).await.map(|_| None),
        Call::RemoveFolder(folder) => vms.remove_folder(folder).await.map(Some),
    };
    if result.as_ref().is_err_and(Fault::is_unsent) {
        // A login came between, which may take minutes.
        take_back(&ctx.memory, &subject);
        ctx.memory.requests.done(&group);
        return;
    }
    let (object, method) = (subject.key(), subject.method());
    match &result {
        Ok(task) => info!(%object, method, task = task.as_ref().map(MoRef::value), "request accepted"),
        Err(error) => debug!(%object, method, %error, in_doubt = error.in_doubt(), "request failed"),
    }
    answer(&ctx.memory, subject, result, Timestamp::now());
    ctx.memory.requests.done(&group);
}

/// Remembers how a request was answered (with a task, or with none), and has its object plan again.
pub fn answer(memory: &Memory, subject: Subject, result: Result<Option<MoRef>, Fault>, now: Timestamp) {
    match subject {
        Subject::Instance { uid, key, kind } => {
            let task = result.as_ref().ok().and_then(Option::as_ref);
            let task = task.map(|task| task_status(task, kind, now));
            match (result, &task) {
                (Ok(_), Some(task)) => memory.in_flight.submitted(&uid, task.clone()),
                (Ok(_), None) => memory.in_flight.settle(&uid),
                (Err(error), _) => {
                    let in_doubt = error.in_doubt();
                    memory.in_flight.failed(&uid, kind, error, in_doubt);
                }
            }
            memory.answered(&uid, task.as_ref());
            memory.instance_triggers.wake(&key);
        }
        Subject::Group { uid, key, change } => {
            // Where the response was lost, a folder that shows up is most likely this one.
            if change == FolderChange::Create && result.as_ref().err().is_none_or(Failure::in_doubt) {
                memory.in_flight.folder_created(&uid);
            }
            let request = match result {
                Ok(task) => task.map(FolderRequest::Task),
                Err(error) => Some(FolderRequest::Failed(change, error)),
            };
            memory.in_flight.folder_answered(&uid, &key, request);
            memory.group_triggers.wake(&key);
        }
    }
}

async fn send_clone(ctx: &Context, clone: &NewMachine, op_id: &str) -> Result<MoRef, Fault> {
    let spec = CloneSpec {
        template: &clone.template,
        folder: &clone.folder,
        name: &clone.name,
        instance_uuid: &clone.instance_uuid,
        cpus: clone.cpus,
        memory_mb: i64::from(clone.memory_gb) * MB_PER_GB,
        power_on: true,
        extra_config: &[(OWNER_MARKER, &clone.marker), (REVISION_MARKER, &clone.revision)],
        op_id,
    };
    ctx.vms.clone_vm(&spec).await
}

fn task_status(task: &MoRef, kind: TaskKind, now: Timestamp) -> TaskStatus {
    TaskStatus { r#ref: task.value().to_owned(), kind, submitted_at: Time(now) }
}
