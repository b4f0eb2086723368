//! What the original's definitions accepted is accepted: `original_fields.txt` has its schemas, a field per line.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;

/// Differences on purpose: what the original's schema says of a field, and what ours says. Ours accepts more.
const ON_PURPOSE: &[(&str, &str, &str)] = &[
    // A status that has conditions alone says that nothing was tried yet.
    ("VsphereCloudConfig.status", "object required=config", "object"),
];

/// Fields that the original does not have.
const NEW: &[&str] =
    &["CompatibilityConfig.status", "VDOConfig.status.conditions", "VsphereCloudConfig.status.conditions"];

fn crds() -> [CustomResourceDefinition; 3] {
    [CompatibilityConfig::crd(), VdoConfig::crd(), VsphereCloudConfig::crd()]
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Adds a line for each field of a schema below `path`.
fn describe(path: &str, schema: &Value, fields: &mut BTreeMap<String, String>) {
    let mut about = vec![schema["type"].as_str().unwrap_or("?").to_owned()];
    let mut add = |name: &str, values: Vec<&str>| {
        if !values.is_empty() {
            about.push(format!("{name}={}", values.join("|")));
        }
    };
    add("enum", words(&schema["enum"]));
    let mut required = words(&schema["required"]);
    required.sort_unstable();
    add("required", required);
    for bound in ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern"] {
        assert!(schema[bound].is_null(), "{path} is restricted further by {bound}");
    }
    assert!(schema["x-kubernetes-validations"].is_null(), "{path} is restricted further by a rule");
    // Lines are split at blanks, and one key of the original ends with one.
    fields.insert(path.replace(' ', "_"), about.join(" "));
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        describe(&format!("{path}.{name}"), member, fields);
    }
    for (suffix, member) in [("[]", "items"), ("{}", "additionalProperties")] {
        if schema[member].is_object() {
            describe(&format!("{path}{suffix}"), &schema[member], fields);
        }
    }
}

fn fields_of(definitions: &[Value]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for definition in definitions {
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap_or_default();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            if schema["properties"][part].is_object() {
                describe(&format!("{kind}.{part}"), &schema["properties"][part], &mut fields);
            }
        }
    }
    fields
}

fn ours() -> Vec<Value> {
    crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect()
}

fn recorded() -> BTreeMap<String, String> {
    let lines = include_str!("original_fields.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(path, about)| (path.into(), about.into())).collect()
}

#[test]
fn every_field_of_the_original_exists_with_the_same_type_and_accepts_the_same() {
    let (ours, original) = (fields_of(&ours()), recorded());
    assert_eq!(original.len(), 40);
    for (path, about) in &original {
        let wanted = ON_PURPOSE.iter().find(|(field, was, _)| field == path && was == about);
        let wanted = wanted.map_or(about.as_str(), |(.., now)| now);
        assert_eq!(ours.get(path).map(String::as_str), Some(wanted), "{path}");
    }
    let more = ours.keys().filter(|path| !original.contains_key(*path));
    for path in more {
        assert!(NEW.iter().any(|new| path.starts_with(new)), "{path} is new");
    }
}

/// Where the original's definitions are given, the record is compared with them.
#[test]
fn the_record_is_the_schema_of_the_original() {
    let Some(directory) = crate::test_data::directory("CRDS_DIR", "crds") else { return };
    let originals: Vec<Value> = ["compatibilityconfigs", "vdoconfigs", "vspherecloudconfigs"]
        .iter()
        .map(|plural| directory.join(format!("vdo/vdo.vmware.com_{plural}.yaml")))
        .map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect();
    assert_eq!(recorded(), fields_of(&originals));
    for (ours, original) in ours().iter().zip(&originals) {
        for member in ["group", "scope"] {
            assert_eq!(ours["spec"][member], original["spec"][member], "{member}");
        }
        for member in ["kind", "plural", "singular"] {
            assert_eq!(ours["spec"]["names"][member], original["spec"]["names"][member], "{member}");
        }
        let version = |crd: &Value| crd["spec"]["versions"][0].clone();
        for member in ["name", "served", "storage", "subresources"] {
            assert_eq!(version(ours)[member], version(original)[member], "{member}");
        }
    }
}

#[test]
fn the_names_are_those_of_the_original() {
    let names = crds().map(|CustomResourceDefinition { spec, .. }| {
        assert_eq!((spec.group.as_str(), spec.scope.as_str()), (GROUP, "Namespaced"));
        assert_eq!(spec.versions[0].name, "v1alpha1");
        (spec.names.kind, spec.names.plural)
    });
    let wanted = [
        ("CompatibilityConfig", "compatibilityconfigs"),
        ("VDOConfig", "vdoconfigs"),
        ("VsphereCloudConfig", "vspherecloudconfigs"),
    ];
    assert_eq!(names, wanted.map(|(kind, plural)| (kind.to_owned(), plural.to_owned())));
}

/// An object that has every field is read without loss.
#[test]
fn every_field_is_read_and_written_back() {
    let vdo = json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "vdo", "namespace": "vmware-system-vdo"},
        "spec": {
            "cloudProvider": {"vsphereCloudConfigs": ["a", "b"], "topology": {"zone": "k8s-zone", "region": "k8s-region"}},
            "storageProvider": {
                "vsphereCloudConfig": "a", "clusterDistribution": "OpenShift", "customKubeletPath": "/var/data/kubelet",
                "fileVolumes": {
                    "vsanDataStoreUrl": ["ds:///vmfs/volumes/vsan:1/"],
                    "netPermissions": [{"ips": "*", "permissions": "READ_WRITE", "rootSquash": false}],
                },
            },
        },
        "status": {
            "cpi": {"phase": "Configuring", "statusMsg": "1 of 2", "nodeStatus ": {"n1": "ready", "n2": "pending"}},
            "csi": {"phase": "Deployed", "statusMsg": "it runs"},
        },
    });
    let read: VdoConfig = serde_json::from_value(vdo.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), vdo);
    let vsphere = json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig", "metadata": {"name": "a"},
        "spec": {"vcIp": "10.0.0.1", "insecure": false, "credentials": "a", "thumbprint": "AA:BB", "datacenters": []},
        "status": {"config": "failed", "message": "the login was refused"},
    });
    let read: VsphereCloudConfig = serde_json::from_value(vsphere.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), vsphere);
    let matrix = json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "CompatibilityConfig", "metadata": {"name": "a"},
        "spec": {"matrixURL": "https://example.com/matrix.json"},
    });
    let read: CompatibilityConfig = serde_json::from_value(matrix.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), matrix);
}

/// What the API server stored under the original's schemas, with the fewest fields.
#[test]
fn the_smallest_objects_are_read() {
    let smallest = [
        json!({"spec": {"storageProvider": {"vsphereCloudConfig": ""}}}),
        json!({"spec": {"storageProvider": {"vsphereCloudConfig": "a"}, "cloudProvider": {}}, "status": {}}),
        json!({"spec": {"storageProvider": {"vsphereCloudConfig": "a", "fileVolumes": {}}}, "status": {"cpi": {}, "csi": {}}}),
        json!({"spec": {"storageProvider": {"vsphereCloudConfig": "a", "fileVolumes": {"netPermissions": [{"ips": ""}]}}}}),
    ];
    for mut object in smallest {
        object["metadata"] = json!({"name": "a"});
        object["apiVersion"] = "vdo.vmware.com/v1alpha1".into();
        object["kind"] = "VDOConfig".into();
        serde_json::from_value::<VdoConfig>(object.clone())
            .unwrap_or_else(|error| panic!("{object}: {error}"));
    }
}

#[test]
fn the_new_kinds_have_names_and_rules() {
    let definitions = [DriverSet::crd(), VSphereConnection::crd(), CompatibilityMatrix::crd()];
    let names =
        definitions.each_ref().map(|crd| (crd.spec.names.kind.as_str(), crd.spec.names.plural.as_str()));
    let wanted = [
        ("DriverSet", "driversets"),
        ("VSphereConnection", "vsphereconnections"),
        ("CompatibilityMatrix", "compatibilitymatrices"),
    ];
    assert_eq!(names, wanted);
    let spec = |crd: &CustomResourceDefinition| {
        assert_eq!((crd.spec.group.as_str(), crd.spec.versions[0].name.as_str()), (GROUP, "v1beta1"));
        let crd = serde_json::to_value(crd).unwrap();
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    };
    let set = spec(&definitions[0]);
    for driver in ["cni", "cpi", "csi"] {
        let schema = &set["properties"][driver];
        assert!(schema["properties"]["versionPolicy"].is_object(), "{driver}: {schema}");
        let rules = schema["x-kubernetes-validations"].as_array().map(Vec::len);
        assert_eq!(rules, Some(2), "{driver} checks its version: {schema}");
    }
    for definition in &definitions[1..] {
        assert!(spec(definition)["x-kubernetes-validations"].is_array());
    }
}
