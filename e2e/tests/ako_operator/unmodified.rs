//! Seed 000's walk-through with an unmodified AKO: its binary runs as the operator delivers it, with the rights of the operator's
//! ClusterRole in Kubernetes, and those of the operator's roles on AVI.
//!
//! AKO is not a dependency of ours and is not published as a Go module, so the user gives its binary, in `AKO_BIN`, and the directory of its
//! CustomResourceDefinitions, in `AKO_CRDS`. `cargo xtask test ako` runs these tests where both are given.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use e2e::PATIENCE;
use serde_json::{Value, json};
use testbed::{ControlPlane, ControlPlaneBuilder, Port, Workload, eventually};

use super::kubelet::Kubelet;
use super::{Serves, Walk, on_avi};

/// AKO in Kubernetes.
const ACCOUNT: &str = "system:serviceaccount:avi-system:ako-sa";
/// AKO on AVI.
const USER: &str = "w1-default-ako-user";

/// AKO itself.
struct Unmodified {
    kubelet: Kubelet,
    /// AKO listens on this machine.
    port: Port,
}

impl Serves for Unmodified {
    fn plane() -> ControlPlaneBuilder {
        ControlPlane::builder().all_controllers(true).audit(true)
    }

    async fn start(workload: &Arc<Workload>) -> Result<Self> {
        let program = PathBuf::from(env::var_os("AKO_BIN").context("AKO_BIN names no binary")?);
        let crds = env::var("AKO_CRDS").context("AKO_CRDS names no directory of CRDs")?;
        workload.plane().kubectl(&["apply", "--server-side", "-f", &crds]).await?;
        Ok(Self { kubelet: Kubelet::start(workload, program)?, port: Port::reserve()? })
    }

    fn spec(&self) -> Value {
        json!({ "extraConfigs": { "apiServerPort": self.port.number() } })
    }

    fn starts(&self) -> usize {
        self.kubelet.starts()
    }

    fn trouble(&self) -> String {
        format!("{:?}\n{}", self.kubelet.trouble(), self.kubelet.log())
    }
}

/// AKO has asked for nothing that its account in Kubernetes, or its user on AVI, may not have.
async fn nothing_was_refused(walk: &Walk<Unmodified>) {
    let is_refused = |status: u16| matches!(status, 401 | 403);
    let requests = walk.rig.simulator.control().requests();
    let mine: Vec<_> = requests.iter().filter(|request| request.user.as_deref() == Some(USER)).collect();
    assert!(mine.len() > 10, "AKO works as its user: {mine:#?}");
    let refused: Vec<_> = mine.iter().filter(|request| is_refused(request.status)).collect();
    assert!(refused.is_empty(), "AVI has refused {refused:#?}");
    let events = walk.workload.plane().audit_events().unwrap();
    let mine: Vec<_> = events.iter().filter(|event| event.user == ACCOUNT).collect();
    assert!(mine.len() > 10, "AKO works as its account: {mine:#?}");
    let refused: Vec<_> = mine.iter().filter(|event| is_refused(event.code)).collect();
    assert!(refused.is_empty(), "Kubernetes has refused {refused:#?}");
}

/// The Cluster goes: AKO takes away what it has made and says so, and nothing is left.
async fn ends(walk: &Walk<Unmodified>) {
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.has_no_user().await;
    nothing_was_refused(walk).await;
    let events = ["get", "events", "-o", "jsonpath={.items[?(@.reason=='AviObjectsRemoved')].message}"];
    walk.shows(&events, "").await;
}

#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn the_walk_through_comes_true_with_ako_itself() {
    let walk = Walk::<Unmodified>::with(json!({})).await;
    walk.has_a_user().await;
    ends(&walk).await;
    walk.nothing_is_left().await;
}

#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn ako_itself_works_in_a_tenant_of_its_own() {
    let walk = Walk::<Unmodified>::with(json!({"tenant": {"name": "tkg", "scope": "Namespace"}})).await;
    walk.has_a_user().await;
    walk.works_in("tkg-default").await;
    ends(&walk).await;
    eventually("the tenant is gone", PATIENCE, async || {
        Ok((on_avi(&walk, "tenant") == ["admin"]).then_some(()))
    })
    .await
    .unwrap();
    walk.nothing_is_left().await;
}
