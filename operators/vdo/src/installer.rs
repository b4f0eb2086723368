//! Drivers: installed, kept, upgraded and removed, as a VDOConfig or a DriverSet asks.
//!
//! ```text
//!   VDOConfig, DriverSet ──▶ observe ──▶ Seen ──▶ decide ──▶ Plan ──▶ apply ──▶ sets of objects
//!   answers of vCenters, matrix,    ▲                                  └──▶ what is noted of a set: version, hash, since when
//!   manifests, Nodes, notes ────────┘
//! ```
//!
//! What is installed is noted on the parent of each set, so that it is known after a restart; so is what ran before an upgrade, and which
//! upgrades have failed. The oldest object that asks for a driver decides about it.

mod aim;
mod apply;
mod claims;
mod confirm;
mod decide;
mod files;
mod in_use;
mod kinds;
mod known;
mod memory;
mod observe;
mod pods;
mod record;
mod seen;

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use operator_kit::apply_set::ApplySet;
use operator_kit::conditions::{self, READY, Status};
use operator_kit::{Cache, Clock, Notice, Outcome, Reconciler, StatusOf, Turn};

pub(crate) use apply::fetch;
pub(crate) use confirm::Asked;
pub(crate) use files::{Lack, text};
pub(crate) use in_use::{all, drivers, has_snapshots, workloads};
pub(crate) use kinds::Asks;
pub(crate) use memory::Memory;
pub(crate) use observe::observe;
pub(crate) use pods::Looks;
pub(crate) use record::{Record, UPGRADE_TIMEOUT};
pub(crate) use seen::{DriverSeen, File, Seen};

use crate::api::reason;
use crate::checkup::Checkups;
use crate::connection::{Answers, Logins};
use crate::error::Error;
use crate::fetch::Fetcher;
use crate::metrics::Meters;
use crate::plan::{Drivers, REASONS_IN_USE};
use crate::wakes::{Caches, Wakes};
use crate::watched::BriefNode;
use apply::Done;
use decide::Plan;

/// What the controllers of all kinds share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) manager: String,
    pub(crate) caches: Caches,
    /// `None`: nothing is changed.
    pub(crate) asked: Option<Asked>,
    pub(crate) nodes: Cache<BriefNode>,
    pub(crate) csi_nodes: Cache<CSINode>,
    pub(crate) logins: Logins,
    pub(crate) answers: Arc<Answers>,
    pub(crate) sets: Drivers<ApplySet>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) looks: Looks,
    pub(crate) fetcher: Fetcher,
    pub(crate) wakes: Wakes,
    pub(crate) checkups: Arc<Checkups>,
    pub(crate) meters: Arc<Meters>,
    /// After which time an upgrade counts as failed.
    pub(crate) upgrade_timeout: SignedDuration,
}

/// Namespace of the sets' parents. It cannot be deleted.
pub(crate) const SETS: &str = "kube-system";

/// Returns the set of a driver.
pub(crate) fn set(client: &Client, manager: &str, driver: crate::matrix::Driver) -> ApplySet {
    let name = format!("vdo-{}", driver.name().to_lowercase());
    ApplySet::new(client.clone(), SETS, &name, manager).putting_back()
}

/// The controller of one kind.
pub(crate) struct Installer<K> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) kind: PhantomData<K>,
}

impl<K: Asks> Reconciler for Installer<K> {
    type Object = K;
    type Seen = Seen;
    type Plan = Plan;
    type Done = Done;
    type Error = Error;

    const NAME: &'static str = K::CONTROLLER;
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    fn reads(object: &K) -> impl Hash {
        object.settings().map(|text| text.map(str::to_owned))
    }

    async fn observe(&self, object: &K) -> Result<Seen, Error> {
        observe(&self.shared, object).await
    }

    fn plan(object: &K, seen: &Seen, now: Timestamp) -> Turn<Plan> {
        decide::decide(seen, object.meta().deletion_timestamp.is_some(), now)
    }

    async fn apply(&self, object: &K, plan: Plan) -> Result<Done, Error> {
        apply::apply(&self.shared, object, plan).await
    }

    fn status(
        old: Option<&StatusOf<Self>>,
        object: &K,
        seen: Option<&Seen>,
        outcome: &Outcome<Done, Error>,
        now: Timestamp,
    ) -> Option<StatusOf<Self>> {
        // The pass that follows says more: what runs is no less ready while files are fetched, and before it was looked at.
        if matches!(outcome, Outcome::Acted(_)) && seen.is_some_and(Seen::is_incomplete) {
            return None;
        }
        let usable = seen.filter(|seen| seen.unusable.is_none());
        let mut status = match usable {
            Some(seen) => object.report(old, &seen.reports(), &seen.cpi_nodes, now),
            None => old.cloned().unwrap_or_default(),
        };
        K::answer(&mut status, object.meta().generation);
        if let Some((passed, reason, message)) = usable.and_then(Seen::checked) {
            let all = K::conditions_mut(&mut status);
            let passed = Status::from(passed);
            conditions::set(all, CHECKS_PASSED, passed, reason, &message, object.meta().generation, now);
        }
        let said = match outcome {
            Outcome::Failed(_) => Some(outcome.ready(reason::AS_ASKED)),
            Outcome::Waiting(..) | Outcome::Blocked(..) if usable.is_none() => {
                Some(outcome.ready(reason::AS_ASKED))
            }
            Outcome::Waiting(reason, message) if object.meta().deletion_timestamp.is_some() => {
                Some((Status::False, *reason, message.clone()))
            }
            _ => None,
        };
        if let Some((status_of, reason, message)) = said {
            let all = K::conditions_mut(&mut status);
            conditions::set(all, READY, status_of, reason, &message, object.meta().generation, now);
        }
        Some(status)
    }

    fn conditions(status: &StatusOf<Self>) -> &[Condition] {
        K::conditions_of(status)
    }

    fn forget(&self, uid: &str) {
        self.shared.checkups.forget(uid);
    }

    fn event(done: &Done) -> Option<Notice> {
        (!done.changes.is_empty()).then(|| Notice::normal(reason::ROLLING_OUT, done.changes.join(", ")))
    }

    fn news(_: &K, old: Option<&StatusOf<Self>>, new: &StatusOf<Self>) -> Vec<Notice> {
        let ready = |status| conditions::get(K::conditions_of(status), READY);
        let before = old.and_then(ready).map(|ready| ready.reason.as_str());
        let now = ready(new).filter(|now| before != Some(now.reason.as_str()));
        // What is waited for in a removal is no help that is needed: it ends when others have done their part.
        let notice = |now: &Condition| {
            let reason = REASONS_IN_USE.into_iter().find(|reason| now.reason == **reason)?;
            Some(Notice::warning(reason, now.message.clone()))
        };
        let rolled_back = |status| {
            let all = K::conditions_of(status).iter().filter(|condition| condition.type_ != READY);
            all.filter(|condition| condition.reason == reason::ROLLED_BACK)
        };
        let was = |type_: &str| old.is_some_and(|old| rolled_back(old).any(|old| old.type_ == type_));
        let begun = rolled_back(new).filter(|condition| !was(&condition.type_));
        let begun = begun.map(|condition| Notice::warning(reason::ROLLED_BACK, condition.message.clone()));
        now.and_then(notice).into_iter().chain(begun).collect()
    }
}

/// What the model runs.
#[cfg(test)]
pub(crate) mod model {
    pub(crate) use super::aim::{Aim, Basis, Link, Sight};
    pub(crate) use super::apply::Done;
    pub(crate) use super::claims::{Claim, claim, decided};
    pub(crate) use super::confirm::begins;
    pub(crate) use super::decide::{Action, Plan, decide};
    pub(crate) use super::known::{Known, failing, needs_workloads, recover};
    pub(crate) use super::memory::{Memory, Rollout, State as Remembered};
    pub(crate) use super::record::{Patience, Record};
    pub(crate) use super::seen::Seen;
}

/// Type of the condition that says what the preflight checks have found.
pub(crate) const CHECKS_PASSED: &str = "ChecksPassed";

/// Finalizer of what asks for drivers.
pub(crate) const FINALIZER: &str = "vdo.vmware.com/drivers";

#[cfg(test)]
mod tests;
