//! What is delivered, on a real API server: it accepts every field, and a second apply changes nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ako_operator::delivery::{Ako, AkoMinor, Credentials, Install, Object, Target, objects, removal};
use infra_clients::Secret;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, ValidationDirective};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testbed::ControlPlane;

const MINIMAL: &str = include_str!("data/minimal.yaml");
const FULL: &str = include_str!("data/full.yaml");

fn install(spec: &str) -> Install {
    Install {
        spec: serde_saphyr::from_str(spec).unwrap(),
        namespace: "team-a".to_owned(),
        name: "web".to_owned(),
        credentials: Credentials {
            username: "user".to_owned(),
            password: Secret::new("hunter2"),
            ca_pem: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        },
        controller_version: "31.1.1".to_owned(),
        kubernetes_version: None,
        ako: Ako {
            image: "registry.example.com/ako:2.2.1".to_owned(),
            gateway_image: Some("registry.example.com/ako-gateway-api:2.2.1".to_owned()),
            pull_secrets: vec!["pull".to_owned()],
            version: AkoMinor::default(),
        },
        is_management: false,
        delete_config: false,
    }
}

/// The kind of the Gateway API, of which AKO needs one object.
fn gateway_classes() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "gatewayclasses.gateway.networking.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "gateway.networking.k8s.io", "scope": "Cluster",
            "names": {"kind": "GatewayClass", "plural": "gatewayclasses", "singular": "gatewayclass"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"controllerName": {"type": "string"}}},
                }}},
            }],
        },
    })
}

fn api(client: &Client, target: &Target) -> Api<DynamicObject> {
    match &target.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &target.resource),
        None => Api::all_with(client.clone(), &target.resource),
    }
}

/// Applies all objects and returns each with its version and generation.
async fn apply(client: &Client, objects: &[Object]) -> Vec<(String, String, Option<i64>)> {
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply("ako-operator.network.tkg.tanzu.vmware.com/cluster")
    };
    let mut applied = Vec::new();
    for object in objects {
        let target = object.target();
        let patch = Patch::Apply(&object.object);
        let found = api(client, &target).patch(&target.name, &params, &patch).await;
        let found = found.map_err(|error| format!("{target}: {error}")).unwrap();
        let version = found.resource_version().unwrap();
        applied.push((target.to_string(), version, found.metadata.generation));
    }
    applied
}

#[tokio::test]
async fn a_server_accepts_every_field_and_a_second_apply_changes_nothing() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    plane.kubectl_stdin(&["create", "-f", "-"], &gateway_classes().to_string()).await.unwrap();
    let crd = "crd/gatewayclasses.gateway.networking.k8s.io";
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=180s", crd]).await.unwrap();

    for spec in [MINIMAL, FULL] {
        let wanted = objects(&install(spec)).unwrap().objects;
        let first = apply(&client, &wanted).await;
        assert_eq!(apply(&client, &wanted).await, first, "the second apply changes nothing");
    }

    // A live key changes the ConfigMap, and nothing of the Pods.
    let mut deleting = install(FULL);
    let before = apply(&client, &objects(&deleting).unwrap().objects).await;
    deleting.delete_config = true;
    let after = apply(&client, &objects(&deleting).unwrap().objects).await;
    let changed: Vec<_> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, _)| a.0.as_str()).collect();
    assert_eq!(changed, ["ConfigMap avi-system/avi-k8s-config"]);

    for target in removal() {
        let deleted = api(&client, &target).delete(&target.name, &DeleteParams::default()).await;
        let is_other = target.name == "ako-crb-avi-system";
        assert_eq!(deleted.is_ok(), !is_other, "{target}: {deleted:?}");
    }
}

/// The API server checks little of a StatefulSet's template: a Pod of it is checked whole.
#[tokio::test]
async fn a_server_accepts_the_pods() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    for spec in [MINIMAL, FULL] {
        let mut wanted = objects(&install(spec)).unwrap().objects;
        let template = wanted.last().unwrap().object.data["spec"]["template"].clone();
        wanted.retain(|object| object.target().resource.kind != "GatewayClass");
        apply(&client, &wanted).await;
        let mut pod: Pod = serde_json::from_value(template).unwrap();
        pod.metadata.name = Some("checked".to_owned());
        let pods: Api<Pod> = Api::namespaced(client.clone(), "avi-system");
        pods.create(&params, &pod).await.unwrap();
    }
}
