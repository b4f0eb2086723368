//! What is delivered: golden files of all objects, and tables of what each field changes.

mod addon;
mod fields;
mod problems;

use std::collections::BTreeMap;

use infra_clients::Secret;
use proptest::prelude::*;
use serde_json::Value;

use super::settings::{LIVE_KEYS, hash_of, settings};
use super::*;

const MINIMAL: &str = include_str!("../../tests/data/minimal.yaml");
const FULL: &str = include_str!("../../tests/data/full.yaml");

/// A delivery with this spec, as YAML.
fn install(spec: &str) -> Install {
    Install {
        spec: serde_saphyr::from_str(spec).unwrap(),
        namespace: "team-a".to_owned(),
        name: "web".to_owned(),
        credentials: Credentials {
            username: "web-team-a-ako-user".to_owned(),
            password: Secret::new("hunter2"),
            ca_pem: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        },
        controller_version: "31.1.1".to_owned(),
        kubernetes_version: Some("v1.33.2".to_owned()),
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

fn documents(install: &Install) -> String {
    let delivery = objects(install).unwrap();
    let one = |object: &Object| {
        let value = serde_json::to_value(&object.object).unwrap();
        format!("---\n{}", serde_saphyr::to_string(&value).unwrap())
    };
    delivery.objects.iter().map(one).collect()
}

/// The template of AKO's Pods.
fn pods(install: &Install) -> Value {
    let delivery = objects(install).unwrap();
    delivery.objects.last().unwrap().object.data["spec"]["template"].clone()
}

fn targets(install: &Install) -> Vec<String> {
    objects(install).unwrap().objects.iter().map(|object| object.target().to_string()).collect()
}

/// With `UPDATE_GOLDEN` set, the files are written.
#[test]
fn all_objects_are_those_of_the_golden_files() {
    for (spec, name) in [(MINIMAL, "minimal"), (FULL, "full")] {
        let (found, path) = (
            documents(&install(spec)),
            format!("{}/tests/data/{name}.objects.yaml", env!("CARGO_MANIFEST_DIR")),
        );
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
        assert_eq!(found, documents(&install(spec)), "the same bytes again");
    }
}

#[test]
fn objects_come_in_the_order_of_their_need() {
    let always = [
        "Namespace avi-system",
        "ServiceAccount avi-system/ako-sa",
        "ClusterRole ako-cr",
        "ClusterRoleBinding ako-crb",
        "IngressClass avi-lb",
        "ConfigMap avi-system/avi-k8s-config",
        "Secret avi-system/avi-secret",
        "StatefulSet avi-system/ako",
    ];
    assert_eq!(targets(&install(MINIMAL)), always);
    let full = targets(&install(FULL));
    assert_eq!(full[5], "GatewayClass avi-lb");
    assert_eq!((full.len(), &full[6..]), (9, &always.map(str::to_owned)[5..]));
}

#[test]
fn a_secondary_ako_adds_no_classes_and_no_role() {
    let mut secondary = install(FULL);
    let extra = secondary.spec.extra_configs.get_or_insert_default();
    (extra.primary_instance, extra.replica_count) = (Some(false), Some(1));
    assert_eq!(
        targets(&secondary),
        [
            "Namespace avi-system",
            "ServiceAccount avi-system/ako-sa",
            "ClusterRoleBinding ako-crb-avi-system",
            "ConfigMap avi-system/avi-k8s-config",
            "Secret avi-system/avi-secret",
            "StatefulSet avi-system/ako",
        ]
    );
}

#[test]
fn removal_begins_with_the_stateful_set_and_covers_everything_but_the_namespace() {
    let removed = removal();
    let names: Vec<_> = removed.iter().map(Target::to_string).collect();
    assert_eq!(
        names[..3],
        ["StatefulSet avi-system/ako", "Secret avi-system/avi-secret", "ConfigMap avi-system/avi-k8s-config"]
    );
    for spec in [MINIMAL, FULL] {
        let delivery = objects(&install(spec)).unwrap();
        for object in &delivery.objects {
            let target = object.target();
            let is_removed = removed.contains(&target);
            assert_eq!(is_removed, target.resource.kind != "Namespace", "{target}");
            assert!(!delivery.obsolete.contains(&target), "{target}");
            assert_eq!(object.object.metadata.labels.as_ref().unwrap()[MANAGED_BY_LABEL], MANAGED_BY);
        }
        // Delivered or obsolete: each is one of them.
        assert_eq!(delivery.objects.len() - 1 + delivery.obsolete.len(), removed.len());
    }
}

#[test]
fn no_password_is_formatted() {
    let install = install(FULL);
    let encoded = "aHVudGVyMg";
    assert!(documents(&install).contains(encoded), "the Secret has it");
    let formatted = format!("{install:?} {:?}", objects(&install).unwrap());
    assert!(!formatted.contains("hunter2") && !formatted.contains(encoded), "{formatted}");
    // A reader of Pods learns nothing of it either.
    let mut other = install.clone();
    other.credentials.password = Secret::new("hunter3");
    assert_eq!(pods(&install), pods(&other));
}

#[test]
fn the_config_map_has_46_keys_and_44_unless_node_port() {
    assert_eq!(settings(&install(MINIMAL)).unwrap().len(), 46);
    let cluster_ip = format!("{MINIMAL}extraConfigs: {{ingress: {{serviceType: ClusterIP}}}}\n");
    assert_eq!(settings(&install(&cluster_ip)).unwrap().len(), 44);
}

#[test]
fn every_variable_of_the_pod_is_a_key_of_the_config_map() {
    for spec in [MINIMAL, FULL] {
        let install = install(spec);
        let keys = settings(&install).unwrap();
        for container in pods(&install)["spec"]["containers"].as_array().unwrap() {
            for variable in container["env"].as_array().unwrap() {
                if let Some(key) = variable["valueFrom"]["configMapKeyRef"]["key"].as_str() {
                    assert!(keys.contains_key(key), "{key}");
                    assert!(!LIVE_KEYS.contains(&key), "{key} is read while AKO runs");
                }
            }
        }
    }
}

fn any_settings() -> impl Strategy<Value = BTreeMap<String, String>> {
    let of = |spec| settings(&install(spec)).unwrap();
    prop_oneof![Just(of(MINIMAL)), Just(of(FULL))]
}

proptest! {
    #[test]
    fn the_hash_changes_with_every_key_but_the_live_ones(
        keys in any_settings(), index in any::<prop::sample::Index>(), value in ".{0,12}",
    ) {
        let key = index.get(&keys.keys().cloned().collect::<Vec<_>>()).clone();
        let mut changed = keys.clone();
        changed.insert(key.clone(), value.clone());
        let is_same = keys[&key] == value || LIVE_KEYS.contains(&key.as_str());
        prop_assert_eq!(hash_of(&changed) == hash_of(&keys), is_same, "{}", key);
    }
}
