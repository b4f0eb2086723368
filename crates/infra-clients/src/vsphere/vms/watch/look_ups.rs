//! Look-ups of VMs: of those that the inventory does not show, and of those that it shows, to confirm it. Owns the requests
//! until they are answered: those of one moment are read in one call, with the folders above them that the inventory shows; a link that is down
//! delays them and loses none, and one VM that vCenter refuses to read, or has no answer for, does not keep the others.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::failure::jittered;
use crate::vsphere::paths::segments;
use crate::vsphere::vms::inventory::{Change, Inventory, Vm};
use crate::vsphere::vms::site::Site;
use crate::vsphere::vms::updates::read_once;
use crate::vsphere::vms::{Link, Shared};
use crate::vsphere::{Error, Kind, MoRef};

/// How long requests gather.
const GATHERING: Duration = Duration::from_millis(10);
/// Most VMs in one call.
const MOST: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The VMs that are to be looked up.
#[derive(Debug, Default)]
pub(in crate::vsphere::vms) struct LookUps {
    requests: Mutex<Requests>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: Vec<MoRef>,
    /// Those waiting and those sent.
    open: HashSet<MoRef>,
}

impl LookUps {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests a look-up, unless one of the same VM is open.
    pub(in crate::vsphere::vms) fn request(&self, moref: &MoRef) {
        let mut requests = self.requests();
        if requests.open.insert(moref.clone()) {
            requests.waiting.push(moref.clone());
            self.asked.notify_one();
        }
    }

    /// Whether a look-up of this VM is open.
    pub(in crate::vsphere::vms) fn is_open(&self, moref: &MoRef) -> bool {
        self.requests().open.contains(moref)
    }

    fn take(&self, most: usize) -> Vec<MoRef> {
        let mut requests = self.requests();
        let count = requests.waiting.len().min(most);
        requests.waiting.drain(..count).collect()
    }

    fn put_back(&self, morefs: Vec<MoRef>) {
        self.requests().waiting.extend(morefs);
    }

    fn close(&self, moref: &MoRef) {
        self.requests().open.remove(moref);
    }

    fn is_idle(&self) -> bool {
        self.requests().waiting.is_empty()
    }

    /// Answers requests. Never returns.
    pub(in crate::vsphere::vms) async fn run(&self, shared: &Shared) {
        let mut link = shared.link.subscribe();
        let (mut pause, mut most) = (FIRST_PAUSE, MOST);
        loop {
            if self.is_idle() {
                most = MOST;
                self.asked.notified().await;
                tokio::time::sleep(GATHERING).await;
            }
            if link.wait_for(Link::is_up).await.is_err() {
                return;
            }
            let morefs = self.take(most);
            match look_up(shared, &morefs).await {
                Ok(()) => pause = FIRST_PAUSE,
                // One of them cannot be read, or all are too much for one answer; or one has no answer, where other calls have theirs.
                Err(error) if is_about_objects(&error) || is_silent(&error, &link) => match morefs.as_slice()
                {
                    [moref] => {
                        tracing::warn!(%error, vm = moref.value(), "vCenter cannot read the VM");
                        answer(shared, moref, Some(&Arc::new(Vm::empty(moref.clone()))), None);
                    }
                    several => {
                        most = several.len().div_ceil(2);
                        self.put_back(morefs);
                    }
                },
                Err(error) => {
                    let wait = jittered(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tracing::debug!(%error, vms = morefs.len(), retry_in = ?wait, "cannot look VMs up");
                    self.put_back(morefs);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// Looks VMs up with one call, and one for each folder that is above one now and not in the inventory; then answers.
async fn look_up(shared: &Shared, morefs: &[MoRef]) -> Result<(), Error> {
    let mut read = Inventory::new(shared.config.marker_prefix.clone());
    let now = Instant::now();
    let mut objects = morefs.to_vec();
    objects.extend(shared.read(|inventory| inventory.above(morefs)));
    for update in read_once(&shared.core, &objects).await? {
        read.apply(&update, now);
    }
    let site = shared.sites.current();
    if let Some(site) = &site {
        read.set_root(site.root.clone());
        read_above(shared, site, &mut read, now).await?;
    }
    let levels: Vec<String> = segments(&shared.config.root_folder).collect();
    for moref in morefs {
        let vm = read.vm(moref);
        let is_in_place = || read.is_in_place(vm?, &site.as_ref()?.vm_folder, &levels);
        answer(shared, moref, vm, is_in_place());
    }
    Ok(())
}

/// Reads what is still missing of the folders from those VMs that the inventory shows up to the VM folder: mostly nothing.
async fn read_above(shared: &Shared, site: &Site, read: &mut Inventory, now: Instant) -> Result<(), Error> {
    let mut next: HashSet<MoRef> = shared.read(|inventory| {
        let shown = read.vms().filter(|vm| inventory.vm(&vm.moref).is_some());
        let parents = shown.map(|vm| &vm.parent).chain(read.folders().map(|folder| &folder.parent));
        parents.flatten().cloned().collect()
    });
    loop {
        let is_read = |folder: &MoRef| *folder == site.vm_folder || read.folder(folder).is_some();
        next.retain(|folder| folder.kind() == "Folder" && !is_read(folder));
        if next.is_empty() {
            return Ok(());
        }
        let folders: Vec<_> = next.drain().collect();
        for update in read_once(&shared.core, &folders).await? {
            read.apply(&update, now);
            next.extend(read.folder(&update.obj).and_then(|folder| folder.parent.clone()));
        }
    }
}

/// Answers a request; `is_in_place`: of [`Inventory::is_in_place`]. An inventory that has missed a change is read again at once.
fn answer(shared: &Shared, moref: &MoRef, read: Option<&Arc<Vm>>, is_in_place: Option<bool>) {
    // In this order a reader finds the open request, or the answer.
    let missed = shared.update(|inventory| inventory.set_looked_up(moref, read, is_in_place, Instant::now()));
    shared.look_ups.close(moref);
    shared.update(|inventory| inventory.send(&Change::LookedUp(moref.clone())));
    if missed {
        tracing::warn!(vm = moref.value(), "the inventory has missed a change of this VM; it is read again");
        shared.newest.send_modify(|newest| newest.0 += 1);
    }
}

/// Returns whether vCenter answers, but not to this look-up.
fn is_silent(error: &Error, link: &tokio::sync::watch::Receiver<Link>) -> bool {
    error.kind() == Kind::Timeout && link.borrow().is_up()
}

/// Returns whether a failed look-up is because of what it names, and not of the link.
fn is_about_objects(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::AnswerTooLarge
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Invalid
            | Kind::NotSupported
            | Kind::Fault
            | Kind::InvalidPowerState
    )
}
