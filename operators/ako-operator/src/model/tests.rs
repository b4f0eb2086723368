//! What is explored.

use model::{Report, explore};

use super::Deletion;
use super::world::{Budget, State};

/// The number of states above which an exploration fails.
const LIMIT: usize = 30_000_000;

fn explored(name: &str, begin: State) -> Report {
    match explore(&Deletion::new(begin), LIMIT) {
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
    moves: 0,
    losses: 0,
    unready: 0,
    namesakes: 0,
    strips: 0,
    pauses: 0,
    failures: 0,
};

/// A Cluster that was moved, or is to be.
const MOVES: Budget = Budget {
    labels: 0,
    config_labels: 0,
    requests: 1,
    outages: 1,
    crashes: 1,
    ako: 1,
    edits: 0,
    configs: 0,
    deadlines: 0,
    moves: 2,
    losses: 2,
    unready: 1,
    namesakes: 1,
    strips: 1,
    ..ANY
};

#[test]
fn a_cluster_moves_whatever_happens() {
    let report =
        explored("four faults", State::elsewhere(Budget { faults: 4, losses: 1, edits: 2, ..MOVES }));
    assert!(report.states >= 10_000, "{report}");
}

/// While nothing says where AKO is to come from, the Cluster is paused, and a step fails.
#[test]
fn what_has_begun_goes_on_after_it_was_halted() {
    let report = explored("three faults and a halt", halted(3));
    assert!(report.states >= 100_000, "{report}");
}

/// Returns a Cluster that moves, and may be halted.
fn halted(faults: u8) -> State {
    let limits = Budget { losses: 0, namesakes: 0, strips: 0, outages: 0, forces: 0, ..MOVES };
    let mut begin = State::elsewhere(Budget { faults, configs: 2, pauses: 1, failures: 1, ..limits });
    begin.cluster.is_asked = true;
    begin.cached.0.is_asked = true;
    begin
}

/// What is kept of a move takes nothing away.
#[test]
fn a_cluster_stays_where_it_has_moved_to() {
    let mut begin = State::new(Budget { faults: 4, ..MOVES });
    begin.cluster.is_asked = true;
    begin.cached.0.is_asked = true;
    let report = explored("four faults after a move", begin);
    assert!(report.states >= 10_000, "{report}");
}

#[test]
fn a_cluster_comes_and_goes_whatever_happens() {
    let report = explored("four faults", State::new(Budget { faults: 4, ..ANY }));
    assert!(report.states >= 100_000, "{report}");
}

/// Without what has nothing to do with it.
#[test]
fn a_cluster_goes_whatever_its_api_server_refuses() {
    let budget =
        Budget { faults: 4, labels: 0, config_labels: 1, requests: 0, configs: 0, refusals: 1, ..ANY };
    let report = explored("four faults, one of them a refusal", State::new(budget));
    assert!(report.states >= 100_000, "{report}");
}

#[test]
#[ignore = "takes minutes: cargo xtask explore ako"]
fn explore_the_largest_configurations() {
    if std::env::var("EXPLORE").is_ok_and(|operator| operator != "ako") {
        return;
    }
    let report = explored("five faults", State::new(Budget { faults: 5, refusals: 1, ..ANY }));
    let moves =
        explored("five faults and a move", State::elsewhere(Budget { faults: 5, losses: 1, ..MOVES }));
    let halts = explored("four faults and a halt", halted(4));
    model::print_total(report.states + moves.states + halts.states);
}
