//! What files may have.

use super::*;

fn crd(plural: &str, kind: &str, group: &str, versions: &[(&str, bool)]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|(name, served)| json!({"name": name, "served": served, "storage": *served}))
        .collect();
    json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "metadata": {"name": format!("{plural}.{group}"), "creationTimestamp": null},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural}, "versions": versions},
        "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null},
    })
}

fn host_rules() -> Value {
    crd("hostrules", "HostRule", AKO_GROUP, &[("v1alpha1", false), ("v1beta1", true)])
}

fn file(name: &str, documents: &[Value]) -> File {
    let texts: Vec<_> = documents.iter().map(|document| serde_saphyr::to_string(document).unwrap()).collect();
    File { name: name.to_owned(), text: format!("---\n# A comment\n{}", texts.join("\n---\n")) }
}

#[test]
fn definitions_are_applied_with_a_label_and_a_hash_and_without_what_an_api_server_wrote() {
    let mut rules = host_rules();
    rules["metadata"]["annotations"] = json!({LAST_APPLIED: "{}", "note": "n"});
    rules["metadata"]["uid"] = "u".into();
    let gateways = crd("gateways", "Gateway", SERVICES_API_GROUP, &[("v1alpha1", true)]);
    let bundle = Bundle::parse(&[file("all.yaml", &[rules, gateways])]).unwrap();
    let [gateways, rules] = &bundle.definitions[..] else { panic!("{bundle:?}") };
    assert_eq!(gateways.name, "gateways.networking.x-k8s.io");
    assert_eq!(rules.versions, ["v1alpha1", "v1beta1"]);
    assert_eq!(rules.served, ["v1beta1"]);
    let object = &rules.object;
    let metadata = json!({
        "name": "hostrules.ako.vmware.com",
        "labels": {MANAGED_BY_LABEL: MANAGED_BY}, "annotations": {"note": "n", HASH_ANNOTATION: rules.hash},
    });
    assert_eq!(object["metadata"], metadata);
    assert_eq!(object["spec"], host_rules()["spec"]);
    assert_eq!(object["status"], Value::Null);
}

#[test]
fn a_hash_is_of_what_the_user_gives() {
    let hash = |rules: Value| Bundle::parse(&[file("a.yaml", &[rules])]).unwrap().hash;
    let same = hash(host_rules());
    let mut changed = host_rules();
    changed["status"] = Value::Null;
    assert_eq!(hash(changed.clone()), same, "the status is the API server's");
    changed["spec"]["scope"] = "Cluster".into();
    assert_ne!(hash(changed), same);
}

#[test]
fn what_is_no_definition_of_ako_is_named() {
    let with = |field: &str, value: Value| {
        let mut rules = host_rules();
        *rules.pointer_mut(field).unwrap() = value;
        vec![file("f.yaml", &[rules])]
    };
    let second = |document| vec![file("f.yaml", &[host_rules(), document])];
    let text = |text: &str| vec![File { name: "f.yaml".to_owned(), text: text.to_owned() }];
    let twice = vec![file("f.yaml", &[host_rules()]), file("g.yaml", &[host_rules()])];
    for (files, wanted) in [
        (Vec::new(), "no file in it has a definition"),
        (text("# nothing\n---\n"), "f.yaml: no document in it: remove it"),
        (text("a: [1\n"), "f.yaml: it is no YAML: "),
        (text("# AKO\n\nSee there.\n"), "f.yaml: document 1 is no object: write a CustomResourceDefinition"),
        (second(json!({"apiVersion": "v1", "kind": "Pod"})), "f.yaml: document 2 is a \"Pod\" of \"v1\""),
        (
            with("/apiVersion", json!("apiextensions.k8s.io/v1beta1")),
            "only CustomResourceDefinitions of apiextensions.k8s.io/v1",
        ),
        (
            with("/spec/versions", json!("v1")),
            "f.yaml: document 1 is no CustomResourceDefinition: invalid type",
        ),
        (
            with("/spec/group", json!("example.com")),
            "the group \"example.com\", and those of AKO are ako.vmware.com and",
        ),
        (with("/metadata/name", json!("rules.ako.vmware.com")), "write \"hostrules.ako.vmware.com\""),
        (with("/spec/versions/1/served", json!(false)), "(hostrules.ako.vmware.com) serves no version"),
        (second(host_rules()), "f.yaml: the definition hostrules.ako.vmware.com is in it twice"),
        (twice, "g.yaml: the definition hostrules.ako.vmware.com is in f.yaml as well"),
    ] {
        let message = Bundle::parse(&files).unwrap_err();
        assert!(message.contains(wanted), "{message:?} has not {wanted:?}");
        assert!(!message.contains('\n'), "{message:?}");
    }
}
