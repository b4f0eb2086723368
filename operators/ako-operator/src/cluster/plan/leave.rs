//! How AKO leaves a Cluster, and what goes before the Cluster is let go. Pure.

use jiff::Timestamp;
use operator_kit::Turn;
use operator_kit::names::first_few;

use super::deadline::{self, Overdue};
use super::waits::{wait_for_deletion, wait_for_end, wait_for_workload};
use super::{About, Decision, Plan};
use crate::api::{FORCE_ANNOTATION, reason};
use crate::cluster::seen::{Cleanup, Installed, Left, Purge, Seen, Set, State, Workload};
use crate::delivery::{NAMESPACE, Side};
use crate::user::secret_name;

/// What AKO has left on AVI is looked for once it is known whether AKO was delivered, and from where.
pub(super) fn wait_for_record(seen: &Seen) -> Option<Turn<Plan>> {
    let is_unclear = seen.is_deleting && seen.is_held && !seen.unread.is_empty();
    if !is_unclear || seen.is_forced || matches!(seen.workload, Workload::NotInitialized) {
        return None;
    }
    let message = format!(
        "AKODeploymentConfigs do not parse, and one of them may say where on AVI the AKO of the Cluster worked: {}; correct them, see their \
         events; or remove what AKO and its user have left on AVI by hand, then annotate the Cluster with {FORCE_ANNOTATION}=true",
        first_few(&seen.unread)
    );
    Some(Turn::Blocked { reason: reason::ADC_INVALID, message })
}

/// Decides what has to be done before the Cluster can be let go; `None`: nothing.
pub(super) fn leave(seen: &Seen, now: Timestamp) -> Option<Turn<Plan>> {
    if !seen.is_held {
        return None;
    }
    match &seen.workload {
        Workload::Unread => None,
        // Its status may have been lost after AKO was delivered.
        Workload::NotInitialized if !seen.is_recorded => None,
        Workload::NotInitialized | Workload::Closed { .. } if seen.is_forced => forced_purge(seen),
        Workload::NotInitialized => purge(seen),
        Workload::Closed { reason, message } => match deadline::unreachable(seen, now) {
            Overdue::No => Some(wait_for_workload(seen, reason, message)),
            Overdue::Said(report) => Some(Turn::LookAgain(Plan::Report(*report))),
            Overdue::Yes => leave_without_ako(seen),
        },
        Workload::Open(_) if seen.needs_watch => Some(Turn::LookAgain(Plan::Watch)),
        Workload::Open(state) => clean(seen, state, now),
    }
}

/// Decides what has to be done for a Cluster that is being deleted, and whose AKO may still run where nothing ends it: its user goes first,
/// so that it makes nothing more. What keeps the user keeps what AKO made as well.
fn leave_without_ako(seen: &Seen) -> Option<Turn<Plan>> {
    let purge = if seen.is_forced { forced_purge } else { purge };
    drop_user(seen).map(|decision| decision.turn).or_else(|| purge(seen))
}

fn purge(seen: &Seen) -> Option<Turn<Plan>> {
    (seen.purge == Purge::Possible).then_some(Turn::Act(Plan::Purge { once: false }))
}

/// Decides what has to be done in a workload cluster that AKO is to leave, or without it where it takes no change: as where it cannot be
/// reached, as AKO runs on.
fn clean(seen: &Seen, state: &State, now: Timestamp) -> Option<Turn<Plan>> {
    let turn = clean_in_workload(seen, state, now)?;
    let is_change = match &turn {
        Turn::LookAgain(Plan::DeleteConfig { .. }) => true,
        Turn::LookAgain(Plan::Remove(targets)) => targets.iter().any(|target| target.side == Side::Workload),
        _ => false,
    };
    if !is_change {
        return Some(turn);
    }
    if seen.is_forced && deadline::is_refused(seen) {
        return leave_without_ako(seen);
    }
    match deadline::refused(seen, now) {
        Overdue::No => Some(turn),
        Overdue::Said(report) => Some(Turn::LookAgain(Plan::Report(*report))),
        Overdue::Yes => leave_without_ako(seen),
    }
}

fn clean_in_workload(seen: &Seen, state: &State, now: Timestamp) -> Option<Turn<Plan>> {
    let Some(set) = &state.installed.set else {
        if seen.is_forced
            && let Some(turn) = forced_purge(seen)
        {
            return Some(turn);
        }
        if !seen.addon.is_empty() && state.installed.delete_config == Some(false) {
            // An AKO that the add-on manager installs late makes nothing.
            return Some(tell(state, None));
        }
        // It may have gone before AKO had removed what it made, whatever it was asked.
        if seen.is_recorded
            && !seen.is_forced
            && let Some(turn) = purge(seen)
        {
            return Some(turn);
        }
        let Installed { rest, ending, .. } = &state.installed;
        return match (seen.is_deleting, rest.is_empty(), ending.is_empty()) {
            (true, ..) | (false, true, true) => None,
            (false, false, _) => Some(Turn::LookAgain(Plan::Remove(rest.clone()))),
            (false, true, false) => Some(wait_for_deletion(ending)),
        };
    };
    if let Some(since) = set.ending_since {
        return match deadline::ending(seen, since, now) {
            // The Cluster that a person wants gone waits for no Pod.
            _ if seen.is_forced && seen.is_deleting => forced_purge(seen),
            Overdue::No => Some(wait_for_end()),
            Overdue::Said(report) => Some(Turn::LookAgain(Plan::Report(*report))),
            Overdue::Yes => leave_without_ako(seen),
        };
    }
    if seen.is_forced && set.is_ours {
        return give_up(seen, set);
    }
    Some(match (state.installed.delete_config, set.answer) {
        (Some(false), _) => tell(state, Some(set)),
        // Its StatefulSet goes when the add-on manager removes it.
        _ if seen.is_forced => return forced_purge(seen),
        // AKO gave up, or does not learn that it has to remove what it made. The operator does once the Pods are gone: never what an AKO
        // that runs could make again.
        (None, _) if seen.purge != Purge::Impossible && set.is_ours => return give_up(seen, set),
        (Some(true), Cleanup::Timeout) if seen.purge != Purge::Impossible => return give_up(seen, set),
        (None, _) => Turn::Blocked {
            reason: reason::CLEANUP_IMPOSSIBLE,
            message: format!(
                "AKO does not learn that it has to remove what it made, as its ConfigMap in {NAMESPACE} is gone: remove what is left on \
                 AVI by hand, then annotate the Cluster with {FORCE_ANNOTATION}=true"
            ),
        },
        (Some(true), Cleanup::Silent | Cleanup::Started) => return wait_for_answer(seen, set, now),
        (Some(true), Cleanup::Timeout) => Turn::Blocked {
            reason: reason::CLEANUP_TIMED_OUT,
            message: format!(
                "AKO gave up removing what it made on AVI: look at its log, and delete Pod {NAMESPACE}/ako-0 in the workload cluster \
                 to let it try again; or remove what is left on AVI by hand, then annotate the Cluster with {FORCE_ANNOTATION}=true"
            ),
        },
        // AKO may have overlooked something, or the answer is older than the question.
        (Some(true), Cleanup::Done) if seen.purge == Purge::Possible => return purge(seen),
        (Some(true), Cleanup::Done) if seen.is_deleting || !set.is_ours => return None,
        (Some(true), Cleanup::Done) => return give_up(seen, set),
    })
}

/// Waits until AKO says that it has removed what it made, as long as it may take.
fn wait_for_answer(seen: &Seen, set: &Set, now: Timestamp) -> Option<Turn<Plan>> {
    match deadline::silent(seen, now) {
        Overdue::No => {}
        Overdue::Said(report) => return Some(Turn::LookAgain(Plan::Report(*report))),
        // As if AKO had said that it gave up.
        Overdue::Yes => return give_up(seen, set).map(deadline::keep_reason),
    }
    let is_limited = seen.patience.limit.is_some() && seen.purge != Purge::Impossible;
    let end = if is_limited {
        "--cleanup-deadline of the operator ends that; if it takes long"
    } else {
        "if that does not end"
    };
    let message = format!(
        "AKO removes what it made on AVI; {end}, look at the log of Pod {NAMESPACE}/ako-0 in the workload cluster, or remove it by hand and \
         annotate the Cluster with {FORCE_ANNOTATION}=true"
    );
    Some(Turn::Wait { reason: reason::CLEANING_UP, message, after: seen.patience.next_look(now) })
}

/// Tells AKO to remove what it made. `set`: its StatefulSet, which may have an answer of an earlier time.
pub(super) fn tell(state: &State, set: Option<&Set>) -> Turn<Plan> {
    let earlier = set.filter(|set| set.answer != Cleanup::Silent).map(|set| set.target.clone());
    Turn::LookAgain(Plan::DeleteConfig { stale: earlier, changes: state.installed.untold.clone() })
}

/// Ends an AKO of which nothing more is expected.
fn give_up(seen: &Seen, set: &Set) -> Option<Turn<Plan>> {
    if set.is_ours {
        return Some(Turn::LookAgain(Plan::Remove(vec![set.target.clone()])));
    }
    if let Some(turn) = withdraw(seen) {
        return Some(turn);
    }
    if seen.is_deleting {
        // It makes nothing more: it knows that it has to remove everything.
        return purge(seen);
    }
    let message = format!(
        "the operator removes what AKO made on AVI once the add-on manager has removed the StatefulSet {NAMESPACE}/ako from the workload \
         cluster; if that lasts, remove it by hand, with the PackageInstall or App that it is of"
    );
    Some(Turn::Wait { reason: reason::AKO_ENDING, message, after: None })
}

/// Decides whether the add-on Secret has to go: after AKO has learnt from it.
pub(super) fn withdraw(seen: &Seen) -> Option<Turn<Plan>> {
    (!seen.addon.is_empty()).then(|| Turn::LookAgain(Plan::Remove(seen.addon.clone())))
}

/// A person who does not wait for AKO has what it left removed, if that can be: once, whatever comes of it.
fn forced_purge(seen: &Seen) -> Option<Turn<Plan>> {
    (seen.purge == Purge::Possible).then_some(Turn::LookAgain(Plan::Purge { once: true }))
}

/// Decides whether the user of the Cluster has to go: last, as AKO needs it until then.
pub(super) fn drop_user(seen: &Seen) -> Option<Decision> {
    let turn = match seen.user {
        Left::No => return None,
        Left::Removable => Turn::LookAgain(Plan::RemoveUser { once: seen.is_forced }),
        Left::Unknown if seen.is_forced => Turn::LookAgain(Plan::RemoveUser { once: true }),
        Left::Unknown => {
            let message = format!(
                "no AKODeploymentConfig that can be read has recorded the Cluster, so that nothing says on which controller its user is: remove \
                 what has the marks of ako-{} there by hand, and the user that the Secret {}/{} names, then delete the Secret",
                seen.avi_name,
                seen.key.namespace(),
                secret_name(seen.key.name())
            );
            Turn::Blocked { reason: reason::USER_CLEANUP_IMPOSSIBLE, message }
        }
    };
    Some(Decision { turn, about: About::User })
}

/// The hooks go before the finalizer: once that is gone, nothing reconciles a Cluster that is being deleted.
pub(super) fn let_go(seen: &Seen) -> Turn<Plan> {
    if seen.hooks.present.is_empty() {
        return Turn::Gone;
    }
    Turn::LookAgain(Plan::Hook { add: Vec::new(), remove: seen.hooks.present.clone() })
}
