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
