//! Seed 000's walk-through with an unmodified AKO: its binary runs as the operator delivers it, with the rights of the operator's
//! ClusterRole in Kubernetes, and those of the operator's roles on AVI. The operator delivers AKO's own definitions of its kinds.
//!
//! AKO is not a dependency of ours and is not published as a Go module, so the user gives its binary, in `AKO_BIN`, and the directory of its
//! CustomResourceDefinitions, in `AKO_CRDS`, as the operator reads it. `cargo xtask test ako` runs these tests where both are given.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::{AkoRig, Launch, PATIENCE};
use serde_json::{Value, json};
use testbed::{ControlPlane, Port, eventually};

use super::kubelet::Kubelet;
use super::{CLUSTER, FINALIZER, Serves, Walk, WorkloadCluster};

/// AKO in Kubernetes.
const ACCOUNT: &str = "system:serviceaccount:avi-system:ako-sa";
/// AKO on AVI.
const USER: &str = "w1-default-ako-user";

/// AKO itself.
struct Unmodified {
    kubelet: Kubelet,
    /// AKO listens on this machine.
    port: Port,
    /// Directory of its definitions.
    definitions: OsString,
}

impl Serves for Unmodified {
    async fn plane(_: &AkoRig) -> Result<Arc<ControlPlane>> {
        Ok(Arc::new(ControlPlane::builder().all_controllers(true).audit(true).start().await?))
    }

    async fn start(workload: &Arc<WorkloadCluster>) -> Result<Self> {
        let program = PathBuf::from(env::var_os("AKO_BIN").context("AKO_BIN names no binary")?);
        let definitions = env::var_os("AKO_CRDS").context("AKO_CRDS names no directory of CRDs")?;
        // As the controller manager does where it allocates them.
        let nodes = workload.plane().kubectl(&["get", "nodes", "-o", "name"]).await?;
        for (number, node) in nodes.lines().enumerate() {
            let cidr = format!("192.168.{number}.0/24");
            let patch = json!({ "spec": { "podCIDR": cidr, "podCIDRs": [cidr] } }).to_string();
            workload.plane().kubectl(&["patch", node, "-p", &patch]).await?;
        }
        Ok(Self { kubelet: Kubelet::start(workload, program)?, port: Port::reserve()?, definitions })
    }

    fn launch(&self, launch: Launch) -> Launch {
        launch.env("AKO_CRDS", &self.definitions)
    }

    fn adjust(&self, config: &mut Value) {
        config["spec"]["extraConfigs"]["apiServerPort"] = self.port.number().into();
    }

    fn starts(&self) -> usize {
        self.kubelet.starts()
    }

    fn trouble(&self) -> String {
        format!("{:?}\n{}", self.kubelet.trouble(), self.kubelet.log())
    }
}

/// An Ingress with a host by itself, and one under TLS, has an address: AKO needs rights for it that a Service does not ask for.
async fn has_an_ingress(walk: &Walk<Unmodified>) {
    let rule = |host: &str| {
        json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}})
    };
    let meta = |name: &str| json!({"name": name, "namespace": "default"});
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta("web-tls"), "type": "kubernetes.io/tls",
         "stringData": {"tls.crt": "CERT", "tls.key": "KEY"}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta("web"),
         "spec": {"ingressClassName": "avi-lb", "rules": [rule("web.avi.test"), rule("secure.avi.test")],
                  "tls": [{"hosts": ["secure.avi.test"], "secretName": "web-tls"}]}},
    ]});
    walk.workload.plane().kubectl_stdin(&["apply", "-f", "-"], &both.to_string()).await.unwrap();
    walk.has_address("ingress/web").await;
    for kind in ["httppolicyset", "poolgroup", "sslkeyandcertificate"] {
        let made = walk.rig.simulator.control().diff(&walk.before).added;
        assert!(made.iter().any(|change| change.kind == kind), "no {kind} in {made:#?}");
    }
}

/// Deletes the Cluster: AKO takes away what it has made, and nothing that it asks for is refused.
async fn ends(walk: &Walk<Unmodified>) {
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.has_no_user().await;
    let requests = walk.rig.simulator.control().requests();
    let mut mine = requests.iter().filter(|request| request.user.as_deref() == Some(USER));
    let refused: Vec<_> = mine.clone().filter(|request| request.status == 403).collect();
    assert!(refused.is_empty(), "AVI has refused {refused:#?}");
    let is_removal = |path: &str| path == "/api/virtualservice/{uuid}";
    assert!(mine.any(|request| request.method == "DELETE" && is_removal(&request.template)));

    let events = walk.workload.plane().audit_events().unwrap();
    let mut mine = events.iter().filter(|event| event.user == ACCOUNT);
    let refused: Vec<_> = mine.clone().filter(|event| event.code == 403).collect();
    assert!(refused.is_empty(), "Kubernetes has refused {refused:#?}");
    let is_answer = |kind: &str, name: &str| kind == "statefulsets" && name == "ako";
    assert!(mine.any(|event| event.is_write() && is_answer(&event.resource, &event.name)));
}

/// The operator had nothing to remove in place of AKO.
async fn all_was_removed_by_ako(walk: &Walk<Unmodified>) {
    let events = ["get", "events", "-o", "jsonpath={.items[?(@.reason=='AviObjectsRemoved')].message}"];
    walk.shows(&events, "").await;
}

#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn the_walk_through_comes_true_with_ako_itself() {
    let walk = Walk::<Unmodified>::with(json!({})).await;
    walk.has_a_user().await;
    has_an_ingress(&walk).await;
    ends(&walk).await;
    all_was_removed_by_ako(&walk).await;
    walk.nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn ako_itself_works_in_a_tenant_of_its_own() {
    let walk = Walk::<Unmodified>::with(json!({"tenant": {"name": "tkg", "scope": "Namespace"}})).await;
    walk.has_a_user().await;
    has_an_ingress(&walk).await;
    walk.works_in("tkg-default").await;
    ends(&walk).await;
    all_was_removed_by_ako(&walk).await;
    walk.tenant_is_gone().await;
    walk.nothing_is_left().await;
}

/// AVI reaches the Pods by routes to their Nodes: AKO writes into objects of the provider, and that is taken back. By the operator, if it is
/// first: AKO says `Done` before it takes its label from the service engine group.
#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn ako_itself_routes_to_pods_from_a_tenant() {
    let routes = json!({ "disableStaticRouteSync": false, "ingress": { "serviceType": "ClusterIP" } });
    let tenant = json!({"name": "tkg", "scope": "Cluster"});
    let walk = Walk::<Unmodified>::with(json!({"tenant": tenant, "extraConfigs": routes})).await;
    eventually("the routes are there", PATIENCE, async || {
        let changed = walk.rig.simulator.control().diff(&walk.before).changed;
        let has = |kind: &str, field: &str| {
            let is_it = |is: &String| is == field;
            changed.iter().any(|change| change.kind == kind && change.fields.iter().any(is_it))
        };
        let is_there = has("vrfcontext", "static_routes") && has("serviceenginegroup", "labels");
        anyhow::ensure!(is_there, "{changed:#?}\n{}", walk.ako.trouble());
        Ok(Some(()))
    })
    .await
    .unwrap();
    ends(&walk).await;
    walk.nothing_is_left().await;
}

/// AKO serves no probe once its Secret has changed, which starts it again: with what the Secret says then.
#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn ako_itself_starts_again_with_another_password() {
    let walk = Walk::<Unmodified>::with(json!({})).await;
    let rotate = format!("{FINALIZER}/rotate-credentials=1");
    walk.rig.management.kubectl(&["annotate", "cluster", CLUSTER, &rotate]).await.unwrap();
    eventually("AKO has started again", PATIENCE, async || Ok((walk.ako.starts() == 2).then_some(())))
        .await
        .unwrap();
    walk.has_a_user().await;
    walk.balance("another").await;
    ends(&walk).await;
    walk.avi_is_as_before().await;
}
