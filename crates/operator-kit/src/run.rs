//! The life of an operator's process.
//!
//! Owns start, leadership and end; never an operator's work. Ends with an error the moment the Lease is lost, lets
//! reconciles finish after SIGTERM, and gives the Lease up last of all.

use std::{error::Error as StdError, future::Future, sync::Arc, time::Duration};

use kube::Client;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, watch},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    admin,
    args::CommonArgs,
    client,
    error::Error,
    events::Events,
    health::{Health, Readiness},
    lease::{Candidate, Leadership, Timing, identity},
    logs,
    metrics::Metrics,
};

/// How long the work may take to end after SIGTERM; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(20);
/// How long giving up the Lease may take.
const RELEASE: Duration = Duration::from_secs(3);
/// An operator waits for networks; two threads keep a busy reconcile from holding up the Lease.
const THREADS: usize = 2;

/// Who is running.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// Name of the operator, e.g. `vm-operator`: reporter of events, User-Agent, name of the Lease.
    pub name: &'static str,
    /// API group of its kinds, e.g. `vm.example.com`: part of the field manager.
    pub group: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}

impl Operator {
    /// The field manager of one of its controllers: `<operator>.<group>/<controller>`.
    #[must_use]
    pub fn field_manager(&self, controller: &str) -> String {
        format!("{}.{}/{controller}", self.name, self.group)
    }

    /// The name of its Lease.
    #[must_use]
    pub const fn lease_name(&self) -> &'static str {
        self.name
    }
}

/// Starts the process, runs `work` and ends the process in order: the whole of an operator's `main`.
///
/// `work` usually waits for [`Kit::lead`], then runs its controllers until [`Kit::shutdown`]; a standby's is dropped at
/// SIGTERM. Returns an error when the process should exit non-zero.
pub fn run<F, W, E>(operator: Operator, args: &CommonArgs, work: F) -> Result<(), Error>
where
    F: FnOnce(Kit) -> W,
    W: Future<Output = Result<(), E>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let runtime = runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let result = runtime.block_on(async {
        let kit = Kit::start(operator, args).await?;
        let result = kit.live(work(kit.clone())).await;
        if let Ok(()) = &result {
            info!("stopped");
        }
        result
    });
    // Whatever still runs has been given its time, or must not be given any.
    runtime.shutdown_background();
    result
}

/// What a running operator has; clones share it.
#[derive(Clone)]
pub struct Kit(Arc<Inner>);

struct Inner {
    operator: Operator,
    client: Client,
    events: Events,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
    election: Option<String>,
    leadership: OnceCell<Leadership>,
    role: watch::Sender<Role>,
}

/// What the work is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// Has not asked to lead, or need not.
    Working,
    /// Waits for the Lease.
    Standby,
    /// Holds it, or runs without election.
    Leading,
}

impl Kit {
    /// Logs, probes and metrics, signals, client: in that order, so that each problem is seen.
    ///
    /// Call it once per process, within a Tokio runtime; [`run`] does.
    pub async fn start(operator: Operator, args: &CommonArgs) -> Result<Self, Error> {
        // An error means another part of the process has installed one; both are as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        logs::start(args)?;
        info!(operator = operator.name, version = operator.version, "starting");
        let metrics = Metrics::new(operator.name, operator.version)?;
        let health = Health::default();
        if let Some(listener) = admin::bind(args.metrics_addr).await? {
            tokio::spawn(admin::serve(listener, health.clone(), metrics.clone()));
        }
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        let client = client::infer(&format!("{}/{}", operator.name, operator.version)).await?;
        let election = args.enable_leader_election.then(|| args.lease_namespace());
        Ok(Self::assemble(operator, client, health, metrics, shutdown, election))
    }

    /// A kit without process around it (no logs, no admin server, no signals, no election), for tests of reconcilers
    /// against a real API server.
    pub fn with_client(operator: Operator, client: Client) -> Result<Self, Error> {
        let metrics = Metrics::new(operator.name, operator.version)?;
        Ok(Self::assemble(operator, client, Health::default(), metrics, CancellationToken::new(), None))
    }

    fn assemble(
        operator: Operator,
        client: Client,
        health: Health,
        metrics: Metrics,
        shutdown: CancellationToken,
        election: Option<String>,
    ) -> Self {
        let events = Events::new(client.clone(), operator.name);
        let (leadership, role) = (OnceCell::new(), watch::Sender::new(Role::Working));
        Self(Arc::new(Inner {
            operator,
            client,
            events,
            health,
            metrics,
            shutdown,
            election,
            leadership,
            role,
        }))
    }

    /// Who is running.
    #[must_use]
    pub fn operator(&self) -> &Operator {
        &self.0.operator
    }

    /// The Kubernetes client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.0.client.clone()
    }

    /// The recorder of events.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.events.clone()
    }

    /// The metrics; `metrics().registry()` for an operator's own.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The register of readiness checks.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Adds a readiness check: the process is not ready until the handle says so.
    #[must_use]
    pub fn readiness(&self, name: &str) -> Readiness {
        self.0.health.register(name)
    }

    /// Cancelled when the process is to end.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// The field manager of one controller: `<operator>.<group>/<controller>`.
    #[must_use]
    pub fn field_manager(&self, controller: &str) -> String {
        self.0.operator.field_manager(controller)
    }

    /// Waits until this process leads; at once without leader election.
    pub async fn lead(&self) -> Leadership {
        self.0.leadership.get_or_init(|| self.acquire()).await.clone()
    }

    async fn acquire(&self) -> Leadership {
        let leadership = match &self.0.election {
            None => Leadership::always(),
            Some(namespace) => {
                self.0.role.send_replace(Role::Standby);
                let name = self.0.operator.lease_name();
                Candidate::new(self.client(), namespace, name, identity(), Timing::default())
                    .reporting_to(self.readiness("leader election"))
                    .acquire()
                    .await
            }
        };
        self.0.metrics.leads(true);
        self.0.role.send_replace(Role::Leading);
        leadership
    }

    /// Runs `work` as long as it may run.
    async fn live<E>(&self, work: impl Future<Output = Result<(), E>>) -> Result<(), Error>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let result = tokio::select! {
            biased;
            () = self.deposed() => return Err(Error::LeaseLost),
            result = work => result.map_err(|error| Error::Operator(error.into())),
            result = self.dismissed() => result,
        };
        // Work that ended well writes no more, so another may. Otherwise something may still be under way: the Lease is
        // left to expire.
        if let (Ok(()), Some(leadership)) = (&result, self.0.leadership.get()) {
            let _ = tokio::time::timeout(RELEASE, leadership.release()).await;
        }
        result
    }

    /// Resolves when the Lease was held and is lost.
    async fn deposed(&self) {
        self.until(Role::Leading).await;
        // Set right after the role.
        self.lead().await.lost().await;
    }

    /// Resolves after shutdown: at once for a standby, with an error when work does not end in time.
    async fn dismissed(&self) -> Result<(), Error> {
        self.0.shutdown.cancelled().await;
        match tokio::time::timeout(GRACE, self.until(Role::Standby)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::ShutdownTimeout(GRACE)),
        }
    }

    async fn until(&self, role: Role) {
        // Never fails: the sender lives in self.
        let _ = self.0.role.subscribe().wait_for(|now| *now == role).await;
    }
}

fn stop_on_signals(shutdown: CancellationToken) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
        shutdown.cancel();
    });
    Ok(())
}
