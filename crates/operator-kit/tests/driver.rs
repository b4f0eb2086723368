//! The driver and the watch on a real API server, with a kind of their own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::{core::v1::ConfigMap, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher,
};
use operator_kit::{
    Cleanup, Disposition, Error, Guarded, Kit, Next, Operator, ReconcileError, Reconciler, Watch, apply,
    driver,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testbed::{ControlPlane, eventually};

const OPERATOR: Operator = Operator { name: "test-operator", group: "kit.example.com", version: "1.0.0" };
const FINALIZER: &str = "kit.example.com/thing";
const PATIENCE: Duration = Duration::from_mins(3);

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "kit.example.com", version = "v1", kind = "Thing", namespaced, schema = "disabled")]
#[kube(status = "ThingStatus")]
#[serde(rename_all = "camelCase")]
struct ThingSpec {
    mode: Mode,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct ThingStatus {
    seen: Option<i64>,
}

/// What reconciling it shall lead to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Mode {
    Well,
    Failing,
    Hopeless,
    /// Cleanup is not done before the mode changes.
    Clinging,
}

/// Accepts anything, as an old or careless schema would.
fn crd() -> CustomResourceDefinition {
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
#[error("it is {0:?}")]
struct Trouble(Mode);

impl ReconcileError for Trouble {
    fn disposition(&self) -> Disposition {
        if self.0 == Mode::Failing { Disposition::TRANSIENT } else { Disposition::Permanent }
    }

    fn reason(&self) -> &'static str {
        if self.0 == Mode::Failing { "Failing" } else { "Hopeless" }
    }
}

/// Notes when each object was reconciled, cleaned up and reported.
struct Notes {
    client: Client,
    manager: String,
    calls: Mutex<BTreeMap<(String, &'static str), Vec<Instant>>>,
}

impl Notes {
    fn note(&self, thing: &Thing, what: &'static str) {
        self.calls.lock().unwrap().entry((thing.name_any(), what)).or_default().push(Instant::now());
    }

    fn times(&self, name: &str, what: &'static str) -> Vec<Instant> {
        self.calls.lock().unwrap().get(&(name.to_owned(), what)).cloned().unwrap_or_default()
    }

    fn count(&self, name: &str, what: &'static str) -> usize {
        self.times(name, what).len()
    }

    async fn until(&self, name: &str, what: &'static str, count: usize) {
        let goal = format!("{what} of {name} {count} times");
        eventually(&goal, PATIENCE, async || Ok((self.count(name, what) >= count).then_some(())))
            .await
            .unwrap();
    }
}

impl Reconciler for Notes {
    type Object = Thing;
    type Error = Trouble;

    const NAME: &'static str = "thing";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn reconcile(&self, thing: Arc<Thing>) -> Result<Next, Trouble> {
        assert_eq!(thing.finalizers(), [FINALIZER], "reconciled without the finalizer");
        assert!(thing.managed_fields().is_empty(), "the cache is not lean");
        self.note(&thing, "reconcile");
        match thing.spec.mode {
            Mode::Well | Mode::Clinging => {
                let status = ThingStatus { seen: thing.metadata.generation };
                if thing.status.as_ref().and_then(|status| status.seen) != status.seen {
                    apply::patch_status(&self.client, &(), &self.manager, &*thing, &status).await.unwrap();
                }
                Ok(Next::AwaitChange)
            }
            mode => Err(Trouble(mode)),
        }
    }

    async fn cleanup(&self, thing: Arc<Thing>) -> Result<Cleanup, Trouble> {
        self.note(&thing, "cleanup");
        Ok(match thing.spec.mode {
            Mode::Clinging => Cleanup::Later(Next::AwaitChange),
            _ => Cleanup::Done,
        })
    }

    async fn report(&self, thing: Arc<Thing>, _: &Trouble) {
        self.note(&thing, "report");
    }
}

struct Bench {
    api: Api<Thing>,
    client: Client,
    notes: Arc<Notes>,
    control_plane: ControlPlane,
}

impl Bench {
    async fn create(&self, name: &str, mode: Mode) -> Thing {
        self.api.create(&PostParams::default(), &Thing::new(name, ThingSpec { mode })).await.unwrap()
    }

    async fn set(&self, name: &str, mode: &str) {
        let patch = json!({"spec": {"mode": mode}});
        // Untyped: the object may not be what the type says.
        let client = self.client.clone();
        let api: Api<kube::api::DynamicObject> =
            Api::default_namespaced_with(client, &kube::api::ApiResource::erase::<Thing>(&()));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn settled(&self, name: &str) -> Thing {
        eventually("settled", PATIENCE, async || {
            let thing = self.api.get(name).await?;
            let seen = thing.status.as_ref().and_then(|status| status.seen);
            Ok((seen == thing.metadata.generation).then_some(thing))
        })
        .await
        .unwrap()
    }

    async fn gone(&self, name: &str) {
        eventually("gone", PATIENCE, async || Ok(self.api.get_opt(name).await?.is_none().then_some(())))
            .await
            .unwrap();
    }

    async fn warnings(&self, name: &str) -> Vec<Event> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let events = events.list(&ListParams::default()).await.unwrap();
        let about = |event: &Event| {
            event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name))
        };
        events.into_iter().filter(about).collect()
    }

    /// Returns when all events before this call have been seen: a watch keeps their order.
    async fn caught_up(&self, name: &str) {
        self.create(name, Mode::Well).await;
        self.notes.until(name, "reconcile", 1).await;
    }

    /// The operator's writes to an object, by verb and subresource.
    fn writes(&self, name: &str) -> Vec<String> {
        let events = self.control_plane.audit_events().unwrap();
        let ours = events.into_iter().filter(|event| event.is_write() && event.name == name);
        let ours = ours.filter(|event| event.user_agent.starts_with("test-operator/"));
        ours.map(|event| format!("{} {}", event.verb, event.subresource).trim().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reconcile_takes_the_same_road() {
    let control_plane = ControlPlane::builder().audit(true).start().await.unwrap();
    let client = control_plane.client();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &crd()).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    let served = kube::runtime::wait::await_condition(crds, "things.kit.example.com", established);
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();

    // There before the controller starts, and not what the type says.
    let bad = json!({"apiVersion": "kit.example.com/v1", "kind": "Thing", "metadata": {"name": "bad"}, "spec": {"mode": 7}});
    control_plane.kubectl_stdin(&["create", "-f", "-"], &bad.to_string()).await.unwrap();

    let kit = Kit::with_client(OPERATOR, own_client(&control_plane).await).unwrap();
    let notes = Arc::new(Notes {
        client: kit.client(),
        manager: kit.field_manager("thing"),
        calls: Mutex::default(),
    });
    let mut children =
        Watch::<ConfigMap>::new(&kit, Api::default_namespaced(kit.client()), watcher::Config::default());
    let things =
        Watch::<Thing>::new(&kit, Api::<Guarded<Thing>>::all(kit.client()), watcher::Config::default());
    let controller = things.controller().reconcile_on(children.owners::<Thing>());
    let running = tokio::spawn({
        let (kit, notes) = (kit.clone(), Arc::clone(&notes));
        async move {
            tokio::try_join!(
                driver::run(controller, notes, &kit),
                driver::run(children.controller(), Arc::new(Idle), &kit),
            )
            .map(|_| ())
        }
    });
    let mut bench = Bench { api: Api::default_namespaced(client.clone()), client, notes, control_plane };

    tokio::join!(
        finalizer_comes_first_and_goes_last(&bench),
        settled_objects_are_left_alone(&bench),
        a_bad_object_stops_nobody(&bench),
        failures_are_tried_again_ever_later(&bench),
        hopeless_is_said_once(&bench),
        children_wake_their_owner(&bench),
    );
    an_api_server_restart_is_survived(&mut bench).await;

    // A watch that was interrupted often enough says so for a while.
    eventually("all is well", PATIENCE, async || Ok(kit.health().report().0.then_some(()))).await.unwrap();
    kit.shutdown().cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

async fn finalizer_comes_first_and_goes_last(bench: &Bench) {
    bench.create("clinging", Mode::Clinging).await;
    assert_eq!(bench.settled("clinging").await.finalizers(), [FINALIZER]);
    bench.api.delete("clinging", &DeleteParams::default()).await.unwrap();
    bench.notes.until("clinging", "cleanup", 1).await;
    assert!(bench.api.get("clinging").await.is_ok(), "gone before it was cleaned up");
    bench.set("clinging", "Well").await;
    bench.gone("clinging").await;
    assert_eq!(bench.notes.count("clinging", "cleanup"), 2);
}

async fn settled_objects_are_left_alone(bench: &Bench) {
    bench.create("plain", Mode::Well).await;
    let mut given = Thing::new("given", ThingSpec { mode: Mode::Well });
    given.finalizers_mut().push(FINALIZER.to_owned());
    bench.api.create(&PostParams::default(), &given).await.unwrap();
    let before = [bench.settled("plain").await, bench.settled("given").await];

    bench.caught_up("after").await;
    let after = [bench.api.get("plain").await.unwrap(), bench.api.get("given").await.unwrap()];
    assert_eq!(before.map(|thing| thing.resource_version()), after.map(|thing| thing.resource_version()));
    assert_eq!((bench.notes.count("plain", "reconcile"), bench.notes.count("given", "reconcile")), (1, 1));
    eventually("the audit log", PATIENCE, async || {
        Ok((bench.writes("plain").len() >= 2 && !bench.writes("given").is_empty()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(bench.writes("plain"), ["patch", "patch status"]);
    assert_eq!(bench.writes("given"), ["patch status"]);

    // Triggered from outside: nothing to do, nothing written.
    let labels = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    bench.api.patch("plain", &PatchParams::default(), &labels).await.unwrap();
    bench.caught_up("after-label").await;
    assert_eq!(bench.notes.count("plain", "reconcile"), 1, "labels are nobody's business");
}

async fn a_bad_object_stops_nobody(bench: &Bench) {
    bench.caught_up("beside-bad").await;
    let warnings = eventually("a warning", PATIENCE, async || {
        let warnings = bench.warnings("bad").await;
        Ok((!warnings.is_empty()).then_some(warnings))
    });
    let warnings = warnings.await.unwrap();
    assert_eq!(warnings[0].reason.as_deref(), Some(driver::INVALID_OBJECT));
    assert!(warnings[0].note.as_ref().unwrap().contains("mode"), "{warnings:?}");
    assert_eq!(bench.notes.count("bad", "reconcile"), 0);
    // It breaks and is repaired while being watched.
    bench.set("bad", "Well").await;
    bench.settled("bad").await;
}

async fn failures_are_tried_again_ever_later(bench: &Bench) {
    bench.create("failing", Mode::Failing).await;
    bench.notes.until("failing", "reconcile", 3).await;
    let times = bench.notes.times("failing", "reconcile");
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= Duration::from_millis(750) && gaps[1] >= Duration::from_millis(1500), "{gaps:?}");
    assert!(bench.notes.count("failing", "report") >= 2);
    assert!(bench.warnings("failing").await.is_empty());
}

async fn hopeless_is_said_once(bench: &Bench) {
    bench.create("hopeless", Mode::Hopeless).await;
    bench.notes.until("hopeless", "report", 1).await;
    // Woken again, as hopeless as before.
    let uid = bench.api.get("hopeless").await.unwrap().uid().unwrap();
    child(bench, "nudge", "hopeless", &uid).await;
    bench.notes.until("hopeless", "report", 2).await;
    let warnings = bench.warnings("hopeless").await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].series.is_none(), "published twice");
    assert_eq!(warnings[0].note.as_deref(), Some("it is Hopeless"));
    assert_eq!(warnings[0].reporting_controller.as_deref(), Some("test-operator"));
    // A new spec does not wait for the delay, which is an hour.
    bench.set("hopeless", "Well").await;
    bench.settled("hopeless").await;
}

async fn children_wake_their_owner(bench: &Bench) {
    bench.create("parent", Mode::Well).await;
    let uid = bench.settled("parent").await.uid().unwrap();
    let configs: Api<ConfigMap> = child(bench, "child", "parent", &uid).await;
    bench.notes.until("parent", "reconcile", 2).await;
    configs.delete("child", &DeleteParams::default()).await.unwrap();
    bench.notes.until("parent", "reconcile", 3).await;
}

async fn an_api_server_restart_is_survived(bench: &mut Bench) {
    bench.control_plane.stop_apiserver().await.unwrap();
    bench.control_plane.start_apiserver().await.unwrap();
    bench.caught_up("after-restart").await;
    assert_eq!(bench.notes.count("plain", "reconcile"), 1, "nothing new is nothing to do");
}

async fn child(bench: &Bench, name: &str, parent: &str, uid: &str) -> Api<ConfigMap> {
    let configs: Api<ConfigMap> = Api::default_namespaced(bench.client.clone());
    let mut config = ConfigMap::default();
    config.metadata.name = Some(name.to_owned());
    let mut owner = Thing::new(parent, ThingSpec { mode: Mode::Well });
    owner.meta_mut().uid = Some(uid.to_owned());
    config.owner_references_mut().extend(owner.controller_owner_ref(&()));
    configs.create(&PostParams::default(), &config).await.unwrap();
    configs
}

/// With the kit's own timeouts and User-Agent.
async fn own_client(control_plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    operator_kit::client::build(config, "test-operator/1.0.0").unwrap()
}

/// Does nothing with ConfigMaps, which keeps their watch going.
struct Idle;

impl Reconciler for Idle {
    type Object = ConfigMap;
    type Error = Trouble;

    const NAME: &'static str = "configmap";
    const FINALIZER: Option<&'static str> = None;

    async fn reconcile(&self, _: Arc<ConfigMap>) -> Result<Next, Trouble> {
        Ok(Next::AwaitChange)
    }

    async fn cleanup(&self, _: Arc<ConfigMap>) -> Result<Cleanup, Trouble> {
        unreachable!("no finalizer")
    }
}

#[test]
fn the_kits_errors_suit_an_operators_main() {
    fn suits<E: Into<Box<dyn std::error::Error + Send + Sync>>>() {}
    suits::<Error>();
}
