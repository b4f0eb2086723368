//! What is explored.

use model::{Report, explore};
use serde_json::{Value, json};

use super::Cluster;
use super::operator::Operator;
use super::world::{ASKERS, Budget, State};

/// The number of states above which an exploration fails.
const LIMIT: usize = 60_000_000;

/// All drivers.
const ALL: u8 = 0;
/// All drivers, CSI removed.
const NO_CSI: u8 = 1;
/// All drivers, CPI in its older version.
const PINNED: u8 = 2;
/// CPI alone.
const CPI: u8 = 3;
/// CSI alone.
const CSI: u8 = 4;
/// All drivers, which stay when the object goes.
const ORPHAN: u8 = 5;
/// All drivers, also those of other tools.
const ADOPT: u8 = 6;

fn wishes() -> Vec<Value> {
    let with = |extra: &[(&str, Value)], connects: bool| {
        let mut spec = json!({});
        if connects {
            spec["connections"] = json!(["vc"]);
        }
        for (key, value) in extra {
            spec[*key] = value.clone();
        }
        spec
    };
    let all = |extra: &[(&str, Value)]| json!({ "cni": with(extra, false), "cpi": with(extra, true), "csi": with(extra, true) });
    let mut no_csi = all(&[]);
    no_csi["csi"]["managementState"] = json!("Removed");
    let mut pinned = all(&[]);
    pinned["cpi"] = with(&[("versionPolicy", json!("Pinned")), ("version", json!("1.36.0"))], true);
    let mut orphan = all(&[]);
    orphan["deletionPolicy"] = json!("Orphan");
    vec![
        all(&[]),
        no_csi,
        pinned,
        json!({ "cpi": with(&[], true) }),
        json!({ "csi": with(&[], true) }),
        orphan,
        all(&[("adopt", json!(true))]),
    ]
}

/// What is explored.
struct Config {
    name: &'static str,
    /// What each asker wants at first.
    asked: [Option<u8>; ASKERS],
    /// What a person may have them want later.
    wishes: [&'static [u8]; ASKERS],
    budget: Budget,
}

fn explored(config: &Config) -> Report {
    let Config { name, asked, wishes: later, budget } = config;
    let begin = State::new(*asked, *budget);
    let cluster = Cluster { operator: Operator::new(&wishes()), begin, wishes: *later };
    match explore(&cluster, LIMIT) {
        Ok(report) => {
            println!("{name}: {report}");
            report
        }
        Err(violation) => panic!("{name}: {violation}"),
    }
}

/// Nothing.
const NONE: Budget = Budget {
    faults: 0,
    crashes: 0,
    old_lists: 0,
    refusals: 0,
    deletes: 0,
    creates: 0,
    wishes: 0,
    matrices: 0,
    accounts: 0,
    outages: 0,
    notes: 0,
    edits: 0,
    foreign: 0,
    nodes: 0,
    machines: 0,
    uses: 0,
    times: 0,
    breaks: 0,
};

/// One of everything, as far as the number of faults allows.
const ANY: Budget = Budget {
    crashes: 2,
    old_lists: 1,
    refusals: 2,
    deletes: 1,
    wishes: 2,
    matrices: 2,
    accounts: 1,
    outages: 1,
    notes: 1,
    edits: 2,
    foreign: 1,
    nodes: 1,
    machines: 1,
    uses: 1,
    times: 1,
    ..NONE
};

/// What `cargo test` explores.
fn small() -> Vec<Config> {
    let one = |faults: u8| Budget { faults, ..ANY };
    vec![
        Config {
            name: "one fault",
            asked: [Some(ALL), None],
            wishes: [&[NO_CSI, PINNED], &[]],
            budget: one(1),
        },
        Config {
            name: "two objects and one fault",
            asked: [Some(CPI), Some(CSI)],
            wishes: [&[CSI], &[CPI]],
            budget: Budget { faults: 1, deletes: 1, creates: 1, wishes: 1, crashes: 1, ..NONE },
        },
        Config {
            name: "drivers of another tool are taken over, two faults",
            asked: [Some(ADOPT), None],
            wishes: [&[ALL], &[]],
            budget: Budget { faults: 2, foreign: 1, crashes: 1, refusals: 1, ..NONE },
        },
        Config {
            name: "drivers stay, two faults",
            asked: [Some(ORPHAN), None],
            wishes: [&[ALL], &[]],
            budget: Budget { faults: 2, deletes: 1, crashes: 1, refusals: 1, wishes: 1, ..NONE },
        },
        Config {
            name: "an upgrade that fails",
            asked: [Some(ALL), None],
            wishes: [&[], &[]],
            budget: Budget { faults: 2, breaks: 1, matrices: 1, ..NONE },
        },
    ]
}

/// What `cargo xtask explore vdo` explores as well.
fn large() -> Vec<Config> {
    vec![
        Config {
            name: "two faults",
            asked: [Some(ALL), None],
            wishes: [&[NO_CSI, PINNED], &[]],
            budget: Budget { faults: 2, ..ANY },
        },
        Config {
            name: "two objects, and any fault",
            asked: [Some(CPI), Some(CSI)],
            wishes: [&[CSI], &[CPI]],
            budget: Budget { faults: 1, creates: 1, ..ANY },
        },
        Config {
            name: "two objects, an old list and another fault",
            asked: [Some(CPI), Some(CSI)],
            wishes: [&[CSI], &[CPI]],
            budget: Budget { faults: 3, crashes: 1, old_lists: 1, deletes: 1, creates: 1, wishes: 1, ..NONE },
        },
        Config {
            name: "an old list, three faults",
            asked: [Some(ALL), None],
            wishes: [&[NO_CSI], &[]],
            budget: Budget { faults: 3, crashes: 1, old_lists: 1, wishes: 2, deletes: 1, ..NONE },
        },
        Config {
            name: "an upgrade that fails, and another fault",
            asked: [Some(ALL), None],
            wishes: [&[PINNED], &[]],
            budget: Budget {
                faults: 3,
                breaks: 1,
                matrices: 1,
                crashes: 1,
                refusals: 1,
                wishes: 1,
                notes: 1,
                ..NONE
            },
        },
        Config {
            name: "upgrade, crash, lost notes",
            asked: [Some(ALL), None],
            wishes: [&[], &[]],
            budget: Budget { faults: 3, crashes: 1, matrices: 2, notes: 1, deletes: 1, ..NONE },
        },
    ]
}

fn explore_all(configs: &[Config]) -> usize {
    configs.iter().map(|config| explored(config).states).sum()
}

#[test]
fn drivers_come_and_go_whatever_happens() {
    let states = explore_all(&small());
    assert!(states >= 100_000, "{states} states");
}

#[test]
#[ignore = "takes minutes: cargo xtask explore vdo"]
fn explore_the_largest_configurations() {
    if std::env::var("EXPLORE").is_ok_and(|operator| operator != "vdo") {
        return;
    }
    model::print_total(explore_all(&small()) + explore_all(&large()));
}
