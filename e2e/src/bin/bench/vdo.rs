//! Benchmark of vdo's release build with a real API server, simulated Nodes and a simulated vCenter.

mod wire;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use e2e::{Launch, OperatorProcess, Rig, VdoRig};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::machine;
use crate::program::{CALM, GRACE, PATIENCE, REST, binary, megabytes, start_with, starts};
use crate::report::{Report, Table};
use wire::Wire;

/// The parts: starts, and drivers in clusters with so many Nodes.
pub(crate) const PARTS: &[&str] = &["starts", "3", "100", "1000"];
/// How many Nodes are made or changed at the same time.
const AT_ONCE: usize = 16;

/// Measures these parts, or all.
pub(crate) async fn run(parts: &[&str]) -> Result<Report> {
    let machine = machine::described();
    let mut report =
        Report::new(format!("Measured on {machine}, which also ran the control plane and the simulator."));
    binary(&mut report, "VDO_BIN")?;
    let mut bench = Bench { report, calls: Vec::new() };
    for part in if parts.is_empty() { PARTS } else { parts } {
        match part.parse() {
            Ok(nodes) => bench.drivers(nodes).await?,
            Err(_) => bench.starts().await?,
        }
    }
    let Bench { mut report, calls } = bench;
    let title = "Requests to the API server, without the watches and the Lease, by what they are about:";
    report.table(Table::of_columns(title, "request", &calls, |_, calls| calls.to_string()));
    Ok(report)
}

struct Bench {
    report: Report,
    /// The requests to the API server in each phase.
    calls: Vec<(String, BTreeMap<String, u64>)>,
}

/// One rig with an operator, and how far its requests are counted.
struct Running<'a> {
    rig: &'a VdoRig,
    operator: OperatorProcess,
    wire: Wire,
    requests: usize,
    nodes: u16,
}

fn launch(rig: &VdoRig) -> Launch {
    rig.launch().without("RUST_LOG").arg("--log-format=json")
}

impl Bench {
    /// Starts the operator without leader election, so that it is ready when its watches are complete.
    async fn starts(&mut self) -> Result<()> {
        let rig = VdoRig::start().await?;
        starts(&mut self.report, rig.site(), &launch(&rig), "its watches complete").await
    }

    /// Installs CPI and CSI in a cluster with so many Nodes, rests, has a Node join, and removes the drivers.
    async fn drivers(&mut self, nodes: u16) -> Result<()> {
        let rig = VdoRig::start().await?;
        each(4..=nodes, async |number| {
            rig.add_machine(number).await?;
            rig.join(number).await
        })
        .await?;
        let wire = Wire::start(rig.site()).await?;
        let launch = launch(&rig).arg("--enable-leader-election");
        let (operator, _) = start_with(rig.site(), wire.kubeconfig(), &launch).await?;
        let mut running = Running { rig: &rig, operator, wire, requests: 0, nodes };
        self.memory(&running, "before drivers", (nodes == 3).then_some(20.0)).await?;
        self.count(&mut running, "start")?;
        self.install(&mut running).await?;
        self.memory(&running, "at rest", Some(if nodes == 3 { 20.0 } else { 30.0 })).await?;
        self.rest(&mut running).await?;
        self.join(&running).await?;
        self.count(&mut running, "a Node joins")?;
        let begin = Instant::now();
        rig.remove("vdo").await?;
        self.time(&running, "remove CPI and CSI", begin);
        self.count(&mut running, "remove")?;
        running.operator.process.terminate(GRACE).await?;
        Ok(())
    }

    async fn install(&mut self, running: &mut Running<'_>) -> Result<()> {
        let rig = running.rig;
        let before = running.operator.process.cpu_time()?;
        let begin = Instant::now();
        rig.write_matrix(&rig.matrix(&["1.36.0"])).await?;
        rig.apply_configs().await?;
        rig.says("CSIAvailable", "NodesUninitialized").await?;
        self.time(running, "install CPI", begin);
        self.count(running, "install CPI")?;
        let begin = Instant::now();
        each(1..=running.nodes, async |number| rig.set_up(number).await).await?;
        rig.says("CSIAvailable", "SettingUpNodes").await?;
        each(1..=running.nodes, async |number| rig.register(number).await).await?;
        let status = rig.settled(PATIENCE).await?;
        self.time(running, "set the Nodes up, install CSI", begin);
        self.count(running, "Nodes set up, CSI installed")?;
        let cpu = running.operator.process.cpu_time()?.saturating_sub(before);
        self.figure(running, "CPU of all this", cpu.as_secs_f64(), "s", None);
        let size = status.to_string().len();
        self.figure(running, "status of the VDOConfig", number(size as u64) / 1e3, "kB", Some(30.0));
        Ok(())
    }

    async fn rest(&mut self, running: &mut Running<'_>) -> Result<()> {
        running.rig.vcenter.reset_calls().await?;
        running.wire.take();
        let before = running.operator.process.cpu_time()?;
        let seen = running.rig.requests()?.len();
        tokio::time::sleep(REST).await;
        let cpu = running.operator.process.cpu_time()?.saturating_sub(before);
        self.figure(running, "CPU of 30 s at rest", cpu.as_secs_f64(), "s", None);
        let calls: u64 = running.rig.vcenter.calls().await?.values().sum();
        self.figure(running, "vCenter calls of 30 s at rest", number(calls), "", Some(0.0));
        let writes = running.rig.requests()?.split_off(seen);
        let writes =
            writes.iter().filter(|request| request.is_write() && request.resource != "leases").count();
        self.figure(running, "Kubernetes writes of 30 s at rest", number(writes as u64), "", Some(0.0));
        let bytes = running.wire.take();
        self.figure(running, "traffic of 30 s at rest, both ways", number(bytes) / 1e3, "kB", None);
        self.count(running, "rest, 30 s")
    }

    /// Has a Node join, and waits until the status tells; then the same when it is set up.
    async fn join(&mut self, running: &Running<'_>) -> Result<()> {
        let (rig, number) = (running.rig, running.nodes + 1);
        rig.add_machine(number).await?;
        let begin = Instant::now();
        rig.join(number).await?;
        rig.says("CPIAvailable", "SettingUpNodes").await?;
        self.time(running, "a Node joins: until the status says so", begin);
        let begin = Instant::now();
        rig.set_up(number).await?;
        rig.says("CPIAvailable", "AsAsked").await?;
        self.time(running, "a Node loses its taint: until the status says so", begin);
        rig.register(number).await?;
        rig.settled(PATIENCE).await.map(drop)
    }

    fn time(&mut self, running: &Running<'_>, what: &str, begin: Instant) {
        self.figure(running, what, begin.elapsed().as_secs_f64(), "s", None);
    }

    async fn memory(&mut self, running: &Running<'_>, when: &str, aim: Option<f64>) -> Result<()> {
        tokio::time::sleep(CALM).await;
        let memory = running.operator.process.memory()?;
        self.figure(running, &format!("RSS {when}"), megabytes(memory.rss), "MB", aim);
        self.figure(running, &format!("RssAnon {when}"), megabytes(memory.rss_anon), "MB", None);
        Ok(())
    }

    fn figure(
        &mut self,
        running: &Running<'_>,
        what: &str,
        value: f64,
        unit: &'static str,
        aim: Option<f64>,
    ) {
        self.report.figure(&format!("{} Nodes: {what}", running.nodes), value, unit, aim, "once");
    }

    /// Notes the requests and the traffic since the last call.
    fn count(&mut self, running: &mut Running<'_>, phase: &str) -> Result<()> {
        let all = running.rig.requests()?;
        let mut calls = BTreeMap::new();
        let new = all.get(running.requests..).context("the audit log got shorter")?;
        for request in new.iter().filter(|request| request.verb != "watch" && request.resource != "leases") {
            *calls.entry(format!("{} {}", request.verb, request.resource)).or_insert(0) += 1;
        }
        running.requests = all.len();
        let total: u64 = calls.values().sum();
        self.figure(running, &format!("requests: {phase}"), number(total), "", None);
        let bytes = running.wire.take();
        self.figure(running, &format!("traffic: {phase}"), number(bytes) / 1e3, "kB", None);
        self.calls.push((format!("{} Nodes: {phase}", running.nodes), calls));
        Ok(())
    }
}

/// Does something for each number, some at the same time.
async fn each(numbers: std::ops::RangeInclusive<u16>, work: impl AsyncFn(u16) -> Result<()>) -> Result<()> {
    let work = &work;
    stream::iter(numbers.map(|number| async move { work(number).await }))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
