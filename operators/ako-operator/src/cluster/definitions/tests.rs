//! What differs, as a table and on a real API server.

use std::time::Duration;

use kube::Client;
use kube::api::{PatchParams, ValidationDirective};
use serde_json::json;
use testbed::{ControlPlane, eventually};

use super::*;
use crate::bundle::File;
use crate::cluster::live::api;
use crate::delivery::{AKO_GROUP, MANAGED_BY, MANAGED_BY_LABEL, awaited_kinds};

const SOON: Duration = Duration::from_mins(3);

/// Returns a definition with these versions, of which the last one is stored.
fn crd(plural: &str, kind: &str, versions: &[&str]) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let last = versions.last();
    let versions: Vec<_> = versions
        .iter()
        .map(|name| json!({"name": name, "served": true, "storage": Some(name) == last, "schema": schema}))
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{AKO_GROUP}")},
        "spec": {"group": AKO_GROUP, "scope": "Namespaced", "names": {"kind": kind, "plural": plural}, "versions": versions},
    })
}

fn host_rules(versions: &[&str]) -> Value {
    crd("hostrules", "HostRule", versions)
}

fn bundle(definitions: &[Value]) -> Bundle {
    let file = |(number, definition): (usize, &Value)| File {
        name: format!("{number}.yaml"),
        text: definition.to_string(),
    };
    Bundle::parse(&definitions.iter().enumerate().map(file).collect::<Vec<_>>()).unwrap()
}

/// Returns what AKO always waits for of these kinds.
fn awaited(plurals: &[&str]) -> Vec<AwaitedKind> {
    let spec: crate::api::AkoDeploymentConfigSpec = serde_json::from_value(json!({
        "controller": "c", "cloudName": "c", "serviceEngineGroup": "g", "dataNetwork": {"name": "n", "cidr": "10.0.0.0/24"},
        "adminCredentialRef": {"name": "a", "namespace": "n"}, "certificateAuthorityRef": {"name": "a", "namespace": "n"},
    }))
    .unwrap();
    let mut awaited = awaited_kinds(&spec);
    assert_eq!(awaited.len(), 6);
    awaited.retain(|kind| plurals.iter().any(|plural| kind.definition() == format!("{plural}.{AKO_GROUP}")));
    awaited
}

/// Says the differences in a line.
fn shown(found: &Definitions) -> String {
    let names = |writes: &[ObjectWrite]| writes.iter().map(|write| write.target.name.clone()).collect();
    let missing =
        found.missing.iter().map(|missing| format!("{}, defined: {}", missing.kind, missing.is_defined));
    let lists: [(&str, Vec<String>); 4] = [
        ("apply", names(&found.differing)),
        ("pending", found.pending.clone()),
        ("newer", found.newer.clone()),
        ("missing", missing.collect()),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    let mut shown: Vec<_> = lists.map(|(what, list)| format!("{what} {}", list.join(", "))).collect();
    if found.is_awaited {
        shown.push("awaited".to_owned());
    }
    assert_eq!(shown.is_empty(), found.is_right());
    shown.join("; ")
}

/// Returns a definition as an API server has it.
fn live(given: &Value, change: impl FnOnce(&mut Value)) -> Live {
    let mut there = bundle(std::slice::from_ref(given)).definitions.remove(0).object;
    let stored: Vec<_> =
        given["spec"]["versions"].as_array().unwrap().iter().map(|has| has["name"].clone()).collect();
    there["status"] = json!({
        "storedVersions": stored,
        "conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}],
    });
    change(&mut there);
    let object: DynamicObject = serde_json::from_value(there).unwrap();
    Live::of(vec![(target(&object.name_any()), object)])
}

#[test]
fn what_is_missing_or_ours_and_different_is_applied() {
    let rules = host_rules(&["v1alpha1", "v1beta1"]);
    let mut newer = rules.clone();
    newer["spec"]["names"]["shortNames"] = json!(["hr"]);
    let (given, changed) = (bundle(std::slice::from_ref(&rules)), bundle(&[newer]));
    let beta = bundle(&[host_rules(&["v1beta1"])]);
    let unlabel = |there: &mut Value| there["metadata"]["labels"] = json!({"by": "helm"});
    let refuse = |there: &mut Value| {
        there["status"]["conditions"] =
            json!([{"type": "NamesAccepted", "status": "False", "message": "taken"}]);
    };
    let end = |there: &mut Value| there["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let unstore = |there: &mut Value| there["status"]["storedVersions"] = json!(["v1beta1"]);
    let name = "hostrules.ako.vmware.com";
    for (what, bundle, live, wanted) in [
        ("nothing", &given, Live::default(), format!("apply {name}; awaited")),
        ("at rest", &given, live(&rules, |_| ()), String::new()),
        ("another bundle", &changed, live(&rules, |_| ()), format!("apply {name}")),
        ("of others", &changed, live(&rules, unlabel), String::new()),
        (
            "not served yet",
            &given,
            live(&rules, |there| there["status"] = json!({})),
            format!("pending {name}; awaited"),
        ),
        ("names are taken", &given, live(&rules, refuse), format!("pending {name} (taken); awaited")),
        (
            "being deleted",
            &given,
            live(&rules, end),
            format!("pending {name} (it is being deleted); awaited"),
        ),
        ("a version is stored", &beta, live(&rules, |_| ()), format!("newer {name} (v1alpha1)")),
        ("it is stored no more", &beta, live(&rules, unstore), format!("apply {name}")),
    ] {
        let found = Definitions::compare(Some(bundle), &awaited(&["hostrules"]), &live);
        assert_eq!(shown(&found), wanted, "{what}");
    }
}

#[test]
fn a_kind_that_nothing_is_going_to_serve_is_missing() {
    let (rules, old) = (host_rules(&["v1beta1"]), host_rules(&["v1alpha1"]));
    let (given, other) =
        (bundle(std::slice::from_ref(&rules)), bundle(&[crd("clustersets", "ClusterSet", &["v1alpha1"])]));
    let kind = "HostRule (ako.vmware.com/v1beta1)";
    let unlabel = |there: &mut Value| there["metadata"]["labels"] = Value::Null;
    let missing = |defined: bool| format!("missing {kind}, defined: {defined}; awaited");
    for (what, bundle, live, wanted) in [
        ("no bundle", None, Live::default(), missing(false)),
        ("no bundle, applied by a person", None, live(&rules, unlabel), String::new()),
        ("no bundle, and ours of an earlier time", None, live(&rules, |_| ()), String::new()),
        ("the same, of an old AKO", None, live(&old, unlabel), missing(true)),
        (
            "a bundle without it",
            Some(&other),
            Live::default(),
            format!("apply clustersets.ako.vmware.com; {}", missing(false)),
        ),
        ("one of others, of an old AKO", Some(&given), live(&old, unlabel), missing(true)),
    ] {
        let found = Definitions::compare(bundle, &awaited(&["hostrules"]), &live);
        assert_eq!(shown(&found), wanted, "{what}");
    }
}

async fn look(client: &Client, bundle: &Bundle) -> Definitions {
    let awaited = awaited(&["hostrules", "httprules"]);
    let live = Live::find(client, targets(Some(bundle), &awaited)).await.unwrap();
    Definitions::compare(Some(bundle), &awaited, &live)
}

/// Applies what differs, and waits until it is served; returns what was applied.
async fn settle(client: &Client, bundle: &Bundle) -> Vec<String> {
    let found = look(client, bundle).await;
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("of-the-test").force()
    };
    let mut applied = Vec::new();
    for ObjectWrite { target, patch } in found.differing {
        api(client, &target).patch(&target.name, &params, &patch).await.unwrap();
        applied.push(target.name);
    }
    eventually("all is served", SOON, async || {
        let found = look(client, bundle).await;
        anyhow::ensure!(found.differing.is_empty(), "{:?}", found.differing);
        Ok(found.pending.is_empty().then_some(()))
    })
    .await
    .unwrap();
    applied
}

#[tokio::test]
async fn a_server_gets_a_bundle_and_the_next_and_no_earlier_one() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    let shared = || vec![host_rules(&["v1alpha1", "v1beta1"]), crd("httprules", "HTTPRule", &["v1beta1"])];
    // Of a person, who uses fewer versions.
    let theirs = crd("l4rules", "L4Rule", &["v1alpha1"]).to_string();
    plane.kubectl_stdin(&["apply", "-f", "-"], &theirs).await.unwrap();
    let with_rules = bundle(&[shared(), vec![crd("l4rules", "L4Rule", &["v1alpha2"])]].concat());
    assert_eq!(settle(&client, &with_rules).await, ["hostrules.ako.vmware.com", "httprules.ako.vmware.com"]);
    assert!(look(&client, &with_rules).await.is_right());
    let versions = ["get", "crd", "l4rules.ako.vmware.com", "-o", "jsonpath={.spec.versions[*].name}"];
    assert_eq!(plane.kubectl(&versions).await.unwrap(), "v1alpha1");

    let label = [
        "get",
        "crd",
        "-l",
        &format!("{MANAGED_BY_LABEL}={MANAGED_BY}"),
        "-o",
        "jsonpath={.items[*].metadata.resourceVersion}",
    ];
    let before = plane.kubectl(&label).await.unwrap();
    assert_eq!(settle(&client, &with_rules).await, <[String; 0]>::default());
    assert_eq!(plane.kubectl(&label).await.unwrap(), before);

    // The next AKO has another stored version of one.
    let mut next = shared();
    next[1] = crd("httprules", "HTTPRule", &["v1beta1", "v1"]);
    assert_eq!(settle(&client, &bundle(&next)).await, ["httprules.ako.vmware.com"]);
    let refused = look(&client, &bundle(&shared())).await;
    assert_eq!(shown(&refused), "newer httprules.ako.vmware.com (v1)");

    // A person hands theirs over.
    let hand_over = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
    plane.kubectl(&["label", "crd", "l4rules.ako.vmware.com", &hand_over]).await.unwrap();
    let both = bundle(&[next, vec![crd("l4rules", "L4Rule", &["v1alpha1", "v1alpha2"])]].concat());
    assert_eq!(settle(&client, &both).await, ["l4rules.ako.vmware.com"]);
    assert_eq!(plane.kubectl(&versions).await.unwrap(), "v1alpha1 v1alpha2");
}
