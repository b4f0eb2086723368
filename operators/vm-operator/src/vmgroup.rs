//! The VmGroup controller: keeps the right number of VmInstances and the group's folder, and sums up.
//!
//! Woken by its VmGroup, by news of its VmInstances, and by the vCenter's news of its machines and folder.
//! Never asks the vCenter for a machine: that is the VmInstance controller's.

mod apply;
mod expected;
mod observe;
mod plan;
mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use infra_clients::vsphere::MoRef;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use operator_kit::conditions;
use operator_kit::driver::{Cleanup, Next, Reconciler};
use operator_kit::error::ReconcileError;
use operator_kit::status::Written;

use crate::api::{FINALIZER, GROUP_LABEL, VmGroup, VmGroupStatus, condition, names, reason};
use crate::context::Context;
use crate::error::Error;

use apply::Folder;
use expected::Expected;
use plan::{Observed, Plan, plan};
use status::Pass;

/// How often a settled group is looked at although nothing happened.
const AUDIT: Duration = Duration::from_mins(20);
/// How soon to look again where no event may come.
const SOON: Duration = Duration::from_secs(1);

/// The controller.
pub struct VmGroups {
    ctx: Arc<Context>,
    written: Written<VmGroup>,
    memory: Mutex<HashMap<String, Memory>>,
}

/// What is remembered of a group between passes.
#[derive(Clone, Debug, Default)]
struct Memory {
    expected: Expected,
    /// The task that destroys its folder.
    removal: Option<MoRef>,
}

impl VmGroups {
    /// A controller over `ctx`.
    #[must_use]
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, written: Written::default(), memory: Mutex::default() }
    }

    fn recall(&self, uid: &str) -> Memory {
        let cache = self.ctx.instances_of(uid);
        let mut memory =
            self.memory.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default();
        memory.expected.settle(&cache, Instant::now());
        memory
    }

    fn remember(&self, uid: &str, memory: Memory) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), memory);
    }

    async fn write_status(&self, group: &VmGroup, seen: &Observed, pass: &Pass) -> Result<(), Error> {
        if !seen.synced && seen.blind.is_none() {
            // Just lost, or just started: the last word stands a little longer.
            return Ok(());
        }
        // Another leader says how things are now.
        self.ctx.leadership.check()?;
        let old = self.written.latest(group);
        let selector = format!("{GROUP_LABEL}={}", names::label_value(&group.name_any()));
        let generation = group.metadata.generation.unwrap_or_default();
        let status =
            status::status(old.as_ref(), &group.spec, generation, selector, seen, pass, Timestamp::now());
        let news = ready_reason(Some(&status)) != ready_reason(old.as_ref());
        let warning = news.then(|| warning(&status)).flatten();
        self.written.write(&self.ctx.kit, group, status, Self::NAME).await?;
        if let Some((reason, message)) = warning {
            self.ctx.kit.events().warning(&reason, &message, &group.object_ref(&())).await;
        }
        Ok(())
    }

    async fn announce(&self, group: &VmGroup, plan: &Plan) {
        let mut parts = Vec::new();
        if !plan.create.is_empty() {
            parts.push(format!("making {}", machines(plan.create.len())));
        }
        if !plan.delete.is_empty() {
            parts.push(format!("removing {}", machines(plan.delete.len())));
        }
        if !parts.is_empty() {
            let message = parts.join(", ");
            tracing::info!(message);
            self.ctx.kit.events().normal(reason::SCALING, &message, &group.object_ref(&())).await;
        }
    }
}

fn machines(n: usize) -> String {
    if n == 1 { "1 virtual machine".to_owned() } else { format!("{n} virtual machines") }
}

fn failed(error: &Error) -> Pass {
    Pass::Failed(error.reason(), error.to_string(), reason::needs_help(error.reason()))
}

fn ready_reason(status: Option<&VmGroupStatus>) -> Option<&str> {
    conditions::get(&status?.conditions, condition::READY).map(|c| c.reason.as_str())
}

/// Reason and message, where the status asks for help.
fn warning(status: &VmGroupStatus) -> Option<(String, String)> {
    let ready = conditions::get(&status.conditions, condition::READY)?;
    reason::needs_help(&ready.reason).then(|| (ready.reason.clone(), ready.message.clone()))
}

impl Reconciler for VmGroups {
    type Object = VmGroup;
    type Error = Error;
    const NAME: &'static str = "vmgroup";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    /// Passes over groups are few and short: the instances have the work.
    const CONCURRENCY: u16 = 6;

    async fn reconcile(&self, group: Arc<VmGroup>) -> Result<Next, Error> {
        let uid = group.uid().ok_or(Error::Incomplete("uid"))?;
        let mut memory = self.recall(&uid);
        let seen = observe::observe(&self.ctx, &group, &memory.expected);
        let plan = plan(&group.spec, &seen);
        let result = apply::apply(&self.ctx, &group, &plan, &mut memory.expected).await;
        // What was just written is part of what the status is about.
        let seen = if plan.is_empty() { seen } else { observe::observe(&self.ctx, &group, &memory.expected) };
        self.remember(&uid, memory);
        let pass = result.as_ref().map_or_else(failed, |()| Pass::Ran);
        self.write_status(&group, &seen, &pass).await?;
        result?;
        self.announce(&group, &plan).await;
        Ok(Next::After(if seen.synced { AUDIT } else { self.ctx.settings.grace }))
    }

    async fn cleanup(&self, group: Arc<VmGroup>) -> Result<Cleanup, Error> {
        let uid = group.uid().ok_or(Error::Incomplete("uid"))?;
        let mut memory = self.recall(&uid);
        let seen = observe::observe(&self.ctx, &group, &memory.expected);
        let api = apply::instances(&self.ctx, &group);
        for member in seen.members.iter().filter(|m| !m.deleting) {
            self.ctx.leadership.check()?;
            apply::delete(&api, &member.name, &member.uid).await?;
            memory.expected.deleted(member.uid.clone(), Instant::now());
        }
        self.remember(&uid, memory.clone());
        self.write_status(&group, &seen, &Pass::Deleting).await?;
        if !seen.members.is_empty() {
            return Ok(Cleanup::Later(Next::After(AUDIT)));
        }
        if !seen.synced {
            return Ok(Cleanup::Later(Next::After(self.ctx.settings.grace)));
        }
        // The cache may not show an instance yet; the API server does.
        let ours =
            ListParams::default().labels(&format!("{GROUP_LABEL}={}", names::label_value(&group.name_any())));
        if api.list(&ours).await?.iter().any(|i| i.spec.group_uid == uid) {
            return Ok(Cleanup::Later(Next::After(SOON)));
        }
        let folder = apply::remove_folder(&self.ctx, &group, &mut memory.removal).await;
        self.remember(&uid, memory);
        let folder = match folder {
            Ok(folder) => folder,
            Err(error) => {
                self.write_status(&group, &seen, &failed(&error)).await?;
                return Err(error);
            }
        };
        match folder {
            Folder::Going => return Ok(Cleanup::Later(Next::After(AUDIT))),
            Folder::Kept(strangers) => {
                let name = names::folder(&group.namespace().unwrap_or_default(), &group.name_any());
                let message = format!(
                    "folder {name} holds {strangers} objects that are not this group's; it was left as it is"
                );
                tracing::warn!(message);
                self.ctx.kit.events().warning(reason::FOLDER_KEPT, &message, &group.object_ref(&())).await;
            }
            Folder::Gone => tracing::info!("nothing of the group is left in the vCenter"),
        }
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
        self.written.forget(&uid);
        Ok(Cleanup::Done)
    }
}
