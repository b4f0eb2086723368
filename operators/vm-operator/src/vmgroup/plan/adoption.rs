//! What becomes of the machines that the original operator made.

use std::collections::BTreeSet;
use std::time::Duration;

use operator_kit::Turn;

use super::{BATCH, Plan, RECORDED, taken, wait};
use crate::api::{ORIGINAL_FINALIZER, VmGroup, reason};
use crate::vmgroup::seen::{OriginalClones, OriginalMachine, Originals, Seen};
use crate::vminstance::Refresh;

/// When to look whether clones have ended that no VmInstance waits for.
const CLONED: Duration = Duration::from_secs(5);

/// The next step until every machine of the original operator is adopted and the status names its folder; `None` after that.
pub(super) fn plan_adoption(group: &VmGroup, seen: &Seen) -> Option<Turn<Plan>> {
    let Originals { known, unread, no_folder, clones } = &seen.originals;
    let status = group.status.as_ref();
    let recorded = status.and_then(|status| status.adopted_folder.as_deref());
    if seen.adopted && known.iter().all(|machine| machine.slot.is_none()) {
        let message = format!(
            "the finalizer {ORIGINAL_FINALIZER:?} is back although the machines were adopted: the original operator still runs; \
             stop it, and remove the finalizer from this VmGroup"
        );
        return Some(Turn::Blocked { reason: reason::ORIGINAL_STILL_RUNS, message });
    }
    let chosen = with_slots(known, taken(seen));
    if !chosen.is_empty() && seen.vcenter.as_deref() != status.and_then(|status| status.vcenter.as_deref()) {
        // Else a restart with another vCenter would miss the machines that have no VmInstance yet.
        let message = "the vCenter that has the machines is being recorded in the status".to_owned();
        return Some(Turn::Wait { reason: reason::RECORDING, message, after: Some(RECORDED) });
    }
    if !chosen.is_empty() {
        return Some(Turn::Act(Plan::Adopt(chosen)));
    }
    if let Some(machine) = unread {
        let message = format!(
            "the vCenter cannot tell the configuration of {machine}, which the original operator may have made: its host is \
             disconnected or its files are out of reach; bring them back, or remove the machine from the vCenter's inventory \
             to give it up; until then no machine is created or removed"
        );
        return Some(wait(reason::MACHINE_UNCLEAR, message));
    }
    if let Some(turn) = plan_original_clones(clones) {
        return Some(turn);
    }
    let reported = status.and_then(|status| status.current_replicas).unwrap_or(0);
    // In its deletion the group has removed them itself.
    let removed = group.metadata.deletion_timestamp.is_some() && recorded.is_some();
    let expected = reported > 0 || (*no_folder && recorded.is_some());
    if expected && seen.members.is_empty() && !removed {
        let message = format!(
            "the status reports {reported} virtual machines of the original operator, and none is found in its folder: check \
             VC_FOLDER, VC_DATACENTER, and that the vCenter user may see them; if they are gone, remove the finalizer \
             {ORIGINAL_FINALIZER:?} from this VmGroup"
        );
        return Some(Turn::Blocked { reason: reason::ORIGINALS_NOT_FOUND, message });
    }
    let own = seen.original_folder.as_ref().filter(|folder| folder.own);
    let unrecorded = own.filter(|folder| recorded != Some(&folder.name));
    unrecorded.map(|_| Turn::Wait {
        reason: reason::ADOPTING,
        message: "the original operator's folder is being recorded in the status".to_owned(),
        after: Some(RECORDED),
    })
}

/// Waits for what the original operator may have been making when it was stopped: no later pass would look for it.
fn plan_original_clones(clones: &OriginalClones) -> Option<Turn<Plan>> {
    match clones {
        OriginalClones::Unexamined(found) => Some(Turn::LookAgain(Plan::WatchClones(found.clone()))),
        OriginalClones::Running(count) => {
            let message = format!(
                "waiting for clones that the original operator may have requested before it was stopped, for an hour at most: {count} of those \
                 that were under way in the vCenter when vm-operator first looked have not ended"
            );
            Some(Turn::Wait { reason: reason::ADOPTING, message, after: Some(CLONED) })
        }
        OriginalClones::Ended(Refresh::None) => Some(Turn::LookAgain(Plan::RefreshOriginals)),
        OriginalClones::Ended(Refresh::Requested) => {
            let message = "the inventory is brought up to date before the machines of the original operator count as found";
            Some(Turn::Wait { reason: reason::ADOPTING, message: message.to_owned(), after: Some(RECORDED) })
        }
        OriginalClones::Ended(Refresh::Served) => None,
    }
}

/// Chooses the slots of adopted machines: that of the marker, else a free one.
pub(super) fn with_slots(
    machines: &[OriginalMachine],
    mut taken: BTreeSet<i32>,
) -> Vec<(i32, OriginalMachine)> {
    let slotted = machines.iter().filter_map(|machine| Some((machine.slot?, machine.clone())));
    let mut chosen: Vec<_> = slotted.filter(|(slot, _)| taken.insert(*slot)).collect();
    let free = (0..).filter(|slot| !taken.contains(slot));
    // Those with a marker in one pass: they are known by it only while there is no VmInstance.
    chosen.extend(free.zip(machines.iter().filter(|machine| machine.slot.is_none()).cloned()).take(BATCH));
    chosen
}
