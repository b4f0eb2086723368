//! The driver, the watch and the cache on a real API server, with a kind of their own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod caches;
mod foreign;
mod refused;
mod things;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::ConfigMap, events::v1::Event},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use operator_kit::{Clock, Error, Foreign, Kit, Operator, Triggers, Watch, conditions, driver};
use serde_json::json;
use testbed::{ControlPlane, eventually};

use things::{FINALIZER, Mode, Step, Thing, ThingSpec, ThingStatus, Things, crd};

const OPERATOR: Operator = Operator { name: "test-operator", group: "kit.example.com", version: "1.0.0" };
const PATIENCE: Duration = Duration::from_mins(3);

struct Bench {
    api: Api<Thing>,
    client: Client,
    things: Arc<Things>,
    control_plane: ControlPlane,
}

impl Bench {
    async fn create(&self, name: &str, mode: Mode) -> Thing {
        self.api.create(&PostParams::default(), &Thing::new(name, ThingSpec { mode })).await.unwrap()
    }

    async fn patch(&self, name: &str, patch: serde_json::Value) {
        // Untyped: the object may not be what the type says.
        let api: Api<DynamicObject> =
            Api::default_namespaced_with(self.client.clone(), &ApiResource::erase::<Thing>(&()));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn set(&self, name: &str, mode: Mode) {
        self.patch(name, json!({"spec": {"mode": mode}})).await;
    }

    /// Waits until the Ready condition has this reason and answers the present generation.
    async fn says(&self, name: &str, reason: &str) -> Thing {
        eventually(&format!("{name} says {reason}"), PATIENCE, async || {
            let thing = self.api.get(name).await?;
            let ready = thing.status.iter().find_map(|status| conditions::get(&status.conditions, "Ready"));
            let said = ready.is_some_and(|ready| {
                ready.reason == reason && ready.observed_generation == thing.metadata.generation
            });
            Ok(said.then_some(thing))
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
            event.type_.as_deref() == Some("Warning")
                && event.regarding.as_ref().is_some_and(|object| object.name.as_deref() == Some(name))
        };
        events.into_iter().filter(about).collect()
    }

    /// Waits until there are so many Warning events about an object.
    async fn warned(&self, name: &str, count: usize) -> Vec<Event> {
        eventually(&format!("{count} warnings about {name}"), PATIENCE, async || {
            let warnings = self.warnings(name).await;
            Ok((warnings.len() >= count).then_some(warnings))
        })
        .await
        .unwrap()
    }

    /// Returns when all changes before this call have been seen: a watch keeps their order.
    async fn caught_up(&self, name: &str) {
        self.create(name, Mode::Well).await;
        self.things.until(name, Step::Observe, 1).await;
    }

    /// Returns the operator's writes to an object, by verb and subresource.
    fn writes(&self, name: &str) -> Vec<String> {
        let events = self.control_plane.audit_events().unwrap();
        let ours = events.into_iter().filter(|event| event.is_write() && event.name == name);
        let ours = ours.filter(|event| event.user_agent.starts_with("test-operator/"));
        ours.map(|event| format!("{} {}", event.verb, event.subresource).trim().to_owned()).collect()
    }

    async fn child(&self, name: &str, parent: &Thing) -> Api<ConfigMap> {
        let configs: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        let mut config = ConfigMap::default();
        config.metadata.name = Some(name.to_owned());
        config.owner_references_mut().extend(parent.controller_owner_ref(&()));
        configs.create(&PostParams::default(), &config).await.unwrap();
        configs
    }
}

/// Returns a client with the kit's own timeouts and User-Agent.
async fn own_client(control_plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    operator_kit::client::build(config, "test-operator/1.0.0").unwrap()
}

async fn bench() -> (Bench, Kit) {
    let control_plane = ControlPlane::builder().audit(true).start().await.unwrap();
    let client = control_plane.client();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &crd()).await.unwrap();
    let established = kube::runtime::conditions::is_crd_established();
    let served = kube::runtime::wait::await_condition(crds, "things.kit.example.com", established);
    tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap();
    let kit = Kit::with_client(OPERATOR, own_client(&control_plane).await, Clock::default()).unwrap();
    let api = Api::default_namespaced(client.clone());
    (Bench { api, client, things: Arc::default(), control_plane }, kit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_takes_the_same_road() {
    let (mut bench, kit) = bench().await;
    // There before the controller starts, and not what the type says.
    let bad = json!({"apiVersion": "kit.example.com/v1", "kind": "Thing", "metadata": {"name": "bad"}, "spec": {"mode": 7}});
    bench.control_plane.kubectl_stdin(&["create", "-f", "-"], &bad.to_string()).await.unwrap();

    a_status_lands_on_no_other_version(&bench, &kit).await;
    caches::follow_the_removal_of_a_finalizer(&bench, &kit).await;
    caches::are_compared_with_the_api_server(&bench, &kit).await;
    caches::are_filled_by_a_search(&bench, &kit).await;

    let (things, triggers) = (Watch::<Thing>::namespaced(&kit), Triggers::default());
    let children = Watch::<ConfigMap>::namespaced(&kit);
    children.subscribe({
        let triggers: Triggers<Thing> = triggers.clone();
        move |change| {
            let Some(config) = change.newest() else { return };
            let owners = config.owner_references().iter().filter(|owner| owner.kind == "Thing");
            owners.for_each(|owner| triggers.wake(&operator_kit::Key::new("default", &owner.name)));
        }
    });
    children.spawn().keep();
    let reconciler = Arc::new(Things::default());
    bench.things = Arc::clone(&reconciler);
    let running = tokio::spawn({
        let (kit, triggers) = (kit.clone(), triggers.clone());
        async move { driver::run(&kit, things, triggers, reconciler).await }
    });

    let guests = Arc::new(foreign::Guests::default());
    let witness = Arc::new(foreign::Witness::default());
    let serving = tokio::spawn({
        let (kit, guests) = (kit.clone(), Arc::clone(&guests));
        let configs = Watch::<Foreign<ConfigMap>>::namespaced(&kit).named("guest");
        let witnessing = driver::beside(&kit, &configs, &Triggers::default(), Arc::clone(&witness));
        async move {
            tokio::try_join!(driver::run(&kit, configs, Triggers::default(), guests), witnessing)?;
            Ok(())
        }
    });

    tokio::join!(
        finalizer_comes_first_and_goes_last(&bench),
        settled_objects_are_left_alone(&bench),
        a_bad_object_stops_no_other(&bench),
        failures_are_retried_ever_later(&bench, &triggers),
        a_failed_observation_is_reported(&bench),
        what_needs_help_is_published_once(&bench),
        a_bug_stays_with_its_object(&bench),
        children_wake_their_owner(&bench),
        an_object_is_forgotten_however_it_goes(&bench),
        a_status_of_another_client_is_written_again(&bench),
        an_object_with_the_longest_name_has_events(&bench),
        caches::need_no_controller(&bench, &kit),
        refused::statuses_are_reported_by_one_event(&bench),
        refused::finalizers_are_reported_by_the_status(&bench),
        foreign::objects_are_served_while_they_are_selected(&bench, &guests, &witness),
    );
    an_api_server_restart_is_survived(&mut bench).await;

    // A watch that was interrupted reports that more than once.
    eventually("all is well", PATIENCE, async || Ok(kit.health().report().0.then_some(()))).await.unwrap();
    kit.shutdown().cancel();
    for running in [running, serving] {
        tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    }
}

/// A status that was computed of an earlier version, of a predecessor, or of an object that is gone is refused.
async fn a_status_lands_on_no_other_version(bench: &Bench, kit: &Kit) {
    let objects = Watch::<Thing>::namespaced(kit).objects();
    let status = ThingStatus { note: Some("stale".to_owned()), ..ThingStatus::default() };
    let apply = async |thing: &Thing| match objects.apply_status("kit", thing, &status).await {
        Ok(_) => 200,
        Err(kube::Error::Api(answer)) => answer.code,
        Err(error) => panic!("{error}"),
    };
    let first = bench.create("recreated", Mode::Well).await;
    bench.set("recreated", Mode::Failing).await;
    assert_eq!(apply(&first).await, 409, "an earlier version");
    bench.api.delete("recreated", &DeleteParams::default()).await.unwrap();
    assert_eq!(apply(&first).await, 404, "an object that is gone");
    assert!(bench.api.get_opt("recreated").await.unwrap().is_none(), "an apply has created it");
    let second = bench.create("recreated", Mode::Well).await;
    assert_eq!(apply(&first).await, 409, "a predecessor");
    assert!(bench.api.get("recreated").await.unwrap().status.is_none(), "the status of a predecessor");
    assert_eq!(apply(&second).await, 200, "the object as it is");
    caches::have_the_answer_to_a_patch(&objects, &second, &bench.api.get("recreated").await.unwrap()).await;
    bench.api.delete("recreated", &DeleteParams::default()).await.unwrap();
}

async fn finalizer_comes_first_and_goes_last(bench: &Bench) {
    bench.create("clinging", Mode::Clinging).await;
    assert_eq!(bench.says("clinging", "Well").await.finalizers(), [FINALIZER]);
    bench.api.delete("clinging", &DeleteParams::default()).await.unwrap();
    bench.says("clinging", "Clinging").await;
    bench.set("clinging", Mode::Well).await;
    bench.gone("clinging").await;

    bench.create("unconfirmed", Mode::Unconfirmed).await;
    bench.says("unconfirmed", "Well").await;
    let observed = bench.things.count("unconfirmed", Step::Observe);
    bench.api.delete("unconfirmed", &DeleteParams::default()).await.unwrap();
    bench.things.until("unconfirmed", Step::Observe, observed + 2).await;
    assert_eq!(bench.says("unconfirmed", driver::OBJECTS_LEFT).await.finalizers(), [FINALIZER]);
    bench.set("unconfirmed", Mode::Unconfirmable).await;
    assert_eq!(bench.says("unconfirmed", "Failing").await.finalizers(), [FINALIZER]);
    bench.set("unconfirmed", Mode::Well).await;
    bench.gone("unconfirmed").await;

    // A finalizer of another keeps the object: the last status says so, and not what was true before.
    let mut kept = Thing::new("kept", ThingSpec { mode: Mode::Well });
    kept.finalizers_mut().push("example.com/audit".to_owned());
    bench.api.create(&PostParams::default(), &kept).await.unwrap();
    bench.says("kept", "Well").await;
    bench.api.delete("kept", &DeleteParams::default()).await.unwrap();
    eventually("the driver's finalizer is gone", PATIENCE, async || {
        let kept = bench.api.get("kept").await?;
        Ok((kept.finalizers() == ["example.com/audit"]).then_some(()))
    })
    .await
    .unwrap();
    bench.says("kept", driver::FINALIZERS_LEFT).await;
    bench.patch("kept", json!({"metadata": {"finalizers": null}})).await;
    bench.gone("kept").await;
}

async fn settled_objects_are_left_alone(bench: &Bench) {
    bench.create("plain", Mode::Well).await;
    let mut given = Thing::new("given", ThingSpec { mode: Mode::Well });
    given.finalizers_mut().push(FINALIZER.to_owned());
    bench.api.create(&PostParams::default(), &given).await.unwrap();
    let before = [bench.says("plain", "Well").await, bench.says("given", "Well").await];

    bench.caught_up("after").await;
    let after = [bench.api.get("plain").await.unwrap(), bench.api.get("given").await.unwrap()];
    assert_eq!(before.map(|thing| thing.resource_version()), after.map(|thing| thing.resource_version()));
    // One pass for both: the finalizer that the driver added is in the cache, and wakes no second one before the first ends.
    let passes = bench.things.count("plain", Step::Observe);
    assert!(passes <= 2 && bench.things.count("given", Step::Observe) == 1, "{passes}");
    eventually("the audit log", PATIENCE, async || {
        Ok((bench.writes("plain").len() >= 2 && !bench.writes("given").is_empty()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(bench.writes("plain"), ["patch", "patch status"]);
    assert_eq!(bench.writes("given"), ["patch status"]);

    bench.patch("plain", json!({"metadata": {"labels": {"a": "b"}}})).await;
    bench.caught_up("after-label").await;
    assert_eq!(bench.things.count("plain", Step::Observe), passes, "labels are of no interest");
}

/// What another client has changed is written again, and what it has added is removed. Each step has its event.
async fn a_status_of_another_client_is_written_again(bench: &Bench) {
    bench.create("edited", Mode::Well).await;
    let before = bench.says("edited", "Well").await.status;
    let edit = json!({"status": {"note": "by hand", "conditions": [{
        "type": "Ready", "status": "True", "reason": "ByHand", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]}});
    let edit = Patch::Merge(edit);
    bench.api.patch_status("edited", &PatchParams::default(), &edit).await.unwrap();
    let ready = async || {
        let status = bench.api.get("edited").await?.status;
        let is_clean = status.as_ref().is_some_and(|status| status.note.is_none());
        let reason = |status: &Option<ThingStatus>| {
            let conditions = status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            conditions::get(&conditions, "Ready").map(|ready| ready.reason.clone())
        };
        Ok((is_clean && reason(&status) == reason(&before)).then_some(()))
    };
    eventually("the status is the operator's again", PATIENCE, ready).await.unwrap();
    bench.api.delete("edited", &DeleteParams::default()).await.unwrap();
    bench.gone("edited").await;
    let last = bench.warned("edited", 1).await;
    assert_eq!(last[0].reason.as_deref(), Some("Left"));
    let events: Api<Event> = Api::default_namespaced(bench.client.clone());
    let events = events.list(&ListParams::default()).await.unwrap();
    let recovered = events.iter().filter(|event| {
        let about = event.regarding.as_ref().and_then(|object| object.name.as_deref());
        about == Some("edited") && event.reason.as_deref() == Some("Recovered")
    });
    assert_eq!(recovered.count(), 1);
}

/// The name of an event must not be longer than that of any object.
async fn an_object_with_the_longest_name_has_events(bench: &Bench) {
    let name = "n".repeat(253);
    bench.create(&name, Mode::Well).await;
    bench.says(&name, "Well").await;
    bench.api.delete(&name, &DeleteParams::default()).await.unwrap();
    bench.gone(&name).await;
    assert_eq!(bench.warned(&name, 1).await[0].reason.as_deref(), Some("Left"));
}

async fn a_bad_object_stops_no_other(bench: &Bench) {
    bench.caught_up("beside-bad").await;
    let warnings = bench.warned("bad", 1).await;
    assert_eq!(warnings[0].reason.as_deref(), Some(driver::INVALID_OBJECT));
    assert!(warnings[0].note.as_ref().unwrap().contains("mode"), "{warnings:?}");
    assert_eq!(bench.things.count("bad", Step::Observe), 0);
    bench.things.until("bad", Step::SetAside, 1).await;
    // It is repaired while being watched.
    bench.set("bad", Mode::Well).await;
    bench.says("bad", "Well").await;
}

/// Last, `retry_all` ends every back-off: the other object's delays are measured before.
async fn failures_are_retried_ever_later(bench: &Bench, triggers: &Triggers<Thing>) {
    let (failing, ()) =
        tokio::join!(bench.create("failing", Mode::Failing), waiting_does_not_end_a_back_off(bench));
    bench.says("failing", "Failing").await;
    bench.things.until("failing", Step::Apply, 3).await;
    let times = bench.things.times("failing", Step::Apply);
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] >= Duration::from_millis(750) && gaps[1] >= Duration::from_millis(1500), "{gaps:?}");
    assert!(bench.warnings("failing").await.is_empty());

    // Woken during the back-off, it is observed but not acted upon.
    bench.things.until("failing", Step::Apply, 4).await;
    let (applied, observed) =
        (bench.things.count("failing", Step::Apply), bench.things.count("failing", Step::Observe));
    bench.child("nudge-failing", &failing).await;
    bench.things.until("failing", Step::Observe, observed + 1).await;
    assert_eq!(bench.things.count("failing", Step::Apply), applied);
    // The outside system is back: no object waits for its delay, which is 8 s by now.
    triggers.retry_all(&[operator_kit::Key::of(&failing)]);
    bench.things.until("failing", Step::Apply, applied + 1).await;
    // So does a new spec.
    bench.set("failing", Mode::Well).await;
    bench.says("failing", "Well").await;
}

/// What fails each time after a wait, such as for a place in a queue, is tried less and less often.
async fn waiting_does_not_end_a_back_off(bench: &Bench) {
    bench.create("queued", Mode::Queued).await;
    bench.things.until("queued", Step::Apply, 4).await;
    let times = bench.things.times("queued", Step::Apply);
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[1] >= Duration::from_millis(1500) && gaps[2] >= Duration::from_secs(3), "{gaps:?}");
}

async fn a_failed_observation_is_reported(bench: &Bench) {
    bench.create("unobservable", Mode::Unobservable).await;
    bench.says("unobservable", "Failing").await;
    bench.set("unobservable", Mode::Well).await;
    bench.says("unobservable", "Well").await;
}

async fn what_needs_help_is_published_once(bench: &Bench) {
    let hopeless = bench.create("hopeless", Mode::Hopeless).await;
    bench.says("hopeless", "Hopeless").await;
    bench.warned("hopeless", 1).await;
    let observed = bench.things.count("hopeless", Step::Observe);
    bench.child("nudge-hopeless", &hopeless).await;
    bench.things.until("hopeless", Step::Observe, observed + 1).await;
    bench.set("hopeless", Mode::Well).await;
    bench.says("hopeless", "Well").await;
    bench.set("hopeless", Mode::Hopeless).await;
    let warnings = eventually("another warning", PATIENCE, async || {
        let warnings = bench.warnings("hopeless").await;
        Ok(warnings[0].series.is_some().then_some(warnings))
    });
    let warnings = warnings.await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0].series.as_ref().unwrap().count, 2, "one for each transition, none for the nudge");
    assert_eq!(warnings[0].note.as_deref(), Some("it is hopeless"));
    assert_eq!(warnings[0].reporting_controller.as_deref(), Some("test-operator"));
}

async fn a_bug_stays_with_its_object(bench: &Bench) {
    bench.create("panicking", Mode::Panicking).await;
    bench.create("restless", Mode::Restless).await;
    bench.says("panicking", "InternalError").await;
    bench.says("restless", "InternalError").await;
    let warnings = bench.warned("panicking", 1).await;
    assert!(warnings[0].note.as_ref().unwrap().contains("as the test wants it"), "{warnings:?}");
    bench.caught_up("beside-panicking").await;
    for name in ["panicking", "restless"] {
        bench.set(name, Mode::Well).await;
        bench.says(name, "Well").await;
    }
}

async fn children_wake_their_owner(bench: &Bench) {
    bench.create("parent", Mode::Well).await;
    let parent = bench.says("parent", "Well").await;
    let observed = bench.things.count("parent", Step::Observe);
    let configs = bench.child("child", &parent).await;
    bench.things.until("parent", Step::Observe, observed + 1).await;
    configs.delete("child", &DeleteParams::default()).await.unwrap();
    bench.things.until("parent", Step::Observe, observed + 2).await;
}

async fn an_object_is_forgotten_however_it_goes(bench: &Bench) {
    for (name, by_hand) in [("deleted", false), ("torn", true)] {
        bench.create(name, Mode::Well).await;
        let uid = bench.says(name, "Well").await.uid().unwrap();
        if by_hand {
            bench.set(name, Mode::Clinging).await;
            bench.says(name, "Well").await;
        }
        bench.api.delete(name, &DeleteParams::default()).await.unwrap();
        if by_hand {
            bench.says(name, "Clinging").await;
            bench.patch(name, json!({"metadata": {"finalizers": null}})).await;
        }
        bench.things.until(&uid, Step::Forget, 1).await;
        bench.gone(name).await;
    }
}

async fn an_api_server_restart_is_survived(bench: &mut Bench) {
    let before = bench.things.count("plain", Step::Observe);
    bench.control_plane.stop_apiserver().await.unwrap();
    bench.control_plane.start_apiserver().await.unwrap();
    bench.caught_up("after-restart").await;
    assert_eq!(bench.things.count("plain", Step::Observe), before, "nothing new is nothing to do");
}

/// No controller makes its first pass before every cache is complete: here one whose kind is not served yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pass_begins_before_every_cache_is_complete() {
    let (bench, kit) = bench().await;
    bench.create("early", Mode::Well).await;
    let gadgets = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.kit.example.com"},
        "spec": {
            "group": "kit.example.com", "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets", "singular": "gadget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let watch = Watch::<Thing>::namespaced(&kit);
    Watch::<things::Gadget>::namespaced(&kit).spawn().keep();
    let running = tokio::spawn({
        let (kit, things) = (kit.clone(), Arc::clone(&bench.things));
        async move { driver::run(&kit, watch, Triggers::default(), things).await }
    });
    eventually("the missing kind is reported", PATIENCE, async || {
        let (_, lines) = kit.health().report();
        Ok((lines.contains("[+] watch Thing\n") && lines.contains("[-] watch Gadget: ")).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(bench.things.count("early", Step::Observe), 0);
    bench.control_plane.kubectl_stdin(&["create", "-f", "-"], &gadgets.to_string()).await.unwrap();
    bench.things.until("early", Step::Observe, 1).await;
    kit.shutdown().cancel();
    running.await.unwrap().unwrap();
}

#[test]
fn the_kits_errors_suit_an_operators_main() {
    fn suits<E: Into<Box<dyn std::error::Error + Send + Sync>>>() {}
    suits::<Error>();
}
