//! What is known of vCenter right now: VMs and folders under the root folder, and tasks. Owns the
//! objects, their indexes and the news about them; never talks to vCenter ([`super::watch`] feeds
//! it) and never decides what a change means.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use tokio::sync::mpsc;

use super::error::Error;
use super::moref::MoRef;
use super::power::PowerState;
use super::updates::{ObjectUpdate, UpdateKind};
use super::xml::Node;

/// How long a task of ours is remembered after it ended, though vCenter may have dropped it.
const TASK_MEMORY: Duration = Duration::from_mins(10);

/// `VirtualMachine.runtime.connectionState`. Only a connected VM can be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum Connection {
    Connected,
    Disconnected,
    Orphaned,
    Inaccessible,
    Invalid,
}

impl Connection {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "connected" => Some(Self::Connected),
            "disconnected" => Some(Self::Disconnected),
            "orphaned" => Some(Self::Orphaned),
            "inaccessible" => Some(Self::Inaccessible),
            "invalid" => Some(Self::Invalid),
            _ => None,
        }
    }
}

/// A virtual machine. What vCenter has not said (a VM still being made, a host that is away, no
/// permission to read) is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its reference.
    pub moref: MoRef,
    /// Its name, unescaped.
    pub name: Arc<str>,
    /// The folder it is in; none inside a vApp.
    pub parent: Option<MoRef>,
    /// Running or not.
    pub power: Option<PowerState>,
    /// Whether its host answers.
    pub connection: Option<Connection>,
    /// `config.instanceUuid`, lower case.
    pub instance_uuid: Option<Arc<str>>,
    /// The `extraConfig` entries whose keys begin with [`Config::marker_prefix`](super::Config::marker_prefix), by key.
    /// `None`: vCenter cannot tell, as for a VM still being made or whose files are out of reach.
    pub markers: Option<Vec<(String, String)>>,
}

impl Vm {
    fn empty(moref: MoRef) -> Self {
        Self {
            moref,
            name: "".into(),
            parent: None,
            power: None,
            connection: None,
            instance_uuid: None,
            markers: None,
        }
    }

    /// The value of a marker, by its whole key.
    #[must_use]
    pub fn marker(&self, key: &str) -> Option<&str> {
        self.markers.iter().flatten().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

/// A VM folder: the root folder or one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its reference.
    pub moref: MoRef,
    /// Its name, unescaped.
    pub name: Arc<str>,
    /// The folder it is in.
    pub parent: Option<MoRef>,
    /// How many objects are in it, of whatever type.
    pub children: usize,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum TaskState {
    Queued,
    Running,
    Success,
    Error,
}

impl TaskState {
    /// Success or error.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }
}

/// A vCenter task, ours or another's.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its reference.
    pub moref: MoRef,
    /// How far it is.
    pub state: TaskState,
    /// What it does, such as `VirtualMachine.clone`; empty until vCenter has said.
    pub description_id: String,
    /// The object it works on: of a clone the template.
    pub entity: Option<MoRef>,
    /// When it was asked for, by vCenter's clock (ours until vCenter has said).
    pub queued_at: Option<SystemTime>,
    /// What it made.
    pub result: Option<MoRef>,
    /// Why it failed.
    pub error: Option<Arc<Error>>,
}

impl Task {
    fn queued(moref: MoRef) -> Self {
        Self {
            moref,
            state: TaskState::Queued,
            description_id: String::new(),
            entity: None,
            queued_at: None,
            result: None,
            error: None,
        }
    }
}

/// News about the inventory. It is applied before it is told, so the inventory is never older
/// than the news, but may be newer.
#[derive(Debug, Clone)]
pub enum Change {
    /// A VM came (no `before`), went (no `after`), or is different.
    Vm {
        /// As it was.
        before: Option<Arc<Vm>>,
        /// As it is.
        after: Option<Arc<Vm>>,
    },
    /// The same for a folder.
    Folder {
        /// As it was.
        before: Option<Arc<Folder>>,
        /// As it is.
        after: Option<Arc<Folder>>,
    },
    /// A task came or is different. If the inventory does not know it any more, vCenter has
    /// forgotten it without telling how it ended.
    Task(Arc<Task>),
    /// From here on the inventory is complete and current.
    Synced,
    /// From here on it may be out of date, until the next `Synced`.
    Lost,
}

/// A subscription: every [`Change`] from the moment it was made, in order, none left out.
#[derive(Debug)]
pub struct Changes(mpsc::UnboundedReceiver<Change>);

impl Changes {
    /// The next change; `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<Change> {
        self.0.recv().await
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}

#[derive(Debug)]
struct TaskEntry {
    task: Arc<Task>,
    /// When we submitted it.
    submitted: Option<Instant>,
    /// When we learned that it ended.
    ended: Option<Instant>,
    /// Whether the collector watches it.
    watched: bool,
}

#[derive(Debug)]
struct FolderEntry {
    folder: Arc<Folder>,
    /// When we made it, as long as the collector has not reported it.
    made: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Inventory {
    synced: bool,
    marker_prefix: String,
    root: Option<MoRef>,
    vms: HashMap<MoRef, Arc<Vm>>,
    folders: HashMap<MoRef, FolderEntry>,
    tasks: HashMap<MoRef, TaskEntry>,
    by_uuid: HashMap<Arc<str>, Vec<MoRef>>,
    /// VMs by the value of a marker, whichever its key.
    by_marker: HashMap<Arc<str>, Vec<MoRef>>,
    /// VMs and folders by parent and name.
    by_name: HashMap<MoRef, HashMap<Arc<str>, Vec<MoRef>>>,
    /// While a complete report is being received: what it has named so far.
    baseline: Option<HashSet<MoRef>>,
    subscribers: Vec<mpsc::UnboundedSender<Change>>,
}

// === reading ===

impl Inventory {
    /// Whether it is complete and current. Before the first time it says nothing about what does
    /// not exist; while the connection is lost it shows what was.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The root folder, once found.
    #[must_use]
    pub fn root_folder(&self) -> Option<&MoRef> {
        self.root.as_ref()
    }

    /// A VM under the root folder.
    #[must_use]
    pub fn vm(&self, moref: &MoRef) -> Option<&Arc<Vm>> {
        self.vms.get(moref)
    }

    /// Every VM under the root folder, in no order.
    pub fn vms(&self) -> impl Iterator<Item = &Arc<Vm>> {
        self.vms.values()
    }

    /// The VMs with an instance UUID, in either case. vCenter keeps them unique, mostly.
    pub fn vm_by_instance_uuid(&self, uuid: &str) -> impl Iterator<Item = &Arc<Vm>> {
        let found = self.by_uuid.get(uuid.to_ascii_lowercase().as_str());
        found.into_iter().flatten().filter_map(|moref| self.vms.get(moref))
    }

    /// The VMs with a marker of that key and value. Copies of a VM have its markers.
    pub fn vms_marked(&self, key: &str, value: &str) -> impl Iterator<Item = &Arc<Vm>> {
        let found = self.by_marker.get(value);
        let vms = found.into_iter().flatten().filter_map(|moref| self.vms.get(moref));
        vms.filter(move |vm| vm.marker(key) == Some(value))
    }

    /// The VM of that name in a folder.
    #[must_use]
    pub fn vm_named(&self, folder: &MoRef, name: &str) -> Option<&Arc<Vm>> {
        self.by_name.get(folder)?.get(name)?.iter().find_map(|moref| self.vms.get(moref))
    }

    /// The VMs directly in a folder, in no order.
    pub fn vms_in(&self, folder: &MoRef) -> impl Iterator<Item = &Arc<Vm>> {
        let children = self.by_name.get(folder);
        children.into_iter().flat_map(HashMap::values).flatten().filter_map(|moref| self.vms.get(moref))
    }

    /// The root folder or one under it.
    #[must_use]
    pub fn folder(&self, moref: &MoRef) -> Option<&Arc<Folder>> {
        self.folders.get(moref).map(|entry| &entry.folder)
    }

    /// The folder of that name directly in the root folder.
    #[must_use]
    pub fn folder_named(&self, name: &str) -> Option<&Arc<Folder>> {
        let children = self.by_name.get(self.root.as_ref()?)?;
        children.get(name)?.iter().find_map(|moref| self.folder(moref))
    }

    /// Every folder, the root folder included, in no order.
    pub fn folders(&self) -> impl Iterator<Item = &Arc<Folder>> {
        self.folders.values().map(|entry| &entry.folder)
    }

    /// vCenter's recent and running tasks, and those submitted here until 10 minutes after they
    /// ended, in no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().map(|entry| &entry.task)
    }

    /// A task. One submitted here is known from the moment its reference was returned.
    #[must_use]
    pub fn task(&self, moref: &MoRef) -> Option<&Arc<Task>> {
        self.tasks.get(moref).map(|entry| &entry.task)
    }
}

// === what this client did itself ===

impl Inventory {
    pub(super) fn new(marker_prefix: String) -> Self {
        Self { marker_prefix, ..Self::default() }
    }

    pub(super) fn subscribe(&mut self) -> Changes {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.push(sender);
        Changes(receiver)
    }

    /// Ends every subscription.
    pub(super) fn close(&mut self) {
        self.set_synced(false);
        self.subscribers.clear();
    }

    pub(super) fn set_root(&mut self, root: MoRef) {
        self.root = Some(root);
    }

    /// A task whose reference vCenter has just returned. Tells nobody: the submitter knows.
    pub(super) fn task_submitted(&mut self, moref: &MoRef, now: Instant) {
        let entry = self.tasks.entry(moref.clone()).or_insert_with(|| TaskEntry {
            task: Arc::new(Task { queued_at: Some(SystemTime::now()), ..Task::queued(moref.clone()) }),
            submitted: None,
            ended: None,
            watched: false,
        });
        entry.submitted = Some(now);
        if entry.task.state.ended() {
            entry.ended = Some(now);
        }
    }

    /// A folder that vCenter has just said it made.
    pub(super) fn folder_made(&mut self, moref: &MoRef, name: &str, parent: &MoRef, now: Instant) {
        if self.folders.contains_key(moref) {
            return;
        }
        let folder =
            Folder { moref: moref.clone(), name: name.into(), parent: Some(parent.clone()), children: 0 };
        self.put_folder(moref, Some(folder), Some(now));
    }
}

// === what the collector reports ===

impl Inventory {
    /// A complete report begins; until it ends nothing is taken for gone.
    pub(super) fn begin_baseline(&mut self) {
        self.baseline = Some(HashSet::new());
        for entry in self.tasks.values_mut() {
            entry.watched = false;
        }
    }

    /// The complete report, asked for at `started`, has been received: what it did not name is
    /// gone, except what was made since.
    pub(super) fn end_baseline(&mut self, started: Instant) {
        let Some(seen) = self.baseline.take() else { return };
        let gone: Vec<MoRef> = self.vms.keys().filter(|moref| !seen.contains(*moref)).cloned().collect();
        for moref in gone {
            self.put_vm(&moref, None);
        }
        let gone: Vec<MoRef> = self
            .folders
            .iter()
            .filter(|(moref, entry)| !seen.contains(*moref) && entry.made.is_none_or(|made| made < started))
            .map(|(moref, _)| moref.clone())
            .collect();
        for moref in gone {
            self.put_folder(&moref, None, None);
        }
        self.tasks.retain(|_, entry| entry.watched || entry.submitted.is_some());
    }

    /// Whether the report under way has named this object.
    pub(super) fn baseline_has(&self, moref: &MoRef) -> bool {
        self.baseline.as_ref().is_some_and(|seen| seen.contains(moref))
    }

    pub(super) fn set_synced(&mut self, synced: bool) {
        if self.synced != synced {
            self.synced = synced;
            self.tell(if synced { &Change::Synced } else { &Change::Lost });
        }
    }

    /// Takes in one object's update.
    pub(super) fn apply(&mut self, update: ObjectUpdate, now: Instant) {
        if let Some(seen) = &mut self.baseline {
            seen.insert(update.obj.clone());
        }
        match update.obj.kind() {
            "VirtualMachine" => self.apply_vm(update),
            "Folder" => self.apply_folder(update),
            "Task" => self.apply_task(update, now),
            _ => {}
        }
    }

    fn apply_vm(&mut self, update: ObjectUpdate) {
        let moref = update.obj;
        let mut vm = match (update.kind, self.vms.get(&moref)) {
            (UpdateKind::Leave, _) => return self.put_vm(&moref, None),
            (UpdateKind::Modify, Some(vm)) => Vm::clone(vm),
            _ => Vm::empty(moref.clone()),
        };
        for (path, value) in update.properties {
            let value = value.as_ref();
            match &*path {
                "name" => vm.name = value.map_or_else(|| "".into(), |v| v.name().into()),
                "parent" => vm.parent = value.and_then(Node::moref).map(|parent| self.interned(parent)),
                "runtime.powerState" => vm.power = value.and_then(|v| PowerState::parse(&v.text)),
                "runtime.connectionState" => vm.connection = value.and_then(|v| Connection::parse(&v.text)),
                "config.instanceUuid" => {
                    vm.instance_uuid =
                        value.filter(|v| !v.text.is_empty()).map(|v| v.text.to_ascii_lowercase().into());
                }
                "config.extraConfig" => {
                    vm.markers = value.map(|v| v.options(&self.marker_prefix));
                }
                _ => {}
            }
        }
        self.put_vm(&moref, Some(vm));
    }

    fn apply_folder(&mut self, update: ObjectUpdate) {
        let moref = update.obj;
        let mut folder = match (update.kind, self.folders.get(&moref)) {
            (UpdateKind::Leave, _) => return self.put_folder(&moref, None, None),
            (_, Some(entry)) => Folder::clone(&entry.folder),
            _ => Folder { moref: moref.clone(), name: "".into(), parent: None, children: 0 },
        };
        for (path, value) in update.properties {
            let value = value.as_ref();
            match &*path {
                "name" => folder.name = value.map_or_else(|| "".into(), |v| v.name().into()),
                "parent" => folder.parent = value.and_then(Node::moref),
                "childEntity" => folder.children = value.map_or(0, |v| v.children.len()),
                _ => {}
            }
        }
        self.put_folder(&moref, Some(folder), None);
    }

    fn apply_task(&mut self, update: ObjectUpdate, now: Instant) {
        let moref = update.obj;
        if update.kind == UpdateKind::Leave {
            return self.task_left(&moref);
        }
        let known = self.tasks.get(&moref);
        let mut task = known.map_or_else(|| Task::queued(moref.clone()), |entry| Task::clone(&entry.task));
        for (path, value) in update.properties {
            let value = value.as_ref();
            match &*path {
                "info.state" => {
                    task.state = match value.map(|v| &*v.text) {
                        Some("running") => TaskState::Running,
                        Some("success") => TaskState::Success,
                        Some("error") => TaskState::Error,
                        _ => TaskState::Queued,
                    }
                }
                "info.descriptionId" => {
                    task.description_id = value.map(|v| v.text.clone()).unwrap_or_default();
                }
                "info.entity" => task.entity = value.and_then(Node::moref),
                "info.queueTime" => task.queued_at = value.and_then(Node::time),
                "info.result" => task.result = value.and_then(Node::moref),
                "info.error" => task.error = value.map(|v| Arc::new(Error::of_fault(v.localized_fault()))),
                _ => {}
            }
        }
        let known = self.tasks.get_mut(&moref);
        let state = task.state;
        let task = Arc::new(task);
        let news = known.as_ref().is_none_or(|entry| {
            let old = &entry.task;
            old.state != task.state || old.result != task.result || old.description_id != task.description_id
        });
        let ended = state.ended().then_some(now);
        if let Some(entry) = known {
            entry.task = task.clone();
            entry.watched = true;
            entry.ended = entry.ended.or(ended);
        } else {
            self.tasks.insert(moref, TaskEntry { task: task.clone(), submitted: None, ended, watched: true });
        }
        if news {
            self.tell(&Change::Task(task));
        }
    }

    fn task_left(&mut self, moref: &MoRef) {
        if let Some(entry) = self.tasks.get_mut(moref) {
            entry.watched = false;
            if entry.submitted.is_none() {
                self.tasks.remove(moref);
            }
        }
    }

    /// Tasks submitted here before `polled` that have not ended and that the collector does not
    /// watch (vCenter's list of recent tasks is bounded): somebody has to ask for them.
    pub(super) fn strays(&self, polled: Instant) -> Vec<MoRef> {
        self.tasks
            .iter()
            .filter(|(_, entry)| {
                !entry.watched
                    && !entry.task.state.ended()
                    && entry.submitted.is_some_and(|submitted| submitted < polled)
            })
            .map(|(moref, _)| moref.clone())
            .collect()
    }

    /// What was learned of a stray; nothing if vCenter has forgotten it.
    pub(super) fn stray_seen(&mut self, moref: &MoRef, update: Option<ObjectUpdate>, now: Instant) {
        if let Some(update) = update {
            self.apply_task(update, now);
            self.task_left(moref);
        } else if let Some(entry) = self.tasks.remove(moref) {
            self.tell(&Change::Task(entry.task));
        }
    }

    /// Forgets tasks of ours that ended long ago.
    pub(super) fn purge(&mut self, now: Instant) {
        self.tasks.retain(|_, entry| {
            entry.watched || entry.ended.is_none_or(|ended| now.duration_since(ended) < TASK_MEMORY)
        });
    }

    fn tell(&mut self, change: &Change) {
        self.subscribers.retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}

// === indexes ===

impl Inventory {
    /// The same reference, sharing its text with those of the siblings.
    fn interned(&self, moref: MoRef) -> MoRef {
        self.by_name.get_key_value(&moref).map_or(moref, |(key, _)| key.clone())
    }

    fn put_vm(&mut self, moref: &MoRef, vm: Option<Vm>) {
        let before = self.vms.remove(moref);
        if before.as_deref() == vm.as_ref() {
            if let Some(before) = before {
                self.vms.insert(moref.clone(), before);
            }
            return;
        }
        if let Some(old) = &before {
            self.unname(old.parent.as_ref(), &old.name, moref);
            if let Some(uuid) = &old.instance_uuid {
                remove(&mut self.by_uuid, uuid, moref);
            }
            for (_, value) in old.markers.iter().flatten() {
                remove(&mut self.by_marker, value, moref);
            }
        }
        let after = vm.map(Arc::new);
        if let Some(new) = &after {
            let key = new.moref.clone();
            self.name(new.parent.as_ref(), &new.name, &key);
            if let Some(uuid) = &new.instance_uuid {
                self.by_uuid.entry(uuid.clone()).or_default().push(key.clone());
            }
            for (_, value) in new.markers.iter().flatten() {
                self.by_marker.entry(value.as_str().into()).or_default().push(key.clone());
            }
            self.vms.insert(key, new.clone());
        }
        self.tell(&Change::Vm { before, after });
    }

    fn put_folder(&mut self, moref: &MoRef, folder: Option<Folder>, made: Option<Instant>) {
        let before = self.folders.remove(moref).map(|entry| entry.folder);
        let same = before.as_deref() == folder.as_ref();
        if let Some(old) = &before {
            self.unname(old.parent.as_ref(), &old.name, moref);
        }
        let after = folder.map(Arc::new);
        if let Some(new) = &after {
            self.name(new.parent.as_ref(), &new.name, moref);
            self.folders.insert(moref.clone(), FolderEntry { folder: new.clone(), made });
        }
        if !same {
            self.tell(&Change::Folder { before, after });
        }
    }

    fn name(&mut self, parent: Option<&MoRef>, name: &Arc<str>, moref: &MoRef) {
        if let Some(parent) = parent {
            self.by_name
                .entry(parent.clone())
                .or_default()
                .entry(name.clone())
                .or_default()
                .push(moref.clone());
        }
    }

    fn unname(&mut self, parent: Option<&MoRef>, name: &Arc<str>, moref: &MoRef) {
        let Some(parent) = parent else { return };
        if let Some(children) = self.by_name.get_mut(parent) {
            remove(children, name, moref);
            if children.is_empty() {
                self.by_name.remove(parent);
            }
        }
    }
}

fn remove(index: &mut HashMap<Arc<str>, Vec<MoRef>>, key: &str, moref: &MoRef) {
    if let Some(found) = index.get_mut(key) {
        found.retain(|other| other != moref);
        if found.is_empty() {
            index.remove(key);
        }
    }
}
