//! What is explored: every order of steps in small configurations, and what follows from situations in which an operator
//! may destroy the wrong machine or make one too many.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use model::{Model, Report, explore};

use super::Operator;
use super::process::For;
use super::vcenter::TaskState;
use super::world::{Admin, Budget, Config, Label, Object, State};

/// Explores a model to its end.
fn explored(name: &str, operator: &Operator, limit: usize) -> Report {
    let result = explore(operator, limit);
    let (shown, memories) = (operator.shown.borrow().len(), operator.memories.borrow().len());
    let (passes, groups) = (operator.passes.borrow().len(), operator.group_passes.borrow().len());
    match result {
        Ok(report) => {
            println!(
                "{name}: {report}; {shown} inventories, {memories} memories, {passes} passes of instances, {groups} of the group"
            );
            report
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// A process of one slot that has read the vCenter.
fn one_slot(budget: Budget) -> Config {
    Config { replicas: 1, budget, has_begun: true, ..Config::default() }
}

const NONE: Budget = Budget::NONE;

/// A request may arrive when its VmInstance or its group is gone.
fn very_late(budget: Budget) -> Config {
    let budget = Budget { faults: 1, requests: 1, ..budget };
    Config { is_coarse: true, is_very_late: true, ..one_slot(budget) }
}

/// A second process starts while the first lives on, which may be until the end.
fn two_processes(budget: Budget) -> Config {
    Config { is_coarse: true, ..one_slot(Budget { second: 1, ..budget }) }
}

/// The vCenter does not answer at first: a process may take any step before it has read the inventory.
fn unreachable(budget: Budget) -> Config {
    Config { has_begun: false, ..one_slot(budget) }
}

/// One fault of each kind, as far as the number of faults allows; no second process.
const ANY: Budget = Budget {
    crashes: 1,
    requests: 1,
    tasks: 1,
    forgotten: 1,
    disconnects: 1,
    writes: 1,
    old_lists: 1,
    ..NONE
};

/// A group is deleted, and another of its name is created.
const AGAIN: Budget = Budget { group_deletes: 1, recreates: 1, ..NONE };

/// What `cargo test` explores: the largest first, so that the processors end together.
fn small() -> Vec<(&'static str, Config)> {
    let crash = Budget { faults: 1, crashes: 1, ..NONE };
    let request = Budget { faults: 1, requests: 1, ..NONE };
    vec![
        (
            "two slots and a fault",
            Config { replicas: 2, is_coarse: true, ..one_slot(Budget { faults: 1, ..ANY }) },
        ),
        ("three faults", one_slot(Budget { faults: 3, ..ANY })),
        ("a fault and an administrator", one_slot(Budget { faults: 1, admin: 1, ..ANY })),
        ("crash, and the group is created again", one_slot(Budget { faults: 1, crashes: 1, ..AGAIN })),
        ("two processes", two_processes(Budget { faults: 1, ..NONE })),
        (
            "vCenter unreachable at first, crash, group deleted",
            unreachable(Budget { group_deletes: 1, ..crash }),
        ),
        ("vCenter unreachable at first, and group deleted", {
            Config { reports_folder: true, ..unreachable(Budget { group_deletes: 1, ..NONE }) }
        }),
        ("vCenter unreachable at first, and again", {
            unreachable(Budget { faults: 2, crashes: 1, disconnects: 1, ..NONE })
        }),
        ("a request arrives when the group is gone", very_late(Budget { group_deletes: 1, ..NONE })),
        ("a request arrives when its VmInstance is gone", very_late(Budget { scales: 1, ..NONE })),
        ("two crashes", one_slot(Budget { faults: 2, crashes: 2, ..NONE })),
        ("two requests lost or late", one_slot(Budget { faults: 2, requests: 2, ..NONE })),
        ("crash, and a request lost or late", one_slot(Budget { faults: 2, crashes: 1, ..request })),
        (
            "a task fails, is forgotten; crash",
            one_slot(Budget { faults: 2, tasks: 1, forgotten: 1, crashes: 1, ..NONE }),
        ),
        ("connection lost, task fails", one_slot(Budget { faults: 2, disconnects: 1, tasks: 1, ..NONE })),
        ("two writes lost", one_slot(Budget { faults: 2, writes: 2, ..NONE })),
        ("two acts of an administrator", one_slot(Budget { admin: 2, ..NONE })),
        ("administrator and crash", one_slot(Budget { admin: 1, ..crash })),
        ("scale and crash", one_slot(Budget { scales: 1, ..crash })),
        ("scale, and a request lost or late", one_slot(Budget { scales: 1, ..request })),
        ("the group is created again", one_slot(AGAIN)),
        ("two slots", Config { replicas: 2, ..one_slot(NONE) }),
    ]
}

/// What `cargo xtask explore vm` explores as well.
fn large() -> Vec<(&'static str, Config)> {
    vec![
        (
            "two slots and a fault, object by object",
            Config { replicas: 2, ..one_slot(Budget { faults: 1, ..ANY }) },
        ),
        ("four faults", one_slot(Budget { faults: 4, ..ANY })),
        ("two faults and an administrator", one_slot(Budget { faults: 2, admin: 1, ..ANY })),
        ("a fault, and the group is deleted", one_slot(Budget { faults: 1, group_deletes: 1, ..ANY })),
        (
            "a request lost or late, and a VmInstance is deleted",
            one_slot(Budget { faults: 1, requests: 1, deletes: 1, ..NONE }),
        ),
        (
            "crash, and a VmInstance is deleted",
            one_slot(Budget { faults: 1, crashes: 1, deletes: 1, ..NONE }),
        ),
        (
            "two processes, and a request lost or late",
            two_processes(Budget { faults: 2, requests: 1, ..NONE }),
        ),
        ("a request arrives when another VmInstance has the slot", very_late(Budget { deletes: 1, ..NONE })),
        (
            "old list, and the group is created again",
            Config { is_coarse: true, ..one_slot(Budget { faults: 1, old_lists: 1, ..AGAIN }) },
        ),
    ]
}

/// More states than any configuration has.
const LIMIT: usize = 40_000_000;

/// Explores configurations on all processors, and returns how many states they have in all.
fn explore_all(configurations: &[(&'static str, Config)]) -> usize {
    let (next, states) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some((name, config)) = configurations.get(next.fetch_add(1, Relaxed)) {
            let report = explored(name, &Operator::new(*config), LIMIT);
            states.fetch_add(report.states, Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let states = states.into_inner();
    model::print_total(states);
    states
}

#[test]
fn a_million_states_hold() {
    assert!(explore_all(&small()) >= 1_000_000);
}

#[test]
#[ignore = "takes minutes: cargo xtask explore vm"]
fn explore_the_largest_configurations() {
    if std::env::var("EXPLORE").is_ok_and(|operator| operator != "vm") {
        return;
    }
    assert!(explore_all(&large().into_iter().chain(small()).collect::<Vec<_>>()) >= 10_000_000);
}

#[test]
fn nothing_goes_wrong() {
    let config = Config { replicas: 1, reports_folder: true, ..Config::default() };
    explored("nothing goes wrong", &Operator::new(config), 1_000);
}

// === situations ===

/// Takes the step with this label.
fn take(operator: &Operator, state: &State, label: Label) -> State {
    let step = operator.steps(state).into_iter().find(|step| step.label == label);
    step.unwrap_or_else(|| panic!("no step {label}:\n{}", operator.describe(state))).next
}

/// Returns the nearest state that the system itself reaches and that fits.
fn reach(operator: &Operator, state: State, fits: impl Fn(&State) -> bool) -> State {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([state]);
    while let Some(state) = queue.pop_front() {
        if fits(&state) {
            return state;
        }
        for step in operator.steps(&state).into_iter().filter(|step| !step.is_fault) {
            if seen.insert(step.next.clone()) {
                queue.push_back(step.next);
            }
        }
    }
    panic!("no such state");
}

fn begin(budget: Budget) -> (Operator, State) {
    let operator = Operator::new(Config { replicas: 1, budget, has_begun: true, ..Config::default() });
    let state = operator.initial().remove(0);
    (operator, state)
}

fn explore_from(operator: &Operator, state: State) {
    *operator.start.borrow_mut() = Some(state);
    explored("from here", operator, 1_000_000);
}

/// An administrator copies a machine and removes the machine, not the copy. The copy has the marker of the VmInstance, and is
/// neither adopted nor touched: another machine is made.
#[test]
fn a_copy_is_not_adopted() {
    let (operator, state) = begin(Budget { admin: 2, faults: 1, crashes: 1, deletes: 1, ..Budget::NONE });
    let state = reach(&operator, state, |state| operator.is_goal(state));
    let state = take(&operator, &state, Label::Admin(Admin::Copy, 0));
    let state = take(&operator, &state, Label::Admin(Admin::Remove, 0));
    let state = State { budget: Budget { deletes: 0, ..state.budget }, ..state };
    explore_from(&operator, state);
}

/// A process ends right after it has requested a clone that no status names. The next one sees the end of the task before the
/// machine. It neither lets the VmInstance go nor clones once more.
#[test]
fn a_clone_of_an_earlier_process_ends_before_its_machine_is_seen() {
    let (operator, state) = begin(Budget { faults: 1, crashes: 1, deletes: 1, ..Budget::NONE });
    let running = |state: &State| state.vcenter.tasks.iter().any(|task| task.state == TaskState::Running);
    let state = reach(&operator, state, running);
    let state = take(&operator, &state, Label::Crash(0));
    explore_from(&operator, state);
}

/// A process starts from a list in which a VmInstance has an earlier clone, and the watch brings the status that names the one
/// that runs. It is the VmInstance's although no request of this process is, and is waited for.
#[test]
fn a_clone_that_only_a_newer_status_names_is_waited_for() {
    let (operator, state) = begin(Budget { faults: 1, old_lists: 1, scales: 1, admin: 1, ..Budget::NONE });
    let (pass, response) = (Label::Reconcile(0, 0), Label::Response(0, For::Instance { number: 1, slot: 0 }));
    let first = [Label::ReconcileGroup(0), pass, pass, Label::Send(0), response];
    // Another machine takes the name, so the clone fails; it is requested again before the other machine is seen.
    let second = [Label::AddNamesake(0), Label::End(0), Label::Report(0, Object::Task(0)), pass, pass, pass];
    let third = [Label::Send(0), response, Label::KeepOldList, pass, Label::CrashToOldList(0)];
    let labels = first.into_iter().chain([Label::Scale(0)]).chain(second).chain(third);
    let state = labels.fold(state, |state, label| take(&operator, &state, label));
    explore_from(&operator, state);
}

/// A process starts from a list in which the predecessor of a VmInstance is being deleted. The successor's machine stays.
#[test]
fn an_old_deletion_mark_destroys_no_machine_of_a_successor() {
    let (operator, state) = begin(Budget { faults: 1, old_lists: 1, scales: 2, ..Budget::NONE });
    let state = reach(&operator, state, |state| operator.is_goal(state));
    let state = take(&operator, &state, Label::Scale(0));
    let instance = |state: &State| state.kubernetes.objects.instances[0];
    let state = reach(&operator, state, |state| instance(state).is_some_and(|i| i.deleting));
    let predecessor = instance(&state).unwrap();
    let state = take(&operator, &state, Label::KeepOldList);
    let state = reach(&operator, state, |state| operator.is_goal(state));
    assert_eq!(instance(&state), None);
    let state = take(&operator, &state, Label::Scale(1));
    let state = reach(&operator, state, |state| operator.is_goal(state));
    assert_ne!(instance(&state).unwrap().number, predecessor.number);
    let state = take(&operator, &state, Label::CrashToOldList(0));
    assert_eq!(state.processes[0].cache.instances[0], Some(predecessor));
    explore_from(&operator, state);
}

/// A process starts from a list of before the group had a VmInstance, and sees that the group is deleted before it sees the
/// VmInstance. The group stays until the machine is gone.
#[test]
fn a_group_is_not_let_go_by_a_process_that_does_not_see_its_instance() {
    let (operator, state) = begin(Budget { faults: 1, old_lists: 1, group_deletes: 1, ..Budget::NONE });
    let state = take(&operator, &state, Label::KeepOldList);
    let state = reach(&operator, state, |state| operator.is_goal(state));
    let state = take(&operator, &state, Label::DeleteGroup);
    let state = take(&operator, &state, Label::CrashToOldList(0));
    let cache = state.processes[0].cache;
    assert!(cache.group.is_some_and(|group| !group.deleting) && cache.instances[0].is_none());
    explore_from(&operator, state);
}

/// A process starts from a list that has a VmInstance which is gone. It makes no machine for it.
#[test]
fn no_machine_is_made_for_an_instance_of_an_old_list() {
    let (operator, state) = begin(Budget { faults: 1, old_lists: 1, scales: 1, ..Budget::NONE });
    let has_instance = |state: &State| state.kubernetes.objects.instances[0].is_some();
    let state = reach(&operator, state, has_instance);
    let state = take(&operator, &state, Label::KeepOldList);
    let state = take(&operator, &state, Label::Scale(0));
    let state = reach(&operator, state, |state| operator.is_goal(state));
    let state = take(&operator, &state, Label::CrashToOldList(0));
    assert!(state.processes[0].cache.instances[0].is_some() && !has_instance(&state));
    explore_from(&operator, state);
}
