//! The data values of the add-on Secret: golden files, and where they differ from the original's on purpose.

use serde_json::json;

use infra_clients::capi::{AddonForm, VALUES_KEY};

use super::*;
use crate::delivery::addon::{data_values_name, delete_config, secret, told_to_delete};

/// The content of the Secret.
fn values(install: &Install, form: AddonForm) -> String {
    let mut data = secret(install, form).unwrap().data.unwrap();
    assert_eq!(data.len(), 1);
    String::from_utf8(data.remove(VALUES_KEY).unwrap().0).unwrap()
}

/// With `UPDATE_GOLDEN` set, the files are written.
#[test]
fn the_data_values_are_those_of_the_golden_files() {
    for (spec, form, name) in [
        (MINIMAL, AddonForm::ClusterBootstrap, "minimal.values.yaml"),
        (FULL, AddonForm::Legacy, "full.values.yaml"),
    ] {
        let found = values(&install(spec), form);
        let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn only_the_header_tells_the_forms_apart() {
    let of = |form| values(&install(FULL), form);
    let header = "#@data/values\n#@overlay/match-child-defaults missing_ok=True\n---\n";
    assert_eq!(of(AddonForm::Legacy), format!("{header}{}", of(AddonForm::ClusterBootstrap)));
    let names = [AddonForm::Legacy, AddonForm::ClusterBootstrap].map(|form| data_values_name("w1", form));
    assert_eq!(
        names,
        ["load-balancer-and-ingress-service-data-values", "w1-load-balancer-and-ingress-service-data-values"]
    );
}

/// The original read the values into a type of its own and wrote that back: keys that it did not know were lost.
#[test]
fn one_value_changes_and_everything_else_stays() {
    for form in [AddonForm::Legacy, AddonForm::ClusterBootstrap] {
        let before = values(&install(FULL), form);
        assert_eq!(delete_config(&before), Some(false));
        let after = told_to_delete(&before).unwrap();
        assert_eq!(after, before.replace("delete_config: \"false\"", "delete_config: \"true\""));
        assert_eq!(delete_config(&after), Some(true));
        assert_eq!(told_to_delete(&after).as_deref(), Some(&*after));
    }
    let around = |value: &str| {
        format!(
            "#@data/values\n---\n# Ours\nnew: [1]\nloadBalancerAndIngressService:\n  config:\n    ako_settings: {{other: ü, \
             delete_config: {value}, delete_configs: \"false\"}} # the last\n    third: {{}}\n"
        )
    };
    for value in ["\"false\"", "'false'", "false", "\"\"", "no"] {
        assert_eq!(delete_config(&around(value)), Some(false), "{value}");
        assert_eq!(told_to_delete(&around(value)), Some(around("\"true\"")), "{value}");
    }
    assert_eq!(delete_config(&around("true")), Some(true));
    for unreadable in ["", "a: b", "loadBalancerAndIngressService: {config: {ako_settings: {}}}", "[", "- a"]
    {
        assert_eq!((delete_config(unreadable), told_to_delete(unreadable)), (None, None), "{unreadable}");
    }
}

fn read(install: &Install) -> Value {
    let values = values(install, AddonForm::ClusterBootstrap);
    let read: Value = serde_saphyr::from_str(&values).unwrap();
    read["loadBalancerAndIngressService"]["config"].clone()
}

/// The original wrote layer7Only and enableEvents into enable_EVH, the selector's value into its key, and an address of the subnet.
#[test]
fn the_originals_mistakes_are_not_made() {
    let spec =
        "extraConfigs: {layer7Only: true, enableEvents: false, nodePortSelector: {key: k, value: v}}\n";
    let mut install = install(&format!("{MINIMAL}{spec}"));
    install.spec.data_network.cidr = "10.2.3.4/16".to_owned();
    let found = read(&install);
    let settings = &found["ako_settings"];
    assert_eq!(settings["enable_EVH"], "");
    assert_eq!((&settings["layer_7_only"], &settings["enable_events"]), (&json!("true"), &json!("false")));
    assert_eq!(found["nodeport_selector"], json!({"key": "k", "value": "v"}));
    assert_eq!(found["network_settings"]["subnet_ip"], "10.2.0.0");
}

#[test]
fn a_management_cluster_never_deletes_its_configuration() {
    let mut install = install(MINIMAL);
    for (is_management, role, deletes) in [(false, "workload", "true"), (true, "management", "false")] {
        (install.is_management, install.delete_config) = (is_management, true);
        let found = read(&install);
        assert_eq!(
            (&found["tkg_cluster_role"], &found["ako_settings"]["delete_config"]),
            (&json!(role), &json!(deletes))
        );
    }
}
