//! The life of an operator's process.
//!
//! Owns start, leadership and end; never an operator's work. Ends with an error the moment the Lease is lost or a background
//! task panics, lets reconciles finish after SIGTERM, and releases the Lease last.

mod served;

use std::{
    error::Error as StdError,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config, ResourceExt};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::{OnceCell, mpsc, watch},
    task::AbortHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    admin,
    args::{ClusterIdArgs, CommonArgs},
    client::{self, Fence},
    clock::Clock,
    error::Error,
    events::Events,
    files,
    health::{Health, Readiness},
    lease::{Candidate, Leadership, NotLeader, Timing, identity},
    logs,
    metrics::Metrics,
    watch::Progress,
    webhook::Drain,
};

/// How long the work may take to end after SIGTERM; Kubernetes kills after 30 s.
const GRACE: Duration = Duration::from_secs(20);
/// How long releasing the Lease may take.
const RELEASE: Duration = Duration::from_secs(3);
/// An operator waits for networks; two threads keep a busy reconcile from delaying the Lease.
const THREADS: usize = 2;

/// The identity of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// Name of the operator, e.g. `vm-operator`: reporter of events, User-Agent, name of the Lease and of the roles.
    pub name: &'static str,
    /// API group of its kinds, e.g. `vm.example.com`: part of the field manager.
    pub group: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}

impl Operator {
    /// Returns the field manager of one of its controllers: `<operator>.<group>/<controller>`.
    #[must_use]
    pub fn field_manager(&self, controller: &str) -> String {
        format!("{}.{}/{controller}", self.name, self.group)
    }

    fn agent(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// Starts the process, runs `work` and ends the process in order.
///
/// `work` usually waits for [`Kit::lead`], then runs its controllers until [`Kit::shutdown`]; the work of a standby is
/// dropped at SIGTERM.
///
/// # Errors
/// Why the process should exit with a status other than 0.
pub fn run<F, W, E>(operator: Operator, args: &CommonArgs, work: F) -> Result<(), Error>
where
    F: FnOnce(Kit) -> W,
    W: Future<Output = Result<(), E>>,
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let runtime = runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let result = runtime.block_on(async {
        let (kit, fatal) = Kit::start(operator, args).await?;
        let result = kit.live(work(kit.clone()), fatal).await;
        if let Ok(()) = &result {
            kit.drain().finish().await;
            info!("stopped");
        }
        result
    });
    // Whatever still runs has been given its time, or must not be given any.
    runtime.shutdown_background();
    result
}

/// What a running operator has. Clones share it.
#[derive(Clone)]
pub struct Kit(Arc<Inner>);

struct Inner {
    operator: Operator,
    client: Client,
    fence: Fence,
    events: Events,
    health: Health,
    metrics: Metrics,
    clock: Clock,
    shutdown: CancellationToken,
    scope: Scope,
    election: Option<Election>,
    leadership: OnceCell<Leadership>,
    role: watch::Sender<Role>,
    drain: Drain,
    /// Whether each cache that controllers may read is complete.
    caches: Mutex<Vec<watch::Receiver<Progress>>>,
    /// Names of background tasks that panicked.
    fatal: mpsc::UnboundedSender<String>,
}

/// What of the cluster the operator serves.
#[derive(Debug, Default)]
struct Scope {
    namespaces: Vec<String>,
    /// Namespace that the operator itself is in.
    own: String,
}

impl Scope {
    fn of(args: &CommonArgs) -> Self {
        Self { namespaces: args.watched(), own: args.lease_namespace() }
    }
}

/// Where leader election takes place. The Lease has a client of its own: it is written while this process does not lead,
/// and must not queue behind other requests.
struct Election {
    client: Client,
    namespace: String,
}

/// How the process speaks to Kubernetes.
struct Kubernetes {
    client: Client,
    fence: Fence,
    scope: Scope,
    election: Option<Election>,
    clock: Clock,
}

/// What the work is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    /// Has not asked to lead.
    Working,
    /// Waits for the Lease.
    Standby,
    /// Holds the Lease, or runs without election.
    Leading,
}

impl Kit {
    /// Starts logs, probes and metrics, signals and the client, in this order, so that each problem is reported.
    async fn start(
        operator: Operator,
        args: &CommonArgs,
    ) -> Result<(Self, mpsc::UnboundedReceiver<String>), Error> {
        // An error means that another part of the process has installed one; both are as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        logs::start(args)?;
        info!(operator = operator.name, version = operator.version, "starting");
        files::raise_limit();
        let metrics = Metrics::new(operator.name, operator.version)?;
        let health = Health::default();
        if let Some(listener) = admin::bind(args.metrics_addr).await? {
            tokio::spawn(admin::serve(listener, health.clone(), metrics.clone()));
        }
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        let (config, fence) = (client::settings().await?, Fence::default());
        let client = client::build_fenced(config.clone(), &operator.agent(), fence.clone())?;
        let election = if args.enable_leader_election {
            let client = client::build(config, &operator.agent())?;
            Some(Election { client, namespace: args.lease_namespace() })
        } else {
            None
        };
        let scope = Scope::of(args);
        if !scope.namespaces.is_empty() {
            info!(namespaces = ?scope.namespaces, "watches only these namespaces");
        }
        let kubernetes = Kubernetes { client, fence, scope, election, clock: Clock::default() };
        Ok(Self::assemble(operator, kubernetes, health, metrics, shutdown))
    }

    /// Creates a kit without a process around it (no logs, no admin server, no signals, no election), for tests of
    /// reconcilers. `clock` is the time of conditions.
    ///
    /// # Errors
    /// The metrics cannot be registered.
    pub fn with_client(operator: Operator, client: Client, clock: Clock) -> Result<Self, Error> {
        let metrics = Metrics::new(operator.name, operator.version)?;
        let stop = CancellationToken::new();
        let scope = Scope { own: "default".to_owned(), ..Scope::default() };
        let fence = Fence::default();
        fence.open(Leadership::always());
        let kubernetes = Kubernetes { client, fence, scope, election: None, clock };
        let (kit, mut fatal) = Self::assemble(operator, kubernetes, Health::default(), metrics, stop.clone());
        tokio::spawn(async move {
            if let Some(task) = fatal.recv().await {
                error!(task, "background task panicked");
                stop.cancel();
            }
        });
        Ok(kit)
    }

    fn assemble(
        operator: Operator,
        kubernetes: Kubernetes,
        health: Health,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) -> (Self, mpsc::UnboundedReceiver<String>) {
        let Kubernetes { client, fence, scope, election, clock } = kubernetes;
        let (events, publish) = Events::new(client.clone(), operator.name, metrics.clone());
        let (fatal, fatal_receiver) = mpsc::unbounded_channel();
        let kit = Self(Arc::new(Inner {
            operator,
            client,
            fence,
            events,
            health,
            metrics,
            clock,
            shutdown,
            scope,
            election,
            leadership: OnceCell::new(),
            role: watch::Sender::new(Role::Working),
            drain: Drain::default(),
            caches: Mutex::default(),
            fatal,
        }));
        kit.spawn("events", publish);
        (kit, fatal_receiver)
    }

    /// Returns the Kubernetes client. It refuses writes while this process does not lead.
    #[must_use]
    pub fn client(&self) -> Client {
        self.0.client.clone()
    }

    /// Creates a client of another cluster, which refuses writes while this process does not lead.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn client_for(&self, config: Config) -> Result<Client, Error> {
        client::build_fenced(config, &self.0.operator.agent(), self.0.fence.clone())
    }

    /// Returns the clock of timestamps in objects.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.0.clock
    }

    /// Returns the recorder of events.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Returns the metrics; `metrics().registry()` for an operator's own.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Returns the register of readiness checks.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Adds a readiness check: the process is not ready until the handle says so.
    #[must_use]
    pub fn readiness(&self, name: &str) -> Readiness {
        self.0.health.register(name)
    }

    /// Returns the token that is cancelled when the process is to end.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.0.shutdown.clone()
    }

    /// Returns the field manager of one controller: `<operator>.<group>/<controller>`.
    #[must_use]
    pub fn field_manager(&self, controller: &str) -> String {
        self.0.operator.field_manager(controller)
    }

    /// Returns what tells this cluster's things from those of other clusters in a shared outside system: `--cluster-id`, or
    /// the UID of the namespace `kube-system`.
    ///
    /// # Errors
    /// [`Error::ClusterId`]: no id is given and the namespace cannot be read.
    pub async fn cluster_id(&self, args: &ClusterIdArgs) -> Result<String, Error> {
        // An empty variable means none.
        if let Some(given) = args.cluster_id.as_ref().filter(|id| !id.is_empty()) {
            return Ok(given.clone());
        }
        let namespace = Api::<Namespace>::all(self.client()).get("kube-system").await;
        let namespace = namespace.map_err(|error| Error::cluster_id(&error))?;
        namespace.uid().ok_or_else(|| Error::ClusterId {
            problem: "it has no UID".to_owned(),
            remedy: "look at the API server's log",
        })
    }

    /// Runs `task` in the background. A panic in it ends the process.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let (name, fatal) = (name.to_owned(), self.0.fatal.clone());
        let task = async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                // Fails only when the process is ending already.
                let _ = fatal.send(name);
            }
        };
        tokio::spawn(task).abort_handle()
    }

    /// Waits until this process leads; at once without leader election.
    pub async fn lead(&self) -> Leadership {
        self.0.leadership.get_or_init(|| self.acquire()).await.clone()
    }

    /// Resolves when this process leads. Does not ask for it.
    pub(crate) async fn leads(&self) {
        self.until(Role::Leading).await;
    }

    /// Returns whether this process leads.
    pub(crate) fn is_leading(&self) -> bool {
        *self.0.role.borrow() == Role::Leading
    }

    /// Returns the operator's identity.
    pub(crate) fn operator(&self) -> Operator {
        self.0.operator
    }

    /// Returns the namespace that the operator itself is in.
    pub(crate) fn namespace(&self) -> &str {
        &self.0.scope.own
    }

    /// Returns what servers of the process register with, to answer until its end.
    pub(crate) fn drain(&self) -> &Drain {
        &self.0.drain
    }

    /// Returns an error while this process does not lead: nothing outside may be changed then.
    pub(crate) fn check_leadership(&self) -> Result<(), NotLeader> {
        self.0.fence.check()
    }

    async fn acquire(&self) -> Leadership {
        let leadership = match &self.0.election {
            None => Leadership::always(),
            Some(Election { client, namespace }) => {
                self.0.role.send_replace(Role::Standby);
                let name = self.0.operator.name;
                Candidate::new(client.clone(), namespace, name, identity(), Timing::default())
                    .with_clock(self.clock())
                    .reporting_to(self.readiness("leader election"))
                    .acquire()
                    .await
            }
        };
        self.0.fence.open(leadership.clone());
        self.0.metrics.set_leader(true);
        self.0.role.send_replace(Role::Leading);
        leadership
    }

    /// Runs `work` as long as it may run.
    async fn live<E>(
        &self,
        work: impl Future<Output = Result<(), E>>,
        mut fatal: mpsc::UnboundedReceiver<String>,
    ) -> Result<(), Error>
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let result = tokio::select! {
            biased;
            () = self.deposed() => return Err(Error::LeaseLost),
            Some(task) = fatal.recv() => return Err(Error::TaskPanicked(task)),
            result = work => result.map_err(|error| Error::Operator(error.into())),
            result = self.dismissed() => result,
        };
        // Work that ended well writes no more, so another may. Otherwise something may still be in flight: the Lease is
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
