//! A simulated vCenter as a process, and everything that a test reads from it or changes in it.
//!
//! Owns the process and the client of its control port; the simulator itself is `e2e/tools/vcsim`. Never calls the
//! vSphere API: nothing here is counted as a call or needs a session, and to an operator every change looks like one
//! of another client.

mod account;
mod control;
mod fault;
mod guest;
mod hardware;
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

pub use self::account::Account;
use self::control::ControlPort;
pub use self::fault::{Fault, Outage};
pub use self::guest::Guest;
pub use self::machines::{Connection, Happened, NewVm, UpdateCounts, VmEvent};
pub use self::network::{Discovery, SimPortGroup};
pub use self::start::VcsimBuilder;
use crate::{Memory, Port, Process, Workdir};

/// A running simulator. Dropping it ends it and removes its inventory.
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
    /// Its name, unescaped.
    pub name: String,
    /// The inventory path of its folder. `%`, `/` and `\` within a name are `%25`, `%2f` and `%5c`.
    pub folder: String,
    /// Its own inventory path, with names escaped as in `folder`.
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
    /// The guest's host name, as VMware Tools report it; empty if they report none.
    pub host_name: String,
    /// The guest's addresses.
    pub addresses: Vec<String>,
}

impl SimVm {
    /// Returns whether it is powered on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.power == "poweredOn"
    }
}

/// Sessions and logins since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Sessions {
    /// Sessions that exist now.
    pub now: u64,
    /// The highest number of sessions at one time.
    pub max: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Logins that failed, also by an injected fault.
    pub failed_logins: u64,
}

impl Vcsim {
    /// Starts a simulator with one datacenter, one cluster with one host, one resource pool, the template `photon` and
    /// the folder `vm-operator`. Clones take no time.
    ///
    /// # Errors
    /// If it cannot be built or does not start; the end of its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Returns a builder for a simulator that differs from the default.
    pub fn builder() -> VcsimBuilder {
        VcsimBuilder::default()
    }

    /// Returns the SDK's `127.0.0.1:PORT`, the value for `VC_HOST`. It serves HTTPS with a CA of its own.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.clone()
    }

    /// Returns the account that can log in. Sessions and tasks name it as a vCenter does: `VSPHERE.LOCAL\Administrator`
    /// for `administrator@vsphere.local`.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the account's password: a random one, unless the builder was given one.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Returns the CA that signed the certificate, which is for `127.0.0.1` and `localhost`.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the path of a file with [`Vcsim::ca_pem`].
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Returns the certificate's SHA-1 as vCenter shows it: upper-case hex with colons.
    #[must_use]
    pub fn thumbprint_sha1(&self) -> String {
        self.sha1.clone()
    }

    /// Returns the certificate's SHA-256: upper-case hex with colons.
    #[must_use]
    pub fn thumbprint_sha256(&self) -> String {
        self.sha256.clone()
    }

    /// Returns what the simulator has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Returns the memory that the simulator uses now.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<Memory> {
        self.process.memory()
    }

    /// Returns the number of SOAP calls by method since the start or the last [`Vcsim::reset_calls`], failed calls
    /// included.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        self.control.get("calls").await
    }

    /// Sets the counts of calls to zero.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn reset_calls(&self) -> Result<()> {
        self.control.send(Method::DELETE, "calls", None).await
    }

    /// Adds a rule that makes calls fail. Rules apply in the order in which they were added, each until it is used up.
    ///
    /// # Errors
    /// If the rule is not valid.
    pub async fn fault(&self, fault: Fault) -> Result<()> {
        self.control.send(Method::POST, "faults", Some(serde_json::to_value(fault)?)).await
    }

    /// Returns the number of rules that are not used up.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn pending_faults(&self) -> Result<usize> {
        Ok(self.control.get::<Vec<Value>>("faults").await?.len())
    }

    /// Returns whether this rule has not decided a call yet. Equal rules are not told apart.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn is_pending(&self, fault: &Fault) -> Result<bool> {
        Ok(self.control.get::<Vec<Value>>("faults").await?.contains(&serde_json::to_value(fault)?))
    }

    /// Removes all rules; calls that hang continue.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn clear_faults(&self) -> Result<()> {
        self.control.send(Method::DELETE, "faults", None).await
    }

    /// Begins an outage of the whole SDK endpoint, or ends it. The inventory and running tasks are not affected.
    ///
    /// # Errors
    /// If the port cannot be opened again.
    pub async fn outage(&self, outage: Outage) -> Result<()> {
        self.control.send(Method::PUT, "outage", Some(serde_json::to_value(outage)?)).await
    }

    /// Begins an outage that ends by itself after that time, unless another one is begun or ended.
    ///
    /// # Errors
    /// If the simulator refuses it.
    pub async fn outage_for(&self, outage: Outage, time: Duration) -> Result<()> {
        let mut body = serde_json::to_value(outage)?;
        body["ms"] = u64::try_from(time.as_millis())?.into();
        self.control.send(Method::PUT, "outage", Some(body)).await
    }

    /// Returns how many calls lost their connection to [`Outage::Refuse`] since the start.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn cut_calls(&self) -> Result<u64> {
        self.control.get("outage").await
    }

    /// Returns the numbers of sessions and logins.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn sessions(&self) -> Result<Sessions> {
        self.control.get("sessions").await
    }

    /// Ends all sessions as an idle timeout does: their calls get NotAuthenticated, except RetrievePropertiesEx, which
    /// reports it in `missingSet`.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn expire_sessions(&self) -> Result<()> {
        self.control.send(Method::DELETE, "sessions", None).await
    }

    /// Removes the container views of all sessions. A filter that names one shows nothing of it, and no error, where its client asks for that.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn drop_views(&self) -> Result<()> {
        self.control.send(Method::DELETE, "views", None).await
    }

    /// Becomes another vCenter at the same address: `about.instanceUuid` changes and all sessions end. The inventory stays.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn become_another(&self, instance_uuid: &str) -> Result<()> {
        self.control.send(Method::PUT, "instance-uuid", Some(json!({"id": instance_uuid}))).await
    }

    /// Sets how long the clone tasks take that are submitted from now on.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn set_clone_time(&self, time: Duration) -> Result<()> {
        let ms = u64::try_from(time.as_millis())?;
        self.control.send(Method::PUT, "clone-time", Some(json!({"ms": ms}))).await
    }

    /// Sets the vCenter's clock right. What it has stamped with another time stays so.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn set_clock_right(&self) -> Result<()> {
        self.control.send(Method::PUT, "clock", Some(json!({"ms": 0}))).await
    }

    /// Returns all machines, templates included, sorted by path.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn vms(&self) -> Result<Vec<SimVm>> {
        self.control.get("vms").await
    }

    /// Returns the machines in a folder, without those in folders below it.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn vms_in(&self, folder_path: &str) -> Result<Vec<SimVm>> {
        let mut vms = self.vms().await?;
        vms.retain(|vm| vm.folder == folder_path);
        Ok(vms)
    }

    /// Returns the inventory paths of all folders for machines, `/DC0/vm` included, sorted.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn folders(&self) -> Result<Vec<String>> {
        self.control.get("folders").await
    }
}
