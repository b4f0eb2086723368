//! The Kubernetes client: it does not hang, does not repeat what must happen once, and writes only while this process leads.
//!
//! Owns timeouts, retries and the write fence. A request without response header in time fails; the body of a watch may
//! take as long as it likes. Only reads and server-side applies are retried here: a failed POST is for the caller.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::time::Sleep;
use tower::{
    BoxError,
    buffer::BufferLayer,
    filter::FilterLayer,
    retry::RetryLayer,
    util::{MapErrLayer, MapFutureLayer},
};

use crate::{
    backoff::shorten,
    error::{Chain, Error, Unreachable},
    lease::{Leadership, NotLeader},
};

/// Variables with a proxy that kube takes where the kubeconfig names none.
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// Stands in a kubeconfig that names no proxy, so that kube does not look at the variables; taken out again.
const NO_PROXY: &str = "http://none.invalid/";
/// How long the API server may take to begin its response. It gives up on a request after 60 s itself.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence within a body. The API server ends watches after 290 s.
const SILENCE: Duration = Duration::from_secs(295);
/// Retries of a request that may be repeated.
const RETRIES: u32 = 3;
/// Longest Retry-After obeyed here; a longer one is for the caller's back-off.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Requests that wait for the connection pool.
const QUEUE: usize = 1024;

/// Refuses requests that change something while this process does not lead. Clones share the leadership.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fence(Arc<OnceLock<Leadership>>);

impl Fence {
    /// Opens the fence as long as `leadership` lasts. Only the first call has an effect.
    pub(crate) fn open(&self, leadership: Leadership) {
        let _ = self.0.set(leadership);
    }

    /// Returns an error while this process does not lead.
    pub(crate) fn check(&self) -> Result<(), NotLeader> {
        self.0.get().ok_or(NotLeader)?.check()
    }
}

/// Reads how the API server is reached: from the kubeconfig that `KUBECONFIG` names, or `~/.kube/config`; without one, as a Pod.
///
/// No proxy is used. Those of the environment are for what is outside of the cluster, and kube knows no NO_PROXY.
///
/// # Errors
/// None of them can be used, or the kubeconfig names a proxy.
pub(crate) async fn settings() -> Result<Config, Error> {
    let Ok(kubeconfig) = Kubeconfig::read() else { return Ok(Config::infer().await?) };
    match without_environment(kubeconfig, &KubeConfigOptions::default()).await {
        Ok(config) if config.proxy_url.is_some() => Err(Error::KubeConfig(PROXY_REFUSED.to_owned())),
        Ok(mut config) => {
            if PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|url| !url.is_empty())) {
                tracing::info!("the API server is reached without the proxy of the environment");
            }
            config.apply_debug_overrides();
            Ok(config)
        }
        // It is no kubeconfig: this is a Pod, or kube says what is wrong with both.
        Err(_) => Ok(Config::infer().await?),
    }
}

/// Creates a client for a command that a person runs: with the kubeconfig that is given, else the one that `KUBECONFIG` names or
/// `~/.kube/config`, and with this context of it, else the current one. `agent` is sent as User-Agent. It writes without leadership.
///
/// # Errors
/// The kubeconfig cannot be used, or names a proxy.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>, agent: &str) -> Result<Client, Error> {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if kubeconfig.is_none() && context.is_none() {
        return build(settings().await?, agent);
    }
    let read = kubeconfig.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let unusable = |error: KubeconfigError| Error::KubeConfig(Chain(&error).to_string());
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = without_environment(read.map_err(unusable)?, &options).await.map_err(unusable)?;
    if config.proxy_url.is_some() {
        return Err(Error::KubeConfig(PROXY_REFUSED.to_owned()));
    }
    build(config, agent)
}

/// What is said of a kubeconfig that names a proxy.
const PROXY_REFUSED: &str = "the kubeconfig names a proxy (proxy-url), and the operator reaches the API server without one: \
                             remove proxy-url from the file that KUBECONFIG names, or ~/.kube/config, and let `server` be \
                             an address that needs no proxy";

/// Returns what the current context of a kubeconfig says: its proxy, never one of the environment.
async fn without_environment(
    mut kubeconfig: Kubeconfig,
    options: &KubeConfigOptions,
) -> Result<Config, KubeconfigError> {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        let own = cluster.proxy_url.take().filter(|url| !url.is_empty());
        cluster.proxy_url = own.or_else(|| Some(NO_PROXY.to_owned()));
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, options).await?;
    config.proxy_url = config.proxy_url.filter(|url| url != NO_PROXY);
    // A program that fetches credentials receives it as well.
    if let Some(cluster) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        cluster.proxy_url = cluster.proxy_url.take().filter(|url| url != NO_PROXY);
    }
    Ok(config)
}

/// Creates a client for `config` with the kit's timeouts and retries in place of kube's. `agent` is sent as User-Agent
/// (`vm-operator/1.2.3`).
///
/// # Errors
/// The configuration cannot be used.
pub fn build(config: Config, agent: &str) -> Result<Client, Error> {
    layered(config, agent, HEADER_TIMEOUT, None)
}

/// Creates the same client with `fence` before its writes.
pub(crate) fn build_fenced(config: Config, agent: &str, fence: Fence) -> Result<Client, Error> {
    layered(config, agent, HEADER_TIMEOUT, Some(fence))
}

fn layered(
    mut config: Config,
    agent: &str,
    header_timeout: Duration,
    fence: Option<Fence>,
) -> Result<Client, Error> {
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    if let Ok(agent) = HeaderValue::from_str(agent) {
        config.headers.push((header::USER_AGENT, agent));
    }
    let in_time = MapFutureLayer::new(move |response| async move {
        match tokio::time::timeout(header_timeout, response).await {
            Ok(result) => result,
            Err(_) => Err(BoxError::from(format!("no response within {} s", header_timeout.as_secs_f32()))),
        }
    });
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let named = MapErrLayer::new(move |source: BoxError| -> BoxError {
        // Those of the client itself, such as a token that cannot be read, are no fault of the server.
        if source.is::<kube::Error>() {
            return source;
        }
        Unreachable { server: server.clone(), source }.into()
    });
    // Innermost, so that each retry is checked as well.
    let fenced = FilterLayer::new(move |request: Request<Body>| match &fence {
        Some(fence) if !request.method().is_safe() => fence.check().map(|()| request),
        _ => Ok(request),
    });
    let client = ClientBuilder::try_from(config)?
        .with_layer(&in_time)
        .with_layer(&named)
        .with_layer(&fenced)
        .with_layer(&BufferLayer::new(QUEUE))
        .with_layer(&RetryLayer::new(Repeat::default()))
        .build();
    Ok(client)
}

/// Retries what may be repeated when the API server is overloaded or starting.
#[derive(Clone, Debug, Default)]
struct Repeat {
    done: u32,
}

impl<B> tower::retry::Policy<Request<Body>, Response<B>, BoxError> for Repeat {
    type Future = Sleep;

    fn retry(&mut self, _: &mut Request<Body>, result: &mut Result<Response<B>, BoxError>) -> Option<Sleep> {
        let pause = self.pause(result.as_ref().ok()?)?;
        self.done += 1;
        Some(tokio::time::sleep(pause))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if !may_repeat(request.method(), request.headers()) {
            return None;
        }
        let mut copy = Request::new(request.body().try_clone()?);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }
}

impl Repeat {
    /// Returns how long to wait before the next attempt; `None` if this response stands.
    fn pause<B>(&self, response: &Response<B>) -> Option<Duration> {
        const OVERLOADED: [StatusCode; 3] =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        if self.done >= RETRIES || !OVERLOADED.contains(&response.status()) {
            return None;
        }
        let asked =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = asked.map_or(Duration::ZERO, Duration::from_secs);
        let ours = Duration::from_millis(200) * (1 << self.done);
        (asked <= LONGEST_RETRY_AFTER).then(|| asked.max(shorten(ours)))
    }
}

/// Returns whether sending the request twice has the same effect as once.
fn may_repeat(method: &Method, headers: &header::HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    method == Method::GET || (method == Method::PATCH && kind.starts_with(b"application/apply-patch"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn response(status: u16, retry_after: Option<&str>) -> Response<()> {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        response.body(()).unwrap()
    }

    #[test]
    fn only_reads_and_applies_are_repeated() {
        let headers = |kind: &'static str| {
            header::HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
        };
        assert!(may_repeat(&Method::GET, &headers("")));
        assert!(may_repeat(&Method::PATCH, &headers("application/apply-patch+yaml")));
        assert!(!may_repeat(&Method::PATCH, &headers("application/json-patch+json")));
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            assert!(!may_repeat(&method, &headers("application/json")));
        }
    }

    #[test]
    fn repeats_are_few_and_obey_retry_after() {
        let fresh = Repeat::default();
        assert!(fresh.pause(&response(503, None)).unwrap() <= Duration::from_millis(200));
        assert_eq!(fresh.pause(&response(429, Some("2"))), Some(Duration::from_secs(2)));
        assert_eq!(fresh.pause(&response(429, Some("60"))), None, "too long to hold up the caller");
        assert_eq!(fresh.pause(&response(500, None)), None);
        assert_eq!(Repeat { done: RETRIES }.pause(&response(503, None)), None);
    }

    const BRIEF: Duration = Duration::from_millis(200);

    /// Starts a server that gives one answer after another, in pieces with pauses between, and then hangs; its
    /// client, which waits so long for headers; and the requests it got.
    async fn server(
        answers: impl IntoIterator<Item = Vec<&'static str>, IntoIter: Send + 'static>,
        header_timeout: Duration,
    ) -> (Client, Arc<Mutex<Vec<String>>>) {
        let (url, requests) = listen(answers).await;
        (layered(Config::new(url), "op/1", header_timeout, None).unwrap(), requests)
    }

    /// Listens; returns the server's address, and the requests it got.
    async fn listen(
        answers: impl IntoIterator<Item = Vec<&'static str>, IntoIter: Send + 'static>,
    ) -> (http::Uri, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::new(Mutex::new(vec![]));
        let got = Arc::clone(&requests);
        let mut answers = answers.into_iter();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                got.lock().unwrap().push(String::from_utf8_lossy(&request[..read]).into_owned());
                match answers.next() {
                    Some(pieces) => {
                        for (n, piece) in pieces.into_iter().enumerate() {
                            // Long enough to show which timeout counts.
                            tokio::time::sleep(if n == 0 { Duration::ZERO } else { 2 * BRIEF }).await;
                            // Fails where the client has given up.
                            let _ = stream.write_all(piece.as_bytes()).await;
                        }
                    }
                    None => std::future::pending().await,
                }
            }
        });
        (url, requests)
    }

    fn request(method: Method) -> Request<Vec<u8>> {
        Request::builder().method(method).uri("/x").body(vec![]).unwrap()
    }

    const BUSY: &str = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const FINE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";

    #[tokio::test]
    async fn a_slow_body_is_waited_for() {
        let (client, requests) = server(std::iter::repeat(vec![FINE, "fi", "ne"]), BRIEF).await;
        // On a busy machine even the header may come too late.
        let body = testbed::eventually("a slow body", Duration::from_mins(1), async || {
            Ok(Some(client.request_text(request(Method::GET)).await?))
        });
        assert_eq!(body.await.unwrap(), "fine");
        assert!(requests.lock().unwrap()[0].to_lowercase().contains("user-agent: op/1"));
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up() {
        let (client, _) = server([], BRIEF).await;
        let error = client.request_text(request(Method::GET)).await.unwrap_err();
        let text = crate::error::Chain(&error).to_string();
        assert!(text.contains("no answer from http://127.0.0.1:"), "{text}");
        assert!(text.contains("no response within 0.2 s"), "{text}");
    }

    #[tokio::test]
    async fn the_fence_lets_reads_through_and_holds_writes_until_this_process_leads() {
        let fence = Fence::default();
        let (url, requests) = listen(std::iter::repeat(vec![FINE, "fine"])).await;
        let client = layered(Config::new(url), "op/1", HEADER_TIMEOUT, Some(fence.clone())).unwrap();
        client.request_text(request(Method::GET)).await.unwrap();
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let error = client.request_text(request(method)).await.unwrap_err();
            let failure = crate::error::KitError::from(error);
            assert!(matches!(failure, crate::error::KitError::NotLeader(_)), "{failure}");
        }
        assert_eq!(requests.lock().unwrap().len(), 1);
        fence.open(Leadership::always());
        client.request_text(request(Method::POST)).await.unwrap();
    }

    #[tokio::test]
    async fn a_read_is_repeated_and_a_create_is_not() {
        let (client, requests) = server([vec![BUSY], vec![FINE, "fine"], vec![BUSY]], HEADER_TIMEOUT).await;
        assert_eq!(client.request_text(request(Method::GET)).await.unwrap(), "fine");
        assert_eq!(requests.lock().unwrap().len(), 2);
        client.request_text(request(Method::POST)).await.unwrap_err();
        assert_eq!(requests.lock().unwrap().len(), 3);
    }

    /// A kubeconfig whose credentials a program fetches.
    fn kubeconfig(proxy: &str) -> Kubeconfig {
        let text = serde_json::json!({
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": "https://localhost", "proxy-url": proxy}}],
            "users": [{"name": "a", "user": {"exec": {
                "apiVersion": "client.authentication.k8s.io/v1", "command": "true", "provideClusterInfo": true,
            }}}],
        });
        Kubeconfig::from_yaml(&text.to_string()).unwrap()
    }

    #[tokio::test]
    async fn only_a_proxy_that_the_kubeconfig_names_is_one() {
        for (named, wanted) in [("", None), ("http://127.0.0.1:1", Some("http://127.0.0.1:1"))] {
            let config = without_environment(kubeconfig(named), &KubeConfigOptions::default()).await.unwrap();
            assert_eq!(config.proxy_url, wanted.map(|url| url.parse().unwrap()));
            let told = config.auth_info.exec.unwrap().cluster.unwrap();
            assert_eq!(
                (told.server.as_deref(), told.proxy_url.as_deref()),
                (Some("https://localhost"), wanted)
            );
        }
    }
}
