//! What was restored from a backup.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::api::Api;

use super::*;

/// Neither the Secret nor the workload cluster says that AVI has another password: the mark of the user does.
#[tokio::test]
async fn ako_gets_a_password_that_avi_has_where_all_was_restored_from_before_a_change() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let mut operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    let guest = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
    rig.condition("w1", "AKOInstalled", "True").await.unwrap();
    let system = guest.workload.plane().real_name("avi-system");
    let places = [("default", "w1-avi-credentials"), (&*system, "avi-secret")];
    let api = |namespace: &str| Api::<KubeSecret>::namespaced(rig.site().client(), namespace);
    let mut backup = Vec::new();
    for (namespace, name) in places {
        backup.push(api(namespace).get(name).await.unwrap());
    }
    rig.rotate(&guest.workload, "1").await.unwrap();

    operator.process.kill().await;
    for ((namespace, name), mut secret) in places.into_iter().zip(backup) {
        let (annotations, data) = (secret.metadata.annotations.take(), secret.data.take());
        let patch = json!({ "metadata": { "annotations": annotations }, "data": data }).to_string();
        let patch = ["-n", namespace, "patch", "secret", name, "--type=merge", "-p", &patch];
        rig.site().control_plane().kubectl(&patch).await.unwrap();
    }
    let password = async || {
        let of = |secret: KubeSecret| secret.data.unwrap_or_default().remove("password");
        of(api("default").get("w1-avi-credentials").await.unwrap())
    };
    let before = password().await;
    let writes = || {
        let requests = avi.requests();
        requests.iter().filter(|one| one.method == "PUT" && one.path.starts_with("/api/user/")).count()
    };
    let known = writes();
    let operator = rig.operator().await.unwrap();
    eventually("the user has another password", PATIENCE, async || {
        Ok((writes() > known && password().await != before).then_some(()))
    })
    .await
    .unwrap();
    // The annotation is served: this waits until AKO has what the Secret has.
    rig.rotate(&guest.workload, "1").await.unwrap();
    rig.condition("w1", "AKOInstalled", "True").await.unwrap();
    assert_eq!(writes(), known + 1, "once: {}", operator.process.log());
}
