//! `vdo migrate`: from the original operator, with the drivers that it has installed, to this one, and no Pod of a driver is replaced.

use data_encoding::BASE64;
use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::{Value, json};
use testbed::eventually;

const NAMESPACE: &str = "vmware-system-vdo";
const CPI: (&str, &str, &str) = ("kube-system", "daemonset", "vsphere-cloud-controller-manager");
const WORKLOADS: [(&str, &str, &str); 3] = [
    CPI,
    ("vmware-system-csi", "daemonset", "vsphere-csi-node"),
    ("vmware-system-csi", "deployment", "vsphere-csi-controller"),
];
const CSI_SECRET: (&str, &str, &str) = ("vmware-system-csi", "secret", "vsphere-config-secret");
/// The address of the vCenter that the original has written.
const VCENTER: &str = "10.0.0.9";
/// Kinds that the original does not have.
const NEW_KINDS: [&str; 3] = ["driversets", "vsphereconnections", "compatibilitymatrices"];
const PART_OF: &str = "applyset.kubernetes.io/part-of";
const MANIFEST: &str = include_str!("../../../operators/vdo/src/render/tests/cpi.yaml");
const CSI_MANIFEST: &str = include_str!("../../../operators/vdo/src/render/tests/csi.yaml");

/// Returns CPI's manifests as the original's matrix names them: without samples, and with the ConfigMap that the original makes.
fn cpi() -> String {
    let is_sample = |text: &&str| text.contains("kind: Secret") || text.contains("kind: ConfigMap");
    let objects: Vec<_> = MANIFEST.split("\n---\n").filter(|text| !is_sample(text)).collect();
    // The project's manifests have these tolerations too.
    let early = ["node.cloudprovider.kubernetes.io/uninitialized", "node.kubernetes.io/not-ready"];
    let tolerations = early.map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
    let spec = format!("    spec:\n      tolerations: {}\n      containers:", json!(tolerations));
    let text = objects.join("\n---\n").replace("vsphere-cloud-config", "cloud-config");
    text.replace("    spec:\n      containers:", &spec)
}

/// Returns the objects of the original operator, but for its kinds.
fn original() -> Vec<Value> {
    let of = |api: &str, kind: &str, name: &str, more: Value| {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {
            "name": format!("vdo-{name}"), "labels": {"vdo.vmware.com/managed-by": "vdo"}}});
        if !kind.starts_with("Cluster") {
            object["metadata"]["namespace"] = NAMESPACE.into();
        }
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let rbac = "rbac.authorization.k8s.io/v1";
    let bound = |kind: &str, role: &str| {
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": format!("vdo-{role}")},
            "subjects": [{"kind": "ServiceAccount", "name": "vdo-controller-manager", "namespace": NAMESPACE}]})
    };
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let labels = json!({"control-plane": "controller-manager", "vdo.vmware.com/managed-by": "vdo"});
    let manager = json!({"name": "manager", "image": "vmware.com/vdo:b1fe3ba"});
    let deployment = json!({"spec": {"selector": {"matchLabels": labels}, "template": {
        "metadata": {"labels": labels},
        "spec": {"containers": [manager], "hostNetwork": true, "tolerations": [{"operator": "Exists"}]},
    }}});
    let service = json!({"spec": {"ports": [{"port": 8443}], "selector": labels}});
    let lock = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "540e4412.vmware.com", "namespace": NAMESPACE}});
    vec![
        of("v1", "ServiceAccount", "controller-manager", json!({})),
        of(rbac, "Role", "leader-election-role", rules.clone()),
        of(rbac, "RoleBinding", "leader-election-rolebinding", bound("Role", "leader-election-role")),
        of(rbac, "ClusterRole", "manager-role", rules),
        of(rbac, "ClusterRoleBinding", "manager-rolebinding", bound("ClusterRole", "manager-role")),
        of("v1", "ConfigMap", "manager-config", json!({"data": {}})),
        of("v1", "Service", "controller-manager-metrics-service", service),
        of("apps/v1", "Deployment", "controller-manager", deployment),
        lock,
    ]
}

/// Returns what the original configures the drivers with. It identifies the cluster by the vCenter's address.
fn configuration() -> Vec<Value> {
    let global = format!(
        "[Global]\ncluster-id = \"{VCENTER}\"\n\n[VirtualCenter \"{VCENTER}\"]\ninsecure-flag = \"true\"\n"
    );
    let conf = json!({"vsphere.conf": format!("vcenter:\n    {VCENTER}:\n        server: {VCENTER}\n")});
    let name = |(namespace, _, name): (&str, &str, &str)| json!({"namespace": namespace, "name": name});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vmware-system-csi"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": conf,
            "metadata": {"name": "cloud-config", "namespace": "kube-system"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": name(CSI_SECRET),
            "stringData": {"csi-vsphere.conf": global}}),
    ]
}

/// Writes the matrix as the original's manifests do, with these versions of CPI.
async fn write_matrix(rig: &VdoRig, versions: &[&str], auto_upgrade: &str) {
    let (cloud, storage) = (rig.publish("/cpi.yaml", &cpi()), rig.publish("/csi.yaml", CSI_MANIFEST));
    let release =
        |file: &str| json!({"vSphere": {"min": "7.0"}, "k8s": {"min": "1.30"}, "deploymentPath": [file]});
    let cpi: serde_json::Map<_, _> =
        versions.iter().map(|version| ((*version).to_owned(), release(&cloud))).collect();
    let matrix = json!({"CPI": cpi, "CSI": {"3.7.3": release(&storage)}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "compat-matrix-config", "namespace": rig.namespace(), "labels": {"vdo.vmware.com/managed-by": "vdo"}},
        "data": {"auto-upgrade": auto_upgrade, "versionConfigContent": matrix.to_string()}});
    rig.kubectl_stdin(&["apply", "-f", "-"], &map.to_string()).await.unwrap();
}

/// Puts the original into the cluster, as it is once it has installed both drivers.
async fn the_original_runs(rig: &VdoRig) {
    rig.set_up_nodes().await.unwrap();
    rig.register_csi().await.unwrap();
    let items = [original(), configuration()].concat();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    for text in [list.to_string(), cpi(), CSI_MANIFEST.to_owned()] {
        rig.control_plane().kubectl_stdin(&["create", "-f", "-"], &text).await.unwrap();
    }
    rig.apply_configs().await.unwrap();
    for kind in NEW_KINDS {
        serve(rig, kind, false).await;
    }
}

/// Has the API server serve a kind, or not.
async fn serve(rig: &VdoRig, kind: &str, is_served: bool) {
    let patch = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": is_served}]).to_string();
    let crd = format!("{kind}.vdo.vmware.com");
    rig.kubectl(&["patch", "crd", &crd, "--type=json", "-p", &patch]).await.unwrap();
    eventually("the API server knows it", PATIENCE, async || {
        let answers = rig.kubectl(&["get", kind]).await.is_ok();
        Ok((answers == is_served).then_some(()))
    })
    .await
    .unwrap();
}

async fn get(rig: &VdoRig, (namespace, kind, name): (&str, &str, &str)) -> Option<Value> {
    rig.get(namespace, kind, name).await.unwrap()
}

/// Returns the UID of each workload, and what its Pods are made of.
async fn workloads(rig: &VdoRig) -> Vec<Value> {
    let mut all = Vec::new();
    for workload in WORKLOADS {
        let found = get(rig, workload).await.unwrap();
        all.push(json!([found["metadata"]["uid"], found["spec"]["template"]]));
    }
    all
}

#[tokio::test]
async fn drivers_of_the_original_are_adopted_as_they_run() {
    let rig = VdoRig::start().await.unwrap();
    the_original_runs(&rig).await;
    let before = workloads(&rig).await;

    // What would replace Pods needs a word more.
    let migrate = ["migrate", "--image=registry.example.com/vdo:9"];
    write_matrix(&rig, &["1.36.0", "1.36.1"], "enabled").await;
    let refused = rig.run(&[&migrate[..], &["--yes"]].concat()).await.unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in
        ["the Pods are replaced of DaemonSet kube-system/vsphere-cloud-controller-manager", "--replace-pods"]
    {
        assert!(refused.error.contains(part), "no {part}: {refused:?}");
    }

    // Without upgrades, the version that runs stays.
    write_matrix(&rig, &["1.36.0", "1.36.1"], "disabled").await;
    let shown = rig.run(&[&migrate[..], &["--dry-run"]].concat()).await.unwrap();
    assert_eq!(shown.code, 0, "{shown:?}");
    for part in [
        "- Deployment vmware-system-vdo/vdo-controller-manager\n",
        "- Lease vmware-system-vdo/540e4412.vmware.com\n",
        "- ClusterRole vdo-manager-role\n",
        "  CPI 1.36.0: adopt\n",
        "  CSI 3.7.3: adopt\n",
        "no Pod of a driver is replaced\n",
    ] {
        assert!(shown.out.contains(part), "no {part}: {}", shown.out);
    }
    assert!(!shown.out.contains("- ConfigMap default/compat-matrix-config"), "{}", shown.out);
    assert!(get(&rig, (NAMESPACE, "deployment", "vdo-controller-manager")).await.is_some());
    assert_eq!(workloads(&rig).await, before, "a dry run changes nothing");

    let (migrated, operator) = tokio::join!(
        async { rig.run(&[&migrate[..], &["--yes", "--timeout=4m"]].concat()).await.unwrap() },
        async {
            // It runs once it is deployed, which takes over the kinds.
            serves_new_kinds(&rig).await;
            let mut operator = rig.spawn(&rig.launch()).unwrap();
            operator.ready().await.unwrap();
            operator
        }
    );
    assert_eq!(migrated.code, 0, "{migrated:?}");
    for part in
        ["removed: ServiceAccount ", "adopted: CPI\n", "adopted: CSI\n", "no Pod of a driver was replaced\n"]
    {
        assert!(migrated.out.contains(part), "no {part}: {}", migrated.out);
    }
    is_adopted(&rig, &before).await;
    rig.settled(PATIENCE).await.unwrap();
    assert_eq!(workloads(&rig).await, before);
    let again = rig.run(&migrate).await.unwrap();
    assert!(again.code == 1 && again.error.contains("nothing of the original vdo is here"), "{again:?}");
    drop(operator);
}

async fn serves_new_kinds(rig: &VdoRig) {
    eventually("the new kinds are served", PATIENCE, async || {
        for kind in NEW_KINDS {
            if rig.kubectl(&["get", kind]).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// The drivers are vdo's, with what they had, and the original is gone.
async fn is_adopted(rig: &VdoRig, before: &[Value]) {
    assert_eq!(workloads(rig).await, before);
    for workload in WORKLOADS {
        let labels = get(rig, workload).await.unwrap()["metadata"]["labels"].clone();
        assert!(labels[PART_OF].is_string(), "{workload:?}: {labels}");
    }
    for object in original() {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        assert!(get(rig, (NAMESPACE, kind, name)).await.is_none(), "{kind} {name}");
    }
    assert!(get(rig, (rig.namespace(), "configmap", "compat-matrix-config")).await.is_some());
    let config = get(rig, (rig.namespace(), "vdoconfig", "vdo")).await.unwrap();
    assert!(config["metadata"]["annotations"]["vdo.vmware.com/adopt"].is_null(), "{config}");
    // The vCenter knows the volumes by this id.
    let conf = get(rig, CSI_SECRET).await.unwrap()["data"]["csi-vsphere.conf"].clone();
    let conf = String::from_utf8(BASE64.decode(conf.as_str().unwrap().as_bytes()).unwrap()).unwrap();
    let id = conf.lines().find(|line| line.trim_start().starts_with("cluster-id")).unwrap_or_default();
    assert!(id.contains(VCENTER) && conf.contains("thumbprint"), "{id}");
}
