//! Benchmark of ako-operator's release build with a real API server and Cluster API, virtual workload clusters, and a simulated AVI
//! controller.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{AkoRig, Guest, Launch, OperatorProcess, Rig};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use testbed::{Ako, ControlPlane, VirtualCluster, Workload, eventually};

use crate::machine;
use crate::program::{CALM, GRACE, PATIENCE, REST, binary, megabytes, start, starts};
use crate::report::{Report, Table};

/// The parts.
pub(crate) const PARTS: &[&str] = &["starts", "100"];
/// The number of workload clusters.
const CLUSTERS: usize = 100;
/// How many of them are control planes of their own; the others are shares of one.
const REAL: usize = 3;
/// The number of workload clusters that are made at the same time.
const AT_ONCE: usize = 10;
/// How long the 100 Clusters may take to go, most of which is Cluster API's.
const LONG: Duration = Duration::from_mins(20);

/// Measures these parts, or all.
pub(crate) async fn run(parts: &[&str]) -> Result<Report> {
    let machine = machine::described();
    let mut report = Report::new(format!(
        "Measured on {machine}, which also ran the control plane, Cluster API, and the simulator."
    ));
    binary(&mut report, "AKO_OPERATOR_BIN")?;
    let mut bench = Bench { rig: AkoRig::start().await?, report, calls: Vec::new() };
    for part in if parts.is_empty() { PARTS } else { parts } {
        match *part {
            "starts" => bench.starts().await?,
            _ => bench.hundred().await?,
        }
    }
    let Bench { mut report, calls, .. } = bench;
    let title = format!("Calls at the AVI controller, for {CLUSTERS} workload clusters:");
    report.table(Table::of_columns(&title, "call", &calls, |_, calls| calls.to_string()));
    Ok(report)
}

struct Bench {
    rig: AkoRig,
    report: Report,
    /// The calls to AVI in each phase.
    calls: Vec<(String, BTreeMap<String, u64>)>,
}

impl Bench {
    fn launch(&self) -> Launch {
        let launch = self.rig.launch().without("RUST_LOG").without("AVI_CONTROL_PLANE_HA_PROVIDER");
        launch.arg("--log-format=json")
    }

    /// Starts the operator without leader election, so that it is ready when its watches are complete.
    async fn starts(&mut self) -> Result<()> {
        let launch = self.launch();
        starts(&mut self.report, self.rig.site(), &launch, "its watches complete").await
    }

    /// Delivers AKO to a hundred workload clusters, rests, and deletes them at once.
    async fn hundred(&mut self) -> Result<()> {
        let rig = &self.rig;
        let clusters: Vec<Workload<VirtualCluster>> = stream::iter(REAL..CLUSTERS)
            .map(|n| async move { rig.cluster(&format!("w{n}"), false).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut real: Vec<Workload> = Vec::new();
        for n in 0..REAL {
            let plane = ControlPlane::builder().all_controllers(true);
            real.push(rig.management.workload(&format!("w{n}")).plane(plane).start().await?);
        }
        let launch = self.launch().arg("--enable-leader-election");
        let (mut operator, _) = start(self.rig.site(), &launch).await?;
        self.rig.site().apply(None, &self.rig.config()).await?;
        self.rig.site().ready_within("adc", PATIENCE, |_| true).await?;
        let logins = number(self.rig.simulator.control().logins().total);
        self.report.figure("logins", logins, "", Some(2.0), "to the AVI controller, by the operator");
        self.memory(&operator, "at rest", 20.0).await?;
        let before = self.rig.simulator.control().snapshot();

        self.deliver(&operator).await?;
        let mut guests = Vec::new();
        for cluster in clusters {
            guests.push(self.rig.with_ako(cluster).await?);
        }
        let akos: Vec<Ako> = real.iter().map(|workload| Ako::start(workload.plane().client())).collect();
        // Each address is one of the ten of the pool.
        for guest in guests.iter().take(10) {
            self.rig.balance(guest).await?;
        }
        self.rest(&operator).await?;
        self.remove(&operator, guests, real).await?;
        drop(akos);
        let left = self.rig.simulator.control().diff(&before);
        ensure!(left.is_empty(), "left on AVI: {left:?}");
        self.rig.site().remove("adc").await?;
        operator.process.terminate(GRACE).await?;
        Ok(())
    }

    /// Selects all Clusters at once. No AKO runs yet, so that all calls are the operator's.
    async fn deliver(&mut self, operator: &OperatorProcess) -> Result<()> {
        self.reset();
        let (begin, cpu) = (Instant::now(), operator.process.cpu_time()?);
        let label = format!("{}=", AkoRig::LABEL);
        self.rig.management.kubectl(&["label", "clusters", "--all", &label]).await?;
        self.installed().await?;
        let name = format!("deliver to {CLUSTERS} clusters");
        self.report.figure(&name, begin.elapsed().as_secs_f64(), "s", None, "once");
        self.cpu(&name, operator, cpu)?;
        let calls = self.calls("deliver").await?;
        let each = number(calls) / number(CLUSTERS as u64);
        self.report.figure("AVI calls per cluster", each, "calls", Some(10.0), "");
        self.memory(operator, &format!("with {CLUSTERS} clusters"), 40.0).await
    }

    async fn rest(&mut self, operator: &OperatorProcess) -> Result<()> {
        tokio::time::sleep(CALM).await;
        self.reset();
        let cpu = operator.process.cpu_time()?;
        let requests = self.rig.site().requests()?.len();
        tokio::time::sleep(REST).await;
        let name = format!("30 s at rest with {CLUSTERS} clusters");
        self.cpu(&name, operator, cpu)?;
        let calls = self.calls("rest, 30 s").await?;
        let requests_of = |what: &str| format!("{what} of {name}");
        self.report.figure(&requests_of("AVI calls"), number(calls), "", Some(0.0), "");
        let writes = self.rig.site().requests()?.split_off(requests);
        let writes =
            writes.iter().filter(|request| request.is_write() && request.resource != "leases").count();
        self.report.figure(
            &requests_of("Kubernetes writes"),
            number(writes as u64),
            "",
            Some(0.0),
            "without the Lease",
        );
        Ok(())
    }

    async fn remove(
        &mut self,
        operator: &OperatorProcess,
        guests: Vec<Guest>,
        real: Vec<Workload>,
    ) -> Result<()> {
        self.reset();
        let (begin, cpu) = (Instant::now(), operator.process.cpu_time()?);
        for guest in &guests {
            guest.workload.delete().await?;
        }
        for workload in &real {
            workload.delete().await?;
        }
        for guest in guests {
            guest.workload.deleted(LONG).await?;
        }
        for workload in real {
            workload.deleted(LONG).await?;
        }
        let name = format!("delete {CLUSTERS} clusters");
        self.report.figure(&name, begin.elapsed().as_secs_f64(), "s", None, "once, with AKO and Cluster API");
        self.cpu(&name, operator, cpu)?;
        self.calls("delete, with AKO's").await?;
        self.memory(operator, &format!("after {CLUSTERS} clusters"), 40.0).await
    }

    fn cpu(&mut self, of: &str, operator: &OperatorProcess, before: Duration) -> Result<()> {
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        self.report.figure(&format!("CPU of {of}"), cpu.as_secs_f64(), "s", None, "once");
        Ok(())
    }

    async fn memory(&mut self, operator: &OperatorProcess, when: &str, aim: f64) -> Result<()> {
        tokio::time::sleep(CALM).await;
        let memory = operator.process.memory()?;
        self.report.figure(&format!("RSS {when}"), megabytes(memory.rss), "MB", Some(aim), "");
        self.report.figure(&format!("RssAnon {when}"), megabytes(memory.rss_anon), "MB", None, "");
        Ok(())
    }

    fn reset(&self) {
        self.rig.simulator.control().reset_requests();
    }

    /// Notes the calls of a phase. Returns their number.
    async fn calls(&mut self, phase: &str) -> Result<u64> {
        let calls = self.rig.calls().await?;
        let all = calls.values().sum();
        self.calls.push((phase.to_owned(), calls));
        Ok(all)
    }

    /// Waits until AKO is installed everywhere.
    async fn installed(&self) -> Result<()> {
        eventually("AKO is installed in all clusters", LONG, async || {
            let list = self.rig.management.kubectl(&["get", "clusters", "-o", "json"]).await?;
            let list: Value = serde_json::from_str(&list)?;
            let clusters = list["items"].as_array().context("no Clusters")?;
            let is_installed = |cluster: &&Value| {
                let conditions = cluster["status"]["conditions"].as_array().into_iter().flatten();
                conditions
                    .into_iter()
                    .any(|condition| condition["type"] == "AKOInstalled" && condition["status"] == "True")
            };
            let count = clusters.iter().filter(is_installed).count();
            ensure!(count == CLUSTERS, "{count} of {CLUSTERS}");
            Ok(Some(()))
        })
        .await
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
