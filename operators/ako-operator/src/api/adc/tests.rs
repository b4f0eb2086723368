//! What the original's CRD accepted is accepted: `original_fields.txt` has its schema, a field per line.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::api::GROUP;

/// Differences on purpose: what the original's schema says of a field, and what ours says.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    // The original's schema refused the pools of V6 networks, which its webhook and AVI accept.
    ("spec.dataNetwork.ipPools[].type", "string enum=V4", "string enum=V4|V6"),
];

fn names(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Adds a line for each field of a schema below `path`.
fn describe(path: &str, schema: &Value, fields: &mut BTreeMap<String, String>) {
    let mut about = vec![schema["type"].as_str().unwrap_or("?").to_owned()];
    let values = names(&schema["enum"]);
    if !values.is_empty() {
        about.push(format!("enum={}", values.join("|")));
    }
    for bound in ["minimum", "maximum"] {
        if let Some(number) = schema[bound].as_f64() {
            about.push(format!("{bound}={number}"));
        }
    }
    for word in ["default", "format"] {
        if let Some(text) = schema[word].as_str() {
            about.push(format!("{word}={text}"));
        }
    }
    let mut required = names(&schema["required"]);
    required.sort_unstable();
    if !required.is_empty() {
        about.push(format!("required={}", required.join("|")));
    }
    fields.insert(path.to_owned(), about.join(" "));
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        describe(&format!("{path}.{name}"), member, fields);
    }
    for (suffix, member) in [("[]", "items"), ("{}", "additionalProperties")] {
        if schema[member].is_object() {
            describe(&format!("{path}{suffix}"), &schema[member], fields);
        }
    }
}

fn fields_of(definition: &Value) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for part in ["spec", "status"] {
        describe(part, &schema["properties"][part], &mut fields);
    }
    fields
}

fn recorded() -> BTreeMap<String, String> {
    let lines = include_str!("original_fields.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(path, about)| (path.into(), about.into())).collect()
}

#[test]
fn every_field_of_the_original_exists_with_the_same_type_and_accepts_the_same() {
    let ours = fields_of(&serde_json::to_value(AkoDeploymentConfig::crd()).unwrap());
    let original = recorded();
    assert_eq!(original.len(), 102);
    for (path, about) in &original {
        let wanted = ON_PURPOSE.iter().find(|(field, was, _)| field == path && was == about);
        let wanted = wanted.map_or(about.as_str(), |(.., now)| now);
        let found = ours.get(path).unwrap_or_else(|| panic!("{path} is missing"));
        // The formats of integers are names of Rust's types: they say nothing about what is accepted.
        let found = ["int32", "int64"]
            .iter()
            .fold(found.clone(), |text, of| text.replace(&format!(" format={of}"), ""));
        assert_eq!(found, wanted.replace(" format=int64", ""), "{path}");
    }
    let mut more: Vec<_> = ours.keys().filter(|path| !original.contains_key(*path)).collect();
    more.retain(|path| {
        ![
            "spec.portGroups",
            "spec.tenant.scope",
            "spec.vcenter",
            "status.added",
            "status.deliveredTo",
            "status.leaving",
            "status.place",
            "status.portGroups",
        ]
        .iter()
        .any(|new| path.starts_with(new))
    });
    assert_eq!(
        more,
        ["status.conditions[].observedGeneration", "status.controllerVersion", "status.selectedClusters"]
    );
}

/// Where the original's CRD is given, the record is compared with it.
#[test]
fn the_record_is_the_schema_of_the_original() {
    let Some(file) = std::env::var_os("AKO_ORIGINAL_CRD") else {
        eprintln!("skipped: set AKO_ORIGINAL_CRD to the file of the original's CRD");
        return;
    };
    let original = std::fs::read_to_string(file).unwrap();
    let original: Value = serde_saphyr::from_str(&original).unwrap();
    assert_eq!(recorded(), fields_of(&original));
    let mut ours = serde_json::to_value(AkoDeploymentConfig::crd()).unwrap();
    // The default of the API server.
    ours["spec"]["names"]["listKind"] = "AKODeploymentConfigList".into();
    for member in ["group", "names", "scope"] {
        assert_eq!(ours["spec"][member], original["spec"][member], "{member}");
    }
    let version = |crd: &Value| crd["spec"]["versions"][0].clone();
    for member in ["name", "served", "storage", "subresources"] {
        assert_eq!(version(&ours)[member], version(&original)[member], "{member}");
    }
}

#[test]
fn the_names_are_those_of_the_original() {
    let CustomResourceDefinition { spec, .. } = AkoDeploymentConfig::crd();
    assert_eq!((spec.group.as_str(), spec.scope.as_str()), (GROUP, "Cluster"));
    assert_eq!(
        (spec.names.kind.as_str(), spec.names.plural.as_str()),
        ("AKODeploymentConfig", "akodeploymentconfigs")
    );
    assert_eq!(spec.names.short_names, Some(vec!["adc".to_owned()]));
    assert_eq!(spec.versions[0].name, "v1alpha1");
}

/// An object that has every field is read without loss.
#[test]
fn every_field_is_read_and_written_back() {
    let secret = json!({ "name": "s", "namespace": "n" });
    let ingress = json!({
        "disableIngressClass": true, "defaultIngressController": true, "shardVSSize": "DEDICATED",
        "passthroughShardSize": "LARGE", "serviceType": "NodePortLocal", "noPGForSNI": true, "enableMCI": true,
        "nodeNetworkList": [{ "networkName": "n", "cidrs": ["10.0.0.0/24"] }],
    });
    let extra = json!({
        "primaryInstance": true, "replicaCount": 2, "fullSyncFrequency": "1800", "apiServerPort": 8080,
        "disableStaticRouteSync": true, "cniPlugin": "ovn-kubernetes", "enableEVH": true, "layer7Only": true,
        "servicesAPI": true, "vipPerNamespace": true, "istioEnabled": true, "useDefaultSecretsOnly": true,
        "enableEvents": true, "blockedNamespaceList": ["x"], "ipFamily": "V6",
        "namespaceSelector": { "labelKey": "k", "labelValue": "v" }, "nodePortSelector": { "key": "k", "value": "v" },
        "featureGates": { "GatewayAPI": true },
        "log": {
            "persistentVolumeClaim": "p", "mountPath": "/m", "logFile": "f", "akoGatewayLogFile": "g", "logLevel": "WARN",
        },
        "networksConfig": { "enableRHI": true, "bgpPeerLabels": ["l"], "nsxtT1LR": "t1" },
        "ingress": ingress,
        "l4Config": { "defaultDomain": "d", "autoFQDN": "flat" },
        "rbac": { "pspEnabled": true, "pspPolicyAPIVersion": "v" },
    });
    let spec = json!({
        "clusterSelector": { "matchLabels": { "a": "b" }, "matchExpressions": [{ "key": "k", "operator": "Exists" }] },
        "controller": "avi", "controllerVersion": "30.2.1", "cloudName": "c", "serviceEngineGroup": "g",
        "controlPlaneNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
        "dataNetwork": {
            "name": "n", "cidr": "10.0.0.0/24", "ipPools": [{ "start": "10.0.0.1", "end": "10.0.0.2", "type": "V4" }],
        },
        "tenant": { "name": "t", "context": "Tenant" },
        "adminCredentialRef": secret, "certificateAuthorityRef": secret, "workloadCredentialRef": secret,
        "extraConfigs": extra,
    });
    let mut named = BTreeSet::new();
    collect("spec", &spec, &mut named);
    let unnamed: Vec<_> =
        recorded().into_keys().filter(|path| path.starts_with("spec") && !named.contains(path)).collect();
    assert_eq!(
        unnamed,
        [
            "spec.clusterSelector.matchExpressions[].values",
            "spec.clusterSelector.matchExpressions[].values[]"
        ]
    );
    let read: AkoDeploymentConfigSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), spec);
    assert_eq!(read.ip_family(), IpFamily::V6);

    // Conditions as Cluster API's own type has them.
    let condition = json!({ "type": "Ready", "status": "True", "severity": "Info",
        "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let status = json!({ "conditions": [condition] });
    let read: AkoDeploymentConfigStatus = serde_json::from_value(status).unwrap();
    assert_eq!(read.conditions[0].type_, "Ready");
}

fn collect(path: &str, value: &Value, fields: &mut BTreeSet<String>) {
    fields.insert(path.to_owned());
    for (name, member) in value.as_object().into_iter().flatten() {
        let below =
            if path.ends_with("matchLabels") { format!("{path}{{}}") } else { format!("{path}.{name}") };
        collect(&below, member, fields);
    }
    for member in value.as_array().into_iter().flatten() {
        collect(&format!("{path}[]"), member, fields);
    }
}

/// A client in Go writes the empty values of fields that are no pointers.
#[test]
fn empty_values_of_optional_fields_are_not_set() {
    let read = |change: Value| {
        let mut spec = json!({
            "controller": "avi.example.com", "cloudName": "c", "serviceEngineGroup": "g",
            "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
            "adminCredentialRef": { "name": "a", "namespace": "b" },
            "certificateAuthorityRef": { "name": "a", "namespace": "b" },
        });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<AkoDeploymentConfigSpec>(spec).unwrap()
    };
    let empty = json!({
        "controllerVersion": "", "controlPlaneNetwork": { "name": "", "cidr": "" }, "tenant": { "name": "" },
        "workloadCredentialRef": { "name": "", "namespace": "" },
    });
    assert_eq!(read(empty), read(json!({})));
    for set in [
        json!({ "controllerVersion": "30.2.1" }),
        json!({ "controlPlaneNetwork": { "name": "", "cidr": "10.0.0.0/24" } }),
        json!({ "tenant": { "name": "t" } }),
        json!({ "workloadCredentialRef": { "name": "a", "namespace": "" } }),
    ] {
        assert_ne!(read(set.clone()), read(json!({})), "{set}");
    }
}
