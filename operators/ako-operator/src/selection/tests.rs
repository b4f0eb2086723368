mod unclear;

use serde_json::{Value, json};

use super::*;

fn adc(name: &str, selector: &Value) -> Arc<AkoDeploymentConfig> {
    let secret = json!({ "name": "s", "namespace": "n" });
    let spec = json!({
        "clusterSelector": selector, "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
        "dataNetwork": { "name": "dp", "cidr": "10.0.0.0/24" },
        "adminCredentialRef": secret, "certificateAuthorityRef": secret,
    });
    Arc::new(AkoDeploymentConfig::new(name, serde_json::from_value(spec).unwrap()))
}

fn labelled(key: &str, value: &str) -> Value {
    json!({ "matchLabels": { key: value } })
}

fn cluster(namespace: &str, labels: &Value) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "metadata": { "name": "c", "namespace": namespace, "labels": labels },
    }))
    .unwrap()
}

fn from(name: &str) -> Selection {
    Selection::From(name.to_owned())
}

fn check(cluster: &Cluster, adcs: &[Arc<AkoDeploymentConfig>], wanted: &Selection, why: &str) {
    let mut reversed = adcs.to_vec();
    reversed.reverse();
    for adcs in [adcs.to_vec(), reversed] {
        assert_eq!(select(cluster, &Configs::of(adcs)), *wanted, "{why}");
    }
}

/// The cases of the original's `intgTestClusterCanBeSelectedByADC`, its sibling with a default that has a selector, and its handler.
#[test]
fn labels_and_selectors_choose() {
    let empty = json!({});
    let (default, web, web2) =
        (adc(DEFAULT_ADC, &empty), adc("web", &labelled("for", "web")), adc("web2", &labelled("for", "web")));
    let strict = adc(DEFAULT_ADC, &labelled("for", "default"));
    let stray = adc("stray", &empty);
    let web_label = json!({ "for": "web" });
    let kept = |value: &str| json!({ "for": "web", LATER_AVI_LABEL: value });
    let nothing = Selection::None;
    let rows: Vec<(&str, Value, Vec<&Arc<AkoDeploymentConfig>>, Selection)> = vec![
        ("no ADC", web_label.clone(), vec![], nothing.clone()),
        ("one that matches", web_label.clone(), vec![&web], from("web")),
        ("none that matches", json!({ "for": "db" }), vec![&web, &web2], nothing.clone()),
        ("no labels", json!(null), vec![&web, &default], from(DEFAULT_ADC)),
        ("a selector is stronger than the default", web_label.clone(), vec![&web, &default], from("web")),
        ("two that match: the first by name", web_label.clone(), vec![&web, &web2, &default], from("web")),
        ("the default's label gives way", kept(DEFAULT_ADC), vec![&web, &default], from("web")),
        ("a selection is kept", kept("web2"), vec![&web, &web2, &default], from("web2")),
        ("a kept selection that is gone", kept("gone"), vec![&web, &default], from("web")),
        (
            "one that no longer matches",
            json!({ LATER_AVI_LABEL: "web" }),
            vec![&web, &default],
            from(DEFAULT_ADC),
        ),
        ("the same without default", json!({ LATER_AVI_LABEL: "web" }), vec![&web, &strict], nothing.clone()),
        ("an empty selector of another name", json!({}), vec![&stray], nothing.clone()),
        ("a default with a selector", json!({ "for": "default" }), vec![&strict, &web], from(DEFAULT_ADC)),
        ("a default with another selector", json!({}), vec![&strict, &web], nothing.clone()),
        (
            "a default with a selector keeps its Cluster",
            json!({ "for": "default", LATER_AVI_LABEL: DEFAULT_ADC }),
            vec![&strict],
            from(DEFAULT_ADC),
        ),
    ];
    for (why, labels, adcs, wanted) in rows {
        let adcs: Vec<_> = adcs.into_iter().cloned().collect();
        check(&cluster("default", &labels), &adcs, &wanted, why);
    }
}

#[test]
fn the_users_label_chooses_among_those_that_match() {
    let empty = json!({});
    let (default, web, web2) =
        (adc(DEFAULT_ADC, &empty), adc("web", &labelled("for", "web")), adc("web2", &labelled("for", "web")));
    let asked = |value: &str| json!({ AVI_LABEL: value });
    let (nothing, missing) = (Selection::None, Selection::Skipped(Skip::NoSuchConfig("gone".into())));
    let rows: Vec<(&str, Value, Vec<&Arc<AkoDeploymentConfig>>, Selection)> = vec![
        ("the user's label, empty", asked(""), vec![&web, &default], from(DEFAULT_ADC)),
        (
            "empty, and a selector matches",
            json!({ "for": "web", AVI_LABEL: "" }),
            vec![&web, &default],
            from("web"),
        ),
        ("empty, and nothing to choose", asked(""), vec![&web], nothing),
        (
            "the user's label names one that matches",
            json!({ "for": "web", AVI_LABEL: "web2" }),
            vec![&web, &web2],
            from("web2"),
        ),
        (
            "the user's label names one that does not match",
            asked("web"),
            vec![&web, &default],
            Selection::Skipped(Skip::NotSelected("web".into())),
        ),
        ("the user's label names the default", asked(DEFAULT_ADC), vec![&web, &default], from(DEFAULT_ADC)),
        (
            "the user's label is stronger than the later one",
            json!({ "for": "web", AVI_LABEL: "web2", LATER_AVI_LABEL: "web" }),
            vec![&web, &web2],
            from("web2"),
        ),
        ("the user's label names none", asked("gone"), vec![&web, &default], missing),
    ];
    for (why, labels, adcs, wanted) in rows {
        let adcs: Vec<_> = adcs.into_iter().cloned().collect();
        check(&cluster("default", &labels), &adcs, &wanted, why);
    }
}

#[test]
fn a_selector_may_be_the_users_label() {
    let opted_in =
        adc("opted-in", &json!({ "matchExpressions": [{ "key": AVI_LABEL, "operator": "Exists" }] }));
    check(
        &cluster("default", &json!({ AVI_LABEL: "" })),
        std::slice::from_ref(&opted_in),
        &from("opted-in"),
        "label",
    );
    check(&cluster("default", &json!({})), &[opted_in], &Selection::None, "the label is removed");
}

#[test]
fn management_clusters_have_an_adc_of_their_own() {
    let role = "cluster-role.tkg.tanzu.vmware.com/management";
    let (default, management) = (adc(DEFAULT_ADC, &json!({})), adc(MANAGEMENT_ADC, &labelled(role, "")));
    let greedy = adc("a-greedy", &labelled(role, ""));
    let adcs = [default.clone(), management, greedy.clone()];
    let system = cluster(SYSTEM_NAMESPACE, &json!({ role: "" }));
    check(&system, &adcs, &from(MANAGEMENT_ADC), "its own");
    check(&system, &[default.clone(), greedy], &Selection::None, "no other");
    check(&cluster(SYSTEM_NAMESPACE, &json!({})), &adcs, &Selection::None, "the selector has to match");
    let asks = cluster(SYSTEM_NAMESPACE, &json!({ AVI_LABEL: DEFAULT_ADC }));
    check(&asks, &adcs, &Selection::Skipped(Skip::NoSuchConfig(DEFAULT_ADC.into())), "nor by its label");
    let tenant = cluster("default", &json!({ role: "", AVI_LABEL: MANAGEMENT_ADC }));
    check(
        &tenant,
        &adcs,
        &Selection::Skipped(Skip::NoSuchConfig(MANAGEMENT_ADC.into())),
        "and no one else its",
    );
}

#[test]
fn selectors_that_are_none_match_nothing() {
    let of = |expression: Value| adc("adc", &json!({ "matchExpressions": [expression] }));
    let rows = [
        (json!({ "key": "a", "operator": "In", "values": ["b"] }), None, true),
        (json!({ "key": "x", "operator": "NotIn", "values": ["b"] }), None, true),
        (json!({ "key": "a", "operator": "NotIn", "values": ["b"] }), None, false),
        (json!({ "key": "a", "operator": "Exists" }), None, true),
        (json!({ "key": "a", "operator": "Exists", "values": [] }), None, true),
        (json!({ "key": "x", "operator": "DoesNotExist" }), None, true),
        (json!({ "key": "a", "operator": "In" }), Some("a: In needs values"), false),
        (json!({ "key": "x", "operator": "NotIn", "values": [] }), Some("x: NotIn needs values"), false),
        (
            json!({ "key": "a", "operator": "Exists", "values": ["b"] }),
            Some("a: Exists takes no values"),
            false,
        ),
        (
            json!({ "key": "a", "operator": "in", "values": ["b"] }),
            Some("\"in\" is not a valid label selector operator"),
            false,
        ),
    ];
    for (expression, error, matches) in rows {
        let adc = of(expression.clone());
        let found = parse_selector(&adc.spec).err().map(|error| error.to_string());
        assert_eq!(found.is_some(), error.is_some(), "{expression}: {found:?}");
        assert!(found.unwrap_or_default().starts_with(error.unwrap_or_default()), "{expression}");
        let wanted = if matches { from("adc") } else { Selection::None };
        check(&cluster("default", &json!({ "a": "b" })), &[adc], &wanted, &expression.to_string());
    }
}

/// A Cluster in `version` with these conditions, a deletion, and a variable.
fn state(version: &str, conditions: &Value, deleting: bool, kube_vip: &Value) -> Cluster {
    let mut value = json!({
        "apiVersion": format!("cluster.x-k8s.io/{version}"),
        "metadata": { "name": "c", "namespace": "default" },
        "spec": { "topology": {
            "classRef": { "name": "c" }, "class": "c", "version": "v1",
            "variables": [{ "name": KUBE_VIP_VARIABLE, "value": kube_vip }],
        } },
        "status": { "conditions": conditions },
    });
    if deleting {
        value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    serde_json::from_value(value).unwrap()
}

#[test]
fn clusters_are_skipped_while_they_are_not_ready_or_have_kube_vip() {
    let adcs = [adc(DEFAULT_ADC, &json!({}))];
    let is = |type_: &str, status: &str| json!([{ "type": type_, "status": status }]);
    let (selected, not_ready, kube_vip) =
        (from(DEFAULT_ADC), Selection::Skipped(Skip::NotReady), Selection::Skipped(Skip::KubeVip));
    let no = json!(false);
    let rows = [
        ("v1beta2", json!([]), false, &no, &selected),
        ("v1beta2", is("Available", "True"), false, &no, &selected),
        ("v1beta2", is("Available", "Unknown"), false, &no, &selected),
        ("v1beta2", is("Available", "False"), false, &no, &not_ready),
        ("v1beta1", is("Ready", "False"), false, &no, &not_ready),
        ("v1beta1", is("Ready", "True"), false, &no, &selected),
        ("v1beta1", is("Ready", "False"), true, &no, &selected),
        ("v1beta2", json!([]), false, &json!(true), &kube_vip),
        ("v1beta2", is("Available", "False"), false, &json!(true), &kube_vip),
        ("v1beta2", json!([]), false, &json!("true"), &selected),
    ];
    for (version, conditions, deleting, vip, wanted) in rows {
        let cluster = state(version, &conditions, deleting, vip);
        let found = select(&cluster, &Configs::of(adcs.clone()));
        assert_eq!(found, *wanted, "{version} {conditions} {deleting} {vip}");
    }
    let unready = state("v1beta2", &is("Available", "False"), false, &no);
    check(&unready, &[], &Selection::None, "a Cluster that nothing selects is no business of ours");
}

#[test]
fn a_skip_says_why_and_keeps_what_is_installed() {
    for (skip, reason, removes, needs_help, text) in [
        (Skip::KubeVip, "KubeVipProvidesLoadBalancers", true, false, "kube-vip"),
        (Skip::NotReady, "ClusterNotReady", false, false, "not ready"),
        (Skip::NoSuchConfig("x".into()), "NoSuchAKODeploymentConfig", false, true, "\"x\""),
        (
            Skip::NotSelected("x".into()),
            "NoSuchAKODeploymentConfig",
            false,
            true,
            "clusterSelector does not match",
        ),
        (Skip::Unclear(vec!["x".into(), "y".into()]), "AKODeploymentConfigInvalid", false, true, "x, y"),
        (Skip::Unrecorded, "AKODeploymentConfigMissing", false, true, "create the AKODeploymentConfig again"),
    ] {
        assert_eq!((skip.reason(), skip.removes(), skip.needs_help()), (reason, removes, needs_help));
        assert!(skip.message().contains(text), "{}", skip.message());
    }
}

/// The cases of the original's `unitTestValidateClusterIpFamily`, and those between them.
#[test]
fn address_families_have_to_fit() {
    use IpFamily::{V4, V4V6, V6, V6V4};
    let rows = [
        (V4, V4, false, true),
        (V4, V4, true, true),
        (V4, V6, false, false),
        (V4, V6, true, false),
        (V4V6, V4, false, true),
        (V4V6, V4, true, true),
        (V4V6, V6, false, true),
        (V4V6, V6, true, false),
        (V6, V4, false, false),
        (V6, V6, false, false),
        (V6V4, V4, true, false),
        (V6V4, V6, false, false),
    ];
    for (cluster, adc, is_ha_provider, fits) in rows {
        let refused = refuse_ip_family(&Ok(cluster), adc, is_ha_provider);
        assert_eq!(refused.is_none(), fits, "{cluster} {adc} {is_ha_provider}: {refused:?}");
    }
    let unclear: Cluster =
        serde_json::from_value(json!({ "spec": { "clusterNetwork": { "pods": { "cidrBlocks": ["x"] } } } }))
            .unwrap();
    let refused = refuse_ip_family(&unclear.ip_family(), V4, false).unwrap();
    assert!(refused.contains("spec.clusterNetwork.pods.cidrBlocks"), "{refused}");
}
