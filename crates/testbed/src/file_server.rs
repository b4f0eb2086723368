//! A server of files in the test's process, over TLS with a CA of its own or plain, that can also be slow, cut answers off, or say anything.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::api_proxy::serve::accept;

/// Longest head of a request.
const HEAD: usize = 64 << 10;

/// A request: what the server was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// Path and query.
    pub path: String,
    /// Headers: names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl FileRequest {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
#[must_use]
pub struct FileReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes of the body that are sent; then the connection is closed, or stands still.
    sent: usize,
    stalls: bool,
    /// Pause before each byte of the body.
    pause: Option<Duration>,
}

impl FileReply {
    /// Answers with a status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), sent: usize::MAX, stalls: false, pause: None }
    }

    /// Answers with a file.
    pub fn file(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body)
    }

    /// Answers that nothing is there.
    pub fn not_found() -> Self {
        Self::new(404, "no such file")
    }

    /// Leads elsewhere.
    pub fn redirect(location: &str) -> Self {
        Self::new(302, "").header("location", location)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends only so many bytes of the body that it announces, and closes the connection.
    pub fn truncated(mut self, sent: usize) -> Self {
        self.sent = sent;
        self
    }

    /// Sends only so many bytes of the body that it announces, and keeps the connection open.
    pub fn stalled(mut self, sent: usize) -> Self {
        (self.sent, self.stalls) = (sent, true);
        self
    }

    /// Waits before each byte of the body.
    pub fn slow(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", self.status);
        let length = self.body.len().to_string();
        let own = [("content-length".to_owned(), length)];
        let own = own.iter().filter(|(name, _)| !self.headers.iter().any(|(header, _)| header == name));
        for (name, value) in self.headers.iter().chain(own) {
            head.extend([name.as_str(), ": ", value.as_str(), "\r\n"]);
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        let body = &self.body[..self.sent.min(self.body.len())];
        match self.pause {
            None => stream.write_all(body).await?,
            Some(pause) => {
                for byte in body {
                    tokio::time::sleep(pause).await;
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                }
            }
        }
        stream.flush().await?;
        if self.stalls {
            std::future::pending::<()>().await;
        }
        stream.shutdown().await
    }
}

type Answer = dyn Fn(&FileRequest) -> FileReply + Send + Sync;

/// A running server. Dropping it ends it.
pub struct FileServer {
    url: String,
    ca_pem: String,
    requests: Arc<Mutex<Vec<FileRequest>>>,
    task: JoinHandle<()>,
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FileServer {
    /// Starts a server with a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(answer: impl Fn(&FileRequest) -> FileReply + Send + Sync + 'static) -> Result<Self> {
        // An error means that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = KeyPair::generate()?;
        let cert =
            CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned))?.self_signed(&key)?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
            vec![CertificateDer::from(cert.der().to_vec())],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), cert.pem(), Arc::new(answer)).await
    }

    /// Starts a server without TLS.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn plain(answer: impl Fn(&FileRequest) -> FileReply + Send + Sync + 'static) -> Result<Self> {
        Self::serve(None, String::new(), Arc::new(answer)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, ca_pem: String, answer: Arc<Answer>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let requests: Arc<Mutex<Vec<FileRequest>>> = Arc::default();
        let seen = requests.clone();
        let task = tokio::spawn(accept(listener, move |stream| {
            let (tls, seen, answer) = (tls.clone(), seen.clone(), answer.clone());
            async move {
                let result = match tls {
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve_one(stream, &seen, &*answer).await,
                        Err(error) => Err(error),
                    },
                    None => serve_one(stream, &seen, &*answer).await,
                };
                // The client has closed the connection.
                drop(result);
            }
        }));
        Ok(Self { url, ca_pem, requests, task })
    }

    /// Returns the URL without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, host)| host)
    }

    /// Returns the certificate, which is its own authority.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<FileRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the paths of the requests so far.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }
}

async fn serve_one(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<FileRequest>>,
    answer: &Answer,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < HEAD {
        bytes.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&bytes);
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    });
    let request = FileRequest { path, headers: headers.collect() };
    let said = answer(&request);
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    said.write(&mut stream).await
}
