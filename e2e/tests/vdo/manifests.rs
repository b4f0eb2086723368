//! The manifests that the tests publish: of the projects, where `MANIFESTS_DIR` has them, else small ones.

use std::path::PathBuf;

use e2e::VdoRig;
use serde_json::{Value, json};

const CPI: &str = include_str!("../../../operators/vdo/src/render/tests/cpi.yaml");
const CSI: &str = include_str!("../../../operators/vdo/src/render/tests/csi.yaml");

/// Publishes the manifests of CPI with one more object; returns their source.
pub fn with_object(rig: &VdoRig, path: &str, object: &Value) -> String {
    rig.publish(path, &format!("{}\n---\n{object}\n", text("cpi/v1.36.yaml", CPI)))
}

/// Returns the manifests of a project.
fn text(file: &str, small: &str) -> String {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/manifests");
    let directory = std::env::var_os("MANIFESTS_DIR").map_or_else(|| PathBuf::from(default), PathBuf::from);
    std::fs::read_to_string(directory.join(file)).unwrap_or_else(|_| small.to_owned())
}

/// Publishes manifests, and returns a matrix with CSI 3.7.3 and these versions of CPI.
pub fn matrix(rig: &VdoRig, cpi: &[&str]) -> Value {
    let cloud = rig.publish("/cpi.yaml", &text("cpi/v1.36.yaml", CPI));
    let storage = rig.publish("/csi.yaml", &text("csi/v3.7.3.yaml", CSI));
    let release =
        |file: &str| json!({"vSphere": {"min": "7.0"}, "k8s": {"min": "1.30"}, "deploymentPath": [file]});
    let cpi: serde_json::Map<_, _> =
        cpi.iter().map(|version| ((*version).to_owned(), release(&cloud))).collect();
    let mut csi = release(&storage);
    csi["isCPIRequired"] = true.into();
    json!({"CPI": cpi, "CSI": {"3.7.3": csi}})
}
