//! Leader election between candidates on a real API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use operator_kit::{
    client,
    lease::{Candidate, Leadership, Timing},
};
use testbed::{ControlPlane, eventually};
use tokio::net::{TcpListener, TcpStream};

/// The protocol's proportions, in less time.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(4),
    renew_deadline: Duration::from_secs(3),
    retry_period: Duration::from_millis(300),
};
/// A loaded machine may take its time; only what must not be slower is measured on its own.
const PATIENCE: Duration = Duration::from_secs(30);

fn candidate(client: &Client, lease: &str, identity: &str) -> Candidate {
    Candidate::new(client.clone(), "default", lease, identity.to_owned(), TIMING)
}

async fn record(client: &Client, lease: &str) -> LeaseSpec {
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    api.get(lease).await.unwrap().spec.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lease_has_one_holder() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    let config = Kubeconfig::read_from(control_plane.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    tokio::join!(
        released_is_taken_at_once(&client),
        cut_off_is_deposed_before_the_next_leads(&client, config),
        stolen_is_noticed(&client),
        many_contend(&client),
    );
}

async fn released_is_taken_at_once(client: &Client) {
    let first = candidate(client, "released", "first").acquire().await;
    let second = tokio::spawn(candidate(client, "released", "second").acquire());
    // Well beyond the lease's duration: renewing keeps it.
    tokio::time::sleep(TIMING.duration + TIMING.retry_period).await;
    assert!(first.is_leader() && !second.is_finished());
    let before = record(client, "released").await;
    assert_eq!(before.holder_identity.as_deref(), Some("first"));
    assert_eq!((before.lease_duration_seconds, before.lease_transitions), (Some(4), Some(0)));
    assert!(before.renew_time > before.acquire_time);

    first.release().await;
    let released = Instant::now();
    assert!(!first.is_leader());
    let second = second.await.unwrap();
    // Sooner than by waiting for it to expire.
    assert!(released.elapsed() < TIMING.duration, "took {:?}", released.elapsed());
    let after = record(client, "released").await;
    assert_eq!((after.holder_identity.as_deref(), after.lease_transitions), (Some("second"), Some(1)));
    second.release().await;
}

async fn cut_off_is_deposed_before_the_next_leads(direct: &Client, mut config: Config) {
    let gate = Gate::open(&config).await;
    config.tls_server_name = Some("127.0.0.1".to_owned());
    config.cluster_url = format!("https://{}", gate.address).parse().unwrap();
    let first = candidate(&client::build(config, "test/1").unwrap(), "cut", "first").acquire().await;
    let second = tokio::spawn(candidate(direct, "cut", "second").acquire());

    gate.close();
    let cut = Instant::now();
    first.lost().await;
    let deposed = Instant::now();
    assert!(!first.is_leader());
    assert!(!second.is_finished(), "two at a time");
    assert!(cut.elapsed() < TIMING.duration, "took {:?}", cut.elapsed());
    let second = tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap();
    let taken = Instant::now();
    assert!(taken > deposed);
    let most = TIMING.duration + 4 * TIMING.retry_period + Duration::from_secs(3);
    assert!(cut.elapsed() < most, "took {:?}", cut.elapsed());

    // The cut-off one comes back and stands behind.
    gate.reopen();
    assert!(second.is_leader() && !first.is_leader());
    second.release().await;
}

async fn stolen_is_noticed(client: &Client) {
    let first = candidate(client, "stolen", "first").acquire().await;
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    let thief = serde_json::json!({"spec": {"holderIdentity": "thief"}});
    api.patch("stolen", &PatchParams::default(), &Patch::Merge(thief)).await.unwrap();
    tokio::time::timeout(TIMING.duration, first.lost()).await.unwrap();
    assert_eq!(record(client, "stolen").await.holder_identity.as_deref(), Some("thief"));
}

async fn many_contend(client: &Client) {
    let leading =
        |leaderships: &[Option<Leadership>]| leaderships.iter().flatten().filter(|l| l.is_leader()).count();
    let names: Vec<_> = (0..5).map(|n| format!("candidate-{n}")).collect();
    let mut waiting: Vec<_> =
        names.iter().map(|name| tokio::spawn(candidate(client, "contended", name).acquire())).collect();
    let mut leaderships: Vec<Option<Leadership>> = vec![];
    for terms in 1..=names.len() {
        // Each time one more has led, and one at a time.
        eventually("a leader", PATIENCE, async || {
            let (done, rest): (Vec<_>, Vec<_>) =
                waiting.drain(..).partition(tokio::task::JoinHandle::is_finished);
            waiting = rest;
            leaderships.extend(join_all(done).await.into_iter().map(Result::ok));
            assert!(leading(&leaderships) <= 1, "two at a time");
            Ok((leaderships.len() == terms).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(leading(&leaderships), 1);
        leaderships.last().unwrap().as_ref().unwrap().release().await;
    }
    assert_eq!(record(client, "contended").await.holder_identity.as_deref(), Some(""));
}

/// A way to the API server that can be cut without either end being told.
struct Gate {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Gate {
    async fn open(config: &Config) -> Self {
        let target = format!("127.0.0.1:{}", config.cluster_url.port_u16().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self { address: listener.local_addr().unwrap(), closed: Arc::default() };
        let closed = Arc::clone(&gate.closed);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&target).await.unwrap();
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_read, far_write, Arc::clone(&closed)));
                tokio::spawn(pass(far_read, near_write, Arc::clone(&closed)));
            }
        });
        gate
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn reopen(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}

/// Passes bytes on, or swallows them while the gate is closed.
async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    closed: Arc<AtomicBool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !closed.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
