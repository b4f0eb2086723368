//! Decides what is done next. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use operator_kit::Turn;

use super::record::Record;
use super::seen::{DriverSeen, File, Seen};
use crate::api::reason;
use crate::checkup::Order;
use crate::matrix::Driver;
use crate::plan::{Change, Drivers, Hold, REASONS_IN_USE, Step, Target, Wanted};
use crate::render::Rendered;
use crate::status::{Open, open};
use crate::version::Version;

/// When a removal is looked at again: nothing tells that an object is gone.
const REMOVAL: Duration = Duration::from_millis(300);
/// When volumes and Pods that are in the way are looked at again.
const IN_USE: Duration = Duration::from_secs(5);
/// When what is waited for is looked at again although nothing was heard.
const WAIT: Duration = Duration::from_mins(1);

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// Download files.
    Fetch(Vec<File>),
    /// Run the preflight checks.
    Check(Box<Order>),
    /// Change drivers, and ask vCenters again.
    Change {
        actions: Vec<Action>,
        /// UIDs and names of the vCenters' connections.
        outdated: Vec<(String, String)>,
        /// What was noted of each driver.
        records: Box<Drivers<Option<Record>>>,
    },
}

/// What is done with a driver.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Its objects are applied.
    Apply {
        driver: Driver,
        change: Change,
        /// What is noted before.
        record: Record,
        /// Whether objects of others are taken over.
        takes_over: bool,
        rendered: Arc<Rendered>,
    },
    /// Its objects are deleted.
    Remove(Driver, Record),
    /// Its objects stay, without our label.
    Release(Driver, Record),
}

impl Action {
    /// Returns the driver.
    pub(crate) fn driver(&self) -> Driver {
        match self {
            Self::Apply { driver, .. } | Self::Remove(driver, _) | Self::Release(driver, _) => *driver,
        }
    }
}

/// Decides what is done next.
pub(crate) fn decide(seen: &Seen, is_deleted: bool, now: Timestamp) -> Turn<Plan> {
    if let Some(hold) = &seen.unusable {
        return Turn::Blocked { reason: hold.reason, message: hold.message.clone() };
    }
    if !seen.files.is_empty() {
        return Turn::Act(Plan::Fetch(seen.files.clone()));
    }
    let steps = seen.steps();
    let actions: Vec<_> = Driver::ALL
        .into_iter()
        .filter_map(|driver| action(driver, steps.get(driver), seen.drivers.get(driver), now))
        .collect();
    if !actions.is_empty() || !seen.outdated.is_empty() {
        let records = Box::new(Drivers::of(|driver| seen.drivers.get(driver).record.clone()));
        return Turn::Act(Plan::Change { actions, outdated: seen.outdated.clone(), records });
    }
    if let Some(order) = seen.checkup_due() {
        return Turn::Act(Plan::Check(Box::new(order.clone())));
    }
    if is_deleted && Driver::ALL.iter().all(|driver| *steps.get(*driver) == Step::Rest) {
        return Turn::Gone;
    }
    match open(&seen.reports()) {
        None => Turn::Settled,
        Some(Open { needs_help, reason, message }) => turn(needs_help, reason, message, &steps),
    }
}

fn turn(needs_help: bool, reason: &'static str, message: String, steps: &Drivers<Step>) -> Turn<Plan> {
    let is_removing =
        Driver::ALL.iter().any(|driver| *steps.get(*driver) == Step::Remove) || reason == reason::REMOVING;
    let is_used = REASONS_IN_USE.contains(&reason);
    let after = match (is_removing, is_used, needs_help) {
        (true, ..) => REMOVAL,
        (_, true, _) => IN_USE,
        (.., true) => return Turn::Blocked { reason, message },
        _ => WAIT,
    };
    Turn::Wait { reason, message, after: Some(after) }
}

fn action(driver: Driver, step: &Step, seen: &DriverSeen, now: Timestamp) -> Option<Action> {
    match step {
        Step::Apply(change) if *change != Change::Maintain || seen.is_due => {
            let Wanted::Present(target) = &seen.wanted else { return None };
            Some(Action::Apply {
                driver,
                change: *change,
                record: record(seen, target, now),
                takes_over: target.adopts,
                rendered: Arc::clone(seen.rendered.as_ref()?),
            })
        }
        // What was begun is finished, also where the driver is to run again.
        Step::Remove | Step::Wait(Hold { reason: reason::REMOVING, .. }) if seen.is_due => {
            Some(Action::Remove(driver, seen.record.clone()?))
        }
        Step::Release => Some(Action::Release(driver, seen.record.clone()?)),
        _ => None,
    }
}

/// Returns what is noted of a driver before it is applied.
fn record(seen: &DriverSeen, target: &Target, now: Timestamp) -> Record {
    let old = seen.record.as_ref();
    let same = old.filter(|record| record.version == target.version);
    let failed = old.map(|record| record.failed.as_slice()).unwrap_or_default();
    let failing = seen.failing.as_ref();
    // The newest failure of a version counts; a version that is applied is tried again.
    let is_over =
        |version: &Version| *version == target.version || failing.is_some_and(|new| new.version == *version);
    let failed = failed.iter().filter(|failure| !is_over(&failure.version));
    Record {
        version: target.version.clone(),
        digest: target.digest.clone(),
        since: same.map_or(now, |record| record.since),
        is_upgrade: old.is_some_and(|record| record.replaces(&target.version)),
        needs_cpi: target.needs_cpi,
        is_removing: false,
        is_recovered: old.is_some_and(|record| record.is_recovered),
        is_complete: same.is_some_and(|record| record.is_complete),
        previous: match same {
            Some(record) => record.previous.clone(),
            None => seen.ran().filter(|previous| *previous < target.version),
        },
        failed: failed.chain(failing.filter(|new| new.version != target.version)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
