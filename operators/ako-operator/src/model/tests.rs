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
    refusals: 0,
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

/// Without what has nothing to do with it.
#[test]
fn a_cluster_goes_whatever_its_api_server_refuses() {
    let budget =
        Budget { faults: 4, labels: 0, config_labels: 1, requests: 0, configs: 0, refusals: 1, ..ANY };
    let report = explored("four faults, one of them a refusal", budget);
    assert!(report.states >= 100_000, "{report}");
}

#[test]
#[ignore = "takes minutes: cargo xtask explore ako"]
fn explore_the_largest_configurations() {
    if std::env::var("EXPLORE").is_ok_and(|operator| operator != "ako") {
        return;
    }
    let report = explored("five faults", Budget { faults: 5, refusals: 1, ..ANY });
    model::print_total(report.states);
}
