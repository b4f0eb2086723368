//! Look-ups of VMs that the inventory does not show. Owns the requests until they are answered: those of one moment are
//! sent in one call, and a link that is down delays them and loses none.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::failure::jittered;
use crate::vsphere::vms::inventory::{Inventory, Outside};
use crate::vsphere::vms::updates::read_vms;
use crate::vsphere::vms::{Link, Shared};
use crate::vsphere::{Error, MoRef};

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

    fn take(&self) -> Vec<MoRef> {
        let mut requests = self.requests();
        let count = requests.waiting.len().min(MOST);
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
        let mut pause = FIRST_PAUSE;
        loop {
            if self.is_idle() {
                self.asked.notified().await;
                tokio::time::sleep(GATHERING).await;
            }
            if link.wait_for(Link::is_up).await.is_err() {
                return;
            }
            let morefs = self.take();
            match look_up(shared, &morefs).await {
                Ok(()) => pause = FIRST_PAUSE,
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

/// Looks VMs up with one call, and answers.
async fn look_up(shared: &Shared, morefs: &[MoRef]) -> Result<(), Error> {
    let mut read = Inventory::new(shared.config.marker_prefix.clone());
    let now = Instant::now();
    for update in read_vms(&shared.core, morefs).await? {
        read.apply(&update, now);
    }
    for moref in morefs {
        shared.look_ups.close(moref);
        let outside = read.vm(moref).map_or(Outside::Gone, |vm| Outside::Elsewhere(vm.clone()));
        shared.update(|inventory| inventory.looked_up(moref, outside, Instant::now()));
    }
    Ok(())
}
