//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, as processes.
//!
//! Owns their keys, ports, flags and start order. There are no nodes: a Pod stays Pending. Knows nothing about what is
//! installed into it.

mod audit;
mod backup;
mod baseline;
mod kubeconfig;
mod kubectl;
mod pki;
mod servers;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

pub use self::audit::AuditEvent;
pub use self::backup::Backup;
pub use self::baseline::Baseline;
use self::kubeconfig::Credentials;
use self::pki::{HANDED_OUT, Pki};
use crate::port::{Port, again_if_taken};
use crate::{Process, ProcessSpec, Tools, Workdir, eventually};

/// The time limit of the start. It takes 5 s on an idle machine, several times that while other planes start.
const START: Duration = Duration::from_mins(5);
/// The programs of a control plane, and that of [`Process`].
const PROGRAMS: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "supervise"];

/// The settings of a control plane.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaneBuilder {
    audit: bool,
    priority_and_fairness: bool,
    all_controllers: bool,
}

impl ControlPlaneBuilder {
    /// Turns the audit log on, for [`ControlPlane::audit_events`]. Default: off.
    #[must_use]
    pub fn audit(mut self, on: bool) -> Self {
        self.audit = on;
        self
    }

    /// Turns the API server's throttling of clients on, as in a cluster. Default: off, because it slows the start.
    #[must_use]
    pub fn priority_and_fairness(mut self, on: bool) -> Self {
        self.priority_and_fairness = on;
        self
    }

    /// Runs all controllers, also those of Deployments, ReplicaSets, Jobs and so on. Default: off, only ServiceAccounts,
    /// root CA, namespaces and garbage collection.
    #[must_use]
    pub fn all_controllers(mut self, on: bool) -> Self {
        self.all_controllers = on;
        self
    }

    /// Starts the control plane. It is ready when this returns and has the default ServiceAccount.
    ///
    /// # Errors
    /// If a program cannot be built or a server does not become ready; the error has the end of its log.
    pub async fn start(self) -> Result<ControlPlane> {
        let tools = tokio::task::spawn_blocking(|| Tools::of(PROGRAMS)).await??;
        // reqwest and kube use the process-wide provider. An error means that the process has set one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        again_if_taken(async || {
            let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
            ControlPlane::start_once(&self, &tools, ports).await
        })
        .await
    }
}

/// A running control plane. Dropping it stops it and deletes everything stored in it.
pub struct ControlPlane {
    // Fields drop in this order: clients before servers, files last.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    etcd: Process,
    etcd_spec: ProcessSpec,
    etcd_data: PathBuf,
    backups: usize,
    api_server_spec: ProcessSpec,
    pki: Pki,
    url: String,
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    client: Mutex<Client>,
    audit_log: Option<PathBuf>,
    /// Where the requests begin in it that are not forgotten.
    audit_start: AtomicUsize,
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
    /// Starts a control plane with the defaults of [`ControlPlaneBuilder`].
    ///
    /// # Errors
    /// Those of [`ControlPlaneBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Returns a builder, for a control plane with other settings.
    #[must_use]
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder::default()
    }

    /// Starts the servers once. `ports` are those of etcd's clients, of etcd's peers, and of the API server.
    async fn start_once(options: &ControlPlaneBuilder, tools: &Tools, ports: [Port; 3]) -> Result<Self> {
        let workdir = Workdir::new("control-plane")?;
        let pki = Pki::create(workdir.path().join("pki"))?;
        let [etcd_clients, etcd_peers, api] = &ports;
        let url = format!("https://127.0.0.1:{}", api.number());
        let kubeconfig = workdir.path().join("admin.kubeconfig");
        kubeconfig::write(&kubeconfig, &url, &pki, "default", &Credentials::Certificate("admin"))?;
        let client = client(&kubeconfig).await?;

        // etcd and the API server start at the same time, because each takes a second or more.
        let etcd_data = workdir.memory_path("etcd"); // because etcd syncs each write
        let etcd_spec = servers::etcd(tools, &workdir, &etcd_data, etcd_clients, etcd_peers)?;
        let etcd = Process::spawn(etcd_spec.clone())?;
        let audit_log = options.audit.then(|| workdir.path().join("audit.log"));
        let api_server_spec =
            servers::api_server(options, tools, &workdir, &pki, etcd_clients, api, audit_log.as_deref())?;
        let mut plane = Self {
            controller_manager: None,
            api_server: None,
            etcd,
            etcd_spec,
            etcd_data,
            backups: 0,
            api_server_spec,
            pki,
            url,
            kubeconfig,
            kubectl: tools.path("kubectl")?,
            client: Mutex::new(client),
            audit_log,
            audit_start: AtomicUsize::new(0),
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
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        let end = Instant::now() + START;
        loop {
            if accounts.get_opt("default").await.is_ok_and(|account| account.is_some()) {
                return Ok(());
            }
            let controller_manager = self.controller_manager.as_mut().context("not started")?;
            check_starting("kube-controller-manager", controller_manager, end)?;
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Returns the path of the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns an administrator's kubeconfig with embedded keys and certificates, for a Secret.
    ///
    /// # Errors
    /// If the plane's keys cannot be read.
    pub fn embedded_kubeconfig(&self) -> Result<String> {
        kubeconfig::render(&self.url, &self.pki, "default", &Credentials::Certificate(HANDED_OUT))
    }

    /// Revokes the credentials of [`ControlPlane::embedded_kubeconfig`] and returns a kubeconfig with new ones, which the
    /// API server accepts when this returns. Clients with the old ones get Unauthorized, also on open connections. Other
    /// kubeconfigs stay valid.
    ///
    /// # Errors
    /// If the API server does not run, or does not accept the credentials within the time limit of the start.
    pub async fn rotate_embedded_kubeconfig(&self) -> Result<String> {
        self.pki.hand_out()?;
        let text = self.embedded_kubeconfig()?;
        let config = Kubeconfig::from_yaml(&text)?;
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let accounts: Api<ServiceAccount> = Api::default_namespaced(Client::try_from(config)?);
        // The API server reads the file when the kernel reports a change, and every minute.
        let accepted = eventually("the new credentials are accepted", START, async || {
            Ok(Some(accounts.get("default").await?))
        });
        accepted.await?;
        Ok(text)
    }

    /// Returns the certificate of the CA that signed the API server's certificate, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.pki.ca_pem()
    }

    /// Returns the paths of a certificate and key for a webhook server at 127.0.0.1 that the API server trusts.
    pub(crate) fn serving_certificate(&self) -> [PathBuf; 2] {
        ["apiserver.crt", "apiserver.key"].map(|file| self.pki.path(file))
    }

    /// Returns the API server's URL. A restart does not change it.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client with the administrator's rights. It ends with the runtime that made it: see
    /// [`renew_client`](Self::renew_client).
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the client of another runtime, such as that of the next test.
    ///
    /// # Errors
    /// If the kubeconfig is gone.
    pub async fn renew_client(&self) -> Result<()> {
        let client = client(&self.kubeconfig).await?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    /// Returns the directory of logs and keys.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.workdir.path()
    }

    /// Returns the path of the kubectl of the same version.
    #[must_use]
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// Writes a kubeconfig with a token of an existing ServiceAccount, which has the rights of a Pod with that account. The
    /// token is valid for a day. Returns the file's path.
    ///
    /// # Errors
    /// If the ServiceAccount does not exist.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        // A client ends with the runtime that made it; several tests, each with a runtime, may share a control plane.
        let accounts: Api<ServiceAccount> = Api::namespaced(client(&self.kubeconfig).await?, namespace);
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

    /// Kills the API server like a crash: connections break, new ones are refused. Acknowledged writes are in etcd.
    ///
    /// # Errors
    /// None; it has the signature of [`start_apiserver`](Self::start_apiserver).
    pub async fn stop_apiserver(&mut self) -> Result<()> {
        if let Some(mut server) = self.api_server.take() {
            server.kill().await;
        }
        Ok(())
    }

    /// Starts the API server on the same port and etcd. It is ready when this returns.
    ///
    /// # Errors
    /// If it does not become ready; the error has the end of its log.
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
            check_starting("etcd", &mut self.etcd, end)?;
            if let Some(server) = &mut self.api_server {
                check_starting("kube-apiserver", server, end)?;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Suspends the API server: connections stay open, new ones are accepted, no request is answered.
    ///
    /// # Errors
    /// If it does not run.
    pub fn suspend_apiserver(&mut self) -> Result<()> {
        self.api_server.as_mut().context("the API server is stopped; call start_apiserver")?.suspend()
    }

    /// Resumes a suspended API server.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume_apiserver(&mut self) -> Result<()> {
        self.api_server.as_mut().context("the API server is stopped; call start_apiserver")?.resume()
    }

    /// Returns name and process id of the running servers.
    #[must_use]
    pub fn pids(&self) -> Vec<(&'static str, u32)> {
        let api_server = self.api_server.as_ref().map(|process| ("kube-apiserver", process.pid()));
        let manager = self.controller_manager.as_ref();
        let manager = manager.map(|process| ("kube-controller-manager", process.pid()));
        [Some(("etcd", self.etcd.pid())), api_server, manager].into_iter().flatten().collect()
    }

    /// Returns all requests of clients so far, in the order of the responses, without those of the control plane itself. A
    /// request may be logged shortly after its response: poll with [`eventually`](crate::eventually).
    ///
    /// # Errors
    /// If the control plane was built without `audit(true)`.
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>> {
        self.audit_events_in(None)
    }

    /// Returns the requests about objects in a namespace; `None`: all.
    ///
    /// # Errors
    /// Those of [`audit_events`](Self::audit_events).
    pub fn audit_events_in(&self, namespace: Option<&str>) -> Result<Vec<AuditEvent>> {
        let file = self.audit_log.as_ref();
        let file = file.context("there is no audit log: start with ControlPlane::builder().audit(true)")?;
        // The API server creates the file with the first event.
        let log = fs::read_to_string(file).unwrap_or_default();
        audit::parse(log.get(self.audit_start.load(Ordering::Relaxed)..).unwrap_or_default(), namespace)
    }

    /// Forgets all requests so far, and what kubectl knows of the kinds.
    fn forget_requests(&self) -> Result<()> {
        if let Some(file) = &self.audit_log {
            let log = fs::read_to_string(file).unwrap_or_default();
            // An incomplete line is of a request that has ended now.
            let complete = log.rfind('\n').map_or(0, |end| end + 1);
            self.audit_start.store(complete, Ordering::Relaxed);
        }
        match fs::remove_dir_all(self.kubectl_cache()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Returns the directory in which kubectl keeps the kinds that the API server has.
    fn kubectl_cache(&self) -> PathBuf {
        self.workdir.path().join("kubectl-cache")
    }
}

/// Creates a client from a kubeconfig, for example that of [`ControlPlane::service_account_kubeconfig`].
///
/// # Errors
/// If the file is not a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Fails with the end of the server's log if the server has ended or `end` has passed.
fn check_starting(name: &str, process: &mut Process, end: Instant) -> Result<()> {
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
    async fn a_start_is_retried_if_a_port_is_taken() {
        let tools = Tools::of(PROGRAMS).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut others = Vec::new();
        let plane = again_if_taken(async || {
            let ports = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
            // In each try another port is taken between its reservation and the start of its server.
            if let Some(port) = ports.get(others.len()) {
                others.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port.number()))?);
            }
            ControlPlane::start_once(&ControlPlaneBuilder::default(), &tools, ports).await
        });
        plane.await.unwrap();
        assert_eq!(others.len(), 3);
    }
}
