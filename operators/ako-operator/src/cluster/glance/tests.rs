use serde_json::{Value, json};

use super::*;

/// Returns a Cluster. The paths of `change` are of the form `metadata.labels`.
fn cluster(namespace: &str, change: &Value) -> Cluster {
    let mut metadata = json!({ "name": "c", "namespace": namespace, "uid": "u", "resourceVersion": "1" });
    for (field, value) in change.as_object().into_iter().flatten() {
        metadata[field] = value.clone();
    }
    serde_json::from_value(json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "metadata": metadata })).unwrap()
}

fn deleted() -> Value {
    json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" })
}

/// Returns a Machine with a hook of this owner.
fn machine(name: &str, hook: Option<&str>, is_deleting: bool) -> Arc<Foreign<Machine>> {
    let mut metadata = json!({ "name": name, "namespace": "n", "uid": name, "resourceVersion": "1" });
    if let Some(owner) = hook {
        metadata["annotations"] = json!({ PRE_TERMINATE_HOOK: owner });
    }
    if is_deleting {
        metadata["deletionTimestamp"] = deleted()["deletionTimestamp"].clone();
    }
    let spec = json!({ "clusterName": "c" });
    let machine = json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "metadata": metadata, "spec": spec });
    Arc::new(Foreign::from(serde_json::from_value::<Machine>(machine).unwrap()))
}

fn known<'a>(cluster: &'a Cluster, machines: &[Arc<Foreign<Machine>>]) -> Known<'a> {
    Known {
        cluster,
        adcs: Configs::default(),
        machines: machines.to_vec(),
        is_purged: false,
        is_balanced: true,
        has_service: false,
        deadline: None,
        works: None,
        can_serve: None,
        unrecorded: Vec::new(),
    }
}

#[test]
fn hooks_are_those_of_this_operator_on_machines_of_workload_clusters() {
    let ours = Some(HOOK_OWNER);
    let machines = [
        machine("bare", None, false),
        machine("bare-going", None, true),
        machine("hooked", ours, false),
        machine("hooked-going", ours, true),
        machine("of-others", Some("someone"), false),
    ];
    let present = &["hooked", "hooked-going"][..];
    for (what, cluster, unneeded, missing) in [
        ("a Cluster", cluster("n", &json!({})), &["hooked-going"][..], &["bare", "of-others"][..]),
        ("one that is being deleted", cluster("n", &deleted()), &[], &["bare", "of-others"]),
        ("a management cluster", cluster(SYSTEM_NAMESPACE, &json!({})), &["hooked-going"], &[]),
    ] {
        let hooks = known(&cluster, &machines).glance().hooks;
        assert_eq!(hooks.present, present, "{what}");
        assert_eq!(hooks.unneeded, unneeded, "{what}");
        assert_eq!(hooks.missing, missing, "{what}");
    }
}

#[test]
fn a_management_cluster_waits_for_the_service_of_its_control_plane() {
    for (namespace, is_balanced, has_service, wanted) in [
        (SYSTEM_NAMESPACE, true, false, true),
        (SYSTEM_NAMESPACE, true, true, false),
        (SYSTEM_NAMESPACE, false, false, false),
        ("n", true, false, false),
    ] {
        let cluster = cluster(namespace, &json!({}));
        let known = Known { is_balanced, has_service, ..known(&cluster, &[]) };
        assert_eq!(known.glance().is_service_missing, wanted, "{namespace} {is_balanced} {has_service}");
    }
}

#[test]
fn the_label_makes_ako_of_a_workload_cluster_remove_what_it_made() {
    let label = |value: &str| json!({ "networking.tkg.tanzu.vmware.com/avi-config-delete": value });
    for (namespace, labels, wanted) in [
        ("n", label("true"), true),
        ("n", label("false"), false),
        ("n", label(""), false),
        ("n", json!({}), false),
        (SYSTEM_NAMESPACE, label("true"), false),
    ] {
        let cluster = cluster(namespace, &json!({ "labels": labels }));
        assert_eq!(deletes_config(&cluster), wanted, "{namespace} {labels}");
    }
}
