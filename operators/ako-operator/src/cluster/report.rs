//! What a Cluster's conditions are to say: a pure function of what was seen and what is decided.
//!
//! Conditions outlive the process, so that each event is published once, when the reason changes.

use infra_clients::capi::Kind;
use operator_kit::conditions::Status;
use operator_kit::{Notice, ReconcileError as _, Turn};

use super::plan::deadline::{End, not_taken};
use super::plan::{About, Plan, explain};
use super::seen::{Delivery, Difference, Left, Obstacle, Purge, Seen, State, Want, Workload};
use crate::api::condition::{AKO_INSTALLED, IP_FAMILY_VALID, OWNED, RESOURCES_CLEANED_UP, USER_CLEANED_UP};
use crate::api::{FORCE_ANNOTATION, MOVE_ANNOTATION, reason, says_leaving, says_nowhere};
use crate::conditions::Said;
use crate::error::Error;

const TO_LEAVE: &str = "AKO is to leave the Cluster, and nothing was changed for that yet: AviResourceCleanupSucceeded says what it waits for";
const LEAVING: &str = "AKO leaves the Cluster, or has left it: AviResourceCleanupSucceeded and AviUserCleanupSucceeded say how far that is";
const CLEAN: &str = "AKO has removed what it made on AVI, or there was nothing";

/// A change of a Cluster's conditions.
#[derive(Clone, Debug)]
pub struct Report {
    /// Conditions to set.
    pub set: Vec<Said>,
    /// Types of conditions to remove.
    pub remove: Vec<&'static str>,
    /// The event for the change.
    pub notice: Option<Notice>,
}

/// Returns how the conditions have to change before a turn ends the pass; `None` if they are right, or the pass goes on.
#[must_use]
pub fn report(seen: &Seen, turn: &Turn<Plan>, about: About) -> Option<Report> {
    let is_leaving = seen.is_deleting || seen.want == Want::Nothing || matches!(turn, Turn::Gone);
    let (mut wanted, mut unwanted) = of_turn(seen, turn, about, is_leaving)?;
    if is_leaving {
        let is_said = seen.said.iter().any(|said| said.type_ == AKO_INSTALLED);
        let moves = seen.moves_to.is_some() && !seen.is_deleting;
        let is_decided =
            unwanted.contains(&AKO_INSTALLED) || wanted.iter().any(|said| said.type_ == AKO_INSTALLED);
        if (is_said || moves) && about != About::Pause && !is_decided && !is_nowhere(seen) {
            let has_begun = seen.is_deleting || has_begun(seen) || knows_of_removal(seen);
            wanted.push(if has_begun { leaves(seen) } else { to_leave() });
        }
    } else {
        unwanted.push(USER_CLEANED_UP);
        if !seen.deletes_config && !is_halted(seen) {
            unwanted.push(RESOURCES_CLEANED_UP);
        }
        match &seen.ip_family {
            Some(Ok(())) => {
                wanted.push(Said::new(IP_FAMILY_VALID, Status::True, reason::IP_FAMILY_SUPPORTED, ""));
            }
            Some(Err(message)) => {
                let why = reason::IP_FAMILY_UNSUPPORTED;
                wanted.push(Said::new(IP_FAMILY_VALID, Status::False, why, message));
            }
            None => {}
        }
    }
    let set: Vec<_> = wanted.into_iter().filter(|said| !seen.said.contains(said)).collect();
    let is_there = |type_: &&str| seen.said.iter().any(|said| said.type_ == *type_);
    let remove: Vec<_> = unwanted.into_iter().filter(is_there).collect();
    let notice = notice(seen, turn, about, &set);
    (!set.is_empty() || !remove.is_empty()).then_some(Report { set, remove, notice })
}

/// Returns how the conditions say that AKO leaves a Cluster that lives on; `None` if they do.
#[must_use]
pub fn leaving(seen: &Seen) -> Option<Report> {
    let is_unsaid = !seen.is_deleting && !has_begun(seen);
    is_unsaid.then(|| Report { set: vec![leaves(seen)], remove: Vec::new(), notice: None })
}

/// Returns whether AKO knows that it has to remove what it made.
fn knows_of_removal(seen: &Seen) -> bool {
    matches!(&seen.workload, Workload::Open(state) if state.installed.delete_config == Some(true))
}

fn to_leave() -> Said {
    Said::new(AKO_INSTALLED, Status::False, reason::TO_LEAVE, TO_LEAVE)
}

fn leaves(seen: &Seen) -> Said {
    let to = seen.moves_to.as_ref().filter(|_| !seen.is_deleting);
    let to = to.map(|adc| {
        format!("{LEAVING}; it comes from {adc:?} then, also without the annotation {MOVE_ANNOTATION}")
    });
    Said::new(AKO_INSTALLED, Status::False, reason::LEAVING, to.as_deref().unwrap_or(LEAVING))
}

fn left(seen: &Seen) -> Said {
    let to = seen.moves_to.as_ref().map(|adc| format!("; it comes from {adc:?} next")).unwrap_or_default();
    Said::new(AKO_INSTALLED, Status::False, reason::LEFT, &format!("AKO has left the Cluster{to}"))
}

/// Returns the conditions that a turn sets and removes; `None` if the pass goes on.
fn of_turn(
    seen: &Seen,
    turn: &Turn<Plan>,
    about: About,
    is_leaving: bool,
) -> Option<(Vec<Said>, Vec<&'static str>)> {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    match turn {
        // Not where it goes before what AKO made.
        Turn::LookAgain(Plan::RemoveUser { .. }) if seen.is_deleting && seen.purge != Purge::Possible => {
            let message = "what AKO made on AVI is gone: its user and the Secret of the user follow";
            wanted.push(cleaned_up(seen));
            wanted.push(Said::new(USER_CLEANED_UP, Status::False, reason::USER_CLEANUP, message));
        }
        Turn::Act(_) | Turn::LookAgain(_) => return None,
        Turn::Wait { message, .. } | Turn::Blocked { message, .. } if is_halted(seen) => {
            wanted.push(halted(message));
        }
        Turn::Wait { reason, message, .. } if about == About::Pause => {
            wanted.push(paused(seen, is_leaving, reason, message));
        }
        Turn::Wait { reason, message, .. } | Turn::Blocked { reason, message }
            if about == About::ConfigDeletion =>
        {
            wanted.push(Said::new(AKO_INSTALLED, Status::False, reason::CONFIG_DELETED, &explain()));
            wanted.push(match *reason {
                reason::CONFIG_DELETED => {
                    Said::new(RESOURCES_CLEANED_UP, Status::True, reason::CLEANED_UP, CLEAN)
                }
                reason => Said::new(RESOURCES_CLEANED_UP, Status::False, reason, message),
            });
        }
        Turn::Wait { reason, message, .. } | Turn::Blocked { reason, message } if about == About::User => {
            wanted.push(cleaned_up(seen));
            wanted.push(Said::new(USER_CLEANED_UP, Status::False, reason, message));
        }
        Turn::Settled if !is_leaving => {
            wanted.push(Said::new(AKO_INSTALLED, Status::True, reason::INSTALLED, &notes(seen)));
        }
        Turn::Gone | Turn::Settled if seen.is_deleting => {
            wanted.push(cleaned_up(seen));
            if seen.said.iter().any(|said| said.type_ == USER_CLEANED_UP) {
                wanted.push(user_cleaned_up(seen));
            }
        }
        // Until the finalizer goes, later passes have to know that it has begun.
        Turn::Gone if has_begun(seen) || seen.moves_to.is_some() => {
            wanted.push(left(seen));
            unwanted.extend(OWNED.into_iter().filter(|type_| *type_ != AKO_INSTALLED));
        }
        Turn::Gone | Turn::Settled => unwanted.extend(OWNED),
        Turn::Wait { reason, message, .. } | Turn::Blocked { reason, message } if is_leaving => {
            wanted.push(Said::new(RESOURCES_CLEANED_UP, Status::False, reason, message));
        }
        Turn::Wait { reason, message, .. } | Turn::Blocked { reason, message } => {
            wanted.push(Said::new(AKO_INSTALLED, is_installed(seen, about, reason), reason, message));
        }
    }
    Some((wanted, unwanted))
}

/// Returns whether AKO is installed in a Cluster that waits.
fn is_installed(seen: &Seen, about: About, reason: &str) -> Status {
    let status = match (&seen.want, &seen.workload) {
        (Want::Kept(_), _) if has(seen, AKO_INSTALLED, Status::True) => Status::True,
        // It makes nothing.
        _ if about == About::Idle => Status::False,
        // What is installed stays installed.
        (_, Workload::Open(state)) if runs(state) => Status::True,
        (_, Workload::Closed { .. }) => Status::Unknown,
        _ => Status::False,
    };
    // Later passes would take it for a Cluster that AKO has never come to.
    let forgets = says_nowhere(status == Status::False, reason) && may_have_had_ako(seen);
    if forgets { Status::Unknown } else { status }
}

/// Returns whether AKO has never come to a Cluster: that it leaves would say that it may have made something.
fn is_nowhere(seen: &Seen) -> bool {
    seen.purge == Purge::Done && seen.user == Left::No && !may_have_had_ako(seen)
}

/// Returns whether AKO may have made something, as the condition says or the workload cluster.
fn may_have_had_ako(seen: &Seen) -> bool {
    let said = seen.said.iter().find(|said| said.type_ == AKO_INSTALLED);
    said.is_some_and(|said| !says_nowhere(said.status == Status::False, &said.reason))
        || matches!(&seen.workload, Workload::Open(state) if !state.installed.is_empty())
}

/// Returns whether AKO has begun to leave for another place, and at the moment nothing says for which, or whether AKO runs.
fn is_halted(seen: &Seen) -> bool {
    let is_kept = match seen.want {
        Want::Kept(_) => true,
        Want::Ako => matches!(seen.workload, Workload::NotInitialized),
        Want::Nothing => false,
    };
    is_kept && !seen.is_deleting && has_begun(seen)
}

/// Returns the condition of an AKO that has begun to leave, and does not go on: its reason tells later passes that it has begun, whatever else
/// is the matter.
fn halted(why: &str) -> Said {
    let message = format!("AKO leaves the Cluster, or has left it, and that goes on when this ends: {why}");
    Said::new(AKO_INSTALLED, Status::False, reason::LEAVING, &message)
}

/// Returns whether the conditions say that AKO has begun to leave.
fn has_begun(seen: &Seen) -> bool {
    seen.said.iter().any(|said| said.type_ == AKO_INSTALLED && says_leaving(&said.reason, seen.is_held))
}

/// Returns whether AKO works in a workload cluster, whatever else is the matter.
fn runs(state: &State) -> bool {
    state.installed.set.as_ref().is_some_and(|set| set.is_ready && !set.is_ending())
}

/// Returns what there is to say of an AKO that is installed: versions that the vendor does not document, objects that the workload cluster
/// stores otherwise than they were sent, and an annotation that is left. Mostly nothing.
fn notes(seen: &Seen) -> String {
    let Workload::Open(state) = &seen.workload else { return String::new() };
    let Delivery::Of(Difference { altered, undocumented, .. }) = &state.delivery else {
        return String::new();
    };
    let altered = (!altered.is_empty()).then(|| {
        let names = altered.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "the API server of the workload cluster stores these objects otherwise than they are sent, as an admission policy changes \
             them: {names}; they are sent again every hour"
        )
    });
    let forced = seen.is_forced.then(|| {
        format!("the annotation {FORCE_ANNOTATION} is set, and ends the wait of the next cleanup at once: remove it")
    });
    undocumented.iter().chain(&altered).chain(&forced).map(String::as_str).collect::<Vec<_>>().join("; ")
}

/// Returns the condition that says that the Cluster is paused. What was known before is not looked at meanwhile.
fn paused(seen: &Seen, is_leaving: bool, reason: &str, message: &str) -> Said {
    let is_known = |type_: &str| seen.said.iter().find(|said| said.type_ == type_).map(|said| said.status);
    let (type_, status) = match (is_leaving, is_known(USER_CLEANED_UP)) {
        (false, _) => (AKO_INSTALLED, is_known(AKO_INSTALLED).unwrap_or(Status::Unknown)),
        (true, Some(status)) => (USER_CLEANED_UP, status),
        // Its time is that of the deadline, which begins again after the pause.
        (true, None) if is_known(RESOURCES_CLEANED_UP) != Some(Status::True) => {
            (RESOURCES_CLEANED_UP, Status::Unknown)
        }
        (true, None) => (RESOURCES_CLEANED_UP, Status::True),
    };
    Said::new(type_, status, reason, message)
}

/// Returns the condition that says that AVI has nothing of AKO.
fn cleaned_up(seen: &Seen) -> Said {
    if seen.is_forced {
        let forced =
            "a person has ended the wait for AKO; see the events of the Cluster for what may be left";
        return Said::new(RESOURCES_CLEANED_UP, Status::Unknown, reason::LEFT_ON_AVI, forced);
    }
    Said::new(RESOURCES_CLEANED_UP, Status::True, reason::CLEANED_UP, CLEAN)
}

/// Returns the condition that says that the user is gone.
fn user_cleaned_up(seen: &Seen) -> Said {
    if seen.is_forced {
        let forced = "a person has ended the wait for AVI; see the events of the Cluster for whether its user may be left";
        return Said::new(USER_CLEANED_UP, Status::Unknown, reason::LEFT_ON_AVI, forced);
    }
    Said::new(USER_CLEANED_UP, Status::True, reason::USER_CLEANED_UP, "")
}

/// Returns the conditions that say that a step has failed; none if they are there already.
#[must_use]
pub fn failed(seen: &Seen, error: &Error) -> Vec<Said> {
    let (said, is_deleting) = (&seen.said, seen.is_deleting);
    let is_leaving = is_deleting || seen.want == Want::Nothing;
    let failure = if is_halted(seen) {
        let halted = halted(&format!("{}: {error}", error.reason()));
        (!said.contains(&halted)).then_some(halted)
    } else {
        failure(said, is_leaving, error)
    };
    failure.into_iter().chain(unpaused(said, is_leaving, is_deleting)).collect()
}

/// Returns the condition that says that a step has failed; `None` if it is there already. What was installed may not be as it should.
fn failure(said: &[Said], is_leaving: bool, error: &Error) -> Option<Said> {
    let was_installed = said.iter().any(|said| said.type_ == AKO_INSTALLED && said.status != Status::False);
    // What fails in the workload cluster is not about the user.
    let is_user = said.iter().any(|said| said.type_ == USER_CLEANED_UP) && !is_of_change(error);
    let (type_, status) = match (is_leaving, was_installed) {
        (true, _) if is_user => (USER_CLEANED_UP, Status::False),
        (true, _) => (RESOURCES_CLEANED_UP, Status::False),
        (false, true) => (AKO_INSTALLED, Status::Unknown),
        (false, false) => (AKO_INSTALLED, Status::False),
    };
    let is_cleanup = type_ == RESOURCES_CLEANED_UP;
    let message = match error {
        error if is_cleanup && is_of_change(error) => not_taken(error),
        Error::Avi { .. } | Error::Credentials(_) if is_leaving => format!(
            "{error}; if AVI is never to be reached again, annotate the Cluster with {FORCE_ANNOTATION}=true: that ends the wait, and an \
             event names what may be left"
        ),
        error => error.to_string(),
    };
    let failure = match End::said(said).filter(|_| is_cleanup) {
        Some(end) => {
            let message = end.hindered(&format!("{}: {message}", error.reason()));
            Said::new(type_, status, reason::CLEANUP_OVERDUE, &message)
        }
        None => Said::new(type_, status, error.reason(), &message),
    };
    (!said.contains(&failure)).then_some(failure)
}

/// Returns whether a workload cluster has not taken a change: that one cannot be read is no failure of a step.
fn is_of_change(error: &Error) -> bool {
    match error {
        Error::Workload { error } => {
            !matches!(error.kind(), Kind::NoKubeconfig | Kind::BadKubeconfig | Kind::Replaced)
        }
        Error::Reverted(_) => true,
        _ => false,
    }
}

/// Returns the condition that says no longer that the Cluster is paused, or that its place has changed, where AKO leaves and a step fails before
/// another turn says so.
fn unpaused(said: &[Said], is_leaving: bool, is_deleting: bool) -> Option<Said> {
    let is_past = |reason: &str| [reason::PAUSED, reason::PLACE_CHANGED].contains(&reason);
    let is_said = |said: &Said| said.type_ == AKO_INSTALLED && is_past(&said.reason);
    let leaving = || Said::new(AKO_INSTALLED, Status::False, reason::LEAVING, LEAVING);
    (is_leaving && said.iter().any(is_said)).then(|| if is_deleting { leaving() } else { to_leave() })
}

/// Returns the event for a new reason. The driver publishes those that need a person.
fn notice(seen: &Seen, turn: &Turn<Plan>, about: About, set: &[Said]) -> Option<Notice> {
    let is_new = |type_: &str, reason: &str| {
        let known = seen.said.iter().find(|said| said.type_ == type_);
        known.is_none_or(|known| known.reason != reason)
            && set.iter().any(|said| said.type_ == type_ && said.reason == reason)
    };
    let is_news = |reason: &str| is_new(AKO_INSTALLED, reason) || is_new(RESOURCES_CLEANED_UP, reason);
    match turn {
        Turn::Settled if is_new(AKO_INSTALLED, reason::INSTALLED) => {
            Some(Notice::normal(reason::INSTALLED, "AKO is installed in the workload cluster"))
        }
        // Where a person has ended the wait, another event says what may be left.
        Turn::Gone if has_begun_to_leave(seen) && !seen.is_forced => {
            Some(Notice::normal(reason::CLEANED_UP, "AKO has left the Cluster, and AVI has nothing of it"))
        }
        Turn::Wait { reason, message, .. } if about == About::Pause => {
            is_news(reason).then(|| Notice::normal(reason, message.clone()))
        }
        Turn::Wait { reason: reason::CONFIG_DELETED, .. } => {
            let message =
                "AKO has removed what it made on AVI, and makes nothing as long as its Cluster has the label";
            is_news(reason::CLEANED_UP).then(|| Notice::normal(reason::CLEANED_UP, message))
        }
        Turn::Wait { reason: reason::CLUSTER_NOT_READY, .. } => None,
        // AVI is being asked, as in each delivery.
        Turn::Wait { reason: reason::ADC_NOT_READY, .. } if matches!(seen.offer, Err(Obstacle::Brief(_))) => {
            None
        }
        Turn::Wait { reason, message, .. } if is_news(reason) => Some(match *reason {
            reason::CLEANING_UP
            | reason::AKO_ENDING
            | reason::ADC_NOT_READY
            | reason::SERVICE_MISSING
            | reason::ADDON_PENDING
            | reason::AKO_NOT_READY
            | reason::DEFINITIONS_PENDING
            | reason::BOOTSTRAP_PENDING => Notice::normal(reason, message.clone()),
            _ => Notice::warning(reason, message.clone()),
        }),
        _ => None,
    }
}

/// Returns whether a condition says that AKO leaves, and not yet that it has left.
fn has_begun_to_leave(seen: &Seen) -> bool {
    has(seen, RESOURCES_CLEANED_UP, Status::False) || has(seen, USER_CLEANED_UP, Status::False)
}

fn has(seen: &Seen, type_: &str, status: Status) -> bool {
    seen.said.iter().any(|said| said.type_ == type_ && said.status == status)
}

#[cfg(test)]
mod tests;
