//! The API that users know: what the original accepted is accepted, what it refused is refused in plain
//! words, and `kubectl` shows what it showed.

use e2e::{VmRig, group};
use serde_json::json;
use testbed::project_root;

use crate::{place, start_operator};

#[tokio::test(flavor = "multi_thread")]
async fn users_objects_apply_unchanged() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let samples = project_root().unwrap().join("deploy/vm-operator/samples");
    rig.kubectl(&["apply", "-f", samples.to_str().unwrap()]).await.unwrap();
    rig.kubectl(&["scale", "vg/vmgroup-sample", "--replicas=0"]).await.unwrap();

    let columns = rig.kubectl(&["get", "vg"]).await.unwrap();
    let header: Vec<&str> = columns.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "PHASE", "CURRENT", "DESIRED", "CPU", "MEMORY", "TEMPLATE", "LAST_MESSAGE"]);

    for (field, value, says) in [
        ("cpu", 5, "less than or equal to 4"),
        ("cpu", 0, "greater than or equal to 1"),
        ("memory", 9, "less than or equal to 8"),
        ("replicas", -1, "greater than or equal to 0"),
    ] {
        let mut bad = group("bad", 1, "photon");
        bad["spec"][field] = value.into();
        let error = rig.kubectl_stdin(&["create", "-f", "-"], &bad.to_string()).await.unwrap_err();
        assert!(format!("{error:#}").contains(says), "{error:#}");
    }
    for field in ["cpu", "memory", "replicas", "template"] {
        let mut bad = group("bad", 1, "photon");
        bad["spec"].as_object_mut().unwrap().remove(field);
        let error = rig.kubectl_stdin(&["create", "-f", "-"], &bad.to_string()).await.unwrap_err();
        assert!(format!("{error:#}").contains(&format!("spec.{field}")), "{error:#}");
    }
    for path in ["vg.spec.cpu", "vg.status.readyReplicas", "vgi.spec.instanceUuid", "vgi.status.task"] {
        let text = rig.kubectl(&["explain", path]).await.unwrap();
        assert!(text.contains("DESCRIPTION:") && !text.contains("<empty>"), "{text}");
    }
}

/// The contract checks that they apply.
#[tokio::test(flavor = "multi_thread")]
async fn every_overlay_has_its_setting() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    for (overlay, has) in [("insecure-dev", "- --insecure"), ("vcenter-ca", "value: /etc/vcenter-ca/ca.crt")]
    {
        let overlay = project_root().unwrap().join("deploy/vm-operator/overlays").join(overlay);
        let text = rig.kubectl(&["kustomize", overlay.to_str().unwrap()]).await.unwrap();
        assert!(text.contains(has), "{text}");
    }
}

/// A VmInstance that a person creates gets no machine and can be deleted.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_created_by_hand_is_left_alone() {
    let (_place, rig, _operator) = start_operator().await;
    let instance = json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmInstance",
        "metadata": { "name": "by-hand" },
        "spec": {
            "group": "none", "groupUid": "none", "slot": 0, "vmName": "by-hand", "instanceUuid": "00000000-0000-4000-8000-000000000000",
            "cpu": 1, "memory": 1, "template": "photon"
        },
    });
    rig.kubectl_stdin(&["apply", "-f", "-"], &instance.to_string()).await.unwrap();
    rig.kubectl(&["wait", "vgi/by-hand", "--for=condition=Ready=False", "--timeout=180s"]).await.unwrap();
    let text = rig.kubectl(&["describe", "vgi/by-hand"]).await.unwrap();
    assert!(text.contains("InvalidInstance"), "{text}");
    rig.kubectl(&["delete", "vgi/by-hand", "--timeout=180s"]).await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
}
