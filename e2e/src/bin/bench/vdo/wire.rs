//! The wire between the operator and the API server: counts the bytes on it, encrypted as they are.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use e2e::Site;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes connections on. Dropping it ends them.
pub(super) struct Wire {
    kubeconfig: PathBuf,
    bytes: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Wire {
    /// Starts to pass connections on to the API server of a rig.
    pub(super) async fn start(site: &Site) -> Result<Self> {
        let text = fs::read_to_string(site.kubeconfig())?;
        let mut config: Value = serde_json::from_str(&text).context("the kubeconfig is no JSON")?;
        let server =
            config.pointer_mut("/clusters/0/cluster/server").context("the kubeconfig has no server")?;
        let address = server.as_str().unwrap_or_default().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        *server = format!("https://{}", listener.local_addr()?).into();
        let kubeconfig = site.directory().join("metered.kubeconfig");
        fs::write(&kubeconfig, config.to_string())?;
        let bytes = Arc::<AtomicU64>::default();
        let accepting = tokio::spawn(accept(listener, address, Arc::clone(&bytes)));
        Ok(Self { kubeconfig, bytes, accepting })
    }

    /// Returns the kubeconfig that leads here.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the bytes of both directions since the last call.
    pub(super) fn take(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, address: String, bytes: Arc<AtomicU64>) {
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(&address).await else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::spawn(pass_on(from_client, to_server, Arc::clone(&bytes)));
        tokio::spawn(pass_on(from_server, to_client, Arc::clone(&bytes)));
    }
}

/// Passes one direction on until it ends.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    bytes: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&buffer[..read]).await?;
    }
}
