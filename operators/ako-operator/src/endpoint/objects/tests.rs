use super::*;

fn cluster(namespace: &str) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "metadata": { "name": "c", "namespace": namespace, "uid": "u" },
    }))
    .unwrap()
}

fn wish() -> Wish {
    Wish { is_v4: true, port: 6443, address: None, infra: None }
}

/// Carries out a merge patch.
fn patched<K: serde::Serialize + serde::de::DeserializeOwned>(object: &K, patch: &Value) -> K {
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            merge(&mut target[key], value);
        }
    }
    let mut value = serde_json::to_value(object).unwrap();
    merge(&mut value, patch);
    serde_json::from_value(value).unwrap()
}

#[test]
fn names_lead_there_and_back() {
    let of = cluster("n-1");
    assert_eq!(service_name(&of), "n-1-c-control-plane");
    assert_eq!(cluster_of("n-1", "n-1-c-control-plane"), Some(Key::of(&of)));
    for (namespace, name) in [("n", "m-c-control-plane"), ("n", "n-c"), ("n", "nc-control-plane")] {
        assert_eq!(cluster_of(namespace, name), None, "{namespace} {name}");
    }
    let (long, longest) = ("a".repeat(64), "a".repeat(63));
    for (name, is_right) in [
        ("n-c-control-plane", true),
        ("1-c", false),
        ("n-c.d-control-plane", false),
        (&longest, true),
        (&long, false),
    ] {
        assert_eq!(is_service_name(name), is_right, "{name}");
    }
}

/// The cases of the original's `Test_CreateService`, but those of names, which `plan` has.
#[test]
fn a_new_service_has_address_family_port_and_setting() {
    let v4: IpAddr = "2.2.2.2".parse().unwrap();
    let v6: IpAddr = "fd01:3:4:2877:250:56ff:feb4:adaf".parse().unwrap();
    for (address, is_v4, family) in
        [(None, true, "IPv4"), (Some(v4), true, "IPv4"), (None, false, "IPv6"), (Some(v6), false, "IPv6")]
    {
        let made =
            service(&cluster("n"), &Wish { is_v4, address, port: 31005, infra: Some("a-ais".to_owned()) });
        let (annotations, spec) = (made.annotations().clone(), made.spec.clone().unwrap());
        let text = address.map(|address| address.to_string());
        assert_eq!(annotations.get("ako.vmware.com/load-balancer-ip"), text.as_ref());
        assert_eq!(spec.load_balancer_ip, text);
        assert_eq!(annotations["skipnodeport.ako.vmware.com/enabled"], "true");
        assert_eq!(annotations["tkg.tanzu.vmware.com/cluster-name"], "c");
        assert_eq!(annotations["tkg.tanzu.vmware.com/cluster-namespace"], "n");
        assert_eq!(annotations["aviinfrasetting.ako.vmware.com/name"], "a-ais");
        assert_eq!(spec.ip_families, Some(vec![family.to_owned()]));
        assert_eq!((spec.type_.as_deref(), spec.selector), (Some("LoadBalancer"), None));
        let port = &spec.ports.unwrap()[0];
        assert_eq!((port.port, &port.target_port), (31005, &Some(IntOrString::Int(6443))));
    }
    let plain = service(&cluster("n"), &wish());
    assert!(!plain.annotations().contains_key("aviinfrasetting.ako.vmware.com/name"));
}

#[test]
fn a_service_goes_with_its_cluster_and_that_of_a_management_cluster_stays() {
    let made = service(&cluster("n"), &wish());
    let owner = &made.owner_references()[0];
    assert_eq!(
        (&*owner.api_version, &*owner.kind, &*owner.uid),
        ("cluster.x-k8s.io/v1beta2", "Cluster", "u")
    );
    assert!(made.finalizers().is_empty());
    let kept = service(&cluster(SYSTEM_NAMESPACE), &wish());
    assert_eq!((kept.owner_references().len(), kept.finalizers()), (0, &[LATER_HA_FINALIZER.to_owned()][..]));
}

#[test]
fn a_service_ends_with_its_cluster() {
    let owner = |kind: &str, uid: &str| json!({ "apiVersion": "v1", "kind": kind, "name": "w1", "uid": uid });
    let (gone, lives) = (owner("Cluster", "gone"), owner("Cluster", "lives"));
    for (deleted, owners, is_ending_now) in [
        (json!(null), json!([gone]), true),
        (json!(null), json!([lives]), false),
        (json!(null), json!([gone, lives]), false),
        (json!(null), json!([gone, owner("Tenant", "gone")]), false),
        (json!(null), json!([]), false),
        (json!("2026-12-01T00:00:00Z"), json!([lives]), true),
    ] {
        let metadata =
            json!({ "name": "s", "namespace": "n", "ownerReferences": owners, "deletionTimestamp": deleted });
        let service: Service = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        let is_there = |key: &Key, uid: &str| *key == Key::new("n", "w1") && uid == "lives";
        assert_eq!(is_ending(&service, is_there), is_ending_now, "{deleted} {owners}");
    }
}

#[test]
fn a_service_of_the_original_is_recognised_and_one_of_others_is_not() {
    let named =
        |metadata: Value| -> Service { serde_json::from_value(json!({ "metadata": metadata })).unwrap() };
    let owner = |uid: &str| json!([{ "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster", "name": "c", "uid": uid }]);
    let annotations = |namespace: &str| json!({ CLUSTER_NAME: "c", CLUSTER_NAMESPACE: namespace });
    for (metadata, is_ours) in [
        (json!({}), false),
        (json!({ "ownerReferences": owner("u") }), true),
        (json!({ "ownerReferences": owner("other") }), false),
        (json!({ "finalizers": [LATER_HA_FINALIZER] }), true),
        (json!({ "finalizers": ["other"] }), false),
        (json!({ "annotations": annotations("n") }), true),
        (json!({ "annotations": annotations("m") }), false),
        (json!({ "annotations": { SKIP_NODE_PORT: "true" } }), true),
    ] {
        assert_eq!(is_of(&named(metadata.clone()), &cluster("n")), is_ours, "{metadata}");
    }
}

/// The cases of the original's `Test_CreateOrUpdateHAService` that concern a Service that exists.
#[test]
fn a_service_is_changed_where_it_differs_and_once() {
    let wish = Wish { address: Some("1.1.1.1".parse().unwrap()), ..wish() };
    let wanted = service(&cluster("n"), &wish);
    for (what, change, is_changed) in [
        ("as it is to be", json!({}), false),
        ("what others add", json!({ "metadata": { "annotations": { "other": "x" } } }), false),
        ("what the API server adds", json!({ "spec": { "clusterIP": "10.96.0.1" } }), false),
        ("without annotations", json!({ "metadata": { "annotations": null } }), true),
        (
            "of the original",
            json!({ "metadata": { "labels": null }, "spec": { "ipFamilyPolicy": null } }),
            true,
        ),
        ("without its owner", json!({ "metadata": { "ownerReferences": null } }), true),
        ("without an address", json!({ "spec": { "loadBalancerIP": null } }), true),
        ("another address", json!({ "spec": { "loadBalancerIP": "1.1.1.2" } }), true),
        ("another type", json!({ "spec": { "type": "ClusterIP" } }), true),
        ("another port", json!({ "spec": { "ports": [{ "port": 443 }] } }), true),
        ("a selector", json!({ "spec": { "selector": { "a": "b" } } }), true),
    ] {
        let live = patched(&wanted, &change);
        let change = change_service(&live, &wanted);
        assert_eq!(change.is_some(), is_changed, "{what}: {change:?}");
        let Some(change) = change else { continue };
        let changed = patched(&live, &change);
        assert_eq!(change_service(&changed, &wanted), None, "{what}: {change}");
    }
}

#[test]
fn what_a_service_has_of_others_stays() {
    let any = service(&cluster("n"), &wish());
    let with = service(&cluster("n"), &Wish { address: Some("1.1.1.1".parse().unwrap()), ..wish() });
    assert_eq!(change_service(&with, &any), None, "an address that is there stays");
    let mut live = any.clone();
    live.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].node_port = Some(30000);
    assert_eq!(change_service(&live, &any), None, "the node port is of Kubernetes");
    let mut live = any.clone();
    live.metadata.owner_references.as_mut().unwrap()[0].uid = "old".into();
    let change = change_service(&live, &any).unwrap();
    assert_eq!(patched(&live, &change).owner_references(), any.owner_references(), "an earlier owner goes");
    let kept = service(&cluster(SYSTEM_NAMESPACE), &wish());
    let mut live = kept.clone();
    live.metadata.finalizers = Some(vec!["other".into()]);
    let change = change_service(&live, &kept).unwrap();
    assert_eq!(change["metadata"]["finalizers"], json!(["other", LATER_HA_FINALIZER]));
}

fn member(name: &str, address: &str, is_ready: bool) -> Member {
    Member { name: name.to_owned(), address: address.parse().unwrap(), is_ready }
}

/// The endpoints of a slice: name, address, whether it is ready.
fn shown(slice: &EndpointSlice) -> Vec<(&str, &str, Option<bool>)> {
    slice
        .endpoints
        .iter()
        .map(|endpoint| {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            (endpoint.node_name.as_deref().unwrap_or_default(), endpoint.addresses[0].as_str(), ready)
        })
        .collect()
}

/// The cases of the original's `Test_CreateOrUpdateHAEndpoints` that concern several Machines.
#[test]
fn a_slice_has_the_machines_and_says_which_are_ready() {
    let mut of = service(&cluster("n"), &wish());
    of.metadata.uid = Some("s".to_owned());
    let (one, two, down) =
        (member("m1", "1.1.1.1", true), member("m2", "1.1.1.2", true), member("m3", "1.1.1.3", false));
    let double = member("m4", "1.1.1.1", true);
    for (members, ready_only, wanted) in [
        (vec![], false, vec![]),
        (vec![one.clone()], false, vec![("m1", "1.1.1.1", Some(true))]),
        (
            vec![one.clone(), two.clone()],
            false,
            vec![("m1", "1.1.1.1", Some(true)), ("m2", "1.1.1.2", Some(true))],
        ),
        (vec![one.clone(), double], false, vec![("m1", "1.1.1.1", Some(true))]),
        (
            vec![one.clone(), down.clone()],
            false,
            vec![("m1", "1.1.1.1", Some(true)), ("m3", "1.1.1.3", Some(true))],
        ),
        (
            vec![one.clone(), down.clone()],
            true,
            vec![("m1", "1.1.1.1", Some(true)), ("m3", "1.1.1.3", Some(false))],
        ),
        (vec![down], true, vec![("m3", "1.1.1.3", Some(true))]),
    ] {
        let made = slice(&of, true, &members, ready_only);
        assert_eq!(shown(&made), wanted, "{members:?} {ready_only}");
        assert_eq!((&*made.address_type, made.name_any()), ("IPv4", "n-c-control-plane".to_owned()));
        assert_eq!(made.labels()[SERVICE_LABEL], "n-c-control-plane");
        assert_eq!(made.owner_references()[0].uid, "s");
        let port = &made.ports.as_ref().unwrap()[0];
        assert_eq!((port.port, port.protocol.as_deref()), (Some(6443), Some("TCP")));
        assert_eq!(change_slice(&made, &made), None);
        let before = slice(&of, true, &[two.clone(), one.clone()], false);
        let change = change_slice(&before, &made).unwrap();
        assert_eq!(change_slice(&patched(&before, &change), &made), None, "{change}");
    }
    let v6 = slice(&of, false, &[member("m1", "fd00::1", true)], false);
    assert_eq!(&*v6.address_type, "IPv6");
}

#[test]
fn a_slice_follows_a_service_that_was_made_again() {
    let mut of = service(&cluster("n"), &wish());
    of.metadata.uid = Some("s1".to_owned());
    let before = slice(&of, true, &[], false);
    of.metadata.uid = Some("s2".to_owned());
    let wanted = slice(&of, true, &[], false);
    let change = change_slice(&before, &wanted).unwrap();
    let owners = &change["metadata"]["ownerReferences"];
    assert_eq!((owners.as_array().unwrap().len(), &owners[0]["uid"]), (1, &json!("s2")));
}
