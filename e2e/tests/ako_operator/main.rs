//! ako-operator's binary, under its own ServiceAccount and shipped RBAC, with a real Cluster API, a real workload cluster, a stand-in for
//! AKO in it, and a simulated AVI controller. Each test has its own; the control planes are those of tests that have ended, as they were before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test, as the test itself does"
)]

mod addon;
mod addon_manager;
mod bad_days;
mod config_deletion;
mod definitions;
mod endpoint;
mod kept;
mod kubelet;
mod many;
mod observability;
mod port_groups;
mod ready;
mod restored;
mod shared_controller;
mod slow;
mod taken_over;
mod unmodified;
mod webhook;

use std::sync::Arc;

use avi_simulator::store::Snapshot;
use e2e::{AkoRig, Launch, OperatorProcess, PATIENCE, Rig};
use infra_clients::avi::{Avi, Config, Credentials, POOL, Query, Resource, Scope};
use infra_clients::{Secret, Trust};
use serde_json::{Value, json};
use testbed::{Ako, Cleanup, ControlPlane, Workload, eventually};
use tokio::sync::Semaphore;

const CLUSTER: &str = "w1";
const LABEL: &str = AkoRig::LABEL;
const FINALIZER: &str = "ako-operator.network.tkg.tanzu.vmware.com";
const HOOK: &str =
    r"{.items[*].metadata.annotations.pre-terminate\.delete\.hook\.machine\.cluster\.x-k8s\.io/avi-cleanup}";
/// What an AKODeploymentConfig says of the tenants that the operator makes.
const TENANTS: &str =
    r#"jsonpath={range .status.conditions[?(@.type=="TenantsReady")]}{.status} {.reason}{end}"#;
/// Rigs at a time: each has up to two control planes, and waits most of its time.
static PLACES: Semaphore = Semaphore::const_new(5);

/// A workload cluster with a control plane of its own.
type WorkloadCluster = Workload<Arc<ControlPlane>>;

/// What serves the Services of the workload cluster, wherever the operator installs AKO.
trait Serves: Sized {
    /// Returns a control plane for the workload cluster that it needs.
    async fn plane(rig: &AkoRig) -> anyhow::Result<Arc<ControlPlane>>;

    /// Starts it.
    async fn start(workload: &Arc<WorkloadCluster>) -> anyhow::Result<Self>;

    /// Writes into the AKODeploymentConfig what it needs.
    fn adjust(&self, _config: &mut Value) {}

    /// Changes how the operator is started.
    fn launch(&self, launch: Launch) -> Launch {
        launch
    }

    /// Returns how often it was started.
    fn starts(&self) -> usize;

    /// Returns what may have gone wrong, for a message.
    fn trouble(&self) -> String;
}

impl Serves for Ako {
    async fn plane(rig: &AkoRig) -> anyhow::Result<Arc<ControlPlane>> {
        rig.guest_plane().await
    }

    async fn start(workload: &Arc<WorkloadCluster>) -> anyhow::Result<Self> {
        Ok(Self::start(workload.plane().client()))
    }

    fn starts(&self) -> usize {
        self.starts()
    }

    fn trouble(&self) -> String {
        format!("{:?}", self.trouble())
    }
}

/// A rig in which the first half of seed 000's walk-through has come true.
struct Walk<A = Ako> {
    operator: OperatorProcess,
    ako: A,
    workload: Arc<WorkloadCluster>,
    rig: AkoRig,
    before: Snapshot,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Walk {
    async fn start() -> Self {
        Self::with(json!({})).await
    }
}

impl<A: Serves> Walk<A> {
    /// `spec`: fields of the AKODeploymentConfig.
    async fn with(spec: Value) -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        let servers = A::plane(&rig).await.unwrap();
        let workload = rig.management.workload(CLUSTER).start_on(servers).await.unwrap();
        let workload = Arc::new(workload);
        let ako = A::start(&workload).await.unwrap();
        let before = rig.simulator.control().snapshot();
        let operator = rig.operator_with(&ako.launch(rig.launch())).await.unwrap();
        let mut config = rig.config();
        for (field, value) in spec.as_object().unwrap() {
            config["spec"][field] = value.clone();
        }
        ako.adjust(&mut config);
        rig.site().apply(None, &config).await.unwrap();
        let walk = Self { operator, ako, workload, rig, before, _place: place };
        walk.label().await;
        walk
    }

    /// Runs `kubectl` on the management cluster until it prints this.
    async fn shows(&self, args: &[&str], wanted: &str) {
        shows(async || self.rig.management.kubectl(args).await, args, wanted).await;
    }

    /// Waits until a condition of the Cluster has this status and reason; empty: until there is none.
    async fn says(&self, type_: &str, wanted: &str) {
        let path = format!(
            r#"jsonpath={{range .status.conditions[?(@.type=="{type_}")]}}{{.status}} {{.reason}}{{end}}"#
        );
        self.shows(&["get", "cluster", CLUSTER, "-o", &path], wanted).await;
    }

    /// Waits until the message of `AKOInstalled` has this.
    async fn explains(&self, wanted: &str) {
        let path = r#"jsonpath={.status.conditions[?(@.type=="AKOInstalled")].message}"#;
        eventually(&format!("AKOInstalled says {wanted:?}"), PATIENCE, async || {
            let printed = self.rig.management.kubectl(&["get", "cluster", CLUSTER, "-o", path]).await?;
            anyhow::ensure!(printed.contains(wanted), "it says {printed:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Runs `kubectl` on the workload cluster until it prints this.
    async fn workload_shows(&self, args: &[&str], wanted: &str) {
        shows(async || self.workload.plane().kubectl(args).await, args, wanted).await;
    }

    async fn cluster_has(&self, finalizer: bool) {
        let path = "jsonpath={.metadata.finalizers}";
        eventually(&format!("the finalizer is there: {finalizer}"), PATIENCE, async || {
            let printed = self.rig.management.kubectl(&["get", "cluster", CLUSTER, "-o", path]).await?;
            anyhow::ensure!(
                printed.contains(FINALIZER) == finalizer,
                "{printed}\n{}",
                self.operator.process.log()
            );
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Labels the Cluster, and follows the walk-through to the address of a Service.
    async fn label(&self) {
        let rig = &self.rig;
        rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{LABEL}=")]).await.unwrap();
        self.cluster_has(true).await;
        let pod = ["get", "pod", "ako-0", "-n", "avi-system", "-o", "jsonpath={.status.phase}"];
        self.workload_shows(&pod, "Running").await;
        let config =
            ["get", "configmap", "avi-k8s-config", "-n", "avi-system", "-o", "jsonpath={.data.clusterName}"];
        self.workload_shows(&config, "default-w1").await;
        self.shows(&["get", "machines", "-o", &format!("jsonpath={HOOK}")], "ako-operator ako-operator")
            .await;

        self.balance("web").await;
        assert!(!rig.simulator.control().diff(&self.before).is_empty());
        let labels = ["get", "cluster", CLUSTER, "-o", "jsonpath={.metadata.labels}"];
        let labels = rig.management.kubectl(&labels).await.unwrap();
        assert!(
            labels.contains(&format!("{LABEL:?}:\"\"")),
            "the value of the label is the user's: {labels}"
        );
    }

    /// Makes a Service of type LoadBalancer, and waits until it has an address of the VIP network.
    async fn balance(&self, name: &str) {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        self.workload.plane().kubectl_stdin(&["apply", "-f", "-"], &service.to_string()).await.unwrap();
        self.has_address(&format!("service/{name}")).await;
    }

    /// Waits until an object of the workload cluster has an address of the VIP network.
    async fn has_address(&self, object: &str) {
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        eventually(&format!("{object} has an address"), PATIENCE, async || {
            let address = self.workload.plane().kubectl(&["get", object, "-o", path]).await?;
            anyhow::ensure!(address.starts_with("10.92.0."), "{address:?}: {}", self.ako.trouble());
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Returns the users on AVI beside the administrator.
    fn users(&self) -> Vec<String> {
        self.rig.simulator.control().store(|store| {
            let names = store.objects("user").filter_map(|user| user["name"].as_str().map(str::to_owned));
            names.filter(|name| name != "admin").collect()
        })
    }

    /// AKO works as a user of its own, whose Secret is beside the Cluster.
    async fn has_a_user(&self) {
        let secret = ["get", "secret", "w1-avi-credentials", "-o"];
        let of = |key: &str| format!("jsonpath={{.data.{key}}}");
        for (key, inside) in [("username", "username"), ("password", "password")] {
            let mine = self.rig.management.kubectl(&[&secret[..], &[&of(key)]].concat()).await.unwrap();
            assert!(!mine.is_empty(), "{key}");
            let get = ["get", "secret", "avi-secret", "-n", "avi-system", "-o", &of(inside)];
            self.workload_shows(&get, mine.trim()).await;
        }
        let shape = "jsonpath={.type} {.metadata.ownerReferences[0].kind}";
        self.shows(&[&secret[..], &[shape]].concat(), "avi.cluster.x-k8s.io/secret Cluster").await;
        assert_eq!(self.users(), ["w1-default-ako-user"]);
        let logins = self.rig.simulator.control().requests();
        assert!(logins.iter().any(|request| request.user.as_deref() == Some("w1-default-ako-user")));
    }

    /// AKO works in this tenant, as a user without rights in another one.
    async fn works_in(&self, tenant: &str) {
        assert_eq!(on_avi(self, "tenant"), ["admin", tenant]);
        assert!(on_avi(self, "role").contains(&"default-w1-ako-tenant-role".to_owned()));
        let name =
            ["get", "configmap", "avi-k8s-config", "-n", "avi-system", "-o", "jsonpath={.data.tenantName}"];
        self.workload_shows(&name, tenant).await;
        let added = ["get", "adc", "adc", "-o", "jsonpath={.status.added.tenants}"];
        self.shows(&added, &json!([tenant]).to_string()).await;
        self.shows(&["get", "adc", "adc", "-o", TENANTS], "True AsAsked").await;
        let pools = self.rig.simulator.control().store(|store| {
            let found = store.objects("tenant").find(|found| found["name"] == tenant).unwrap();
            let uuid = found["uuid"].as_str().unwrap().to_owned();
            let is_there = |pool: &Value| pool["tenant_ref"].as_str().is_some_and(|of| of.contains(&uuid));
            store.objects("pool").map(is_there).collect::<Vec<_>>()
        });
        assert!(!pools.is_empty() && pools.iter().all(|is_there| *is_there), "{pools:?}");
    }

    /// Neither the user nor its Secret is left.
    async fn has_no_user(&self) {
        self.shows(
            &["get", "secrets", "--field-selector=type=avi.cluster.x-k8s.io/secret", "-o", "name"],
            "",
        )
        .await;
        assert_eq!(self.users(), <[String; 0]>::default());
    }

    /// The tenant that the operator made goes with the last of its Clusters.
    async fn tenant_is_gone(&self) {
        eventually("the tenant is gone", PATIENCE, async || {
            Ok((on_avi(self, "tenant") == ["admin"]).then_some(()))
        })
        .await
        .unwrap();
    }

    /// The condition of the tenants says what keeps one, and Ready is as it was.
    async fn tenant_is_kept_by(&self, what: &str) {
        let message = r#"jsonpath={.status.conditions[?(@.type=="TenantsReady")].message}"#;
        eventually(&format!("{what} keeps the tenant"), PATIENCE, async || {
            let said = self.rig.management.kubectl(&["get", "adc", "adc", "-o", message]).await?;
            anyhow::ensure!(said.contains(what), "it says {said:?}");
            Ok(Some(()))
        })
        .await
        .unwrap();
        self.shows(&["get", "adc", "adc", "-o", TENANTS], "False AviTenantInUse").await;
        self.shows(&["get", "adc", "adc", "-o", "jsonpath={.status.conditions[0].status}"], "True").await;
        let added = ["get", "adc", "adc", "-o", "jsonpath={.status.added.tenants}"];
        self.shows(&added, r#"["tkg-default-w1"]"#).await;
    }

    /// A person removes an object from the tenant of the Cluster.
    async fn remove_from_tenant(&self, kind: &'static str, name: &str) {
        let simulator = &self.rig.simulator;
        let credentials = Credentials::password("admin", Secret::new(simulator.admin_password()));
        let mut client = Config::new(simulator.url(), credentials);
        client.trust = Trust::CaBundle(simulator.ca_pem().as_bytes().to_vec());
        let avi = Avi::start(client).unwrap();
        let (api, kind) = (avi.api(Scope::Name("tkg-default-w1".into())), Resource::any(kind));
        let found = api.by_name(kind, name, &Query::new()).await.unwrap().at_most_one().unwrap().unwrap();
        api.delete(kind, &found.meta.uuid).await.unwrap();
        avi.close().await.unwrap();
    }

    /// Checks that nothing is left, and that AKO was started once.
    async fn nothing_is_left(&self) {
        self.avi_is_as_before().await;
        assert_eq!(self.ako.starts(), 1, "a change of the Secret ends AKO");
    }

    /// Deletes the AKODeploymentConfig. Nothing is on AVI then that was not there before, and the operator has met no bug.
    async fn avi_is_as_before(&self) {
        self.rig.site().remove("adc").await.unwrap();
        let left = self.rig.simulator.control().diff(&self.before);
        assert!(left.is_empty(), "{left:?}");
        let log = self.operator.process.log();
        assert!(!log.contains("panicked") && !log.contains("InternalError"), "{log}");
    }
}

async fn shows(run: impl AsyncFn() -> anyhow::Result<String>, args: &[&str], wanted: &str) {
    eventually(&format!("kubectl {} prints {wanted:?}", args.join(" ")), PATIENCE, async || {
        let printed = run().await?;
        anyhow::ensure!(printed.trim() == wanted, "it prints {printed:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// Seed 000's walk-through, line by line.
#[tokio::test]
async fn the_walk_through_comes_true() {
    let walk = Walk::start().await;
    walk.has_a_user().await;
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.has_no_user().await;
    walk.nothing_is_left().await;
}

#[tokio::test]
async fn a_cluster_waits_for_an_ako_that_hangs() {
    let walk = Walk::start().await;
    walk.ako.set_cleanup(Cleanup::Hangs);
    walk.workload.delete().await.unwrap();
    let status = "jsonpath={.metadata.annotations.AviObjectDeletionStatus}";
    walk.workload_shows(&["get", "statefulset", "ako", "-n", "avi-system", "-o", status], "Started").await;
    let events = [
        "get",
        "events",
        "--field-selector=reason=AKOCleaningUp",
        "-o",
        "jsonpath={.items[*].involvedObject.name}",
    ];
    walk.shows(&events, CLUSTER).await;
    walk.cluster_has(true).await;
    walk.ako.set_cleanup(Cleanup::Prompt);
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.nothing_is_left().await;
}

#[tokio::test]
async fn what_ako_gives_up_is_removed_by_its_marks() {
    let walk = Walk::start().await;
    walk.ako.set_cleanup(Cleanup::TimesOut);
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    let events = ["get", "events", "-o", "jsonpath={.items[?(@.reason=='AviObjectsRemoved')].message}"];
    walk.shows(&events, "removed 4 objects that AKO had left on AVI").await;
    walk.nothing_is_left().await;
}

/// A policy of the workload cluster changes what is delivered: the condition says so, and nothing is sent again and again.
async fn a_policy_changes_the_image(walk: &Walk) {
    let group = "admissionregistration.k8s.io/v1";
    let rules = json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["statefulsets"]}]);
    let image = "/spec/template/spec/containers/0/image";
    let patch = format!(r#"[JSONPatch{{op: "replace", path: "{image}", value: "mirror.example.com/ako"}}]"#);
    let policy = json!({"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": "mirror"},
        "spec": {"matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}]}});
    let binding = json!({"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "mirror"},
        "spec": {"policyName": "mirror"}});
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]}).to_string();
    let plane = walk.workload.plane();
    plane.kubectl_stdin(&["apply", "-f", "-"], &both).await.unwrap();
    let set = ["-n", "avi-system", "patch", "statefulset", "ako", "--type=json", "-p"];
    let edit = json!([{"op": "replace", "path": image, "value": "edited.example.com/ako"}]).to_string();
    // The API server learns of the policy a moment later.
    eventually("the policy works", PATIENCE, async || {
        plane
            .kubectl(
                &[&set[..], &[&edit, "-o", "jsonpath={.spec.template.spec.containers[0].image}"]].concat(),
            )
            .await
            .map(|image| (image == "mirror.example.com/ako").then_some(()))
    })
    .await
    .unwrap();
    let message = r#"jsonpath={.status.conditions[?(@.type=="AKOInstalled")].message}"#;
    eventually("the condition names the StatefulSet", PATIENCE, async || {
        let said = walk.rig.management.kubectl(&["get", "cluster", CLUSTER, "-o", message]).await?;
        anyhow::ensure!(
            said.contains("StatefulSet avi-system/ako"),
            "{said:?}\n{}",
            walk.operator.process.log()
        );
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn removing_the_label_takes_ako_away_in_order() {
    let walk = Walk::start().await;
    a_policy_changes_the_image(&walk).await;
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{LABEL}-")]).await.unwrap();
    walk.cluster_has(false).await;
    walk.has_no_user().await;
    walk.avi_is_as_before().await;
    walk.shows(&["get", "machines", "-o", &format!("jsonpath={HOOK}")], "").await;
    let ours = "app.kubernetes.io/managed-by=ako-operator.network.tkg.tanzu.vmware.com";
    let kinds =
        "statefulsets,secrets,configmaps,serviceaccounts,clusterroles,clusterrolebindings,ingressclasses";
    walk.workload_shows(&["get", kinds, "-A", "-l", ours, "-o", "name"], "").await;
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
}

/// Returns the names of all objects of a kind on AVI.
fn on_avi<A>(walk: &Walk<A>, kind: &str) -> Vec<String> {
    walk.rig.simulator.control().store(|store| {
        let names = store.objects(kind).filter_map(|object| object["name"].as_str().map(str::to_owned));
        names.collect()
    })
}

/// The Clusters of a namespace have a tenant of their own, which goes with the last of them.
#[tokio::test]
async fn a_namespace_has_a_tenant_of_its_own() {
    let walk = Walk::<Ako>::with(json!({"tenant": {"name": "tkg", "scope": "Namespace"}})).await;
    walk.has_a_user().await;
    walk.works_in("tkg-default").await;
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.tenant_is_gone().await;
    walk.nothing_is_left().await;
}

/// What the user of a Cluster made in its tenant keeps that, and nothing else of the AKODeploymentConfig but its deletion: what the operator
/// looks for, and what AVI alone finds. An operator that was not there when the last Cluster was deleted goes on.
#[tokio::test]
async fn a_tenant_with_something_of_a_person_stays_until_that_is_gone() {
    let mut walk = Walk::<Ako>::with(json!({"tenant": {"name": "tkg", "scope": "Cluster"}})).await;
    assert_eq!(on_avi(&walk, "tenant"), ["admin", "tkg-default-w1"]);
    let of = "/api/tenant/?name=tkg-default-w1";
    let pool = json!({"name": "mine", "cloud_ref": "/api/cloud?name=Default-Cloud", "tenant_ref": of});
    let addresses = json!({"name": "unlooked", "tenant_ref": of});
    let content = json!({"pool": [pool], "ipaddrgroup": [addresses]});
    walk.rig.simulator.control().seed_value(content).unwrap();
    walk.operator = walk.rig.operator().await.unwrap();
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.tenant_is_kept_by("pool \"mine\"").await;
    assert_eq!(walk.users(), <[String; 0]>::default());
    let events =
        ["get", "events", "--field-selector=reason=AviTenantInUse", "-o", "jsonpath={.items[*].type}"];
    walk.shows(&events, "Warning").await;

    walk.remove_from_tenant(POOL.kind(), "mine").await;
    // A start looks again at once, else it takes minutes.
    walk.operator = walk.rig.operator().await.unwrap();
    walk.tenant_is_kept_by("IpAddrGroup unlooked").await;
    walk.rig.management.kubectl(&["delete", "adc", "adc", "--wait=false"]).await.unwrap();
    let ready = "jsonpath={.status.conditions[0].reason}";
    walk.shows(&["get", "adc", "adc", "-o", ready], "AviTenantInUse").await;
    walk.remove_from_tenant("ipaddrgroup", "unlooked").await;
    walk.operator = walk.rig.operator().await.unwrap();
    walk.rig.site().gone("adc").await.unwrap();
    let left = walk.rig.simulator.control().diff(&walk.before);
    assert!(left.is_empty(), "{left:?}");
}
