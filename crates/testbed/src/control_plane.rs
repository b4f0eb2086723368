//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, as processes.
//!
//! Owns their keys, ports, flags and order of start. There are no nodes: a Pod stays Pending. Knows nothing
//! of what is installed into it.

mod audit;
mod kubeconfig;
mod kubectl;
mod pki;
mod servers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

pub use self::audit::AuditEvent;
use self::kubeconfig::Credentials;
use self::pki::{HANDED_OUT, Pki};
use crate::port::{Port, again_if_taken};
use crate::{Process, ProcessSpec, Tools, Workdir, eventually};

/// Five seconds on an idle machine; a busy one with several planes starting takes a multiple.
const START: Duration = Duration::from_mins(5);
/// What a control plane is made of, and the program that holds it.
const PROGRAMS: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "supervise"];

/// What may differ from the default control plane.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaneBuilder {
    audit: bool,
    priority_and_fairness: bool,
    all_controllers: bool,
}

impl ControlPlaneBuilder {
    /// Keeps an audit log for [`ControlPlane::audit_events`]. Default: off.
    #[must_use]
    pub fn audit(mut self, on: bool) -> Self {
        self.audit = on;
        self
    }

    /// Lets the API server throttle clients, as a cluster's does. Default: off, it costs time at the start.
    #[must_use]
    pub fn priority_and_fairness(mut self, on: bool) -> Self {
        self.priority_and_fairness = on;
        self
    }

    /// Runs the controllers for workloads (Deployment, ReplicaSet, Job …) as well. Default: off, only
    /// ServiceAccounts, root CA, namespaces and garbage collection.
    #[must_use]
    pub fn all_controllers(mut self, on: bool) -> Self {
        self.all_controllers = on;
        self
    }

    /// Starts the control plane; ready when this returns, with the default ServiceAccount.
    ///
    /// # Errors
    /// If a program cannot be built or a server does not become ready; the end of its log is in the error.
    pub async fn start(self) -> Result<ControlPlane> {
        let tools = tokio::task::spawn_blocking(|| Tools::of(PROGRAMS)).await??;
        // reqwest and kube take the process's provider; somebody may have chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        again_if_taken(async || {
            let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
            ControlPlane::start_once(&self, &tools, ports).await
        })
        .await
    }
}

/// A running control plane. Dropped = gone, with everything stored in it.
pub struct ControlPlane {
    // Dropped in this order: clients before servers, and the files last.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    etcd: Process,
    api_server_spec: ProcessSpec,
    pki: Pki,
    url: String,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    client: Client,
    audit_log: Option<PathBuf>,
    _ports: [Port; 3],
    workdir: Workdir,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("url", &self.url)
            .field("directory", &self.workdir.path())
            .finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Starts one with the defaults: see [`ControlPlaneBuilder`].
    ///
    /// # Errors
    /// As [`ControlPlaneBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// For a control plane that differs from the default.
    #[must_use]
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder::default()
    }

    /// `ports`: for etcd's clients, for etcd's peers, for the API server.
    async fn start_once(options: &ControlPlaneBuilder, tools: &Tools, ports: [Port; 3]) -> Result<Self> {
        let workdir = Workdir::new("control-plane")?;
        let pki = Pki::create(workdir.path().join("pki"))?;
        let [etcd_clients, etcd_peers, api] = &ports;
        let url = format!("https://127.0.0.1:{}", api.number());
        let kubeconfig = workdir.path().join("admin.kubeconfig");
        kubeconfig::write(&kubeconfig, &url, &pki, "default", &Credentials::Certificate("admin"))?;
        let client = client(&kubeconfig).await?;

        // etcd and the API server start side by side: each takes a second or more to come up.
        let etcd = Process::spawn(servers::etcd(tools, &workdir, etcd_clients, etcd_peers)?)?;
        let audit_log = options.audit.then(|| workdir.path().join("audit.log"));
        let api_server_spec =
            servers::api_server(options, tools, &workdir, &pki, etcd_clients, api, audit_log.as_deref())?;
        let mut plane = Self {
            controller_manager: None,
            api_server: None,
            etcd,
            api_server_spec,
            pki,
            url,
            kubeconfig,
            kubectl: tools.path("kubectl")?,
            client,
            audit_log,
            _ports: ports,
            workdir,
        };
        plane.start_apiserver().await?;
        let spec = servers::controller_manager(options, tools, &plane.workdir, &plane.pki, &plane.url)?;
        plane.controller_manager = Some(Process::spawn(spec)?);
        plane.await_default_service_account().await?;
        Ok(plane)
    }

    async fn await_default_service_account(&mut self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "default");
        let end = Instant::now() + START;
        loop {
            if accounts.get_opt("default").await.is_ok_and(|account| account.is_some()) {
                return Ok(());
            }
            let controller_manager = self.controller_manager.as_mut().context("not started")?;
            still_starting("kube-controller-manager", controller_manager, end)?;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// An administrator's kubeconfig with keys and certificates inside, as a Secret holds it.
    ///
    /// # Errors
    /// If the plane's keys cannot be read.
    pub fn embedded_kubeconfig(&self) -> Result<String> {
        kubeconfig::render(&self.url, &self.pki, "default", &Credentials::Certificate(HANDED_OUT))
    }

    /// Revokes the credentials of [`ControlPlane::embedded_kubeconfig`] and yields one with others, which the
    /// API server accepts when this returns. Whoever comes with the old ones is Unauthorized, also over a
    /// connection that is open. Other kubeconfigs stay valid.
    ///
    /// # Errors
    /// If the API server, which must run, does not accept them within a minute or so.
    pub async fn rotate_embedded_kubeconfig(&self) -> Result<String> {
        self.pki.hand_out()?;
        let text = self.embedded_kubeconfig()?;
        let config = Kubeconfig::from_yaml(&text)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let accounts: Api<ServiceAccount> = Api::default_namespaced(Client::try_from(config)?);
        // It looks at the file when it is told of a change, and each minute at any rate.
        let accepted = eventually("the new credentials are accepted", START, async || {
            Ok(Some(accounts.get("default").await?))
        });
        accepted.await?;
        Ok(text)
    }

    /// The authority that signed the API server's certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.pki.ca_pem()
    }

    /// Certificate and key that the plane's clients trust at 127.0.0.1, for a webhook server.
    pub(crate) fn serving_certificate(&self) -> [PathBuf; 2] {
        ["apiserver.crt", "apiserver.key"].map(|file| self.pki.path(file))
    }

    /// The API server's URL, which stays the same when it is restarted.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where logs and keys are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.workdir.path()
    }

    /// The kubectl of the same version.
    #[must_use]
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// A kubeconfig with a token of the ServiceAccount, which must exist: what a Pod of it could do, and no
    /// more. The token is valid for a day.
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("no token of ServiceAccount {namespace}/{name}"))?;
        let token = answer.status.context("the API server answered without a token")?.token;
        let file = self.workdir.path().join(format!("{namespace}.{name}.kubeconfig"));
        kubeconfig::write(&file, &self.url, &self.pki, namespace, &Credentials::Token(&token))?;
        Ok(file)
    }

    /// Kills the API server, as a crash would: connections are cut, its port refuses. What it acknowledged is
    /// in etcd.
    ///
    /// # Errors
    /// None today; starting and stopping have one shape.
    pub async fn stop_apiserver(&mut self) -> Result<()> {
        if let Some(mut server) = self.api_server.take() {
            server.kill().await;
        }
        Ok(())
    }

    /// Starts the API server, on the same port and the same etcd; ready when this returns.
    ///
    /// # Errors
    /// If it does not become ready; the end of its log is in the error.
    pub async fn start_apiserver(&mut self) -> Result<()> {
        if self.api_server.is_none() {
            self.api_server = Some(Process::spawn(self.api_server_spec.clone())?);
        }
        let ca = reqwest::Certificate::from_pem(self.pki.ca_pem().as_bytes())?;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build()?;
        let url = format!("{}/readyz", self.url);
        let end = Instant::now() + START;
        loop {
            let answer = http.get(&url).timeout(Duration::from_secs(5)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            still_starting("etcd", &mut self.etcd, end)?;
            if let Some(server) = &mut self.api_server {
                still_starting("kube-apiserver", server, end)?;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Suspends the API server: connections stay open, new ones are accepted, nothing is answered.
    ///
    /// # Errors
    /// If it does not run.
    pub fn suspend_apiserver(&mut self) -> Result<()> {
        self.api_server.as_mut().context("the API server is stopped")?.suspend()
    }

    /// Resumes a suspended API server.
    ///
    /// # Errors
    /// As [`suspend_apiserver`](Self::suspend_apiserver).
    pub fn resume_apiserver(&mut self) -> Result<()> {
        self.api_server.as_mut().context("the API server is stopped")?.resume()
    }

    /// The API server's log so far, over all its restarts.
    #[must_use]
    pub fn apiserver_log(&self) -> String {
        let bytes = fs::read(&self.api_server_spec.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The servers that run: name and process id.
    #[must_use]
    pub fn pids(&self) -> Vec<(&'static str, u32)> {
        let api_server = self.api_server.as_ref().map(|process| ("kube-apiserver", process.pid()));
        let manager = self.controller_manager.as_ref();
        let manager = manager.map(|process| ("kube-controller-manager", process.pid()));
        [Some(("etcd", self.etcd.pid())), api_server, manager].into_iter().flatten().collect()
    }

    /// Every request of a client so far, in the order of the answers. The control plane's own are left out. A
    /// request shows up here just before or just after its answer: poll with [`eventually`](crate::eventually).
    ///
    /// # Errors
    /// If the control plane was built without `audit(true)`.
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>> {
        let file = self.audit_log.as_ref();
        let file = file.context("no audit log: start with ControlPlane::builder().audit(true)")?;
        // Created with the first event.
        audit::parse(&fs::read_to_string(file).unwrap_or_default())
    }
}

/// A client with a kubeconfig's rights, such as [`ControlPlane::service_account_kubeconfig`]'s.
///
/// # Errors
/// If the file is not a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// An error with the end of the server's log if it has ended or its time is up.
fn still_starting(name: &str, process: &mut Process, end: Instant) -> Result<()> {
    if let Some(status) = process.try_wait() {
        bail!("{name} ended while starting ({status}):\n{}", process.log_tail());
    }
    if Instant::now() > end {
        bail!("{name} is not ready after {} s:\n{}", START.as_secs(), process.log_tail());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[tokio::test]
    async fn a_port_that_somebody_else_takes_costs_a_start_and_no_more() {
        let tools = Tools::of(PROGRAMS).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut others = Vec::new();
        let plane = again_if_taken(async || {
            let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
            // Each in its turn is lost between its reservation and its server's start.
            if let Some(port) = ports.get(others.len()) {
                others.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))?);
            }
            ControlPlane::start_once(&ControlPlaneBuilder::default(), &tools, ports).await
        });
        plane.await.unwrap();
        assert_eq!(others.len(), 3);
    }
}
