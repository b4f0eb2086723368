//! The status of a group: a pure function of the old one, what was seen and how the pass ended. The last of the four steps;
//! the driver writes it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use operator_kit::conditions::{self, Status};
use operator_kit::driver::FINALIZERS_LEFT;
use operator_kit::names::first_few;
use operator_kit::{Notice, Outcome, ReconcileError as _};

use crate::api::{ORIGINAL_FINALIZER, VmGroup, VmGroupStatus, condition, has_finalizer, phase, reason};
use crate::detach::{self, is_detached};
use crate::error::Error;

use super::apply::Done;
use super::plan::{Replacement, describe_leftovers, is_outdated, replacement, tally};
use super::seen::{FolderSeen, Member, Seen};

/// Computes the status.
#[must_use]
pub fn status(
    old: Option<&VmGroupStatus>,
    group: &VmGroup,
    seen: Option<&Seen>,
    outcome: &Outcome<Done, Error>,
    now: Timestamp,
) -> Option<VmGroupStatus> {
    let Some(seen) = seen else { return unseen(old, group, outcome, now) };
    let blind = seen.blind.as_ref();
    let in_sight = blind.is_none() && seen.other_vcenter.is_none();
    if blind.is_some_and(|blind| !blind.reported) && !matches!(outcome, Outcome::Failed(_)) {
        // Just lost, or just started: the last status stands a little longer.
        return None;
    }
    let (generation, spec) = (group.metadata.generation, &group.spec);
    let exists = count(&seen.members, |member| member.exists);
    let ready = if in_sight { count(&seen.members, |member| member.on && !member.deleting) } else { 0 };
    // The number last reported stands while the vCenter cannot be asked, and the original operator's until its machines are
    // adopted: the plan compares it with what is found.
    let unadopted = seen.members.is_empty() && has_finalizer(group, ORIGINAL_FINALIZER);
    let last = old.and_then(|old| old.replicas.or(old.current_replicas));
    let replicas = last.filter(|_| unadopted || !in_sight).unwrap_or(exists);
    let drift = if in_sight { drift(group, seen) } else { None };
    let mut verdict = Verdict::of(group, seen, outcome, ready);
    if let Some(left) = describe_leftovers(&seen.leftovers) {
        verdict.message = format!("{}; {left}", verdict.message);
    }
    let mut conditions = old.map(|old| old.conditions.clone()).unwrap_or_default();
    detach::set_condition(&mut conditions, group, "its virtual machines stay when it is deleted", now);
    let last_message = verdict.last_message(group, drift.as_deref(), &conditions);
    verdict.set(&mut conditions, group, now);
    if in_sight {
        set_details(&mut conditions, group, seen, drift, now);
    }
    let own = |folder: &Option<FolderSeen>| folder.clone().filter(|folder| folder.own);
    let folder = own(&seen.folder).map(|folder| folder.moref.value().to_owned());
    let adopted_folder = own(&seen.original_folder).map(|folder| folder.name);
    // Folder references of the old vCenter are dropped.
    let stayed = old.filter(|_| !is_moving(outcome));
    Some(VmGroupStatus {
        phase: Some(verdict.phase.to_owned()),
        current_replicas: Some(replicas),
        desired_replicas: Some(spec.replicas),
        last_message: Some(last_message),
        observed_generation: generation,
        replicas: Some(replicas),
        ready_replicas: Some(ready),
        ready: Some(format!("{ready}/{}", spec.replicas)),
        selector: Some(super::selector(group)),
        folder: folder.or_else(|| stayed.and_then(|old| old.folder.clone())),
        adopted_folder: adopted_folder.or_else(|| stayed.and_then(|old| old.adopted_folder.clone())),
        vcenter: vcenter(old, seen, outcome),
        conditions,
    })
}

/// Computes the status where a pass failed before it observed, as without the finalizer: the last status with this failure. No machine
/// counts as ready that is not looked at.
fn unseen(
    old: Option<&VmGroupStatus>,
    group: &VmGroup,
    outcome: &Outcome<Done, Error>,
    now: Timestamp,
) -> Option<VmGroupStatus> {
    let Outcome::Failed(error) = outcome else { return None };
    let verdict = Verdict::failed(group, outcome, error, error.to_string());
    let mut status = old.cloned().unwrap_or_default();
    verdict.set(&mut status.conditions, group, now);
    status.phase = Some(verdict.phase.to_owned());
    status.last_message = Some(conditions::bounded(&verdict.message).to_owned());
    (status.observed_generation, status.desired_replicas) =
        (group.metadata.generation, Some(group.spec.replicas));
    (status.ready_replicas, status.ready) = (Some(0), Some(format!("0/{}", group.spec.replicas)));
    Some(status)
}

/// Returns the vCenter that the group works in. It is recorded before the first machine is requested.
fn vcenter(old: Option<&VmGroupStatus>, seen: &Seen, outcome: &Outcome<Done, Error>) -> Option<String> {
    let recorded = old.and_then(|old| old.vcenter.clone());
    let takes = seen.other_vcenter.is_none() || is_moving(outcome);
    seen.vcenter.clone().filter(|_| takes).or(recorded)
}

/// Returns whether the plan has moved the group to the connected vCenter.
fn is_moving(outcome: &Outcome<Done, Error>) -> bool {
    matches!(outcome, Outcome::Waiting(reason::MOVING_TO_VCENTER, _))
}

/// Returns the events for conditions other than Ready that became a matter for a person.
#[must_use]
pub fn news(old: Option<&VmGroupStatus>, new: &VmGroupStatus) -> Vec<Notice> {
    let reason_in = |status: &VmGroupStatus, type_: &str| {
        conditions::get(&status.conditions, type_).map(|condition| condition.reason.clone())
    };
    let matters =
        [(condition::CONFIG_SYNCED, reason::OUTDATED_MACHINES), (condition::ORPHANS_FOUND, reason::ORPHANS)];
    let is_new = |(type_, reason): &(&str, &'static str)| {
        reason_in(new, type_).as_deref() == Some(*reason)
            && old.and_then(|old| reason_in(old, type_)).as_deref() != Some(*reason)
    };
    let new_matters = matters.into_iter().filter(is_new);
    let conditions = new_matters.filter_map(|(type_, _)| conditions::get(&new.conditions, type_));
    let notice =
        |condition: &Condition| Notice::warning(reason::intern(&condition.reason), &*condition.message);
    let old = old.map(|old| old.conditions.as_slice()).unwrap_or_default();
    conditions.map(notice).chain(detach::news(old, &new.conditions)).collect()
}

/// Returns how many machines were made from an earlier spec, for people; `None` if there are none.
fn drift(group: &VmGroup, seen: &Seen) -> Option<String> {
    let revision = group.spec.revision();
    let outdated = count(&seen.members, |member| member.exists && is_outdated(member, &revision));
    let exists = count(&seen.members, |member| member.exists);
    (outdated > 0).then(|| {
        let machines = if exists == 1 { "machine" } else { "machines" };
        let were = if outdated == 1 { "was" } else { "were" };
        let remedy = match replacement(group, seen) {
            Replacement::Made => {
                ": delete one VmInstance to have its machine replaced, and the others when that one is ready"
                    .to_owned()
            }
            Replacement::InDoubt(member) => {
                let name = member.key.name();
                format!(": before you have one replaced, VmInstance {name} has to have its machine: see what it says")
            }
            Replacement::None => String::new(),
        };
        format!(
            "{outdated} of {exists} virtual {machines} {were} made from an earlier cpu, memory or template; running machines are \
             not changed{remedy}"
        )
    })
}

/// Sets the conditions that say more about the machines.
fn set_details(
    conditions: &mut Vec<Condition>,
    group: &VmGroup,
    seen: &Seen,
    drift: Option<String>,
    now: Timestamp,
) {
    let generation = group.metadata.generation;
    let (status, reason, message) = match drift {
        None => (Status::True, reason::AS_ASKED, String::new()),
        Some(drift) => (Status::False, reason::OUTDATED_MACHINES, drift),
    };
    conditions::set(conditions, condition::CONFIG_SYNCED, status, reason, &message, generation, now);
    let (status, reason, message) = match seen.orphans.len() {
        0 => (Status::False, reason::NO_ORPHANS, String::new()),
        _ => (
            Status::True,
            reason::ORPHANS,
            format!(
                "virtual machines in the group's folders that have an owner marker of its namespace in this cluster and belong to no \
                 VmInstance, such as copies made by hand, or machines whose group was detached: {}; the operator does not touch them",
                first_few(&seen.orphans)
            ),
        ),
    };
    conditions::set(conditions, condition::ORPHANS_FOUND, status, reason, &message, generation, now);
}

fn count(members: &[Member], f: impl Fn(&Member) -> bool) -> i32 {
    i32::try_from(members.iter().filter(|member| f(member)).count()).unwrap_or(i32::MAX)
}

/// The Ready condition, and the phase that goes with it.
struct Verdict {
    ready: Status,
    phase: &'static str,
    reason: String,
    message: String,
}

impl Verdict {
    /// Returns the message of the group's row: that of Ready, with what it does not say.
    fn last_message(&self, group: &VmGroup, drift: Option<&str>, conditions: &[Condition]) -> String {
        // In its deletion Ready says what becomes of the machines.
        let is_staying = group.metadata.deletion_timestamp.is_none();
        let drift = drift.filter(|_| is_staying);
        let detached = conditions::get(conditions, condition::DETACHED)
            .filter(|_| is_staying)
            .map(|detached| &*detached.message);
        let parts = [Some(&*self.message), drift, detached];
        conditions::bounded(&parts.into_iter().flatten().collect::<Vec<_>>().join("; ")).to_owned()
    }

    /// Sets Ready and Progressing.
    fn set(&self, conditions: &mut Vec<Condition>, group: &VmGroup, now: Timestamp) {
        let mut set = |type_: &str, status: Status, reason: &str, message: &str| {
            conditions::set(conditions, type_, status, reason, message, group.metadata.generation, now);
        };
        set(condition::READY, self.ready, &self.reason, &self.message);
        let (progressing, why) = self.progressing();
        let message = if progressing == Status::False { "" } else { &self.message };
        set(condition::PROGRESSING, progressing, why, message);
    }

    /// Returns status and reason of Progressing: whether work is in flight.
    fn progressing(&self) -> (Status, &str) {
        match self.phase {
            phase::PENDING if self.reason == reason::PAUSED => (Status::False, reason::PAUSED),
            phase::DELETING if self.reason == FINALIZERS_LEFT => (Status::False, reason::IDLE),
            phase::PENDING | phase::DELETING if self.ready == Status::Unknown => {
                (Status::Unknown, &self.reason)
            }
            phase::PENDING | phase::DELETING => (Status::True, reason::SCALING),
            _ => (Status::False, reason::IDLE),
        }
    }

    fn of(group: &VmGroup, seen: &Seen, outcome: &Outcome<Done, Error>, ready: i32) -> Self {
        let (wanted, ready) = (usize::try_from(group.spec.replicas), usize::try_from(ready));
        let tally = tally(ready.unwrap_or(0), wanted.unwrap_or(0));
        let phase = phase_of(group, outcome);
        let new =
            |ready, phase, reason: &str, message| Self { ready, phase, reason: reason.to_owned(), message };
        match outcome {
            Outcome::Settled => new(Status::True, phase::RUNNING, reason::AS_ASKED, tally),
            Outcome::Acted(_) if group.metadata.deletion_timestamp.is_some() => new(
                Status::False,
                phase,
                reason::REMOVING,
                format!(
                    "the virtual machines are being {}",
                    if is_detached(group) { "released" } else { "removed" }
                ),
            ),
            Outcome::Acted(_) => new(Status::False, phase, reason::SCALING, tally),
            Outcome::Waiting(reason, message) | Outcome::Blocked(reason, message) => {
                let unknown = seen.blind.as_ref().is_some_and(|blind| blind.reason == *reason);
                new(if unknown { Status::Unknown } else { Status::False }, phase, reason, message.clone())
            }
            Outcome::Failed(error) => Self::failed(group, outcome, error, format!("{tally}; {error}")),
        }
    }

    fn failed(group: &VmGroup, outcome: &Outcome<Done, Error>, error: &Error, message: String) -> Self {
        let phase = phase_of(group, outcome);
        Self { ready: Status::False, phase, reason: error.reason().to_owned(), message }
    }
}

/// Returns the phase of a group that is not as its spec asks.
fn phase_of(group: &VmGroup, outcome: &Outcome<Done, Error>) -> &'static str {
    match outcome.help() {
        Some(_) => phase::ERROR,
        None if group.metadata.deletion_timestamp.is_some() => phase::DELETING,
        None => phase::PENDING,
    }
}

#[cfg(test)]
mod tests;
