//! Plays one run: a fresh namespace, fresh outside systems, and a proxy of its own.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use testbed::{ApiProxy, Perturbation, eventually};

use super::counts::Counts;
use super::name::RunName;
use super::reference::{Numbers, Reference, Trace};
use super::{CONVERGENCE, log_directory};
use crate::install::Plane;
use crate::operator::{OperatorProcess, panic_in};
use crate::rig::Rig;
use crate::site::PATIENCE;
use crate::snapshot::Snapshot;

/// The number of equal looks, 50 ms apart, after which a clean run counts as being at rest.
const LOOKS: u32 = 20;
/// The most starts in a run: after a kill, and by a kubelet if an operator has ended because it could not start.
const STARTS: u32 = 4;
/// How often the process is looked at.
const TICK: Duration = Duration::from_millis(20);

/// How a run has ended that kept all promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The fault has taken effect.
    Fired,
    /// It has not.
    Unmet,
}

/// Plays a run without a perturbation.
///
/// If `again`, the states are those of a second time in the same namespace: ids, times and whatever else depends on the
/// history then differ from those of the first time.
pub(super) async fn play_clean<R: Rig>(plane: Arc<Plane>, again: bool) -> Result<Trace> {
    let rig = R::start_on(plane).await?;
    let proxy = ApiProxy::start(rig.site().control_plane(), rig.site().kubeconfig(), None).await?;
    let counts = Counts::start(rig.site(), &R::SUBJECT);
    let run = Run::new(&rig, &proxy, &counts, None);
    run.while_operating(async || {
        let steps = run.play_steps().await?;
        let (counts, record) = (run.count().await?, proxy.record());
        let steps = if again { run.play_steps().await? } else { steps };
        // Else what every run does would count as asked for.
        run.is_unviolated().await?;
        Ok(Trace { steps, counts, record })
    })
    .await
}

/// Plays a run and compares it with the reference.
pub(super) async fn play<R: Rig>(plane: Arc<Plane>, name: &RunName, reference: &Reference) -> Result<Ending> {
    let rig = R::start_on(plane).await?;
    let site = rig.site();
    let perturbation: Option<Perturbation> = match name {
        RunName::Api(perturbation) => Some(perturbation.clone()),
        RunName::Outside { .. } => None,
    };
    let proxy = ApiProxy::start(site.control_plane(), site.kubeconfig(), perturbation).await?;
    let counts = Counts::start(site, &R::SUBJECT);
    let run = Run::new(&rig, &proxy, &counts, Some((name, reference)));
    let ending = run.while_operating(async || {
        run.play_steps().await?;
        run.stay(reference).await?;
        run.compare_counts(reference).await?;
        run.ending(name).await
    });
    let ending = ending.await;
    if ending.is_err() {
        site.plane().litter();
        let slug = name.to_string().replace(['/', ' '], "_");
        let log = log_directory()?.join(format!("{}-{slug}.log", R::SUBJECT.name));
        fs::copy(site.log_path(), &log)?;
        return ending.with_context(|| format!("the operator's log is {}", log.display()));
    }
    ending
}

struct Run<'a, R> {
    rig: &'a R,
    proxy: &'a ApiProxy,
    counts: &'a Counts,
    /// `None`: a clean run.
    perturbed: Option<(&'a RunName, &'a Reference)>,
    /// The operator's process is ready, after the latest start.
    is_ready: Cell<bool>,
}

impl<'a, R: Rig> Run<'a, R> {
    fn new(
        rig: &'a R,
        proxy: &'a ApiProxy,
        counts: &'a Counts,
        perturbed: Option<(&'a RunName, &'a Reference)>,
    ) -> Self {
        Self { rig, proxy, counts, perturbed, is_ready: Cell::new(false) }
    }

    /// Runs `job` with the operator, which is killed and started again where the run says so.
    async fn while_operating<T>(&self, job: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
        let job = async {
            self.until_ready().await?;
            job().await
        };
        let result = tokio::select! {
            result = job => result?,
            error = self.keep_running() => return Err(error),
        };
        let log = fs::read_to_string(self.rig.site().log_path())?;
        if let Some(line) = panic_in(&log) {
            bail!("the operator panicked: {line}");
        }
        Ok(result)
    }

    async fn until_ready(&self) -> Result<()> {
        eventually("the operator is ready", PATIENCE, async || Ok(self.is_ready.get().then_some(()))).await
    }

    /// Starts the operator, kills it where the run says so, and starts it again whenever it has ended. Returns when that
    /// fails.
    async fn keep_running(&self) -> Error {
        for _ in 0..STARTS {
            self.is_ready.set(false);
            let spawned = self.rig.site().spawn_with(self.proxy.kubeconfig(), &self.rig.launch());
            let mut operator = match spawned {
                Ok(operator) => operator,
                Err(error) => return error,
            };
            tokio::select! {
                () = self.watch_over(&mut operator) => {}
                () = self.proxy.kill_point() => {
                    operator.process.kill().await;
                    self.proxy.reopen();
                }
            }
        }
        anyhow!("the operator has ended {STARTS} times")
    }

    /// Notes when the operator is ready. Returns when it has ended.
    async fn watch_over(&self, operator: &mut OperatorProcess) {
        let mut ticks = tokio::time::interval(TICK);
        while operator.process.try_wait().is_none() {
            if !self.is_ready.get() {
                self.is_ready.set(operator.is_ready().await);
            }
            ticks.tick().await;
        }
    }

    /// Plays all steps. Returns the state at the end of each.
    async fn play_steps(&self) -> Result<Vec<Snapshot>> {
        let mut states = Vec::new();
        for (index, step) in R::STEPS.iter().enumerate() {
            if let Some((RunName::Outside { fault, step: at }, _)) = self.perturbed
                && at == step
            {
                self.rig.inject(fault).await?;
            }
            self.rig.play(step).await.with_context(|| format!("step {step}"))?;
            let state = match self.perturbed {
                Some((_, reference)) => self.converge(reference, index).await,
                None => self.rest().await,
            };
            states.push(state.with_context(|| format!("after step {step}"))?);
        }
        Ok(states)
    }

    /// Waits until the state is that of the reference.
    async fn converge(&self, reference: &Reference, step: usize) -> Result<Snapshot> {
        let state = eventually("everything is as without the fault", CONVERGENCE, async || {
            if let Some(violation) = self.violation().await? {
                return Ok(Some(Err(violation)));
            }
            let state = Snapshot::take(self.rig).await?;
            let differences = reference.differences(step, &state);
            ensure!(differences.is_empty(), "{}", differences.join("; "));
            Ok(Some(Ok(state)))
        });
        state.await?
    }

    /// Checks that the last state is kept: an operator that was killed by the last write starts only now.
    async fn stay(&self, reference: &Reference) -> Result<()> {
        self.until_ready().await?;
        let state = self.rest().await?;
        let last = R::STEPS.len().saturating_sub(1);
        let differences = reference.differences(last, &state);
        ensure!(differences.is_empty(), "the end state is not kept: {}", differences.join("; "));
        self.is_unviolated().await
    }

    /// Waits until nothing changes any more.
    async fn rest(&self) -> Result<Snapshot> {
        let (mut last, mut equal) = (Snapshot::default(), 0);
        eventually("the operator rests", PATIENCE, async || {
            let state = Snapshot::take(self.rig).await?;
            equal = if state == last { equal + 1 } else { 0 };
            last = state;
            Ok((equal >= LOOKS).then(|| last.clone()))
        })
        .await
    }

    /// Returns the invariants that are violated outside, as an error.
    async fn violation(&self) -> Result<Option<Error>> {
        let violations = self.rig.violations().await?;
        Ok((!violations.is_empty()).then(|| anyhow!("violated: {}", violations.join("; "))))
    }

    async fn is_unviolated(&self) -> Result<()> {
        match self.violation().await? {
            Some(violation) => Err(violation),
            None => Ok(()),
        }
    }

    async fn count(&self) -> Result<Numbers> {
        let mut counts = self.counts.so_far();
        counts.extend(self.rig.effects().await?);
        Ok(counts)
    }

    /// Waits until the counts are those of the reference: the last deletions may be reported late.
    async fn compare_counts(&self, reference: &Reference) -> Result<()> {
        eventually("as much was created and deleted as without the fault", CONVERGENCE, async || {
            let miscounted = reference.miscounted(&self.count().await?);
            ensure!(miscounted.is_empty(), "{}", miscounted.join("; "));
            Ok(Some(()))
        })
        .await
    }

    async fn ending(&self, name: &RunName) -> Result<Ending> {
        let has_fired = match name {
            RunName::Api(_) => self.proxy.has_fired(),
            RunName::Outside { fault, .. } => self.rig.has_fired(fault).await?,
        };
        Ok(if has_fired { Ending::Fired } else { Ending::Unmet })
    }
}
