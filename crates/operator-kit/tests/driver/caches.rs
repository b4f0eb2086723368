//! Caches without a controller.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PostParams},
    core::PartialObjectMeta,
};
use operator_kit::{Deleted, Key, Kit, Objects, Patched, Watch};
use serde_json::json;
use testbed::eventually;

use crate::things::{FINALIZER, Mode, Thing, ThingSpec};
use crate::{Bench, PATIENCE};

/// Two of one kind, one of metadata only, and of other clusters, one of which cannot be reached.
pub async fn need_no_controller(bench: &Bench, kit: &Kit) {
    let settings = Watch::<ConfigMap>::namespaced(kit).labels("role=settings").named("settings");
    let metadata = Watch::<PartialObjectMeta<ConfigMap>>::cluster_wide(kit).named("metadata");
    let by_role = metadata.index(|config| config.metadata.labels.as_ref()?.get("role").cloned());
    let remote =
        Watch::<ConfigMap>::remote(kit, bench.client.clone(), "other cluster").fields("metadata.name=seen");
    let nowhere = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
    let nowhere = operator_kit::client::build(nowhere, "test-operator/1.0.0").unwrap();
    let unreachable = Watch::<ConfigMap>::remote(kit, nowhere, "unreachable cluster");
    let caches = (settings.objects(), metadata.objects(), remote.objects(), unreachable.objects());
    let _watching = (settings.spawn(), metadata.spawn(), remote.spawn(), unreachable.spawn());

    let configs: Api<ConfigMap> = Api::default_namespaced(bench.client.clone());
    let labels = json!({"role": "settings"});
    let config = json!({"metadata": {"name": "seen", "labels": labels}, "data": {"key": "value"}});
    configs.create(&PostParams::default(), &serde_json::from_value(config).unwrap()).await.unwrap();
    let key = Key::new("default", "seen");
    eventually("every cache has it", PATIENCE, async || {
        let has = [caches.0.cache().valid(&key), caches.2.cache().valid(&key)];
        let data = has.map(|config| config.and_then(|config| config.data.clone()?.remove("key")));
        let found = data.iter().all(|value| value.as_deref() == Some("value"));
        Ok((found && caches.1.cache().get(&key).is_some()).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(by_role.keys(&"settings".to_owned()), [key]);
    assert_eq!((caches.0.cache().len(), caches.2.cache().len()), (1, 1), "by label and by field");
    assert!(caches.1.cache().len() > 1, "all of the cluster's");
    assert!(caches.3.cache().is_empty());
    let (ready, report) = kit.health().report();
    assert!(!report.contains("unreachable cluster"), "{ready}: {report}");
    assert!(report.contains("watch settings") && report.contains("watch metadata"), "{report}");
}

/// An annotation is no part of the generation, and the watch may be late with it.
pub async fn are_compared_with_the_api_server(bench: &Bench, kit: &Kit) {
    // No watch runs: the cache has what requests bring.
    let objects = Watch::<Thing>::namespaced(kit).objects();
    let viewed = Thing::new("viewed", ThingSpec { mode: Mode::Well });
    let viewed = bench.api.create(&PostParams::default(), &viewed).await.unwrap();
    let note = |thing: &Thing| (thing.metadata.generation, thing.annotations().get("note").cloned());
    let generation = |thing: &Thing| thing.metadata.generation;
    assert!(objects.is_current(&viewed, note).await.unwrap());
    bench.patch("viewed", json!({"metadata": {"annotations": {"note": "changed"}}})).await;
    assert!(objects.is_current(&viewed, generation).await.unwrap());
    assert!(!objects.is_current(&viewed, note).await.unwrap());
    let cached = objects.cache().valid(&Key::of(&viewed)).unwrap();
    assert_eq!(cached.annotations()["note"], "changed");
    assert!(objects.is_current(&cached, note).await.unwrap());
    let former = Thing {
        metadata: ObjectMeta { uid: Some("former".into()), ..cached.metadata.clone() },
        ..Thing::clone(&cached)
    };
    assert!(!objects.is_current(&former, note).await.unwrap(), "a successor of its name");
    bench.api.delete("viewed", &DeleteParams::default()).await.unwrap();
    assert!(!objects.is_current(&cached, note).await.unwrap());
    assert!(objects.cache().get(&Key::of(&viewed)).is_none());
}

/// The cache of a watch that does not run has what the responses to writes tell it.
pub async fn follow_the_removal_of_a_finalizer(bench: &Bench, kit: &Kit) {
    let objects = Watch::<Thing>::namespaced(kit).objects();
    let mut ending = Thing::new("ending", ThingSpec { mode: Mode::Well });
    ending.finalizers_mut().push(FINALIZER.to_owned());
    let ending = bench.api.create(&PostParams::default(), &ending).await.unwrap();
    let key = Key::of(&ending);
    let mut outdated = ending.clone();
    outdated.finalizers_mut().push("example.com/gone".to_owned());
    let mut former = ending.clone();
    former.metadata.uid = Some("former".to_owned());
    for other in [outdated, former] {
        assert_eq!(objects.change_finalizers(&other, None, &[FINALIZER]).await.unwrap(), Patched::Stale);
    }
    assert_eq!(objects.delete(&key, &ending.uid().unwrap()).await.unwrap(), Deleted::Going);
    let ending = objects.cache().valid(&key).unwrap();
    assert_eq!(objects.change_finalizers(&ending, None, &[FINALIZER]).await.unwrap(), Patched::Done);
    assert!(objects.cache().get(&key).is_none());
}

/// More objects than a page of a list has.
pub async fn are_filled_by_a_search(bench: &Bench, kit: &Kit) {
    let configs: Api<ConfigMap> = Api::namespaced(bench.client.clone(), "kube-public");
    for n in 0..30 {
        let config = json!({"metadata": {"name": format!("listed-{n:02}"), "labels": {"listed": "yes"}}});
        configs.create(&PostParams::default(), &serde_json::from_value(config).unwrap()).await.unwrap();
    }
    let search = async |name: &str| {
        let objects = Watch::<ConfigMap>::namespaced(kit).objects();
        let found =
            objects.find("kube-public", "listed=yes", |found| found.name_any() == name).await.unwrap();
        (found.map(|found| found.name_any()), objects.cache().len())
    };
    let (first, cached) = search("listed-00").await;
    assert!(
        first.as_deref() == Some("listed-00") && cached < 30,
        "it ends with the page that has it: {cached}"
    );
    assert_eq!(search("listed-29").await, (Some("listed-29".to_owned()), 30));
    assert_eq!(search("another").await, (None, 30));
    let objects = Watch::<ConfigMap>::namespaced(kit).objects();
    let key = Key::new("kube-public", "listed-00");
    assert!(objects.read(&key).await.unwrap().is_some() && objects.cache().valid(&key).is_some());
    assert!(objects.read(&Key::new("kube-public", "another")).await.unwrap().is_none());
}

/// A patch lands on the version that it was computed from, and on no other.
pub async fn have_the_answer_to_a_patch(objects: &Objects<Thing>, earlier: &Thing, newest: &Thing) {
    let change = async |thing: &Thing| {
        let version = thing.resource_version();
        let patch = json!({ "metadata": { "resourceVersion": version, "labels": { "changed": "yes" } } });
        objects.change("kit", thing, &Patch::Merge(patch)).await.unwrap()
    };
    assert_eq!(change(earlier).await, Patched::Stale);
    assert_eq!(change(newest).await, Patched::Done);
    assert_eq!(objects.cache().valid(&Key::of(newest)).unwrap().labels()["changed"], "yes");
}
