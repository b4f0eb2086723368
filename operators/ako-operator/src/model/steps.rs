//! What may happen in a state.

use infra_clients::capi;
use kube::api::Patch;
use model::Step;
use operator_kit::Turn;

use super::Deletion;
use super::moves::{may_move, move_steps};
use super::world::{Ako, Budget, Label, Process, Set, Site, State, Word, Wrong};
use crate::cluster::plan::Plan;
use crate::cluster::report::{Report, failed};
use crate::cluster::seen::ObjectWrite;
use crate::delivery::Target;
use crate::error::Error;

/// Collects steps that change something.
pub(super) struct Steps<'a> {
    from: &'a State,
    all: Vec<Step<State, Label>>,
}

impl Steps<'_> {
    fn add(&mut self, is_fault: bool, label: Label, next: State) {
        if next != *self.from {
            self.all.push(Step { is_fault, label, next });
        }
    }

    /// Adds what the system does.
    fn work(&mut self, is_possible: bool, label: Label, change: impl FnOnce(&mut State)) {
        if is_possible {
            let mut next = self.from.clone();
            change(&mut next);
            self.add(false, label, next);
        }
    }

    /// Adds what may happen and need not. `budget`: how often it may still happen.
    pub(super) fn fault(
        &mut self,
        budget: impl Fn(&mut Budget) -> &mut u8,
        is_possible: bool,
        label: Label,
        change: impl FnOnce(&mut State),
    ) {
        let mut next = self.from.clone();
        let left = &mut next.budget;
        if !is_possible || left.faults == 0 || *budget(left) == 0 {
            return;
        }
        left.faults -= 1;
        *budget(left) -= 1;
        change(&mut next);
        self.add(true, label, next);
    }
}

impl Deletion {
    pub(super) fn all_steps(&self, state: &State) -> Vec<Step<State, Label>> {
        let mut steps = Steps { from: state, all: Vec::new() };
        self.operator_steps(state, &mut steps);
        world_steps(state, self.operator.records(state), &mut steps);
        let is_with_ako = self.operator.is_with_ako(state.cluster.said);
        move_steps(state, is_with_ako, &mut steps);
        ako_steps(state, &mut steps);
        user_steps(state, is_with_ako, &mut steps);
        steps.all
    }

    fn operator_steps(&self, state: &State, steps: &mut Steps<'_>) {
        steps.work(state.process.is_none(), Label::Restart, |next| {
            next.process = Some(Process::default());
            next.cached = (next.cluster, next.machine);
        });
        let Some(process) = state.process else { return };
        steps.work(!state.is_cached(), Label::Watch, |next| next.cached = (next.cluster, next.machine));
        steps.fault(|left| &mut left.crashes, true, Label::Crash, |next| next.process = None);
        let may_fail =
            state.cluster.exists && state.is_cached() && state.cluster.is_held && !state.cluster.is_paused;
        steps.fault(
            |left| &mut left.failures,
            may_fail,
            Label::PassFails,
            |next| {
                next.process.as_mut().unwrap().pending = None;
                self.say_failed(next, &Error::Credentials("gone".to_owned()));
            },
        );
        let Some(pending) = process.pending else {
            if let Some(next) = self.observed(state) {
                steps.add(false, Label::Observe, next);
            }
            return;
        };
        let idle = |next: &mut State| next.process.as_mut().unwrap().pending = None;
        let turn = self.operator.turn(pending);
        steps.work(true, Label::Apply, |next| {
            idle(next);
            self.carry_out(&turn, next, 3);
        });
        steps.fault(|left| &mut left.requests, true, Label::RequestLost, idle);
        steps.fault(
            |left| &mut left.requests,
            true,
            Label::ReplyLost,
            |next| {
                idle(next);
                let before = next.process.unwrap();
                self.carry_out(&turn, next, 3);
                // What ends a memory is written down before the request, what begins one after it.
                let after = next.process.as_mut().unwrap();
                after.is_purged &= before.is_purged;
                after.is_user_removed &= before.is_user_removed;
                after.is_watched &= before.is_watched;
            },
        );
        for written in [1, 2] {
            let is_apply = matches!(turn, Turn::LookAgain(Plan::Apply(_)));
            steps.fault(
                |left| &mut left.requests,
                is_apply,
                Label::ApplyCut,
                |next| {
                    idle(next);
                    self.carry_out(&turn, next, written);
                },
            );
        }
    }

    /// Observes and decides; `None` if nothing follows.
    pub(super) fn observed(&self, state: &State) -> Option<State> {
        let decided = self.operator.pass(state)?;
        let (cluster, mut next) = (state.cached.0, state.clone());
        if decided.holds && !cluster.is_held && !cluster.is_deleting {
            // The request has the version that the cache has.
            if cluster == state.cluster {
                next.cluster.is_held = true;
                next.cached.0.is_held = true;
            }
            return Some(next);
        }
        match self.operator.turn(decided.turn) {
            Turn::Wait { .. } | Turn::Blocked { .. } | Turn::Settled => {
                next.process.as_mut()?.works = decided.works;
                (next != *state).then_some(next)
            }
            Turn::Gone if !cluster.is_held => None,
            turn @ (Turn::Gone | Turn::Act(_) | Turn::LookAgain(_)) => {
                let is_asked = cluster.is_deleting || cluster.deletes_config || cluster.is_forced;
                let leaves = matches!(turn, Turn::LookAgain(Plan::DeleteConfig { .. }));
                if state.is_unread && leaves && !is_asked {
                    next.wrong = Some(Wrong::Unasked);
                }
                if decided.begins && !may_move(state) {
                    next.wrong = Some(Wrong::Moved);
                }
                next.process.as_mut()?.works = decided.works;
                next.process.as_mut()?.pending = Some(decided.turn);
                Some(next)
            }
        }
    }

    /// Carries a turn out. `written`: how many parts of a delivery are written.
    fn carry_out(&self, turn: &Turn<Plan>, next: &mut State, written: u8) {
        let cached = next.cached;
        let plan = match turn {
            Turn::Gone => {
                let_go(next);
                return;
            }
            Turn::Act(plan) | Turn::LookAgain(plan) => plan,
            Turn::Wait { .. } | Turn::Blocked { .. } | Turn::Settled => return,
        };
        let is_reachable = next.workload.is_reachable;
        if matches!(plan, Plan::Apply(_) | Plan::DeleteConfig { .. }) {
            next.process.as_mut().unwrap().is_purged = false;
        }
        match plan {
            Plan::Watch => next.process.as_mut().unwrap().is_watched = true,
            Plan::Hook { add, .. } => {
                if cached.1 == next.machine && next.machine.exists {
                    next.machine.has_hook = !add.is_empty();
                    next.cached.1 = next.machine;
                }
            }
            Plan::Report(report) => {
                self.report(next, report);
            }
            Plan::Account(_) => make_user(next),
            Plan::RemoveUser { once } => remove_user(next, *once),
            Plan::Purge { once } => purge(next, *once),
            Plan::Apply(_) | Plan::DeleteConfig { .. } | Plan::Remove(_) if !is_reachable => {}
            Plan::DeleteConfig { .. } | Plan::Remove(_) if next.workload.is_refusing => {
                self.say_failed(next, &capi::Error::new(capi::Kind::Forbidden, "refused").into());
            }
            Plan::Apply(changes) => apply(next, changes, written),
            Plan::DeleteConfig { stale, .. } => {
                if let (Some(_), Some(set)) = (stale, &mut next.workload.set) {
                    set.answer = Word::Nothing;
                }
                next.workload.config = next.workload.config.map(|_| true);
            }
            Plan::Remove(targets) => remove(next, targets),
        }
    }

    fn report(&self, next: &mut State, report: &Report) {
        if !next.cluster.exists {
            return;
        }
        let was_leaving = self.operator.is_leaving(next.cluster.said);
        next.cluster.said = self.operator.reported(next.cluster.said, report);
        next.cached.0 = next.cluster;
        // Else a person has had it let go.
        let State { cluster, others, .. } = &next;
        let moves = others.has_recorded && cluster.is_labelled && cluster.is_held && !cluster.is_forced;
        if was_leaving && !self.operator.is_leaving(next.cluster.said) && moves {
            next.wrong = Some(Wrong::Forgotten);
        }
    }

    fn say_failed(&self, next: &mut State, error: &Error) {
        let Some(seen) = self.operator.glance(next) else { return };
        self.report(next, &Report { set: failed(&seen, error), remove: Vec::new(), notice: None });
    }
}

/// Takes the finalizer off.
fn let_go(next: &mut State) {
    let cached = next.cached;
    // The request has the version that the cache has.
    if cached.0 == next.cluster {
        next.cluster.is_held = false;
        next.cached.0.is_held = false;
        // `forget`
        next.process = Some(Process::default());
        let (objects, user) =
            (next.avi.has_objects || next.first.has_objects, next.avi.has_user || next.first.has_user);
        let is_left = [(objects, Wrong::Left), (user, Wrong::UserLeft)];
        if let Some((_, wrong)) = is_left.into_iter().find(|(is_left, _)| *is_left)
            && !next.cluster.is_forced
        {
            next.wrong = Some(wrong);
        }
    }
}

fn make_user(next: &mut State) {
    if next.avi.is_reachable {
        next.avi.has_user = true;
        next.process.as_mut().unwrap().is_user_removed = false;
    }
}

fn remove_user(next: &mut State, once: bool) {
    // Nothing says where it is without a record.
    let is_possible = next.avi.is_reachable && (next.is_recorded || next.others.has_recorded);
    if is_possible {
        let is_first = next.is_recorded_first();
        next.set_site(is_first, Site { has_user: false, ..next.site(is_first) });
    }
    next.process.as_mut().unwrap().is_user_removed |= once || is_possible;
}

fn purge(next: &mut State, once: bool) {
    let is_first = next.is_recorded_first();
    let Site { has_objects: found, has_user } = next.site(is_first);
    let is_possible = next.avi.is_reachable && (next.is_recorded || next.others.has_recorded);
    if is_possible {
        let would_make = matches!(next.workload.ako, Ako::Runs { removes: false });
        if would_make && found && has_user && !next.cluster.is_forced {
            next.wrong = Some(Wrong::RemovedUnderAko);
        }
        next.set_site(is_first, Site { has_objects: false, has_user });
    }
    if once || (is_possible && !found) {
        next.process.as_mut().unwrap().is_purged = true;
    }
}

/// Writes the objects in their order: the others, the ConfigMap, the StatefulSet.
fn apply(next: &mut State, changes: &[ObjectWrite], written: u8) {
    let has = |kind: &str| changes.iter().any(|change| change.target.resource.kind == kind);
    let has_others = changes
        .iter()
        .any(|change| !["ConfigMap", "StatefulSet"].contains(&change.target.resource.kind.as_str()));
    let workload = &mut next.workload;
    workload.has_rest |= has_others && written > 0;
    let config = changes.iter().find(|change| change.target.resource.kind == "ConfigMap");
    if let Some(ObjectWrite { patch: Patch::Apply(config), .. }) = config.filter(|_| written > 1) {
        workload.config = Some(config["data"]["deleteConfig"] == "true");
        if workload.is_first {
            // Its Pods are rolled.
            (workload.is_first, workload.ako) = (false, Ako::Stopped);
            if (next.first.has_objects || next.first.has_user) && !next.cluster.is_forced {
                next.wrong = Some(Wrong::LeftElsewhere);
            }
        }
    }
    if has("StatefulSet") && written > 2 && workload.set.is_none() {
        workload.set = Some(Set { answer: Word::Nothing, is_ending: false });
    }
}

fn remove(next: &mut State, targets: &[Target]) {
    let workload = &mut next.workload;
    for target in targets {
        match target.resource.kind.as_str() {
            "StatefulSet" => {
                if let Some(set) = &mut workload.set {
                    set.is_ending = true;
                }
            }
            "ConfigMap" => workload.config = None,
            _ => workload.has_rest = false,
        }
    }
}

fn world_steps(state: &State, records: (bool, bool), steps: &mut Steps<'_>) {
    let State { cluster, machine, workload, avi, is_recorded, others, .. } = state;
    let (records, first_records) = records;
    steps.work(records != *is_recorded, Label::Records, |next| next.is_recorded = records);
    steps.work(first_records != others.has_recorded, Label::FirstRecords, |next| {
        next.others.has_recorded = first_records;
    });
    steps.work(others.is_unready, Label::ConfigIsReady, |next| next.others.is_unready = false);
    steps.work(others.is_namesake, Label::NamesakeGoes, |next| next.others.is_namesake = false);
    steps.work(cluster.exists && !cluster.is_initialized, Label::ControlPlaneRuns, |next| {
        next.cluster.is_initialized = true;
    });
    steps.work(state.is_unread, Label::ConfigIsRead, |next| next.is_unread = false);
    let is_read = !state.is_unread;
    steps.fault(|left| &mut left.configs, is_read, Label::ConfigIsUnread, |next| next.is_unread = true);
    steps.work(machine.exists && !workload.is_reachable, Label::WorkloadAnswers, |next| {
        next.workload.is_reachable = true;
    });
    steps.work(!avi.is_reachable, Label::AviAnswers, |next| next.avi.is_reachable = true);
    let goes = cluster.is_deleting && machine.exists && !machine.has_hook;
    steps.work(goes, Label::MachineGoes, |next| {
        next.machine.exists = false;
        next.workload.is_reachable = false;
        next.workload.ako = Ako::Stopped;
        let has_objects = next.avi.has_objects || next.first.has_objects;
        if has_objects && next.cluster.is_held && !next.cluster.is_forced {
            next.wrong = Some(Wrong::MachineGone);
        }
    });
    let goes = cluster.exists && cluster.is_deleting && !cluster.is_held && !machine.exists;
    steps.work(goes, Label::ClusterGoes, |next| next.cluster.exists = false);
}

fn ako_steps(state: &State, steps: &mut Steps<'_>) {
    let (workload, avi) = (state.workload, state.avi);
    let site = state.site(workload.is_first);
    let makes_or_removes =
        |next: &mut State, has_objects| next.set_site(workload.is_first, Site { has_objects, ..site });
    let Some(set) = workload.set else { return };
    let ends = set.is_ending;
    steps.work(ends && state.machine.exists, Label::PodEnds, |next| {
        next.workload.set = None;
        next.workload.ako = Ako::Stopped;
    });
    let says = |next: &mut State, answer| next.workload.set = Some(Set { answer, ..set });
    match workload.ako {
        Ako::Stopped => {
            if let Some(removes) = workload.config.filter(|_| !ends && state.machine.exists) {
                steps.work(true, Label::AkoStarts, |next| {
                    next.workload.ako = Ako::Runs { removes };
                    if !removes {
                        says(next, Word::Nothing);
                    }
                });
            }
        }
        Ako::Hangs => {}
        Ako::Runs { removes } => {
            let read = workload.config.unwrap_or(removes);
            // AKO reads that it has to remove nothing, and takes its answer away.
            steps.work(read != removes, Label::AkoReads, |next| {
                next.workload.ako = Ako::Runs { removes: read };
                if !read {
                    says(next, Word::Nothing);
                }
            });
            let can_work = avi.is_reachable && site.has_user;
            let makes = !removes && !site.has_objects && can_work && set.answer == Word::Nothing;
            steps.work(makes, Label::AkoMakes, |next| makes_or_removes(next, true));
            steps.work(removes && set.answer == Word::Nothing, Label::AkoBegins, |next| {
                says(next, Word::Started);
            });
            let is_busy = removes && set.answer == Word::Started;
            let may_remove = is_busy && site.has_objects && can_work;
            steps.work(may_remove, Label::AkoRemoves, |next| makes_or_removes(next, false));
            // Without its user it does not learn that nothing is left.
            let is_clean = is_busy && !site.has_objects && can_work;
            steps.work(is_clean, Label::AkoEnds, |next| says(next, Word::Done));
            steps.fault(|left| &mut left.ako, is_busy, Label::AkoTimesOut, |next| says(next, Word::Timeout));
            steps.fault(|left| &mut left.ako, true, Label::AkoHangs, |next| next.workload.ako = Ako::Hangs);
            steps.fault(
                |left| &mut left.ako,
                true,
                Label::AkoCrashes,
                |next| next.workload.ako = Ako::Stopped,
            );
        }
    }
}

/// `is_with_ako`: as the condition of the Cluster says.
fn user_steps(state: &State, is_with_ako: bool, steps: &mut Steps<'_>) {
    let (cluster, workload) = (state.cluster, state.workload);
    let exists = cluster.exists;
    let lives = exists && !cluster.is_deleting;
    // A person has taken the finalizer off, and the operator has not put it back.
    let is_stripped = is_with_ako && !cluster.is_held;
    // Of one that leaves before its status is back, it is not known that AKO runs.
    let is_known = exists && cluster.is_initialized && !is_stripped;
    let goes = lives && is_known;
    steps.fault(|left| &mut left.deletes, goes, Label::UserDeletes, |next| next.cluster.is_deleting = true);
    steps.fault(
        |left| &mut left.labels,
        is_known,
        Label::UserLabels,
        |next| next.cluster.is_labelled ^= true,
    );
    steps.fault(
        |left| &mut left.config_labels,
        exists,
        Label::UserLabelsForConfig,
        |next| next.cluster.deletes_config ^= true,
    );
    let is_awaited =
        cluster.is_held && (cluster.is_deleting || !cluster.is_labelled || cluster.deletes_config);
    steps.fault(
        |left| &mut left.deadlines,
        is_awaited && !state.is_overdue,
        Label::DeadlineEnds,
        |next| {
            next.is_overdue = true;
        },
    );
    // `clusterctl move` pauses a Cluster before it takes the finalizer.
    let may_pause = exists && !cluster.is_paused && !is_stripped;
    steps.fault(|left| &mut left.pauses, may_pause, Label::UserPauses, |next| next.cluster.is_paused = true);
    steps.work(cluster.is_paused, Label::UserUnpauses, |next| next.cluster.is_paused = false);
    let may_force = exists && !cluster.is_forced;
    steps.fault(|left| &mut left.forces, may_force, Label::UserForces, |next| next.cluster.is_forced = true);
    steps.fault(
        |left| &mut left.outages,
        workload.is_reachable,
        Label::WorkloadSilent,
        |next| {
            next.workload.is_reachable = false;
        },
    );
    let may_refuse = cluster.is_deleting && cluster.is_held && !workload.is_refusing;
    steps.fault(
        |left| &mut left.refusals,
        may_refuse,
        Label::WorkloadRefuses,
        |next| {
            next.workload.is_refusing = true;
        },
    );
    steps.fault(
        |left| &mut left.outages,
        state.avi.is_reachable,
        Label::AviSilent,
        |next| {
            next.avi.is_reachable = false;
        },
    );
    edit_steps(state, steps);
}

/// Adds what others do to the objects in the workload cluster.
fn edit_steps(state: &State, steps: &mut Steps<'_>) {
    let workload = state.workload;
    let is_unrecorded = !state.is_recorded && !state.others.has_recorded;
    // Nothing says any more that it had AKO.
    let is_kept = is_unrecorded && (state.cluster.is_asked || state.cluster.said == 0);
    let has_config = workload.config.is_some() && !is_kept;
    let has_set = workload.set.is_some_and(|set| !set.is_ending);
    steps.fault(|left| &mut left.edits, has_config, Label::ConfigDeleted, |next| next.workload.config = None);
    steps.fault(
        |left| &mut left.edits,
        has_set,
        Label::SetDeleted,
        |next| {
            if let Some(set) = &mut next.workload.set {
                set.is_ending = true;
            }
        },
    );
}
