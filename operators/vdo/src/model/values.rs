//! What the operator reads, from the state of the model.

use std::collections::HashSet;
use std::sync::Arc;

use infra_clients::Secret;
use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use operator_kit::Turn;

use super::world::{Answer, Machine, NODES, Node, Object, Part, Set};
use crate::config::{Account, Trust, Vcenter};
use crate::connection::{self, Login};
use crate::foreign::{Foreign, Workloads};
use crate::installer::model::{Action, Link, Plan, Record};
use crate::matrix::Driver;
use crate::nodes::NodeSeen;
use crate::plan::Drivers;
use crate::version::from_about;

/// The drivers of the model. The snapshot controller is not in it.
pub const DRIVERS: [Driver; 3] = [Driver::Cni, Driver::Cpi, Driver::Csi];
/// The versions of each driver, oldest first.
pub const VERSIONS: [[&str; 2]; 3] = [["2.6.0", "2.7.0"], ["1.36.0", "1.36.1"], ["3.7.2", "3.7.3"]];
/// What an object of another tool was made from.
pub const FOREIGN: u8 = 9;
/// Of the accounts of one version.
pub const ACCOUNTS: u8 = 2;

/// Returns the time of everything.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// Returns a time that is long ago.
pub fn long_ago() -> Timestamp {
    now() - SignedDuration::from_hours(1)
}

/// Returns the version that an object was made from.
pub fn version_of(content: u8) -> u8 {
    (content - 1) / ACCOUNTS
}

/// Returns the number of a driver of the model.
pub fn number(driver: Driver) -> usize {
    place(driver).unwrap()
}

/// Returns the number of a driver, if it is in the model.
pub fn place(driver: Driver) -> Option<usize> {
    DRIVERS.iter().position(|of| *of == driver)
}

/// Returns which part an object of a driver is of.
pub fn part_of(object: &DynamicObject) -> Part {
    match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("Deployment") => Part::Controller,
        Some("DaemonSet") => Part::Agents,
        _ => Part::Files,
    }
}

/// Returns the parts that a driver has.
pub fn parts(driver: Driver) -> &'static [Part] {
    if driver == Driver::Cpi { &[Part::Files, Part::Agents] } else { &Part::ALL }
}

/// Returns whether all that a driver consists of is there and runs.
pub fn runs(driver: Driver, set: &Set, fits: impl Fn(&Object) -> bool) -> bool {
    parts(driver).iter().all(|part| {
        let object = set.parts[*part as usize];
        object.exists() && object.is_ready && fits(&object)
    })
}

pub fn vcenter(account: u8) -> Vcenter {
    Vcenter {
        server: "vc.example.com".to_owned(),
        port: 443,
        datacenters: vec!["DC0".to_owned()],
        account: Account {
            username: "u@vsphere.local".to_owned(),
            password: Secret::new(format!("p{account}")),
        },
        trust: Trust::Image,
    }
}

/// Returns the connection with what is known of the vCenter.
pub fn link(account: u8, answer: Option<Answer>) -> Link {
    let identity = |account: u8| format!("vc/{account}");
    let login = Login { vcenter: Ok(vcenter(account)), identity: identity(account) };
    let is_asked = answer.is_some_and(|answer| answer.is_asked);
    let answer = answer.map(|answer| {
        let shown = (0..NODES).filter(|number| answer.shows[*number]).map(uuid);
        Arc::new(connection::Answer {
            identity: identity(answer.account),
            at: if answer.is_old { long_ago() } else { now() },
            release: "8.0.3".to_owned(),
            version: from_about("8.0.3", Some("8.0.3.0"), Some("24022515")).ok(),
            missing: Vec::new(),
            machines: shown.collect::<HashSet<_>>(),
        })
    });
    Link { name: "vc".to_owned(), uid: "vc".to_owned(), login, answer, is_asked }
}

/// Returns what workloads there are: of ours, from what the newest was made.
pub fn workloads(ours: [Option<u8>; 3], foreign: [bool; 3]) -> Workloads {
    let of = |driver: Driver| {
        let at = place(driver)?;
        Some(VERSIONS[at][version_of(ours[at]?) as usize].to_owned())
    };
    let other = |driver: Driver| {
        foreign[place(driver)?]
            .then(|| Foreign { what: "DaemonSet kube-system/other".to_owned(), version: None })
    };
    Workloads { foreign: Drivers::of(other), ours: Drivers::of(of) }
}

pub fn name(number: usize) -> String {
    format!("node-{number}")
}

pub fn uuid(number: usize) -> String {
    format!("4230000{number}-aaaa-4bbb-8ccc-00000000000{number}")
}

pub fn nodes(nodes: &[Option<Node>]) -> Vec<NodeSeen> {
    let there = nodes.iter().enumerate().filter_map(|(number, node)| Some((number, (*node)?)));
    let seen = |(number, node): (usize, Node)| NodeSeen {
        name: name(number),
        created: Some(now()),
        provider_id: node.is_initialized.then(|| format!("vsphere://{}", uuid(number))),
        is_uninitialized: !node.is_initialized,
        topology: node.is_registered.then(Vec::new),
    };
    there.map(seen).collect()
}

/// Returns whether a vCenter shows the machine of a Node.
pub fn is_shown(node: Option<Node>) -> bool {
    node.is_some_and(|node| node.machine == Machine::Visible)
}

/// Returns whether a version has not run completely yet that took the place of one that did.
pub fn is_upgrading(record: &Record) -> bool {
    record.previous.is_some() && !record.is_complete
}

/// Formats a turn in short.
pub fn short(turn: &Turn<Plan>) -> String {
    let of = |action: &Action| match action {
        Action::Apply { driver, change, record, .. } => format!("{driver} {change:?} {}", record.version),
        Action::Remove(driver, record) => format!("{driver} remove, begun {}", record.is_removing),
        Action::Release(driver, _) => format!("{driver} release"),
    };
    match turn {
        Turn::Act(Plan::Change { actions, outdated, .. }) => {
            let actions: Vec<_> = actions.iter().map(of).collect();
            format!("{actions:?}, ask {}", outdated.len())
        }
        turn => format!("{turn:?}"),
    }
}
