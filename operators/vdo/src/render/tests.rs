//! Small manifests of our own; `real` has those of the projects, where they are given.

mod real;

use serde_json::{Value, json};

use super::*;

const CPI: &str = include_str!("tests/cpi.yaml");
const CSI: &str = include_str!("tests/csi.yaml");

fn settings(driver: Driver) -> Settings {
    let version = if driver == Driver::Cpi { Version::new(1, 36, 0) } else { Version::new(3, 7, 3) };
    Settings::new(driver, version, 3)
}

fn rendered(text: &str, settings: &Settings) -> Rendered {
    render(parse(text).unwrap(), Vec::new(), settings).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(text: &str, settings: &Settings) -> Vec<String> {
    let found = render(parse(text).unwrap(), Vec::new(), settings).unwrap_err();
    found.iter().map(ToString::to_string).collect()
}

fn one_problem(text: &str, settings: &Settings) -> String {
    let found = problems(text, settings);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// Returns an object as it is written.
fn find(rendered: &Rendered, name: &str) -> Value {
    let object = rendered.waves.iter().flatten().find(|object| name_of(object) == name);
    serde_json::to_value(object.unwrap_or_else(|| panic!("{name} of {rendered:?}"))).unwrap()
}

fn names(rendered: &Rendered) -> Vec<Vec<String>> {
    rendered.waves.iter().map(|wave| wave.iter().map(name_of).collect()).collect()
}

fn map<T: Clone>(pairs: &[(&str, T)]) -> BTreeMap<String, T> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn cpi_loses_its_samples_and_mounts_what_vdo_makes() {
    let rendered = rendered(CPI, &settings(Driver::Cpi));
    assert_eq!(
        names(&rendered),
        [
            vec!["ServiceAccount kube-system/cloud-controller-manager"],
            vec!["DaemonSet kube-system/vsphere-cloud-controller-manager"],
        ]
    );
    let daemon = find(&rendered, "DaemonSet kube-system/vsphere-cloud-controller-manager");
    let spec = &daemon["spec"]["template"]["spec"];
    assert_eq!(spec["volumes"][0]["configMap"], json!({"name": "cloud-config"}));
    assert_eq!(spec["containers"][0]["env"], Value::Null);
    assert_eq!(rendered.images, ["registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0"]);
}

#[test]
fn cpi_keeps_nodes_where_a_user_asks_for_it() {
    let settings = Settings { keeps_nodes: true, ..settings(Driver::Cpi) };
    let daemon = find(&rendered(CPI, &settings), "DaemonSet kube-system/vsphere-cloud-controller-manager");
    let env = &daemon["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{"name": "SKIP_NODE_DELETION", "value": "true"}]));
}

#[test]
fn csi_gets_its_namespace_and_goes_in_waves() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", 
        "metadata": {"name": "vsphere-config-secret", "namespace": "vmware-system-csi"},
        "data": {"csi-vsphere.conf": "c2VjcmV0"}});
    let configuration = vec![serde_json::from_value(secret).unwrap()];
    let rendered = render(parse(CSI).unwrap(), configuration, &settings(Driver::Csi)).unwrap();
    assert_eq!(
        names(&rendered),
        [
            vec!["Namespace vmware-system-csi"],
            vec![
                "CSIDriver csi.vsphere.vmware.com",
                "ConfigMap vmware-system-csi/internal-feature-states.csi.vsphere.vmware.com",
                "Secret vmware-system-csi/vsphere-config-secret",
            ],
            vec!["Deployment vmware-system-csi/vsphere-csi-controller"],
            vec!["DaemonSet vmware-system-csi/vsphere-csi-node"],
        ]
    );
    let namespace = find(&rendered, "Namespace vmware-system-csi");
    let label =
        |mode: &str| namespace["metadata"]["labels"][format!("pod-security.kubernetes.io/{mode}")].clone();
    assert_eq!([label("enforce"), label("audit"), label("warn")], ["privileged", "privileged", "privileged"]);
    assert!(!format!("{rendered:?}").contains("c2VjcmV0"), "credentials are not printed");
    // The namespace may be in the manifests.
    let with = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: vmware-system-csi\n---\n{CSI}");
    let again = render(parse(&with).unwrap(), Vec::new(), &settings(Driver::Csi)).unwrap();
    assert_eq!(again.waves[0], rendered.waves[0]);
}

#[test]
fn replicas_are_those_that_find_a_node() {
    let rows = [(0, 1), (1, 1), (2, 2), (3, 3), (5, 3)];
    for (control_plane_nodes, wanted) in rows {
        let settings = Settings { control_plane_nodes, ..settings(Driver::Csi) };
        let controller =
            find(&rendered(CSI, &settings), "Deployment vmware-system-csi/vsphere-csi-controller");
        assert_eq!(controller["spec"]["replicas"], wanted, "{control_plane_nodes}");
    }
    let one = CSI.replace("replicas: 3", "replicas: 1");
    let controller =
        find(&rendered(&one, &settings(Driver::Csi)), "Deployment vmware-system-csi/vsphere-csi-controller");
    assert_eq!(controller["spec"]["replicas"], 1, "never more than the project wants");
}

#[test]
fn the_directory_of_the_kubelet_is_moved_everywhere() {
    let moved = Settings { kubelet: Some("/var/data/kubelet/".to_owned()), ..settings(Driver::Csi) };
    let node = find(&rendered(CSI, &moved), "DaemonSet vmware-system-csi/vsphere-csi-node");
    let spec = &node["spec"]["template"]["spec"];
    let socket = "/var/data/kubelet/plugins/csi.vsphere.vmware.com/csi.sock";
    assert_eq!(spec["containers"][0]["env"][0]["value"], socket);
    assert_eq!(
        spec["containers"][0]["livenessProbe"]["exec"]["command"][1],
        format!("--kubelet-registration-path={socket}")
    );
    assert_eq!(spec["containers"][1]["volumeMounts"][0]["mountPath"], "/var/data/kubelet");
    assert_eq!(spec["volumes"][0]["hostPath"]["path"], "/var/data/kubelet/plugins_registry");
    assert_eq!(spec["volumes"][1]["hostPath"]["path"], "/var/data/kubelet");
    assert!(!node.to_string().contains("/var/lib/kubelet"));
    let plain = Settings { kubelet: Some("/var/lib/kubelet".to_owned()), ..settings(Driver::Csi) };
    assert_eq!(rendered(CSI, &plain), rendered(CSI, &settings(Driver::Csi)));
    let bad = Settings { kubelet: Some("kubelet".to_owned()), ..settings(Driver::Csi) };
    assert!(one_problem(CSI, &bad).starts_with("kubeletPath: \"kubelet\" is no directory"));
}

#[test]
fn an_override_changes_the_registry_or_the_digest_and_never_a_sidecar() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let images = Images {
        registries: texts(&[("registry.k8s.io", "mirror.example.com:5000/k8s")]),
        digests: texts(&[("registry.k8s.io/csi-vsphere/driver:v3.7.4", &digest)]),
    };
    let settings = Settings { images, version: Version::new(3, 7, 4), ..settings(Driver::Csi) };
    assert_eq!(
        rendered(CSI, &settings).images,
        [
            format!("mirror.example.com:5000/k8s/csi-vsphere/driver:v3.7.4@{digest}"),
            "mirror.example.com:5000/k8s/csi-vsphere/syncer:v3.7.4".to_owned(),
            "mirror.example.com:5000/k8s/sig-storage/csi-attacher:v4.9.0".to_owned(),
            "mirror.example.com:5000/k8s/sig-storage/csi-node-driver-registrar:v2.13.0".to_owned(),
        ]
    );
}

#[test]
fn overrides_that_would_do_something_else_are_refused() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let with = |registries: &[(&str, &str)], digests: &[(&str, &str)]| {
        let images = Images { registries: texts(registries), digests: texts(digests) };
        one_problem(CSI, &Settings { images, ..settings(Driver::Csi) })
    };
    for to in ["mirror.io/k8s:v1", "", "https://mirror.io", "mirror.io/k8s@sha256:ab", "mirror .io"] {
        let found = with(&[("registry.k8s.io", to)], &[]);
        assert!(
            found.starts_with(&format!("images.registries[registry.k8s.io]: {to:?} is no registry")),
            "{found}"
        );
    }
    let found = with(&[], &[("registry.k8s.io/csi-vsphere/driver:v3.7.3", "sha256:ab")]);
    assert!(found.contains("\"sha256:ab\" is no digest"), "{found}");
    let found = with(&[], &[("registry.k8s.io/other", &digest)]);
    assert!(found.contains("the image has no tag"), "{found}");
    let found = with(&[], &[("registry.k8s.io/csi-vsphere/driver:v3.7.2", &digest)]);
    let wanted = "images.digests[registry.k8s.io/csi-vsphere/driver:v3.7.3]: it is pinned for v3.7.2 only, \
                  and this tag is used: add its digest";
    assert_eq!(found, wanted);
}

#[test]
fn manifests_of_another_version_or_driver_are_refused() {
    let older = Settings { version: Version::new(3, 6, 0), ..settings(Driver::Csi) };
    assert_eq!(
        problems(CSI, &older),
        ["manifests: they are those of CSI 3.7.3, and 3.6.0 is required: use those of that version"]
    );
    let found = problems(CPI, &settings(Driver::Csi)).join("\n");
    assert!(found.contains("no Pod of CSI mounts the Secret vsphere-config-secret"), "{found}");
    assert!(found.contains("no container runs an image of CSI"), "{found}");
    let found = problems(CSI, &settings(Driver::Cpi)).join("\n");
    assert!(
        found.contains("CPI mounts the ConfigMap cloud-config") || found.contains("no Pod of CPI mounts"),
        "{found}"
    );
    assert!(found.contains(
        "Deployment vmware-system-csi/vsphere-csi-controller is in a namespace that is not the driver's"
    ));
}

#[test]
fn resources_tolerations_and_features_are_set_where_they_exist() {
    let resources = ResourceRequirements {
        requests: Some(BTreeMap::from([("cpu".to_owned(), serde_json::from_value(json!("100m")).unwrap())])),
        ..ResourceRequirements::default()
    };
    let toleration = Toleration {
        key: Some("dedicated".to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    let mut settings = Settings {
        resources: map(&[("vsphere-syncer", resources.clone())]),
        tolerations: vec![toleration.clone(), toleration],
        features: map(&[("trigger-csi-fullsync", true)]),
        ..settings(Driver::Csi)
    };
    let changed = rendered(CSI, &settings);
    let controller = find(&changed, "Deployment vmware-system-csi/vsphere-csi-controller");
    let spec = &controller["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][2]["resources"], json!({"requests": {"cpu": "100m"}}));
    assert_eq!(spec["containers"][0]["resources"], Value::Null);
    let wanted = json!([
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Exists"},
    ]);
    assert_eq!(spec["tolerations"], wanted);
    let features =
        find(&changed, "ConfigMap vmware-system-csi/internal-feature-states.csi.vsphere.vmware.com");
    assert_eq!(features["data"], json!({"trigger-csi-fullsync": "true", "high-pv-node-density": "false"}));
    settings.features = map(&[("csi-migration", true)]);
    let wanted = "features.csi-migration: CSI 3.7.3 does not know the feature; it knows high-pv-node-density, \
                  trigger-csi-fullsync: remove it";
    assert_eq!(one_problem(CSI, &settings), wanted);
    settings.features = BTreeMap::new();
    settings.resources = map(&[("syncer", resources)]);
    assert_eq!(
        one_problem(CSI, &settings),
        "resources.syncer: CSI has no such container: write one of csi-attacher, node-driver-registrar, vsphere-csi-controller, \
         vsphere-csi-node, vsphere-syncer"
    );
    let cpi = Settings { features: map(&[("x", true)]), ..self::settings(Driver::Cpi) };
    assert_eq!(
        one_problem(CPI, &cpi),
        "features.x: CPI 1.36.0 does not know the feature; it knows none: remove it"
    );
}

#[test]
fn a_second_pass_changes_nothing() {
    let settings =
        Settings { kubelet: Some("/data/k".to_owned()), control_plane_nodes: 1, ..settings(Driver::Csi) };
    let once = rendered(CSI, &settings);
    let twice = render(once.waves.concat(), Vec::new(), &settings).unwrap();
    assert_eq!(twice, once);
}

#[test]
fn files_are_read_as_kubectl_reads_them() {
    let text = "# only a comment\n---\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  \
                metadata: {name: a, namespace: b}\n  \
                mode: 0400\n  flag: yes\n---\nnull\n";
    let objects = parse(text).unwrap();
    assert_eq!(objects.len(), 1);
    assert_eq!(
        (objects[0].data["mode"].as_u64(), objects[0].data["flag"].as_bool()),
        (Some(256), Some(true))
    );
    for (bad, wanted) in [
        ("a: [", "manifests: the file is no YAML"),
        ("- a", "manifests: document 1 is no object of Kubernetes"),
        ("kind: ConfigMap\nmetadata: {name: a}", "manifests: document 1 has no apiVersion, kind or name"),
        ("metadata: {name: a}", "manifests: document 1 has no apiVersion, kind or name"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {}",
            "manifests: document 1 has no apiVersion, kind or name",
        ),
    ] {
        let error = parse(bad).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{bad}: {error}");
    }
    let large = format!("a: {}", "x".repeat(2 * 1024 * 1024));
    assert!(parse(&large).unwrap_err().message.contains("no driver needs more"));
}

#[test]
fn objects_that_cannot_be_applied_are_named() {
    let twice = format!("{CPI}\n---\n{}", CPI.split("---\n").next().unwrap());
    assert!(
        one_problem(&twice, &settings(Driver::Cpi))
            .ends_with("ServiceAccount kube-system/cloud-controller-manager is there twice")
    );
    let nowhere = CPI.replace("  namespace: kube-system\n", "");
    let found = problems(&nowhere, &settings(Driver::Cpi));
    assert!(found.iter().all(|problem| problem.ends_with("has no namespace")), "{found:?}");
    let namespace = format!("{CSI}\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: other\n");
    assert!(one_problem(&namespace, &settings(Driver::Csi)).ends_with("Namespace other is not the driver's"));
    let elsewhere = CPI.replace("namespace: kube-system", "namespace: default");
    let found = problems(&elsewhere, &settings(Driver::Cpi));
    assert!(
        found.iter().all(|problem| problem.ends_with("is in a namespace that is not the driver's")),
        "{found:?}"
    );
    let role = format!(
        "{CPI}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: a\n  namespace: kube-system\n"
    );
    assert!(one_problem(&role, &settings(Driver::Cpi)).ends_with("has a namespace, but its kind has none"));
}
