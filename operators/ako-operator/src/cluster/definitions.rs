//! The CustomResourceDefinitions of AKO in a workload cluster: compared with the bundle that the user gives, and with the kinds that AKO
//! waits for. Pure.
//!
//! A definition with the label of the operator follows the bundle; one without it is another program's, and is left alone. None is ever
//! deleted: objects of users are of their kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::Patch;
use kube::core::{ApiResource, DynamicObject};
use serde_json::Value;

use super::live::{Live, is_ours};
use super::seen::ObjectWrite;
use crate::bundle::{Bundle, Definition, HASH_ANNOTATION};
use crate::delivery::{AwaitedKind, Side, Target};

/// How the definitions differ from what is to be there.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Those of the bundle that are missing, or of an earlier bundle.
    pub differing: Vec<ObjectWrite>,
    /// Those of the bundle that are there and not served yet, and why where the API server says it.
    pub pending: Vec<String>,
    /// Those with objects in versions that the bundle lacks, and these versions. They stay as they are.
    pub newer: Vec<String>,
    /// What AKO waits for and nothing is going to serve.
    pub missing: Vec<Missing>,
    /// Whether AKO waits for something that is not served now.
    pub is_awaited: bool,
    /// Whether the user gives a bundle.
    pub has_bundle: bool,
}

/// A kind that AKO waits for, and that nothing is going to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The kind.
    pub kind: AwaitedKind,
    /// Whether there is a definition of it, which does not serve it.
    pub is_defined: bool,
}

impl Definitions {
    /// Compares what a workload cluster has.
    pub(super) fn compare(bundle: Option<&Bundle>, awaited: &[AwaitedKind], live: &Live) -> Self {
        let mut found = Self { has_bundle: bundle.is_some(), ..Self::default() };
        let mut due = Vec::new();
        for definition in bundle.into_iter().flat_map(|bundle| &bundle.definitions) {
            if found.add(definition, live.get(&target(&definition.name))) {
                due.push(definition);
            }
        }
        for kind in awaited {
            let name = kind.definition();
            let live = live.get(&target(&name));
            if live.is_some_and(|live| serves(live, kind.version)) {
                continue;
            }
            found.is_awaited = true;
            let serves = |due: &&Definition| due.served.iter().any(|version| *version == kind.version);
            if !due.iter().any(|due| due.name == name && serves(due)) {
                found.missing.push(Missing { kind: *kind, is_defined: live.is_some() });
            }
        }
        found
    }

    /// Compares a definition of the bundle; returns whether it is going to be served.
    fn add(&mut self, definition: &Definition, live: Option<&DynamicObject>) -> bool {
        let (name, write) = (&definition.name, || ObjectWrite {
            target: target(&definition.name),
            patch: Patch::Apply(definition.object.clone()),
        });
        let Some(live) = live else {
            self.differing.push(write());
            return true;
        };
        if !is_ours(live) {
            return false;
        }
        if live.metadata.deletion_timestamp.is_some() {
            self.pending.push(format!("{name} (it is being deleted)"));
            return true;
        }
        if live.annotations().get(HASH_ANNOTATION) == Some(&definition.hash) {
            if is_true(live, "Established") {
                return false;
            }
            let refused = condition(live, "NamesAccepted").filter(|names| names["status"] == "False");
            let why = refused.and_then(|names| names["message"].as_str()).map(|why| format!(" ({why})"));
            self.pending.push(format!("{name}{}", why.unwrap_or_default()));
            return true;
        }
        let stored = live.data["status"]["storedVersions"].as_array();
        let stored = stored.into_iter().flatten().filter_map(Value::as_str);
        let lacking: Vec<_> =
            stored.filter(|stored| !definition.versions.iter().any(|has| has == stored)).collect();
        if lacking.is_empty() {
            self.differing.push(write());
            return true;
        }
        self.newer.push(format!("{name} ({})", lacking.join(", ")));
        false
    }

    /// Returns whether all is as it is to be, so that it need not be looked at for some time.
    pub(super) fn is_right(&self) -> bool {
        let Self { differing, pending, newer, missing, is_awaited, has_bundle: _ } = self;
        differing.is_empty() && pending.is_empty() && newer.is_empty() && missing.is_empty() && !is_awaited
    }
}

/// Returns the definitions to look at.
pub(super) fn targets(bundle: Option<&Bundle>, awaited: &[AwaitedKind]) -> Vec<Target> {
    let given = bundle.into_iter().flat_map(|bundle| &bundle.definitions).map(|given| given.name.clone());
    let mut names: Vec<_> = given.chain(awaited.iter().map(AwaitedKind::definition)).collect();
    names.sort();
    names.dedup();
    names.iter().map(|name| target(name)).collect()
}

fn target(name: &str) -> Target {
    Target {
        side: Side::Workload,
        resource: ApiResource::erase::<CustomResourceDefinition>(&()),
        namespace: None,
        name: name.to_owned(),
    }
}

fn serves(live: &DynamicObject, version: &str) -> bool {
    let versions = live.data["spec"]["versions"].as_array();
    let is_served = |has: &Value| has["name"] == version && has["served"] == true;
    live.metadata.deletion_timestamp.is_none()
        && is_true(live, "Established")
        && versions.into_iter().flatten().any(is_served)
}

fn is_true(live: &DynamicObject, type_: &str) -> bool {
    condition(live, type_).is_some_and(|condition| condition["status"] == "True")
}

fn condition<'a>(live: &'a DynamicObject, type_: &str) -> Option<&'a Value> {
    let conditions = live.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|condition| condition["type"] == type_)
}

#[cfg(test)]
mod tests;
