//! What must never happen, and when the system is as it should be: from the spec alone, without the operator's functions.

use operator_kit::Turn;

use super::Cluster;
use super::operator::Operator;
use super::values::{DRIVERS, FOREIGN, number, parts, runs, version_of};
use super::world::{Asker, Machine, Object, Set, State, Wrong};
use crate::api::{DeletionPolicy, ManagementState};
use crate::choose::Policy;
use crate::desired::VersionChoice;
use crate::installer::model::{Action, Record, Rollout};
use crate::matrix::Driver;
use crate::plan::Change;
use crate::version::Version;

/// Reasons of CSI that waits for a CPI that nothing is going to install: no version fits without it, or its notes are all that there is of it.
const HELD_UP: [&str; 3] = ["CpiRequired", "NoVersionFits", "NodesUninitialized"];

/// Returns what an asker wants of a driver.
fn wish(operator: &Operator, asker: Asker, driver: Driver) -> ManagementState {
    operator.wish(asker).drivers.get(driver).state
}

/// Returns the asker that decides about a driver.
fn owner(operator: &Operator, state: &State, driver: Driver) -> Option<usize> {
    (0..state.askers.len()).find(|number| {
        let asker = state.askers[*number];
        asker.exists && wish(operator, asker, driver) != ManagementState::Unmanaged
    })
}

/// Returns whether an asker wants a driver to be removed.
fn is_to_go(operator: &Operator, asker: Asker, driver: Driver) -> bool {
    let wishes = operator.wish(asker);
    match wishes.drivers.get(driver).state {
        ManagementState::Removed => true,
        ManagementState::Managed => asker.is_deleting && wishes.on_deletion == DeletionPolicy::Uninstall,
        ManagementState::Unmanaged => false,
    }
}

fn is_removing(operator: &Operator, set: &Set) -> bool {
    operator.record(set.notes).is_some_and(|record| record.is_removing)
}

fn has_ours(set: &Set) -> bool {
    set.parts.iter().any(|object| object.exists() && object.is_ours)
}

/// Returns whether there are objects of another tool, or of ours that were let go of.
pub(super) fn has_foreign(set: &Set) -> bool {
    set.parts.iter().any(|object| object.exists() && !object.is_ours)
}

/// Returns what is wrong with an action that the API server has just confirmed, as far as only the operator and people who ask for drivers
/// decide about it.
pub(super) fn begins_wrongly(
    operator: &Operator,
    state: &State,
    at: usize,
    action: &Action,
) -> Option<Wrong> {
    let driver = action.driver();
    let asker = state.askers[at];
    if owner(operator, state, driver) != Some(at) {
        return Some(Wrong::Usurped(driver));
    }
    let set = |driver: Driver| &state.sets[number(driver)];
    match action {
        Action::Apply { change: Change::Install, .. } if driver == Driver::Csi => {
            is_removing(operator, set(Driver::Cpi)).then_some(Wrong::WithoutCpi)
        }
        Action::Apply { record, .. } => {
            let wishes = operator.wish(asker);
            let policy = &wishes.drivers.get(driver).policy;
            let is_pinned = matches!(policy, VersionChoice::Policy(Policy::Pinned(_)));
            let ours = set(driver).parts.iter().filter(|object| object.exists() && object.is_ours);
            let newest = ours.map(|object| operator.version(driver, version_of(object.content))).max();
            let failed = operator.record(set(driver).notes).map(|noted| noted.failed).unwrap_or_default();
            let has_failed =
                |version: &Version| set(driver).is_over || failed.iter().any(|of| of.version == *version);
            let is_older = newest.is_some_and(|newest| newest > record.version && !has_failed(&newest));
            (is_older && !is_pinned).then_some(Wrong::Older(driver))
        }
        Action::Remove(..) => {
            let csi = operator.record(set(Driver::Csi).notes);
            let is_needed = driver == Driver::Cpi && csi.is_some_and(|csi| csi.needs_cpi);
            if is_to_go(operator, asker, driver) {
                is_needed.then_some(Wrong::WithoutCpi)
            } else {
                Some(Wrong::Unasked(driver))
            }
        }
        Action::Release(..) => None,
    }
}

/// Returns what is wrong with an action, as was to be seen when it was decided.
pub(super) fn decides_wrongly(
    operator: &Operator,
    state: &State,
    at: usize,
    action: &Action,
) -> Option<Wrong> {
    let driver = action.driver();
    let asker = state.cached.0[at];
    match action {
        Action::Apply { change: Change::Maintain, .. } | Action::Release(..) => None,
        Action::Apply { change, .. } => applies_wrongly(operator, state, asker, (driver, *change)),
        Action::Remove(_, record) if record.is_removing => None,
        Action::Remove(..) => {
            let is_used = match driver {
                Driver::Cni => state.has_pod,
                Driver::Cpi | Driver::Snapshots => false,
                Driver::Csi => state.has_volume,
            };
            let is_before = |later: Driver| {
                later > driver && is_to_go(operator, asker, later) && state.sets[number(later)].notes > 0
            };
            if is_used {
                Some(Wrong::InUse(driver))
            } else {
                DRIVERS.into_iter().any(is_before).then_some(Wrong::Disordered(driver))
            }
        }
    }
}

fn applies_wrongly(
    operator: &Operator,
    state: &State,
    asker: Asker,
    (driver, change): (Driver, Change),
) -> Option<Wrong> {
    let is_blind = |number: usize| {
        let node = state.nodes[number].filter(|_| state.cached.1[number].is_some());
        node.is_some_and(|node| node.machine == Machine::Missing)
    };
    if driver == Driver::Cpi && (0..state.nodes.len()).any(is_blind) {
        return Some(Wrong::Blind);
    }
    if !matches!(change, Change::Install | Change::Adopt) {
        return None;
    }
    let process = state.process?;
    let (has_news, memory) = (process.has_news, operator.memory(process.memory));
    let is_there = |driver: Driver| {
        let set = &state.sets[number(driver)];
        // What is missing is not known, or put back in the same pass.
        let digest = operator.record(set.notes).map(|record| record.digest).unwrap_or_default();
        let is_put_back = memory.is_due(driver, &digest, super::values::now());
        let is_up = has_news || is_put_back || runs(driver, set, |object| object.is_ours);
        has_foreign(set) || set.notes > 0 && !is_removing(operator, set) && is_up
    };
    let is_missing = |earlier: Driver| {
        earlier < driver && wish(operator, asker, earlier) == ManagementState::Managed && !is_there(earlier)
    };
    if DRIVERS.into_iter().any(is_missing) {
        return Some(Wrong::Early(driver));
    }
    let cpi = &state.sets[number(Driver::Cpi)];
    let has_ours = has_ours(cpi) && !is_removing(operator, cpi);
    let has_cpi = has_ours || is_there(Driver::Cpi) || has_news;
    (driver == Driver::Csi && !has_cpi).then_some(Wrong::WithoutCpi)
}

/// Returns a driver that was to go with an asker, and of which something is left that no other asker wants.
pub(super) fn left(operator: &Operator, state: &State, at: usize) -> Option<Driver> {
    DRIVERS.into_iter().find(|driver| {
        let set = &state.sets[number(*driver)];
        let is_owned = owner(operator, state, *driver) == Some(at);
        let mut others = state.askers.iter().enumerate().filter(|(other, _)| *other != at);
        let is_asked_for = others.any(|(_, other)| {
            other.exists && !other.is_deleting && wish(operator, *other, *driver) == ManagementState::Managed
        });
        is_owned && !is_asked_for && (has_ours(set) || set.notes > 0)
    })
}

impl Cluster {
    /// Returns whether a version does not become available, and there is none to go back to: a person repairs it.
    pub(super) fn is_stuck(&self, state: &State) -> bool {
        let Some(driver) = state.broken else { return false };
        let set = &state.sets[number(driver)];
        let is_behind =
            |object: &Object| object.exists() && !object.is_ready && version_of(object.content) > 0;
        let newer = self.operator.version(driver, 1);
        let can_go_back = |record: Record| record.version != newer || record.previous.is_some();
        set.parts.iter().any(is_behind) && !self.operator.record(set.notes).is_some_and(can_go_back)
    }

    /// Returns whether everything is as asked, and the statuses say so, also once the passes that are under way have ended.
    pub(super) fn is_goal(&self, state: &State) -> bool {
        let is_up = state.vcenter.accepts && state.vcenter.is_reachable && state.matrix < 2;
        let is_visible = state.nodes.iter().flatten().all(|node| node.machine == Machine::Visible);
        let is_free = !state.has_volume && !state.has_pod;
        let is_current = state.cached == (state.askers, state.nodes);
        if !is_up || !is_visible || !is_free || !is_current {
            return false;
        }
        let Some(state) = self.at_rest(state) else { return false };
        let Some(process) = state.process else { return false };
        let memory = self.operator.memory(process.memory);
        // What a new process has not looked at says nothing.
        let is_known = DRIVERS.into_iter().all(|driver| {
            let record = self.operator.record(state.sets[number(driver)].notes);
            let is_managed = owner(&self.operator, &state, driver).is_some();
            record
                .filter(|_| is_managed)
                .is_none_or(|record| memory.rollout(driver, &record.digest) == Rollout::Complete)
        });
        // What a new process has not asked the vCenter for says why an older version runs only later.
        let has_failed =
            |set: &Set| self.operator.record(set.notes).is_some_and(|record| !record.failed.is_empty());
        if process.answer.is_none() && state.sets.iter().any(has_failed) {
            return false;
        }
        let is_rolled_out = |set: &Set| set.parts.iter().all(|object| !object.exists() || object.is_ready);
        is_known
            && state.sets.iter().all(is_rolled_out)
            && DRIVERS.into_iter().all(|driver| self.is_as_asked(&state, driver))
            && (0..state.askers.len()).all(|asker| self.is_said(&state, asker))
            && Self::are_nodes_set_up(&state)
    }

    /// Returns the state in which all passes have ended, and another one for each asker; `None` if one writes what is not there already.
    fn at_rest(&self, state: &State) -> Option<State> {
        let mut settled = self.ended(state)?;
        for asker in 0..state.askers.len() {
            if let Some(next) = self.observed(&settled, asker) {
                settled = self.ended(&next).filter(|ended| is_same(ended, state))?;
            }
        }
        is_same(&settled, state).then_some(settled)
    }

    /// Returns the state in which all passes have ended; `None` if one writes what is not there already.
    fn ended(&self, state: &State) -> Option<State> {
        let mut ended = state.clone();
        while let Some(asker) = ended.process?.pending.iter().position(Option::is_some) {
            ended = self.carry(&ended, asker, super::carry::Fate::Written)?;
            if !is_same(&ended, state) {
                return None;
            }
        }
        Some(ended)
    }

    fn are_nodes_set_up(state: &State) -> bool {
        let has = |driver: Driver| runs(driver, &state.sets[number(driver)], |_| true);
        state.nodes.iter().flatten().all(|node| {
            (!has(Driver::Cpi) || node.is_initialized) && (!has(Driver::Csi) || node.is_registered)
        })
    }

    fn is_as_asked(&self, state: &State, driver: Driver) -> bool {
        let set = &state.sets[number(driver)];
        let Some(at) = owner(&self.operator, state, driver) else { return true };
        let asker = state.askers[at];
        let says = |reason: &str| self.operator.ready(asker.said).is_some_and(|(_, said)| said == reason);
        let csi = self.operator.record(state.sets[number(Driver::Csi)].notes);
        let is_needed = driver == Driver::Cpi && csi.is_some_and(|csi| csi.needs_cpi);
        if asker.is_deleting || is_to_go(&self.operator, asker, driver) {
            let keeps = (is_needed || driver == Driver::Cni) && says("CpiRequired");
            return keeps || (!asker.is_deleting && set.notes == 0 && !has_ours(set));
        }
        let cpi = &state.sets[number(Driver::Cpi)];
        // One that is half installed, and that nothing asks for any more, sets no Node up.
        let is_left =
            owner(&self.operator, state, Driver::Cpi).is_none() && !runs(Driver::Cpi, cpi, |_| true);
        let is_ours = has_ours(cpi) && !is_removing(&self.operator, cpi) && !is_left;
        let has_cpi = is_ours || has_foreign(cpi);
        if driver == Driver::Csi && set.notes == 0 && !has_cpi {
            return HELD_UP.into_iter().any(says) && !has_ours(set);
        }
        if has_foreign(set) {
            return false;
        }
        let wishes = self.operator.wish(asker);
        let newest = self.operator.version(driver, state.matrix);
        let failed = self.operator.record(set.notes).map(|noted| noted.failed).unwrap_or_default();
        let version = match &wishes.drivers.get(driver).policy {
            VersionChoice::Policy(Policy::Pinned(version)) => version.clone(),
            _ if failed.iter().any(|of| of.version == newest) => self.operator.version(driver, 0),
            _ => newest,
        };
        let account = if driver == Driver::Cni { 0 } else { state.vcenter.account };
        let is_made = |content: u8| {
            self.operator.version(driver, version_of(content)) == version && (content - 1) % 2 == account
        };
        let record = self.operator.record(set.notes);
        let is_noted = record
            .is_some_and(|record| record.version == version && record.is_complete && !record.is_removing);
        is_noted && set.has_kinds && runs(driver, set, |object| object.is_ours && is_made(object.content))
    }

    /// Returns whether the status of an asker says how things are.
    fn is_said(&self, state: &State, at: usize) -> bool {
        let asker = state.askers[at];
        if !asker.exists {
            return true;
        }
        let Some((is_ready, reason)) = self.operator.ready(asker.said) else { return false };
        // The other conditions, and what is said of each driver.
        let is_last = self.operator.pass(state, at).is_some_and(|pass| {
            let acted = matches!(self.operator.pass_of(pass).turn, Turn::Act(_)).then_some(true);
            self.operator.reported(asker.said, pass, acted).is_none_or(|said| said == asker.said)
        });
        if !is_last {
            return false;
        }
        let decides = |driver: Driver| owner(&self.operator, state, driver) == Some(at);
        let asks = |driver: Driver| wish(&self.operator, asker, driver) == ManagementState::Managed;
        let is_other = DRIVERS.into_iter().any(|driver| asks(driver) && !decides(driver));
        let is_held_up = HELD_UP.contains(&reason.as_str());
        if is_other {
            return !is_ready && (is_held_up || reason == "Conflicting");
        }
        let has_nodes = state.nodes.iter().flatten().count() > 0;
        let watches = asks(Driver::Cpi) || asks(Driver::Csi) || asks(Driver::Cni);
        is_ready || is_held_up || (!has_nodes && watches && reason == "SettingUpNodes")
    }
}

/// Returns whether two states differ in nothing but the process.
fn is_same(one: &State, other: &State) -> bool {
    let plain = |state: &State| State { process: None, ..state.clone() };
    plain(one) == plain(other)
}

/// Returns a driver of another tool.
pub(super) fn foreign(driver: Driver) -> Set {
    let mut set = Set::default();
    for part in parts(driver) {
        set.parts[*part as usize] = super::world::Object { content: FOREIGN, is_ours: false, is_ready: true };
    }
    set
}
