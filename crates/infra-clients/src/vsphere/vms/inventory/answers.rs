//! What look-ups have found: where VMs are that the inventory does not show, and whether others are as it shows them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Confirmation, Inventory, Outside, Vm, identity};
use crate::vsphere::MoRef;

/// Age after which the answer to a look-up says nothing of the present.
pub(super) const OUTSIDE_LIFE: Duration = Duration::from_secs(30);
/// Age after which it is dropped, as is that to a confirmation.
pub(super) const ANSWER_KEPT: Duration = Duration::from_mins(10);
/// How long the answer to a confirmation counts.
pub(super) const CONFIRMED_LIFE: Duration = Duration::from_secs(30);

/// The answer to a look-up of a VM.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::vsphere::vms) struct LookedUp<'a> {
    /// As it was read; `None`: it does not exist.
    pub(in crate::vsphere::vms) read: Option<&'a Arc<Vm>>,
    /// Of [`Inventory::is_in_place`].
    pub(in crate::vsphere::vms) is_in_place: Option<bool>,
}

/// A VM that was read again.
#[derive(Debug)]
pub(super) struct Confirmed {
    pub(super) confirmation: Confirmation,
    /// As it was read, until an update says what it does. Nothing is known of one that could not be read.
    vm: Option<Arc<Vm>>,
    since: Instant,
}

impl Inventory {
    /// Returns where a VM is that the inventory does not show, once it was looked up:
    /// [`Vms::look_up`](crate::vsphere::vms::Vms::look_up). The answer holds for 30 seconds, and until the VM appears in the inventory.
    #[must_use]
    pub fn outside(&self, moref: &MoRef) -> Option<&Outside> {
        let (outside, since) = self.outside.get(moref)?;
        (since.elapsed() < OUTSIDE_LIFE).then_some(outside)
    }

    /// Returns the last answer of [`Inventory::outside`], which may be 10 minutes old:
    /// [`Vms::forget_answers`](crate::vsphere::vms::Vms::forget_answers) drops it.
    #[must_use]
    pub fn last_outside(&self, moref: &MoRef) -> Option<&Outside> {
        self.outside.get(moref).map(|(outside, _)| outside)
    }

    /// Returns what was found when a VM was last read, with the folders above it:
    /// [`Vms::confirm`](crate::vsphere::vms::Vms::confirm). `None` if it was not read within 30 seconds, or was powered off or destroyed by
    /// a request since.
    #[must_use]
    pub fn confirmed(&self, moref: &MoRef) -> Option<Confirmation> {
        let confirmed = self.confirmed.get(moref)?;
        (confirmed.since.elapsed() < CONFIRMED_LIFE).then_some(confirmed.confirmation)
    }

    /// Returns the last answer of [`Inventory::confirmed`], which may be 10 minutes old, unless it says that a change was missed:
    /// [`Vms::forget_answers`](crate::vsphere::vms::Vms::forget_answers) drops it.
    #[must_use]
    pub fn last_confirmed(&self, moref: &MoRef) -> Option<Confirmation> {
        self.confirmed.get(moref).map(|confirmed| confirmed.confirmation)
    }

    /// Returns when the last answer about a VM was asked for, of [`Inventory::last_confirmed`] if it is shown, else of
    /// [`Inventory::last_outside`]; for one that could not be read, when that was given up.
    #[must_use]
    pub fn answered_at(&self, moref: &MoRef) -> Option<Instant> {
        if self.vms.contains_key(moref) {
            return self.confirmed.get(moref).map(|confirmed| confirmed.since);
        }
        self.outside.get(moref).map(|(_, since)| *since)
    }

    /// Returns a VM as it was read for [`Inventory::last_confirmed`], if no update has said what it does since that was asked for: it may do
    /// something else than the inventory shows, whose update was lost. One that could not be read lacks what is not known of it.
    #[must_use]
    pub fn last_read(&self, moref: &MoRef) -> Option<&Arc<Vm>> {
        self.confirmed.get(moref)?.vm.as_ref()
    }
}

impl Inventory {
    /// Records that VMs are being read: until the answer comes, an update that says what one does may be newer than the answer.
    pub(in crate::vsphere::vms) fn begin_read(&mut self, morefs: &[MoRef]) {
        self.reading.extend(morefs.iter().cloned());
    }

    /// Records the answer to a look-up that was asked for at `now`, after [`Inventory::begin_read`]. Returns whether it says that the inventory missed a change.
    pub(in crate::vsphere::vms) fn set_looked_up(
        &mut self,
        moref: &MoRef,
        answer: &LookedUp<'_>,
        now: Instant,
    ) -> bool {
        let LookedUp { read, is_in_place } = *answer;
        let is_newest = self.reading.remove(moref);
        let Some(shown) = self.vms.get(moref) else {
            let parent = read.and_then(|vm| vm.parent.as_ref());
            // What it is in was moved, or it came there, and no update has said so.
            let missed = parent.is_some_and(|parent| self.folders.contains_key(parent));
            self.incomplete |= missed;
            let outside = read.map_or(Outside::Gone, |vm| Outside::Elsewhere(vm.clone()));
            self.outside.insert(moref.clone(), (outside, now));
            return missed;
        };
        let is_unread = read.is_some_and(|read| read.markers.is_none());
        let is_alike = read.is_some_and(|read| identity(read) == identity(shown));
        let confirmation = match is_in_place {
            _ if is_unread => Confirmation::Unread,
            _ if !is_alike => Confirmation::Changed,
            None => Confirmation::Unread,
            Some(false) => Confirmation::Changed,
            Some(true) => Confirmation::Same,
        };
        let vm = read.filter(|_| is_newest).cloned();
        self.confirmed.insert(moref.clone(), Confirmed { confirmation, vm, since: now });
        // Of what cannot be read, a complete report shows no more.
        let missed = confirmation == Confirmation::Changed;
        self.incomplete |= missed;
        missed
    }

    /// Drops the answer to a look-up.
    pub(in crate::vsphere::vms) fn forget_outside(&mut self, moref: &MoRef) {
        self.outside.remove(moref);
    }

    /// Drops a confirmation: the next request that cannot be undone needs one of its own.
    pub(in crate::vsphere::vms) fn forget_confirmed(&mut self, moref: &MoRef) {
        self.confirmed.remove(moref);
    }

    /// Drops what a VM did when it was read, or is read now: an update says what it does.
    pub(in crate::vsphere::vms) fn forget_read(&mut self, moref: &MoRef) {
        self.reading.remove(moref);
        if let Some(confirmed) = self.confirmed.get_mut(moref) {
            confirmed.vm = None;
        }
    }

    /// Drops answers that are too old to be of use.
    pub(super) fn purge_answers(&mut self, now: Instant) {
        self.outside.retain(|_, (_, since)| now.saturating_duration_since(*since) < ANSWER_KEPT);
        self.confirmed.retain(|_, confirmed| {
            let is_past = confirmed.confirmation == Confirmation::Changed;
            let kept = if is_past { CONFIRMED_LIFE } else { ANSWER_KEPT };
            now.saturating_duration_since(confirmed.since) < kept
        });
    }
}
