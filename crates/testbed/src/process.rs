//! One child process that never outlives its owner.
//!
//! Every process runs under `supervise` (`e2e/tools/vcsim/cmd/supervise`), which kills it when our end of
//! its stdin closes. The kernel closes that when we end in any way, SIGKILL included, so neither a
//! panicking nor a killed test leaves a server behind. Owns starting, stopping, logs and the figures of
//! `/proc`; knows nothing of what the process is.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::Tools;

/// Waiting for an exit looks this often: short against anything measured, long against the cost.
const POLL: Duration = Duration::from_millis(5);
/// Starting a process, or killing it and removing its directories, takes longer than this only on a broken machine.
const GONE: Duration = Duration::from_mins(2);

/// What to run, and how.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// Names the process in errors.
    pub name: String,
    /// The binary: a path, or a name looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(String, OsString)>,
    /// Whether the process sees only `env` instead of our environment with `env` added. Default: no.
    pub clear_env: bool,
    /// Where stdout and stderr go, appended, so that a restart continues the log.
    pub log: PathBuf,
    /// Directories removed when the process has ended, however it ended.
    pub remove: Vec<PathBuf>,
}

impl ProcessSpec {
    /// `program` with `args`, logging to `log`.
    pub fn new<A: Into<OsString>>(
        name: &str,
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
        log: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            log: log.into(),
            ..Self::default()
        }
    }
}

/// A running process. Dropped = killed with SIGKILL and gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    supervisor: Child,
    pid: Pid,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a process. Returns once it exists, which is not yet when it serves.
    ///
    /// # Errors
    /// If it cannot be started; the end of its log is in the error.
    pub fn spawn(spec: ProcessSpec) -> Result<Self> {
        let supervise = Tools::of(&["supervise"])?.path("supervise")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        // Beside the log, so that it goes with that where we are killed before it is removed.
        let beside = spec.log.parent().context("a log is a file in a directory")?;
        let pid_directory = tempfile::tempdir_in(beside).context("cannot create a temporary directory")?;
        let pid_file = pid_directory.path().join("pid");

        let mut command = Command::new(supervise);
        command.arg("-pidfile").arg(&pid_file);
        for directory in &spec.remove {
            command.arg("-rm").arg(directory);
        }
        command.arg("--").arg(&spec.program).args(&spec.args);
        if spec.clear_env {
            command.env_clear();
        }
        // A group of its own: Ctrl-C in a terminal reaches us, and we end the servers in order.
        command.process_group(0).envs(spec.env).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let supervisor = command.spawn().with_context(|| format!("cannot start {}", spec.name))?;
        let mut process = Self { name: spec.name, supervisor, pid: Pid::INIT, log: spec.log, status: None };
        process.pid = process.await_pid(&pid_file)?;
        Ok(process)
    }

    /// Waits for the process to exist: some milliseconds, so a thread may as well block.
    fn await_pid(&mut self, file: &Path) -> Result<Pid> {
        let deadline = Instant::now() + GONE;
        loop {
            let ended = self.try_wait();
            // Written by rename: absent or whole.
            let pid = fs::read_to_string(file).unwrap_or_default().trim().parse().ok();
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                return Ok(pid);
            }
            if let Some(status) = ended {
                bail!("cannot start {} ({status}):\n{}", self.name, self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("{} did not start within {} s", self.name, GONE.as_secs());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The process's own id, not its supervisor's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If it has not ended after `grace`; it is killed then.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let ended = tokio::time::timeout(grace, self.wait()).await;
        if ended.is_err() {
            self.kill().await;
        }
        ended.map_err(|_| anyhow!("{} ignored SIGTERM for {grace:?}:\n{}", self.name, self.log_tail()))
    }

    /// Waits until the process has ended.
    pub async fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.try_wait() {
                return status;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills the process with SIGKILL; it is gone when this returns.
    pub async fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        if tokio::time::timeout(GONE, self.wait()).await.is_err() {
            self.kill_supervisor();
        }
    }

    /// Suspends (`SIGSTOP`) the process: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// If it has ended.
    pub fn suspend(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes a suspended process.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.try_wait() {
            bail!("{} has ended ({status}):\n{}", self.name, self.log_tail());
        }
        kill_process(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// How the process ended, or `None` while it runs. A signal shows as 128 + its number.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that there is no such child: it is gone, with a status nobody knows.
            self.status = self.supervisor.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0xff00)));
        }
        self.status
    }

    /// Everything the process has written to stdout and stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of the log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = self.log();
        let skip = log.lines().count().saturating_sub(LINES);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// The file with the log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The memory the process holds now.
    ///
    /// # Errors
    /// If the process has ended, or there is no `/proc`.
    pub fn memory(&self) -> Result<Memory> {
        let status = self.proc("status")?;
        let bytes = |key: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
            let kib = kib.with_context(|| format!("{} has no {key}: it has ended", self.name))?;
            Ok(kib.parse::<u64>()? * 1024)
        };
        Ok(Memory { rss: bytes("VmRSS")?, rss_anon: bytes("RssAnon")? })
    }

    /// The CPU time, user and system, that the process has used since its start.
    ///
    /// # Errors
    /// If the process has ended, or there is no `/proc`.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The name, in parentheses, may hold anything; utime and stime are 11 fields after it.
        let (_, fields) = stat.rsplit_once(") ").context("unknown form of /proc/<pid>/stat")?;
        let mut fields = fields.split(' ').skip(11);
        let mut ticks = || fields.next().unwrap_or_default().parse::<u32>();
        let ticks = f64::from(ticks()?) + f64::from(ticks()?);
        let rate = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(Duration::from_secs_f64(ticks / f64::from(rate)))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).with_context(|| format!("{} is gone: no {path}", self.name))
    }

    fn kill_supervisor(&mut self) {
        // The kernel kills the child with its supervisor.
        let _ = self.supervisor.kill();
        self.status = self.supervisor.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let deadline = Instant::now() + GONE;
        while self.try_wait().is_none() {
            if Instant::now() > deadline {
                self.kill_supervisor();
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What `/proc/<pid>/status` says of a process's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident memory, with the pages of files, which are shared or can be dropped.
    pub rss: u64,
    /// Resident memory of the process's own: heap and stacks.
    pub rss_anon: u64,
}

/// Polls `f` each 50 ms until it yields a value; an error of `f` counts as "not yet".
///
/// # Errors
/// If there is no value within `deadline`; the error names `what` and the last error of `f`.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut f: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        let last = match f().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= end {
            let seconds = deadline.as_secs_f64();
            return Err(match last {
                Some(error) => error.context(format!("not within {seconds} s: {what}")),
                None => anyhow!("not within {seconds} s: {what}"),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
