//! What drivers read: samples are dropped, volumes point to the files that vdo makes, features are set, and the namespace lets
//! privileged Pods run.

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::workload::pod_spec;
use super::{Settings, kind_of, manifest};
use crate::config::{CPI_CONFIG_MAP, CSI_SECRET};
use crate::matrix::Driver;
use crate::problem::Problem;

/// Objects of CPI's manifests with example values, by kind and name.
const SAMPLES: [(&str, &str); 2] = [("Secret", "vsphere-cloud-secret"), ("ConfigMap", SAMPLE_CONFIG)];
const SAMPLE_CONFIG: &str = "vsphere-cloud-config";
const FEATURES: &str = "internal-feature-states.csi.vsphere.vmware.com";
const POD_SECURITY: &str = "pod-security.kubernetes.io";

/// Returns the objects without those that only show how a file looks.
pub(super) fn without_samples(mut objects: Vec<DynamicObject>, driver: Driver) -> Vec<DynamicObject> {
    if driver == Driver::Cpi {
        objects.retain(|object| !SAMPLES.contains(&(kind_of(object), object.name_any().as_str())));
    }
    objects
}

/// Has the Pods mount the files that vdo makes. They must mount them already, under this name or that of the sample.
pub(super) fn connect(objects: &mut [DynamicObject], driver: Driver) -> Option<Problem> {
    let (kind, source, key, name) = match driver {
        Driver::Cni | Driver::Snapshots => return None,
        Driver::Cpi => ("ConfigMap", "configMap", "name", CPI_CONFIG_MAP),
        Driver::Csi => ("Secret", "secret", "secretName", CSI_SECRET),
    };
    let mut is_mounted = false;
    for spec in objects.iter_mut().filter_map(pod_spec) {
        for volume in spec["volumes"].as_array_mut().into_iter().flatten() {
            let Some(reference) = volume.get_mut(source).and_then(|source| source.get_mut(key)) else {
                continue;
            };
            if driver == Driver::Cpi && *reference == SAMPLE_CONFIG {
                *reference = name.into();
            }
            is_mounted |= *reference == name;
        }
    }
    let message = || format!("no Pod of {driver} mounts the {kind} {name}: use the manifests of a release");
    (!is_mounted).then(|| Problem::new("manifests", message()))
}

/// Switches features on or off. Those that the manifests do not list are unknown to the version.
pub(super) fn set_features(objects: &mut [DynamicObject], settings: &Settings) -> Vec<Problem> {
    let mut known = objects
        .iter_mut()
        .find(|object| kind_of(object) == "ConfigMap" && object.name_any() == FEATURES)
        .and_then(|object| object.data.get_mut("data")?.as_object_mut());
    let mut problems = Vec::new();
    for (name, value) in &settings.features {
        if let Some(state) = known.as_mut().and_then(|known| known.get_mut(name)) {
            *state = value.to_string().into();
        } else {
            let names =
                known.as_ref().map(|known| known.keys().map(String::as_str).collect::<Vec<_>>().join(", "));
            let names = names.filter(|names| !names.is_empty()).unwrap_or_else(|| "none".to_owned());
            let Settings { driver, version, .. } = settings;
            let message =
                format!("{driver} {version} does not know the feature; it knows {names}: remove it");
            problems.push(Problem::new(format!("features.{name}"), message));
        }
    }
    problems
}

/// Adds the namespace of the driver, unless it is that of the system, and lets privileged Pods run in it.
pub(super) fn secure_namespace(objects: &mut Vec<DynamicObject>, driver: Driver) {
    let name = manifest::namespace(driver);
    if driver != Driver::Csi {
        return;
    }
    let is_it = |object: &DynamicObject| kind_of(object) == "Namespace" && object.name_any() == name;
    if !objects.iter().any(is_it) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        objects.extend(serde_json::from_value::<DynamicObject>(namespace));
    }
    for namespace in objects.iter_mut().filter(|object| is_it(object)) {
        for mode in ["enforce", "audit", "warn"] {
            namespace.labels_mut().insert(format!("{POD_SECURITY}/{mode}"), "privileged".to_owned());
        }
        // An empty spec or status, as generators write it, is no field to own.
        namespace.data = Value::Object(serde_json::Map::new());
    }
}
