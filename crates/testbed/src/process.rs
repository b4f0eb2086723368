//! A child process that ends with its owner.
//!
//! Every process runs under `supervise` (`e2e/tools/vcsim/cmd/supervise`), which kills it when the pipe to its stdin closes.
//! The kernel closes the pipe when this process ends in any way, also by SIGKILL, so neither a panicking nor a killed test
//! leaves a server behind. Owns start, stop, logs and the figures of `/proc`; knows nothing about the program.

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

/// The interval in which the end of a process is polled.
const POLL: Duration = Duration::from_millis(5);
/// The time limit for starting a process, and for killing it and removing its directories.
const GONE: Duration = Duration::from_mins(2);

/// A process to start.
#[derive(Debug, Clone, Default)]
pub struct ProcessSpec {
    /// The name in errors.
    pub name: String,
    /// The binary: a path, or a name in `PATH`.
    pub program: PathBuf,
    /// The arguments.
    pub args: Vec<OsString>,
    /// Additional environment variables.
    pub env: Vec<(String, OsString)>,
    /// Whether the environment has only `env`; otherwise it is this process's environment plus `env`. Default: false.
    pub clear_env: bool,
    /// The file to which stdout and stderr are appended, so that a restart continues the log.
    pub log: PathBuf,
    /// Directories that are removed after the process has ended in any way.
    pub remove: Vec<PathBuf>,
}

impl ProcessSpec {
    /// Returns the specification of `program` with `args` and the log file `log`.
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

/// A running process. Dropping it kills the process with SIGKILL and waits for its end.
#[derive(Debug)]
pub struct Process {
    name: String,
    supervisor: Child,
    pid: Pid,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a process. Returns when it exists, which is before a server is ready.
    ///
    /// # Errors
    /// If it cannot be started; the error has the end of its log.
    pub fn spawn(spec: ProcessSpec) -> Result<Self> {
        let supervise = Tools::of(&["supervise"])?.path("supervise")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        // In the directory of the log, with which it is removed if this process is killed first.
        let beside = spec.log.parent().context("the log path has no directory")?;
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
        // In a new process group: Ctrl-C in a terminal then reaches only this process, which stops the servers in order.
        command.process_group(0).envs(spec.env).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let supervisor = command.spawn().with_context(|| format!("cannot start {}", spec.name))?;
        let mut process = Self { name: spec.name, supervisor, pid: Pid::INIT, log: spec.log, status: None };
        process.pid = process.await_pid(&pid_file)?;
        Ok(process)
    }

    /// Waits until the process exists. Blocks the thread, for some milliseconds.
    fn await_pid(&mut self, file: &Path) -> Result<Pid> {
        let deadline = Instant::now() + GONE;
        loop {
            let ended = self.try_wait();
            // `supervise` writes the file by rename, so it is never incomplete.
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

    /// Returns the id of the process, not that of its supervisor.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If the process has not ended after `grace`; it is killed then.
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

    /// Kills the process with SIGKILL. It has ended when this returns.
    pub async fn kill(&mut self) {
        drop(self.supervisor.stdin.take());
        if tokio::time::timeout(GONE, self.wait()).await.is_err() {
            self.kill_supervisor();
        }
    }

    /// Suspends the process with SIGSTOP: it keeps its connections and does not respond.
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

    /// Returns the exit status, or `None` while the process runs. After a signal the status is 128 plus its number.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that the child does not exist: it has ended with an unknown status.
            self.status = self.supervisor.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0xff00)));
        }
        self.status
    }

    /// Returns everything that the process has written to stdout and stderr.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the last lines of the log, for an error.
    pub(crate) fn log_tail(&self) -> String {
        const LINES: usize = 20;
        let log = self.log();
        let skip = log.lines().count().saturating_sub(LINES);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Returns the memory use of the process.
    ///
    /// # Errors
    /// If the process has ended, or there is no `/proc`.
    pub fn memory(&self) -> Result<Memory> {
        let status = self.read_proc("status")?;
        let bytes = |key: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
            let kib = kib.with_context(|| format!("{} has no {key}: it has ended", self.name))?;
            Ok(kib.parse::<u64>()? * 1024)
        };
        Ok(Memory { rss: bytes("VmRSS")?, rss_anon: bytes("RssAnon")?, peak: bytes("VmHWM")? })
    }

    /// Returns the CPU time (user and system) of the process since its start.
    ///
    /// # Errors
    /// If the process has ended, or there is no `/proc`.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.read_proc("stat")?;
        // The name in parentheses may contain spaces and parentheses; utime and stime are 11 fields after it.
        let (_, fields) = stat.rsplit_once(") ").context("unknown form of /proc/<pid>/stat")?;
        let mut fields = fields.split(' ').skip(11);
        let mut ticks = || fields.next().unwrap_or_default().parse::<u32>();
        let ticks = f64::from(ticks()?) + f64::from(ticks()?);
        let rate = u32::try_from(rustix::param::clock_ticks_per_second())?;
        Ok(Duration::from_secs_f64(ticks / f64::from(rate)))
    }

    /// Reads a file of `/proc/<pid>`.
    fn read_proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid());
        fs::read_to_string(&path).with_context(|| format!("{} has ended: there is no {path}", self.name))
    }

    fn kill_supervisor(&mut self) {
        // The kernel then kills the child.
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

/// The memory use of a process, from `/proc/<pid>/status`, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident memory, including pages of files, which are shared or can be dropped.
    pub rss: u64,
    /// Anonymous resident memory: heap and stacks.
    pub rss_anon: u64,
    /// Most that `rss` has been.
    pub peak: u64,
}

/// Polls `f` until it returns a value, at first every 50 ms, and less often the longer it takes: many polls start a process. An error of `f`
/// counts as "not yet".
///
/// # Errors
/// If `f` returns no value within `deadline`; the error has `what` and the last error of `f`.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut f: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match f().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let waited = start.elapsed();
        if waited >= deadline {
            let seconds = deadline.as_secs_f64();
            return Err(match last {
                Some(error) => error.context(format!("not within {seconds} s: {what}")),
                None => anyhow!("not within {seconds} s: {what}"),
            });
        }
        let pause = (waited / 10).clamp(Duration::from_millis(50), Duration::from_millis(500));
        tokio::time::sleep(pause).await;
    }
}
