//! What is explored.

use model::{Report, explore};

use super::Deletion;
use super::world::Budget;

/// The number of states above which an exploration fails.
const LIMIT: usize = 20_000_000;

fn explored(name: &str, budget: Budget) -> Report {
    match explore(&Deletion::new(budget), LIMIT) {
        Ok(report) => {
            println!("{name}: {report}");
            report
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// One of everything, as far as the number of faults allows.
const ANY: Budget = Budget {
    faults: 0,
    deletes: 1,
    labels: 2,
    config_labels: 2,
    forces: 1,
    crashes: 2,
    requests: 2,
    outages: 2,
    ako: 2,
    edits: 2,
    configs: 1,
    deadlines: 1,
};

#[test]
fn a_cluster_comes_and_goes_whatever_happens() {
    let report = explored("four faults", Budget { faults: 4, ..ANY });
    assert!(report.states >= 100_000, "{report}");
}

#[test]
#[ignore = "takes minutes: cargo xtask explore ako"]
fn explore_the_largest_configurations() {
    if std::env::var("EXPLORE").is_ok_and(|operator| operator != "ako") {
        return;
    }
    let report = explored("five faults", Budget { faults: 5, ..ANY });
    model::print_total(report.states);
}
