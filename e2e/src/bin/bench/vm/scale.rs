//! Ten thousand machines in a thousand groups, against a thousand machines.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{OperatorProcess, Rig as _};
use testbed::eventually;

use super::{Bench, Burst, group};
use crate::program::{GRACE, PATIENCE, REST, start};

const THOUSAND: Burst = Burst { groups: 1000, size: 10, clone_time: Duration::ZERO };
/// The number of power changes whose cost is averaged.
const EVENTS: u32 = 400;

impl Bench {
    /// Measures creation, memory, rest, restart and deletion of 10,000 machines.
    pub(super) async fn thousand(&mut self) -> Result<()> {
        let mut operator = self.start_leader().await?;
        let before = operator.process.cpu_time()?;
        let time = self.make(THOUSAND).await?;
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        self.report.figure("1,000 × 10, instant clones", time.as_secs_f64(), "s", None, "once");
        self.report.figure("CPU of 1,000 × 10", cpu.as_secs_f64(), "s", None, "once");
        self.memory(&operator, "with 10,000 machines", Some(100.0), None).await?;
        let before = operator.process.cpu_time()?;
        tokio::time::sleep(REST).await;
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        let name = format!("CPU of {} s at rest with 10,000", REST.as_secs());
        self.report.figure(&name, cpu.as_secs_f64(), "s", Some(0.02), "in steps of 10 ms");
        self.events(&operator, "10,000").await?;
        operator.process.terminate(GRACE).await?;

        let (mut operator, time) = start(self.rig.site(), &self.rig.launch().without("RUST_LOG")).await?;
        self.report.figure("start to ready with 10,000", time.as_secs_f64(), "s", Some(3.0), "once");
        self.memory(&operator, "10,000, after a restart", Some(64.0), None).await?;
        let time = self.remove(THOUSAND.groups).await?;
        self.report.figure("delete 1,000 × 10", time.as_secs_f64(), "s", None, "once");
        operator.process.terminate(GRACE).await?;
        Ok(())
    }

    /// Measures what one change costs: a machine is powered off, and the operator powers it on.
    pub(super) async fn events(&mut self, operator: &OperatorProcess, machines: &str) -> Result<()> {
        self.rig.vcenter.reset_calls().await?;
        let (before, begin) = (operator.process.cpu_time()?, Instant::now());
        for n in 0..EVENTS {
            let group = group(n as usize % 100);
            let path = format!("/DC0/vm/vm-operator/default.{group}/{group}-{}", n / 100);
            self.rig.vcenter.power_off(&path).await?;
        }
        eventually("every machine is powered on again", PATIENCE, async || {
            let calls = self.rig.vcenter.calls().await?;
            Ok((calls.get("PowerOnVM_Task").copied().unwrap_or(0) >= u64::from(EVENTS)).then_some(()))
        })
        .await?;
        let time = begin.elapsed();
        for n in 0..100 {
            self.rig.settled_within(&group(n), 10, PATIENCE).await?;
        }
        let cpu = operator.process.cpu_time()?.saturating_sub(before);
        let each = |time: Duration| time.as_secs_f64() * 1e3 / f64::from(EVENTS);
        let remark = format!("{EVENTS} machines powered off and on again");
        self.report.figure(&format!("CPU of one change with {machines}"), each(cpu), "ms", None, remark);
        let remark = "includes the simulator";
        self.report.figure(&format!("time of one change with {machines}"), each(time), "ms", None, remark);
        Ok(())
    }
}
