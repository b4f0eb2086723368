//! Watches of other clusters: two real ones, and one that cannot be reached.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use operator_kit::{Clock, Key, Kit, Operator, Remote, Remotes};
use serde_json::json;
use testbed::{ControlPlane, eventually};

const OPERATOR: Operator = Operator { name: "test-operator", group: "kit.example.com", version: "1.0.0" };
const PATIENCE: Duration = Duration::from_mins(3);
const NAME: &str = "workload ConfigMap";

/// How often the object of each cluster was woken.
#[derive(Clone, Default)]
struct Wakes(Arc<Mutex<HashMap<Key, usize>>>);

impl Wakes {
    fn note(&self, key: &Key) {
        *self.0.lock().unwrap().entry(key.clone()).or_default() += 1;
    }

    fn count(&self, key: &Key) -> usize {
        self.0.lock().unwrap().get(key).copied().unwrap_or_default()
    }

    async fn until_more_than(&self, key: &Key, before: usize) {
        until(&format!("{key} is woken"), || self.count(key) > before).await;
    }
}

async fn until(goal: &str, is_reached: impl Fn() -> bool) {
    eventually(goal, PATIENCE, async || Ok(is_reached().then_some(()))).await.unwrap();
}

async fn config(control_plane: &ControlPlane) -> Config {
    let kubeconfig = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

fn start(remotes: &Remotes<ConfigMap>, key: &Key, version: &str, client: &Client) -> Remote<ConfigMap> {
    remotes.start(key, version, client);
    remotes.get(key).unwrap()
}

/// Sets the only datum of a `ConfigMap` that the watches see.
async fn write(cluster: &ControlPlane, name: &str, value: &str) {
    let configs: Api<ConfigMap> = Api::default_namespaced(cluster.client());
    let patch = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"value": value},
        "metadata": {"name": name, "labels": {"role": "settings"}},
    });
    configs.patch(name, &PatchParams::apply("test"), &Patch::Apply(patch)).await.unwrap();
}

/// Returns what the cache has of that datum.
fn value(remote: &Remote<ConfigMap>, name: &str) -> Option<String> {
    let config = remote.objects().cache().valid(&Key::new("default", name))?;
    config.data.as_ref()?.get("value").cloned()
}

async fn until_seen(remote: &Remote<ConfigMap>, name: &str, expected: &str) {
    until(&format!("{name} is {expected}"), || value(remote, name).as_deref() == Some(expected)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_their_clusters() {
    let (first, second) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    let (first, mut second) = (first.unwrap(), second.unwrap());
    let kit = Kit::with_client(OPERATOR, first.client(), Clock::default()).unwrap();
    let ready = kit.readiness("test");
    ready.ready();
    let clients =
        [kit.client_for(config(&first).await).unwrap(), kit.client_for(config(&second).await).unwrap()];
    let [a, b] = ["a", "b"].map(|name| Key::new("clusters", name));
    let wakes = Wakes::default();
    let remotes = Remotes::<ConfigMap>::new(&kit, NAME, |watch| watch.labels("role=settings"), {
        let wakes = wakes.clone();
        move |key| wakes.note(key)
    });

    for (key, client) in [(&a, &clients[0]), (&b, &clients[1])] {
        assert!(remotes.get(key).is_none());
        let remote = start(&remotes, key, "1", client);
        // An empty cluster is news as well.
        until("the first list", || remote.is_complete() && wakes.count(key) > 0).await;
        assert!(remote.objects().cache().is_empty() && remote.problem().is_none());
    }
    each_wakes_its_own_object(&remotes, &wakes, [(&a, &first), (&b, &second)]).await;
    one_that_cannot_be_reached_holds_up_no_other(&kit, &remotes, &wakes).await;
    one_that_was_gone_goes_on(&remotes, &wakes, &b, &mut second).await;
    assert!(kit.health().report().0, "{}", kit.health().report().1);

    // A client of another version, here of the other cluster.
    let old = remotes.get(&b).unwrap();
    let woken = wakes.count(&b);
    let replaced = start(&remotes, &b, "2", &clients[0]);
    until("the first list", || replaced.is_complete()).await;
    wakes.until_more_than(&b, woken).await;
    let remote = remotes.get(&b).unwrap();
    assert_eq!((value(&remote, "a").as_deref(), value(&remote, "b")), (Some("1"), None));
    an_ended_watch_sees_nothing(&remotes, &wakes, (&b, &old), &clients[1], &second).await;

    // Dropped = ended: nothing holds what the watches hold.
    let held = Arc::downgrade(&wakes.0);
    drop((remotes, remote, replaced, old, wakes));
    until("every watch has ended", || held.upgrade().is_none()).await;
}

/// The caches are apart, and the same version of a client changes nothing.
async fn each_wakes_its_own_object(
    remotes: &Remotes<ConfigMap>,
    wakes: &Wakes,
    clusters: [(&Key, &ControlPlane); 2],
) {
    for (key, cluster) in clusters {
        let others =
            || clusters.iter().filter(|(other, _)| *other != key).map(|(other, _)| wakes.count(other));
        let (before, others_before) = (wakes.count(key), others().sum::<usize>());
        write(cluster, key.name(), "1").await;
        let remote = start(remotes, key, "1", &cluster.client());
        until_seen(&remote, key.name(), "1").await;
        wakes.until_more_than(key, before).await;
        assert_eq!(others().sum::<usize>(), others_before, "another object was woken");
        assert_eq!(remote.objects().cache().len(), 1);
    }
}

async fn one_that_cannot_be_reached_holds_up_no_other(
    kit: &Kit,
    remotes: &Remotes<ConfigMap>,
    wakes: &Wakes,
) {
    let nowhere = Key::new("clusters", "nowhere");
    let client = kit.client_for(Config::new("https://127.0.0.1:1".parse().unwrap())).unwrap();
    let remote = start(remotes, &nowhere, "1", &client);
    until("the problem is known", || remote.problem().is_some() && wakes.count(&nowhere) > 0).await;
    assert!(!remote.is_complete());
    assert!(remote.problem().unwrap().contains("127.0.0.1:1"), "{:?}", remote.problem());
    let (is_ready, report) = kit.health().report();
    assert!(is_ready && !report.contains(NAME), "{report}");
    tokio::time::timeout(PATIENCE, kit.caches()).await.unwrap();
    remotes.stop(&nowhere);
    assert!(remotes.get(&nowhere).is_none());
}

async fn one_that_was_gone_goes_on(
    remotes: &Remotes<ConfigMap>,
    wakes: &Wakes,
    key: &Key,
    cluster: &mut ControlPlane,
) {
    let remote = remotes.get(key).unwrap();
    let before = wakes.count(key);
    cluster.stop_apiserver().await.unwrap();
    until("the problem is known", || remote.problem().is_some()).await;
    wakes.until_more_than(key, before).await;
    assert!(remote.is_complete(), "the cache is as it was");
    assert_eq!(value(&remote, key.name()).as_deref(), Some("1"));
    cluster.start_apiserver().await.unwrap();
    let before = wakes.count(key);
    write(cluster, key.name(), "2").await;
    until_seen(&remote, key.name(), "2").await;
    until("the problem is over", || remote.problem().is_none()).await;
    wakes.until_more_than(key, before).await;
}

/// Changes something in the cluster that a watch which has ended must not see, and one that runs sees.
async fn an_ended_watch_sees_nothing(
    remotes: &Remotes<ConfigMap>,
    wakes: &Wakes,
    (key, ended): (&Key, &Remote<ConfigMap>),
    client: &Client,
    cluster: &ControlPlane,
) {
    let witness = Key::new("clusters", "witness");
    let before = wakes.count(key);
    let running = start(remotes, &witness, "1", client);
    until("the first list", || running.is_complete()).await;
    write(cluster, "late", "1").await;
    until_seen(&running, "late", "1").await;
    remotes.stop(&witness);
    assert_eq!(wakes.count(key), before, "woken by a cluster that is not its own any more");
    assert!(value(ended, "late").is_none());
}
