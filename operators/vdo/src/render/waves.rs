//! The order in which the objects of a driver are applied.

use kube::core::DynamicObject;

use super::{Settings, kind_of};
use crate::matrix::Driver;

/// Stages, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Namespaces and kinds: others need them.
    Ground,
    /// Accounts, rights, files, services.
    Parts,
    /// What runs once.
    Controllers,
    /// What runs on every Node.
    Agents,
    /// What has the API server call the controllers: they must answer before.
    Calls,
}

/// Arranges the objects in waves; the order within a wave is that of the manifests.
pub(super) fn arrange(objects: Vec<DynamicObject>, settings: &Settings) -> Vec<Vec<DynamicObject>> {
    let mut staged: Vec<_> = objects.into_iter().map(|object| (stage(&object, settings), object)).collect();
    staged.sort_by_key(|(stage, _)| *stage);
    let mut waves: Vec<(Stage, Vec<DynamicObject>)> = Vec::new();
    for (stage, object) in staged {
        match waves.last_mut() {
            Some((last, wave)) if *last == stage => wave.push(object),
            _ => waves.push((stage, vec![object])),
        }
    }
    waves.into_iter().map(|(_, wave)| wave).collect()
}

fn stage(object: &DynamicObject, settings: &Settings) -> Stage {
    match kind_of(object) {
        "Namespace" | "CustomResourceDefinition" => Stage::Ground,
        // Without a network no Node is ready, and the controller does not tolerate that: the agents make the network.
        "Deployment" if settings.driver == Driver::Cni && !settings.is_upgrade => Stage::Agents,
        "Deployment" | "Job" | "StatefulSet" => Stage::Controllers,
        "DaemonSet" => Stage::Agents,
        "APIService" | "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => Stage::Calls,
        _ => Stage::Parts,
    }
}
