//! Bad days: of AVI, of a workload cluster in the middle of its deletion, and of operators with two controllers.

use anyhow::ensure;
use avi_simulator::{Config, Control, Effect, Fault, Simulator};
use e2e::{AkoRig, Guest, OperatorProcess, PATIENCE, Rig};
use serde_json::{Value, json};
use std::time::Duration;
use testbed::{Cleanup, Misbehavior, eventually};

use crate::PLACES;

/// Longer than the controller locks an account after three wrong passwords.
const UNLOCKED: Duration = Duration::from_mins(31);

/// Gives the Secret with the credentials of the administrator another password.
async fn set_password(rig: &AkoRig, password: &str) {
    let patch = json!({ "stringData": { "password": password } }).to_string();
    let secret = ["-n", AkoRig::SUBJECT.namespace, "patch", "secret", "avi-admin", "-p", &patch];
    rig.management.kubectl(&secret).await.unwrap();
}

/// Changes the pool of the AKODeploymentConfig, so that the operator has to write to AVI.
async fn ask_for(rig: &AkoRig, first: u8) -> Value {
    let config = rig.config_with(first);
    rig.site().apply(None, &config).await.unwrap();
    config
}

/// Waits until AVI is as the AKODeploymentConfig asks.
async fn has_what_is_asked(rig: &AkoRig, config: &Value) {
    rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
    assert_eq!(rig.mismatch(config).await.unwrap(), None);
}

/// Whatever AVI does, the condition says it, and the work goes on afterwards without a restart.
#[tokio::test]
async fn avi_comes_back_from_everything() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let operator = rig.operator().await.unwrap();
    let config = ask_for(&rig, 50).await;
    has_what_is_asked(&rig, &config).await;

    avi.unavailable(true);
    let config = ask_for(&rig, 60).await;
    rig.site().reason("adc", "AviUnreachable").await.unwrap();
    avi.unavailable(false);
    has_what_is_asked(&rig, &config).await;

    avi.upgrade_mode(true);
    let config = ask_for(&rig, 70).await;
    rig.site().reason("adc", "AviUpgrading").await.unwrap();
    avi.upgrade_mode(false);
    has_what_is_asked(&rig, &config).await;

    // Others write the network all the time, each answer is late, and the session ends.
    avi.fault(Fault::new(Effect::Stale).on("PUT", "/api/network").times(12));
    avi.fault(Fault::delay(Duration::from_millis(500)).times(20));
    avi.expire_sessions();
    let config = ask_for(&rig, 80).await;
    has_what_is_asked(&rig, &config).await;
    avi.clear_faults();
    assert_eq!(avi.logins().failed, 0);

    let secret = ["-n", AkoRig::SUBJECT.namespace, "get", "secret", "avi-admin", "-o", "json"];
    let mut kept: Value = serde_json::from_str(&rig.management.kubectl(&secret).await.unwrap()).unwrap();
    let delete = ["-n", AkoRig::SUBJECT.namespace, "delete", "secret", "avi-admin"];
    rig.management.kubectl(&delete).await.unwrap();
    rig.site().reason("adc", "CredentialsMissing").await.unwrap();
    kept["metadata"] = json!({ "name": "avi-admin", "namespace": AkoRig::SUBJECT.namespace });
    rig.site().control_plane().kubectl_stdin(&["create", "-f", "-"], &kept.to_string()).await.unwrap();
    has_what_is_asked(&rig, &config).await;

    comes_back_from_passwords(&rig, &avi).await;
    rig.site().remove("adc").await.unwrap();
    let log = operator.process.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// A rotated password, and an account that wrong ones have locked.
async fn comes_back_from_passwords(rig: &AkoRig, avi: &Control) {
    let other = format!("Other-{}", rig.simulator.admin_password());
    assert!(avi.set_password("admin", &other));
    avi.expire_sessions();
    let config = ask_for(rig, 90).await;
    rig.site().reason("adc", "AviLoginRefused").await.unwrap();
    let failed = avi.logins().failed;
    assert_eq!(failed, 1, "a refused password is not sent again");
    set_password(rig, &other).await;
    has_what_is_asked(rig, &config).await;

    let config = ask_for(rig, 100).await;
    for attempt in 1..=4_u64 {
        // Each password is tried once, at once. The third wrong one locks the account, so that the right one is refused too.
        let wrong = format!("wrong-{attempt}");
        set_password(rig, if attempt < 4 { &wrong } else { &other }).await;
        eventually("it is tried", PATIENCE, async || {
            let now = avi.logins().failed;
            ensure!(now == failed + attempt, "{now} failed logins");
            Ok(Some(()))
        })
        .await
        .unwrap();
        rig.site().reason("adc", "AviLoginRefused").await.unwrap();
    }
    eventually("the condition says that the account is locked", PATIENCE, async || {
        let status = rig.site().status("adc").await?.to_string();
        ensure!(status.contains("locked"), "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    avi.advance_clock(UNLOCKED);
    // Nothing tells the operator that the account is not locked any more; any change of the Secret makes it try.
    let touch = ["-n", AkoRig::SUBJECT.namespace, "annotate", "secret", "avi-admin", "touched=yes"];
    rig.management.kubectl(&touch).await.unwrap();
    has_what_is_asked(rig, &config).await;
}

/// As by a policy that no password fits: each one is tried once, and another one is not drawn at once.
#[tokio::test]
async fn a_password_that_avi_refuses_is_not_replaced_again_and_again() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    avi.fault(Fault::status(400).on("POST", "/api/user"));
    let guest = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
    let is_refused = |condition: &Value| condition["reason"] == "AviRequestInvalid";
    rig.condition_is("w1", "AKOInstalled", is_refused).await.unwrap();
    let tried =
        || avi.requests().iter().filter(|one| one.method == "POST" && one.path == "/api/user").count();
    // The first one is replaced at once: AVI may have had it.
    eventually("another one was tried", PATIENCE, async || Ok((tried() == 2).then_some(()))).await.unwrap();
    rig.condition_is("w1", "AKOInstalled", is_refused).await.unwrap();
    let secret = ["get", "secret", "w1-avi-credentials", "-o", "jsonpath={.data.nextPassword}"];
    let next = rig.management.kubectl(&secret).await.unwrap();
    // Whatever wakes the Cluster.
    for touch in ["one=1", "two=2", "three=3"] {
        rig.management.kubectl(&["label", "cluster", "w1", touch]).await.unwrap();
    }
    assert_eq!(rig.management.kubectl(&secret).await.unwrap(), next);

    // A person chooses another one, which the policy takes.
    avi.clear_faults();
    let patch = json!({ "stringData": { "nextPassword": "Chosen-by-1-person" } }).to_string();
    rig.management.kubectl(&["patch", "secret", "w1-avi-credentials", "-p", &patch]).await.unwrap();
    rig.condition("w1", "AKOInstalled", "True").await.unwrap();
    assert_eq!(tried(), 3, "{:?}", avi.requests());

    // The Secret is restored from before a change.
    rig.rotate(&guest.workload, "1").await.unwrap();
    let patch = json!({ "stringData": { "password": "Chosen-by-1-person" } }).to_string();
    let (before, failed) = (changes(&avi), avi.logins().failed);
    rig.management.kubectl(&["patch", "secret", "w1-avi-credentials", "-p", &patch]).await.unwrap();
    eventually("AVI gets another one", PATIENCE, async || Ok((changes(&avi) > before).then_some(())))
        .await
        .unwrap();
    rig.rotate(&guest.workload, "1").await.unwrap();
    assert_eq!(changes(&avi), before + 1, "{:?}", avi.requests());
    rig.balance(&guest).await.unwrap();
    assert_eq!(avi.logins().failed, failed);
    drop(operator);
}

/// Returns how often a user was changed.
fn changes(avi: &Control) -> usize {
    let is_change = |method: &str| ["PUT", "PATCH"].contains(&method);
    avi.requests().iter().filter(|one| is_change(&one.method) && one.path.starts_with("/api/user/")).count()
}

/// A Cluster whose AKO has been asked to remove what it made, and does not.
struct Leaving {
    rig: AkoRig,
    operator: OperatorProcess,
    guest: Guest,
    before: avi_simulator::store::Snapshot,
}

impl Leaving {
    async fn start() -> Self {
        let rig = AkoRig::start().await.unwrap();
        let before = rig.simulator.control().snapshot();
        let operator = rig.operator().await.unwrap();
        rig.site().apply(None, &rig.config()).await.unwrap();
        let guest = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
        rig.condition("w1", "AKOInstalled", "True").await.unwrap();
        rig.balance(&guest).await.unwrap();
        guest.ako.set_cleanup(Cleanup::Hangs);
        guest.workload.delete().await.unwrap();
        let leaving = Self { rig, operator, guest, before };
        leaving.says("AKOCleaningUp", "AKO removes what it made").await;
        leaving
    }

    /// Waits until the Cluster's condition about what is left has this reason and says this.
    async fn says(&self, reason: &str, text: &str) {
        let fits = |condition: &Value| {
            condition["reason"] == reason
                && condition["message"].as_str().is_some_and(|message| message.contains(text))
        };
        self.rig.condition_is("w1", "AviResourceCleanupSucceeded", fits).await.unwrap();
    }

    /// Kills the operator and starts another one.
    async fn restart(&mut self) {
        self.operator.process.kill().await;
        self.operator = self.rig.operator().await.unwrap();
    }

    async fn ends(self) {
        self.guest.workload.deleted(PATIENCE).await.unwrap();
        self.rig.site().remove("adc").await.unwrap();
        let left = self.rig.simulator.control().diff(&self.before);
        assert!(left.is_empty(), "{left:?}");
    }
}

/// It is asked again once it can be reached, by a process that did not begin the deletion.
#[tokio::test]
async fn a_deletion_waits_for_a_workload_cluster_that_cannot_be_reached() {
    let _place = PLACES.acquire().await.unwrap();
    let mut leaving = Leaving::start().await;
    let plane = leaving.guest.workload.plane();
    plane.cut();
    leaving.says("ClusterUnreachable", "force-cleanup=true").await;
    leaving.restart().await;
    leaving.says("ClusterUnreachable", "force-cleanup=true").await;
    assert!(!leaving.rig.simulator.control().diff(&leaving.before).is_empty());
    leaving.guest.workload.plane().restore().await.unwrap();
    leaving.guest.ako.set_cleanup(Cleanup::Prompt);
    leaving.ends().await;
}

/// A person who knows that it never comes back has it let go, with what AKO left removed by its marks.
#[tokio::test]
async fn a_person_ends_the_wait_for_a_workload_cluster_that_is_lost() {
    let _place = PLACES.acquire().await.unwrap();
    let leaving = Leaving::start().await;
    leaving.guest.workload.plane().cut();
    leaving.says("ClusterUnreachable", "force-cleanup=true").await;
    // Its user is removed by name.
    leaving.rig.management.kubectl(&["delete", "secret", "w1-avi-credentials"]).await.unwrap();
    let force = ["annotate", "cluster", "w1", "ako-operator.network.tkg.tanzu.vmware.com/force-cleanup=true"];
    leaving.rig.management.kubectl(&force).await.unwrap();
    leaving.ends().await;
}

/// No person looks after a Cluster whose AKO hangs, after one that is lost, nor after one whose API server takes no change.
#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let before = rig.simulator.control().snapshot();
    let operator = rig.operator_with(&rig.launch().env("CLEANUP_DEADLINE", "20s")).await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    let mut guests = Vec::new();
    for cluster in ["w1", "w2", "w3"] {
        let guest = rig.with_ako(rig.cluster(cluster, true).await.unwrap()).await.unwrap();
        rig.condition(cluster, "AKOInstalled", "True").await.unwrap();
        rig.balance(&guest).await.unwrap();
        guest.ako.set_cleanup(Cleanup::Hangs);
        guests.push(guest);
    }
    guests[1].workload.plane().cut();
    guests[2].workload.plane().misbehave(Some(Misbehavior::RefusesChanges));
    for guest in &guests {
        guest.workload.delete().await.unwrap();
    }
    for guest in &guests {
        guest.workload.deleted(PATIENCE).await.unwrap();
        let name = guest.workload.name();
        let events = format!("--field-selector=reason=AKOCleanupOverdue,involvedObject.name={name}");
        let events = ["get", "events", &events, "-o", "name"];
        assert_ne!(rig.management.kubectl(&events).await.unwrap(), "", "{name}: {}", operator.process.log());
    }
    rig.site().remove("adc").await.unwrap();
    let left = rig.simulator.control().diff(&before);
    assert!(left.is_empty(), "{left:?}");
}

/// Takes the finalizers off a Cluster that are to be taken.
async fn strip(rig: &AkoRig, cluster: &str, is_taken: impl Fn(&str) -> bool) {
    let printed = rig.management.kubectl(&["get", "cluster", cluster, "-o", "json"]).await.unwrap();
    let object: Value = serde_json::from_str(&printed).unwrap();
    let held = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let left: Vec<_> = held.into_iter().filter(|held| !held.as_str().is_some_and(&is_taken)).collect();
    let patch = json!({ "metadata": { "finalizers": left } }).to_string();
    rig.management.kubectl(&["patch", "cluster", cluster, "--type=merge", "-p", &patch]).await.unwrap();
}

/// Waits until the AKODeploymentConfig has recorded these Clusters.
async fn has_recorded(rig: &AkoRig, adc: &str, list: &str, clusters: &[&str]) {
    eventually(&format!("{list} of {adc} is as it is to be"), PATIENCE, async || {
        let status = rig.site().status(adc).await?;
        let has = status[list].as_array().cloned().unwrap_or_default();
        ensure!(has == clusters, "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// Who takes the finalizer off a Cluster that is being deleted leaves nothing on AVI, also where another process saw its deletion.
#[tokio::test]
async fn a_cluster_whose_finalizer_is_taken_off_leaves_nothing_on_avi() {
    let _place = PLACES.acquire().await.unwrap();
    let mut leaving = Leaving::start().await;
    has_recorded(&leaving.rig, "adc", "leaving", &["default/w1"]).await;
    strip(&leaving.rig, "w1", |held| held == "ako-operator.network.tkg.tanzu.vmware.com").await;
    leaving.restart().await;
    let hook = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/avi-cleanup-";
    leaving.rig.management.kubectl(&["annotate", "machines", "--all", hook]).await.unwrap();
    leaving.guest.workload.deleted(PATIENCE).await.unwrap();
    has_recorded(&leaving.rig, "adc", "deliveredTo", &[]).await;
    eventually("an event says what was left", PATIENCE, async || {
        let of = "--field-selector=reason=AviObjectsRemoved,involvedObject.kind=AKODeploymentConfig";
        let events = ["get", "events", "-A", of, "-o", "jsonpath={.items[*].type} {.items[*].message}"];
        let events = leaving.rig.management.kubectl(&events).await?;
        ensure!(events.starts_with("Warning") && events.contains("w1-default-ako-user"), "{events}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    leaving.ends().await;
}

/// What AVI refuses to remove of such a Cluster holds no other one up, and is tried again, also by another process once the user is gone.
#[tokio::test]
async fn what_avi_refuses_to_remove_of_a_lost_cluster_holds_nothing_else_up() {
    let _place = PLACES.acquire().await.unwrap();
    let mut leaving = Leaving::start().await;
    has_recorded(&leaving.rig, "adc", "leaving", &["default/w1"]).await;
    let control = leaving.rig.simulator.control();
    control.fault(Fault::status(403).on("DELETE", "/api/pool"));
    strip(&leaving.rig, "w1", |held| held == "ako-operator.network.tkg.tanzu.vmware.com").await;
    let hook = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/avi-cleanup-";
    leaving.rig.management.kubectl(&["annotate", "machines", "--all", hook]).await.unwrap();
    leaving.guest.workload.deleted(PATIENCE).await.unwrap();
    eventually("the condition says what is refused", PATIENCE, async || {
        let status = leaving.rig.site().status("adc").await?;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let find = |type_: &str| conditions.iter().find(|condition| condition["type"] == type_).cloned();
        let (lost, ready) = (find("LostClustersCleanedUp"), find("Ready").unwrap_or_default());
        let Some(lost) = lost else { return Ok(None) };
        let message = lost["message"].as_str().unwrap_or_default();
        let says = lost["status"] == "False" && lost["reason"] == "AviPermissionDenied";
        let names = message.contains("default/w1") && message.contains("ako-default-w1");
        ensure!(says && names && ready["status"] == "True", "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let of = "--field-selector=reason=AviObjectsLeft,involvedObject.kind=AKODeploymentConfig";
    let events = ["get", "events", "-A", of, "-o", "jsonpath={.items[*].type} {.items[*].message}"];
    eventually("an event says so", PATIENCE, async || {
        let events = leaving.rig.management.kubectl(&events).await?;
        Ok(events.starts_with("Warning the Cluster default/w1 is gone").then_some(()))
    })
    .await
    .unwrap();

    let other = leaving.rig.with_ako(leaving.rig.cluster("w2", true).await.unwrap()).await.unwrap();
    leaving.rig.condition("w2", "AKOInstalled", "True").await.unwrap();
    has_recorded(&leaving.rig, "adc", "deliveredTo", &["default/w1", "default/w2"]).await;
    control.clear_faults();
    leaving.restart().await;
    has_recorded(&leaving.rig, "adc", "deliveredTo", &["default/w2"]).await;
    other.workload.delete().await.unwrap();
    other.workload.deleted(PATIENCE).await.unwrap();
    leaving.ends().await;
}

/// `clusterctl move` pauses a Cluster and takes all its finalizers, while its AKO and its user live on.
#[tokio::test]
async fn a_cluster_that_is_moved_keeps_what_it_has_on_avi() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    let guest = rig.with_ako(rig.cluster("w1", true).await.unwrap()).await.unwrap();
    rig.condition("w1", "AKOInstalled", "True").await.unwrap();
    rig.balance(&guest).await.unwrap();
    let there = rig.simulator.control().snapshot();
    let pause = ["patch", "cluster", "w1", "--type=merge", "-p", r#"{"spec":{"paused":true}}"#];
    rig.management.kubectl(&pause).await.unwrap();
    guest.workload.delete().await.unwrap();
    let is_paused = |condition: &Value| condition["reason"] == "ClusterPaused";
    rig.condition_is("w1", "AviResourceCleanupSucceeded", is_paused).await.unwrap();
    strip(&rig, "w1", |_| true).await;
    guest.workload.deleted(PATIENCE).await.unwrap();
    has_recorded(&rig, "adc", "deliveredTo", &[]).await;
    let changed = rig.simulator.control().diff(&there);
    assert!(changed.is_empty(), "{changed:?}: {}", operator.process.log());
}

/// Deletes the Clusters of two controllers. The operator asks for the user of the first one before it looks what AKO has left, and to remove it, and for none of
/// the second: nothing is looked for of Clusters that it lets go.
async fn are_deleted(rig: &AkoRig, controls: &[Control; 2], guests: &[Guest]) {
    let looks = |control: &Control| {
        let requests = control.requests();
        requests.iter().filter(|it| it.method == "GET" && it.template == "/api/user").count()
    };
    let known = controls.each_ref().map(looks);
    for guest in guests {
        guest.workload.delete().await.unwrap();
    }
    for guest in guests {
        guest.workload.deleted(PATIENCE).await.unwrap();
    }
    for site in ["first", "second"] {
        has_recorded(rig, site, "deliveredTo", &[]).await;
    }
    let now = controls.each_ref().map(looks);
    assert_eq!([now[0] - known[0], now[1] - known[1]], [2, 0]);
}

/// Each Cluster's AKODeploymentConfig names its controller; what is sent to one is never sent to the other. The second one names the user
/// for AKO as well.
#[tokio::test]
async fn two_controllers_keep_apart() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let second = Simulator::start(Config::default()).await.unwrap();
    let controls = [rig.simulator.control(), second.control()];
    second.control().seed(include_str!("../../../crates/avi-simulator/samples/vips.yaml")).unwrap();
    let password = format!("Second-{}", second.admin_password());
    assert!(second.control().set_password("admin", &password));
    let user =
        json!({ "user": [{ "name": "ako", "username": "ako", "password": password, "is_superuser": true }] });
    second.control().seed_value(user).unwrap();
    let namespace = AkoRig::SUBJECT.namespace;
    let secret = |name: &str, data: Value| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace }, "stringData": data });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        secret("second-admin", json!({ "username": "admin", "password": password })),
        secret("second-ca", json!({ "certificateAuthorityData": second.ca_pem() })),
        secret("second-ako", json!({ "username": "ako", "password": password })),
    ]});
    rig.site().control_plane().kubectl_stdin(&["apply", "-f", "-"], &list.to_string()).await.unwrap();
    let before = controls.each_ref().map(Control::snapshot);
    let _operator = rig.operator().await.unwrap();

    let mut guests = Vec::new();
    for (site, cluster) in [("first", "w1"), ("second", "w2")] {
        let mut config = rig.config();
        config["metadata"]["name"] = site.into();
        config["spec"]["clusterSelector"] = json!({ "matchLabels": { "site": site } });
        if site == "second" {
            config["spec"]["controller"] = second.url().trim_start_matches("https://").into();
            config["spec"]["adminCredentialRef"]["name"] = "second-admin".into();
            config["spec"]["certificateAuthorityRef"]["name"] = "second-ca".into();
            config["spec"]["workloadCredentialRef"] = json!({ "name": "second-ako", "namespace": namespace });
        }
        rig.site().apply(None, &config).await.unwrap();
        let guest = rig.with_ako(rig.cluster(cluster, false).await.unwrap()).await.unwrap();
        rig.management.kubectl(&["label", "cluster", cluster, &format!("site={site}")]).await.unwrap();
        rig.condition(cluster, "AKOInstalled", "True").await.unwrap();
        rig.balance(&guest).await.unwrap();
        guests.push(guest);
    }
    are_deleted(&rig, &controls, &guests).await;
    for (control, user) in controls.iter().zip(["w1-default-ako-user", "ako"]) {
        assert_eq!(control.logins().failed, 0);
        let requests = control.requests();
        let users: std::collections::BTreeSet<_> =
            requests.iter().filter_map(|it| it.user.as_deref()).collect();
        assert_eq!(users, ["admin", user].into());
        let logins = requests.iter().filter(|it| it.path == "/login" && it.user.as_deref() == Some("admin"));
        assert_eq!(logins.count(), 1, "the operator has one session");
    }
    for site in ["first", "second"] {
        rig.site().remove(site).await.unwrap();
    }
    for (control, before) in controls.iter().zip(&before) {
        assert!(control.diff(before).is_empty(), "{:?}", control.diff(before));
    }
}
