//! When the system is as it should be.

use operator_kit::Turn;
use operator_kit::conditions::Status;

use super::Deletion;
use super::world::{Ako, State, Word};
use crate::api::condition::{AKO_INSTALLED, RESOURCES_CLEANED_UP, USER_CLEANED_UP};
use crate::api::reason;
use crate::cluster::plan::Plan;

impl Deletion {
    /// Returns whether everything is done, or the conditions of the Cluster say what a person has to do.
    pub(super) fn is_goal(&self, state: &State) -> bool {
        let State { cluster, machine, workload, avi, first, .. } = state;
        let says = |type_: &str, status: Status| {
            self.operator.said(cluster.said).iter().any(|said| said.type_ == type_ && said.status == status)
        };
        if self.is_refused(state) {
            return says(RESOURCES_CLEANED_UP, Status::False);
        }
        let is_idle = state.process.is_some_and(|process| process.pending.is_none());
        let is_up = !state.is_unread && avi.is_reachable && (workload.is_reachable || !machine.exists);
        let is_known = cluster.is_initialized || !cluster.exists;
        let is_up = is_up && is_known && !state.others.is_unready && !state.others.is_namesake;
        if !is_idle || !is_up || cluster.is_paused || !state.is_cached() || self.observed(state).is_some() {
            return false;
        }
        let is_left = avi.has_objects || avi.has_user || first.has_objects || first.has_user;
        if !cluster.exists {
            return !is_left || cluster.is_forced;
        }
        if let Some(is_goal) = self.is_goal_of_record(state) {
            return is_goal;
        }
        let is_leaving = cluster.is_deleting || !cluster.is_labelled;
        if !is_leaving {
            let is_installed = workload.config == Some(cluster.deletes_config)
                && workload.set.is_some_and(|set| !set.is_ending)
                && workload.has_rest;
            // An AKO that makes nothing needs no user: one that was removed is made again before AKO is to make something.
            let has_user = avi.has_user || cluster.deletes_config;
            let is_there =
                state.is_recorded && cluster.is_held && has_user && machine.has_hook && is_installed;
            if cluster.deletes_config {
                let is_clean = says(RESOURCES_CLEANED_UP, Status::True) && !avi.has_objects;
                let waits = says(RESOURCES_CLEANED_UP, Status::False) && Self::waits_for_a_person(state);
                return is_there && says(AKO_INSTALLED, Status::False) && (is_clean || waits);
            }
            // An AKO that hangs shows in the workload cluster only.
            let runs = matches!(workload.ako, Ako::Runs { removes: false }) && avi.has_objects;
            return is_there
                && (runs || workload.ako == Ako::Hangs)
                && says(AKO_INSTALLED, Status::True)
                && !says(RESOURCES_CLEANED_UP, Status::False);
        }
        if cluster.is_held {
            return Self::waits_for_a_person(state) && says(RESOURCES_CLEANED_UP, Status::False);
        }
        let is_empty = workload.set.is_none() && workload.config.is_none() && !workload.has_rest;
        // A person who forces the end accepts what is left.
        !cluster.is_deleting && !machine.has_hook && (is_empty && !is_left || cluster.is_forced)
    }

    /// Returns whether a Cluster is as it should be that has lost its record, or has AKO at another place; `None` if it is none of these.
    fn is_goal_of_record(&self, state: &State) -> Option<bool> {
        let State { cluster, workload, avi, first, others, .. } = state;
        let said = self.operator.said(cluster.said);
        let says =
            |type_: &str, reason: &str| said.iter().any(|said| said.type_ == type_ && said.reason == reason);
        let is_recorded = state.is_recorded || others.has_recorded;
        let is_here = !cluster.is_deleting && cluster.is_labelled;
        if !is_recorded && cluster.is_held {
            let is_unclear = !cluster.is_asked || workload.set.is_some();
            let is_lost = is_here && is_unclear && says(AKO_INSTALLED, reason::ADC_MISSING);
            if is_lost && workload.config.is_none() {
                return Some(true);
            }
            let has_user = avi.has_user || first.has_user;
            let has_given_up = workload.set.is_some_and(|set| set.answer == Word::Timeout);
            let is_ending = workload.set.is_some_and(|set| set.is_ending);
            if has_user && !is_ending && says(USER_CLEANED_UP, reason::USER_CLEANUP_IMPOSSIBLE)
                || has_given_up && says(RESOURCES_CLEANED_UP, reason::CLEANUP_TIMED_OUT)
                || says(RESOURCES_CLEANED_UP, reason::CLEANUP_IMPOSSIBLE)
                || !cluster.is_deleting && !cluster.is_labelled && says(AKO_INSTALLED, reason::ADC_MISSING)
            {
                return Some(true);
            }
        }
        if is_here && says(AKO_INSTALLED, reason::LEAVING) {
            let is_said =
                said.iter().any(|said| said.type_ == RESOURCES_CLEANED_UP && said.status == Status::False);
            return Some(is_said && Self::waits_for_a_person(state));
        }
        let is_elsewhere = is_here && (others.has_recorded || workload.is_first && workload.config.is_some());
        is_elsewhere.then(|| says(AKO_INSTALLED, reason::PLACE_CHANGED) && !cluster.is_asked)
    }

    /// Returns whether a workload cluster is asked again and again for what it refuses, until a person or the deadline ends that.
    fn is_refused(&self, state: &State) -> bool {
        let State { cluster, machine, workload, is_overdue, process, .. } = state;
        let is_answering = workload.is_reachable && machine.has_hook;
        let is_awaited = workload.is_refusing && is_answering && !is_overdue && !cluster.is_forced;
        let decided = self.operator.pass(state).filter(|_| is_awaited && state.is_cached());
        let is_change = |turn: u32| {
            matches!(self.operator.turn(turn), Turn::LookAgain(Plan::DeleteConfig { .. } | Plan::Remove(_)))
        };
        let pending = process.and_then(|process| process.pending);
        decided.is_some_and(|decided| is_change(decided.turn)) && pending.is_none_or(is_change)
    }

    /// Returns whether AKO, or what is left of the workload cluster, keeps the Cluster: a person, or the deadline, has to end that.
    fn waits_for_a_person(state: &State) -> bool {
        if state.is_overdue {
            return false;
        }
        let workload = state.workload;
        let has_user = if workload.is_first { state.first.has_user } else { state.avi.has_user };
        // Without its user, AKO does not learn that nothing is left.
        let is_cut_off = workload.ako == Ako::Runs { removes: true } && !has_user;
        // A Machine without the hook goes, and AKO with it.
        let is_silent = (workload.ako == Ako::Hangs || is_cut_off)
            && state.machine.has_hook
            && workload.set.is_some_and(|set| !set.is_ending && set.answer != Word::Done);
        is_silent || !state.machine.exists
    }
}
