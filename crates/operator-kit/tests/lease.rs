//! Leader election between candidates on a real API server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
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

/// The protocol's own, looked after more often.
const TIMING: Timing = Timing {
    duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_millis(300),
};
/// So long that nothing which is waited for can come of its expiry.
const LASTING: Timing = Timing {
    duration: Duration::from_hours(2),
    renew_deadline: Duration::from_hours(1),
    retry_period: Duration::from_millis(300),
};
/// A loaded machine may take its time.
const PATIENCE: Duration = Duration::from_mins(3);

fn candidate(client: &Client, lease: &str, identity: &str, timing: Timing) -> Candidate {
    Candidate::new(client.clone(), "default", lease, identity.to_owned(), timing)
}

async fn leader(client: &Client, lease: &str, identity: &str, timing: Timing) -> Leadership {
    within(candidate(client, lease, identity, timing).acquire()).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
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
        renewed_is_kept(&client),
        released_is_taken_at_once(&client),
        cut_off_is_deposed_before_the_next_leads(&client, config),
        stolen_is_noticed(&client),
        many_contend(&client),
    );
}

async fn renewed_is_kept(client: &Client) {
    let first = leader(client, "renewed", "first", TIMING).await;
    let second = tokio::spawn(candidate(client, "renewed", "second", TIMING).acquire());
    eventually("renewals beyond the duration", PATIENCE, async || {
        let now = record(client, "renewed").await;
        let [Some(acquired), Some(renewed)] = [now.acquire_time, now.renew_time] else { return Ok(None) };
        let held = Duration::try_from(renewed.0.duration_since(acquired.0))?;
        Ok((held > TIMING.duration + TIMING.retry_period).then_some(()))
    })
    .await
    .unwrap();
    assert!(first.check().is_ok() && !second.is_finished());
    let now = record(client, "renewed").await;
    assert_eq!(now.holder_identity.as_deref(), Some("first"));
    assert_eq!((now.lease_duration_seconds, now.lease_transitions), (Some(15), Some(0)));
    second.abort();
    first.release().await;
}

async fn released_is_taken_at_once(client: &Client) {
    let first = leader(client, "released", "first", LASTING).await;
    let second = tokio::spawn(candidate(client, "released", "second", LASTING).acquire());
    first.release().await;
    assert!(first.check().is_err());
    // Had it to expire, that would take hours.
    let second = within(second).await.unwrap();
    let after = record(client, "released").await;
    assert_eq!((after.holder_identity.as_deref(), after.lease_transitions), (Some("second"), Some(1)));
    second.release().await;
}

async fn cut_off_is_deposed_before_the_next_leads(direct: &Client, mut config: Config) {
    let gate = Gate::open(&config).await;
    config.tls_server_name = Some("127.0.0.1".to_owned());
    config.cluster_url = format!("https://{}", gate.address).parse().unwrap();
    let cut_off = client::build(config, "test/1").unwrap();
    let first = leader(&cut_off, "cut", "first", TIMING).await;
    let second = tokio::spawn({
        let (second, first) = (candidate(direct, "cut", "second", TIMING), first.clone());
        async move { (second.acquire().await, first.check().is_ok()) }
    });

    gate.close();
    within(first.lost()).await;
    assert!(first.check().is_err());
    let (second, two) = within(second).await.unwrap();
    assert!(!two, "two at a time");

    // The cut-off one comes back and stands behind.
    gate.reopen();
    assert!(second.check().is_ok() && first.check().is_err());
    second.release().await;
}

async fn stolen_is_noticed(client: &Client) {
    let first = leader(client, "stolen", "first", LASTING).await;
    let api: Api<Lease> = Api::default_namespaced(client.clone());
    let thief = serde_json::json!({"spec": {"holderIdentity": "thief"}});
    api.patch("stolen", &PatchParams::default(), &Patch::Merge(thief)).await.unwrap();
    within(first.lost()).await;
    assert_eq!(record(client, "stolen").await.holder_identity.as_deref(), Some("thief"));
}

async fn many_contend(client: &Client) {
    let leading = |leaderships: &[Option<Leadership>]| {
        leaderships.iter().flatten().filter(|l| l.check().is_ok()).count()
    };
    let names: Vec<_> = (0..5).map(|n| format!("candidate-{n}")).collect();
    let mut waiting: Vec<_> = names
        .iter()
        .map(|name| tokio::spawn(candidate(client, "contended", name, LASTING).acquire()))
        .collect();
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
