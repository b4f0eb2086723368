//! Which Clusters take AKO from an AKODeploymentConfig, and to which AKO is delivered from it. Pure.

use std::sync::Arc;

use infra_clients::capi::Cluster;
use kube::ResourceExt;
use operator_kit::{Foreign, Key};

use super::seen::Departing;
use crate::api::{
    AkoDeploymentConfig, Place, SYSTEM_NAMESPACE, Works, find_elsewhere, find_namesake, has_lost_finalizer,
    is_held, is_stripped, recorded, unrecorded,
};
use crate::selection::{Configs, is_of};

/// The Clusters of an AKODeploymentConfig, as `namespace/name`, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    /// Those that it selects.
    pub(crate) selected: Vec<String>,
    /// Those that its record is to have.
    pub(crate) delivered: Vec<String>,
    /// Those of its record that are being deleted.
    pub(crate) departing: Departing,
}

/// Returns the Clusters of an AKODeploymentConfig. `is_known`: whether all is known of a Cluster, also that it does not exist: not of one that
/// does not parse, nor in a namespace that the operator does not serve. What the record has of others stays. `has_left`: whether the operator
/// has let a Cluster go that was being deleted, or it was paused. `works`: where AKO works of one that is in no record, if that is known.
pub(crate) fn deliveries(
    adc: &AkoDeploymentConfig,
    configs: &Configs,
    mut clusters: Vec<Arc<Foreign<Cluster>>>,
    is_known: impl Fn(&Key) -> bool,
    has_left: impl Fn(&Key) -> bool,
    works: impl Fn(&Cluster) -> Option<Works>,
) -> Deliveries {
    let (name, all) = (adc.name_any(), &*configs.read);
    let record = Record { adc, all };
    let (before, leaving) = (record.delivered(), record.leaving());
    let is_unknown = |key: &&String| key.parse::<Key>().is_ok_and(|key| !is_known(&key));
    let mut delivered: Vec<String> = before.iter().filter(is_unknown).cloned().collect();
    let mut departing = Departing {
        leaving: leaving.iter().filter(is_unknown).cloned().collect(),
        lost: record.lost(&clusters, |key| is_known(key) && !has_left(key)),
    };
    let mut selected = Vec::new();
    let unrecorded = unrecorded(clusters.iter().map(|cluster| &***cluster), all);
    clusters.sort_by_key(|cluster| Key::of(&***cluster));
    for cluster in clusters {
        let key = Key::of(&**cluster);
        let (text, is_of) = (key.to_string(), is_of(&name, &cluster, configs));
        let is_taken = || {
            let taken = recorded(all).chain(&delivered).chain(&unrecorded);
            find_elsewhere(all, adc, &key).is_some() || find_namesake(taken, &key).is_some()
        };
        let may_take =
            || record.is_free(&cluster) || works(&cluster).is_some_and(|works| works.fits(adc, &cluster));
        let is_new = is_of && !cluster.is_deleting() && !before.contains(&text) && !is_taken() && may_take();
        // One that is leaving keeps its place until its finalizer goes, or another AKODeploymentConfig has taken it over.
        let is_held = is_held(&cluster.metadata);
        let is_known = before.contains(&text)
            && (is_held || is_stripped(&cluster) || is_of && !cluster.is_deleting())
            && (is_of || !is_taken_over(configs, adc, &cluster, works(&cluster).as_ref()));
        // One whose finalizer was taken off keeps it until it is gone.
        let was_leaving = leaving.contains(&text) && record.is_its_own(&key) && !has_left(&key);
        let is_leaving = is_leaving(&cluster) && (is_known && is_held || was_leaving);
        if is_new || is_known || is_leaving {
            delivered.push(text.clone());
        }
        if is_leaving {
            departing.leaving.push(text.clone());
        }
        if is_of {
            selected.push(text);
        }
    }
    delivered.extend_from_slice(&departing.lost);
    departing.leaving.extend_from_slice(&departing.lost);
    delivered.sort();
    departing.leaving.sort();
    Deliveries { selected, delivered, departing }
}

/// Returns whether a Cluster is being deleted here. One that is paused may be on its way to another management cluster, from which its finalizer
/// is taken as well, and the AKO of a management cluster outlives all that uses it.
fn is_leaving(cluster: &Cluster) -> bool {
    cluster.is_deleting() && !cluster.is_paused() && cluster.namespace() != SYSTEM_NAMESPACE
}

/// What an AKODeploymentConfig has recorded.
struct Record<'a> {
    adc: &'a AkoDeploymentConfig,
    all: &'a [Arc<AkoDeploymentConfig>],
}

impl<'a> Record<'a> {
    fn delivered(&self) -> &'a [String] {
        self.adc.status.as_ref().map(|status| &*status.delivered_to).unwrap_or_default()
    }

    /// Returns the Clusters that were seen being deleted.
    fn leaving(&self) -> Vec<String> {
        let leaving = self.adc.status.iter().flat_map(|status| &status.leaving);
        leaving.filter(|cluster| self.delivered().contains(cluster)).cloned().collect()
    }

    /// Returns whether a Cluster has no AKO whose record is gone: the finalizer comes after the record.
    fn is_free(&self, cluster: &Cluster) -> bool {
        let is_recorded = || self.all.iter().any(|adc| adc.has_recorded(&Key::of(cluster)));
        !is_held(&cluster.metadata) && !has_lost_finalizer(cluster) || is_recorded()
    }

    /// Returns whether what AVI has by the names of a Cluster can only be what was delivered from here.
    fn is_its_own(&self, cluster: &Key) -> bool {
        let mut others = self.all.iter().filter(|other| other.metadata.uid != self.adc.metadata.uid);
        !others.any(|other| other.has_recorded(cluster))
            && find_namesake(recorded(self.all), cluster).is_none()
    }

    /// Returns the Clusters that were seen being deleted, do not exist any more, and are to be looked for.
    fn lost(&self, existing: &[Arc<Foreign<Cluster>>], is_sought: impl Fn(&Key) -> bool) -> Vec<String> {
        let mut lost = self.leaving();
        lost.retain(|cluster| {
            let Ok(key) = cluster.parse::<Key>() else { return false };
            let exists = existing.iter().any(|cluster| Key::of(&***cluster) == key);
            !exists && is_sought(&key) && self.is_its_own(&key)
        });
        lost
    }
}

/// Returns whether another AKODeploymentConfig selects a Cluster, and has recorded it for the same place, or for the one where its AKO works.
fn is_taken_over(
    configs: &Configs,
    adc: &AkoDeploymentConfig,
    cluster: &Cluster,
    works: Option<&Works>,
) -> bool {
    let (key, place) = (Key::of(cluster), adc.place());
    let is_same = |one: &Place, other: &Place| one.is_same_for(other, key.namespace(), key.name());
    configs.read.iter().filter(|other| other.metadata.uid != adc.metadata.uid).any(|other| {
        let there = other.place();
        other.has_recorded(&key)
            && is_of(&other.name_any(), cluster, configs)
            && (is_same(&there, &place) || works.and_then(Works::place).is_some_and(|at| is_same(&there, at)))
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

    /// A Cluster that has AKO, as its condition says.
    fn with_ako(namespace: &str, name: &str) -> Arc<Foreign<Cluster>> {
        let condition = json!({ "type": "AKOInstalled", "status": "True", "reason": "AKODeploymentConfigInvalid",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": { "namespace": namespace, "name": name, "finalizers": [FINALIZER] },
            "status": { "conditions": [condition] },
        }))
        .unwrap();
        Arc::new(Foreign::from(cluster))
    }

    #[test]
    fn the_record_has_each_cluster_once_and_lets_go_of_those_that_left() {
        let held = json!({ "finalizers": [FINALIZER] });
        let going = json!({ "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let free = json!({});
        let known = || adc("a", "t", &["n/c"]);
        let of_b = || vec![cluster("n/c", "b", &held)];
        let rows = [
            ("new", adc("a", "t", &[]), None, vec![cluster("n/c", "a", &free)], &[][..], &["n/c"][..]),
            ("known", known(), None, vec![cluster("n/c", "a", &held)], &[], &["n/c"]),
            ("leaving", known(), None, of_b(), &[], &["n/c"]),
            ("deleted", known(), None, vec![cluster("n/c", "a", &going)], &[], &["n/c"]),
            ("gone", known(), None, vec![], &[], &[]),
            ("taken over", known(), Some(adc("b", "t", &["n/c"])), of_b(), &[], &[]),
            ("of one without a record of it", known(), Some(adc("b", "t", &[])), of_b(), &[], &["n/c"]),
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
                "the name of one whose record cannot be read",
                adc("a", "t", &[]),
                None,
                vec![with_ako("default", "workload-cls"), cluster("cls-default/workload", "a", &free)],
                &[],
                &[],
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
            let all = Configs::of([Arc::clone(&adc)].into_iter().chain(other));
            let is_known = |key: &Key| watched.is_empty() || watched.contains(&key.namespace());
            let found = deliveries(&adc, &all, clusters, is_known, |_| false, |_| None);
            assert_eq!(found.delivered, wanted, "{what}");
        }
    }

    /// Else what AKO made stays at a place that nothing knows any more.
    #[test]
    fn a_cluster_whose_record_is_gone_is_taken_over_where_its_ako_works() {
        let of = |finalizers: &[&str], is_initialized: bool| {
            let cluster: Cluster = serde_json::from_value(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                "metadata": { "namespace": "n", "name": "c", "labels": { "adc": "a" }, "finalizers": finalizers },
                "status": { "initialization": { "controlPlaneInitialized": is_initialized } },
            }))
            .unwrap();
            Arc::new(Foreign::from(cluster))
        };
        let at = |tenant: &str| {
            let [controller, cloud, tenant] = ["avi", "c", tenant].map(str::to_owned);
            Some(Works::At(Place { controller, cloud, tenant, scope: None }))
        };
        for (what, cluster, works, is_taken) in [
            ("no pass has looked", of(&[FINALIZER], true), None, false),
            ("at the same place", of(&[FINALIZER], true), at("t"), true),
            ("at another one", of(&[FINALIZER], true), at("other"), false),
            ("nothing says where", of(&[FINALIZER], true), Some(Works::Unknown), false),
            ("no AKO", of(&[FINALIZER], true), Some(Works::Nowhere), true),
            ("restored without a status", of(&[FINALIZER], false), None, false),
            ("new", of(&[], false), None, true),
            ("never held", of(&[], true), None, true),
        ] {
            let one = adc("a", "t", &[]);
            let found = deliveries(
                &one,
                &Configs::of([Arc::clone(&one)]),
                vec![Arc::clone(&cluster)],
                |_| true,
                |_| false,
                |_| works.clone(),
            );
            assert_eq!(found.delivered == ["n/c"], is_taken, "{what}");
            // Another one that is there has recorded it: nothing is unknown.
            let all = Configs::of([Arc::clone(&one), adc("b", "t", &["n/c"])]);
            let found = deliveries(&one, &all, vec![cluster], |_| true, |_| false, |_| None);
            assert_eq!(found.delivered, ["n/c"], "{what}, and recorded");
        }
    }

    /// Else AKO is delivered elsewhere over the one that runs.
    #[test]
    fn a_cluster_with_ako_whose_finalizer_was_taken_off_stays_in_its_record() {
        let of = |said: &str, annotations: &Value| {
            let condition = json!({ "type": "AKOInstalled", "status": said, "reason": "PlaceChanged", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" });
            let metadata = json!({ "namespace": "n", "name": "c", "labels": { "adc": "b" }, "annotations": annotations });
            let cluster: Cluster = serde_json::from_value(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2", "metadata": metadata, "status": { "conditions": [condition] },
            }))
            .unwrap();
            Arc::new(Foreign::from(cluster))
        };
        let (a, b) = (adc("a", "t", &["n/c"]), adc("b", "other", &[]));
        let (recorded, free) = (Configs::of([Arc::clone(&a), Arc::clone(&b)]), Configs::of([Arc::clone(&b)]));
        let paused = json!({ "cluster.x-k8s.io/paused": "" });
        for (what, cluster, stays, is_free) in [
            ("it has AKO", of("True", &json!({})), true, false),
            ("AKO has left it", of("False", &json!({})), false, true),
            // A move that breaks leaves it there.
            ("it is on its way to another management cluster", of("True", &paused), false, false),
        ] {
            let found = |adc: &Arc<_>, all| {
                deliveries(adc, all, vec![Arc::clone(&cluster)], |_| true, |_| false, |_| None).delivered
            };
            assert_eq!(found(&a, &recorded) == ["n/c"], stays, "{what}");
            assert_eq!(found(&b, &recorded), [""; 0], "{what}");
            assert_eq!(found(&b, &free) == ["n/c"], is_free, "{what}, and its record is gone");
        }
    }

    /// As where its label was changed while both read an older one.
    #[test]
    fn of_two_records_the_one_stays_where_ako_works() {
        let at = |tenant: &str| {
            let [controller, cloud, tenant] = ["avi", "c", tenant].map(str::to_owned);
            Some(Works::At(Place { controller, cloud, tenant, scope: None }))
        };
        let (a, b) = (adc("a", "t", &["n/c"]), adc("b", "other", &["n/c"]));
        let all = Configs::of([Arc::clone(&a), Arc::clone(&b)]);
        for (works, of_a, of_b) in [
            (None, true, true),
            (at("t"), true, true),
            (at("other"), false, true),
            (Some(Works::Nowhere), true, true),
        ] {
            for (adc, wanted) in [(&a, of_a), (&b, of_b)] {
                let clusters = vec![cluster("n/c", "b", &json!({ "finalizers": [FINALIZER] }))];
                let found = deliveries(adc, &all, clusters, |_| true, |_| false, |_| works.clone());
                assert_eq!(found.delivered == ["n/c"], wanted, "{works:?} {}", adc.name_any());
            }
        }
    }

    #[test]
    fn a_cluster_of_which_not_all_is_known_stays_in_the_record() {
        let adc = adc("a", "t", &["n/unread", "n/gone"]);
        let is_known = |key: &Key| key.name() != "unread";
        let found =
            deliveries(&adc, &Configs::of([Arc::clone(&adc)]), Vec::new(), is_known, |_| false, |_| None);
        assert_eq!((found.selected, found.delivered), (Vec::new(), vec!["n/unread".to_owned()]));
    }

    /// How a Cluster went, or goes.
    struct Row {
        what: &'static str,
        /// In the record, with whether it was seen being deleted.
        was_leaving: bool,
        /// The Cluster, unless it is gone.
        cluster: Option<Value>,
        /// Whether the operator let it go, or it was paused.
        has_left: bool,
        /// Delivered, leaving and lost.
        wanted: (bool, bool, bool),
    }

    fn row(what: &'static str, was_leaving: bool, cluster: Option<Value>, wanted: (bool, bool, bool)) -> Row {
        Row { what, was_leaving, cluster, has_left: false, wanted }
    }

    fn check(adc: &Arc<AkoDeploymentConfig>, others: &[Arc<AkoDeploymentConfig>], is_known: bool, row: &Row) {
        let mut adc = AkoDeploymentConfig::clone(adc);
        let status = adc.status.as_mut().unwrap();
        let key = status.delivered_to[0].clone();
        status.leaving = if row.was_leaving { vec![key.clone()] } else { Vec::new() };
        let all = Configs::of([Arc::new(adc.clone())].into_iter().chain(others.iter().cloned()));
        let clusters = row.cluster.iter().map(|metadata| cluster(&key, "a", metadata)).collect();
        let found = deliveries(&adc, &all, clusters, |_| is_known, |_| row.has_left, |_| None);
        let has = |list: &[String]| list == [key.clone()];
        let (delivered, Departing { leaving, lost }) = (found.delivered, found.departing);
        assert_eq!((has(&delivered), has(&leaving), has(&lost)), row.wanted, "{}", row.what);
    }

    /// `clusterctl move` takes the finalizer as well, while AKO and its user live on: it pauses the Cluster before.
    #[test]
    fn a_cluster_is_looked_for_that_went_without_having_been_let_go() {
        let held = json!({ "finalizers": [FINALIZER] });
        let with = |mut metadata: Value, more: Value| {
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Some(metadata)
        };
        let deletion = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let going = with(held.clone(), deletion.clone()).unwrap();
        let paused = json!({ "annotations": { "cluster.x-k8s.io/paused": "" } });
        let stripped = deletion.clone();
        let none = (false, false, false);
        let rows = [
            row("it lives", false, Some(held.clone()), (true, false, false)),
            row("it is being deleted", false, Some(going.clone()), (true, true, false)),
            row("it still is", true, Some(going.clone()), (true, true, false)),
            row("it is paused", false, with(going.clone(), paused.clone()), (true, false, false)),
            row("it is paused now", true, with(going, paused.clone()), (true, false, false)),
            row("the finalizer was taken off", true, Some(stripped.clone()), (true, true, false)),
            row("the same, and it is paused", true, with(stripped.clone(), paused), none),
            row("taken off before its deletion was seen", false, Some(stripped.clone()), none),
            Row { has_left: true, ..row("it was let go", true, Some(stripped), none) },
            row("it is gone", true, None, (true, true, true)),
            Row { has_left: true, ..row("it was let go, and is gone", true, None, none) },
            row("it is gone, and its deletion was not seen", false, None, none),
            row("another one has its name", true, Some(json!({})), (true, false, false)),
        ];
        for row in &rows {
            check(&adc("a", "t", &["n/c"]), &[], true, row);
        }
    }

    #[test]
    fn what_may_be_of_others_is_not_looked_for() {
        let gone = |what, wanted| row(what, true, None, wanted);
        let none = (false, false, false);
        let one = || adc("a", "t", &["n/c"]);
        let all = (true, true, true);
        check(&one(), &[adc("b", "t", &["n/d"])], true, &gone("another has another", all));
        check(&one(), &[adc("b", "t", &["n/c"])], true, &gone("another has recorded it", none));
        check(&one(), &[], false, &gone("its namespace is not served", (true, true, false)));
        let namesake = adc("b", "t", &["cls-default/workload"]);
        check(&adc("a", "t", &["default/workload-cls"]), &[namesake], true, &gone("a namesake", none));
        let going = json!({ "finalizers": [FINALIZER], "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let management = row("a management cluster", false, Some(going), (true, false, false));
        check(&adc("a", "t", &["tkg-system/m"]), &[], true, &management);
    }
}
