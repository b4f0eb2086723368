use infra_clients::capi;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::*;
use crate::user::secret_name as user_secret_name;

const AT: &str = "2026-01-01T00:00:00Z";

/// Changes an object as a merge patch does.
fn merged(mut object: Value, patch: &Value) -> Value {
    fn merge(object: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else { return patch.clone_into(object) };
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        for (field, value) in patch {
            if value.is_null() {
                object.as_object_mut().unwrap().remove(field);
            } else {
                merge(&mut object[field], value);
            }
        }
    }
    merge(&mut object, patch);
    object
}

/// Reads an object; `null` stands for one that is not there.
fn read<K: DeserializeOwned>(object: &Value) -> Option<Guarded<K>>
where
    Guarded<K>: DeserializeOwned,
{
    serde_json::from_value(object.clone()).unwrap()
}

/// Checks what each change of an object wakes.
fn check<K>(by: fn(&Change<K>) -> Woken, base: &Value, table: Vec<(&str, Value, Woken)>)
where
    K: DeserializeOwned,
    Guarded<K>: DeserializeOwned,
{
    for (what, patch, woken) in table {
        let after = merged(base.clone(), &patch);
        assert_ne!(&after, base, "{what}: no change");
        assert_eq!(by(&Change { before: read(base), after: read(&after) }), woken, "{what}");
        assert_eq!(by(&Change { before: read(base), after: read(base) }), Woken::default(), "nothing");
    }
}

fn no_one() -> Woken {
    Woken::default()
}

fn these(names: &[&str]) -> Which {
    Which::These(names.iter().map(|name| Key::new("n", name)).collect())
}

/// All Clusters, for both controllers.
fn takers() -> Woken {
    Woken { clusters: Which::All, endpoints: Which::All, ..no_one() }
}

fn configs() -> Woken {
    Woken { adcs: Which::All, ..no_one() }
}

fn config() -> Value {
    json!({
        "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1",
        "kind": "AKODeploymentConfig",
        "metadata": { "name": "adc", "uid": "u", "generation": 2, "resourceVersion": "1" },
        "spec": {
            "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
            "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
            "adminCredentialRef": { "name": "a", "namespace": "n" },
            "certificateAuthorityRef": { "name": "b", "namespace": "n" },
        },
        "status": {
            "observedGeneration": 2, "selectedClusters": 2, "controllerVersion": "30.2.1",
            "deliveredTo": ["n/a", "n/b"],
            "added": { "tenants": ["t"] },
            "conditions": [ready("True", "AsAsked")],
        },
    })
}

fn ready(status: &str, reason: &str) -> Value {
    json!({ "type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": AT })
}

#[test]
fn a_config_wakes_those_that_its_change_concerns() {
    let of = |keys: &[&str]| Woken { clusters: these(keys), ..configs() };
    let all = || Woken { adcs: Which::All, ..takers() };
    let status = |patch: Value| json!({ "status": patch });
    let metadata = |patch: Value| json!({ "metadata": patch });
    check::<AkoDeploymentConfig>(
        by_config,
        &config(),
        vec![
            ("another spec", metadata(json!({ "generation": 3 })), takers()),
            ("a status that answers it", status(json!({ "observedGeneration": 3 })), takers()),
            (
                "it is not ready",
                status(json!({ "conditions": [ready("False", "AviUnreachable")] })),
                takers(),
            ),
            ("ready for another reason", status(json!({ "conditions": [ready("True", "Other")] })), no_one()),
            ("the controller was upgraded", status(json!({ "controllerVersion": "31.1.1" })), takers()),
            ("it is being deleted", metadata(json!({ "deletionTimestamp": AT })), all()),
            ("another object of the name", metadata(json!({ "uid": "v" })), all()),
            ("a Cluster was recorded", status(json!({ "deliveredTo": ["n/a", "n/b", "n/c"] })), of(&["c"])),
            ("a Cluster has left", status(json!({ "deliveredTo": ["n/b"] })), of(&["a"])),
            (
                "one has left, another was recorded",
                status(json!({ "deliveredTo": ["n/b", "n/c"] })),
                of(&["a", "c"]),
            ),
            ("something was added to AVI", status(json!({ "added": { "tenants": ["t", "s"] } })), configs()),
            ("all of it was removed", status(json!({ "added": null })), configs()),
            ("a number", status(json!({ "selectedClusters": 3 })), no_one()),
            ("a label", metadata(json!({ "labels": { "a": "b" } })), no_one()),
        ],
    );
    let unready = merged(config(), &status(json!({ "conditions": [ready("False", "AviUnreachable")] })));
    let clusters = || Woken { clusters: Which::All, ..no_one() };
    let mut other = ready("False", "AviUnreachable");
    other["message"] = "another address".into();
    check::<AkoDeploymentConfig>(
        by_config,
        &unready,
        vec![
            // Clusters that wait for it quote this.
            (
                "not ready for another reason",
                status(json!({ "conditions": [ready("False", "AviTimeout")] })),
                clusters(),
            ),
            ("not ready, as another message says", status(json!({ "conditions": [other] })), clusters()),
            ("ready", status(json!({ "conditions": [ready("True", "AsAsked")] })), takers()),
        ],
    );
    let (there, gone) = (read::<AkoDeploymentConfig>(&config()), None);
    let appears = Change { before: gone.clone(), after: there.clone() };
    let recorded = Woken { adcs: Which::All, ..takers() };
    assert_eq!(by_config(&appears), recorded, "it appears");
    assert_eq!(by_config(&Change { before: there, after: gone }), recorded, "it is gone");
}

#[test]
fn a_cluster_wakes_configs_when_it_may_choose_another_one() {
    let cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": "a", "namespace": "n", "uid": "u", "generation": 1, "resourceVersion": "1",
            "labels": { "l": "x" }, "finalizers": ["f"] },
        "spec": {},
        "status": { "conditions": [available("True")] },
    });
    let metadata = |patch: Value| json!({ "metadata": patch });
    check::<Foreign<Cluster>>(
        by_cluster,
        &cluster,
        vec![
            ("another label", metadata(json!({ "labels": { "l": "y" } })), configs()),
            ("the label is gone", metadata(json!({ "labels": null })), configs()),
            ("a person asks", metadata(json!({ "annotations": { MOVE_ANNOTATION: "adc" } })), configs()),
            ("a finalizer is gone", metadata(json!({ "finalizers": null })), configs()),
            ("it is being deleted", metadata(json!({ "deletionTimestamp": AT })), configs()),
            ("another spec", metadata(json!({ "generation": 2 })), configs()),
            ("another object of the name", metadata(json!({ "uid": "v" })), configs()),
            ("it is not ready", json!({ "status": { "conditions": [available("False")] } }), configs()),
            ("an annotation", metadata(json!({ "annotations": { "a": "b" } })), no_one()),
            (
                "it is paused",
                metadata(json!({ "annotations": { "cluster.x-k8s.io/paused": "" } })),
                configs(),
            ),
            (
                "a condition of AKO",
                json!({ "status": { "conditions": [available("True"), installed()] } }),
                no_one(),
            ),
        ],
    );
    let change = Change { before: None, after: read::<Foreign<Cluster>>(&cluster) };
    assert_eq!(by_cluster(&change), configs(), "it appears");
}

/// `clusterctl move` takes all finalizers of a paused Cluster, so that it may be gone at once.
#[test]
fn a_cluster_that_is_deleted_while_it_is_paused_is_known_at_once() {
    let cluster = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": { "name": "c", "namespace": "n", "uid": "u", "resourceVersion": "1" },
    });
    let deleted = json!({ "metadata": { "deletionTimestamp": AT } });
    let paused = json!({ "spec": { "paused": true } });
    for (what, cluster, wanted) in [
        ("it lives", cluster.clone(), false),
        ("deleted", merged(cluster.clone(), &deleted), false),
        ("paused", merged(cluster.clone(), &paused), false),
        ("both", merged(merged(cluster, &deleted), &paused), true),
    ] {
        let after = read::<Foreign<Cluster>>(&cluster);
        let moved = moved_cluster(&Change { before: None, after });
        assert_eq!(moved, wanted.then(|| Key::new("n", "c")), "{what}");
    }
}

fn available(status: &str) -> Value {
    json!({ "type": "Available", "status": status, "reason": "R", "message": "", "lastTransitionTime": AT })
}

fn installed() -> Value {
    json!({ "type": "AKOInstalled", "status": "True", "reason": "R", "message": "", "lastTransitionTime": AT })
}

#[test]
fn a_machine_wakes_its_cluster_and_its_endpoint() {
    let machine = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Machine",
        "metadata": { "name": "m", "namespace": "n", "uid": "m", "resourceVersion": "1",
            "annotations": { PRE_TERMINATE_HOOK: "ako-operator" } },
        "spec": { "clusterName": "a" },
        "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] },
    });
    let metadata = |patch: Value| json!({ "metadata": patch });
    let cluster = || Woken { clusters: these(&["a"]), ..no_one() };
    let endpoint = || Woken { endpoints: these(&["a"]), ..no_one() };
    let both = || Woken { clusters: these(&["a"]), ..endpoint() };
    let address = json!([{ "type": "InternalIP", "address": "10.0.0.2" }]);
    let role = json!({ "labels": { "cluster.x-k8s.io/control-plane": "" } });
    let is_ready = json!({ "conditions": [ready("True", "R")] });
    check::<Foreign<Machine>>(
        by_machine,
        &machine,
        vec![
            ("its hook is gone", metadata(json!({ "annotations": null })), cluster()),
            (
                "its hook is of others",
                metadata(json!({ "annotations": { PRE_TERMINATE_HOOK: "x" } })),
                cluster(),
            ),
            ("it is being deleted", metadata(json!({ "deletionTimestamp": AT })), both()),
            ("another address", json!({ "status": { "addresses": address } }), endpoint()),
            ("it is of the control plane", metadata(role), endpoint()),
            ("it is ready", json!({ "status": is_ready }), endpoint()),
            ("another annotation", metadata(json!({ "annotations": { "a": "b" } })), no_one()),
            ("a phase", json!({ "status": { "phase": "Running" } }), no_one()),
        ],
    );
    let machine = read::<Foreign<Machine>>(&machine);
    assert_eq!(by_machine(&Change { before: None, after: machine.clone() }), both(), "it appears");
    assert_eq!(by_machine(&Change { before: machine, after: None }), both(), "it is gone");
}

#[test]
fn a_service_wakes_the_cluster_that_it_balances() {
    let service = |name: &str| {
        let metadata = json!({ "name": name, "namespace": "n", "uid": name, "resourceVersion": "1" });
        read::<Service>(&json!({ "metadata": metadata }))
    };
    let ours = || service("n-a-control-plane");
    let endpoint = || Woken { endpoints: these(&["a"]), ..no_one() };
    for (what, before, after, woken) in [
        ("new", None, ours(), Woken { clusters: these(&["a"]), ..endpoint() }),
        ("changed", ours(), ours(), endpoint()),
        ("gone", ours(), None, Woken { adcs: Which::All, ..endpoint() }),
        ("of others", None, service("web"), no_one()),
        ("of a Cluster in another namespace", None, service("m-a-control-plane"), no_one()),
    ] {
        assert_eq!(by_service(&Change { before, after }), woken, "{what}");
    }
}

#[test]
fn a_slice_wakes_the_endpoint_of_its_service() {
    let slice = |service: Option<&str>| {
        let labels = service.map(|service| json!({ SERVICE_LABEL: service }));
        let metadata =
            json!({ "name": "s", "namespace": "n", "uid": "s", "resourceVersion": "1", "labels": labels });
        read::<EndpointSlice>(&json!({ "addressType": "IPv4", "endpoints": [], "metadata": metadata }))
    };
    for (service, woken) in
        [(Some("n-a-control-plane"), these(&["a"])), (Some("web"), these(&[])), (None, these(&[]))]
    {
        let woken = Woken { endpoints: woken, ..no_one() };
        assert_eq!(by_slice(&Change { before: None, after: slice(service) }), woken, "{service:?}");
    }
}

#[test]
fn a_secret_of_a_cluster_leads_to_it() {
    let cluster = Key::new("team", "web-kubeconfig-1");
    for name in [capi::secret_name, user_secret_name, addon::secret_name] {
        assert_eq!(owner_of(&Key::new("team", &name(cluster.name()))), Some(cluster.clone()));
    }
    assert_eq!(owner_of(&Key::new("team", "web-tls")), None);
}

#[test]
fn a_secret_counts_when_its_version_changes() {
    let secret = |version: &str| {
        let metadata = json!({ "name": "s", "namespace": "n", "uid": "s", "resourceVersion": version });
        read::<PartialObjectMeta<Secret>>(&json!({ "metadata": metadata }))
    };
    for (what, before, after, counts) in [
        ("new", None, secret("1"), true),
        ("changed", secret("1"), secret("2"), true),
        ("gone", secret("1"), None, true),
        ("the same", secret("1"), secret("1"), false),
    ] {
        let key = counts.then(|| Key::new("n", "s"));
        assert_eq!(changed_secret(&Change { before, after }), key, "{what}");
    }
}
