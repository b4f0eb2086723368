//! A simulator and a client of it, and waiting for what one of them should come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use infra_clients::Secret;
use infra_clients::vsphere::{Change, Changes, CloneSpec, Config, Error, Link, MoRef, Task, Trust, VCenter};
use testbed::{Vcsim, VcsimBuilder, eventually};

pub(crate) const SOON: Duration = Duration::from_mins(3);
pub(crate) const OWNER: &str = "vmgroup/owner";

/// Calls that do something, as against those that look.
pub(crate) const IDLE: &[&str] = &["WaitForUpdatesEx", "CancelWaitForUpdates"];

pub(crate) struct Rig {
    pub(crate) sim: Vcsim,
    pub(crate) vc: VCenter,
}

pub(crate) fn config(sim: &Vcsim) -> Config {
    let mut config = Config::new(sim.host(), sim.user(), Secret::new(sim.password()), "vm-operator");
    config.trust = Trust::CaBundle(sim.ca_pem().into());
    "vmgroup/".clone_into(&mut config.marker_prefix);
    config
}

/// Waits until the connection is up; a failure names the reason it is not.
pub(crate) async fn up(vc: &VCenter) -> Result<()> {
    let mut link = vc.link();
    let waiting = link.wait_for(Link::is_up);
    if tokio::time::timeout(SOON, waiting).await.is_err() {
        bail!("not up: {:?}", vc.link().borrow().clone());
    }
    Ok(())
}

/// Waits until the connection is down, and says why.
pub(crate) async fn down(vc: &VCenter) -> Result<Arc<Error>> {
    let mut link = vc.link();
    let waiting = link.wait_for(|link| matches!(link, Link::Down(_)));
    match tokio::time::timeout(SOON, waiting).await.context("still not down")??.clone() {
        Link::Down(error) => Ok(error),
        link => bail!("not down but {link:?}"),
    }
}

impl Rig {
    pub(crate) async fn start() -> Result<Self> {
        Self::with(Vcsim::builder(), |_| {}).await
    }

    pub(crate) async fn with(builder: VcsimBuilder, change: impl FnOnce(&mut Config)) -> Result<Self> {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(std::env::var("RUST_LOG").unwrap_or_default())
            .try_init();
        let sim = builder.start().await?;
        let mut config = config(&sim);
        change(&mut config);
        let vc = VCenter::start(config)?;
        up(&vc).await?;
        Ok(Self { sim, vc })
    }

    /// Submits a clone of `photon`.
    pub(crate) async fn submit(&self, folder: &MoRef, name: &str) -> Result<MoRef> {
        let template = self.vc.template("photon").await?;
        Ok(self.vc.clone_vm(&spec(&template, folder, name)).await?)
    }

    pub(crate) async fn ended(&self, task: &MoRef) -> Result<Arc<Task>> {
        eventually("the task to end", SOON, async || {
            let task = self.vc.read(|inventory| inventory.task(task).cloned()).context("no such task")?;
            Ok(task.state.ended().then_some(task))
        })
        .await
    }

    /// Clones and waits for it.
    pub(crate) async fn make(&self, folder: &MoRef, name: &str) -> Result<MoRef> {
        let task = self.submit(folder, name).await?;
        let task = self.ended(&task).await?;
        task.result.clone().with_context(|| format!("no VM: {:?}", task.error))
    }

    /// The news told up to now, and that they end.
    pub(crate) async fn told(&self, mut changes: Changes) -> Result<Vec<Change>> {
        self.vc.close().await;
        let mut told = Vec::new();
        while let Some(change) = tokio::time::timeout(SOON, changes.next()).await? {
            told.push(change);
        }
        Ok(told)
    }

    /// The calls since the last reset that are not in `but`.
    pub(crate) async fn calls_but(&self, but: &[&str]) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.sim.calls().await?;
        calls.retain(|method, _| !but.contains(&method.as_str()));
        Ok(calls)
    }
}

pub(crate) fn spec<'a>(template: &'a MoRef, folder: &'a MoRef, name: &'a str) -> CloneSpec<'a> {
    CloneSpec {
        template,
        folder,
        name,
        instance_uuid: "5030b1c6-8a3f-4b52-9e70-0123456789ab",
        cpus: 2,
        memory_mb: 2048,
        power_on: true,
        extra_config: &[(OWNER, "a<b&c é"), ("vmgroup/revision", "r1"), ("other", "x")],
        op_id: "test-1",
    }
}
