//! Carries out a plan.

use std::time::{Duration, Instant};

use infra_clients::capi::{self, Cluster};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use operator_kit::{Foreign, Key, KitError, Notice};
use serde_json::{Value, json};

use super::account::user_of;
use super::glance::avi_name;
use super::live::{api, value};
use super::plan::Plan;
use super::report::Report;
use super::seen::ObjectWrite;
use super::writes::blame;
use super::{Clusters, GATEWAY_STATUS_ANNOTATION, STATUS_ANNOTATION};
use crate::api::{HOOK_OWNER, PRE_TERMINATE_HOOK, reason};
use crate::conditions::ConditionWriter;
use crate::delivery::addon::PACKAGE;
use crate::delivery::{Side, Target};
use crate::error::Error;
use crate::purge;

/// What was removed of what AKO has left on AVI.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removed {
    /// So many objects.
    Objects(usize),
    /// Nothing: what has the marks may be of others.
    OfOthers,
}

/// How long the writes of one plan may take: an API server that answers slowly must not keep the controller from other Clusters.
const WRITES: Duration = Duration::from_secs(5);

impl Clusters {
    pub(super) async fn carry_out(
        &self,
        cluster: &Foreign<Cluster>,
        plan: Plan,
    ) -> Result<Option<Notice>, Error> {
        if matches!(plan, Plan::Apply(_) | Plan::DeleteConfig { .. }) {
            // AKO makes objects again, or may have.
            self.memory.purged(cluster, false);
        }
        match plan {
            Plan::Watch => {
                let opened = self.open(cluster).await?;
                self.sets.start(&Key::of(cluster), &opened.version, &opened.client);
                self.memory.watched(cluster, opened.version);
            }
            Plan::Hook { add, remove } => self.hook(cluster, &add, &remove).await?,
            Plan::Apply(changes) => self.write(cluster, changes).await?,
            Plan::DeleteConfig { stale, changes } => {
                let stale = stale.map(|target| {
                    let silent = json!({STATUS_ANNOTATION: null, GATEWAY_STATUS_ANNOTATION: null});
                    ObjectWrite { target, patch: Patch::Merge(json!({"metadata": {"annotations": silent}})) }
                });
                self.write(cluster, stale.into_iter().chain(changes)).await?;
            }
            Plan::Remove(targets) => return self.remove(cluster, &targets).await,
            Plan::Report(report) => return self.report(cluster, report).await,
            Plan::Account(step) => return self.step(cluster, step).await,
            Plan::RemoveUser { once: false } => self.remove_user(cluster).await?,
            Plan::RemoveUser { once: true } => return self.remove_user_once(cluster).await,
            Plan::Purge { once: false } => return self.purge(cluster).await,
            Plan::Purge { once: true } => return Ok(Some(self.purge_once(cluster).await)),
        }
        Ok(None)
    }

    pub(super) async fn report(&self, cluster: &Cluster, report: Report) -> Result<Option<Notice>, Error> {
        let writer = ConditionWriter { clusters: &self.clusters, manager: &self.manager, clock: &self.clock };
        writer.write(cluster, &report.set, &report.remove).await?;
        Ok(report.notice)
    }

    /// Removes what AKO left on AVI. The next pass looks whether more is left.
    async fn purge(&self, cluster: &Foreign<Cluster>) -> Result<Option<Notice>, Error> {
        let removed = self.remove_from_avi(cluster).await?;
        if matches!(removed, Removed::Objects(0) | Removed::OfOthers) {
            self.memory.purged(cluster, true);
        }
        self.triggers.wake(&Key::of(cluster));
        Ok((removed != Removed::Objects(0)).then(|| removed_notice(cluster, removed)))
    }

    /// Removes what AKO left on AVI, as far as that is possible now.
    async fn purge_once(&self, cluster: &Foreign<Cluster>) -> Notice {
        let removed = self.remove_from_avi(cluster).await;
        let controller = self.controller_of(cluster);
        self.memory.purged(cluster, true);
        removed.map_or_else(
            |error| {
                let message = format!(
                    "what AKO made may be left on AVI{controller}, with the marks of ako-{}: {error}",
                    avi_name(cluster)
                );
                Notice::warning(reason::LEFT_ON_AVI, message)
            },
            |removed| removed_notice(cluster, removed),
        )
    }

    async fn remove_from_avi(&self, cluster: &Foreign<Cluster>) -> Result<Removed, Error> {
        // It was known a moment ago: the next pass says what is missing.
        let Some((adc, place, avi)) = self.at_avi(cluster).await? else {
            return Err(KitError::StillChanging.into());
        };
        if self.is_of_others(cluster, &adc, &avi).await? {
            return Ok(Removed::OfOthers);
        }
        let target = purge::Target {
            cluster: avi_name(cluster),
            tenant: place.tenant_of(cluster.namespace(), cluster.name()),
            cloud: place.cloud,
        };
        Ok(Removed::Objects(purge::purge(&avi, &target).await?))
    }

    async fn hook(&self, cluster: &Cluster, add: &[String], remove: &[String]) -> Result<(), Error> {
        let add = add.iter().map(|name| (name, Some(HOOK_OWNER)));
        let remove = remove.iter().map(|name| (name, None));
        for (name, value) in add.chain(remove) {
            let Some(machine) = self.machines.cache().valid(&Key::new(cluster.namespace(), name)) else {
                continue;
            };
            let patch = json!({"metadata": {"annotations": {PRE_TERMINATE_HOOK: value}}});
            // One that has changed meanwhile is patched in the next look.
            self.machines.merge(&self.manager, &machine, patch).await?;
        }
        Ok(())
    }

    /// Writes objects, as far as the time goes: the next look finds the rest.
    async fn write(
        &self,
        cluster: &Cluster,
        changes: impl IntoIterator<Item = ObjectWrite>,
    ) -> Result<(), Error> {
        let (mut workload, mut reverted, began) = (None, Vec::new(), Instant::now());
        for ObjectWrite { target, patch } in changes {
            let mut params =
                PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
            params.force = matches!(patch, Patch::Apply(_));
            let api = api(&self.client_of(cluster, target.side, &mut workload).await?, &target);
            let sent = match &patch {
                Patch::Apply(sent) | Patch::Merge(sent) | Patch::Strategic(sent) => Some(sent),
                _ => None,
            };
            if let Some(object) = self.find_reverted(cluster, &target, &api, sent).await? {
                reverted.push(object);
                continue;
            }
            let written = api.patch(&target.name, &params, &patch).await;
            let stored = written.map_err(|error| self.refused(cluster, &target, error))?;
            if let (Side::Workload, Patch::Apply(sent)) = (target.side, &patch) {
                self.memory.sent(cluster, &target, sent, &value(&stored), self.clock.now());
            }
            if began.elapsed() >= WRITES {
                break;
            }
        }
        if reverted.is_empty() { Ok(()) } else { Err(Error::Reverted(reverted.join(", "))) }
    }

    /// Returns the error of a write, which changed nothing.
    fn refused(&self, cluster: &Cluster, target: &Target, error: kube::Error) -> Error {
        self.memory.take_back(cluster, target);
        failed(target, error)
    }

    /// Returns an object of the workload cluster that was written in the same way again and again of late, and who changes it; `None` if
    /// it may be written, which counts.
    async fn find_reverted(
        &self,
        cluster: &Cluster,
        target: &Target,
        api: &Api<DynamicObject>,
        sent: Option<&Value>,
    ) -> Result<Option<String>, Error> {
        if target.side == Side::Management || self.memory.admit(cluster, target, sent, self.clock.now()) {
            return Ok(None);
        }
        let live = api.get_opt(&target.name).await.map_err(|error| failed(target, error))?;
        Ok(Some(blame(target, live.as_ref(), &self.manager)))
    }

    /// Deletes objects; a StatefulSet stays until its Pods are gone, so that its absence says that AKO has ended. As far as the time goes.
    async fn remove(&self, cluster: &Cluster, targets: &[Target]) -> Result<Option<Notice>, Error> {
        let (mut workload, mut reverted, began) = (None, Vec::new(), Instant::now());
        for target in targets {
            let api = api(&self.client_of(cluster, target.side, &mut workload).await?, target);
            let params = match target.side {
                Side::Management => DeleteParams::default(),
                Side::Workload => DeleteParams::foreground(),
            };
            if let Some(object) = self.find_reverted(cluster, target, &api, None).await? {
                reverted.push(object);
                continue;
            }
            match api.delete(&target.name, &params).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                deleted => drop(deleted.map_err(|error| self.refused(cluster, target, error))?),
            }
            if began.elapsed() >= WRITES {
                break;
            }
        }
        if !reverted.is_empty() {
            return Err(Error::Reverted(reverted.join(", ")));
        }
        let is_withdrawn = targets.iter().any(|target| target.side == Side::Management);
        let stays = is_withdrawn && cluster.is_class_based() && !cluster.is_deleting();
        Ok(stays.then(|| {
            let message = format!(
                "the ClusterBootstrap {} keeps the package {PACKAGE}, as TKG's webhook forbids to remove one: AKO stays in the workload \
                 cluster, and makes nothing on AVI",
                Key::of(cluster)
            );
            Notice::normal(reason::PACKAGE_STAYS, message)
        }))
    }

    /// Returns a client of the cluster on a side; `workload` is that of the workload cluster, once it is open.
    async fn client_of(
        &self,
        cluster: &Cluster,
        side: Side,
        workload: &mut Option<Client>,
    ) -> Result<Client, Error> {
        Ok(match (side, &workload) {
            (Side::Management, _) => self.client.clone(),
            (Side::Workload, Some(client)) => client.clone(),
            (Side::Workload, None) => workload.insert(self.open(cluster).await?.client).clone(),
        })
    }
}

fn failed(target: &Target, error: kube::Error) -> Error {
    match target.side {
        Side::Management => error.into(),
        Side::Workload => capi::Error::from(error).into(),
    }
}

fn removed_notice(cluster: &Cluster, removed: Removed) -> Notice {
    match removed {
        Removed::Objects(objects) => {
            let message = format!("removed {objects} objects that AKO had left on AVI");
            Notice::normal(reason::REMOVED_FROM_AVI, message)
        }
        Removed::OfOthers => {
            let message = format!(
                "the AVI user {} has not the mark of this management cluster: it stays, and so does what has the marks of ako-{}, as a Cluster \
                 of another one may use both; if none does, remove them by hand",
                user_of(cluster),
                avi_name(cluster)
            );
            Notice::warning(reason::LEFT_ON_AVI, message)
        }
    }
}
