//! AKO by TKG's add-on managers: the operator writes add-on Secrets, and the test takes the place of the managers.

use anyhow::{Context as _, ensure};
use avi_simulator::store::Snapshot;
use e2e::{AkoRig, Guest, OperatorProcess, PATIENCE, Rig};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::{Cleanup, eventually};

use crate::addon_manager::{AddonManager, text};
use crate::{LABEL, PLACES};

const PACKAGE: &str = "load-balancer-and-ingress-service.tanzu.vmware.com.1.13.4+vmware.1-tkg.1";
const RELEASE: &str = "v1.33.1---vmware.1";
/// The data values of another Cluster, with the bytes of the original.
const VALUES: &str = include_str!("../../../operators/ako-operator/tests/data/minimal.values.yaml");
const HEADER: &str = "#@data/values\n#@overlay/match-child-defaults missing_ok=True\n---\n";

/// A management cluster of TKG.
struct Tkg {
    operator: OperatorProcess,
    before: Snapshot,
    rig: AkoRig,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Tkg {
    async fn start() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        rig.serve_tkg(RELEASE, &["antrea.tanzu.vmware.com.1.2", PACKAGE]).await.unwrap();
        let before = rig.simulator.control().snapshot();
        // No image is needed.
        let operator = rig.operator_with(&rig.launch().without("AKO_IMAGE")).await.unwrap();
        rig.site().apply(None, &rig.config()).await.unwrap();
        rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
        Self { operator, before, rig, _place: place }
    }

    /// Starts a Cluster with its add-on manager, and waits until its AKO serves.
    async fn cluster(&self, name: &str, has_topology: bool) -> (Guest, AddonManager) {
        let workload = if has_topology {
            self.rig.class_based_cluster(name).await.unwrap()
        } else {
            self.rig.cluster(name, true).await.unwrap()
        };
        let client = workload.plane().client().await.unwrap();
        let guest = self.rig.with_ako(workload).await.unwrap();
        if has_topology {
            self.says(name, "ClusterBootstrapPending").await;
            self.bootstrap(name).await;
        }
        self.says(name, "AddonPending").await;
        let manager = AddonManager::start(self.rig.management.client(), client, name, has_topology);
        self.rig.condition(name, "AKOInstalled", "True").await.unwrap();
        self.rig.balance(&guest).await.unwrap();
        (guest, manager)
    }

    /// Waits until AKOInstalled has this reason.
    async fn says(&self, cluster: &str, reason: &str) {
        let said =
            self.rig.condition_is(cluster, "AKOInstalled", |condition| condition["reason"] == reason).await;
        said.with_context(|| self.operator.process.log()).unwrap();
    }

    /// Makes the ClusterBootstrap of a Cluster, as TKG does.
    async fn bootstrap(&self, cluster: &str) {
        let plane = self.rig.site().control_plane();
        let bootstrap = json!({ "apiVersion": "run.tanzu.vmware.com/v1alpha3", "kind": "ClusterBootstrap",
            "metadata": { "name": cluster, "namespace": "default",
                "annotations": { "run.tanzu.vmware.com/skip-packageinstall-deletion": "antrea" } },
            "spec": { "additionalPackages": [{ "refName": "metrics-server.tanzu.vmware.com.1" }] } });
        plane.kubectl_stdin(&["create", "-f", "-"], &bootstrap.to_string()).await.unwrap();
        let status = json!({ "status": { "resolvedTKR": RELEASE } }).to_string();
        let patch =
            ["patch", "clusterbootstrap", cluster, "--subresource=status", "--type=merge", "-p", &status];
        plane.kubectl(&patch).await.unwrap();
    }

    async fn secret(&self, name: &str) -> Option<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.rig.management.client(), "default");
        secrets.get_opt(name).await.unwrap()
    }

    async fn addon(&self, cluster: &str) -> Option<Secret> {
        self.secret(&format!("{cluster}-load-balancer-and-ingress-service-addon")).await
    }

    async fn entry(&self, cluster: &str) -> Value {
        let get = ["get", "clusterbootstrap", cluster, "-o", "json"];
        serde_json::from_str(&self.rig.management.kubectl(&get).await.unwrap()).unwrap()
    }

    /// The Secret has each byte of the original's.
    async fn has_its_secret(&self, cluster: &str, has_topology: bool) {
        let secret = self.addon(cluster).await.unwrap();
        let of_user = self.secret(&format!("{cluster}-avi-credentials")).await.unwrap().data.unwrap();
        let of_user = |key: &str| String::from_utf8(of_user[key].0.clone()).unwrap();
        let (values, password) = (text(&secret).unwrap(), of_user("password"));
        let read: Value = serde_saphyr::from_str(&values).unwrap();
        let config = &read["loadBalancerAndIngressService"]["config"];
        assert_eq!(config["avi_credentials"]["password"], password);
        let line =
            values.lines().find(|line| line.trim_start().starts_with("password: ")).unwrap().to_owned();
        let authority = self.rig.simulator.ca_pem();
        let authority: Vec<_> = authority.lines().map(|line| format!("                {line}")).collect();
        let status = self.rig.management.kubectl(&["get", "adc", "adc", "-o", "json"]).await.unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        let controller = status["spec"]["controller"].as_str().unwrap();
        let wanted = VALUES
            .replace("web-team-a-ako-user", &format!("{cluster}-default-ako-user"))
            .replace("team-a-web", &format!("default-{cluster}"))
            .replace("VM Network", "vips")
            .replace("subnet_ip: 10.2.0.0", "subnet_ip: 10.92.0.0")
            .replace("subnet_prefix: \"16\"", "subnet_prefix: \"24\"")
            .replace("10.2.0.0/16", "10.92.0.0/24")
            .replace("31.1.1", status["status"]["controllerVersion"].as_str().unwrap())
            .replace("controller_ip: 10.1.1.1", &format!("controller_ip: {controller:?}"))
            .replace("            password: hunter2", &line)
            .replace("                -----BEGIN CERTIFICATE-----", &authority.join("\n"));
        let (header, kind) = if has_topology {
            ("", "clusterbootstrap-secret")
        } else {
            (HEADER, "tkg.tanzu.vmware.com/addon")
        };
        assert_eq!(values, format!("{header}{wanted}"));
        assert_eq!(secret.type_.as_deref(), Some(kind));
        let meta = json!({ "labels": secret.labels(), "annotations": secret.annotations() });
        assert_eq!(
            meta,
            json!({
                "labels": { "tkg.tanzu.vmware.com/addon-name": "load-balancer-and-ingress-service",
                    "tkg.tanzu.vmware.com/cluster-name": cluster, "clusterctl.cluster.x-k8s.io/move": "" },
                "annotations": { "tkg.tanzu.vmware.com/addon-type": "networking/load-balancer-and-ingress-service" },
            })
        );
        let owner = &secret.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.api_version.as_str(), owner.kind.as_str()),
            ("cluster.x-k8s.io/v1beta2", "Cluster")
        );
    }

    /// Changes an object, and waits until the Cluster was looked at.
    async fn looks_again(&self, cluster: &str) {
        let before = self.operator.passes_of("cluster").await.unwrap();
        self.rig
            .management
            .kubectl(&["label", "cluster", cluster, "look=again", "--overwrite"])
            .await
            .unwrap();
        eventually("the Cluster was looked at", PATIENCE, async || {
            Ok((self.operator.passes_of("cluster").await? > before).then_some(()))
        })
        .await
        .unwrap();
        self.rig.management.kubectl(&["label", "cluster", cluster, "look-"]).await.unwrap();
    }

    fn writes(&self) -> usize {
        let mut writes = self.rig.site().requests().unwrap();
        writes.retain(|request| request.is_write() && request.resource != "events");
        writes.len()
    }

    async fn is_at_rest(&self, clusters: &[&str]) {
        let before = self.writes();
        for cluster in clusters {
            self.looks_again(cluster).await;
        }
        assert_eq!(self.writes(), before, "a second pass writes nothing");
    }

    /// A Secret of the original operator is adopted: its owner is corrected, and its data is not written.
    async fn adopts(&self, cluster: &str) {
        let name = format!("{cluster}-load-balancer-and-ingress-service-addon");
        let before = self.addon(cluster).await.unwrap();
        let wrong = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "networking.tanzu.vmware.com/v1alpha1",
            "kind": "AKODeploymentConfig", "name": "adc", "uid": "0" }] } });
        let patch = ["patch", "secret", &name, "--type=merge", "-p", &wrong.to_string()];
        self.rig.management.kubectl(&patch).await.unwrap();
        self.looks_again(cluster).await;
        let after = eventually("it has the right owner", PATIENCE, async || {
            let secret = self.addon(cluster).await;
            Ok(secret.filter(|secret| secret.owner_references()[0].kind == "Cluster"))
        })
        .await
        .unwrap();
        assert_eq!(after.data, before.data);
        assert_eq!(after.owner_references().len(), 1);
    }

    /// The Cluster has lost finalizer, Secret and user.
    async fn is_let_go(&self, cluster: &str) {
        eventually(&format!("{cluster} is let go"), PATIENCE, async || {
            let path = "jsonpath={.metadata.finalizers} {.status.conditions}";
            let printed = self.rig.management.kubectl(&["get", "cluster", cluster, "-o", path]).await?;
            ensure!(!printed.contains("ako-operator"), "{printed}\n{}", self.operator.process.log());
            Ok(Some(()))
        })
        .await
        .unwrap();
        self.has_nothing(cluster).await;
    }

    async fn has_nothing(&self, cluster: &str) {
        assert!(self.addon(cluster).await.is_none());
        assert!(self.secret(&format!("{cluster}-avi-credentials")).await.is_none());
        let user = format!("{cluster}-default-ako-user");
        let has =
            self.rig.simulator.control().store(|store| store.objects("user").any(|it| it["name"] == *user));
        assert!(!has, "the user is left on AVI");
    }

    async fn nothing_is_left(&self) {
        self.rig.site().remove("adc").await.unwrap();
        let left = self.rig.simulator.control().diff(&self.before);
        assert!(left.is_empty(), "{left:?}");
        let log = self.operator.process.log();
        assert!(!log.contains("panicked") && !log.contains("InternalError"), "{log}");
    }
}

#[tokio::test]
async fn add_on_managers_deliver_ako_and_take_it_away() {
    let tkg = Tkg::start().await;
    let (classic, _one) = tkg.cluster("w1", false).await;
    let (class_based, _two) = tkg.cluster("w2", true).await;
    tkg.has_its_secret("w1", false).await;
    tkg.has_its_secret("w2", true).await;
    let bootstrap = tkg.entry("w2").await;
    let packages = json!([{ "refName": "metrics-server.tanzu.vmware.com.1" },
        { "refName": PACKAGE, "valuesFrom": { "secretRef": "w2-load-balancer-and-ingress-service-addon" } }]);
    assert_eq!(bootstrap["spec"]["additionalPackages"], packages);
    let skipped = &bootstrap["metadata"]["annotations"]["run.tanzu.vmware.com/skip-packageinstall-deletion"];
    assert_eq!(skipped, "antrea,load-balancer-and-ingress-service");
    tkg.is_at_rest(&["w1", "w2"]).await;
    tkg.adopts("w1").await;
    let password = tkg.secret("w1-avi-credentials").await.unwrap().data.unwrap()["password"].0.clone();

    classic.workload.delete().await.unwrap();
    classic.workload.deleted(PATIENCE).await.unwrap();
    tkg.has_nothing("w1").await;

    tkg.rig.management.kubectl(&["label", "cluster", "w2", &format!("{LABEL}-")]).await.unwrap();
    tkg.is_let_go("w2").await;
    assert_eq!(tkg.entry("w2").await["spec"]["additionalPackages"], packages, "its removal is forbidden");
    let events = [
        "get",
        "events",
        "--field-selector=reason=AddonPackageStays",
        "-o",
        "jsonpath={.items[*].involvedObject.name}",
    ];
    eventually("an event says so", PATIENCE, async || {
        Ok((tkg.rig.management.kubectl(&events).await? == "w2").then_some(()))
    })
    .await
    .unwrap();
    tkg.nothing_is_left().await;
    class_based.workload.delete().await.unwrap();
    class_based.workload.deleted(PATIENCE).await.unwrap();

    let used = tkg.rig.site().requests().unwrap();
    for (verb, resource) in
        [("get", "clusterbootstraps"), ("patch", "clusterbootstraps"), ("get", "tanzukubernetesreleases")]
    {
        assert!(
            used.iter().any(|it| it.verb == verb && it.resource == resource),
            "{verb} {resource} is not needed"
        );
    }
    let password = String::from_utf8(password).unwrap();
    assert!(!tkg.operator.process.log().contains(&password));
    assert!(
        !tkg.rig
            .management
            .kubectl(&["get", "events", "-A", "-o", "json"])
            .await
            .unwrap()
            .contains(&password)
    );
}

#[tokio::test]
async fn what_ako_gives_up_is_removed_once_the_add_on_manager_has_removed_it() {
    let tkg = Tkg::start().await;
    let (guest, _manager) = tkg.cluster("w1", false).await;
    guest.ako.set_cleanup(Cleanup::TimesOut);
    tkg.rig.management.kubectl(&["label", "cluster", "w1", &format!("{LABEL}-")]).await.unwrap();
    tkg.is_let_go("w1").await;
    let events = ["get", "events", "-o", "jsonpath={.items[?(@.reason==\"AviObjectsRemoved\")].message}"];
    eventually("an event says what was left", PATIENCE, async || {
        let printed = tkg.rig.management.kubectl(&events).await?;
        Ok(printed.contains("removed 4 objects").then_some(()))
    })
    .await
    .unwrap();
    tkg.nothing_is_left().await;
    guest.workload.delete().await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();
}
