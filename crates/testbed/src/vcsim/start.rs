//! Starts a simulated vCenter: its options, and waiting until it serves.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::DirBuilderExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Vcsim;
use super::control::ControlPort;
use crate::port::{Port, again_if_taken};
use crate::{Process, ProcessSpec, Tools, Workdir};

/// The folder in each datacenter's `vm` folder in which vm-operator keeps its folders.
pub(super) const ROOT_FOLDER: &str = "vm-operator";
/// Half a second on an idle machine.
const START: Duration = Duration::from_mins(5);

/// The options of a simulator.
#[derive(Clone)]
#[must_use]
pub struct VcsimBuilder {
    /// Arguments of the simulator's own command line, by name.
    flags: BTreeMap<&'static str, String>,
    templates: Vec<String>,
    pools: Vec<String>,
    call_delays: Vec<String>,
    password: Option<String>,
}

impl Default for VcsimBuilder {
    fn default() -> Self {
        Self {
            flags: BTreeMap::from([("root-folder", ROOT_FOLDER.to_owned())]),
            templates: vec!["photon".to_owned()],
            pools: Vec::new(),
            call_delays: Vec::new(),
            password: None,
        }
    }
}

impl VcsimBuilder {
    fn flag(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.flags.insert(name, value.into());
        self
    }

    /// Sets the number of datacenters, `DC0`, `DC1` and so on, all alike. Default: 1.
    pub fn datacenters(self, n: u32) -> Self {
        self.flag("datacenters", n.to_string())
    }

    /// Sets the number of clusters per datacenter, `DC0_C0` and so on, each with a root resource pool. Default: 1.
    pub fn clusters(self, n: u32) -> Self {
        self.flag("clusters", n.to_string())
    }

    /// Sets the number of hosts per cluster. Default: 1.
    pub fn hosts(self, n: u32) -> Self {
        self.flag("hosts", n.to_string())
    }

    /// Sets the templates in each datacenter's `vm` folder, with 1 CPU and 1 GB each. Default: `photon`.
    pub fn templates(mut self, names: &[&str]) -> Self {
        self.templates = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Sets the resource pools to add to each cluster's root pool: `/DC0/host/DC0_C0/Resources/NAME`. Default: none.
    pub fn pools(mut self, names: &[&str]) -> Self {
        self.pools = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Sets whether each datacenter has a distributed switch `DVS0`, with all its hosts and the port group
    /// `DC0_DVPG0` (`DC1_DVPG0` and so on). Default: no.
    pub fn switch(self, on: bool) -> Self {
        self.flag("switch", on.to_string())
    }

    /// Sets how long a clone task takes. Any number of them run at a time. Default: no time.
    pub fn clone_time(self, time: Duration) -> Self {
        self.flag("clone-time", format!("{}ms", time.as_millis()))
    }

    /// Delays each call of a method before it runs. Default: no delay.
    pub fn call_delay(mut self, method: &str, time: Duration) -> Self {
        self.call_delays.push(format!("{method}={}ms", time.as_millis()));
        self
    }

    /// Makes the vCenter's clock wrong: CurrentTime and the times of tasks are that far ahead, or behind. Default: right.
    pub fn clock_offset(self, offset: Duration, ahead: bool) -> Self {
        let sign = if ahead { "" } else { "-" };
        self.flag("clock-offset", format!("{sign}{}ms", offset.as_millis()))
    }

    /// Sets whether a clone with `powerOn` is powered on when its task ends, as vCenter does; `false` is
    /// govmomi's simulator: it stays off. Default: yes.
    pub fn honour_power_on(self, on: bool) -> Self {
        self.flag("stock-power-on", (!on).to_string())
    }

    /// Sets whether there is a folder `vm-operator` in each datacenter's `vm` folder. Default: yes.
    pub fn root_folder(self, on: bool) -> Self {
        self.flag("root-folder", if on { ROOT_FOLDER } else { "" })
    }

    /// Sets whether CreateFolder is always answered with NoPermission. Default: no.
    pub fn read_only_user(self, on: bool) -> Self {
        self.flag("no-create-folder", on.to_string())
    }

    /// Sets `about.instanceUuid`, by which a client tells one vCenter from another. Default: a random one.
    pub fn instance_uuid(self, uuid: &str) -> Self {
        self.flag("instance-uuid", uuid)
    }

    /// Sets the number of datastores of each datacenter, `LocalDS_0`, `LocalDS_1` and so on. All hosts of the datacenter have
    /// each. Default: 1.
    pub fn datastores(self, n: u32) -> Self {
        self.flag("datastores", n.to_string())
    }

    /// Sets `about.version`, `about.apiVersion` and `about.build`, such as `8.0.3`, `8.0.3.0` and `24022515`. Default: those of
    /// govmomi's simulator, 6.5.
    pub fn release(self, version: &str, api_version: &str, build: &str) -> Self {
        self.flag("version", version).flag("api-version", api_version).flag("build", build)
    }

    /// Sets the account's password. Default: a random one of letters, digits and `!`.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    fn args(&self) -> Vec<OsString> {
        let flags = self.flags.iter().map(|(name, value)| format!("-{name}={value}"));
        let templates = self.templates.iter().map(|name| format!("-template={name}"));
        let delays = self.call_delays.iter().map(|delay| format!("-call-delay={delay}"));
        let pools = self.pools.iter().map(|name| format!("-pool={name}"));
        flags.chain(templates).chain(pools).chain(delays).map(Into::into).collect()
    }

    /// Starts the simulator and returns when it serves.
    ///
    /// # Errors
    /// If it cannot be built or does not start; the end of its log is in the error.
    pub async fn start(self) -> Result<Vcsim> {
        let tools = tokio::task::spawn_blocking(|| Tools::of(&["vcsim"])).await??;
        // reqwest uses the process's provider; an error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        again_if_taken(async || self.start_once(&tools, Port::reserve()?).await).await
    }

    /// Starts the simulator on the port, which stays reserved during an outage, when the simulator does not listen.
    async fn start_once(&self, tools: &Tools, port: Port) -> Result<Vcsim> {
        let workdir = Workdir::new("vcsim")?;
        // Three small files for each machine, which on a disk take longer than the rest of a clone.
        let data = workdir.memory_path("datastores");
        fs::DirBuilder::new().mode(0o700).create(&data)?;
        let password = self.password.clone().unwrap_or_else(random_password);
        let log = workdir.path().join("vcsim.log");
        let mut spec = ProcessSpec::new("vcsim", tools.path("vcsim")?, self.args(), log);
        spec.args.extend(["-dir".into(), data.clone().into()]);
        spec.args.push(format!("-listen=127.0.0.1:{}", port.number()).into());
        spec.env.push(("VCSIM_PASSWORD".to_owned(), password.clone().into()));
        spec.remove.push(data);
        let mut process = Process::spawn(spec)?;
        let ready = ready(&mut process).await?;

        let ca_file = workdir.path().join("ca.pem");
        fs::write(&ca_file, &ready.ca_pem)?;
        Ok(Vcsim {
            process,
            control: ControlPort::new(&ready.control)?,
            _port: port,
            host: ready.sdk,
            user: ready.user,
            password,
            ca_pem: ready.ca_pem,
            ca_file,
            sha1: ready.thumbprint_sha1,
            sha256: ready.thumbprint_sha256,
            workdir,
        })
    }
}

/// The line that the simulator prints when both its ports are open.
#[derive(Deserialize)]
struct Ready {
    sdk: String,
    control: String,
    user: String,
    ca_pem: String,
    thumbprint_sha1: String,
    thumbprint_sha256: String,
}

async fn ready(process: &mut Process) -> Result<Ready> {
    let deadline = Instant::now() + START;
    loop {
        let ended = process.try_wait();
        let log = process.log();
        // Only a whole line: it may be read while it is being written.
        let line = log.split_inclusive('\n').find(|line| line.starts_with('{') && line.ends_with('\n'));
        if let Some(line) = line {
            return serde_json::from_str(line)
                .context("cannot parse the line that vcsim prints when it is ready");
        }
        if let Some(status) = ended {
            bail!("vcsim ended ({status}):\n{log}");
        }
        if Instant::now() > deadline {
            bail!("vcsim was not ready within {} s:\n{log}", START.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns a unique password, so that a test can search logs for it. The `!` satisfies password rules.
fn random_password() -> String {
    format!("Vc{:016x}!", RandomState::new().hash_one(0))
}
