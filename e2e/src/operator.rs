//! An operator's binary as a process.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testbed::{Port, Process, ProcessSpec, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::site::PATIENCE;

/// How an operator is started.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Arguments beside `--metrics-addr`.
    pub args: Vec<String>,
    /// Environment beside `KUBECONFIG`; nothing is inherited but `PATH`.
    pub env: Vec<(String, OsString)>,
}

impl Launch {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Sets a variable, in place of an earlier one of that name.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.env.retain(|(n, _)| n != name);
        self
    }
}

/// A running operator. Dropped = killed.
#[derive(Debug)]
pub struct OperatorProcess {
    /// The process.
    pub process: Process,
    port: Port,
    spec: ProcessSpec,
}

impl OperatorProcess {
    /// Starts the binary `name`. Returns at once; [`OperatorProcess::ready`] waits.
    pub fn start(name: &str, kubeconfig: &Path, log: PathBuf, launch: &Launch) -> Result<Self> {
        let port = Port::reserve()?;
        let mut args = vec![format!("--metrics-addr=127.0.0.1:{}", port.number())];
        args.extend(launch.args.iter().cloned());
        let mut spec = ProcessSpec::new(name, binary(name)?, args, log);
        spec.clear_env = true;
        spec.env.clone_from(&launch.env);
        spec.env.push(("KUBECONFIG".to_owned(), kubeconfig.into()));
        spec.env.push(("PATH".to_owned(), env::var_os("PATH").unwrap_or_default()));
        Ok(Self { process: Process::spawn(spec.clone())?, port, spec })
    }

    /// Returns the URL of its metrics and probes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Returns its environment.
    #[must_use]
    pub fn environment(&self) -> &[(String, OsString)] {
        &self.spec.env
    }

    /// Returns the program and its arguments.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let program = self.spec.program.as_os_str();
        let words = std::iter::once(program).chain(self.spec.args.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// Returns status and body of what the admin server answers at a path, whatever the status.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let response = reqwest::get(format!("{}{path}", self.url())).await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    /// Returns the number of reconciles so far, by controller.
    ///
    /// # Errors
    /// If the metrics cannot be read.
    pub async fn passes(&self) -> Result<BTreeMap<String, u64>> {
        let (_, metrics) = self.get("/metrics").await?;
        let mut passes = BTreeMap::new();
        for line in metrics.lines() {
            let Some(line) = line.strip_prefix("operator_reconcile_total{controller=\"") else { continue };
            let (controller, _) = line.split_once('"').context("a label without end")?;
            let (_, count) = line.rsplit_once(' ').context("a metric without value")?;
            *passes.entry(controller.to_owned()).or_default() += count.parse::<u64>()?;
        }
        Ok(passes)
    }

    /// Returns the number of reconciles of one controller so far.
    ///
    /// # Errors
    /// If the metrics cannot be read.
    pub async fn passes_of(&self, controller: &str) -> Result<u64> {
        Ok(self.passes().await?.get(controller).copied().unwrap_or_default())
    }

    /// Returns whether `/readyz` answers 200 now, and for at least one check: before the first is registered, nothing
    /// has been checked. A bare request, so that asking often takes nothing from what is being measured.
    pub async fn is_ready(&self) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port.number())).await?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = ask.await.unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("[+] ")
    }

    /// Waits until `/readyz` says so.
    pub async fn ready(&mut self) -> Result<()> {
        let log = self.process.log_path().to_owned();
        let ended = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually("the operator is ready", PATIENCE, async || {
            ensure!(self.process.try_wait().is_none(), "the operator has ended: {}", ended());
            let (status, text) = self.get("/readyz").await?;
            ensure!(status == 200, "{text}");
            Ok(Some(()))
        })
        .await
    }
}

/// Returns the line of an operator's log that reports a panic, also one that the driver has turned into an error.
pub(crate) fn panic_in(log: &str) -> Option<&str> {
    // Not the reason of a status that the API server answers with.
    const INTERNAL: [&str; 2] = [r#"reason="InternalError""#, r#""reason":"InternalError""#];
    log.lines().find(|line| line.contains("panicked") || INTERNAL.iter().any(|field| line.contains(field)))
}

/// Returns the path of a binary or an example: `<NAME>_BIN` if set, else beside or above this program, where Cargo puts it.
///
/// # Errors
/// If it does not exist.
pub fn binary(name: &str) -> Result<PathBuf> {
    let variable = format!("{}_BIN", name.to_uppercase().replace('-', "_"));
    if let Some(path) = env::var_os(&variable) {
        return Ok(path.into());
    }
    let this = env::current_exe()?;
    let example = format!("examples/{}", name.replace('-', "_"));
    let directories = this.ancestors().skip(1).take(3);
    directories
        .flat_map(|directory| [directory.join(name), directory.join(&example)])
        .find(|path| path.is_file())
        .with_context(|| {
            format!("no binary {name}: run `cargo build --workspace --bins --examples`, or set {variable}")
        })
}
