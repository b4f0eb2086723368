//! A set of objects on a real API server: waves, pruning, objects of others, and a second pass that writes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use operator_kit::Disposition;
use operator_kit::apply_set::{ApplySet, Change, Member, PART_OF, Progress, SetError};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually};

const PATIENCE: Duration = Duration::from_mins(3);
const MANAGER: &str = "test-operator.example.com/set";

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn config_map(namespace: Option<&str>, name: &str, value: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"key": value},
    }))
}

fn crd() -> DynamicObject {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }))
}

fn widget() -> DynamicObject {
    object(
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}),
    )
}

struct Rig {
    control_plane: ControlPlane,
    set: ApplySet,
}

impl Rig {
    fn configs(&self, namespace: &str) -> Api<ConfigMap> {
        Api::namespaced(self.control_plane.client(), namespace)
    }

    /// Applies until the set is complete; what was pruned.
    async fn complete(&self, waves: &[Vec<DynamicObject>]) -> Vec<String> {
        let pruned =
            eventually("the set is complete", PATIENCE, async || match self.set.apply(waves).await? {
                Progress::Complete(pruned) => Ok(Some(pruned)),
                Progress::Waiting(_) => Ok(None),
            });
        pruned.await.unwrap().iter().map(Member::to_string).collect()
    }

    async fn values(&self, namespace: &str) -> Vec<String> {
        let members = ListParams::default().labels("applyset.kubernetes.io/part-of");
        let configs = self.configs(namespace).list(&members).await.unwrap();
        configs.into_iter().filter_map(|config| config.data?.remove("key")).collect()
    }

    fn writes(&self) -> usize {
        let events = self.control_plane.audit_events().unwrap();
        events.iter().filter(|event| event.is_write() && event.user == "admin").count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_is_applied_in_waves_pruned_and_deleted() {
    let control_plane = ControlPlane::builder().audit(true).start().await.unwrap();
    control_plane.kubectl(&["create", "namespace", "other"]).await.unwrap();
    let set = ApplySet::new(control_plane.client(), "default", "drivers", MANAGER);
    let rig = Rig { control_plane, set };

    waves_wait_for_each_other(&rig).await;
    what_leaves_the_set_is_pruned(&rig).await;
    objects_of_others_are_refused(&rig).await;
    conflicts_name_the_other_manager(&rig).await;
    what_others_change_is_put_back(&rig).await;
    a_preview_says_what_would_change(&rig).await;
    notes_last_until_the_members_are_released(&rig).await;
    members_are_found_again_whose_parent_was_deleted(&rig).await;

    // Another process, which remembers nothing, deletes the set.
    let set = ApplySet::new(rig.control_plane.client(), "default", "drivers", MANAGER);
    eventually("every member is gone", PATIENCE, async || Ok(set.delete().await?.is_empty().then_some(())))
        .await
        .unwrap();
    assert!(rig.configs("default").get_opt("drivers").await.unwrap().is_none(), "the parent goes last");
    assert!(rig.values("default").await.is_empty() && rig.values("other").await.is_empty());
    assert_eq!(rig.set.delete().await.unwrap(), []);
}

async fn waves_wait_for_each_other(rig: &Rig) {
    let waves = [
        vec![config_map(None, "first", "1"), crd()],
        vec![widget(), config_map(Some("other"), "second", "2")],
    ];
    assert_eq!(rig.complete(&waves).await, Vec::<String>::new());
    assert_eq!(
        (rig.values("default").await, rig.values("other").await),
        (vec!["1".to_owned()], vec!["2".to_owned()])
    );
    rig.control_plane.kubectl(&["get", "widget", "w"]).await.unwrap();

    // Nothing new is nothing to write.
    eventually("the second pass is silent", PATIENCE, async || {
        let before = rig.writes();
        rig.complete(&waves).await;
        // An object that was written last becomes visible in the log before this read.
        rig.configs("default").get("first").await?;
        Ok((rig.writes() == before).then_some(()))
    })
    .await
    .unwrap();
    // A change by hand is undone.
    let drift = Patch::Merge(json!({"metadata": {"labels": {"applyset.kubernetes.io/part-of": null}}}));
    rig.configs("default").patch("first", &PatchParams::default(), &drift).await.unwrap();
    rig.complete(&waves).await;
    assert_eq!(rig.values("default").await, ["1"]);
}

async fn what_leaves_the_set_is_pruned(rig: &Rig) {
    let waves = [vec![crd()], vec![config_map(None, "first", "changed")]];
    let mut pruned = rig.complete(&waves).await;
    pruned.sort();
    assert_eq!(pruned, ["ConfigMap other/second", "Widget w"]);
    assert_eq!(rig.complete(&waves).await, Vec::<String>::new());
    assert_eq!(rig.values("default").await, ["changed"]);
    // A kind that the cluster does not serve any more has no members.
    rig.complete(&[vec![config_map(None, "first", "changed")]]).await;
    eventually("the CRD is gone", PATIENCE, async || {
        Ok(rig.control_plane.kubectl(&["get", "crd", "widgets.example.com"]).await.is_err().then_some(()))
    })
    .await
    .unwrap();
    rig.complete(&[vec![config_map(None, "first", "changed")]]).await;
    let error = rig.set.apply(&[vec![widget()]]).await.unwrap_err();
    assert!(matches!(&error, SetError::NotServed(member) if member.kind == "Widget"), "{error}");
    assert_eq!(error.classify(), ("KindNotServed", Disposition::NEEDS_HELP));
    rig.complete(&[vec![config_map(None, "first", "changed")]]).await;
}

async fn objects_of_others_are_refused(rig: &Rig) {
    let mut owned: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "owned"}})).unwrap();
    let parent = rig.configs("default").get("first").await.unwrap();
    owned.metadata.owner_references =
        kube::Resource::controller_owner_ref(&parent, &()).map(|owner| vec![owner]);
    rig.configs("default").create(&PostParams::default(), &owned).await.unwrap();
    let error = rig.set.apply(&[vec![config_map(None, "owned", "x")]]).await.unwrap_err();
    assert!(error.to_string().contains("belongs to ConfigMap first"), "{error}");
    assert_eq!(error.classify().0, "ObjectNotOurs");

    let other = ApplySet::new(rig.control_plane.client(), "default", "other-set", MANAGER);
    other.apply(&[vec![config_map(None, "theirs", "x")]]).await.unwrap();
    let error = rig.set.apply(&[vec![config_map(None, "theirs", "y")]]).await.unwrap_err();
    assert!(error.to_string().contains("belongs to the apply set applyset-"), "{error}");
    assert!(other.delete().await.unwrap().len() <= 1);

    let plain = json!({"metadata": {"name": "plain"}});
    rig.configs("default")
        .create(&PostParams::default(), &serde_json::from_value(plain).unwrap())
        .await
        .unwrap();
    let set = ApplySet::new(rig.control_plane.client(), "default", "plain", MANAGER);
    let error = set.apply(&[]).await.unwrap_err();
    assert!(error.to_string().contains("ConfigMap default/plain exists"), "{error}");
}

async fn conflicts_name_the_other_manager(rig: &Rig) {
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": {"key": "theirs"}});
    rig.configs("default")
        .patch("shared", &PatchParams::apply("another-client"), &Patch::Apply(theirs))
        .await
        .unwrap();
    let error = rig.set.apply(&[vec![config_map(None, "shared", "ours")]]).await.unwrap_err();
    let SetError::Conflicts { member, conflicts } = &error else { unreachable!("{error}") };
    assert_eq!((member.name.as_str(), conflicts[0].manager.as_str()), ("shared", "another-client"));
    assert_eq!(conflicts[0].field, ".data.key");
    assert!(error.to_string().contains("another-client holds .data.key"), "{error}");
    assert_eq!(error.classify().0, "FieldConflict");
}

async fn what_others_change_is_put_back(rig: &Rig) {
    let set = ApplySet::new(rig.control_plane.client(), "default", "keeping", MANAGER).putting_back();
    let waves = [vec![config_map(None, "kept", "ours")]];
    set.apply(&waves).await.unwrap();
    let theirs = json!({"data": {"key": "theirs"}});
    let params = PatchParams { field_manager: Some("another-client".to_owned()), ..PatchParams::default() };
    rig.configs("default").patch("kept", &params, &Patch::Merge(theirs)).await.unwrap();
    set.apply(&waves).await.unwrap();
    let value = async |name| rig.configs("default").get(name).await.unwrap().data.unwrap()["key"].clone();
    assert_eq!(value("kept").await, "ours");
    // What is no member yet is taken over only on request.
    let waves = [vec![config_map(None, "shared", "ours")]];
    assert!(matches!(set.apply(&waves).await, Err(SetError::Conflicts { .. })));
    let set = set.taking_over();
    set.apply(&waves).await.unwrap();
    assert_eq!(value("shared").await, "ours");
    set.delete().await.unwrap();
}

async fn a_preview_says_what_would_change(rig: &Rig) {
    let set = ApplySet::new(rig.control_plane.client(), "default", "previewed", MANAGER);
    let of = |name: &str, value: &str| config_map(None, name, value);
    set.apply(&[vec![of("kept", "1"), of("left", "1"), of("moved", "1")]]).await.unwrap();
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held"}, "data": {"key": "theirs"}});
    let params = PatchParams::apply("another-client");
    rig.configs("default").patch("held", &params, &Patch::Apply(theirs)).await.unwrap();
    let nowhere = config_map(Some("no-such-namespace"), "nowhere", "1");
    let waves = [
        vec![of("kept", "1"), of("moved", "2")],
        vec![of("new", "1"), of("held", "ours"), widget(), nowhere],
    ];
    let mut previews = Vec::new();
    for preview in set.preview(&waves).await.unwrap() {
        let word = match preview.change {
            Change::Create => "create".to_owned(),
            Change::Delete => "delete".to_owned(),
            Change::Refuse(message) => message.chars().take(7).collect(),
            Change::Update(before, after) => {
                format!("{} {}", before.data["data"]["key"], after.data["data"]["key"])
            }
        };
        previews.push(format!("{} {word}", preview.member.name));
    }
    let wanted = [
        "kept \"1\" \"1\"",
        "moved \"1\" \"2\"",
        "new create",
        "held Apply f",
        "w create",
        "nowhere create",
        "left delete",
    ];
    assert_eq!(previews, wanted);
    let health = set.health().await.unwrap();
    assert!(
        health.len() == 3 && health.iter().all(|(_, why)| why.is_none()),
        "nothing was written: {health:?}"
    );
    set.delete().await.unwrap();
    rig.configs("default").delete("held", &DeleteParams::default()).await.unwrap();
}

async fn notes_last_until_the_members_are_released(rig: &Rig) {
    let set = || ApplySet::new(rig.control_plane.client(), "default", "noted", MANAGER);
    assert_eq!(set().notes().await.unwrap(), None);
    let notes = BTreeMap::from([("version".to_owned(), "1".to_owned())]);
    set().write_notes(&notes).await.unwrap();
    set().apply(&[vec![config_map(None, "released", "ours")]]).await.unwrap();
    assert_eq!(set().notes().await.unwrap(), Some(notes));
    set().release().await.unwrap();
    assert_eq!(set().notes().await.unwrap(), None);
    let released = rig.configs("default").get("released").await.unwrap();
    assert!(!released.labels().contains_key(PART_OF), "{released:?}");
    set().release().await.unwrap();
}

async fn members_are_found_again_whose_parent_was_deleted(rig: &Rig) {
    let set = || ApplySet::new(rig.control_plane.client(), "default", "lost", MANAGER);
    let waves =
        [vec![config_map(None, "lost-here", "lost"), config_map(Some("other"), "lost-there", "lost")]];
    set().apply(&waves).await.unwrap();
    rig.configs("default").delete("lost", &kube::api::DeleteParams::default()).await.unwrap();
    assert_eq!(set().delete().await.unwrap(), [], "it is not known where they are");
    set().recover(&[("", "ConfigMap"), ("example.org", "NotServed")], &["other"]).await.unwrap();
    let found = set().delete().await.unwrap();
    let names: BTreeSet<_> = found.iter().map(|(member, _)| member.name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["lost-here", "lost-there"]));
    assert_eq!(set().delete().await.unwrap(), []);
}
