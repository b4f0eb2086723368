use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

fn adc(spec: &Value) -> AkoDeploymentConfig {
    let secret = json!({ "name": "s", "namespace": "n" });
    let mut object = json!({
        "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
        "dataNetwork": { "name": "dp", "cidr": "10.0.0.0/24" },
        "adminCredentialRef": secret, "certificateAuthorityRef": secret,
    });
    for (field, value) in spec.as_object().unwrap() {
        object[field] = value.clone();
    }
    let mut adc = AkoDeploymentConfig::new("a", serde_json::from_value(object).unwrap());
    adc.metadata.uid = Some("u".to_owned());
    adc
}

/// One of this spec that the operator made.
fn present(spec: Value) -> Live {
    Live::Present { metadata: Box::new(metadata_of(&adc(&json!({})))), spec, status: Value::Null }
}

fn with_network(cidr: &str) -> Value {
    json!({ "controlPlaneNetwork": { "name": "cp", "cidr": cidr } })
}

/// The cases of the original's `HA and VIP seperation is enabled`: which of them wait.
#[test]
fn the_address_would_be_wrong_only_where_the_control_planes_have_a_subnet_of_their_own() {
    for (spec, is_asked, is_alone) in [
        (json!({}), false, false),
        (with_network("10.0.0.0/24"), true, false),
        (with_network("10.0.0.7/24"), true, false),
        (with_network("10.1.0.0/24"), true, true),
        (json!({ "controlPlaneNetwork": { "name": "", "cidr": "10.1.0.0/24" } }), false, false),
    ] {
        let adc = adc(&spec);
        assert_eq!((is_asked_for(&adc.spec), is_apart(&adc.spec)), (is_asked, is_alone), "{spec}");
    }
}

#[test]
fn it_has_network_group_and_size_of_its_akodeploymentconfig() {
    let router =
        |name: &str| json!({ "networksConfig": { "nsxtT1LR": name }, "ingress": { "shardVSSize": "LARGE" } });
    let with = |extra: Value| {
        let mut spec = with_network("10.1.0.7/24");
        spec["extraConfigs"] = extra;
        spec
    };
    let v4 = json!([{ "networkName": "cp", "cidr": "10.1.0.0/24" }]);
    let v6 = json!([{ "networkName": "cp", "v6cidr": "fd00::/64" }]);
    for (spec, networks, size, nsx) in [
        (with_network("10.1.0.0/24"), &v4, "SMALL", Value::Null),
        (with_network("fd00::/64"), &v6, "SMALL", Value::Null),
        (with(router("t1")), &v4, "LARGE", json!({ "t1lr": "t1" })),
        (with(router("")), &v4, "LARGE", Value::Null),
    ] {
        let Some(InfraSettingChange::Create(object)) = change(&adc(&spec), &Live::Absent) else {
            panic!("{spec}")
        };
        let made = &object.data["spec"];
        assert_eq!(object.name_any(), "a-ais");
        assert_eq!(object.metadata.owner_references, None);
        assert_eq!((&made["network"]["vipNetworks"], &made["seGroup"]["name"]), (networks, &json!("g")));
        assert_eq!((&made["l7Settings"]["shardSize"], &made["nsxSettings"]), (&json!(size), &nsx), "{spec}");
        assert_eq!(change(&adc(&spec), &present(made.clone())), None, "a second look changes nothing");
    }
}

#[test]
fn it_is_changed_only_where_it_differs() {
    let adc_of = adc(&with_network("10.1.0.0/24"));
    let right = spec_of(&adc_of.spec);
    let with = |pointer: &str, value: Value| {
        let mut spec = right.clone();
        spec["nsxSettings"] = json!({});
        *spec.pointer_mut(pointer).unwrap() = value;
        present(spec)
    };
    for (what, live, is_changed) in [
        ("not installed", Live::NotInstalled, false),
        ("as it is to be", present(right.clone()), false),
        ("the original's empty router", with("/nsxSettings", json!({ "t1lr": "" })), false),
        ("a router that is not asked for", with("/nsxSettings", json!({ "t1lr": "t1" })), true),
        (
            "what others set",
            with("/network", json!({ "vipNetworks": right["network"]["vipNetworks"], "enableRhi": true })),
            false,
        ),
        ("another network", with("/network/vipNetworks/0/networkName", json!("other")), true),
        ("another group", with("/seGroup/name", json!("other")), true),
        ("another size", with("/l7Settings/shardSize", json!("LARGE")), true),
        ("empty", present(Value::Null), true),
    ] {
        let changed = change(&adc_of, &live);
        assert_eq!(matches!(changed, Some(InfraSettingChange::Patch(_))), is_changed, "{what}: {changed:?}");
        assert_eq!(change(&adc(&json!({})), &live), None, "{what}: without a network there is none");
    }
}

/// AKO finds it by its name, so that one of the original or of a person is taken over, and goes with the AKODeploymentConfig.
#[test]
fn one_of_others_gets_the_label() {
    let adc_of = adc(&with_network("10.1.0.0/24"));
    let other = OwnerReference { uid: "other".into(), ..OwnerReference::default() };
    let metadata = ObjectMeta { owner_references: Some(vec![other]), ..ObjectMeta::default() };
    let live =
        Live::Present { metadata: Box::new(metadata), spec: spec_of(&adc_of.spec), status: Value::Null };
    let Some(InfraSettingChange::Patch(patch)) = change(&adc_of, &live) else { panic!("it stays as it is") };
    assert_eq!(patch["spec"], Value::Null);
    assert_eq!(patch["metadata"]["labels"][MANAGED_BY_LABEL], MANAGED_BY);
    assert_eq!(patch["metadata"]["ownerReferences"], Value::Null);
}

/// Returns one with these metadata.
fn with_metadata(metadata: Value) -> Live {
    Live::Present {
        metadata: serde_json::from_value(metadata).unwrap(),
        spec: json!({}),
        status: Value::Null,
    }
}

fn owner(uid: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "k", "name": "n", "uid": uid })
}

/// Else a foreground deletion of the AKODeploymentConfig removes it at once.
#[test]
fn the_owner_that_an_earlier_version_wrote_goes() {
    for (owners, left) in [
        (vec![], None),
        (vec!["other"], None),
        (vec!["u"], Some(vec![])),
        (vec!["other", "u"], Some(vec![owner("other")])),
    ] {
        let owners: Vec<_> = owners.into_iter().map(owner).collect();
        let live = with_metadata(json!({ "resourceVersion": "7", "ownerReferences": owners }));
        let wanted = left.map(|left| {
            let labels = json!({ MANAGED_BY_LABEL: MANAGED_BY });
            let metadata = json!({ "resourceVersion": "7", "ownerReferences": left, "labels": labels });
            InfraSettingChange::Patch(json!({ "metadata": metadata }))
        });
        assert_eq!(release(&adc(&json!({})), &live), wanted, "{owners:?}");
    }
}

#[test]
fn it_goes_unless_it_is_of_others_or_services_name_it() {
    let ours = json!({ MANAGED_BY_LABEL: MANAGED_BY });
    let of = |labels: &Value, more: Value| {
        let mut metadata = json!({ "uid": "i", "resourceVersion": "7", "labels": labels });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with_metadata(metadata)
    };
    let since = json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" });
    for (what, live, is_deleted, stays) in [
        ("ours", of(&ours, json!({})), true, true),
        ("of a person", of(&json!({}), json!({})), false, false),
        ("of others as well", of(&ours, json!({ "ownerReferences": [owner("other")] })), false, true),
        ("it goes", of(&ours, since), false, false),
        ("gone", Live::Absent, false, false),
    ] {
        let same = Preconditions { uid: Some("i".to_owned()), resource_version: Some("7".to_owned()) };
        let deleted = is_deleted.then_some(InfraSettingChange::Delete(same));
        assert_eq!(leave(&live, false), deleted, "{what}");
        let labels = json!({ MANAGED_BY_LABEL: null });
        let patch = json!({ "metadata": { "resourceVersion": "7", "labels": labels } });
        assert_eq!(leave(&live, true), stays.then_some(InfraSettingChange::Patch(patch)), "{what}");
    }
}
