//! Latencies of the changes that a person waits for, read from watches of the API server.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{OperatorProcess, Rig as _, ready};
use futures::{AsyncBufReadExt as _, TryStreamExt};
use kube::Api;
use kube::api::{DynamicObject, ListParams, WatchParams};
use serde_json::Value;

use super::{Bench, ONE_LARGE, group};
use crate::program::{GRACE, PATIENCE, spread};

/// The number of repetitions whose median is reported.
const ROUNDS: usize = 5;
/// The pause before each change: these are changes of a person, not of a load test, and the operator polls the vCenter at most
/// three times a second after a burst.
const PAUSE: Duration = Duration::from_secs(5);
/// The size after scaling down.
const FEW: usize = 5;

/// A change that ends the wait for one object.
#[derive(Clone, Copy)]
enum Until {
    /// The Ready condition is True, for the present generation.
    Ready,
    /// The object is gone.
    Gone,
}

impl Until {
    /// Returns the name of the object that an event shows in this state. Parses few events, because a machine that measures
    /// latencies has better uses for its cores.
    fn reached(self, event: &str) -> Option<String> {
        let candidate = match self {
            Self::Gone => event.starts_with(r#"{"type":"DELETED""#),
            Self::Ready => event.contains(r#""status":"True","type":"Ready""#),
        };
        let event: Value = candidate.then(|| serde_json::from_str(event).ok())??;
        let (metadata, status) = (&event["object"]["metadata"], &event["object"]["status"]);
        let answered = status["observedGeneration"] == metadata["generation"];
        let reached = matches!(self, Self::Gone) || (answered && ready(status)?.0 == "True");
        reached.then(|| metadata["name"].as_str().map(str::to_owned))?
    }
}

/// Returns when each of `count` objects reached a state, in order, from a watch that begins before this returns.
async fn watch(
    api: Api<DynamicObject>,
    until: Until,
    count: usize,
) -> Result<impl Future<Output = Result<Vec<Instant>>>> {
    let version = api.list_metadata(&ListParams::default()).await?.metadata.resource_version;
    let watch = WatchParams::default().timeout(290);
    let request = kube::core::Request::new(api.resource_url()).watch(&watch, &version.unwrap_or_default())?;
    let events = api.into_client().request_stream(request).await?;
    Ok(async move {
        let mut events = Box::pin(events.lines());
        let (mut names, mut times) = (BTreeSet::new(), Vec::new());
        while times.len() < count {
            let Some(event) = events.try_next().await? else { break };
            if let Some(name) = until.reached(&event)
                && names.insert(name)
            {
                times.push(Instant::now());
            }
        }
        ensure!(times.len() == count, "{} of {count} objects reached the state", times.len());
        Ok(times)
    })
}

/// The latencies of one change: the first machine, the last machine, the group.
#[derive(Default)]
struct Latencies {
    first: Vec<Duration>,
    last: Vec<Duration>,
    group: Vec<Duration>,
}

impl Bench {
    /// Measures creation, scale-down and deletion of a group, and the first machine of a process.
    pub(super) async fn latencies(&mut self) -> Result<()> {
        let mut operator = self.start_leader().await?;
        self.rig.vcenter.set_clone_time(Duration::ZERO).await?;
        let [mut created, mut scaled, mut deleted] = [const { Latencies::new() }; 3];
        for _ in 0..ROUNDS {
            let size = ONE_LARGE.size;
            self.measure(&mut created, Until::Ready, size, Until::Ready, async || self.apply(1, size).await)
                .await?;
            self.measure(&mut scaled, Until::Gone, size - FEW, Until::Ready, async || {
                self.apply(1, FEW).await
            })
            .await?;
            self.apply(1, size).await?;
            self.settled(1, size).await?;
            let delete = async || self.rig.delete(&group(0)).await;
            self.measure(&mut deleted, Until::Gone, size, Until::Gone, delete).await?;
        }
        operator.process.terminate(GRACE).await?;
        self.report_latencies("create 50", created, 0.4)?;
        self.report_latencies("scale 50 to 5", scaled, 0.2)?;
        self.report_latencies("delete 50", deleted, 0.2)?;
        self.first_machine().await
    }

    async fn measure(
        &self,
        latencies: &mut Latencies,
        machine: Until,
        machines: usize,
        group: Until,
        change: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<()> {
        tokio::time::sleep(PAUSE).await;
        let machines = watch(self.rig.api("VmInstance"), machine, machines).await?;
        let group = watch(self.rig.api("VmGroup"), group, 1).await?;
        let begin = Instant::now();
        let ends = async { tokio::try_join!(machines, group, change()) };
        let (machines, group, ()) = tokio::time::timeout(PATIENCE, ends).await??;
        let (Some(first), Some(last), Some(group)) = (machines.first(), machines.last(), group.first())
        else {
            return Ok(());
        };
        latencies.first.push(*first - begin);
        latencies.last.push(*last - begin);
        latencies.group.push(*group - begin);
        Ok(())
    }

    fn report_latencies(&mut self, change: &str, mut latencies: Latencies, aim: f64) -> Result<()> {
        self.time(&format!("{change}: first machine"), &mut latencies.first, None)?;
        self.time(&format!("{change}: last machine"), &mut latencies.last, None)?;
        self.time(change, &mut latencies.group, Some(aim))
    }

    /// Measures the time from the start of a process until a machine is ready that was asked for before.
    async fn first_machine(&mut self) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            self.apply(1, 1).await?;
            let machine = watch(self.rig.api("VmInstance"), Until::Ready, 1).await?;
            let begin = Instant::now();
            let mut operator: OperatorProcess = self.rig.spawn(&self.rig.launch().without("RUST_LOG"))?;
            for end in tokio::time::timeout(PATIENCE, machine).await?? {
                times.push(end - begin);
            }
            self.remove(1).await?;
            operator.process.terminate(GRACE).await?;
        }
        let (_, median, _) = spread(&mut times)?;
        self.report.figure("one machine from process start", median.as_secs_f64(), "s", Some(0.15), "");
        Ok(())
    }
}

impl Latencies {
    const fn new() -> Self {
        Self { first: Vec::new(), last: Vec::new(), group: Vec::new() }
    }
}
