//! Where the AKO of a Cluster works that is in no record, as where its AKODeploymentConfig is gone: another one that selects the Cluster takes
//! it over at the same place only. Pure.

use kube::ResourceExt;

use super::addon::Owner;
use super::live::Live;
use super::seen::Obstacle;
use crate::api::{ADMIN_TENANT, AkoDeploymentConfig, MOVE_ANNOTATION, Place, Works, reason};
use crate::delivery::{CONFIG_MAP, NAMESPACE, STATEFUL_SET, cluster_name};
use crate::problem::Problem;

/// Reads where AKO works: in its ConfigMap. One that another program installed for others is reported otherwise.
pub(super) fn works(live: &Live, owner: &Owner) -> Works {
    if !live.has_ours() && !owner.has_addon(live) {
        return Works::Nowhere;
    }
    let nothing = if live.set().is_some() { Works::Unknown } else { Works::Nowhere };
    let Some((_, config)) = live.config() else { return nothing };
    let text =
        |key: &str| config.data["data"][key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if text("clusterName").is_some_and(|name| name != owner.avi_name) {
        return Works::Nowhere;
    }
    let (Some(controller), Some(cloud)) = (text("controllerIP"), text("cloudName")) else { return nothing };
    // As AKO has it.
    let tenant = text("tenantName").unwrap_or_else(|| ADMIN_TENANT.to_owned());
    Works::At(Place { controller, cloud, tenant, scope: None })
}

/// Returns why an AKODeploymentConfig cannot take such an AKO over; `None` if it can.
pub(super) fn refuse(
    works: &Works,
    adc: &AkoDeploymentConfig,
    namespace: &str,
    cluster: &str,
) -> Option<Obstacle> {
    if works.fits(&Place::from(&adc.spec), namespace, cluster) {
        return None;
    }
    let name = adc.name_any();
    let moves = format!(
        "annotate the Cluster with {MOVE_ANNOTATION}={name}: AKO leaves first, and Services have no address meanwhile"
    );
    let problem = match works {
        Works::At(Place { controller, cloud, tenant, .. }) => Problem {
            reason: reason::PLACE_CHANGED,
            message: format!(
                "AKO of the Cluster works at controller {controller:?}, cloud {cloud:?}, tenant {tenant:?}, as its ConfigMap says, and its \
                 AKODeploymentConfig is gone; {name:?}, which selects the Cluster now, says another place: create the AKODeploymentConfig again \
                 that it came from, so that it selects the Cluster; or to have AKO from {name:?}, {moves}"
            ),
        },
        Works::Nowhere | Works::Unknown => Problem {
            reason: reason::ADC_MISSING,
            message: format!(
                "the AKODeploymentConfig is gone that AKO of the Cluster came from, and the ConfigMap {NAMESPACE}/{CONFIG_MAP} of the workload \
                 cluster, which would say where on AVI it works, is gone or lacks that: write its controllerIP, cloudName and tenantName; or \
                 remove what has the marks of ako-{} on AVI by hand, then the StatefulSet {NAMESPACE}/{STATEFUL_SET}: AKO comes from {name:?} then",
                cluster_name(namespace, cluster)
            ),
        },
    };
    Some(Obstacle::Lasting(problem))
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::{Value, json};

    use super::*;
    use crate::delivery::{MANAGED_BY, MANAGED_BY_LABEL, removal};
    use infra_clients::capi::AddonForm;

    /// Returns AKO's StatefulSet and ConfigMap, as far as they are there.
    fn live(has_set: bool, config: Option<&Value>, is_ours: bool) -> Live {
        let object = |data: Value| {
            let labels = json!({ MANAGED_BY_LABEL: if is_ours { MANAGED_BY } else { "helm" } });
            let object = json!({ "metadata": { "name": "x", "labels": labels }, "data": data });
            serde_json::from_value::<DynamicObject>(object).unwrap()
        };
        let found = removal().into_iter().filter_map(|target| match &*target.resource.kind {
            "StatefulSet" if has_set => Some((target, object(Value::Null))),
            "ConfigMap" => config.map(|data| (target, object(data.clone()))),
            _ => None,
        });
        Live::of(found.collect())
    }

    #[test]
    fn the_config_map_says_where_ako_works() {
        let owner = Owner {
            namespace: "n".into(),
            name: "c".into(),
            avi_name: "n-c".into(),
            reference: Value::Null,
            form: AddonForm::Legacy,
        };
        let config = || json!({ "clusterName": "n-c", "controllerIP": "avi", "cloudName": "cloud", "tenantName": "t" });
        let with = |key: &str, value: Value| {
            let mut config = config();
            config[key] = value;
            config
        };
        let at = |tenant: &str| {
            let [controller, cloud, tenant] = ["avi", "cloud", tenant].map(str::to_owned);
            Works::At(Place { controller, cloud, tenant, scope: None })
        };
        for (what, live, wanted) in [
            ("all", live(true, Some(&config()), true), at("t")),
            ("its StatefulSet is gone", live(false, Some(&config()), true), at("t")),
            ("the default of AKO", live(true, Some(&with("tenantName", json!(""))), true), at("admin")),
            ("no cloud", live(true, Some(&with("cloudName", Value::Null)), true), Works::Unknown),
            ("no ConfigMap", live(true, None, true), Works::Unknown),
            ("nothing", live(false, None, true), Works::Nowhere),
            (
                "of another Cluster",
                live(true, Some(&with("clusterName", json!("n-d"))), true),
                Works::Nowhere,
            ),
            ("of another program", live(true, Some(&config()), false), Works::Nowhere),
        ] {
            assert_eq!(works(&live, &owner), wanted, "{what}");
        }
    }

    #[test]
    fn what_cannot_be_taken_over_says_what_to_do() {
        let secret = json!({ "name": "s", "namespace": "n" });
        let adc: AkoDeploymentConfig = serde_json::from_value(json!({
            "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
            "metadata": { "name": "all" },
            "spec": {
                "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
                "dataNetwork": { "name": "n", "cidr": "10.0.0.0/24" },
                "adminCredentialRef": secret, "certificateAuthorityRef": secret,
            },
        }))
        .unwrap();
        let place = |cloud: &str| {
            let [controller, cloud, tenant] = ["avi", cloud, "admin"].map(str::to_owned);
            Works::At(Place { controller, cloud, tenant, scope: None })
        };
        for (works, wanted) in [
            (Works::Nowhere, None),
            (place("c"), None),
            (place("d"), Some((reason::PLACE_CHANGED, "move-to=all"))),
            (Works::Unknown, Some((reason::ADC_MISSING, "the marks of ako-n-c"))),
        ] {
            let refused = refuse(&works, &adc, "n", "c");
            let is = refused.as_ref().map(|refused| refused.problem().reason);
            assert_eq!(is, wanted.map(|(reason, _)| reason), "{works:?}");
            if let (Some(refused), Some((_, says))) = (refused, wanted) {
                assert!(refused.problem().message.contains(says), "{refused:?}");
            }
        }
    }
}
