//! Look-ups of VMs: of those that the inventory does not show, and of those that it shows, to confirm it. Owns the requests
//! until they are answered: those of one moment are read in one call, with the folders above them that the inventory shows; a link that is down
//! delays them and loses none. One VM that vCenter cannot read, or has no answer for, does not keep the others: it is suspect, and is read alone
//! from then on, beside them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use tokio::sync::Notify;

use crate::failure::{Class, Failure as _, jittered};
use crate::vsphere::paths::segments;
use crate::vsphere::properties::{ObjectUpdate, hidden};
use crate::vsphere::vms::inventory::{Change, Inventory, LookedUp, Vm};
use crate::vsphere::vms::site::Site;
use crate::vsphere::vms::updates::read_once_within;
use crate::vsphere::vms::{Link, Shared};
use crate::vsphere::{Error, Kind, MoRef};

/// How long requests gather.
const GATHERING: Duration = Duration::from_millis(10);
/// Most VMs in one call.
const MOST: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a suspect is tried until the answer is that it cannot be read.
const TRIES: u32 = 5;
/// How long a call may take that reads many, and one that reads a suspect. Both take milliseconds where the vCenter answers.
const TIME_TOGETHER: Duration = Duration::from_secs(12);
const TIME_ALONE: Duration = Duration::from_secs(10);
/// Suspects that are read at the same time.
const SUSPECTS: usize = 8;
/// How often many are tried together before one of them is suspected, where the failure may pass.
const TRIES_TOGETHER: u32 = 4;
/// How long a VM stays suspect.
const SUSPECT_LIFE: Duration = Duration::from_mins(10);

/// The VMs that are to be looked up.
#[derive(Debug, Default)]
pub(in crate::vsphere::vms) struct LookUps {
    requests: Mutex<Requests>,
    asked: Notify,
    /// As `asked`, for suspects.
    suspect_asked: Notify,
}

#[derive(Debug, Default)]
struct Requests {
    waiting: VecDeque<MoRef>,
    /// Suspects that wait.
    waiting_alone: VecDeque<MoRef>,
    /// Those waiting and those sent.
    open: HashSet<MoRef>,
    /// Those sent whose answer is of before it was asked for again.
    outdated: HashSet<MoRef>,
    /// When these could not be read last.
    suspects: HashMap<MoRef, Instant>,
}

impl Requests {
    fn is_suspect(&mut self, moref: &MoRef, now: Instant) -> bool {
        self.suspects.retain(|_, since| now.saturating_duration_since(*since) < SUSPECT_LIFE);
        self.suspects.contains_key(moref)
    }
}

impl LookUps {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests a look-up, unless one of the same VM is open.
    pub(in crate::vsphere::vms) fn request(&self, moref: &MoRef) {
        let mut requests = self.requests();
        if requests.open.insert(moref.clone()) {
            self.enqueue(&mut requests, moref);
        }
    }

    fn enqueue(&self, requests: &mut Requests, moref: &MoRef) {
        if requests.is_suspect(moref, Instant::now()) {
            requests.waiting_alone.push_back(moref.clone());
            self.suspect_asked.notify_one();
        } else {
            requests.waiting.push_back(moref.clone());
            self.asked.notify_one();
        }
    }

    /// Has a look-up of this VM that was sent already be sent again: its answer may be of before.
    pub(in crate::vsphere::vms) fn renew(&self, moref: &MoRef) {
        let mut requests = self.requests();
        let is_waiting = requests.waiting.contains(moref) || requests.waiting_alone.contains(moref);
        if !is_waiting && requests.open.contains(moref) {
            requests.outdated.insert(moref.clone());
        }
    }

    /// Sends a look-up again whose answer is of before it was asked for; returns whether it does.
    fn repeat(&self, moref: &MoRef) -> bool {
        let mut requests = self.requests();
        let is_outdated = requests.outdated.remove(moref);
        if is_outdated {
            self.enqueue(&mut requests, moref);
        }
        is_outdated
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

    /// Has a VM read alone, now and for [`SUSPECT_LIFE`].
    fn suspect(&self, moref: MoRef) {
        let mut requests = self.requests();
        requests.suspects.insert(moref.clone(), Instant::now());
        requests.waiting_alone.push_back(moref);
        self.suspect_asked.notify_one();
    }

    /// Answers requests. Never returns.
    pub(in crate::vsphere::vms) async fn run(&self, shared: &Shared) {
        tokio::join!(self.run_together(shared), self.run_alone(shared));
    }

    async fn run_together(&self, shared: &Shared) {
        let mut link = shared.link.subscribe();
        let (mut pause, mut most, mut tries) = (FIRST_PAUSE, MOST, 0);
        loop {
            if self.is_idle() {
                (most, tries) = (MOST, 0);
                self.asked.notified().await;
                tokio::time::sleep(GATHERING).await;
            }
            if link.wait_for(Link::is_up).await.is_err() {
                return;
            }
            let mut morefs = self.take(most);
            match look_up(shared, TIME_TOGETHER, &morefs).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) if is_about_link(&error, &link) || may_pass(&error) && tries < TRIES_TOGETHER => {
                    tries += 1;
                    let wait = jittered(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tracing::debug!(%error, vms = morefs.len(), retry_in = ?wait, "cannot look VMs up");
                    self.put_back(morefs);
                    tokio::time::sleep(wait).await;
                }
                // One of them has no answer: halves would wait for it again and again.
                Err(error) if is_silent(&error) => morefs.drain(..).for_each(|moref| self.suspect(moref)),
                // One of them cannot be read, or all are too much for one answer.
                Err(_) if morefs.len() > 1 => {
                    most = morefs.len().div_ceil(2);
                    self.put_back(morefs);
                }
                Err(_) => morefs.drain(..).for_each(|moref| self.suspect(moref)),
            }
        }
    }

    /// Reads each suspect alone, some at the same time.
    async fn run_alone(&self, shared: &Shared) {
        let suspects = stream::unfold((), async |()| Some((self.next_suspect().await, ())));
        suspects.for_each_concurrent(SUSPECTS, async |moref| self.read_alone(shared, moref).await).await;
    }

    async fn next_suspect(&self) -> MoRef {
        loop {
            let next = self.requests().waiting_alone.pop_front();
            match next {
                Some(moref) => return moref,
                None => self.suspect_asked.notified().await,
            }
        }
    }

    async fn read_alone(&self, shared: &Shared, moref: MoRef) {
        let mut link = shared.link.subscribe();
        let (mut tries, mut pause) = (1, FIRST_PAUSE);
        while link.wait_for(Link::is_up).await.is_ok() {
            let read = look_up(shared, TIME_ALONE, std::slice::from_ref(&moref));
            let (read, is_answering) = tokio::join!(read, is_answering(shared));
            match read {
                Ok(()) => {
                    self.requests().suspects.remove(&moref);
                    return;
                }
                Err(error) if is_about_link(&error, &link) => {}
                // Nor does vCenter say anything else: that is no answer about this VM.
                Err(error) if !is_answering => {
                    tracing::warn!(%error, vm = moref.value(), "vCenter answers no read; the VM is read again");
                }
                Err(error) if tries == TRIES || is_about_objects(&error) || is_silent(&error) => {
                    tracing::warn!(%error, vm = moref.value(), "vCenter cannot read the VM");
                    self.requests().suspects.insert(moref.clone(), Instant::now());
                    let unread = Arc::new(Vm::empty(moref.clone()));
                    let found = LookedUp { read: Some(&unread), ..LookedUp::default() };
                    return answer(shared, &moref, &found, Instant::now());
                }
                Err(_) => tries += 1,
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Returns whether vCenter answers another read within the time that a suspect has.
async fn is_answering(shared: &Shared) -> bool {
    let Some(site) = shared.sites.current() else { return true };
    read_once_within(&shared.core, TIME_ALONE, std::slice::from_ref(&site.vm_folder)).await.is_ok()
}

/// Looks VMs up with one call, and one for each folder that is above one now and not in the inventory, and one for each VM that the answer
/// does not have; then answers. The first answer has to come within this time, and all others within as much after it. What is answered is as
/// it was when the first call was sent.
async fn look_up(shared: &Shared, time: Duration, morefs: &[MoRef]) -> Result<(), Error> {
    let mut read = Inventory::new(shared.config.marker_prefix.clone());
    let mut objects = morefs.to_vec();
    objects.extend(shared.read(|inventory| inventory.above(morefs)));
    shared.update(|inventory| inventory.begin_read(morefs));
    let (updates, since) = read_once_within(&shared.core, time, &objects).await?;
    let until = Instant::now() + time;
    for update in updates {
        read.apply(&update, since);
    }
    let absent = morefs.iter().filter(|moref| moref.kind() == "VirtualMachine" && read.vm(moref).is_none());
    let left = || until.saturating_duration_since(Instant::now());
    for hidden in hidden(&shared.core, left, absent.cloned().collect()).await? {
        read.apply(&ObjectUpdate::unread(&hidden), since);
    }
    let site = shared.sites.current();
    if let Some(site) = &site {
        read.set_root(site.root.clone());
        read_above(shared, until, site, &mut read, since).await?;
    }
    let levels: Vec<String> = segments(&shared.config.root_folder).collect();
    for moref in morefs {
        let vm = read.vm(moref);
        let is_in_place = || read.is_in_place(vm?, &site.as_ref()?.vm_folder, &levels);
        let found = LookedUp { read: vm, is_in_place: is_in_place() };
        answer(shared, moref, &found, since);
    }
    Ok(())
}

/// Reads what is still missing of the folders from those VMs that the inventory shows up to the VM folder: mostly nothing.
async fn read_above(
    shared: &Shared,
    until: Instant,
    site: &Site,
    read: &mut Inventory,
    since: Instant,
) -> Result<(), Error> {
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
        let left = until.saturating_duration_since(Instant::now());
        for update in read_once_within(&shared.core, left, &folders).await?.0 {
            read.apply(&update, since);
            next.extend(read.folder(&update.obj).and_then(|folder| folder.parent.clone()));
        }
    }
}

/// Answers a request; `since`: when the answer was asked for at the latest. An inventory that has missed a change is read again at once.
fn answer(shared: &Shared, moref: &MoRef, found: &LookedUp<'_>, since: Instant) {
    if shared.look_ups.repeat(moref) {
        return;
    }
    // In this order a reader finds the open request, or the answer.
    let missed = shared.update(|inventory| inventory.set_looked_up(moref, found, since));
    shared.look_ups.close(moref);
    shared.update(|inventory| inventory.send(&Change::LookedUp(moref.clone())));
    if missed {
        tracing::warn!(vm = moref.value(), "the inventory has missed a change of this VM; it is read again");
        shared.newest.send_modify(|newest| newest.0 += 1);
    }
}

/// Returns whether vCenter does not answer this look-up.
fn is_silent(error: &Error) -> bool {
    error.kind() == Kind::Timeout
}

/// Returns whether a look-up may have failed whatever it names.
fn may_pass(error: &Error) -> bool {
    error.class() == Class::Retry && !is_silent(error) && !is_about_objects(error)
}

/// Returns whether a look-up failed because of the link, as all others would.
fn is_about_link(error: &Error, link: &tokio::sync::watch::Receiver<Link>) -> bool {
    error.is_session_lost() || !link.borrow().is_up()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_sent_is_sent_again_where_its_answer_may_be_of_before() {
        let (look_ups, moref) = (LookUps::default(), MoRef::new("VirtualMachine", "vm-1"));
        look_ups.renew(&moref);
        assert!(!look_ups.repeat(&moref), "none is open");

        look_ups.request(&moref);
        look_ups.renew(&moref);
        assert_eq!(look_ups.take(MOST), std::slice::from_ref(&moref));
        assert!(!look_ups.repeat(&moref), "it was sent after it was asked for again");

        look_ups.renew(&moref);
        assert!(look_ups.repeat(&moref) && look_ups.is_open(&moref));
        assert_eq!(look_ups.take(MOST), std::slice::from_ref(&moref));
        assert!(!look_ups.repeat(&moref), "once");

        // It holds no others up.
        look_ups.requests().suspects.insert(moref.clone(), Instant::now());
        look_ups.renew(&moref);
        assert!(look_ups.repeat(&moref) && look_ups.is_idle());
        assert_eq!(look_ups.requests().waiting_alone.front(), Some(&moref));
        look_ups.close(&moref);
        assert!(!look_ups.is_open(&moref));
    }
}
