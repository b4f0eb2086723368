//! A pass of the operator: from a state to the turn that its functions decide.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use infra_clients::Secret;
use infra_clients::capi::{self, Machine};
use jiff::Timestamp;
use operator_kit::conditions::Status;
use operator_kit::{Foreign, Key, Reconciler as _, Turn};
use serde_json::{Value, json};

use super::world::{Cluster, Found, Others, Set, State, Workload};
use crate::adc::deliveries::deliveries;
use crate::api::condition::AKO_INSTALLED;
use crate::api::{
    AkoDeploymentConfig, DELETE_CONFIG_LABEL, FINALIZER, FORCE_ANNOTATION, HOOK_OWNER, MOVE_ANNOTATION,
    PRE_TERMINATE_HOOK, Place, Works, reason, says_leaving,
};
use crate::cluster::addon::Owner;
use crate::cluster::glance::{Known, matters};
use crate::cluster::live::Live;
use crate::cluster::moves::is_leaving;
use crate::cluster::plan::{Plan, decide};
use crate::cluster::report::Report;
use crate::cluster::seen::{self, Left, Seen, Want};
use crate::cluster::stored::Stored;
use crate::cluster::works::works;
use crate::cluster::{Clusters, STATUS_ANNOTATION};
use crate::conditions::Said;
use crate::delivery::{
    Ako, AkoMinor, CONFIG_MAP, Credentials, Delivery, Install, Object, STATEFUL_SET, objects,
};
use crate::problem::Problem;
use crate::selection::Configs;
use crate::user::account::{Account, Step};

const NAME: &str = "w1";
const NAMESPACE: &str = "team-a";
const LABEL: &str = "avi";
/// The time of everything.
const BEGIN: &str = "2026-01-01T00:00:00Z";
/// How long a cleanup waits for AKO.
const DEADLINE: Duration = Duration::from_hours(1);
pub const MACHINE: &str = "m1";

/// What a pass depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
struct Basis {
    cached: (Cluster, super::world::Machine),
    is_recorded: bool,
    is_unread: bool,
    workload: Option<(Option<bool>, Option<Set>, bool)>,
    is_watched: bool,
    is_purged: bool,
    is_user_removed: bool,
    is_overdue: bool,
    has_user: bool,
    has_secret: bool,
    others: Others,
    is_first: bool,
    works: Option<Found>,
}

impl Basis {
    /// Returns what a pass depends on now; `None` without a process.
    fn of(state: &State) -> Option<Self> {
        let process = state.process?;
        let Workload { config, set, has_rest, .. } = state.workload;
        Some(Self {
            cached: state.cached,
            is_recorded: state.is_recorded,
            is_unread: state.is_unread,
            workload: state.workload.is_reachable.then_some((config, set, has_rest)),
            is_watched: process.is_watched,
            is_purged: process.is_purged,
            is_user_removed: process.is_user_removed,
            is_overdue: state.is_overdue,
            has_user: state.avi.has_user,
            has_secret: state.avi.has_user || state.first.has_user,
            others: state.others,
            is_first: state.workload.is_first,
            works: process.works,
        })
    }
}

/// What a pass decides.
#[derive(Clone, Copy)]
pub struct Decided {
    /// Where AKO works, if that matters.
    pub works: Option<Found>,
    /// Whether it begins to leave for another place.
    pub begins: bool,
    /// Whether the Cluster is to have the finalizer.
    pub holds: bool,
    /// The number of the turn.
    pub turn: u32,
}

/// The operator's functions, each called once for the same values.
pub struct Operator {
    /// What is to be there, by whether AKO is to remove what it made.
    wanted: [Delivery; 2],
    adc: Value,
    passes: RefCell<HashMap<Basis, Decided>>,
    turns: RefCell<Vec<Turn<Plan>>>,
    turn_numbers: RefCell<HashMap<String, u32>>,
    said: RefCell<Vec<Vec<Said>>>,
    recorded: RefCell<HashMap<RecordBasis, (bool, bool)>>,
    owner: Owner,
}

/// What the record of a Cluster depends on.
type RecordBasis = (Cluster, (bool, bool), Others, Option<Found>);

impl Operator {
    pub fn new() -> Self {
        let reference = json!({ "name": "s", "namespace": "n" });
        let adc = json!({
            "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
            "metadata": { "name": "adc", "uid": "adc" },
            "spec": {
                "clusterSelector": { "matchLabels": { LABEL: "" } },
                "controller": "avi", "controllerVersion": "30.2.1", "cloudName": "c", "serviceEngineGroup": "g",
                "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
                "adminCredentialRef": reference, "certificateAuthorityRef": reference,
            },
        });
        let typed: AkoDeploymentConfig = serde_json::from_value(adc.clone()).unwrap();
        let install = |delete_config| Install {
            spec: typed.spec.clone(),
            namespace: NAMESPACE.to_owned(),
            name: NAME.to_owned(),
            credentials: Credentials {
                username: "u".to_owned(),
                password: Secret::new("p"),
                ca_pem: String::new(),
            },
            controller_version: "30.2.1".to_owned(),
            kubernetes_version: None,
            ako: Ako {
                image: "ako".to_owned(),
                gateway_image: None,
                pull_secrets: Vec::new(),
                version: AkoMinor::default(),
            },
            is_management: false,
            delete_config,
        };
        Self {
            wanted: [false, true].map(|told| objects(&install(told)).unwrap()),
            adc,
            passes: RefCell::default(),
            turns: RefCell::default(),
            turn_numbers: RefCell::default(),
            said: RefCell::new(vec![Vec::new()]),
            recorded: RefCell::default(),
            owner: Owner {
                namespace: NAMESPACE.to_owned(),
                name: NAME.to_owned(),
                avi_name: crate::delivery::cluster_name(NAMESPACE, NAME),
                reference: Value::Null,
                form: capi::AddonForm::Legacy,
            },
        }
    }

    /// Returns the conditions of this number.
    pub fn said(&self, number: u32) -> Vec<Said> {
        self.said.borrow()[number as usize].clone()
    }

    /// Returns the number of the conditions after a report.
    pub fn reported(&self, number: u32, report: &Report) -> u32 {
        let mut said = self.said(number);
        let is_kept = |of: &Said| {
            !report.remove.contains(&of.type_) && !report.set.iter().any(|set| set.type_ == of.type_)
        };
        said.retain(is_kept);
        said.extend(report.set.iter().cloned());
        said.sort_by_key(|said| said.type_);
        let mut known = self.said.borrow_mut();
        let at = known.iter().position(|known| *known == said).unwrap_or_else(|| {
            known.push(said);
            known.len() - 1
        });
        u32::try_from(at).unwrap()
    }

    /// Returns the number of the conditions of a Cluster with AKO.
    pub fn installed(&self) -> u32 {
        let said = Said::new(AKO_INSTALLED, Status::True, reason::INSTALLED, "");
        self.reported(0, &Report { set: vec![said], remove: Vec::new(), notice: None })
    }

    /// Returns the turn of this number.
    pub fn turn(&self, number: u32) -> Turn<Plan> {
        self.turns.borrow()[number as usize].clone()
    }

    /// Runs a pass; `None` if the process does nothing about the Cluster.
    pub fn pass(&self, state: &State) -> Option<Decided> {
        let (cluster, _) = state.cached;
        if !cluster.exists || (cluster.is_deleting && !cluster.is_held) {
            return None;
        }
        let basis = Basis::of(state)?;
        if let Some(known) = self.passes.borrow().get(&basis) {
            return Some(*known);
        }
        let decided = self.decide(&basis);
        self.passes.borrow_mut().insert(basis, decided);
        Some(decided)
    }

    fn decide(&self, basis: &Basis) -> Decided {
        // Where AKO works, as was found now, may have it leave.
        let first = self.decide_once(basis);
        let again = Basis { works: first.works, ..*basis };
        if self.want(&again) == self.want(basis) { first } else { self.decide_once(&again) }
    }

    /// Returns the AKODeploymentConfigs.
    fn configs(&self, is_recorded: bool, is_unread: bool, others: Others) -> Configs {
        let namesake = Key::new("team", "a-w1").to_string();
        let own = Key::new(NAMESPACE, NAME).to_string();
        let of = |name: &str, recorded: Option<String>, is_ready: bool| {
            let mut adc = self.adc.clone();
            adc["metadata"] = json!({ "name": name, "uid": name });
            if name != "adc" {
                adc["spec"]["cloudName"] = json!("old");
                adc["spec"]["clusterSelector"] = json!({ "matchLabels": { "site": name } });
            }
            let ready = json!({ "type": "Ready", "status": if is_ready { "True" } else { "False" }, "reason": "R", "message": "",
                "lastTransitionTime": BEGIN });
            adc["status"] =
                json!({ "deliveredTo": recorded.into_iter().collect::<Vec<_>>(), "conditions": [ready] });
            Arc::new(serde_json::from_value::<AkoDeploymentConfig>(adc).unwrap())
        };
        let mut read = vec![
            of("first", others.has_recorded.then(|| own.clone()), true),
            of("third", others.is_namesake.then_some(namesake), true),
        ];
        if is_unread {
            return Configs { read, unread: vec!["adc".to_owned()] };
        }
        read.insert(0, of("adc", is_recorded.then_some(own), !others.is_unready));
        Configs { read, unread: Vec::new() }
    }

    /// Returns whether the AKODeploymentConfig, and the first one, are to have recorded the Cluster.
    pub fn records(&self, state: &State) -> (bool, bool) {
        let before = (state.is_recorded, state.others.has_recorded);
        let Some(process) = state.process.filter(|_| !state.is_unread) else { return before };
        let basis = (state.cached.0, before, state.others, process.works);
        if let Some(known) = self.recorded.borrow().get(&basis) {
            return *known;
        }
        let configs = self.configs(state.is_recorded, false, state.others);
        let clusters: Vec<_> =
            if state.cached.0.exists { vec![Arc::new(self.cluster(state.cached.0))] } else { Vec::new() };
        let records = |at: usize| {
            let (adc, works) = (&configs.read[at], process.works.map(place));
            !deliveries(adc, &configs, clusters.clone(), |_| true, |_| false, |_| works.clone())
                .delivered
                .is_empty()
        };
        let records = (records(0), records(1));
        self.recorded.borrow_mut().insert(basis, records);
        records
    }

    /// Returns whether conditions say that a Cluster has AKO.
    pub fn is_with_ako(&self, said: u32) -> bool {
        self.said(said).iter().any(|said| said.type_ == AKO_INSTALLED && said.status == Status::True)
    }

    /// Returns whether conditions say that AKO leaves.
    pub fn is_leaving(&self, said: u32) -> bool {
        self.said(said).iter().any(|said| said.type_ == AKO_INSTALLED && says_leaving(&said.reason, true))
    }

    fn known<'a>(&self, cluster: &'a capi::Cluster, basis: &Basis) -> Known<'a> {
        Known {
            cluster,
            adcs: self.configs(basis.is_recorded, basis.is_unread, basis.others),
            works: basis.works.map(place),
            can_serve: Some(Ok(())),
            machines: machine(basis.cached.1).into_iter().map(Arc::new).collect(),
            is_purged: basis.is_purged,
            is_balanced: false,
            has_service: false,
            deadline: Some(DEADLINE),
            unrecorded: Vec::new(),
        }
    }

    /// Returns what the caches say of the Cluster; `None` without a process.
    pub fn glance(&self, state: &State) -> Option<Seen> {
        let cluster = self.cluster(state.cached.0);
        Some(self.known(&cluster, &Basis::of(state)?).glance())
    }

    fn want(&self, basis: &Basis) -> Want {
        let cluster = self.cluster(basis.cached.0);
        self.known(&cluster, basis).want()
    }

    fn decide_once(&self, basis: &Basis) -> Decided {
        let cluster = self.cluster(basis.cached.0);
        let known = self.known(&cluster, basis);
        let mut seen = known.glance();
        if seen.is_held && (seen.is_deleting || seen.want == Want::Nothing) && !basis.is_user_removed {
            seen.user = match (seen.is_recorded, basis.has_secret) {
                (true, _) => Left::Removable,
                (false, true) => Left::Unknown,
                (false, false) => Left::No,
            };
        }
        let mut works = basis.works;
        if matters(&seen) {
            self.look(basis, &known, &mut seen, &mut works);
        } else if !seen.is_held && seen.want == Want::Ako {
            seen.offer = Err(unrecorded());
        }
        let begins = seen.moves_to.is_some() && !seen.is_deleting && !is_leaving(&cluster);
        let (holds, turn) = (Clusters::holds(&cluster, Some(&seen)), decide(&seen, now(basis.is_overdue)));
        let text = match &turn {
            Turn::LookAgain(Plan::Apply(objects)) => format!("{objects:?} {}", seen.deletes_config),
            turn => format!("{turn:?}"),
        };
        let mut turns = self.turns.borrow_mut();
        let number = *self.turn_numbers.borrow_mut().entry(text).or_insert_with(|| {
            turns.push(turn);
            u32::try_from(turns.len() - 1).unwrap()
        });
        Decided { works, begins, holds, turn: number }
    }

    /// Looks at the workload cluster, as `Clusters::look` does.
    fn look(&self, basis: &Basis, known: &Known<'_>, seen: &mut Seen, works: &mut Option<Found>) {
        seen.needs_watch = !basis.is_watched;
        let is_due = known.adc().is_some() && !seen.is_deleting && seen.want != Want::Nothing;
        if is_due {
            seen.account = if basis.has_user { Account::Ready } else { Account::Do(Step::Ensure) };
        }
        if is_due && (!basis.is_recorded || basis.others.is_unready) {
            seen.offer = Err(unrecorded());
        }
        if let Some(refused) = known.adc().filter(|_| is_due).and_then(|adc| known.refuse_elsewhere(adc)) {
            seen.offer = Err(refused);
        }
        let Some(there) = basis.workload else {
            let (reason, message) = ("ClusterUnreachable", "no answer".to_owned());
            seen.workload = seen::Workload::Closed { reason, message };
            return;
        };
        let wanted = is_due.then(|| Ok(self.wanted[usize::from(seen.deletes_config)].clone()));
        let live = self.live(there, basis.is_first);
        let mut state = live.state(&seen.avi_name, wanted, &Stored::default());
        *works = known.adc().filter(|_| known.needs_works()).map(|adc| {
            let there = self::works(&live, &self.owner, is_leaving(known.cluster));
            if let Some(refused) = known.refuse(&there, adc).filter(|_| is_due) {
                state.delivery = seen::Delivery::Refused(refused);
            }
            match there {
                Works::Nowhere | Works::OfOthers => Found::Nowhere,
                Works::Unknown => Found::Unknown,
                Works::At(place) if place.cloud == "old" => Found::First,
                Works::At(_) => Found::Here,
            }
        });
        seen.workload = seen::Workload::Open(Box::new(state));
    }

    /// Returns what of AKO's objects is in the workload cluster.
    fn live(&self, (config, set, has_rest): (Option<bool>, Option<Set>, bool), is_first: bool) -> Live {
        let object = |object: &Object| {
            let mut there = object.object.clone();
            let is_there = match object.target().name.as_str() {
                CONFIG_MAP => {
                    there.data["data"]["deleteConfig"] = json!(config.unwrap_or_default().to_string());
                    if is_first {
                        there.data["data"]["cloudName"] = json!("old");
                    }
                    config.is_some()
                }
                STATEFUL_SET if object.resource.kind == "StatefulSet" => {
                    if let Some(word) = set.and_then(|set| set.answer.text()) {
                        let annotations = there.metadata.annotations.get_or_insert_default();
                        annotations.insert(STATUS_ANNOTATION.to_owned(), word.to_owned());
                    }
                    there.data["status"] = json!({ "readyReplicas": 1 });
                    if set.is_some_and(|set| set.is_ending) {
                        there.metadata.deletion_timestamp = serde_json::from_value(json!(BEGIN)).unwrap();
                    }
                    set.is_some()
                }
                _ => has_rest,
            };
            is_there.then(|| (object.target(), there))
        };
        Live::of(self.wanted[0].objects.iter().filter_map(object).collect())
    }

    fn cluster(&self, cluster: Cluster) -> Foreign<capi::Cluster> {
        let conditions = self.said(cluster.said).into_iter().map(|said| {
            json!({ "type": said.type_, "status": said.status.as_str(), "reason": said.reason, "message": said.message,
                "lastTransitionTime": BEGIN })
        });
        let ready = json!({ "type": "Available", "status": "True", "reason": "Available", "message": "",
            "lastTransitionTime": BEGIN });
        let conditions: Vec<Value> = conditions.chain([ready]).collect();
        let labels =
            [(cluster.is_labelled, LABEL, ""), (cluster.deletes_config, DELETE_CONFIG_LABEL, "true")];
        let labels = labels.into_iter().filter_map(|(has, key, value)| has.then_some((key, value)));
        let labels: HashMap<_, _> = labels.collect();
        let annotations =
            [(cluster.is_forced, FORCE_ANNOTATION, "true"), (cluster.is_asked, MOVE_ANNOTATION, "adc")];
        let annotations = annotations.into_iter().filter_map(|(has, key, value)| has.then_some((key, value)));
        let annotations: HashMap<_, _> = annotations.collect();
        let object: capi::Cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "uid": "c",
                "labels": labels,
                "annotations": annotations,
                "finalizers": if cluster.is_held { vec![FINALIZER] } else { Vec::new() },
                "deletionTimestamp": cluster.is_deleting.then_some(BEGIN),
            },
            "spec": { "paused": cluster.is_paused },
            "status": { "conditions": conditions, "initialization": { "controlPlaneInitialized": cluster.is_initialized } },
        }))
        .unwrap();
        object.into()
    }
}

/// Returns why a Cluster waits for its AKODeploymentConfig.
fn unrecorded() -> seen::Obstacle {
    let message = "not recorded, or not ready".to_owned();
    seen::Obstacle::Passing(Problem { reason: reason::ADC_NOT_READY, message })
}

/// Returns where AKO works.
fn place(found: Found) -> Works {
    let at = |cloud: &str| {
        let [controller, cloud, tenant] = ["avi", cloud, "admin"].map(str::to_owned);
        Works::At(Place { controller, cloud, tenant, scope: None })
    };
    match found {
        Found::Nowhere => Works::Nowhere,
        Found::Unknown => Works::Unknown,
        Found::Here => at("c"),
        Found::First => at("old"),
    }
}

/// Returns the time: all conditions are of the beginning, and so is the end of AKO's Pods.
fn now(is_overdue: bool) -> Timestamp {
    let begin: Timestamp = BEGIN.parse().unwrap();
    if is_overdue { begin + DEADLINE } else { begin }
}

fn machine(machine: super::world::Machine) -> Option<Foreign<Machine>> {
    machine.exists.then(|| {
        let object: Machine = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": {
                "name": MACHINE, "namespace": NAMESPACE,
                "annotations": machine.has_hook.then(|| json!({ PRE_TERMINATE_HOOK: HOOK_OWNER })),
            },
            "spec": { "clusterName": NAME },
        }))
        .unwrap();
        object.into()
    })
}
