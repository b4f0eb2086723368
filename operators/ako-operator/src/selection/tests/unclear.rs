//! Clusters whose AKODeploymentConfig cannot be found by what can be read.

use super::*;
use crate::api::{AkoDeploymentConfigStatus, FINALIZER};

/// Returns an AKODeploymentConfig that has recorded the Cluster `default/c`.
fn recording(name: &str, selector: &Value) -> Arc<AkoDeploymentConfig> {
    recording_of(name, selector, "default/c")
}

fn recording_of(name: &str, selector: &Value, key: &str) -> Arc<AkoDeploymentConfig> {
    let mut adc = AkoDeploymentConfig::clone(&adc(name, selector));
    let delivered_to = vec![key.to_owned()];
    adc.status = Some(AkoDeploymentConfigStatus { delivered_to, ..AkoDeploymentConfigStatus::default() });
    Arc::new(adc)
}

fn held(labels: &Value) -> Cluster {
    let mut cluster = cluster("default", labels);
    cluster.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    cluster
}

fn unclear(names: &[&str]) -> Selection {
    Selection::Skipped(Skip::Unclear(names.iter().map(|&name| name.to_owned()).collect()))
}

fn with(read: Vec<Arc<AkoDeploymentConfig>>, unread: &[&str]) -> Configs {
    Configs { read, unread: unread.iter().map(|&name| name.to_owned()).collect() }
}

fn check_all(rows: Vec<(&str, Cluster, Configs, Selection)>) {
    for (what, cluster, configs, wanted) in rows {
        assert_eq!(select(&cluster, &configs), wanted, "{what}");
        assert_eq!(is_of("web", &cluster, &configs), wanted == from("web"), "{what}");
    }
}

/// Another one would move AKO to another place on AVI, and none would remove it.
#[test]
fn a_cluster_keeps_ako_while_its_adc_cannot_be_read() {
    let web = labelled("for", "web");
    let (labels, none) = (json!({ "for": "web" }), json!({}));
    let named = json!({ "for": "web", AVI_LABEL: "web" });
    let other = || vec![adc("web", &web)];
    let recorded = || vec![recording("web", &web)];
    check_all(vec![
        ("the only one", held(&labels), with(vec![], &["a"]), unclear(&["a"])),
        ("another one would select it", held(&labels), with(other(), &["a"]), unclear(&["a"])),
        ("and is named", held(&named), with(other(), &["a"]), unclear(&["a"])),
        ("and has recorded it", held(&labels), with(recorded(), &["a"]), from("web")),
        ("its label is gone", held(&none), with(recorded(), &["a"]), unclear(&["a"])),
        ("a new Cluster", cluster("default", &labels), with(other(), &["a"]), unclear(&["a"])),
        ("a new Cluster names its own", cluster("default", &named), with(other(), &["a"]), from("web")),
        ("a new Cluster asks for none", cluster("default", &none), with(vec![], &["a"]), Selection::None),
        ("it is named", cluster("default", &named), with(vec![], &["web"]), unclear(&["web"])),
        (
            "another one is named that does not exist",
            cluster("default", &named),
            with(vec![], &["a"]),
            Selection::Skipped(Skip::NoSuchConfig("web".to_owned())),
        ),
        ("it selects management clusters", held(&labels), with(other(), &[MANAGEMENT_ADC]), from("web")),
    ]);
}

#[test]
fn a_cluster_keeps_ako_while_the_selector_of_its_adc_is_none() {
    let web = labelled("for", "web");
    let labels = json!({ "for": "web" });
    let wrong = json!({ "matchExpressions": [{ "key": "for", "operator": "Is" }] });
    let of = |read: [Arc<AkoDeploymentConfig>; 2]| with(read.to_vec(), &[]);
    check_all(vec![
        ("the only one", held(&labels), with(vec![recording("a", &wrong)], &[]), unclear(&["a"])),
        (
            "another one matches",
            held(&labels),
            of([recording("a", &wrong), adc("web", &web)]),
            unclear(&["a"]),
        ),
        (
            "its selector was removed",
            held(&labels),
            of([recording("a", &json!(null)), adc("web", &web)]),
            unclear(&["a"]),
        ),
        (
            "no label can be as it says",
            held(&labels),
            with(vec![recording("a", &json!({ "matchLabels": { "for": "web", "a b": "c" } }))], &[]),
            unclear(&["a"]),
        ),
        (
            "a new Cluster has nothing to do with it",
            cluster("default", &labels),
            of([recording_of("a", &wrong, "default/other"), adc("web", &web)]),
            from("web"),
        ),
        (
            "it has nothing recorded",
            held(&labels),
            of([adc("a", &wrong), recording("web", &web)]),
            from("web"),
        ),
        (
            "another one is named, and what the first has recorded is known",
            held(&json!({ "for": "web", AVI_LABEL: "web" })),
            of([recording("a", &wrong), adc("web", &web)]),
            from("web"),
        ),
    ]);
}

#[test]
fn an_adc_that_is_being_deleted_takes_no_more_clusters() {
    let web = labelled("for", "web");
    let going = |adc: Arc<AkoDeploymentConfig>| {
        let mut adc = AkoDeploymentConfig::clone(&adc);
        adc.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        Arc::new(adc)
    };
    let labels = json!({ "for": "web" });
    let new = cluster("default", &labels);
    check(&new, &[going(adc("a", &web)), adc("web", &web)], &from("web"), "another one does");
    check(&new, &[going(adc("a", &web))], &Selection::None, "there is no other");
    check(
        &held(&labels),
        &[going(recording("a", &web)), adc("web", &web)],
        &from("a"),
        "it keeps those it has",
    );
}

#[test]
fn labels_have_the_form_that_api_servers_accept() {
    for (key, value, wanted) in [
        ("a", "b", true),
        ("a", "", true),
        ("example.com/a_b.C-1", "x_Y.z-1", true),
        (AVI_LABEL, "", true),
        ("a b", "c", false),
        ("", "c", false),
        ("-a", "c", false),
        ("Example.com/a", "c", false),
        ("a/b/c", "c", false),
        ("a", "b c", false),
        ("a", "-b", false),
    ] {
        let found = parse_selector(&adc("x", &labelled(key, value)).spec);
        assert_eq!(found.is_ok(), wanted, "{key:?}={value:?}: {found:?}");
    }
}

#[test]
fn a_cluster_keeps_ako_whose_adc_is_gone() {
    let labels = json!({ AVI_LABEL: "" });
    let (lost, other) = (Selection::Skipped(Skip::Unrecorded), adc("web", &labelled("for", "web")));
    let recorded = recording("web", &labelled("for", "web"));
    check(&held(&labels), &[], &lost, "there is none");
    check(&held(&labels), std::slice::from_ref(&other), &lost, "another one does not select it");
    check(&held(&labels), &[recorded], &Selection::None, "one has recorded it: its label went");
    check(&cluster("default", &labels), &[other], &Selection::None, "AKO was never delivered");
    check(
        &held(&json!({ "for": "web" })),
        &[adc("web", &labelled("for", "web"))],
        &from("web"),
        "it is there again",
    );
}
