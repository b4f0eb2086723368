//! Servers that hang, in virtual time: what their clusters cost, and what a changed Secret changes.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};

use data_encoding::BASE64;
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// As many as a controller of the operators has.
const WORKERS: usize = 12;
/// How soon they look again at a cluster that was unreachable.
const AGAIN: Duration = Duration::from_secs(15);

/// Returns a client of a server that counts its requests and answers, unless its name begins with `hung`.
fn server(config: &Config, requests: &Arc<AtomicUsize>) -> Client {
    let hangs = config.cluster_url.host().is_some_and(|host| host.starts_with("hung"));
    let requests = Arc::clone(requests);
    let service = tower::service_fn(move |_: Request<Body>| {
        requests.fetch_add(1, Ordering::Relaxed);
        async move {
            if hangs {
                pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::from(b"ok".to_vec())))
        }
    });
    Client::new(service, "default")
}

/// Returns the clients of all clusters, and the number of requests that their servers received.
fn clients(limits: Limits) -> (WorkloadClients, Arc<AtomicUsize>) {
    let requests = Arc::<AtomicUsize>::default();
    let nothing = tower::service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let counted = Arc::clone(&requests);
    let connect = move |config: Config| Ok::<_, Infallible>(server(&config, &counted));
    (WorkloadClients::new(Client::new(nothing, "default"), connect).with_limits(limits), requests)
}

/// Returns the kubeconfig Secret of a cluster.
fn secret(cluster: &str, version: u32, host: &str, token: &str) -> Secret {
    let kubeconfig = json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": format!("https://{host}:6443") } }],
        "users": [{ "name": "u", "user": { "token": token } }],
    });
    let metadata = json!({
        "namespace": "ns", "name": secret_name(cluster), "uid": cluster, "resourceVersion": version.to_string(),
    });
    let data = json!({ "value": BASE64.encode(kubeconfig.to_string().as_bytes()) });
    serde_json::from_value(json!({ "metadata": metadata, "data": data })).unwrap()
}

async fn ask(clients: &WorkloadClients, secret: &Secret) -> Result<(), Error> {
    let client = clients.client_from(secret)?;
    client.request_text(Request::get("/version").body(vec![]).unwrap()).await?;
    Ok(())
}

/// Has the workers look at `hung` clusters that hang and at one that does not, again and again for ten minutes. Returns the longest times
/// between two looks at the latter: in the first two minutes, and later.
async fn longest_pauses(hung: usize, limits: Limits) -> (Duration, Duration) {
    let (clients, _) = clients(limits);
    let (queue, queued) = mpsc::unbounded_channel();
    let queued = Arc::new(tokio::sync::Mutex::new(queued));
    for n in 0..hung {
        queue.send(secret(&format!("w{n}"), 1, &format!("hung{n}"), "t")).unwrap();
    }
    queue.send(secret("healthy", 1, "healthy", "t")).unwrap();
    let (looked, mut looks) = mpsc::unbounded_channel();
    for _ in 0..WORKERS {
        let (clients, queue, queued, looked) =
            (clients.clone(), queue.clone(), Arc::clone(&queued), looked.clone());
        tokio::spawn(async move {
            loop {
                let Some(secret) = queued.lock().await.recv().await else { return };
                let is_up = ask(&clients, &secret).await.is_ok();
                if is_up {
                    looked.send(Instant::now()).unwrap();
                }
                let queue = queue.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(if is_up { Duration::from_secs(1) } else { AGAIN }).await;
                    let _ = queue.send(secret);
                });
            }
        });
    }
    let begin = Instant::now();
    let (mut last, mut first, mut later) = (begin, Duration::ZERO, Duration::ZERO);
    while begin.elapsed() < Duration::from_mins(10) {
        let look = tokio::time::timeout(Duration::from_mins(20), looks.recv()).await;
        let now = look.ok().flatten().unwrap_or_else(Instant::now);
        let longest = if begin.elapsed() < Duration::from_mins(2) { &mut first } else { &mut later };
        *longest = (*longest).max(now - last);
        last = now;
    }
    (first, later)
}

#[tokio::test(start_paused = true)]
async fn hung_clusters_do_not_stop_the_others() {
    for hung in [1, WORKERS, 100, 300] {
        let (first, later) = longest_pauses(hung, Limits::default()).await;
        // Each is waited for once, 2 s where too many are.
        let once = Duration::from_secs(2 * hung as u64 / 6 + 10);
        assert!(first <= once, "{hung} hung: {first:?}");
        assert!(later <= Duration::from_secs(2), "{hung} hung: {later:?}");
    }
    let all = Limits { waits: usize::MAX, probes: usize::MAX, ..Limits::default() };
    let (_, later) = longest_pauses(100, all).await;
    assert!(later > Duration::from_secs(30), "that is what the limits are for: {later:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_server_outlives_its_credentials() {
    let (clients, requests) = clients(Limits::default());
    let asked = |secret: Secret| {
        let (clients, requests) = (clients.clone(), Arc::clone(&requests));
        async move {
            let before = requests.load(Ordering::Relaxed);
            let kind = ask(&clients, &secret).await.unwrap_err().kind();
            assert_eq!(kind, Kind::Timeout);
            requests.load(Ordering::Relaxed) - before
        }
    };
    assert_eq!(asked(secret("w1", 1, "hung", "a")).await, 1);
    assert_eq!(asked(secret("w1", 1, "hung", "a")).await, 0);
    assert_eq!(asked(secret("w1", 2, "hung", "b")).await, 1, "new credentials are tried at once");
    for version in 3..9 {
        let token = format!("t{version}");
        assert_eq!(asked(secret("w1", version, "hung", &token)).await, 0, "but only once");
    }
    // A Secret that cannot be used, or is gone for a moment, changes nothing.
    assert!(clients.client_from(&secret("w1", 9, "hung", "")).is_err());
    clients.retire("ns", "w1");
    assert_eq!(asked(secret("w1", 10, "hung", "c")).await, 0);
    tokio::time::advance(AGAIN).await;
    assert_eq!(asked(secret("w1", 11, "hung", "d")).await, 1, "after its time");
    assert_eq!(asked(secret("w1", 12, "hung-too", "d")).await, 1, "another server is another one");
    assert_eq!(asked(secret("w1", 12, "hung-too", "d")).await, 0);
    clients.forget("ns", "w1");
    assert_eq!(asked(secret("w1", 13, "hung-too", "d")).await, 1, "a Cluster that is gone leaves nothing");
}

/// Otherwise the memory of clusters that are not there any more would grow.
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_server_that_answers() {
    let (clients, _) = clients(Limits { clients: 1, ..Limits::default() });
    for name in ["a", "b", "c"] {
        ask(&clients, &secret(name, 1, "healthy", "t")).await.unwrap();
    }
    assert_eq!(clients.held().servers.len(), 1);
    ask(&clients, &secret("d", 1, "hung", "t")).await.unwrap_err();
    ask(&clients, &secret("e", 1, "healthy", "t")).await.unwrap();
    assert_eq!(clients.held().servers.len(), 2, "that one does not answer stays known");
    clients.retire("ns", "e");
    assert_eq!(clients.held().servers.len(), 1);
}
