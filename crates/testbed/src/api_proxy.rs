//! A TLS proxy between a client and the API server, in which one thing goes wrong.
//!
//! Owns the connections, the marks of requests and watch events, and the faults. Everything that it does may happen with a
//! correct API server. Never kills a client: it stops and waits for its owner to do that.
//!
//! A run without a perturbation records the [marks](Mark) of all requests and events; a [`Perturbation`] names one of them:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use testbed::{ApiProxy, ControlPlane};
//!
//! let plane = ControlPlane::start().await?;
//! let account = plane.service_account_kubeconfig("default", "default").await?;
//! let lost = "reply-lost@create/configmaps/a#1".parse()?;
//! let proxy = ApiProxy::start(&plane, &account, Some(lost)).await?;
//! let client = testbed::client(proxy.kubeconfig()).await?; // its request to create `a` gets no response
//! # Ok(())
//! # }
//! ```

mod mark;
mod perturbation;
pub(crate) mod serve;
mod state;
pub(crate) mod stream;

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use self::mark::{Mark, Subject};
pub use self::perturbation::{CallFault, EventFault, Perturbation};
use self::serve::Server;
use self::state::State;
use crate::{ControlPlane, Workdir};

/// What has passed through a proxy, in order, without Leases and Events.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The requests.
    pub calls: Vec<Mark>,
    /// The watch events.
    pub events: Vec<Mark>,
}

/// A running proxy. Dropping it closes its connections.
pub struct ApiProxy {
    state: Arc<State>,
    kubeconfig: PathBuf,
    accepting: JoinHandle<()>,
    _workdir: Workdir,
}

impl ApiProxy {
    /// Starts a proxy of an API server. `kubeconfig` has the token of the client.
    ///
    /// # Errors
    /// If the kubeconfig is not one of the control plane, or no port is free.
    pub async fn start(
        plane: &ControlPlane,
        kubeconfig: &Path,
        perturbation: Option<Perturbation>,
    ) -> Result<Self> {
        Self::with(plane, kubeconfig, State::new(perturbation, 0)).await
    }

    /// Starts a proxy whose client is to be killed again and again: before it has the response to each write that changes something, or to one
    /// of `changes` such writes. See [`kill_point`](Self::kill_point).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn killing(plane: &ControlPlane, kubeconfig: &Path, changes: u32) -> Result<Self> {
        Self::with(plane, kubeconfig, State::new(None, changes)).await
    }

    async fn with(plane: &ControlPlane, kubeconfig: &Path, state: State) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("https://{}", listener.local_addr()?);
        let workdir = Workdir::new("api-proxy")?;
        let own = workdir.path().join("kubeconfig");
        write_kubeconfig(kubeconfig, &url, &own)?;
        let ca = reqwest::Certificate::from_pem(plane.ca_pem().as_bytes())?;
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build()?;
        let state = Arc::new(state);
        let server = Arc::new(Server {
            state: Arc::clone(&state),
            http,
            url: plane.url().to_owned(),
            acceptor: acceptor(&plane.serving_certificate())?,
        });
        let accepting = tokio::spawn(serve::accept(listener, move |stream| {
            serve::serve_connection(Arc::clone(&server), stream)
        }));
        Ok(Self { state, kubeconfig: own, accepting, _workdir: workdir })
    }

    /// Returns the path of the client's kubeconfig, which points at the proxy.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns what has passed so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.state.record()
    }

    /// Returns whether the perturbation has taken effect.
    #[must_use]
    pub fn has_fired(&self) -> bool {
        *self.state.fired().borrow()
    }

    /// Waits until the client is to be killed. From then on nothing passes. Kill the client, then call
    /// [`reopen`](Self::reopen) and start it again.
    pub async fn kill_point(&self) {
        self.state.closed().await;
    }

    /// Serves the clients that connect from now on, and closes the connections of those before.
    pub fn reopen(&self) {
        self.state.reopen();
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Writes a kubeconfig with the credentials of another one and a new address.
pub(crate) fn write_kubeconfig(original: &Path, url: &str, file: &Path) -> Result<()> {
    let text = fs::read_to_string(original).with_context(|| format!("cannot read {}", original.display()))?;
    let mut config: Value = serde_json::from_str(&text).context("not a kubeconfig of a ControlPlane")?;
    let server = config.pointer_mut("/clusters/0/cluster/server");
    *server.context("the kubeconfig has no server")? = url.into();
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    open.write_all(config.to_string().as_bytes())?;
    Ok(())
}

/// Returns the acceptor of TLS connections with a certificate that clients of the control plane trust.
pub(crate) fn acceptor([certificate, key]: &[PathBuf; 2]) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_reader_iter(BufReader::new(File::open(certificate)?));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<_, _>>()?, PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
