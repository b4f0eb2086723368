//! The data values of the add-on Secret: golden files, and where they differ from the original's on purpose.

use serde_json::json;

use super::*;
use crate::delivery::addon::{Form, values};

/// With `UPDATE_GOLDEN` set, the files are written.
#[test]
fn the_data_values_are_those_of_the_golden_files() {
    for (spec, form, name) in
        [(MINIMAL, Form::ClusterClass, "minimal.values.yaml"), (FULL, Form::Classic, "full.values.yaml")]
    {
        let found = values(&install(spec), form).unwrap();
        let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, found.expose()).unwrap();
        }
        assert_eq!(found.expose(), std::fs::read_to_string(&path).unwrap(), "{name}");
        assert_eq!(format!("{found:?}"), "***");
    }
}

#[test]
fn only_the_header_tells_the_forms_apart() {
    let of = |form| values(&install(FULL), form).unwrap().expose().to_owned();
    let header = "#@data/values\n#@overlay/match-child-defaults missing_ok=True\n---\n";
    assert_eq!(of(Form::Classic), format!("{header}{}", of(Form::ClusterClass)));
}

fn read(install: &Install) -> Value {
    let values = values(install, Form::ClusterClass).unwrap();
    let read: Value = serde_saphyr::from_str(values.expose()).unwrap();
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
