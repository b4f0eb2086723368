//! Which Clusters take AKO from an AKODeploymentConfig, and to which AKO is delivered from it. Pure.

use std::sync::Arc;

use infra_clients::capi::Cluster;
use kube::ResourceExt;
use operator_kit::{Foreign, Key};

use crate::api::{AkoDeploymentConfig, find_elsewhere, find_namesake, is_held, recorded};
use crate::selection::is_of;

/// Returns the Clusters that an AKODeploymentConfig selects, and those that its record is to have, as `namespace/name`, in their order.
/// `is_known`: whether all is known of a Cluster, also that it does not exist: not of one that does not parse, nor in a namespace that the
/// operator does not serve. What the record has of others stays.
pub(super) fn deliveries(
    adc: &AkoDeploymentConfig,
    all: &[Arc<AkoDeploymentConfig>],
    mut clusters: Vec<Arc<Foreign<Cluster>>>,
    is_known: impl Fn(&Key) -> bool,
) -> (Vec<String>, Vec<String>) {
    let name = adc.name_any();
    let before = adc.status.as_ref().map(|status| status.delivered_to.as_slice()).unwrap_or_default();
    let is_unknown = |key: &&String| key.parse::<Key>().is_ok_and(|key| !is_known(&key));
    let mut delivered: Vec<String> = before.iter().filter(is_unknown).cloned().collect();
    let mut selected = Vec::new();
    clusters.sort_by_key(|cluster| Key::of(&***cluster));
    for cluster in clusters {
        let key = Key::of(&**cluster);
        let (text, is_of) = (key.to_string(), is_of(&name, &cluster, all));
        let is_taken = || {
            let taken = recorded(all).chain(&delivered);
            find_elsewhere(all, adc, &key).is_some() || find_namesake(taken, &key).is_some()
        };
        let is_new = is_of && !cluster.is_deleting() && !before.contains(&text) && !is_taken();
        // One that is leaving keeps its place until its finalizer goes, or another AKODeploymentConfig has taken it over.
        let is_known = before.contains(&text)
            && (is_held(&cluster.metadata) || is_of && !cluster.is_deleting())
            && (is_of || !is_taken_over(all, adc, &cluster));
        if is_new || is_known {
            delivered.push(text.clone());
        }
        if is_of {
            selected.push(text);
        }
    }
    delivered.sort();
    (selected, delivered)
}

/// Returns whether another AKODeploymentConfig selects a Cluster, and has recorded it for the same place.
fn is_taken_over(all: &[Arc<AkoDeploymentConfig>], adc: &AkoDeploymentConfig, cluster: &Cluster) -> bool {
    let (key, place) = (Key::of(cluster), adc.place());
    all.iter().filter(|other| other.metadata.uid != adc.metadata.uid).any(|other| {
        other.has_recorded(&key)
            && is_of(&other.name_any(), cluster, all)
            && other.place().is_same_for(&place, key.namespace(), key.name())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{AkoDeploymentConfigStatus, FINALIZER};

    fn adc(name: &str, tenant: &str, delivered: &[&str]) -> Arc<AkoDeploymentConfig> {
        let secret = json!({ "name": "s", "namespace": "n" });
        let mut adc: AkoDeploymentConfig = serde_json::from_value(json!({
            "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
            "metadata": { "name": name, "uid": name },
            "spec": {
                "clusterSelector": { "matchLabels": { "adc": name } },
                "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g", "tenant": { "name": tenant },
                "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
                "adminCredentialRef": secret, "certificateAuthorityRef": secret,
            },
        }))
        .unwrap();
        let delivered_to = delivered.iter().map(|&key| key.to_owned()).collect();
        adc.status = Some(AkoDeploymentConfigStatus { delivered_to, ..AkoDeploymentConfigStatus::default() });
        Arc::new(adc)
    }

    fn cluster(key: &str, of: &str, metadata: &Value) -> Arc<Foreign<Cluster>> {
        let (namespace, name) = key.split_once('/').unwrap();
        let mut object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": { "namespace": namespace, "name": name, "labels": { "adc": of } },
        });
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        let cluster: Cluster = serde_json::from_value(object).unwrap();
        Arc::new(Foreign::from(cluster))
    }

    #[test]
    fn the_record_has_each_cluster_once_and_lets_go_of_those_that_left() {
        let held = json!({ "finalizers": [FINALIZER] });
        let going = json!({ "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let free = json!({});
        let rows = [
            ("new", adc("a", "t", &[]), None, vec![cluster("n/c", "a", &free)], &[][..], &["n/c"][..]),
            ("known", adc("a", "t", &["n/c"]), None, vec![cluster("n/c", "a", &held)], &[], &["n/c"]),
            ("leaving", adc("a", "t", &["n/c"]), None, vec![cluster("n/c", "b", &held)], &[], &["n/c"]),
            ("deleted", adc("a", "t", &["n/c"]), None, vec![cluster("n/c", "a", &going)], &[], &["n/c"]),
            ("gone", adc("a", "t", &["n/c"]), None, vec![], &[], &[]),
            (
                "taken over",
                adc("a", "t", &["n/c"]),
                Some(adc("b", "t", &["n/c"])),
                vec![cluster("n/c", "b", &held)],
                &[],
                &[],
            ),
            (
                "selected by one that has not recorded it",
                adc("a", "t", &["n/c"]),
                Some(adc("b", "t", &[])),
                vec![cluster("n/c", "b", &held)],
                &[],
                &["n/c"],
            ),
            (
                "recorded by one of another place",
                adc("a", "t", &[]),
                Some(adc("b", "other", &["n/c"])),
                vec![cluster("n/c", "a", &held)],
                &[],
                &[],
            ),
            ("in a namespace that is not watched", adc("a", "t", &["n/c"]), None, vec![], &["m"], &["n/c"]),
            ("in one that is", adc("a", "t", &["n/c"]), None, vec![], &["m", "n"], &[]),
            (
                "the name of one with AKO",
                adc("a", "t", &["default/workload-cls"]),
                None,
                vec![
                    cluster("default/workload-cls", "a", &held),
                    cluster("cls-default/workload", "a", &free),
                ],
                &[],
                &["default/workload-cls"],
            ),
            (
                "two new ones of a name",
                adc("a", "t", &[]),
                None,
                vec![cluster("a-b/c", "a", &free), cluster("a/b-c", "a", &free)],
                &[],
                &["a-b/c"],
            ),
        ];
        for (what, adc, other, clusters, watched, wanted) in rows {
            let all: Vec<_> = [Arc::clone(&adc)].into_iter().chain(other).collect();
            let is_known = |key: &Key| watched.is_empty() || watched.contains(&key.namespace());
            assert_eq!(deliveries(&adc, &all, clusters, is_known).1, wanted, "{what}");
        }
    }
    #[test]
    fn a_cluster_of_which_not_all_is_known_stays_in_the_record() {
        let adc = adc("a", "t", &["n/unread", "n/gone"]);
        let is_known = |key: &Key| key.name() != "unread";
        let (selected, delivered) = deliveries(&adc, &[Arc::clone(&adc)], Vec::new(), is_known);
        assert_eq!((selected, delivered), (Vec::new(), vec!["n/unread".to_owned()]));
    }
}
