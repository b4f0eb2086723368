//! Starting with something wrong: each a clear message and the right thing, never a panic or a hammered login.

use e2e::{Launch, PATIENCE, Rig, VmRig};
use testbed::{ApiProxy, Perturbation, Vcsim, eventually};

use crate::{place, start_web};

/// Starts the operator, which is to end by itself, and returns its last words.
async fn ends(rig: &VmRig, launch: &Launch) -> String {
    let mut operator = rig.spawn(launch).unwrap();
    let status = tokio::time::timeout(PATIENCE, operator.process.wait()).await.unwrap();
    assert!(!status.success());
    let log = operator.process.log();
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_work_end_the_process_with_a_hint() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let log = ends(&rig, &rig.launch().without("VC_HOST").without("VC_PASS")).await;
    assert!(log.contains("VC_HOST, VC_PASS not set") && log.contains("vc-creds"), "{log}");
    let log = ends(&rig, &rig.launch().env("VC_CA_FILE", "/no/such/file")).await;
    assert!(log.contains("/no/such/file"), "{log}");
    let log = ends(&rig, &rig.launch().without("VC_CA_FILE").env("VC_THUMBPRINT", "12:34")).await;
    assert!(log.contains("thumbprint"), "{log}");
    let log = ends(&rig, &rig.launch().arg("--metrics-adr=x")).await;
    assert!(log.contains("--metrics-addr"), "{log}");
}

/// What may pass, or be corrected without a restart, is retried, and every group reports it.
#[tokio::test(flavor = "multi_thread")]
async fn failures_that_may_pass_are_reported_and_retried() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let cases = [
        (rig.launch().env("VC_PASS", "wrong"), "VCenterLoginRefused", "VC_USER and VC_PASS"),
        (rig.launch().without("VC_CA_FILE"), "VCenterCertificateRefused", "VC_CA_FILE or VC_THUMBPRINT"),
        (rig.launch().env("VC_HOST", "127.0.0.1:1"), "VCenterUnreachable", "VC_HOST"),
    ];
    for (launch, reason, setting) in cases {
        let operator = rig.spawn(&launch).unwrap();
        let status = rig.reason("web", reason).await.unwrap();
        assert_eq!(e2e::ready(&status).map(|(s, _)| s), Some("Unknown"));
        let log = operator.process.log();
        // The operators of a rig write to one file.
        let down = log.lines().rev().find(|line| line.contains("the link to vCenter is down")).unwrap();
        assert!(down.contains(setting) && down.contains("server") && down.contains("127.0.0.1:"), "{down}");
        assert_eq!(operator.get("/healthz").await.unwrap().0, 200);
        assert_eq!(operator.get("/readyz").await.unwrap().0, 503);
    }
    assert_eq!(
        rig.vcenter.sessions().await.unwrap().failed_logins,
        1,
        "a wrong password is not tried again soon"
    );

    let launch = rig.launch().without("VC_CA_FILE").env("VC_THUMBPRINT", rig.vcenter.thumbprint_sha256());
    let operator = rig.operator_with(&launch).await.unwrap();
    rig.settled("web", 1).await.unwrap();
    drop(operator);

    // The original's spelling.
    let launch = rig.launch().without("VC_CA_FILE").arg("-insecure").arg("-enable-leader-election=false");
    let _operator = rig.operator_with(&launch).await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_datacenters_are_named_and_one_can_be_chosen() {
    let _place = place().await;
    let rig = VmRig::with(Vcsim::builder().datacenters(2)).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let operator = rig.spawn(&rig.launch()).unwrap();
    let status = rig.reason("web", "VCenterPlacementUnclear").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap();
    assert!(
        message.contains("DC0") && message.contains("DC1") && message.contains("VC_DATACENTER"),
        "{message}"
    );
    drop(operator);
    let _operator = rig.operator_with(&rig.launch().env("VC_DATACENTER", "DC0")).await.unwrap();
    rig.settled("web", 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_root_folder_is_made_or_asked_for() {
    let _place = place().await;
    let rig = VmRig::with(Vcsim::builder().root_folder(false)).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 1).await.unwrap();

    let rig = VmRig::with(Vcsim::builder().root_folder(false).read_only_user(true)).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let _operator = rig.spawn(&rig.launch()).unwrap();
    let status = rig.reason("web", "PermissionDenied").await.unwrap();
    assert!(status["lastMessage"].as_str().unwrap().contains("vm-operator"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_asked_and_logs_out() {
    let (_place, rig, mut operator) = start_web(1).await;
    let status = operator.process.terminate(PATIENCE).await.unwrap();
    assert!(status.success(), "{status}: {}", operator.process.log());
    eventually("the session is gone", PATIENCE, async || {
        Ok((rig.vcenter.sessions().await?.now == 0).then_some(()))
    })
    .await
    .unwrap();
}

/// Administrators wait for the line: it may come neither before the inventory is known nor before the objects are.
#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_the_controllers_work_when_all_is_known_and_not_before() {
    const LINE: &str = "the controllers work";
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let operator = rig.spawn(&rig.launch().env("VC_HOST", "127.0.0.1:1")).unwrap();
    // The objects are known: a status says so.
    rig.reason("web", "VCenterUnreachable").await.unwrap();
    assert!(!operator.process.log().contains(LINE), "{}", operator.process.log());
    drop(operator);

    // The response to the list is withheld, and everything after it.
    let silent: Perturbation = "kill-before-reply@list/vminstances/#1".parse().unwrap();
    let proxy = ApiProxy::start(rig.control_plane(), rig.kubeconfig(), Some(silent)).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    let operator = rig.spawn_with(proxy.kubeconfig(), &rig.launch()).unwrap();
    // The inventory is known: the operator waits for its second change.
    rig.called_often("WaitForUpdatesEx", 2).await.unwrap();
    proxy.kill_point().await;
    assert!(!operator.process.log().contains(LINE), "{}", operator.process.log());
    proxy.reopen();
    eventually("all is known", PATIENCE, async || Ok(operator.process.log().contains(LINE).then_some(())))
        .await
        .unwrap();
    rig.settled("web", 1).await.unwrap();
}
