//! Must hold 8 and 9: no right too many, and the password nowhere.

use std::collections::BTreeSet;

use e2e::{PATIENCE, Rig};
use serde_json::{Value, json};
use testbed::{Outage, Vcsim, eventually};

use crate::place;

/// Looks odd in every encoding that a log, a status or a SOAP body might use.
const PASSWORD: &str = "s3cr&t<\"Pa%ss\u{fc}";

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_nowhere() {
    let _place = place().await;
    let rig = Rig::with(Vcsim::builder().password(PASSWORD)).await.unwrap();
    let operator = rig.ready_operator(&rig.launch().env("RUST_LOG", "trace")).await.unwrap();
    rig.apply("default", "web", 2, "photon").await.unwrap();
    rig.apply("default", "wrong", 1, "no-such-template").await.unwrap();
    rig.settled("default", "web", 2).await.unwrap();
    rig.reason("default", "wrong", "TemplateNotFound").await.unwrap();
    rig.vcenter.expire_sessions().await.unwrap();
    rig.apply("default", "web", 3, "photon").await.unwrap();
    rig.settled("default", "web", 3).await.unwrap();
    rig.vcenter.outage(Outage::Refuse).await.unwrap();
    rig.reason("default", "web", "VCenterUnreachable").await.unwrap();
    rig.vcenter.outage(Outage::None).await.unwrap();
    rig.settled("default", "web", 3).await.unwrap();

    let log = operator.process.log();
    assert!(log.contains("TRACE"), "the log is at trace level");
    let kubectl = &rig.control_plane;
    let objects =
        kubectl.kubectl(&["get", "vg,vgi,events,lease,configmap", "-A", "-o", "yaml"]).await.unwrap();
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    let (_, ready) = operator.get("/readyz").await.unwrap();
    let arguments = std::fs::read(format!("/proc/{}/cmdline", operator.process.pid())).unwrap();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    let encodings = [PASSWORD.to_owned(), PASSWORD.escape_debug().to_string(), "s3cr".into(), "czNjc".into()];
    for (place, text) in [
        ("log", &log),
        ("objects", &objects),
        ("metrics", &metrics),
        ("readyz", &ready),
        ("arguments", &arguments),
    ] {
        for encoding in &encodings {
            let found = text.lines().find(|line| line.contains(encoding.as_str()));
            assert_eq!(found, None, "the password is in the {place}");
        }
    }
}

/// Every right that is shipped is used, none is lacking, and one taken away is missed.
#[tokio::test(flavor = "multi_thread")]
async fn its_rights_are_those_it_uses() {
    let _place = place().await;
    let rig = Rig::builder().audit().start().await.unwrap();
    let account = format!("system:serviceaccount:{}:vm-operator", e2e::NAMESPACE);
    let launch = rig.launch().arg("--enable-leader-election");
    let mut operator = rig.ready_operator(&launch).await.unwrap();
    life(&rig).await;
    operator.process.terminate(PATIENCE).await.unwrap();

    let requests = rig.control_plane.audit_events().unwrap();
    let ours: Vec<_> = requests.iter().filter(|e| e.user == account).collect();
    let refused: Vec<_> = ours.iter().filter(|e| e.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used: BTreeSet<(String, String, String)> = ours
        .iter()
        .map(|e| {
            let slash = if e.subresource.is_empty() { "" } else { "/" };
            (e.group.clone(), format!("{}{slash}{}", e.resource, e.subresource), e.verb.clone())
        })
        .collect();
    let mut shipped = BTreeSet::new();
    for role in [
        rig.control_plane.kubectl(&["get", "clusterrole", "vm-operator", "-o", "json"]).await.unwrap(),
        rig.control_plane
            .kubectl(&["-n", e2e::NAMESPACE, "get", "role", "vm-operator-leader-election", "-o", "json"])
            .await
            .unwrap(),
    ] {
        let role: Value = serde_json::from_str(&role).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let list = |key: &str| -> Vec<String> { serde_json::from_value(rule[key].clone()).unwrap() };
            for (resource, verb) in
                list("resources").iter().flat_map(|r| list("verbs").into_iter().map(move |v| (r.clone(), v)))
            {
                shipped.insert((list("apiGroups")[0].clone(), resource, verb));
            }
        }
    }
    // Asked for by the API server on our behalf, and only where OwnerReferencesPermissionEnforcement is on.
    let group = "vm.codeconnect.vmworld.com";
    shipped.remove(&(group.to_owned(), "vmgroups/finalizers".to_owned(), "update".to_owned()));
    let unused: Vec<_> = shipped.difference(&used).collect();
    assert!(unused.is_empty(), "shipped but never used: {unused:?}");
    let extra: Vec<_> = used.difference(&shipped).collect();
    assert!(extra.is_empty(), "used but not shipped: {extra:?}");

    // The same life without one of them.
    let patch = r#"[{"op":"test","path":"/rules/1/resources/0","value":"vminstances"},
                   {"op":"test","path":"/rules/1/verbs/0","value":"create"},
                   {"op":"remove","path":"/rules/1/verbs/0"}]"#;
    rig.control_plane
        .kubectl(&["patch", "clusterrole", "vm-operator", "--type=json", "-p", patch])
        .await
        .unwrap();
    eventually("the API server knows", PATIENCE, async || {
        let ask = ["auth", "can-i", "create", "vminstances.vm.codeconnect.vmworld.com", "--as", &account];
        Ok(rig.control_plane.kubectl(&ask).await.is_err().then_some(()))
    })
    .await
    .unwrap();
    let _operator = rig.ready_operator(&launch).await.unwrap();
    rig.apply("default", "refused", 1, "photon").await.unwrap();
    let status = rig.reason("default", "refused", "KubernetesApi").await.unwrap();
    assert!(status["lastMessage"].as_str().unwrap().contains("forbidden"), "{status}");
}

/// All that the operator does, once.
async fn life(rig: &Rig) {
    rig.apply("default", "web", 2, "no-such-template").await.unwrap();
    rig.reason("default", "web", "TemplateNotFound").await.unwrap();
    rig.apply("default", "web", 2, "photon").await.unwrap();
    rig.settled("default", "web", 2).await.unwrap();
    // Made by hand where one of the operator's will be: it asks who owns it.
    let instance = json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmInstance",
        "metadata": { "name": "web-2" },
        "spec": { "group": "web", "groupUid": "another", "slot": 2, "vmName": "web-2", "instanceUuid": "00000000-0000-4000-8000-000000000000", "cpu": 1, "memory": 1, "template": "photon" },
    });
    rig.control_plane.kubectl_stdin(&["apply", "-f", "-"], &instance.to_string()).await.unwrap();
    rig.apply("default", "web", 3, "photon").await.unwrap();
    rig.reason("default", "web", "WaitingForPredecessor").await.unwrap();
    let remove = r#"{"metadata":{"finalizers":null}}"#;
    rig.control_plane.kubectl(&["patch", "vgi", "web-2", "--type=merge", "-p", remove]).await.unwrap();
    rig.control_plane
        .kubectl(&["delete", "vgi", "web-2", "--ignore-not-found", "--wait=false"])
        .await
        .unwrap();
    let _ = rig.control_plane.kubectl(&["patch", "vgi", "web-2", "--type=merge", "-p", remove]).await;
    rig.settled("default", "web", 3).await.unwrap();
    // Made without the finalizer, as by hand: it is added.
    rig.delete("default", "web").await.unwrap();
    rig.gone("default", "web").await.unwrap();
    // An event repeated becomes a series, by a patch.
    for round in 0..2 {
        rig.apply("default", "again", round, "photon").await.unwrap();
        rig.settled("default", "again", round).await.unwrap();
    }
    for replicas in [0, 1, 0, 1] {
        rig.apply("default", "again", replicas, "photon").await.unwrap();
        rig.settled("default", "again", replicas).await.unwrap();
    }
}
