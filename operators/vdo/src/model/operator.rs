//! The operator: from a state to the pass that its functions decide, each computed once for the same values.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use jiff::SignedDuration;
use kube::core::DynamicObject;
use operator_kit::{KitError, Outcome, Reconciler as _, Turn};
use serde_json::json;

use super::values::{
    ACCOUNTS, VERSIONS, link, long_ago, name, nodes, now, number, place, uuid, vcenter, workloads,
};
use super::world::{Answer, Asker, NODES, Node, Set, State};
use crate::api::{DriverSet, DriverSetStatus, ManagementState};
use crate::config::ClusterId;
use crate::desired::Desired;
use crate::installer::model::{
    Aim, Basis as Choosing, Claim, Done, Known, Link, Memory, Patience, Plan, Record, Remembered, Seen,
    Sight, begins, claim, decide, decided, failing, needs_workloads, recover,
};
use crate::installer::{Asks as _, Installer};
use crate::matrix::{Driver, Matrix};
use crate::plan::Drivers;
use crate::render::{Rendered, parse, render};
use crate::version::{Kubernetes, Version};

const MANIFESTS: [&str; 3] = [
    include_str!("../../../../e2e/src/rig/vdo/antrea.yaml"),
    include_str!("../render/tests/cpi.yaml"),
    include_str!("../render/tests/csi.yaml"),
];
/// What a pass depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Basis {
    asker: usize,
    askers: [Asker; super::world::ASKERS],
    nodes: [Option<Node>; NODES],
    notes: [u32; 3],
    ours: [Option<u8>; 3],
    foreign: [bool; 3],
    is_used: (bool, bool),
    account: u8,
    answer: Option<Answer>,
    matrix: u8,
    memory: u32,
    over: [bool; 3],
}

/// What a pass has seen and decided.
pub struct Pass {
    /// The asker, as it was read.
    pub asker: Asker,
    /// What was noted of the drivers.
    pub notes: [u32; 3],
    object: DriverSet,
    pub seen: Seen,
    pub turn: Turn<Plan>,
}

/// Returns how long an upgrade is waited for.
fn patience() -> Patience<'static> {
    Patience { timeout: SignedDuration::from_mins(15), retry: "", now: now() }
}

/// Returns what the vCenter shows of the Nodes' machines.
fn sight(links: &[&Link], count: usize, nodes: &[Option<Node>]) -> Sight {
    let uuids: Vec<_> = (0..NODES).map(uuid).collect();
    let there = (0..NODES).filter(|number| nodes[*number].is_some());
    Sight::of(links, count, there.map(|number| (name(number), uuids[number].as_str())), now())
}

/// Values by their numbers.
struct Table<T>(RefCell<Vec<T>>);

impl<T: Clone + PartialEq> Table<T> {
    fn new(first: T) -> Self {
        Self(RefCell::new(vec![first]))
    }

    fn get(&self, number: u32) -> T {
        self.0.borrow()[number as usize].clone()
    }

    fn number(&self, value: T) -> u32 {
        let mut all = self.0.borrow_mut();
        let at = all.iter().position(|known| *known == value).unwrap_or_else(|| {
            all.push(value);
            all.len() - 1
        });
        u32::try_from(at).unwrap()
    }
}

/// A status, the pass after it, and whether that has acted, and how.
type Ending = (u32, u32, Option<bool>);

/// The operator's functions.
pub struct Operator {
    wishes: Vec<DriverSet>,
    matrices: [Matrix; 3],
    passes: RefCell<HashMap<Basis, u32>>,
    decided: RefCell<Vec<Rc<Pass>>>,
    memories: Table<Remembered>,
    notes: Table<Option<Record>>,
    statuses: Table<Option<DriverSetStatus>>,
    reported: RefCell<HashMap<Ending, Option<u32>>>,
    rendered: RefCell<HashMap<(Driver, Version, u8, bool), Rendered>>,
    contents: RefCell<HashMap<String, u8>>,
}

impl Operator {
    pub fn new(wishes: &[serde_json::Value]) -> Self {
        let release = |needs: bool| {
            json!({ "k8s": { "min": "1.30" }, "vSphere": { "min": "7.0" }, "isCPIRequired": needs,
                "deploymentPath": ["file:any"] })
        };
        let matrix = |count: usize| {
            let of = |driver: usize, needs: bool| -> serde_json::Value {
                VERSIONS[driver][..count]
                    .iter()
                    .map(|version| ((*version).to_owned(), release(needs)))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            };
            Matrix::parse(
                &json!({ "CNI": of(0, false), "CPI": of(1, false), "CSI": of(2, true) }).to_string(),
            )
            .unwrap()
        };
        let set =
            |spec: &serde_json::Value| DriverSet::new("set", serde_json::from_value(spec.clone()).unwrap());
        Self {
            wishes: wishes.iter().map(set).collect(),
            matrices: [matrix(1), matrix(2), matrix(1)],
            passes: RefCell::default(),
            decided: RefCell::default(),
            memories: Table::new(Remembered::default()),
            notes: Table::new(None),
            statuses: Table::new(None),
            reported: RefCell::default(),
            rendered: RefCell::default(),
            contents: RefCell::default(),
        }
    }

    /// Returns the record of this number.
    pub fn record(&self, notes: u32) -> Option<Record> {
        self.notes.get(notes)
    }

    /// Returns the number of a record, as the API server keeps it.
    pub fn noted(&self, record: &Record) -> u32 {
        let read = Record::read(&record.notes());
        self.notes.number(Some(Record { since: now(), ..read }))
    }

    /// Returns what is noted of an empty parent.
    pub fn parent(&self, notes: u32) -> u32 {
        if notes > 0 { notes } else { self.notes.number(Some(Record::read(&BTreeMap::new()))) }
    }

    /// Returns the number of what is remembered after a change.
    pub fn remember(&self, memory: u32, change: impl FnOnce(&Memory)) -> u32 {
        let memory = Memory::of(&self.memories.get(memory));
        change(&memory);
        self.memories.number(memory.into_state())
    }

    /// Returns the number of what is remembered when all of it is old.
    pub fn aged(&self, memory: u32) -> u32 {
        self.memories.number(self.memories.get(memory).at(long_ago()))
    }

    pub fn memory(&self, memory: u32) -> Memory {
        Memory::of(&self.memories.get(memory))
    }

    /// Returns whether a pass begins something.
    pub fn begins(&self, number: u32) -> bool {
        match &self.pass_of(number).turn {
            Turn::Act(Plan::Change { actions, .. }) => actions.iter().any(begins),
            _ => false,
        }
    }

    pub fn pass_of(&self, number: u32) -> Rc<Pass> {
        Rc::clone(&self.decided.borrow()[number as usize])
    }

    /// Returns what the object was made from that is applied with this hash.
    pub fn content(&self, digest: &str) -> u8 {
        self.contents.borrow()[digest]
    }

    /// Returns what an asker wants of a driver: its state, and whether it is Orphan when it goes.
    pub fn wish(&self, asker: Asker) -> Desired {
        Desired::of_driver_set(&self.wishes[asker.wish as usize].spec).unwrap()
    }

    /// Returns a version of a driver by its number.
    #[expect(clippy::unused_self, reason = "as the others")]
    pub fn version(&self, driver: Driver, number_of_it: u8) -> Version {
        VERSIONS[number(driver)][number_of_it as usize].parse().unwrap()
    }

    /// Returns reason and status of Ready.
    pub fn ready(&self, said: u32) -> Option<(bool, String)> {
        let status = self.statuses.get(said)?;
        let ready = operator_kit::conditions::get(&status.conditions, operator_kit::conditions::READY)?;
        Some((ready.status == "True", ready.reason.clone()))
    }

    /// Returns the number of the status after a pass; `None` if it stays. `acted`: whether a plan was carried out, and without a failure.
    pub fn reported(&self, said: u32, number: u32, acted: Option<bool>) -> Option<u32> {
        if let Some(known) = self.reported.borrow().get(&(said, number, acted)) {
            return *known;
        }
        let pass = self.pass_of(number);
        let outcome = match (acted, &pass.turn) {
            (Some(true), _) => Outcome::Acted(Done::default()),
            (Some(false), _) => Outcome::Failed(Arc::new(KitError::StillChanging.into())),
            (None, Turn::Wait { reason, message, .. }) => Outcome::Waiting(reason, message.clone()),
            (None, Turn::Blocked { reason, message }) => Outcome::Blocked(reason, message.clone()),
            (None, _) => Outcome::Settled,
        };
        let old = self.statuses.get(said);
        let new =
            Installer::<DriverSet>::status(old.as_ref(), &pass.object, Some(&pass.seen), &outcome, now());
        let new = new.map(|new| self.statuses.number(Some(new)));
        self.reported.borrow_mut().insert((said, number, acted), new);
        new
    }

    /// Observes and decides; returns the number of the pass.
    pub fn pass(&self, state: &State, asker: usize) -> Option<u32> {
        let process = state.process?;
        let plain = |asker: Asker| Asker { said: 0, ..asker };
        let found = |set: &Set, is_ours: bool| {
            set.parts[1..]
                .iter()
                .filter(|part| part.exists() && part.is_ours == is_ours)
                .map(|part| part.content)
                .max()
        };
        let basis = Basis {
            asker,
            askers: state.cached.0.map(plain),
            nodes: state.cached.1,
            notes: state.sets.map(|set| set.notes),
            ours: state.sets.each_ref().map(|set| found(set, true)),
            foreign: state.sets.each_ref().map(|set| found(set, false).is_some()),
            is_used: (state.has_volume, state.has_pod),
            account: state.vcenter.account,
            answer: process.answer,
            matrix: state.matrix,
            memory: process.memory,
            over: state.sets.map(|set| set.is_over),
        };
        if let Some(known) = self.passes.borrow().get(&basis) {
            return Some(*known);
        }
        let pass = Rc::new(self.decide(&basis));
        let mut decided = self.decided.borrow_mut();
        decided.push(pass);
        let number = u32::try_from(decided.len() - 1).unwrap();
        self.passes.borrow_mut().insert(basis, number);
        Some(number)
    }

    fn object(&self, number: usize, asker: Asker) -> DriverSet {
        let mut object = self.wishes[asker.wish as usize].clone();
        let created = now() + SignedDuration::from_secs(i64::try_from(number).unwrap());
        let meta = json!({
            "name": format!("set-{number}"), "namespace": "ns", "uid": number.to_string(), "generation": 1,
            "creationTimestamp": created.to_string(),
            "deletionTimestamp": asker.is_deleting.then(|| now().to_string()),
        });
        object.metadata = serde_json::from_value(meta).unwrap();
        object
    }

    /// Returns which object decides about each driver.
    pub fn owners(&self, askers: &[Asker]) -> Drivers<Option<Claim>> {
        let living = askers.iter().enumerate().filter(|(_, asker)| asker.exists);
        let claims: Vec<_> = living.map(|(number, asker)| claim(&self.object(number, *asker))).collect();
        decided(&claims)
    }

    fn decide(&self, basis: &Basis) -> Pass {
        let asker = basis.askers[basis.asker];
        let object = self.object(basis.asker, asker);
        let desired = object.desired().unwrap();
        let is_deleted = asker.is_deleting;
        let mut records = self.records(basis);
        let foreign = if needs_workloads(&desired, &records) {
            recover(workloads(basis.ours, basis.foreign), &mut records, is_deleted)
        } else {
            Drivers::default()
        };
        let (owners, nodes) = (self.owners(&basis.askers), nodes(&basis.nodes));
        let memory = self.memory(basis.memory);
        let failing = failing(&records, &memory, patience());
        let known = Known {
            now: now(),
            uid: object.metadata.uid.as_deref(),
            is_deleted,
            is_window_open: true,
            desired: &desired,
            owners: &owners,
            records: &records,
            failing: &failing,
            foreign: &foreign,
            nodes: &nodes,
            memory: &memory,
        };
        let choosing = Choosing {
            desired: &desired,
            records: &records,
            failing: &failing,
            foreign: &foreign,
            kubernetes: Kubernetes { major: 1, minor: 33, patch: 0 },
            matrix: &self.matrices[basis.matrix as usize],
            auto_upgrade: true,
        };
        let link = link(basis.account, basis.answer);
        let mut is_linked = false;
        let aims = Drivers::of(|driver| {
            if known.other(driver).is_some() {
                return None;
            }
            if is_deleted || desired.drivers.get(driver).state != ManagementState::Managed {
                return Some(Aim::unasked());
            }
            let count = desired.drivers.get(driver).connections.len();
            is_linked |= count > 0;
            Some(self.aim(&choosing, driver, &vec![link.clone(); count], basis.account))
        });
        let mut seen = known.see(aims);
        if seen.is_guarded(Driver::Csi) && basis.is_used.0 {
            seen.cluster.volumes = vec!["PersistentVolume v".to_owned()];
        }
        if seen.is_guarded(Driver::Cni) && basis.is_used.1 {
            seen.cluster.pods = vec!["Pod p".to_owned()];
        }
        let count = desired.drivers.cpi.connections.len();
        let links: Vec<_> = if is_linked { vec![&link; count] } else { Vec::new() };
        seen.take_sight(sight(&links, count, &basis.nodes));
        let turn = decide(&seen, is_deleted, now());
        Pass { asker, notes: basis.notes, object, seen, turn }
    }

    /// Returns what is noted of the drivers. An upgrade that has had its time was applied long ago.
    fn records(&self, basis: &Basis) -> Drivers<Option<Record>> {
        Drivers::of(|driver| {
            let at = place(driver)?;
            let record = self.record(basis.notes[at])?;
            let since = if basis.over[at] { long_ago() } else { record.since };
            Some(Record { since, ..record })
        })
    }

    fn aim(&self, choosing: &Choosing<'_>, driver: Driver, links: &[Link], account: u8) -> Aim {
        let choice = match choosing.choose(driver, links, None) {
            Ok(choice) => choice,
            Err(hold) => return Aim::none(hold),
        };
        let account = if links.is_empty() { 0 } else { account };
        let rendered =
            choice.version.as_ref().map(|version| self.rendered(choosing, driver, version, account));
        let aim = choosing.aim(&choice, rendered.ok_or_else(Vec::new), links).unwrap_or_else(Aim::none);
        if let (Ok(target), Some(version)) = (&aim.target, &choice.version) {
            let of =
                VERSIONS[number(driver)].iter().position(|of| of.parse() == Ok(version.clone())).unwrap();
            let content = u8::try_from(of).unwrap() * ACCOUNTS + account + 1;
            self.contents.borrow_mut().insert(target.digest.clone(), content);
        }
        aim
    }

    fn rendered(&self, choosing: &Choosing<'_>, driver: Driver, version: &Version, account: u8) -> Rendered {
        let settings = choosing.settings(driver, version, 1);
        let key = (driver, version.clone(), account, settings.is_upgrade);
        let make = || {
            let vcenters = vec![vcenter(account)];
            let plain =
                |object: serde_json::Value| -> DynamicObject { serde_json::from_value(object).unwrap() };
            let files = match driver {
                Driver::Cni | Driver::Snapshots => Vec::new(),
                Driver::Cpi => {
                    let files = choosing.desired.cpi(vcenters).files().unwrap();
                    vec![plain(json!(files.config)), plain(json!(files.accounts.object()))]
                }
                Driver::Csi => {
                    let id = ClusterId::of("cluster", None, false);
                    let files = choosing.desired.csi(version.clone(), vcenters, id).files().unwrap();
                    vec![plain(json!(files.object()))]
                }
            };
            let of = |text: String, known: &&str| text.replace(*known, &version.to_string());
            let text = VERSIONS[number(driver)].iter().fold(MANIFESTS[number(driver)].to_owned(), of);
            render(parse(&text).unwrap(), files, &settings).unwrap()
        };
        self.rendered.borrow_mut().entry(key).or_insert_with(make).clone()
    }
}
