//! Reads manifests, and finds what cannot be applied.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::Value;

use super::{kind_of, name_of};
use crate::config::CSI_NAMESPACE;
use crate::matrix::Driver;
use crate::nodes::CSI_DRIVER;
use crate::problem::Problem;

/// Kinds without a namespace that the drivers have.
const CLUSTER_WIDE: &[&str] = &[
    "APIService",
    "CSIDriver",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PriorityClass",
    "StorageClass",
    "ValidatingWebhookConfiguration",
];
const KUBE_SYSTEM: &str = "kube-system";
/// More than twice the largest that a driver has.
const LARGEST: usize = 1024 * 1024;

/// Reads the documents of a file as `kubectl` does: in YAML 1.1, where `0400` is octal.
///
/// # Errors
/// If the text is too large or no YAML, or a document is no object of Kubernetes.
pub fn parse(text: &str) -> Result<Vec<DynamicObject>, Problem> {
    let fail = |message: String| Problem::new("manifests", message);
    if text.len() > LARGEST {
        return Err(fail(format!("the file has {} bytes: no driver needs more than {LARGEST}", text.len())));
    }
    let options = serde_saphyr::options! { budget: None, legacy_octal_numbers: true, with_snippet: false };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| fail(format!("the file is no YAML: {error}")))?;
    let mut objects = Vec::new();
    for (index, mut document) in documents.into_iter().enumerate() {
        let items =
            if document["kind"] == "List" { document["items"].take() } else { Value::Array(vec![document]) };
        let Value::Array(items) = items else { continue };
        for item in items {
            let object: DynamicObject = serde_json::from_value(item).map_err(|error| {
                fail(format!("document {} is no object of Kubernetes: {error}", index + 1))
            })?;
            if object.types.is_none() || object.metadata.name.is_none() {
                return Err(fail(format!("document {} has no apiVersion, kind or name", index + 1)));
            }
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Returns the namespace in which a driver runs.
pub(super) fn namespace(driver: Driver) -> &'static str {
    match driver {
        Driver::Cni | Driver::Cpi | Driver::Snapshots => KUBE_SYSTEM,
        Driver::Csi => CSI_NAMESPACE,
    }
}

/// Returns whether an object is of a kind of which drivers have one of a fixed name, and has another name.
fn is_of_others(object: &DynamicObject, driver: Driver) -> bool {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match kind_of(object) {
        "Namespace" => driver != Driver::Csi || name != CSI_NAMESPACE,
        "CSIDriver" => driver != Driver::Csi || name != CSI_DRIVER,
        _ => false,
    }
}

/// Returns what is wrong with the list of objects.
pub(super) fn unusable(objects: &[DynamicObject], driver: Driver) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for object in objects {
        let name = name_of(object);
        let is_cluster_wide = CLUSTER_WIDE.contains(&kind_of(object));
        let message = match object.metadata.namespace.as_deref() {
            None if !is_cluster_wide => Some("has no namespace"),
            None if is_of_others(object, driver) => Some("is not the driver's"),
            Some(_) if is_cluster_wide => Some("has a namespace, but its kind has none"),
            Some(other) if other != KUBE_SYSTEM && other != namespace(driver) => {
                Some("is in a namespace that is not the driver's")
            }
            _ if !seen.insert(name.clone()) => Some("is there twice"),
            _ => None,
        };
        problems.extend(message.map(|message| Problem::new("manifests", format!("{name} {message}"))));
    }
    problems
}
