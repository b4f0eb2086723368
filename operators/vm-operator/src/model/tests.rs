//! The configurations that are explored.

use model::explore;

use super::Operator;
use super::world::{Budget, Config};

/// Explores a configuration to its end.
fn check(config: Config, limit: usize) {
    let operator = Operator::new(config);
    let result = explore(&operator, limit);
    let (shown, memories) = (operator.shown.borrow().len(), operator.memories.borrow().len());
    let (passes, groups) = (operator.passes.borrow().len(), operator.group_passes.borrow().len());
    let sends = operator.sends.borrow().len();
    println!("{shown} inventories, {memories} memories, {passes} and {groups} passes, {sends} sends");
    match result {
        Ok(report) => println!("{report}"),
        Err(violation) => panic!("{violation}"),
    }
}

const FAULTS: Budget = Budget {
    faults: 1,
    crashes: 1,
    second: 1,
    requests: 1,
    tasks: 1,
    forgotten: 1,
    disconnects: 1,
    writes: 1,
    old_lists: 1,
    admin: 0,
    deletes: 0,
    group_deletes: 0,
    scales: 0,
};

#[test]
fn nothing_goes_wrong() {
    check(Config { replicas: 1, reports_folder: true, ..Config::default() }, 1_000_000);
}

#[test]
fn one_fault() {
    check(Config { replicas: 1, budget: FAULTS, has_begun: true, ..Config::default() }, 1_000_000);
}

#[test]
fn deletes() {
    let budget = Budget { deletes: 1, ..Budget::default() };
    check(Config { replicas: 1, budget, has_begun: true, ..Config::default() }, 1_000_000);
}

#[test]
fn scales() {
    let budget = Budget { scales: 1, ..Budget::default() };
    check(Config { replicas: 1, budget, has_begun: true, ..Config::default() }, 1_000_000);
}

#[test]
fn group_deletes() {
    let budget = Budget { group_deletes: 1, ..Budget::default() };
    check(Config { replicas: 1, budget, ..Config::default() }, 1_000_000);
}

#[test]
fn administrators() {
    let budget = Budget { admin: 1, ..Budget::default() };
    check(Config { replicas: 1, budget, has_begun: true, ..Config::default() }, 1_000_000);
}

#[test]
fn administrators_and_deletes() {
    let budget = Budget { admin: 1, deletes: 1, ..Budget::default() };
    check(Config { replicas: 1, budget, has_begun: true, ..Config::default() }, 1_000_000);
}
