//! What to do next about one group: a total, pure function of the object and what was seen. Reads and writes nothing; `apply`
//! carries the plan out and comes next.

mod adoption;
mod census;
mod other_vcenter;
mod texts;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use infra_clients::vsphere::{Error as Fault, Kind, MoRef};
use operator_kit::{Key, Turn};

use crate::api::{FINALIZER, ORIGINAL_FINALIZER, VmGroup, has_finalizer, is_orphaning, reason};
use crate::detach::{self, Detach, is_detached};
use crate::in_flight::FolderChange;
use crate::visibility::Blind;
use crate::vminstance::{Refresh, Unseen};

use super::seen::{Answer, FolderProgress, Member, OriginalMachine, Seen, Stray};
use adoption::plan_adoption;
pub(super) use census::chooses;
pub use texts::{describe_kept, describe_leftovers, tally};
use texts::{jam, trouble};

/// VmInstances created, deleted or changed in one pass: a pass is short, and an edit of the spec takes effect after it.
const BATCH: usize = 50;
/// When to look whether the status that the driver writes has been written.
pub(super) const RECORDED: Duration = Duration::from_millis(500);

/// What to change.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Bring up to date what decides which VmInstances to remove, among those with these machines.
    TakeCensus(Vec<MoRef>),
    /// Ask for these machines of VmInstances, each by itself.
    LookUp(Vec<(Key, MoRef)>),
    /// The same, as other machines were answered for later.
    LookUpAgain(Vec<(Key, MoRef)>),
    /// Wait for these clones, which the original operator may have requested.
    WatchClones(HashSet<MoRef>),
    /// Bring the inventory up to date before the machines of the original operator count as found.
    RefreshOriginals,
    /// Change VmInstances and create the folder.
    Scale(Scale),
    /// Create a VmInstance for each of these machines of the original operator, in these slots.
    Adopt(Vec<(i32, OriginalMachine)>),
    /// Remove the finalizer of the original operator: every machine is adopted.
    FinishAdoption,
    /// Request that the inventory be brought up to date.
    Refresh,
    /// Remove this empty folder.
    RemoveFolder(MoRef),
    /// Report the fault of the last change of the folder, and forget it.
    FailFolder(FolderChange, Fault),
    /// Forget the last change of the folder: its outcome is dealt with.
    SettleFolder,
    /// Set the annotation `detach`, since the machines are to stay.
    Detach,
}

/// Changes of VmInstances and the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// Create the folder.
    pub create_folder: bool,
    /// Slots to create a VmInstance for.
    pub create: Vec<i32>,
    /// VmInstances to delete: key and UID.
    pub delete: Vec<(Key, String)>,
    /// VmInstances that get the present spec, since no machine was requested from their old one.
    pub respec: Vec<Key>,
}

impl Scale {
    /// Returns whether it makes or removes anything: then the group has to be as the API server has it. Nothing would remove what is
    /// made for a group that is gone, what is made for an earlier spec would be removed again, and what is removed for one cannot be
    /// brought back.
    #[must_use]
    pub fn needs_current_group(&self) -> bool {
        self.create_folder || !self.create.is_empty() || !self.delete.is_empty()
    }
}

/// Decides what to change.
#[must_use]
pub fn plan(group: &VmGroup, seen: &Seen) -> Turn<Plan> {
    // The garbage collector removes its finalizer while the machines are still being released.
    if is_orphaning(group) && !is_detached(group) {
        return Turn::Act(Plan::Detach);
    }
    if group.spec.is_paused() {
        let message = match group.metadata.deletion_timestamp {
            None => "paused: set spec.paused to false to resume",
            Some(_) => "being deleted, and paused: set spec.paused to false to go on with the deletion",
        };
        return wait(reason::PAUSED, message.to_owned());
    }
    if let Some(turn) = other_vcenter::plan(group, seen) {
        return turn;
    }
    if group.metadata.deletion_timestamp.is_some() {
        if let Some(message) = detach::problem(group) {
            return Turn::Blocked { reason: reason::DETACH_UNCLEAR, message };
        }
        return plan_former(group, seen).unwrap_or_else(|| plan_deletion(group, seen));
    }
    if let Some(blind) = &seen.blind {
        return plan_blind(blind);
    }
    if let Some(turn) = plan_folder_request(seen) {
        return turn;
    }
    if has_finalizer(group, ORIGINAL_FINALIZER) {
        // A machine that one of these names would be adopted a second time.
        let turn = plan_unread(seen).or_else(|| plan_adoption(group, seen));
        return turn.unwrap_or(Turn::Act(Plan::FinishAdoption));
    }
    if is_too_large(group, seen) {
        let message = format!(
            "spec.replicas is {}, and at most {} are allowed: lower it, or raise MAX_REPLICAS (--max-replicas) of the operator; nothing is \
             changed until then",
            group.spec.replicas, seen.max_replicas
        );
        return Turn::Blocked { reason: reason::TOO_MANY_REPLICAS, message };
    }
    let scale = plan_scale(group, seen);
    if !scale.delete.is_empty()
        && let Some(turn) = census::plan(group, seen)
    {
        return turn;
    }
    let wanted = usize::try_from(group.spec.replicas).unwrap_or(0);
    match (plan_unread(seen), strays_in_place(seen, wanted).next()) {
        _ if scale != Scale::default() => Turn::Act(Plan::Scale(scale)),
        (Some(unread), _) => unread,
        (None, Some(stray)) if seen.members.len() < wanted => {
            Turn::Blocked { reason: reason::INVALID_INSTANCE, message: texts::describe_stray(stray) }
        }
        _ => summarize(group, seen),
    }
}

fn is_too_large(group: &VmGroup, seen: &Seen) -> bool {
    group.spec.replicas > seen.max_replicas
}

/// What follows when a user deletes a VmInstance to have its machine replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement<'a> {
    /// Another machine is made.
    Made,
    /// Its machine is destroyed, and perhaps no other is made: this member has none.
    InDoubt(&'a Member),
    /// No other is made.
    None,
}

/// Returns what follows when a user deletes a VmInstance of the group.
#[must_use]
pub fn replacement<'a>(group: &VmGroup, seen: &'a Seen) -> Replacement<'a> {
    // A VmInstance that is deleted waits until the annotation is clear.
    let is_staying = group.metadata.deletion_timestamp.is_none() && detach::of(group) == Detach::No;
    let is_scaled = !group.spec.is_paused() && !is_too_large(group, seen);
    let is_adopted = !has_finalizer(group, ORIGINAL_FINALIZER);
    if !(is_staying && is_scaled && is_adopted && seen.unread.is_empty()) {
        return Replacement::None;
    }
    // What keeps it from its machine would most likely keep the next one from its own, also where it is tried again and again.
    let is_without = |member: &&Member| !member.exists && !member.deleting;
    seen.members.iter().find(is_without).map_or(Replacement::Made, Replacement::InDoubt)
}

/// Names the VmInstances that do not parse: nothing is known of their slots and machines.
fn plan_unread(seen: &Seen) -> Option<Turn<Plan>> {
    let message = texts::describe_unread(&seen.unread)?;
    Some(Turn::Blocked { reason: reason::INVALID_INSTANCE, message })
}

/// Returns the strays in the slots that a group of this size begins with. The machine of each may still run, so none is made in its
/// place.
fn strays_in_place(seen: &Seen, wanted: usize) -> impl Iterator<Item = &Stray> {
    seen.strays.iter().filter(move |stray| usize::try_from(stray.slot).is_ok_and(|slot| slot < wanted))
}

fn plan_blind(blind: &Blind) -> Turn<Plan> {
    let (reason, message) = (blind.reason, blind.message.clone());
    if blind.needs_help && blind.reported { Turn::Blocked { reason, message } } else { wait(reason, message) }
}

/// Returns the next step for the machines of the original operator where the group is being deleted: they are adopted, and then
/// removed like any other. `None` if nothing is to be done for them.
fn plan_former(group: &VmGroup, seen: &Seen) -> Option<Turn<Plan>> {
    let is_unclear = seen.blind.is_some() || !seen.unread.is_empty();
    if is_unclear || is_detached(group) || !has_finalizer(group, ORIGINAL_FINALIZER) {
        return None;
    }
    // Where the group has no other finalizer, this one keeps it until its machines are gone.
    let last = || has_finalizer(group, FINALIZER).then_some(Turn::Act(Plan::FinishAdoption));
    plan_adoption(group, seen).or_else(last)
}

/// Waits for the last change of the folder, or reports that it failed.
fn plan_folder_request(seen: &Seen) -> Option<Turn<Plan>> {
    match seen.request.as_ref()? {
        // Created a moment ago by a request whose response was lost, or by another client, and then a folder serves either
        // way; or something else has the name.
        FolderProgress::Failed(FolderChange::Create, fault) if fault.kind() == Kind::DuplicateName => {
            match (&seen.folder, seen.refresh) {
                (Some(_), _) => Some(Turn::LookAgain(Plan::SettleFolder)),
                (None, Refresh::None) => Some(Turn::LookAgain(Plan::Refresh)),
                (None, Refresh::Requested) => Some(refreshing()),
                (None, Refresh::Served) => {
                    Some(Turn::LookAgain(Plan::FailFolder(FolderChange::Create, fault.clone())))
                }
            }
        }
        FolderProgress::Failed(FolderChange::Remove, fault) if fault.kind() == Kind::NotFound => {
            Some(Turn::LookAgain(Plan::SettleFolder))
        }
        FolderProgress::Failed(change, fault) => {
            Some(Turn::LookAgain(Plan::FailFolder(*change, fault.clone())))
        }
        FolderProgress::Running(FolderChange::Remove) => {
            Some(wait(reason::REMOVING, "the folder is being removed".to_owned()))
        }
        // Instances are created meanwhile.
        FolderProgress::Running(FolderChange::Create) => None,
        FolderProgress::Ended => Some(Turn::LookAgain(Plan::SettleFolder)),
    }
}

/// Returns the slots for which no VmInstance can be created.
fn taken(seen: &Seen) -> BTreeSet<i32> {
    let leftovers = seen.leftovers.iter().map(|leftover| leftover.slot);
    let strays = seen.strays.iter().map(|stray| stray.slot);
    seen.members.iter().map(|member| member.slot).chain(leftovers).chain(strays).collect()
}

fn plan_scale(group: &VmGroup, seen: &Seen) -> Scale {
    let spec = &group.spec;
    let wanted = usize::try_from(spec.replicas).unwrap_or(0);
    let revision = spec.revision();
    let mut live: Vec<&Member> = seen.members.iter().filter(|member| !member.deleting).collect();

    let taken = taken(seen);
    // A machine that is being replaced keeps its slot and its name, unless its removal may take long.
    let is_replaced = |member: &&Member| {
        let in_place = usize::try_from(member.slot).is_ok_and(|slot| slot < wanted);
        member.deleting && in_place && !member.cloning && member.trouble.is_none()
    };
    let replaced = seen.members.iter().filter(is_replaced).count();
    let strays = strays_in_place(seen, wanted).count();
    let missing = wanted.saturating_sub(live.len() + replaced + strays).min(BATCH);
    // The slot of one that does not parse is not known.
    let missing = if seen.unread.is_empty() { missing } else { 0 };
    let create = (0..).filter(|slot| !taken.contains(slot)).take(missing).collect();

    // Outdated ones before others of the same loss, then the highest slot.
    live.sort_by_key(|member| (loss(member), !is_outdated(member, &revision), -member.slot));
    let surplus = live.len().saturating_sub(wanted);
    let (victims, kept) = live.split_at(surplus);
    let creating = matches!(seen.request, Some(FolderProgress::Running(FolderChange::Create)));

    Scale {
        create_folder: seen.folder.is_none() && !creating && (wanted > 0 || !seen.members.is_empty()),
        create,
        delete: victims.iter().take(BATCH).map(|member| (member.key.clone(), member.uid.clone())).collect(),
        respec: kept
            .iter()
            .filter(|member| is_to_respec(member, &revision))
            .map(|member| member.key.clone())
            .take(BATCH)
            .collect(),
    }
}

/// What is lost with a VmInstance, the least first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// Nothing: the machine was moved out of the operator's folder, and stays.
    Moved,
    NoMachine,
    /// It is off, or on a host that does not answer.
    MachineThatDoesNotWork,
    MachineThatMayWork,
}

fn loss(member: &Member) -> Loss {
    let works = match member.answer {
        Answer::Given { works: Some(works) } => works,
        _ => member.on,
    };
    match member {
        Member { unseen: Unseen::Moved, .. } => Loss::Moved,
        Member { unseen: Unseen::Hidden | Unseen::Unread, .. } => Loss::MachineThatMayWork,
        Member { exists: true, .. } if works => Loss::MachineThatMayWork,
        Member { exists: true, .. } => Loss::MachineThatDoesNotWork,
        _ => Loss::NoMachine,
    }
}

/// Returns whether an instance is to get the group's present spec: nothing was made from its own, or its machine was made from the
/// group's and a user has edited the instance since. A machine that is replaced would be made from the edit.
fn is_to_respec(member: &Member, revision: &str) -> bool {
    let is_edited = member.made_from.as_deref() == Some(revision);
    member.asked != revision && (is_edited || (!member.exists && !member.begun))
}

/// Returns whether a machine is known to be made from another spec.
#[must_use]
pub fn is_outdated(member: &Member, revision: &str) -> bool {
    member.made_from.as_deref().is_some_and(|made_from| made_from != revision)
}

/// The turn where nothing is to be changed.
fn summarize(group: &VmGroup, seen: &Seen) -> Turn<Plan> {
    let wanted = usize::try_from(group.spec.replicas).unwrap_or(0);
    let ready = seen.members.iter().filter(|member| member.on && !member.deleting).count();
    let tally = tally(ready, wanted);
    match trouble(&seen.members) {
        // Reasons are constants of the code; one of a newer operator is shown as the general one.
        Some((reason, message)) => {
            Turn::Blocked { reason: reason::intern(&reason), message: format!("{tally}; {message}") }
        }
        None if ready == wanted && seen.members.len() == wanted => Turn::Settled,
        None => {
            wait(reason::SCALING, jam(&seen.members).map_or(tally.clone(), |jam| format!("{tally}; {jam}")))
        }
    }
}

fn plan_deletion(group: &VmGroup, seen: &Seen) -> Turn<Plan> {
    let live = seen.members.iter().filter(|member| !member.deleting);
    let delete: Vec<_> = live.take(BATCH).map(|member| (member.key.clone(), member.uid.clone())).collect();
    if !delete.is_empty() {
        return Turn::Act(Plan::Scale(Scale { delete, ..Scale::default() }));
    }
    if !seen.members.is_empty() {
        let verb = if is_detached(group) { "release" } else { "remove" };
        // A machine that is not seen may exist all the same.
        let left = match (seen.members.iter().all(|member| member.exists), seen.members.len()) {
            (true, 1) => format!("1 virtual machine is left to {verb}"),
            (true, n) => format!("{n} virtual machines are left to {verb}"),
            (false, 1) => format!("1 VmInstance is left to {verb}"),
            (false, n) => format!("{n} VmInstances are left to {verb}"),
        };
        return match (trouble(&seen.members), &seen.blind) {
            (_, Some(blind)) => plan_blind(blind),
            (Some((reason, text)), None) => {
                Turn::Blocked { reason: reason::intern(&reason), message: format!("{left}; {text}") }
            }
            (None, None) => wait(reason::REMOVING, left),
        };
    }
    if let Some(turn) = plan_unread(seen) {
        return turn;
    }
    if is_detached(group) {
        return Turn::Gone;
    }
    match &seen.blind {
        Some(blind) => plan_blind(blind),
        None => plan_folder_removal(seen),
    }
}

/// Removes the group's own folders that are empty; machines that come into one meanwhile are unregistered, not destroyed. Before it
/// keeps a folder that is not empty, it requests a refresh: the inventory may still show the last machine.
fn plan_folder_removal(seen: &Seen) -> Turn<Plan> {
    if let Some(turn) = plan_folder_creation(seen).or_else(|| plan_folder_request(seen)) {
        return turn;
    }
    let folders: Vec<_> = seen.folder.iter().chain(&seen.original_folder).collect();
    if let Some(empty) = folders.iter().find(|folder| folder.own && folder.children == 0) {
        return Turn::Act(Plan::RemoveFolder(empty.moref.clone()));
    }
    match seen.refresh {
        _ if folders.is_empty() => Turn::Gone,
        Refresh::None => Turn::LookAgain(Plan::Refresh),
        Refresh::Requested => {
            wait(reason::REMOVING, "every virtual machine is gone; the folder is next".to_owned())
        }
        Refresh::Served => Turn::Gone,
    }
}

/// Waits for the end of a folder's creation: the folder that it makes is to be removed. One that failed may have made it.
fn plan_folder_creation(seen: &Seen) -> Option<Turn<Plan>> {
    match (seen.request.as_ref()?, seen.refresh) {
        (FolderProgress::Running(FolderChange::Create), _) => {
            Some(wait(reason::REMOVING, "the folder is still being created, and is removed then".to_owned()))
        }
        (FolderProgress::Failed(FolderChange::Create, _), Refresh::None) => {
            Some(Turn::LookAgain(Plan::Refresh))
        }
        (FolderProgress::Failed(FolderChange::Create, _), Refresh::Requested) => Some(refreshing()),
        (FolderProgress::Failed(FolderChange::Create, _), Refresh::Served) => {
            Some(Turn::LookAgain(Plan::SettleFolder))
        }
        _ => None,
    }
}

fn refreshing() -> Turn<Plan> {
    wait(reason::REFRESHING, "the inventory is being brought up to date".to_owned())
}

fn wait(reason: &'static str, message: String) -> Turn<Plan> {
    Turn::Wait { reason, message, after: None }
}

#[cfg(test)]
mod tests;
