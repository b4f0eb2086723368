//! The configurations that are explored.

use model::explore;

use super::Operator;
use super::world::Budget;

/// Explores a configuration to its end.
fn check(replicas: u8, budget: Budget, limit: usize) {
    let operator = Operator::new(replicas, budget);
    match explore(&operator, limit) {
        Ok(report) => {
            let (shown, memories) = (operator.shown.borrow().len(), operator.memories.borrow().len());
            let passes = operator.passes.borrow().len();
            println!("{report}; {shown} inventories, {memories} memories, {passes} passes");
        }
        Err(violation) => panic!("{violation}"),
    }
}

#[test]
fn nothing_goes_wrong() {
    check(1, Budget::default(), 100_000);
}

/// One of each kind, but only one at a time: finds what one fault breaks.
#[test]
fn one_fault() {
    let budget = Budget {
        faults: 1,
        crashes: 1,
        second: 1,
        requests: 1,
        tasks: 1,
        forgotten: 1,
        disconnects: 1,
        writes: 1,
        old_lists: 1,
        ..Budget::default()
    };
    check(1, budget, 300_000);
}

#[test]
fn users() {
    check(1, Budget { deletes: 1, group_deletes: 1, scales: 1, ..Budget::default() }, 300_000);
}

#[test]
fn administrators() {
    check(1, Budget { admin: 1, deletes: 1, group_deletes: 1, ..Budget::default() }, 300_000);
}
