//! One tenant cannot stop another: huge numbers, strange texts, doomed clones.

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig, condition, group};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use testbed::{Fault, eventually};

use crate::{place, start_operator, start_web};

/// A number that can only be a mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_huge_number_of_replicas_is_refused_with_a_message() {
    let (_place, rig, operator) = start_operator().await;
    rig.apply_and_settle("huge", 2).await.unwrap();
    let before = operator.process.memory().unwrap().rss;
    let scale = ["scale", "vg/huge", "--replicas=100000"];
    rig.kubectl(&scale).await.unwrap();
    let status = rig.reason("huge", "TooManyReplicas").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap();
    assert!(
        message.contains("100000,") && message.contains("1000") && message.contains("--max-replicas"),
        "{message}"
    );
    assert_eq!((status["phase"].as_str(), &status["readyReplicas"]), (Some("ERROR"), &json!(2)));
    // The neighbour is served.
    rig.apply_and_settle("neighbour", 2).await.unwrap();
    let grown = operator.process.memory().unwrap().rss.saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more");
    assert_eq!(rig.api("VmInstance").list(&ListParams::default()).await.unwrap().items.len(), 4);
    // Scaling back takes effect at once.
    rig.apply_and_settle("huge", 1).await.unwrap();
}

/// The largest number that is allowed is worked off in batches, and taken back in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_back_takes_effect_in_the_middle_of_a_large_scale_up() {
    let (_place, rig, _operator) = start_operator().await;
    rig.vcenter.fault(Fault::hang("CloneVM_Task").until_cleared()).await.unwrap();
    rig.apply("web", 1000, "photon").await.unwrap();
    let instances = rig.api("VmInstance");
    eventually("the first batch", PATIENCE, async || {
        Ok((instances.list(&ListParams::default()).await?.items.len() >= 50).then_some(()))
    })
    .await
    .unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("web", 1).await.unwrap();
    eventually("only one is left", PATIENCE, async || {
        let left = instances.list(&ListParams::default()).await?.items.len();
        ensure!(left == 1, "{left} are");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let clones = rig.called("CloneVM_Task").await.unwrap();
    assert!(clones < 200, "{clones} of 1000 were made before the change");
}

/// Texts that no operator wrote.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_any_unicode_stop_nothing() {
    let (_place, rig, mut operator) = start_web(1).await;
    let folder = &rig.folder("web");
    let cluster = rig.kubectl(&["get", "ns", "kube-system", "-o", "jsonpath={.metadata.uid}"]).await.unwrap();
    let namespace = rig.namespace();
    for (n, marker) in [
        format!("{cluster}/{namespace}/größe-和/u/0/i"),
        format!("{cluster}/{}/web/u/0/i", "ä".repeat(300)),
        "💥/💥/💥/💥/0/💥".to_owned(),
        format!("{cluster}/{namespace}/web/u/-1/i"),
    ]
    .iter()
    .enumerate()
    {
        rig.vcenter.add_vm(folder, &format!("straße-{n}-💥")).await.unwrap();
        let path = format!("{folder}/straße-{n}-💥");
        rig.vcenter.set_extra_config(&path, "vmgroup/owner", Some(marker)).await.unwrap();
    }
    let instance = json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1", "kind": "VmInstance", "metadata": {"name": "by-hand"},
        "spec": {
            "group": "größe", "groupUid": "u", "slot": 0, "vmName": "x", "cpu": 1, "memory": 1, "template": "photon",
            "instanceUuid": "00000000-0000-4000-8000-000000000000",
        },
    });
    let error = rig.kubectl_stdin(&["create", "-f", "-"], &instance.to_string()).await.unwrap_err();
    assert!(format!("{error:#}").contains("spec.group"), "{error:#}");
    let mut odd = group("odd", 1, "vorlage-größe-💥");
    odd["metadata"]["annotations"] = json!({"ключ": "значение"});
    let error = rig.kubectl_stdin(&["create", "-f", "-"], &odd.to_string()).await.unwrap_err();
    assert!(format!("{error:#}").contains("annotations"), "{error:#}");
    odd["metadata"]["annotations"] = json!({"a": "значение"});
    rig.kubectl_stdin(&["create", "-f", "-"], &odd.to_string()).await.unwrap();
    let status = rig.reason("odd", "TemplateNotFound").await.unwrap();
    assert!(status["lastMessage"].as_str().unwrap().contains("vorlage-größe-💥"), "{status}");

    rig.apply_and_settle("web", 2).await.unwrap();
    assert!(operator.process.try_wait().is_none() && !operator.process.log().contains("panicked"));
}

/// More metadata than the operator keeps, on both kinds: all is done as without it.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_labels_stop_nothing() {
    let (_place, rig, _operator) = start_web(1).await;
    let labels: serde_json::Map<_, _> =
        (0..3000).map(|n| (format!("example.com/label-{n:05}"), json!("x"))).collect();
    let patch = json!({"metadata": {"labels": labels}}).to_string();
    for name in ["vg/web", "vgi/web-0"] {
        rig.kubectl(&["patch", name, "--type=merge", "-p", &patch]).await.unwrap();
    }
    let machine = format!("{}/web-0", rig.folder("web"));
    rig.vcenter.power_off(&machine).await.unwrap();
    rig.on(&machine).await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    let status = rig.status("web").await.unwrap();
    assert_eq!(condition(&status, "OrphansFound").unwrap()["status"], "False", "{status}");
    rig.remove("web").await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
}

/// Managed fields are the writer's: nested deeper than parsers go, with a time that no clock has, and with a node in memory for every
/// few bytes.
#[tokio::test(flavor = "multi_thread")]
async fn managed_fields_of_any_shape_stop_nothing() {
    let (_place, rig, operator) = start_operator().await;
    let chain = |depth: usize| format!("{}{{}}{}", r#"{"f:a":"#.repeat(depth), "}".repeat(depth));
    let wide: Vec<_> = (0..400).map(|n| format!(r#""f:{n}":{}"#, chain(95))).collect();
    let collection =
        format!("/apis/vm.codeconnect.vmworld.com/v1alpha1/namespaces/{}/vmgroups", rig.namespace());
    for (name, fields, time) in [
        ("deep", chain(300), "2026-01-01T00:00:00Z"),
        ("late", "{}".to_owned(), "9999-12-31T12:00:00Z"),
        ("wide", format!("{{{}}}", wide.join(",")), "2026-01-01T00:00:00Z"),
    ] {
        let mut object = group(name, 0, "photon");
        object["metadata"]["managedFields"] = json!([{
            "manager": "tenant", "operation": "Update", "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
            "fieldsType": "FieldsV1", "time": time, "fieldsV1": "FIELDS",
        }]);
        let object = object.to_string().replace(r#""FIELDS""#, &fields);
        rig.kubectl_stdin(&["create", "--raw", &collection, "-f", "-"], &object).await.unwrap();
    }
    // The test's own client cannot read all of them.
    let all = ["vg/deep", "vg/late", "vg/wide"];
    rig.kubectl(&[&["wait", "--for=condition=Ready", "--timeout=180s"], &all[..]].concat()).await.unwrap();
    drop(operator);
    let operator = rig.operator().await.unwrap();
    rig.kubectl(&[&["delete", "--timeout=180s"], &all[..]].concat()).await.unwrap();
    rig.apply_and_settle("neighbour", 2).await.unwrap();
    // The operator deletes VmInstances itself, and is answered with them.
    let fields = r#"{"metadata": {"managedFields": [{"manager": "tenant", "operation": "Update", "fieldsType": "FieldsV1",
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1", "fieldsV1": FIELDS}]}}"#
        .replace("FIELDS", &chain(300));
    rig.kubectl(&["patch", "vgi/neighbour-1", "--type=merge", "-p", &fields]).await.unwrap();
    rig.apply_and_settle("neighbour", 1).await.unwrap();
    let log = operator.process.log();
    assert!(!log.contains("recursion limit") && !log.contains("fieldsV1"), "{log}");
    let memory = operator.process.memory().unwrap();
    let peak = memory.peak - (memory.rss - memory.rss_anon);
    assert!(peak < 32 << 20, "{peak} bytes");
}

/// VmInstances with as many labels as the API server takes, which together would not fit into the memory that the Deployment allows:
/// the operator starts, and goes on with its work.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_huge_objects_fits_into_the_memory() {
    let (_place, rig, operator) = start_web(5).await;
    drop(operator);
    let instances = rig.api("VmInstance");
    // The API server needs 10 s for each write of the operator to the largest: the last is what the operator writes to.
    for (slot, labels) in [110_000, 110_000, 110_000, 110_000, 10_000].into_iter().enumerate() {
        let labels: serde_json::Map<_, _> = (0..labels).map(|n| (format!("{n:05x}"), json!(""))).collect();
        // The API server would add each label to the managed fields.
        let fat = Patch::Merge(json!({"metadata": {"labels": labels, "managedFields": [{}]}}));
        instances.patch_metadata(&format!("web-{slot}"), &PatchParams::default(), &fat).await.unwrap();
    }
    let mut operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 4).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 4);
    assert!(operator.process.try_wait().is_none());
    let memory = operator.process.memory().unwrap();
    let peak = memory.peak - (memory.rss - memory.rss_anon);
    assert!(peak < 32 << 20, "{peak} bytes");
}

/// A vCenter that fails every clone is asked less and less often, also with a full clone queue.
#[tokio::test(flavor = "multi_thread")]
async fn doomed_clones_back_off_although_they_queue() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let _operator = rig.operator_with(&rig.launch().env("MAX_CLONES", "1")).await.unwrap();
    rig.vcenter.fault(Fault::task("CloneVM_Task", "NoDiskSpace").until_cleared()).await.unwrap();
    rig.apply("doomed", 3, "photon").await.unwrap();
    let status = rig.reason("doomed", "NoResources").await.unwrap();
    assert_eq!(status["phase"], "ERROR");
    // Each of the three fails, then waits at least 0.75, 1.5, 3 s and so on: the fifth attempt of each is 11 s later.
    let begun = std::time::Instant::now();
    rig.called_often("CloneVM_Task", 15).await.unwrap();
    assert!(begun.elapsed() > std::time::Duration::from_secs(7), "{:?}", begun.elapsed());
    // The cause is removed: no instance waits longer than its delay.
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("doomed", 3).await.unwrap();
}

/// `spec.paused` stops everything, deletion included; a detached group goes without its vCenter.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_paused_resumed_and_detached() {
    let (_place, rig, operator) = start_web(2).await;
    let pause = async |paused: bool| {
        let patch = json!({"spec": {"paused": paused, "replicas": if paused { 5 } else { 2 }}}).to_string();
        rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    };
    pause(true).await;
    rig.reason("web", "Paused").await.unwrap();
    rig.vcenter.power_off(&format!("{}/web-0", rig.folder("web"))).await.unwrap();
    rig.kubectl(&["delete", "vgi", "web-1", "--wait=false"]).await.unwrap();
    for name in ["vgi/web-0", "vgi/web-1"] {
        let paused = "--for=jsonpath={.status.conditions[0].reason}=Paused";
        rig.kubectl(&["wait", name, paused, "--timeout=180s"]).await.unwrap();
    }
    assert_eq!(rig.machines().await.unwrap().len(), 2);
    pause(false).await;
    rig.settled("web", 2).await.unwrap();

    // The vCenter is gone for good.
    drop(operator);
    let _operator = rig.spawn(&rig.launch().env("VC_HOST", "127.0.0.1:1")).unwrap();
    rig.reason("web", "VCenterUnreachable").await.unwrap();
    let annotate = async |value: &str| {
        let detach = format!("vm.codeconnect.vmworld.com/detach={value}");
        rig.kubectl(&["annotate", "--overwrite", "vg", "web", &detach]).await.unwrap();
    };
    let detached = async |status: &str| {
        let condition = format!("--for=condition=Detached={status}");
        rig.kubectl(&["wait", "vg/web", &condition, "--timeout=180s"]).await.unwrap();
    };
    annotate("true").await;
    detached("True").await;
    // Larger than what the operator keeps of an annotation.
    annotate(&"true ".repeat(20_000)).await;
    detached("Unknown").await;
    annotate("true").await;
    detached("True").await;
    // A slip of the pen: neither destroyed nor let go.
    annotate("True").await;
    detached("Unknown").await;
    rig.delete("web").await.unwrap();
    rig.reason("web", "DetachUnclear").await.unwrap();
    annotate("true").await;
    rig.gone("web").await.unwrap();
    let events = rig.event("releasing 2 virtual machines").await.unwrap();
    assert!(!events.contains("removing 2 virtual machines"), "{events}");
    assert!(rig.api("VmInstance").list(&ListParams::default()).await.unwrap().items.is_empty());
    assert_eq!(
        rig.machines().await.unwrap().values().filter(|on| **on).count(),
        2,
        "the machines stay as they are"
    );
}
