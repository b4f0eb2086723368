//! The VmInstance controller: one virtual machine, from intent to machine to nothing.
//!
//! Woken by its VmInstance, by the vCenter's changes of its machine or task, by responses to its requests, and by the clone
//! queue. Owns the machine that has its marker and its instanceUuid, and never touches another.

mod apply;
mod observe;
mod plan;
mod status;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use operator_kit::{Outcome, Reconciler, Turn};

use crate::api::{FINALIZER, TaskKind, VmInstance, VmInstanceStatus};
use crate::context::Context;
use crate::error::Error;
<<<<<<< HEAD
=======
use crate::ledger::Doubt;
use crate::vcenter;
>>>>>>> clients

pub use observe::{machines, recorded};
pub use plan::Refresh;
use plan::{Action, Seen};

/// The controller.
<<<<<<< HEAD
pub struct VmInstances(pub Arc<Context>);
=======
pub struct VmInstances {
    ctx: Arc<Context>,
    written: Written<VmInstance>,
}

/// The instance a pass is about.
pub struct Subject<'a> {
    /// The object.
    pub instance: &'a VmInstance,
    /// Its UID.
    pub uid: &'a str,
    /// What its machine bears.
    pub marker: &'a Marker,
}

impl VmInstances {
    /// A controller over `ctx`.
    #[must_use]
    pub fn new(ctx: Arc<Context>) -> Self {
        Self { ctx, written: Written::default() }
    }

    /// Forgets an instance that is no more, however it went.
    pub fn departed(&self, uid: &str, instance: &ObjectRef<VmInstance>) {
        self.ctx.departed(uid, instance);
        self.written.forget(uid);
    }

    /// One pass: observe, plan and apply until a step is reached that ends the pass; then status.
    async fn pass(&self, instance: &VmInstance, deleting: bool) -> Result<(Step, Next), Error> {
        let uid = instance.uid().ok_or(Error::Incomplete("uid"))?;
        let marker = self.ctx.marker(instance)?;
        let subject = Subject { instance, uid: &uid, marker: &marker };

        // It may have been moved back since it was last looked for.
        self.ctx.ledger.machine_moved(&uid, None);
        let mut seen = Observed::default();
        let result = self.walk(&subject, deleting, &mut seen).await;
        let verdict = match &result {
            Ok((Step::Blind, _)) => match self.ctx.blind() {
                Some((reason, message)) => {
                    Verdict { ready: operator_kit::conditions::Status::Unknown, reason, message }
                }
                // Just lost, or just started: the last word stands a little longer.
                None => return result,
            },
            Ok((step, _)) => Verdict::of(step, &instance.spec),
            // Another process says how things are now.
            Err(Error::NotLeader(_)) => return result,
            Err(error) => Verdict::not_ready(error.reason(), error.to_string()),
        };
        if !matches!(result, Ok((Step::Gone, _))) {
            self.write_status(instance, &uid, &seen, &verdict).await?;
        }
        result
    }

    async fn walk(
        &self,
        subject: &Subject<'_>,
        deleting: bool,
        seen: &mut Observed,
    ) -> Result<(Step, Next), Error> {
        let ctx = &self.ctx;
        let mut refreshed = false;
        for _ in 0..LOOKS {
            *seen = Observed { refreshed, group: ctx.has_group(subject.instance), ..self.observe(subject) };
            let step = plan(deleting, seen);
            match (&step, &seen.task) {
                (_, Some((TaskKind::Clone, Outcome::Running))) => ctx.hold_gate(subject),
                (Step::Blind | Step::Clone(_), _) => {}
                _ => ctx.leave_gate(&ObjectRef::from(subject.instance)),
            }
            match &step {
                Step::Blind => return Ok((step, Next::After(ctx.settings.grace))),
                Step::Refresh => {
                    ctx.vcenter.fresh().await?;
                    refreshed = true;
                    ctx.ledger.machine_moved(subject.uid, None);
                    if seen.reply_lost {
                        ctx.ledger.set_doubt(subject.uid, Doubt::Unexamined);
                    }
                    continue;
                }
                Step::LookFor(moref) => {
                    tracing::debug!(vm = %moref, task = ?seen.task, deleting, "not in the inventory any more; asking for it");
                    let marker = subject.marker.to_string();
                    match vcenter::vm(&ctx.vcenter, moref).await? {
                        // Nobody can say whose it is.
                        Some(vm) if vm.markers.is_none() => {
                            return Ok((Step::AwaitClarity(moref.clone()), Next::After(CLARITY)));
                        }
                        Some(vm) if vm.marker(OWNER_MARKER) == Some(&marker) => {
                            let moved = (vm.moref.clone(), observe::power(&vm));
                            ctx.ledger.machine_moved(subject.uid, Some(moved));
                        }
                        // A vCenter that was set up anew gives old references to other machines.
                        Some(_) | None => ctx.ledger.machine_gone(subject.uid, moref.clone()),
                    }
                    continue;
                }
                Step::Failed(fault) => {
                    ctx.ledger.settle_task(subject.uid);
                    return Err(Error::VCenter(fault.clone()));
                }
                // The vCenter says that it is on already, or off, and that it is not.
                Step::PowerOn(_) | Step::PowerOff(_)
                    if matches!(
                        seen.task,
                        Some((TaskKind::PowerOn | TaskKind::PowerOff, Outcome::Failed(_)))
                    ) =>
                {
                    ctx.ledger.settle_task(subject.uid);
                    return Ok((step, Next::After(CONTRADICTION)));
                }
                Step::Clone(folder) => apply::clone_vm(ctx, subject, folder).await?,
                Step::PowerOn(vm) => apply::power_on(ctx, subject, vm).await?,
                Step::PowerOff(vm) => apply::power_off(ctx, subject, vm).await?,
                Step::Destroy(vm) => apply::destroy(ctx, subject, vm).await?,
                Step::Conflict(_) | Step::Duplicates(_) | Step::Moved(_) => {
                    let Verdict { reason, message, .. } = Verdict::of(&step, &subject.instance.spec);
                    return Err(Error::NeedsHelp { reason, message });
                }
                // Its cache may only be behind.
                Step::AwaitGroup => return Ok((step, Next::After(SOON))),
                Step::Settled => ctx.ledger.settle_task(subject.uid),
                Step::Await(_)
                | Step::AwaitEarlierClone
                | Step::AwaitClarity(_)
                | Step::AwaitFolder
                | Step::Gone => {}
            }
            // What was only asked for may fail yet.
            let asked =
                matches!(step, Step::Clone(_) | Step::PowerOn(_) | Step::PowerOff(_) | Step::Destroy(_));
            let underway = asked || matches!(step, Step::Await(_));
            return Ok((step, if underway { Next::Pending(AUDIT) } else { Next::After(AUDIT) }));
        }
        Err(Error::Wait {
            reason: reason::BUSY,
            message: "the vCenter's inventory keeps changing".into(),
            after: Some(CONTRADICTION),
        })
    }

    fn observe(&self, subject: &Subject<'_>) -> Observed {
        let ctx = &self.ctx;
        let status = self.written.latest(subject.instance);
        if let Some(task) = ctx.ledger.adopt(subject.uid, subject.instance) {
            ctx.vcenter.follow(&task);
        }
        ctx.vcenter.read(|inventory| {
            observe::observe(
                inventory,
                subject.instance,
                subject.marker,
                status.as_ref(),
                &ctx.ledger,
                |task| ctx.is_claimed(task),
            )
        })
    }

    async fn write_status(
        &self,
        instance: &VmInstance,
        uid: &str,
        seen: &Observed,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        // Another leader says how things are now.
        self.ctx.leadership.check()?;
        let old = self.written.latest(instance);
        let task = self.ctx.ledger.entry(uid, instance).task;
        let generation = instance.metadata.generation.unwrap_or_default();
        let status = status::status(old.as_ref(), generation, seen, task, verdict, Timestamp::now());
        self.written.write(&self.ctx.kit, instance, status, Self::NAME).await?;
        Ok(())
    }
}
>>>>>>> clients

impl Reconciler for VmInstances {
    type Object = VmInstance;
    type Seen = Seen;
    type Plan = Action;
    type Done = Option<TaskKind>;
    type Error = Error;

    const NAME: &'static str = "vminstance";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn observe(&self, instance: &VmInstance) -> Result<Seen, Error> {
        Ok(observe::observe(&self.0, instance))
    }

    fn plan(instance: &VmInstance, seen: &Seen, _: Timestamp) -> Turn<Action> {
        plan::plan(instance, seen)
    }

    async fn apply(&self, instance: &VmInstance, action: Action) -> Result<Option<TaskKind>, Error> {
        apply::apply(&self.0, instance, action)
    }

    fn status(
        old: Option<&VmInstanceStatus>,
        instance: &VmInstance,
        seen: Option<&Seen>,
        outcome: &Outcome<Option<TaskKind>, Error>,
        now: Timestamp,
    ) -> Option<VmInstanceStatus> {
        status::status(old, instance, seen, outcome, now)
    }

    fn conditions(status: &VmInstanceStatus) -> &[Condition] {
        &status.conditions
    }

    fn forget(&self, uid: &str) {
        self.0.requests.forget(uid);
        if let Some(key) = self.0.in_flight.forget(uid) {
            self.0.leave_queue(&key);
        }
    }
}
