//! A simulated vCenter as a process, and everything a test wants to ask of it or do to it.
//!
//! Owns the process and the control port's client; the simulator itself is `e2e/tools/vcsim`. Never speaks
//! the vSphere API: whatever is done here is uncounted, needs no session, and looks to an operator as if
//! somebody else had done it.

mod control;
mod fault;
mod machines;
mod network;
mod start;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use self::control::ControlPort;
pub use self::fault::{Fault, Outage};
pub use self::machines::{Connection, NewVm, RemovedVm};
pub use self::network::{Discovery, SimPortGroup};
pub use self::start::VcsimBuilder;
use crate::{Memory, Port, Process, Workdir};

/// A running simulator. Dropped = gone, with its inventory.
pub struct Vcsim {
    // Dropped before the directory with its log.
    process: Process,
    control: ControlPort,
    _port: Port,
    host: String,
    user: String,
    password: String,
    ca_pem: String,
    ca_file: PathBuf,
    sha1: String,
    sha256: String,
    workdir: Workdir,
}

impl fmt::Debug for Vcsim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vcsim")
            .field("host", &self.host)
            .field("directory", &self.workdir.path())
            .finish_non_exhaustive()
    }
}

/// A virtual machine in the simulator's inventory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimVm {
    /// Its managed object's value, such as `vm-42`.
    pub moref: String,
    /// Its name as a person typed it: nothing is escaped.
    pub name: String,
    /// The inventory path of its folder. `%`, `/` and `\` within a name are `%25`, `%2f` and `%5c`.
    pub folder: String,
    /// Its own inventory path, escaped alike.
    pub path: String,
    /// `poweredOn`, `poweredOff` or `suspended`.
    pub power: String,
    /// `runtime.connectionState`.
    pub connection: Connection,
    /// `config.instanceUuid`.
    pub instance_uuid: String,
    /// `config.uuid`, the BIOS UUID.
    pub uuid: String,
    /// Virtual CPUs.
    pub cpu: i32,
    /// Memory in MB.
    pub memory_mb: i32,
    /// `config.extraConfig`.
    pub extra_config: BTreeMap<String, String>,
    /// Whether it is a template.
    pub template: bool,
}

impl SimVm {
    /// Whether it is powered on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.power == "poweredOn"
    }
}

/// Sessions and logins since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sessions {
    /// Sessions there are.
    pub now: u64,
    /// The most there were at one time.
    pub max: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Logins that failed, those by an injected fault included.
    pub failed_logins: u64,
}

impl Vcsim {
    /// One datacenter, one cluster with one host, one resource pool, the template `photon` and the folder
    /// `vm-operator`; instant clones.
    ///
    /// # Errors
    /// If it cannot be built or does not start; the end of its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// For a simulator that differs from the default.
    pub fn builder() -> VcsimBuilder {
        VcsimBuilder::default()
    }

    /// The SDK's `127.0.0.1:PORT`, as `VC_HOST` takes it. HTTPS, under a CA of its own.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// The one user who may log in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The user's password: another one for each simulator, unless the builder was given one.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The CA that signed the certificate, for `127.0.0.1` and `localhost`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file with [`Vcsim::ca_pem`].
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The certificate's SHA-1, as vCenter shows it: upper-case hex with colons.
    #[must_use]
    pub fn thumbprint_sha1(&self) -> String {
        self.sha1.clone()
    }

    /// The certificate's SHA-256, upper-case hex with colons.
    #[must_use]
    pub fn thumbprint_sha256(&self) -> String {
        self.sha256.clone()
    }

    /// What the simulator has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The memory the simulator holds now.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<Memory> {
        self.process.memory()
    }

    /// SOAP calls by method since the start or the last [`Vcsim::reset_calls`], failed ones included.
    ///
    /// # Errors
    /// If the simulator does not answer; so for all that follow.
    pub async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        self.control.get("calls").await
    }

    /// Counts from zero again.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn reset_calls(&self) -> Result<()> {
        self.control.send(Method::DELETE, "calls", None).await
    }

    /// Makes calls fail from now on. Rules apply in the order they were given, each until it is used up.
    ///
    /// # Errors
    /// If the fault is none.
    pub async fn fault(&self, fault: Fault) -> Result<()> {
        self.control.send(Method::POST, "faults", Some(serde_json::to_value(fault)?)).await
    }

    /// How many rules are not used up yet.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn pending_faults(&self) -> Result<usize> {
        Ok(self.control.get::<Vec<Value>>("faults").await?.len())
    }

    /// Ends all fault rules; calls that hang go on.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn clear_faults(&self) -> Result<()> {
        self.control.send(Method::DELETE, "faults", None).await
    }

    /// Starts an outage of the whole SDK endpoint, or ends it. The inventory and running tasks live on.
    ///
    /// # Errors
    /// If the port cannot be opened again.
    pub async fn outage(&self, outage: Outage) -> Result<()> {
        self.control.send(Method::PUT, "outage", Some(serde_json::to_value(outage)?)).await
    }

    /// Sessions and logins.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn sessions(&self) -> Result<Sessions> {
        self.control.get("sessions").await
    }

    /// Ends all sessions as an idle timeout does: calls are answered with NotAuthenticated, except
    /// RetrievePropertiesEx, which hides it in `missingSet`.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn expire_sessions(&self) -> Result<()> {
        self.control.send(Method::DELETE, "sessions", None).await
    }

    /// How long clone tasks take that are submitted from now on.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn set_clone_time(&self, time: Duration) -> Result<()> {
        let ms = u64::try_from(time.as_millis())?;
        self.control.send(Method::PUT, "clone-time", Some(json!({"ms": ms}))).await
    }

    /// All machines, templates included, by path.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn vms(&self) -> Result<Vec<SimVm>> {
        self.control.get("vms").await
    }

    /// The machines in a folder, not those in folders within it.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn vms_in(&self, folder_path: &str) -> Result<Vec<SimVm>> {
        let mut vms = self.vms().await?;
        vms.retain(|vm| vm.folder == folder_path);
        Ok(vms)
    }

    /// The inventory paths of all folders for machines, from `/DC0/vm` on, in order.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn folders(&self) -> Result<Vec<String>> {
        self.control.get("folders").await
    }
}
