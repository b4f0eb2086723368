//! Tests of the proxy before the API server, each of one perturbation, with a kube client.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde_json::{Value, json};
use testbed::{ApiProxy, ControlPlane, eventually};
use tokio::sync::Mutex;

/// The time limit of a wait, far above the seconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(5);

/// A namespace of the shared plane, and a proxy whose client has all rights.
struct Rig {
    proxy: ApiProxy,
    /// The administrator's client, which does not use the proxy.
    direct: Api<ConfigMap>,
    namespace: String,
    _plane: Arc<ControlPlane>,
}

async fn plane() -> Arc<ControlPlane> {
    static SHARED: Mutex<Weak<ControlPlane>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(plane) = shared.upgrade() {
        return plane;
    }
    let plane = Arc::new(ControlPlane::start().await.unwrap());
    *shared = Arc::downgrade(&plane);
    plane
}

impl Rig {
    async fn start(perturbation: &str) -> Self {
        static NAMESPACES: AtomicUsize = AtomicUsize::new(0);
        let plane = plane().await;
        let namespace = format!("perturbed-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let manifests = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } },
            { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "client", "namespace": namespace } },
            { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
              "metadata": { "name": "client", "namespace": namespace },
              "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
              "subjects": [{ "kind": "ServiceAccount", "name": "client", "namespace": namespace }] },
        ] });
        plane.kubectl_stdin(&["apply", "-f", "-"], &manifests.to_string()).await.unwrap();
        let kubeconfig = plane.service_account_kubeconfig(&namespace, "client").await.unwrap();
        let perturbation = (!perturbation.is_empty()).then(|| perturbation.parse().unwrap());
        let proxy = ApiProxy::start(&plane, &kubeconfig, perturbation).await.unwrap();
        let admin = testbed::client(plane.kubeconfig()).await.unwrap();
        Self { proxy, direct: Api::namespaced(admin, &namespace), namespace, _plane: plane }
    }

    /// Returns a new client of the proxy, which repeats nothing.
    async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.proxy.kubeconfig()).unwrap();
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    async fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client().await, &self.namespace)
    }

    async fn exists(&self, name: &str) -> bool {
        self.direct.get_opt(name).await.unwrap().is_some()
    }

    /// Changes an object without the proxy.
    async fn change(&self, name: &str, value: &str) {
        let patch = Patch::Merge(json!({ "data": { "key": value } }));
        self.direct.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn create_directly(&self, name: &str) {
        self.direct.create(&PostParams::default(), &map(name)).await.unwrap();
    }

    /// Starts a watch of the objects that the test makes.
    async fn watch(&self, maps: &Api<ConfigMap>) -> Events {
        let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let params = WatchParams::default().labels("test=yes");
        maps.watch(&params, &version).await.unwrap().boxed()
    }

    /// Waits until the proxy has these events, and the client would have them unless they are held back.
    async fn has_seen(&self, maps: &Api<ConfigMap>, marks: &[&str]) {
        eventually("the proxy has the events", SOON, async || {
            let events: Vec<_> = self.proxy.record().events.iter().map(ToString::to_string).collect();
            Ok(marks.iter().all(|mark| events.iter().any(|event| event == mark)).then_some(()))
        })
        .await
        .unwrap();
        maps.list(&ListParams::default()).await.unwrap();
    }
}

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Send>>;

fn map(name: &str) -> ConfigMap {
    let map = json!({ "metadata": { "name": name, "labels": { "test": "yes" } }, "data": { "key": "0" } });
    serde_json::from_value(map).unwrap()
}

/// Returns verb, name and value of an event.
fn text(event: WatchEvent<ConfigMap>) -> String {
    let (verb, map) = match event {
        WatchEvent::Added(map) => ("added", map),
        WatchEvent::Modified(map) => ("modified", map),
        WatchEvent::Deleted(map) => ("deleted", map),
        other => panic!("{other:?}"),
    };
    format!("{verb} {} {}", map.name_any(), map.data.unwrap()["key"])
}

async fn next(events: &mut Events) -> String {
    text(events.try_next().await.unwrap().unwrap())
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result.unwrap_err() {
        kube::Error::Api(status) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_without_perturbation_records_requests_and_events() {
    let rig = Rig::start("").await;
    let maps = rig.maps().await;
    let mut events = rig.watch(&maps).await;
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let manifest: Value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "other": "1" } });
    maps.patch("a", &PatchParams::apply("test"), &Patch::Apply(manifest)).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(rig.client().await, &rig.namespace);
    leases.list(&ListParams::default()).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap().data.unwrap().len(), 2);
    assert_eq!(next(&mut events).await, "added a 0");
    assert_eq!(next(&mut events).await, "modified a 0");
    let record = rig.proxy.record();
    let names = |marks: &[testbed::Mark]| marks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let calls =
        ["list/configmaps/#1", "watch/configmaps/#1", "create/configmaps/a#1", "apply/configmaps/a#1"];
    assert_eq!(names(&record.calls), [&calls[..], &["get/configmaps/a#1"]].concat());
    assert_eq!(names(&record.events), ["added/configmaps/a#1", "modified/configmaps/a#1"]);
    assert!(!rig.proxy.has_fired());
}

#[tokio::test]
async fn a_lost_reply_hides_the_effect_of_the_nth_request_only() {
    let rig = Rig::start("reply-lost@patch/configmaps/a#2").await;
    let maps = rig.maps().await;
    rig.create_directly("a").await;
    let set = |value: &str| Patch::Merge(json!({ "data": { "key": value } }));
    let params = PatchParams::default();
    maps.patch("a", &params, &set("1")).await.unwrap();
    assert!(!rig.proxy.has_fired());
    maps.patch("a", &params, &set("2")).await.unwrap_err();
    assert!(rig.proxy.has_fired());
    assert_eq!(rig.direct.get("a").await.unwrap().data.unwrap()["key"], "2");
    maps.patch("a", &params, &set("3")).await.unwrap();
}

#[tokio::test]
async fn a_lost_request_has_no_effect() {
    let rig = Rig::start("request-lost@create/configmaps/a#1").await;
    let maps = rig.maps().await;
    maps.create(&PostParams::default(), &map("a")).await.unwrap_err();
    assert!(rig.proxy.has_fired() && !rig.exists("a").await);
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
}

#[tokio::test]
async fn a_request_is_refused_with_each_status() {
    for (status, reason) in [
        (403, "Forbidden"),
        (409, "Conflict"),
        (410, "Expired"),
        (422, "Invalid"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
    ] {
        let rig = Rig::start(&format!("status-{status}@create/configmaps/a#1")).await;
        let maps = rig.maps().await;
        let refused = maps.create(&PostParams::default(), &map("a")).await.unwrap_err();
        let kube::Error::Api(refused) = refused else { panic!("{refused}") };
        assert_eq!((refused.code, refused.reason.as_str()), (status, reason));
        assert!(rig.proxy.has_fired() && !rig.exists("a").await);
        maps.create(&PostParams::default(), &map("a")).await.unwrap();
    }
    let rig = Rig::start("status-410@watch/configmaps/#1").await;
    let refused = rig.maps().await.watch(&WatchParams::default(), "1").await;
    assert_eq!(code(refused.map(drop)), 410);
}

#[tokio::test]
async fn a_client_is_killed_before_its_reply() {
    let rig = Rig::start("kill-before-reply@create/configmaps/a#1").await;
    let maps = rig.maps().await;
    let params = PostParams::default();
    let object = map("a");
    tokio::select! {
        reply = maps.create(&params, &object) => panic!("{reply:?}"),
        () = rig.proxy.kill_point() => {}
    }
    assert!(rig.proxy.has_fired() && rig.exists("a").await);
    rig.proxy.reopen();
    rig.maps().await.get("a").await.unwrap();
}

#[tokio::test]
async fn a_client_is_killed_after_its_reply() {
    let rig = Rig::start("kill-after-reply@create/configmaps/a#1").await;
    let maps = rig.maps().await;
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    rig.proxy.kill_point().await;
    // The connection of the client before the restart is still open, as that of a killed client that has sent a request.
    let second = map("b");
    let params = PostParams::default();
    let (second, ()) = tokio::join!(maps.create(&params, &second), async { rig.proxy.reopen() });
    second.unwrap_err();
    assert!(rig.proxy.has_fired() && !rig.exists("b").await);
    rig.maps().await.get("a").await.unwrap();
}

#[tokio::test]
async fn the_first_list_after_a_restart_is_older_and_its_watch_catches_up() {
    let rig = Rig::start("older-list-2@create/configmaps/c#1").await;
    let maps = rig.maps().await;
    let params = PostParams::default();
    for name in ["a", "b"] {
        maps.create(&params, &map(name)).await.unwrap();
    }
    let third = map("c");
    tokio::select! {
        reply = maps.create(&params, &third) => panic!("{reply:?}"),
        () = rig.proxy.kill_point() => {}
    }
    assert!(!rig.proxy.has_fired(), "no list was older yet");
    rig.proxy.reopen();
    let maps = rig.maps().await;
    let ours = ListParams::default().labels("test=yes");
    let names = |list: &kube::core::ObjectList<ConfigMap>| {
        list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    let list = maps.list(&ours.clone().limit(1)).await.unwrap();
    assert_eq!(names(&list), ["a"], "without the latest two changes");
    assert!(rig.proxy.has_fired());
    let params = WatchParams::default().labels("test=yes");
    let version = list.metadata.resource_version.unwrap();
    let mut events = maps.watch(&params, &version).await.unwrap().boxed();
    assert_eq!(next(&mut events).await, "added b 0");
    assert_eq!(next(&mut events).await, "added c 0");
    assert_eq!(names(&maps.list(&ours).await.unwrap()), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_event_is_withheld_until_the_next_event_of_its_object() {
    let rig = Rig::start("withheld@modified/configmaps/a#1").await;
    let maps = rig.maps().await;
    let mut events = rig.watch(&maps).await;
    rig.create_directly("a").await;
    assert_eq!(next(&mut events).await, "added a 0");
    rig.change("a", "1").await;
    rig.create_directly("b").await;
    rig.has_seen(&maps, &["modified/configmaps/a#1", "added/configmaps/b#1"]).await;
    assert!(rig.proxy.has_fired());
    assert!(events.try_next().now_or_never().is_none(), "the watch stands still");
    rig.change("a", "2").await;
    for wanted in ["modified a 1", "added b 0", "modified a 2"] {
        assert_eq!(next(&mut events).await, wanted);
    }
}

#[tokio::test]
async fn an_event_that_is_the_last_of_its_object_comes_late() {
    let rig = Rig::start("withheld@added/configmaps/a#1").await;
    let maps = rig.maps().await;
    let mut events = rig.watch(&maps).await;
    rig.create_directly("a").await;
    assert_eq!(next(&mut events).await, "added a 0");
    assert!(rig.proxy.has_fired());
}

#[tokio::test]
async fn a_watch_is_frozen_for_a_number_of_writes() {
    let rig = Rig::start("frozen-2@added/configmaps/a#1").await;
    let maps = rig.maps().await;
    let mut events = rig.watch(&maps).await;
    rig.create_directly("a").await;
    rig.change("a", "1").await;
    rig.has_seen(&maps, &["added/configmaps/a#1", "modified/configmaps/a#1"]).await;
    maps.create(&PostParams::default(), &map("b")).await.unwrap();
    rig.has_seen(&maps, &["added/configmaps/b#1"]).await;
    assert!(events.try_next().now_or_never().is_none(), "the watch stands still");
    maps.create(&PostParams::default(), &map("c")).await.unwrap();
    for wanted in ["added a 0", "modified a 1", "added b 0", "added c 0"] {
        assert_eq!(next(&mut events).await, wanted);
    }
}

#[tokio::test]
async fn a_watch_ends_with_expired_or_breaks() {
    let rig = Rig::start("expired@added/configmaps/b#1").await;
    let mut events = rig.watch(&rig.maps().await).await;
    rig.create_directly("a").await;
    assert_eq!(next(&mut events).await, "added a 0");
    rig.create_directly("b").await;
    let error = events.try_next().await.unwrap().unwrap();
    assert!(matches!(&error, WatchEvent::Error(status) if status.code == 410), "{error:?}");
    assert!(events.try_next().await.unwrap().is_none() && rig.proxy.has_fired());

    let rig = Rig::start("cut@added/configmaps/b#1").await;
    let mut events = rig.watch(&rig.maps().await).await;
    rig.create_directly("a").await;
    assert_eq!(next(&mut events).await, "added a 0");
    rig.create_directly("b").await;
    assert!(!matches!(events.try_next().await, Ok(Some(_))) && rig.proxy.has_fired());
}
