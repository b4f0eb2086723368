//! Leader election by a Lease, wire-compatible with client-go.
//!
//! Owns the protocol: who may write the record, and when a holder has lost it. Never ends the process and never starts work:
//! [`main`](crate::main()) does both. Clocks of different machines are never compared: another holder counts as gone when its
//! record has not changed for its own duration *by our* monotonic clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::Mutex, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    backoff::{random, shorten},
    clock::Clock,
    error::Chain,
    health::Readiness,
};

/// The intervals of the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// How long a record is valid without renewal. 15 s.
    pub duration: Duration,
    /// How long a holder may write without a successful renewal; less than `duration`. 10 s.
    pub renew_deadline: Duration,
    /// Time between two renewals, and between two reads of another holder's record. 2 s.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// The process does not lead, so it must not write.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not the leader: the Lease has not been renewed in time")]
pub struct NotLeader;

/// Returns the name of this pod (its host name), for records and events.
#[must_use]
pub(crate) fn pod_name() -> String {
    std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()))
        .unwrap_or_else(|_| "unknown".to_owned())
}

/// Returns a name of this process that is unique, also among restarts in the same pod.
#[must_use]
pub(crate) fn identity() -> String {
    format!("{}_{:016x}", pod_name(), random())
}

/// Why an attempt to acquire or renew has failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{}{}", Chain(.0), remedy(.0))]
    Api(kube::Error),
    /// The watches of this process wait for versions that may not come for long.
    #[error(
        "the API server went back from version {from} to {to}, as where it was restored from a backup: this process ends, so that \
         the next one reads everything again"
    )]
    WentBack { from: u64, to: u64 },
}

impl From<kube::Error> for Failed {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// Returns what to do where the API server's answer does not say it.
fn remedy(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            "; create this namespace, or name another one with POD_NAMESPACE (--leader-election-namespace)"
        }
        kube::Error::Api(status) if status.code == 403 => {
            "; grant the rights on the Lease: the operator's command `rbac` prints every right it needs"
        }
        _ => "",
    }
}

/// A process that wants to lead.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    clock: Clock,
    readiness: Option<Readiness>,
    observed: Option<Observed>,
    /// The newest resourceVersion of the record so far.
    newest: u64,
}

/// The record as it was read or written last, and since when it has been unchanged.
#[derive(Clone, Debug)]
struct Observed {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    /// Creates a candidate for the Lease `name` in `namespace`.
    #[must_use]
    pub fn new(client: kube::Client, namespace: &str, name: &str, identity: String, timing: Timing) -> Self {
        let api = Api::namespaced(client, namespace);
        let (name, clock) = (name.to_owned(), Clock::default());
        Self { api, name, identity, timing, clock, readiness: None, observed: None, newest: 0 }
    }

    /// Takes the times of its records from another clock than the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Reports to this check whether the candidate could lead: a standby without rights on the Lease is not ready.
    #[must_use]
    pub(crate) fn reporting_to(mut self, readiness: Readiness) -> Self {
        self.readiness = Some(readiness);
        self
    }

    /// Waits until it holds the Lease, without a time limit, and renews it from then on in a task of its own.
    ///
    /// Errors are logged and retried. Where the API server goes back to an older version, the
    /// leadership that this returns was never held and is lost already, so that the process ends.
    pub async fn acquire(mut self) -> Leadership {
        let namespace = self.api.namespace();
        info!(lease = self.name, namespace, identity = self.identity, "waiting for the leader Lease");
        loop {
            match self.attempt().await {
                Ok(Some(sent)) => return self.hold(sent),
                Ok(None) => {
                    debug!(lease = self.name, holder = self.holder(), "another leads");
                    self.readiness.iter().for_each(Readiness::ready);
                }
                Err(error @ Failed::WentBack { .. }) => {
                    error!(lease = self.name, %error, "leader Lease not acquired");
                    let held = self.held(Instant::now());
                    held.lost.cancel();
                    return Leadership::of(held, CancellationToken::new(), tokio::spawn(async {}));
                }
                Err(error) => {
                    let error = Chain(&error).to_string();
                    warn!(lease = self.name, error, "leader Lease not acquired, will try again");
                    self.readiness.iter().for_each(|readiness| readiness.not_ready(&error));
                }
            }
            tokio::time::sleep(shorten(self.timing.retry_period)).await;
        }
    }

    fn hold(mut self, sent: Instant) -> Leadership {
        self.readiness = None; // From here on a lost Lease ends the process.
        info!(lease = self.name, namespace = self.api.namespace(), identity = self.identity, "leading");
        let (held, release) = (self.held(sent), CancellationToken::new());
        let task = tokio::spawn(self.renew(Arc::clone(&held), release.clone()));
        Leadership::of(held, release, task)
    }

    fn held(&self, epoch: Instant) -> Arc<Held> {
        let (renewed, lost) = (AtomicU64::new(0), CancellationToken::new());
        Arc::new(Held { epoch, renewed, deadline: self.timing.renew_deadline, lost })
    }

    /// Renews until released or deposed. However it ends, `held` is lost at once.
    async fn renew(mut self, held: Arc<Held>, release: CancellationToken) {
        // Also when this task panics or is dropped with its runtime.
        let _deposed = held.lost.clone().drop_guard();
        loop {
            tokio::select! {
                () = release.cancelled() => return self.release().await,
                () = tokio::time::sleep(self.timing.retry_period) => {}
            }
            match tokio::time::timeout_at(held.expires(), self.attempt()).await {
                Ok(Ok(Some(sent))) => held.renew(sent),
                Ok(Ok(None)) => {
                    return error!(
                        lease = self.name,
                        holder = self.holder(),
                        "leader Lease taken by another"
                    );
                }
                Ok(Err(error @ Failed::WentBack { .. })) => {
                    return error!(lease = self.name, %error, "leader Lease given up");
                }
                Ok(Err(error)) => {
                    warn!(lease = self.name, error = %Chain(&error), "leader Lease not renewed, will try again");
                }
                Err(_) => {}
            }
            if Instant::now() >= held.expires() {
                return error!(lease = self.name, "leader Lease not renewed in time");
            }
        }
    }

    /// Tries once to acquire or renew. Returns when the request was sent if the record is ours now, `None` if another holds it.
    async fn attempt(&mut self) -> Result<Option<Instant>, Failed> {
        // The holder writes over its own last record, and reads only when that is refused.
        if self.leads() {
            match self.write().await {
                Err(Failed::Api(kube::Error::Api(status)))
                    if status.is_conflict() || status.is_not_found() => {}
                result => return result,
            }
        }
        match self.in_time(self.api.get_opt(&self.name)).await? {
            Some(lease) => self.observe(lease, Instant::now())?,
            None => self.observed = None,
        }
        match self.write().await {
            // Another candidate was faster.
            Err(Failed::Api(kube::Error::Api(status)))
                if status.is_conflict() || status.is_already_exists() =>
            {
                Ok(None)
            }
            result => result,
        }
    }

    /// Writes the record if it may be ours.
    async fn write(&mut self) -> Result<Option<Instant>, Failed> {
        let sent = Instant::now();
        let Some(spec) =
            next_spec(&self.identity, self.timing, self.observed.as_ref(), sent, self.clock.now())
        else {
            return Ok(None);
        };
        let lease = match &self.observed {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.in_time(self.api.create(&PostParams::default(), &lease)).await?
            }
            // Carries the resourceVersion: refused if anyone wrote in between.
            Some(observed) => {
                let lease = Lease { spec: Some(spec), metadata: observed.lease.metadata.clone() };
                self.in_time(self.api.replace(&self.name, &PostParams::default(), &lease)).await?
            }
        };
        self.check_version(&lease)?;
        self.observed = Some(Observed { lease, since: sent });
        Ok(Some(sent))
    }

    /// Remembers the version of the record, and fails if it is older than one before. Versions are numbers that grow, also where
    /// the record was deleted and created again.
    fn check_version(&mut self, lease: &Lease) -> Result<(), Failed> {
        let version = lease.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
        let (from, to) = (self.newest, version.unwrap_or(self.newest));
        self.newest = from.max(to);
        if to < from { Err(Failed::WentBack { from, to }) } else { Ok(()) }
    }

    /// Bounds a request: one that hangs must leave time for another within the deadline.
    async fn in_time<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let limit = (self.timing.renew_deadline / 2).max(self.timing.retry_period);
        match tokio::time::timeout(limit, request).await {
            Ok(result) => result,
            Err(_) => Err(kube::Error::Service("no answer in time".into())),
        }
    }

    fn observe(&mut self, mut lease: Lease, now: Instant) -> Result<(), Failed> {
        self.check_version(&lease)?;
        lease.metadata.managed_fields = None;
        let unchanged = self.observed.as_ref().filter(|known| known.lease.spec == lease.spec);
        let since = unchanged.map_or(now, |known| known.since);
        self.observed = Some(Observed { lease, since });
        Ok(())
    }

    /// Releases the record, so that another candidate can acquire it at once.
    async fn release(mut self) {
        if !self.leads() {
            return;
        }
        let Some(mut lease) = self.observed.take().map(|observed| observed.lease) else { return };
        let now = MicroTime(self.clock.now());
        lease.spec = lease.spec.map(|spec| LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            ..spec
        });
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(_) => info!(lease = self.name, "leader Lease released"),
            Err(error) => {
                warn!(lease = self.name, error = %Chain(&error), "leader Lease not released, it will expire");
            }
        }
    }

    fn leads(&self) -> bool {
        self.holder() == self.identity
    }

    fn holder(&self) -> &str {
        self.observed.as_ref().map(holder).unwrap_or_default()
    }
}

fn holder(observed: &Observed) -> &str {
    observed.lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// Returns the record that `identity` may write, or `None` while another holds it: the whole decision of the protocol.
fn next_spec(
    identity: &str,
    timing: Timing,
    observed: Option<&Observed>,
    now: Instant,
    clock: Timestamp,
) -> Option<LeaseSpec> {
    let fresh = LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(i32::try_from(timing.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: Some(MicroTime(clock)),
        renew_time: Some(MicroTime(clock)),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    let Some(observed) = observed else { return Some(fresh) };
    let known = observed.lease.spec.clone().unwrap_or_default();
    let (holder, transitions) = (holder(observed), known.lease_transitions.unwrap_or_default());
    if holder == identity {
        return Some(LeaseSpec {
            acquire_time: known.acquire_time,
            lease_transitions: Some(transitions),
            ..fresh
        });
    }
    let stands =
        Duration::from_secs(known.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0));
    if !holder.is_empty() && now < observed.since + stands {
        return None;
    }
    Some(LeaseSpec { lease_transitions: Some(transitions.saturating_add(1)), ..fresh })
}

/// The right to write, as long as the Lease is held. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership(Option<Arc<Lead>>);

#[derive(Debug)]
struct Lead {
    held: Arc<Held>,
    release: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Held {
    epoch: Instant,
    /// Milliseconds from `epoch` to the sending of the last successful renewal.
    renewed: AtomicU64,
    deadline: Duration,
    lost: CancellationToken,
}

impl Held {
    fn renew(&self, sent: Instant) {
        let since = u64::try_from((sent - self.epoch).as_millis()).unwrap_or(u64::MAX);
        self.renewed.store(since, Ordering::Release);
    }

    fn stands(&self, now: Instant) -> bool {
        !self.lost.is_cancelled() && now < self.expires()
    }

    fn expires(&self) -> Instant {
        self.epoch + Duration::from_millis(self.renewed.load(Ordering::Acquire)) + self.deadline
    }
}

impl Leadership {
    /// Creates a leadership without Lease, which is never lost: the operator runs as a single replica.
    #[must_use]
    pub const fn always() -> Self {
        Self(None)
    }

    fn of(held: Arc<Held>, release: CancellationToken, task: JoinHandle<()>) -> Self {
        Self(Some(Arc::new(Lead { held, release, task: Mutex::new(Some(task)) })))
    }

    /// Returns whether a write may be sent now. Costs an atomic load: ask before each.
    ///
    /// Judges by the age of the last renewal, so it refuses even when the renewing task is stuck. Another process can lead
    /// `duration - renew_deadline` after the refusal at the earliest: time for calls in flight to end.
    pub fn check(&self) -> Result<(), NotLeader> {
        match &self.0 {
            Some(lead) if !lead.held.stands(Instant::now()) => Err(NotLeader),
            _ => Ok(()),
        }
    }

    /// Resolves when the Lease is lost or released; never without election.
    pub async fn lost(&self) {
        match &self.0 {
            Some(lead) => lead.held.lost.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Stops renewing and releases the Lease, so that the next leader need not wait until it expires.
    ///
    /// Call it when nothing writes any more. Returns when the API server has answered. A second call does nothing.
    pub async fn release(&self) {
        let Some(lead) = &self.0 else { return };
        lead.release.cancel();
        if let Some(task) = lead.task.lock().await.take()
            && let Err(error) = task.await
        {
            warn!(%error, "the task renewing the Lease did not end well");
        }
    }
}

#[cfg(test)]
mod tests;
