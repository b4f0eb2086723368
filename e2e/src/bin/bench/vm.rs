//! Benchmark of vm-operator's release build with a real API server and a simulated vCenter.

mod latency;
mod memory;
mod scale;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Launch, OperatorProcess, Rig, VmRig};
use testbed::{Vcsim, eventually};

use crate::machine;
use crate::program::{CALM, GRACE, PATIENCE, REST, STARTS, binary, megabytes, spread, start, started};
use crate::report::{Report, Table};
use memory::Parts;

/// The number of bursts whose median is reported.
const BURSTS: usize = 3;

/// A number of groups of one size.
#[derive(Clone, Copy)]
struct Burst {
    groups: usize,
    size: usize,
    clone_time: Duration,
}

const ONE_LARGE: Burst = Burst { groups: 1, size: 50, clone_time: Duration::ZERO };
const TWENTY: Burst = Burst { groups: 20, size: 10, clone_time: Duration::from_secs(2) };
const HUNDRED: Burst = Burst { groups: 100, size: 10, clone_time: Duration::ZERO };

impl Burst {
    fn machines(self) -> Result<u32> {
        Ok(u32::try_from(self.groups * self.size)?)
    }
}

/// The parts, each with groups of its own size.
pub(crate) const PARTS: &[&str] = &["starts", "50", "latency", "200", "1000", "10000"];

/// Measures these parts, or all.
pub(crate) async fn run(parts: &[&str]) -> Result<Report> {
    let machine = machine::described();
    let mut report =
        Report::new(format!("Measured on {machine}, which also ran the control plane and the simulator."));
    let binary = binary(&mut report, "VM_OPERATOR_BIN")?;
    let templates: Vec<String> = (0..TWENTY.groups).map(template).collect();
    let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
    let rig = VmRig::builder().alone().vcenter(Vcsim::builder().templates(&templates)).start().await?;
    let mut bench =
        Bench { rig, report, binary, calls: Vec::new(), machines: Vec::new(), memory: Vec::new() };
    for part in if parts.is_empty() { PARTS } else { parts } {
        match *part {
            "starts" => bench.starts().await?,
            "50" => bench.rest_and_one_large().await?,
            "latency" => bench.latencies().await?,
            "200" => bench.twenty().await?,
            "1000" => bench.hundred().await?,
            _ => bench.thousand().await?,
        }
    }
    Ok(bench.reported())
}

struct Bench {
    rig: VmRig,
    report: Report,
    binary: String,
    /// The calls to the vCenter in each phase, by method.
    calls: Vec<(String, BTreeMap<String, u64>)>,
    /// The number of machines created or removed in each phase.
    machines: Vec<u32>,
    /// The resident memory in each phase.
    memory: Vec<(String, Parts)>,
}

impl Bench {
    fn reported(mut self) -> Report {
        let title = "Calls at the vCenter, in parentheses per machine made or removed:";
        self.report.table(Table::of_columns(title, "method", &self.calls, |phase, calls| {
            cell(*calls, self.machines.get(phase).copied().unwrap_or(0))
        }));
        let title = "Resident memory by what it is, in MB:";
        let cell = |_, bytes: &u64| format!("{:.2}", megabytes(*bytes));
        self.report.table(Table::of_columns(title, "part", &self.memory, cell));
        self.report
    }

    /// Starts the operator with the arguments of the Deployment.
    fn launch(&self) -> Launch {
        self.rig.launch().without("RUST_LOG").arg("--enable-leader-election").arg("--log-format=json")
    }

    /// Starts the operator with the arguments of the Deployment and waits until it polls the vCenter, because a standby is ready
    /// before that.
    async fn start_leader(&self) -> Result<OperatorProcess> {
        self.rig.vcenter.reset_calls().await?;
        let (operator, _) = start(self.rig.site(), &self.launch()).await?;
        eventually("the operator leads and watches the vCenter", PATIENCE, async || {
            // The operator sends the second poll after it has read the first, which has the whole inventory.
            let polls = self.rig.vcenter.calls().await?.get("WaitForUpdatesEx").copied().unwrap_or(0);
            Ok((polls > 1).then_some(()))
        })
        .await?;
        Ok(operator)
    }

    /// Starts the operator without leader election, so that it is ready when session, inventory and watches are complete.
    async fn starts(&mut self) -> Result<()> {
        let launch = self.rig.launch().without("RUST_LOG").arg("--log-format=json");
        let mut times = Vec::new();
        let mut cpu = Vec::new();
        for n in 0..STARTS {
            self.rig.vcenter.reset_calls().await?;
            let (mut operator, time) = start(self.rig.site(), &launch).await?;
            times.push(time);
            if n == 0 {
                self.calls("start", 0).await?;
            }
            cpu.push(operator.process.cpu_time()?);
            operator.process.terminate(GRACE).await?;
        }
        started(&mut self.report, &mut times, &mut cpu, "session and inventory there")?;
        Ok(())
    }

    async fn rest_and_one_large(&mut self) -> Result<()> {
        let mut operator = self.start_leader().await?;
        self.memory(&operator, "at rest", Some(18.0), Some(5.0)).await?;
        let mut times = Vec::new();
        let mut removals = Vec::new();
        let mut cpu = Vec::new();
        for n in 0..BURSTS {
            self.rig.vcenter.reset_calls().await?;
            let before = operator.process.cpu_time()?;
            times.push(self.make(ONE_LARGE).await?);
            cpu.push(operator.process.cpu_time()?.saturating_sub(before));
            if n == 0 {
                self.calls("make 1 × 50", ONE_LARGE.machines()?).await?;
            }
            self.rig.vcenter.reset_calls().await?;
            removals.push(self.remove(ONE_LARGE.groups).await?);
            if n == 0 {
                self.calls("delete 1 × 50", ONE_LARGE.machines()?).await?;
            }
        }
        self.time("1 × 50, instant clones", &mut times, None)?;
        self.time("delete 1 × 50", &mut removals, None)?;
        self.time("CPU of 1 × 50", &mut cpu, None)?;
        operator.process.terminate(GRACE).await?;
        Ok(())
    }

    async fn twenty(&mut self) -> Result<()> {
        let mut times = Vec::new();
        let mut cpu = Vec::new();
        for n in 1..=BURSTS {
            let mut operator = self.start_leader().await?;
            self.rig.vcenter.reset_calls().await?;
            let before = operator.process.cpu_time()?;
            times.push(self.make(TWENTY).await?);
            cpu.push(operator.process.cpu_time()?.saturating_sub(before));
            if n < BURSTS {
                self.remove(TWENTY.groups).await?;
                operator.process.terminate(GRACE).await?;
                continue;
            }
            self.calls("make 20 × 10", TWENTY.machines()?).await?;
            self.time("20 × 10, clones of 2 s", &mut times, Some(12.0))?;
            self.time("CPU of 20 × 10", &mut cpu, None)?;
            self.memory(&operator, "with 200 machines", Some(20.0), Some(6.0)).await?;
            self.scale_down().await?;
            self.remove(TWENTY.groups).await?;
            operator.process.terminate(GRACE).await?;
        }
        Ok(())
    }

    /// Scales twenty groups to half their size.
    async fn scale_down(&mut self) -> Result<()> {
        let half = TWENTY.size / 2;
        self.rig.vcenter.reset_calls().await?;
        let begin = Instant::now();
        self.apply(TWENTY.groups, half).await?;
        self.settled(TWENTY.groups, half).await?;
        eventually("the surplus is gone", PATIENCE, async || {
            Ok((self.rig.machines().await?.len() == TWENTY.groups * half).then_some(()))
        })
        .await?;
        self.report.figure("scale 20 × 10 to 20 × 5", begin.elapsed().as_secs_f64(), "s", None, "once");
        self.calls("scale 20 × 10 to 20 × 5", u32::try_from(TWENTY.groups * half)?).await
    }

    /// Measures a thousand machines: creation, rest, restart, deletion.
    async fn hundred(&mut self) -> Result<()> {
        let mut operator = self.start_leader().await?;
        let before = operator.process.cpu_time()?;
        let time = self.make(HUNDRED).await?;
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        self.report.figure("100 × 10, instant clones", time.as_secs_f64(), "s", None, "once");
        self.report.figure("CPU of 100 × 10", cpu.as_secs_f64(), "s", None, "once");
        self.memory(&operator, "with 1,000 machines", Some(30.0), None).await?;

        self.rig.vcenter.reset_calls().await?;
        let before = operator.process.cpu_time()?;
        tokio::time::sleep(REST).await;
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        let rest = format!("rest, {} s", REST.as_secs());
        self.calls(&rest, 0).await?;
        let name = format!("CPU of {} s at rest with 1,000", REST.as_secs());
        self.report.figure(&name, cpu.as_secs_f64(), "s", None, "in steps of 10 ms");
        self.events(&operator, "1,000").await?;
        operator.process.terminate(GRACE).await?;

        let (mut operator, time) = start(self.rig.site(), &self.rig.launch().without("RUST_LOG")).await?;
        self.report.figure("start to ready with 1,000", time.as_secs_f64(), "s", None, "once");
        self.memory(&operator, "1,000, after a restart", Some(30.0), None).await?;
        self.rig.vcenter.reset_calls().await?;
        let before = operator.process.cpu_time()?;
        let time = self.remove(HUNDRED.groups).await?;
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        self.report.figure("delete 100 × 10", time.as_secs_f64(), "s", None, "once");
        self.report.figure("CPU of delete 100 × 10", cpu.as_secs_f64(), "s", None, "once");
        self.calls("delete 100 × 10", HUNDRED.machines()?).await?;
        operator.process.terminate(GRACE).await?;
        Ok(())
    }

    /// Measures the time from the first apply until all groups are ready.
    async fn make(&self, burst: Burst) -> Result<Duration> {
        self.rig.vcenter.set_clone_time(burst.clone_time).await?;
        let begin = Instant::now();
        self.apply(burst.groups, burst.size).await?;
        self.settled(burst.groups, burst.size).await?;
        let time = begin.elapsed();
        let machines = self.rig.machines().await?;
        ensure!(machines.len() == burst.groups * burst.size && machines.values().all(|on| *on));
        Ok(time)
    }

    /// Measures the time from the first delete until all groups are gone.
    async fn remove(&self, groups: usize) -> Result<Duration> {
        let begin = Instant::now();
        for n in 0..groups {
            self.rig.delete(&group(n)).await?;
        }
        for n in 0..groups {
            self.rig.gone(&group(n)).await?;
        }
        let time = begin.elapsed();
        let machines = self.rig.machines().await?;
        ensure!(machines.is_empty(), "left: {machines:?}");
        Ok(time)
    }

    async fn apply(&self, groups: usize, size: usize) -> Result<()> {
        for n in 0..groups {
            self.rig.apply(&group(n), size, &template(n % TWENTY.groups)).await?;
        }
        Ok(())
    }

    async fn settled(&self, groups: usize, size: usize) -> Result<()> {
        for n in 0..groups {
            self.rig.settled_within(&group(n), size, PATIENCE).await?;
        }
        Ok(())
    }

    async fn calls(&mut self, phase: &str, machines: u32) -> Result<()> {
        let by_method = self.rig.vcenter.calls().await?;
        self.calls.push((phase.to_owned(), by_method));
        self.machines.push(machines);
        Ok(())
    }

    async fn memory(
        &mut self,
        operator: &OperatorProcess,
        when: &str,
        rss: Option<f64>,
        anon: Option<f64>,
    ) -> Result<()> {
        tokio::time::sleep(CALM).await;
        let memory = operator.process.memory()?;
        self.report.figure(&format!("RSS {when}"), megabytes(memory.rss), "MB", rss, "");
        self.report.figure(&format!("RssAnon {when}"), megabytes(memory.rss_anon), "MB", anon, "");
        self.memory.push((when.to_owned(), memory::parts(operator.process.pid(), &self.binary)?));
        Ok(())
    }

    fn time(&mut self, name: &str, times: &mut [Duration], aim: Option<f64>) -> Result<()> {
        let (fastest, median, slowest) = spread(times)?;
        let remark = format!(
            "median of {}, {:.2} to {:.2} s",
            times.len(),
            fastest.as_secs_f64(),
            slowest.as_secs_f64()
        );
        self.report.figure(name, median.as_secs_f64(), "s", aim, remark);
        Ok(())
    }
}

fn group(n: usize) -> String {
    format!("g{n}")
}

fn template(n: usize) -> String {
    format!("t{n}")
}

/// Formats calls and calls per machine.
fn cell(calls: u64, machines: u32) -> String {
    match (calls, machines) {
        (0, _) => String::new(),
        (calls, 0) => calls.to_string(),
        #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
        (calls, machines) => format!("{calls} ({:.2})", calls as f64 / f64::from(machines)),
    }
}
