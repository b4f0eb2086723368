//! A share of an API server that looks like a cluster of its own: a TLS proxy that renames some objects.
//!
//! For many clusters where a control plane for each would need gigabytes. Objects of the given names exist once in each virtual cluster,
//! in the API server under the name with a suffix. Everything else is shared: use names that differ.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{Method, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::api_proxy::serve::{Payload, accept, passed_on, status, whole};
use crate::api_proxy::stream::next_line;
use crate::api_proxy::{acceptor, write_kubeconfig};
use crate::{ControlPlane, Workdir, eventually};

/// The account of all clients.
const ACCOUNT: &str = "virtual-cluster";
/// The end of the names of what is a virtual cluster's own.
pub(crate) const OWN: &str = "-vc";
/// Numbers virtual clusters: the objects of an earlier one of the same name stay.
static NUMBER: AtomicUsize = AtomicUsize::new(1);
/// How long closed connections may keep the port.
const RESTORED: Duration = Duration::from_secs(30);

/// How an API server may answer that its users have replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehavior {
    /// It refuses to change ConfigMaps, and to delete StatefulSets.
    RefusesChanges,
    /// It answers each read with a megabyte of JSON that takes a hundred times as much once it is parsed.
    Floods,
}

/// A running virtual cluster. Dropping it closes its connections; its objects stay in the API server.
pub struct VirtualCluster {
    address: SocketAddr,
    url: String,
    kubeconfig: PathBuf,
    server: Arc<Server>,
    accepting: Mutex<JoinHandle<()>>,
    _workdir: Workdir,
}

impl VirtualCluster {
    /// Starts a virtual cluster in a control plane. Objects and namespaces with one of `names` are its own.
    ///
    /// # Errors
    /// If the API server refuses an object, or no port is free.
    pub async fn start(plane: &ControlPlane, name: &str, names: &[&'static str]) -> Result<Self> {
        create_account(plane).await?;
        let account = plane.service_account_kubeconfig("default", ACCOUNT).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let workdir = Workdir::new("virtual-cluster")?;
        let kubeconfig = workdir.path().join("kubeconfig");
        let address = listener.local_addr()?;
        let url = format!("https://{address}");
        write_kubeconfig(&account, &url, &kubeconfig)?;
        let ca = reqwest::Certificate::from_pem(plane.ca_pem().as_bytes())?;
        let suffix = format!("-of-{name}-{}{OWN}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = Server {
            renames: Arc::new(Renames { names: names.to_vec(), suffix }),
            http: reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build()?,
            url: plane.url().to_owned(),
            acceptor: acceptor(&plane.serving_certificate())?,
            delay: AtomicU64::new(0),
            misbehavior: Mutex::new(None),
        };
        let server = Arc::new(server);
        let accepting = Mutex::new(start(&server, listener));
        Ok(Self { address, url, kubeconfig, server, accepting, _workdir: workdir })
    }

    /// Answers each request so much later from now on.
    pub fn slow_down(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.server.delay.store(by, Ordering::Relaxed);
    }

    /// Has its API server answer so from now on; `None`: as it is.
    pub fn misbehave(&self, how: Option<Misbehavior>) {
        *self.server.misbehavior.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }

    /// Closes all connections and refuses new ones, until [`restore`](Self::restore): its API server cannot be reached.
    pub fn cut(&self) {
        self.accepting().abort();
    }

    /// Listens again after [`cut`](Self::cut).
    ///
    /// # Errors
    /// If the port is taken.
    pub async fn restore(&self) -> Result<()> {
        eventually("the port is free", RESTORED, async || {
            let listener = TcpListener::bind(self.address).await?;
            *self.accepting() = start(&self.server, listener);
            Ok(Some(()))
        })
        .await
    }

    fn accepting(&self) -> MutexGuard<'_, JoinHandle<()>> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the URL of the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the path of an administrator's kubeconfig, which has everything inside it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the text of the kubeconfig, for a Secret.
    ///
    /// # Errors
    /// If the file is gone.
    pub fn embedded_kubeconfig(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.kubeconfig)?)
    }

    /// Returns a client with the administrator's rights.
    ///
    /// # Errors
    /// Those of [`client`](crate::client).
    pub async fn client(&self) -> Result<Client> {
        crate::client(&self.kubeconfig).await
    }

    /// Returns the name that one of the cluster's own names has in the API server.
    #[must_use]
    pub fn real_name(&self, name: &str) -> String {
        format!("{name}{}", self.server.renames.suffix)
    }
}

impl Drop for VirtualCluster {
    fn drop(&mut self) {
        self.cut();
    }
}

fn start(server: &Arc<Server>, listener: TcpListener) -> JoinHandle<()> {
    let server = Arc::clone(server);
    tokio::spawn(accept(listener, move |stream| serve(Arc::clone(&server), stream)))
}

/// Creates the account of all virtual clusters, unless it exists.
async fn create_account(plane: &ControlPlane) -> Result<()> {
    let rbac = "rbac.authorization.k8s.io";
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT, "namespace": "default" } },
        { "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": ACCOUNT },
          "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin" },
          "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default" }] },
    ]});
    plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &objects.to_string()).await?;
    Ok(())
}

/// The cluster's own names, and what they end with in the API server.
struct Renames {
    names: Vec<&'static str>,
    suffix: String,
}

impl Renames {
    /// Renames path and query of a request.
    fn target(&self, uri: &http::Uri) -> String {
        let path: Vec<_> = uri.path().split('/').map(|segment| self.whole(segment)).collect();
        let pair = |pair: &str| match pair.rsplit_once("%3D").or_else(|| pair.rsplit_once('=')) {
            Some((field, value)) => {
                let sign = pair.get(field.len()..pair.len() - value.len()).unwrap_or_default();
                format!("{field}{sign}{}", self.whole(value))
            }
            None => pair.to_owned(),
        };
        // A selector has several pairs.
        let pairs = |pairs: &str| pairs.split("%2C").map(pair).collect::<Vec<_>>().join("%2C");
        let query = uri.query().map(|query| query.split('&').map(pairs).collect::<Vec<_>>().join("&"));
        query.map_or_else(|| path.join("/"), |query| format!("{}?{query}", path.join("/")))
    }

    fn whole(&self, text: &str) -> String {
        if self.names.contains(&text) { format!("{text}{}", self.suffix) } else { text.to_owned() }
    }

    /// Renames the texts of a JSON document.
    fn body(&self, body: &Bytes) -> Bytes {
        let Ok(mut text) = String::from_utf8(body.to_vec()) else { return body.clone() };
        for name in &self.names {
            text = text.replace(&format!("\"{name}\""), &format!("\"{name}{}\"", self.suffix));
        }
        text.into()
    }

    /// Returns a response with the cluster's own names.
    fn response(&self, body: &Bytes) -> Bytes {
        match std::str::from_utf8(body) {
            Ok(text) => text.replace(&self.suffix, "").into(),
            Err(_) => body.clone(),
        }
    }
}

struct Server {
    renames: Arc<Renames>,
    http: reqwest::Client,
    url: String,
    acceptor: TlsAcceptor,
    /// In milliseconds.
    delay: AtomicU64,
    misbehavior: Mutex<Option<Misbehavior>>,
}

async fn serve(server: Arc<Server>, stream: TcpStream) {
    let Ok(stream) = server.acceptor.accept(stream).await else { return };
    let service = service_fn(|request| server.answer(request));
    // An error means that the client has closed the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Payload>> {
        tokio::time::sleep(Duration::from_millis(self.delay.load(Ordering::Relaxed))).await;
        let (parts, body) = request.into_parts();
        if let Some(answer) = self.misbehave(&parts) {
            return Ok(answer);
        }
        let body = self.renames.body(&body.collect().await.map_err(io::Error::other)?.to_bytes());
        let target = format!("{}{}", self.url, self.renames.target(&parts.uri));
        let mut headers = passed_on(&parts.headers);
        // Names are replaced in JSON only.
        headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        let request = self.http.request(parts.method, target).headers(headers).body(body);
        let response = request.send().await.map_err(io::Error::other)?;
        let (status, headers) = (response.status(), passed_on(response.headers()));
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch="));
        let payload = if is_watch && status.is_success() {
            self.relay(response)
        } else {
            whole(self.renames.response(&response.bytes().await.map_err(io::Error::other)?))
        };
        let mut answer = Response::new(payload);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// Returns the answer that is no API server's.
    fn misbehave(&self, request: &request::Parts) -> Option<Response<Payload>> {
        let path = request.uri.path();
        let is_change = request.method == Method::PATCH && path.contains("/configmaps/")
            || request.method == Method::DELETE && path.contains("/statefulsets/");
        let how = *self.misbehavior.lock().unwrap_or_else(PoisonError::into_inner);
        let (code, body) = match how? {
            Misbehavior::RefusesChanges if is_change => {
                (StatusCode::FORBIDDEN, status(403, "its users have replaced this API server").to_string())
            }
            Misbehavior::Floods if request.method == Method::GET => {
                let member = r#"{"":[0]},"#;
                (StatusCode::OK, format!(r#"{{"x":[{}0]}}"#, member.repeat((1 << 20) / member.len() - 1)))
            }
            Misbehavior::RefusesChanges | Misbehavior::Floods => return None,
        };
        let mut answer = Response::new(whole(body.into()));
        *answer.status_mut() = code;
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        Some(answer)
    }

    /// Returns a body with the events of a watch, one line each.
    fn relay(&self, response: reqwest::Response) -> Payload {
        let start = (response, BytesMut::new(), Arc::clone(&self.renames));
        let events = stream::unfold(start, async |(mut response, mut received, renames)| {
            let line = match next_line(&mut response, &mut received).await {
                Ok(line) => Ok(Frame::data(renames.response(&line?))),
                Err(error) => Err(io::Error::other(error)),
            };
            Some((line, (response, received, renames)))
        });
        BodyExt::boxed_unsync(StreamBody::new(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_suffix_on_the_way_in_and_lose_it_on_the_way_out() {
        let renames = Renames { names: vec!["sys", "role"], suffix: "-of-w1-vc".to_owned() };
        for (target, wanted) in [
            ("/api/v1/namespaces/sys/pods/p?x=1", "/api/v1/namespaces/sys-of-w1-vc/pods/p?x=1"),
            ("/apis/g/v1/roles/role", "/apis/g/v1/roles/role-of-w1-vc"),
            (
                "/p?fieldSelector=metadata.namespace%3Dsys&watch=true",
                "/p?fieldSelector=metadata.namespace%3Dsys-of-w1-vc&watch=true",
            ),
            ("/p?fieldSelector=metadata.name=role", "/p?fieldSelector=metadata.name=role-of-w1-vc"),
            (
                "/p?fieldSelector=metadata.namespace%3Dsys%2Cmetadata.name%3Drole",
                "/p?fieldSelector=metadata.namespace%3Dsys-of-w1-vc%2Cmetadata.name%3Drole-of-w1-vc",
            ),
            ("/api/v1/namespaces/system", "/api/v1/namespaces/system"),
        ] {
            assert_eq!(renames.target(&target.parse().unwrap()), wanted);
        }
        let body = Bytes::from_static(b"{\"name\":\"role\",\"text\":\"a role\"}");
        let inside = renames.body(&body);
        assert_eq!(inside, &b"{\"name\":\"role-of-w1-vc\",\"text\":\"a role\"}"[..]);
        assert_eq!(renames.response(&inside), body);
    }
}
