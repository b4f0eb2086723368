//! A simulator with a client, and waiting for what they come to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use infra_clients::Secret;
use infra_clients::vsphere::vms::{Change, Changes, CloneSpec, Link, Task, Template, Vms};
use infra_clients::vsphere::{Config, Error, MoRef, Session, Trust, vms};
use testbed::{Vcsim, VcsimBuilder, eventually};

pub(crate) const SOON: Duration = Duration::from_mins(3);
pub(crate) const OWNER: &str = "vmgroup/owner";
pub(crate) const ROOT: &str = "vm-operator";

/// The calls of a watch at rest, and those that a refresh needs.
pub(crate) const IDLE: &[&str] = &["WaitForUpdatesEx", "CancelWaitForUpdates"];

pub(crate) struct Rig {
    pub(crate) sim: Vcsim,
    pub(crate) session: Session,
    pub(crate) vms: Vms,
}

pub(crate) fn session_config(sim: &Vcsim) -> Config {
    let mut config = Config::new(sim.host(), sim.user(), Secret::new(sim.password()));
    config.trust = Trust::CaBundle(sim.ca_pem().into());
    config
}

pub(crate) fn vms_config() -> vms::Config {
    vms::Config { marker_prefix: "vmgroup/".to_owned(), ..vms::Config::new(ROOT) }
}

/// Starts a client of the simulator with other settings than the default.
pub(crate) fn start(
    sim: &Vcsim,
    change: impl FnOnce(&mut Config, &mut vms::Config),
) -> Result<(Session, Vms)> {
    let (mut session, mut vms) = (session_config(sim), vms_config());
    change(&mut session, &mut vms);
    let session = Session::start(session)?;
    Ok((session.clone(), Vms::start(session, vms)))
}

/// Waits until the link is up; a failure names the reason it is not.
pub(crate) async fn up(vms: &Vms) -> Result<()> {
    let mut link = vms.link();
    let waiting = link.wait_for(Link::is_up);
    if tokio::time::timeout(SOON, waiting).await.is_err() {
        bail!("not up: {:?}", vms.link().borrow().clone());
    }
    Ok(())
}

/// Waits until the link is down, and returns why.
pub(crate) async fn down(vms: &Vms) -> Result<Error> {
    let mut link = vms.link();
    let waiting = link.wait_for(|link| matches!(link, Link::Down(_)));
    match tokio::time::timeout(SOON, waiting).await.context("still not down")??.clone() {
        Link::Down(error) => Ok(error),
        link => bail!("not down but {link:?}"),
    }
}

/// Waits until it is known what a template is.
pub(crate) async fn template(vms: &Vms, name: &str) -> Result<MoRef, Error> {
    let answer = eventually("the template to be known", SOON, async || {
        vms.request_template(name);
        Ok(match vms.template(name) {
            Template::Known(moref) => Some(Ok(moref)),
            Template::Failed(error) => Some(Err(error)),
            Template::Unknown | Template::LookingUp => None,
        })
    });
    match answer.await {
        Ok(answer) => answer,
        Err(error) => Err(Error::new(infra_clients::vsphere::Kind::Timeout, error.to_string())),
    }
}

impl Rig {
    pub(crate) async fn start() -> Result<Self> {
        Self::with(Vcsim::builder(), |_, _| {}).await
    }

    pub(crate) async fn with(
        builder: VcsimBuilder,
        change: impl FnOnce(&mut Config, &mut vms::Config),
    ) -> Result<Self> {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(std::env::var("RUST_LOG").unwrap_or_default())
            .try_init();
        let sim = builder.start().await?;
        let (session, vms) = start(&sim, change)?;
        up(&vms).await?;
        Ok(Self { sim, session, vms })
    }

    pub(crate) fn root(&self) -> Result<MoRef> {
        self.vms.read(|inventory| inventory.root_folder().cloned()).context("no root folder")
    }

    /// Submits a clone of `photon`.
    pub(crate) async fn submit(&self, folder: &MoRef, name: &str) -> Result<MoRef> {
        let template = template(&self.vms, "photon").await?;
        Ok(self.vms.clone_vm(&spec(&template, folder, name)).await?)
    }

    pub(crate) async fn ended(&self, task: &MoRef) -> Result<Arc<Task>> {
        eventually("the task to end", SOON, async || {
            let task = self.vms.read(|inventory| inventory.task(task).cloned()).context("no such task")?;
            Ok(task.state.ended().then_some(task))
        })
        .await
    }

    /// Clones and waits for the clone.
    pub(crate) async fn make(&self, folder: &MoRef, name: &str) -> Result<MoRef> {
        let task = self.submit(folder, name).await?;
        let task = self.ended(&task).await?;
        task.result.clone().with_context(|| format!("no VM: {:?}", task.error))
    }

    /// Closes the client; returns the changes sent up to then.
    pub(crate) async fn received(&self, mut changes: Changes) -> Result<Vec<Change>> {
        self.vms.close().await;
        let mut received = Vec::new();
        while let Some(change) = tokio::time::timeout(SOON, changes.next()).await? {
            received.push(change);
        }
        Ok(received)
    }

    /// Returns the calls since the last reset that are not in `but`.
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
