use infra_clients::capi::AddonSecret;
use kube::core::TypeMeta;

use super::super::seen::Cleanup;
use super::*;
use crate::delivery::{CONFIG_MAP, removal};

const CLUSTER: &str = "cluster.x-k8s.io/v1beta2";

fn owner(form: AddonForm) -> Owner {
    Owner {
        namespace: "default".to_owned(),
        name: "w1".to_owned(),
        avi_name: "default-w1".to_owned(),
        reference: json!({"apiVersion": CLUSTER, "kind": "Cluster", "name": "w1", "uid": "c"}),
        form,
    }
}

fn classic() -> Owner {
    owner(AddonForm::Legacy)
}

fn values(told: bool) -> String {
    format!(
        "loadBalancerAndIngressService:\n    config:\n        ako_settings:\n            delete_config: \"{told}\"\n"
    )
}

fn wanted_secret(form: AddonForm) -> Secret {
    let values = &infra_clients::Secret::new(values(false));
    AddonSecret { namespace: "default", cluster: "w1", category: "networking", addon: ADDON, form, values }
        .to_kubernetes()
}

fn object(value: Value) -> DynamicObject {
    let mut object: DynamicObject = serde_json::from_value(value).unwrap();
    object.types = None::<TypeMeta>;
    object
}

/// The Secret as it is after this operator has made it.
fn made(form: AddonForm) -> Value {
    let mut made = serde_json::to_value(wanted_secret(form)).unwrap();
    made["metadata"]["uid"] = "s".into();
    made["metadata"]["resourceVersion"] = "7".into();
    made["metadata"]["ownerReferences"] = json!([classic().reference]);
    made
}

fn data_values(told: bool) -> DynamicObject {
    object(json!({
        "metadata": {"name": "v", "uid": "v", "resourceVersion": "8"}, "data": {VALUES_KEY: encoded(&values(told))},
    }))
}

fn find(kind: &str, name: &str) -> Target {
    removal().into_iter().find(|target| target.resource.kind == kind && target.name == name).unwrap()
}

/// AKO's StatefulSet and ConfigMap, by these labels, of the Cluster of this name on AVI.
fn ako(labels: &Value, name: &str, answer: Option<&str>) -> Vec<(Target, DynamicObject)> {
    let annotations = answer.map(|answer| json!({"AviObjectDeletionStatus": answer}));
    let set = json!({"metadata": {"name": "ako", "labels": labels, "annotations": annotations}, "spec": {}});
    let config = json!({"metadata": {"name": CONFIG_MAP, "labels": labels}, "data": {"clusterName": name, "deleteConfig": "false"}});
    vec![(find("StatefulSet", "ako"), object(set)), (find("ConfigMap", CONFIG_MAP), object(config))]
}

fn kapp() -> Value {
    json!({KAPP_LABEL: "1"})
}

fn live(objects: impl IntoIterator<Item = (Target, DynamicObject)>) -> Live {
    Live::of(objects.into_iter().collect())
}

fn bootstrap(packages: &Value, skipped: &str, release: &str) -> ClusterBootstrap {
    serde_json::from_value(json!({
        "metadata": {"name": "w1", "resourceVersion": "9", "annotations": {"run.tanzu.vmware.com/skip-packageinstall-deletion": skipped}},
        "spec": {"additionalPackages": packages}, "status": {"resolvedTKR": release},
    }))
    .unwrap()
}

/// Says what is written where, and the reason of what is awaited.
fn shown(delivery: &Delivery) -> String {
    match delivery {
        Delivery::None => "nothing".to_owned(),
        Delivery::Refused(obstacle) => {
            let problem = obstacle.problem();
            format!("refused {}", problem.reason)
        }
        Delivery::Of(Difference { differing, foreign, pending, .. }) => {
            let writes = differing.iter().map(|change| match &change.patch {
                Patch::Apply(_) => format!("make {change:?}"),
                Patch::Merge(patch) => {
                    let fields =
                        |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
                    format!("merge {change:?}: {} / {}", fields(patch), fields(&patch["metadata"]))
                }
                _ => format!("list {change:?}"),
            });
            let foreign = foreign.iter().map(|target| format!("foreign {target}"));
            let pending = pending.iter().map(|pending| format!("wait {}", pending.reason));
            writes.chain(foreign).chain(pending).collect::<Vec<_>>().join(", ")
        }
    }
}

const SECRET: &str = "Secret default/w1-load-balancer-and-ingress-service-addon";

#[test]
fn the_secret_is_written_where_it_differs_and_nowhere_else() {
    let with = |change: fn(&mut Value)| {
        let mut secret = made(AddonForm::Legacy);
        change(&mut secret);
        Some(secret)
    };
    let wrong = r#"{"apiVersion": "networking.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig", "name": "a", "uid": "a"}"#;
    let wrong: Value = serde_json::from_str(wrong).unwrap();
    let mut by_the_original = made(AddonForm::Legacy);
    by_the_original["metadata"]["ownerReferences"] = json!([wrong]);
    let mut with_others = made(AddonForm::Legacy);
    let other = json!({"apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "ClusterBootstrap", "name": "w1", "uid": "b"});
    let older =
        json!({"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "w1", "uid": "c"});
    with_others["metadata"]["ownerReferences"] = json!([other, older]);
    let installed = || ako(&kapp(), "default-w1", None);
    let make = format!("make {SECRET}, wait AddonPending");
    let owners = format!("merge {SECRET}: metadata / ownerReferences resourceVersion uid");
    let data = format!("merge {SECRET}: data metadata / resourceVersion uid");
    let labels = format!("merge {SECRET}: metadata / labels resourceVersion uid");
    let rows = [
        ("new", None, vec![], make.as_str()),
        ("the add-on manager has not come to it", with(|_| {}), vec![], "wait AddonPending"),
        ("at rest", with(|_| {}), installed(), ""),
        ("made by the original: the owner, and never the data", Some(by_the_original), installed(), &owners),
        ("owned by others as well, in an older version of Cluster API", Some(with_others), installed(), ""),
        ("other values", with(|it| it["data"][VALUES_KEY] = "eA==".into()), installed(), &data),
        ("a label is gone", with(|it| it["metadata"]["labels"] = json!({"new": "1"})), installed(), &labels),
        ("of another type", with(|it| it["type"] = "Opaque".into()), installed(), "refused AddonSecretTaken"),
        ("an AKO of others", None, ako(&json!({}), "default-w1", None), "foreign StatefulSet avi-system/ako"),
        (
            "the AKO of another Cluster",
            with(|_| {}),
            ako(&kapp(), "default-w2", None),
            "foreign ConfigMap avi-system/avi-k8s-config",
        ),
        (
            "delivered directly",
            None,
            ako(
                &json!({"app.kubernetes.io/managed-by": "ako-operator.network.tkg.tanzu.vmware.com"}),
                "default-w1",
                None,
            ),
            "refused AKODeliveredOtherwise",
        ),
    ];
    for (what, secret, mut there, wanted) in rows {
        there.extend(secret.map(|secret| (classic().secret(), object(secret))));
        let wants = WantedAddon { secret: wanted_secret(AddonForm::Legacy), bootstrap: None };
        let state = classic().state(&live(there), Some(Ok(wants)));
        assert_eq!(shown(&state.delivery), wanted, "{what}");
        assert!(
            !format!("{:?}", state.delivery).contains("loadBalancer"),
            "{what}: the values are not shown"
        );
    }
}

#[test]
fn the_whole_secret_is_what_the_original_wrote_with_the_right_owner() {
    for form in [AddonForm::Legacy, AddonForm::ClusterBootstrap] {
        let wants = WantedAddon { secret: wanted_secret(form), bootstrap: None };
        let Delivery::Of(Difference { differing, .. }) =
            owner(form).state(&live([]), Some(Ok(wants))).delivery
        else {
            panic!()
        };
        let Patch::Apply(made_now) = &differing[0].patch else { panic!() };
        let mut wanted = made(form);
        for field in ["uid", "resourceVersion"] {
            wanted["metadata"].as_object_mut().unwrap().remove(field);
        }
        assert_eq!(*made_now, wanted);
    }
}

#[test]
fn the_bootstrap_lists_the_package_with_the_secret() {
    let package = "load-balancer-and-ingress-service.tanzu.vmware.com.1.13";
    let entry = |of: &str| json!([{"refName": "a.1"}, {"refName": package, "valuesFrom": {"secretRef": of}}]);
    let ours = "w1-load-balancer-and-ingress-service-addon";
    let list = "list ClusterBootstrap default/w1, wait AddonPending";
    let annotate =
        "merge ClusterBootstrap default/w1: metadata / annotations resourceVersion, wait AddonPending";
    let all = "antrea,load-balancer-and-ingress-service";
    let rows = [
        ("none yet", None, None, "wait ClusterBootstrapPending"),
        ("without a release", Some(bootstrap(&json!([]), all, "")), None, "wait ClusterBootstrapPending"),
        (
            "its release has no package",
            Some(bootstrap(&json!([]), all, "r")),
            None,
            "wait AddonPackageMissing",
        ),
        ("it lists no package", Some(bootstrap(&json!([]), all, "r")), Some(package), list),
        ("with other values", Some(bootstrap(&entry("other"), all, "r")), None, list),
        ("its deletion would wait", Some(bootstrap(&entry(ours), "antrea", "r")), None, annotate),
        ("as it is to be", Some(bootstrap(&entry(ours), all, "r")), None, "wait AddonPending"),
    ];
    let owner = owner(AddonForm::ClusterBootstrap);
    for (what, read, package, wanted) in rows {
        let bootstrap = Some(Bootstrap { read, package: package.map(str::to_owned) });
        let wants = WantedAddon { secret: wanted_secret(owner.form), bootstrap };
        let there = live([(owner.secret(), object(made(owner.form)))]);
        assert_eq!(shown(&owner.state(&there, Some(Ok(wants))).delivery), wanted, "{what}");
    }
}

#[test]
fn ako_learns_of_its_removal_from_all_data_values() {
    let (secret, values) = (classic().secret(), classic().data_values());
    assert_eq!(values.to_string(), "Secret tkg-system/load-balancer-and-ingress-service-data-values");
    let of = |told: bool| {
        let mut secret = made(AddonForm::Legacy);
        secret["data"][VALUES_KEY] = encoded(&super::tests::values(told)).into();
        (classic().secret(), object(secret))
    };
    let inside = |told: bool| (classic().data_values(), data_values(told));
    let unreadable =
        || (classic().data_values(), object(json!({"metadata": {}, "data": {VALUES_KEY: "eA=="}})));
    let config = find("ConfigMap", CONFIG_MAP);
    let rows: Vec<(&str, Vec<_>, Option<bool>, Vec<&Target>)> = vec![
        ("neither", vec![of(false), inside(false)], Some(false), vec![&secret, &values]),
        (
            "the add-on manager wrote the old one again",
            vec![of(true), inside(false)],
            Some(false),
            vec![&values],
        ),
        ("the other way round", vec![of(false), inside(true)], Some(false), vec![&secret]),
        ("both", vec![of(true), inside(true)], Some(true), vec![]),
        ("the Secret is removed", vec![inside(true)], Some(true), vec![]),
        ("it is not handed on yet", vec![of(true)], Some(true), vec![]),
        ("what is there cannot be read", vec![of(true), unreadable()], Some(true), vec![]),
        ("both are gone, and AKO is not", vec![], Some(false), vec![&config]),
    ];
    for (what, mut there, told, untold) in rows {
        there.extend(ako(&kapp(), "default-w1", Some("Started")));
        let state = classic().state(&live(there), None);
        let Installed { set, delete_config, untold: changes, rest, .. } = state.installed;
        assert!(matches!(state.delivery, Delivery::None) && rest.is_empty(), "{what}");
        let set = set.unwrap();
        assert!(!set.is_ours && set.answer == Cleanup::Started, "{what}");
        assert_eq!(delete_config, told, "{what}");
        assert_eq!(changes.iter().map(|change| &change.target).collect::<Vec<_>>(), untold, "{what}");
        for change in changes.iter().filter(|change| change.target != config) {
            let Patch::Merge(patch) = &change.patch else { panic!() };
            assert_eq!(patch["data"][VALUES_KEY], encoded(&super::tests::values(true)), "{what}");
            assert!(patch["metadata"]["resourceVersion"].is_string(), "{what}: it holds for what was read");
        }
    }
}

/// A person who labels a Cluster that has an AKO of their own, and takes the label away again, keeps that AKO.
#[test]
fn an_ako_of_others_is_left_alone() {
    let mut there = ako(&json!({}), "default-w1", None);
    assert!(!classic().has_addon(&live(there.clone())));
    assert!(classic().state(&live(there.clone()), None).installed.set.is_none());
    there = ako(&kapp(), "default-w1", None);
    assert!(classic().has_addon(&live(there)));
    assert!(!classic().has_addon(&live(ako(&kapp(), "default-w2", None))));
    assert!(is_addon(&object(made(AddonForm::Legacy))));
    assert!(!is_addon(&object(
        json!({"metadata": {"labels": {"tkg.tanzu.vmware.com/addon-name": "antrea"}}})
    )));
}
