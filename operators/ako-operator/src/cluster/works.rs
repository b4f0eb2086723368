//! Where the AKO of a Cluster works, as its workload cluster says. Pure.

use super::addon::Owner;
use super::live::Live;
use crate::api::{ADMIN_TENANT, Place, Works};

/// Reads where AKO works: in its ConfigMap. `is_leaving`: whether AKO has begun to leave.
pub(crate) fn works(live: &Live, owner: &Owner, is_leaving: bool) -> Works {
    let has_set = live.set().is_some();
    if !live.has_ours() && !owner.has_addon(live) {
        return match (has_set, is_leaving) {
            (true, _) => Works::OfOthers,
            (false, true) => Works::Unknown,
            (false, false) => Works::Nowhere,
        };
    }
    let nothing = if has_set || is_leaving { Works::Unknown } else { Works::Nowhere };
    let Some((_, config)) = live.config() else { return nothing };
    let text =
        |key: &str| config.data["data"][key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    if text("clusterName").is_some_and(|name| name != owner.avi_name) {
        return Works::OfOthers;
    }
    let (Some(controller), Some(cloud)) = (text("controllerIP"), text("cloudName")) else { return nothing };
    // As AKO has it.
    let tenant = text("tenantName").unwrap_or_else(|| ADMIN_TENANT.to_owned());
    Works::At(Place { controller, cloud, tenant, scope: None })
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
                Works::OfOthers,
            ),
            ("of another program", live(true, Some(&config()), false), Works::OfOthers),
        ] {
            assert_eq!(works(&live, &owner, false), wanted, "{what}");
            // Its user may be left.
            let wanted = if wanted == Works::Nowhere { Works::Unknown } else { wanted };
            assert_eq!(works(&live, &owner, true), wanted, "{what}, and it leaves");
        }
    }
}
