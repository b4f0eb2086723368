//! A kind whose objects say what reconciling them leads to, and a reconciler that counts.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp,
};
use kube::{CustomResource, ResourceExt};
use operator_kit::{
    Disposition, Key, KitError, Notice, Outcome, ReconcileError, Reconciler, Turn,
    conditions::{self, READY},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testbed::eventually;
use tokio::time::Instant;

use crate::PATIENCE;

pub const FINALIZER: &str = "kit.example.com/thing";
const AWAITED: &str = "Awaited";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "kit.example.com", version = "v1", kind = "Thing", namespaced, schema = "disabled")]
#[kube(status = "ThingStatus")]
pub struct ThingSpec {
    pub mode: Mode,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ThingStatus {
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Set by other clients only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What reconciling it leads to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub enum Mode {
    Well,
    /// There is always something to do.
    Working,
    /// Each act fails.
    Failing,
    /// A person has to act.
    Hopeless,
    /// Its cleanup does not end.
    Clinging,
    /// The API server shows that something of it is left, which no cache does.
    Unconfirmed,
    /// The API server does not say what is left of it.
    Unconfirmable,
    /// A step panics.
    Panicking,
    /// The plan never settles.
    Restless,
    /// The same, and each step takes long.
    Slow,
    /// Its observation fails.
    Unobservable,
    /// Waits, then fails, by turns.
    Queued,
    /// Waits, with a status that others wait for.
    Awaited,
}

/// Accepts anything, as an old or careless schema would.
pub fn crd() -> CustomResourceDefinition {
    serde_json::from_value(json!({
        "metadata": {"name": "things.kit.example.com"},
        "spec": {
            "group": "kit.example.com",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }))
    .unwrap()
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Kit(#[from] KitError),
    #[error("it fails")]
    Failing,
}

impl ReconcileError for Trouble {
    fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kit(failure) => failure.classify(),
            Self::Failing => ("Failing", Disposition::TRANSIENT),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Step {
    Observe,
    Apply,
    SetAside,
    Report,
    Forget,
}

/// Notes when each step was taken for each object.
#[derive(Default)]
pub struct Things {
    calls: Mutex<BTreeMap<(String, Step), Vec<Instant>>>,
}

impl Things {
    pub fn note(&self, name: &str, step: Step) {
        self.calls.lock().unwrap().entry((name.to_owned(), step)).or_default().push(Instant::now());
    }

    pub fn times(&self, name: &str, step: Step) -> Vec<Instant> {
        self.calls.lock().unwrap().get(&(name.to_owned(), step)).cloned().unwrap_or_default()
    }

    pub fn count(&self, name: &str, step: Step) -> usize {
        self.times(name, step).len()
    }

    pub async fn until(&self, name: &str, step: Step, count: usize) {
        let goal = format!("{step:?} of {name} {count} times");
        eventually(&goal, PATIENCE, async || Ok((self.count(name, step) >= count).then_some(())))
            .await
            .unwrap();
    }
}

impl Reconciler for Things {
    type Object = Thing;
    /// Whether it is to wait.
    type Seen = bool;
    type Plan = ();
    type Done = ();
    type Error = Trouble;

    const NAME: &'static str = "thing";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn observe(&self, thing: &Thing) -> Result<bool, Trouble> {
        assert!(thing.finalizers().contains(&FINALIZER.to_owned()), "observed without the finalizer");
        assert!(thing.managed_fields().is_empty(), "the cache is not lean");
        self.note(&thing.name_any(), Step::Observe);
        match thing.spec.mode {
            Mode::Unobservable => Err(Trouble::Failing),
            // The plan is pure, so what alternates is part of what was seen.
            Mode::Queued => Ok(self.count(&thing.name_any(), Step::Observe) % 2 == 1),
            _ => Ok(false),
        }
    }

    fn plan(thing: &Thing, waits: &bool, _: Timestamp) -> Turn<()> {
        let deleting = thing.metadata.deletion_timestamp.is_some();
        match thing.spec.mode {
            Mode::Clinging if deleting => {
                Turn::Wait { reason: "Clinging", message: "it does not go".to_owned(), after: None }
            }
            _ if deleting => Turn::Gone,
            Mode::Well | Mode::Clinging | Mode::Unconfirmed | Mode::Unconfirmable | Mode::Unobservable => {
                Turn::Settled
            }
            Mode::Queued if *waits => Turn::Wait {
                reason: "Queued",
                message: "in the queue".to_owned(),
                after: Some(Duration::from_millis(10)),
            },
            Mode::Awaited => {
                Turn::Wait { reason: AWAITED, message: "others wait for it".to_owned(), after: None }
            }
            Mode::Working | Mode::Failing | Mode::Queued => Turn::Act(()),
            Mode::Hopeless => Turn::Blocked { reason: "Hopeless", message: "it is hopeless".to_owned() },
            #[expect(clippy::panic, reason = "the driver must survive it")]
            Mode::Panicking => panic!("as the test wants it"),
            Mode::Restless | Mode::Slow => Turn::LookAgain(()),
        }
    }

    async fn confirm_gone(&self, thing: &Thing) -> Result<bool, Trouble> {
        match thing.spec.mode {
            Mode::Unconfirmable => Err(Trouble::Failing),
            mode => Ok(mode != Mode::Unconfirmed),
        }
    }

    async fn apply(&self, thing: &Thing, (): ()) -> Result<(), Trouble> {
        self.note(&thing.name_any(), Step::Apply);
        if thing.spec.mode == Mode::Slow {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        if matches!(thing.spec.mode, Mode::Failing | Mode::Queued) { Err(Trouble::Failing) } else { Ok(()) }
    }

    fn status(
        old: Option<&ThingStatus>,
        thing: &Thing,
        _: Option<&bool>,
        outcome: &Outcome<(), Trouble>,
        now: Timestamp,
    ) -> Option<ThingStatus> {
        let mut status = old.cloned().unwrap_or_default();
        status.note = None;
        let (ready, reason, message) = outcome.ready("Well");
        let generation = thing.metadata.generation;
        conditions::set(&mut status.conditions, READY, ready, reason, &message, generation, now);
        Some(status)
    }

    fn is_awaited(_: Option<&ThingStatus>, new: &ThingStatus) -> bool {
        new.conditions.iter().any(|condition| condition.reason == AWAITED)
    }

    fn conditions(status: &ThingStatus) -> &[Condition] {
        &status.conditions
    }

    fn news(_: &Thing, old: Option<&ThingStatus>, new: &ThingStatus) -> Vec<Notice> {
        let is_well = |status: &ThingStatus| {
            conditions::get(&status.conditions, READY).is_some_and(|ready| ready.status == "True")
        };
        let recovered = is_well(new) && !old.is_some_and(is_well);
        recovered.then(|| Notice::normal("Recovered", "it is well")).into_iter().collect()
    }

    fn last_event(_: &Thing, _: &bool) -> Option<Notice> {
        Some(Notice::warning("Left", "it has gone"))
    }

    fn set_aside(&self, key: &Key, _: &str) {
        self.note(key.name(), Step::SetAside);
    }

    fn forget(&self, uid: &str) {
        self.note(uid, Step::Forget);
    }
}

/// A kind that is only watched.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "kit.example.com", version = "v1", kind = "Gadget", namespaced, schema = "disabled")]
pub struct GadgetSpec {}
