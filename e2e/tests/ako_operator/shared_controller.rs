//! Two management clusters that share an AVI controller: the other one has Clusters of the same namespace and names.

use avi_simulator::{Config as SimulatorConfig, Control, Fault, Simulator};
use e2e::Guest;

use super::*;

const THEIR_PASSWORD: &str = "Of-the-0ther-one";

/// Returns a user of the name of a Cluster's, as the original operator makes it. `mark`: as this operator does.
fn user(name: &str, mark: Option<&str>) -> Value {
    let access = json!([{ "tenant_ref": "/api/tenant/?name=admin", "role_ref": "/api/role/?name=ako-essential-role" }]);
    let full_name = mark.map(|id| format!("ako-operator/{id}"));
    json!({ "name": name, "username": name, "password": THEIR_PASSWORD, "access": access, "full_name": full_name })
}

/// Returns an object that AKO of such a Cluster has made.
fn pool(name: &str, cluster: &str) -> Value {
    json!({ "name": name, "cloud_ref": "/api/cloud/?name=Default-Cloud", "created_by": format!("ako-default-{cluster}") })
}

async fn is_taken(rig: &AkoRig, cluster: &str) {
    rig.condition_is(cluster, "AKOInstalled", |condition| condition["reason"] == "AviUserTaken")
        .await
        .unwrap();
}

async fn says_reason(rig: &AkoRig, cluster: &str, reason: &str) {
    rig.condition_is(cluster, "AKOInstalled", |condition| condition["reason"] == reason).await.unwrap();
}

/// Wakes a Cluster.
async fn touch(rig: &AkoRig, cluster: &str) {
    let touch = format!("touched={}", rig.simulator.control().requests().len());
    rig.management.kubectl(&["label", "cluster", cluster, "--overwrite", &touch]).await.unwrap();
}

/// Whatever fails before or meanwhile, and when the Cluster goes. `w2` is taken between its Secret and the request that makes its user. `w3` is
/// this management cluster's own: the original operator has made its user.
#[tokio::test]
async fn what_another_management_cluster_has_on_avi_is_left_alone() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
    let users = ["w1", "w3"].map(|cluster| user(&format!("{cluster}-default-ako-user"), None));
    let other = user("x-other-ako-user", Some("there"));
    avi.seed_value(json!({ "user": users, "pool": [pool("theirs", "w1"), pool("theirs-too", "w2")] }))
        .unwrap();
    avi.seed_value(json!({ "user": [other] })).unwrap();
    let before = avi.snapshot();

    avi.fault(Fault::status(503).on("GET", "/api/user").times(1));
    let first = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
    is_taken(&rig, "w1").await;
    assert!(avi.requests().iter().any(|request| request.fault), "the first look has failed");
    first.workload.plane().cut();
    touch(&rig, "w1").await;
    says_reason(&rig, "w1", "ClusterUnreachable").await;
    first.workload.plane().restore().await.unwrap();
    touch(&rig, "w1").await;
    is_taken(&rig, "w1").await;

    let second = is_taken_between(&rig, &avi).await;
    let changed = avi.diff(&before);
    assert!(changed.removed.is_empty() && changed.changed.is_empty(), "{changed:?}");
    let added: Vec<_> = changed.added.into_iter().map(|object| object.name).collect();
    assert_eq!(added, ["w2-default-ako-user"]);
    is_adopted(&rig, &avi).await;

    for guest in [first, second] {
        guest.workload.delete().await.unwrap();
        guest.workload.deleted(PATIENCE).await.unwrap();
    }
    rig.site().remove("adc").await.unwrap();
    let removed: Vec<_> = avi.diff(&before).removed.into_iter().map(|object| object.name).collect();
    for kept in ["w1-default-ako-user", "x-other-ako-user", "theirs", "theirs-too", "ako-essential-role"] {
        assert!(!removed.iter().any(|name| name == kept), "{kept}: {removed:?}");
    }
    let user = "w2-default-ako-user";
    assert!(avi.store(|store| store.objects("user").any(|object| object["name"] == user)), "{removed:?}");
    let events = ["get", "events", "-A", "--field-selector=reason=AviRoleKept", "-o", "name"];
    assert_ne!(rig.management.kubectl(&events).await.unwrap(), "", "{}", operator.process.log());
}

/// The other one makes its user after this one has found the name free.
async fn is_taken_between(rig: &AkoRig, avi: &Control) -> Guest {
    avi.fault(Fault::status(503).on("POST", "/api/user"));
    let guest = rig.with_ako(rig.cluster("w2", true).await.unwrap()).await.unwrap();
    let next = ["get", "secret", "w2-avi-credentials", "-o", "jsonpath={.data.nextPassword}"];
    eventually("its Secret is there", PATIENCE, async || {
        Ok((!rig.management.kubectl(&next).await.unwrap_or_default().is_empty()).then_some(()))
    })
    .await
    .unwrap();
    avi.seed_value(json!({ "user": [user("w2-default-ako-user", Some("there"))] })).unwrap();
    avi.clear_faults();
    is_taken(rig, "w2").await;
    guest
}

/// The Secret of the original says whose the user is. It gets the mark, and goes with its Cluster.
async fn is_adopted(rig: &AkoRig, avi: &Control) {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "type": "avi.cluster.x-k8s.io/secret",
        "metadata": { "name": "w3-avi-credentials", "namespace": "default" },
        "stringData": { "username": "w3-default-ako-user", "password": THEIR_PASSWORD,
            "certificateAuthorityData": rig.simulator.ca_pem() } });
    let create = ["create", "-f", "-"];
    rig.site().control_plane().kubectl_stdin(&create, &secret.to_string()).await.unwrap();
    let guest = rig.with_ako(rig.cluster("w3", true).await.unwrap()).await.unwrap();
    rig.condition("w3", "AKOInstalled", "True").await.unwrap();
    let named =
        |name: &str| avi.store(|store| store.objects("user").find(|object| object["name"] == name).cloned());
    let id = ["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"];
    let id = rig.management.kubectl(&id).await.unwrap();
    let found = named("w3-default-ako-user").unwrap();
    assert_eq!(found["full_name"], format!("ako-operator/{id}"), "its password has no id");
    // A person deletes the Secret: the mark says whose the user is.
    rig.management.kubectl(&["delete", "secret", "w3-avi-credentials"]).await.unwrap();
    rig.rotate(&guest.workload, "1").await.unwrap();
    guest.workload.delete().await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();
    assert_eq!(named("w3-default-ako-user"), None);
}

/// The name is looked for at the place to which a Cluster is to move, before AKO leaves the one where it works.
#[tokio::test]
async fn a_cluster_does_not_move_to_where_another_one_has_its_name() {
    let walk = Walk::start().await;
    let (made, namespace) = (on_avi(&walk, "virtualservice"), AkoRig::SUBJECT.namespace);
    let second = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let avi = second.control();
    avi.seed(include_str!("../../../crates/avi-simulator/samples/vips.yaml")).unwrap();
    avi.seed_value(json!({ "user": [{ "name": "w1-default-ako-user", "username": "w1-default-ako-user",
        "password": THEIR_PASSWORD, "full_name": "ako-operator/there" }], "pool": [pool("theirs", "w1")] }))
        .unwrap();
    let before = avi.snapshot();
    let secret = |name: &str, data: Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace }, "stringData": data });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        secret("second-admin", json!({ "username": "admin", "password": second.admin_password() })),
        secret("second-ca", json!({ "certificateAuthorityData": second.ca_pem() })),
    ]});
    walk.rig.site().control_plane().kubectl_stdin(&["apply", "-f", "-"], &list.to_string()).await.unwrap();
    let mut config = walk.rig.config();
    config["metadata"]["name"] = "second".into();
    config["spec"]["clusterSelector"] = json!({ "matchLabels": { "site": "second" } });
    config["spec"]["dataNetwork"]["ipPools"] = json!([]);
    config["spec"]["controller"] = second.url().trim_start_matches("https://").into();
    config["spec"]["adminCredentialRef"]["name"] = "second-admin".into();
    config["spec"]["certificateAuthorityRef"]["name"] = "second-ca".into();
    walk.rig.site().apply(None, &config).await.unwrap();
    walk.rig.site().ready_within("second", PATIENCE, |_| true).await.unwrap();
    let moves = "ako-operator.network.tkg.tanzu.vmware.com/move-to=second";
    walk.rig.management.kubectl(&["annotate", "cluster", CLUSTER, moves]).await.unwrap();
    let labels = ["label", "cluster", CLUSTER, "--overwrite", "site=second", &format!("{LABEL}=second")];
    walk.rig.management.kubectl(&labels).await.unwrap();

    walk.says("AKOInstalled", "True AviUserTaken").await;
    walk.explains("has no effect until AKO can come from \"second\": AVI has a user w1-default-ako-user")
        .await;
    assert_eq!(on_avi(&walk, "virtualservice"), made);
    assert_eq!(walk.ako.starts(), 1, "it was not rolled");
    let changed = avi.diff(&before);
    assert!(changed.removed.is_empty() && changed.changed.is_empty(), "{changed:?}");

    // The other one lets go of the name.
    let credentials = Credentials::password("admin", Secret::new(second.admin_password()));
    let mut client = Config::new(second.url(), credentials);
    client.trust = Trust::CaBundle(second.ca_pem().as_bytes().to_vec());
    let client = Avi::start(client).unwrap();
    let (api, kind) = (client.api(Scope::admin()), Resource::any("user"));
    let found = api.by_name(kind, "w1-default-ako-user", &Query::new()).await.unwrap().at_most_one().unwrap();
    api.delete(kind, &found.unwrap().meta.uuid).await.unwrap();
    client.close().await.unwrap();
    touch(&walk.rig, CLUSTER).await;
    walk.says("AKOInstalled", "True AKOInstalled").await;
    assert_eq!(walk.users(), <[String; 0]>::default(), "nothing of it is left where it was");
}
