//! What the benchmarks of all operators share: the release binary, its start, its memory.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Launch, OperatorProcess, Site};

use crate::report::Report;

/// The number of starts whose median is reported.
pub(crate) const STARTS: usize = 9;
/// The pause between the last change and a measurement of memory, until allocators and caches are stable.
pub(crate) const CALM: Duration = Duration::from_secs(10);
/// The duration of the measurement at rest.
pub(crate) const REST: Duration = Duration::from_secs(30);
/// The time limit of the largest burst.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
/// The time limit of the end.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Returns the path of the binary that a variable names, and reports its size.
pub(crate) fn binary(report: &mut Report, variable: &str) -> Result<String> {
    let binary =
        env::var_os(variable).with_context(|| format!("{variable} is not set: use cargo xtask bench"))?;
    let binary = fs::canonicalize(binary)?;
    report.figure("binary, stripped", megabytes(fs::metadata(&binary)?.len()), "MB", Some(20.0), "");
    Ok(binary.to_string_lossy().into_owned())
}

/// Starts the operator. Returns it and the time until /readyz returned 200.
pub(crate) async fn start(site: &Site, launch: &Launch) -> Result<(OperatorProcess, Duration)> {
    start_with(site, site.kubeconfig(), launch).await
}

/// As [`start`], with another kubeconfig.
pub(crate) async fn start_with(
    site: &Site,
    kubeconfig: &Path,
    launch: &Launch,
) -> Result<(OperatorProcess, Duration)> {
    let begin = Instant::now();
    let mut operator = site.spawn_with(kubeconfig, launch)?;
    while !operator.is_ready().await {
        if let Some(status) = operator.process.try_wait() {
            bail!("the operator has ended: {status}\n{}", operator.process.log());
        }
        ensure!(begin.elapsed() < PATIENCE, "the operator does not become ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok((operator, begin.elapsed()))
}

/// Starts the operator some times, and reports that. `complete`: what is there when it is ready.
pub(crate) async fn starts(report: &mut Report, site: &Site, launch: &Launch, complete: &str) -> Result<()> {
    let (mut times, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let (mut operator, time) = start(site, launch).await?;
        times.push(time);
        cpu.push(operator.process.cpu_time()?);
        operator.process.terminate(GRACE).await?;
    }
    started(report, &mut times, &mut cpu, complete)
}

/// Reports the time of some starts, and of the processor. `complete`: what is there when the operator is ready.
pub(crate) fn started(
    report: &mut Report,
    times: &mut [Duration],
    cpu: &mut [Duration],
    complete: &str,
) -> Result<()> {
    let (fastest, median, slowest) = spread(times)?;
    let remark = format!(
        "exec to /readyz 200, {complete}; median of {}, {:.0} to {:.0} ms",
        times.len(),
        fastest.as_secs_f64() * 1e3,
        slowest.as_secs_f64() * 1e3,
    );
    report.figure("start to ready", median.as_secs_f64(), "s", Some(0.1), remark);
    let (_, median, _) = spread(cpu)?;
    report.figure("CPU until ready", median.as_secs_f64(), "s", None, "in steps of 10 ms");
    Ok(())
}

/// Returns minimum, median and maximum.
pub(crate) fn spread(times: &mut [Duration]) -> Result<(Duration, Duration, Duration)> {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().context("nothing was measured");
    Ok((at(0)?, at(times.len() / 2)?, at(times.len().saturating_sub(1))?))
}

/// Converts to millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "sizes of a process or a file are far below 2^52")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
