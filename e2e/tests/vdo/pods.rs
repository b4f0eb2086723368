//! Pods of a driver that end again and again: the status says why.

use e2e::{PATIENCE, Rig as _, VdoRig};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use testbed::{FileReply, FileServer, eventually};

use crate::manifests::matrix;

const LOG: &str =
    "I1201 starting with Bearer abc\nE1201 connect: ServerFaultCode: Login failure\nF1201 goodbye\n";

/// The kubelet's part is played: the Pod's status, and the log that the API server asks for at the Node.
#[tokio::test]
async fn the_status_explains_what_a_driver_has_written_into_its_log() {
    let rig = VdoRig::start().await.unwrap();
    let kubelet = FileServer::start(|request| {
        let is_log =
            request.path.starts_with("/containerLogs/kube-system/") && request.path.contains("previous=true");
        if is_log { FileReply::file(LOG) } else { FileReply::not_found() }
    })
    .await
    .unwrap();
    rig.leave_pods("cloud-provider-vsphere");
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();

    let pods: Api<Pod> = Api::namespaced(rig.client(), "kube-system");
    let pod = eventually("a Pod of CPI is bound", PATIENCE, async || {
        let pods = pods.list(&ListParams::default()).await?.items;
        let of_cpi = |pod: &&Pod| pod.name_any().starts_with("vsphere-cloud-controller-manager");
        let bound = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        Ok(pods.iter().filter(of_cpi).find(bound).cloned())
    })
    .await
    .unwrap();
    let spec = pod.spec.as_ref().unwrap();
    let nodes: Api<Node> = Api::all(rig.client());
    let port: u16 = kubelet.host().rsplit(':').next().unwrap().parse().unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    let (params, node) = (PatchParams::default(), spec.node_name.as_deref().unwrap());
    nodes.patch_status(node, &params, &Patch::Merge(status)).await.unwrap();
    let failed = json!({"status": {"containerStatuses": [{
        "name": spec.containers[0].name, "image": spec.containers[0].image, "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
    }]}});
    pods.patch_status(&pod.name_any(), &params, &Patch::Merge(failed)).await.unwrap();

    let message = eventually("the status explains it", PATIENCE, async || {
        let config = rig.get(rig.namespace(), "vdoconfig", "vdo").await?.unwrap_or_default();
        let found = e2e::condition(&config["status"], "CPIAvailable").cloned().unwrap_or_default();
        let message = found["message"].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(message.contains("CPI says that a vCenter refuses the account"), "{found}");
        Ok(Some(message))
    })
    .await
    .unwrap();
    assert!(
        message.contains("ends with exit code 1") && message.contains("correct user name and password"),
        "{message}"
    );
    assert!(!message.contains("Bearer") && !message.contains("goodbye"), "{message}");
}
