//! Clients of workload clusters, created from the kubeconfig Secrets of Cluster API. Owns which clients are cached
//! and when one is replaced; [`kubeconfig`](super::kubeconfig) owns the reading of a kubeconfig, and
//! [`circuit_breaker`](super::circuit_breaker) what happens when requests fail.
//!
//! ```text
//!   Secret <cluster>-kubeconfig ──▶ UID + resourceVersion known? ──yes──▶ the same client, its connections reused
//!                                        │ no
//!                                        ▼
//!             checked kubeconfig ──▶ connect ──▶ circuit breaker ──▶ new client; the old one sends nothing more
//! ```
//!
//! What is known of a server that does not answer outlives the client, as long as address and authority stay.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, Config};
use tower::BoxError;

use super::circuit_breaker::{CircuitBreaker, Memory, Waits};
use super::error::{Error, Kind};
use super::kubeconfig;

/// Suffix of the name of a kubeconfig Secret, after the Cluster's name.
const SUFFIX: &str = "-kubeconfig";
/// The only key of a kubeconfig Secret.
const KEY: &str = "value";
/// Longest time without data in a streamed body. Watches end after 290 s by themselves.
const SILENCE: Duration = Duration::from_secs(295);

/// Time limits for workload clusters, and how many clients to cache.
///
/// With the defaults, a cluster that drops packets costs one caller 5 s in every 20 s, and all other callers no time;
/// one that accepts connections and never answers costs one caller 10 s in every 25 s. However many there are, nine
/// callers at most wait for such clusters, and others 2 s, once for each cluster. A cluster that refuses
/// connections at once, or was slow for one request while it answered others, is called again without a pause.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time limit for a connection, TLS included. Default: 5 s.
    pub connect: Duration,
    /// Time limit for the whole answer; for a watch, for its beginning. Default: 10 s.
    pub answer: Duration,
    /// How long a cluster that was unreachable is not called: calls fail at once with the same error. Then one call
    /// is let through as a probe. Default: 15 s.
    pub remember: Duration,
    /// Calls that may wait for more than 2 s at the same time, for all clusters: one more fails. Default: 6.
    pub waits: usize,
    /// Probes at the same time, for all clusters: where there are as many, a cluster that was unreachable goes on failing at once.
    /// Default: 3.
    pub probes: usize,
    /// Largest answer in bytes, and the longest line of a stream: a workload cluster belongs to its users, and must not
    /// fill the memory of the operator. An answer may have one JSON value in 64 of these bytes, as one of empty members would
    /// take 100 times its size once it is parsed. Default: 256 KiB, which is many times the objects that are read there.
    pub answer_size: usize,
    /// The same for answers about CustomResourceDefinitions. Default: 512 KiB, which is twice the largest of the Gateway API.
    pub definition_size: usize,
    /// Most clients in the cache; beyond it the least recently used one is evicted. Default: 256.
    pub clients: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            remember: Duration::from_secs(15),
            waits: 6,
            probes: 3,
            answer_size: 256 << 10,
            definition_size: 512 << 10,
            clients: 256,
        }
    }
}

/// Figures of a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Clients in the cache.
    pub held: usize,
    /// Clients created since the start, each with its own connections.
    pub made: u64,
}

/// Creates a client from a checked kubeconfig.
type Connect = dyn Fn(Config) -> Result<Client, BoxError> + Send + Sync;

/// The clients of all workload clusters. Clones share them.
#[derive(Clone)]
pub struct WorkloadClients {
    management: Client,
    connect: Arc<Connect>,
    limits: Limits,
    waits: Arc<Waits>,
    held: Arc<Mutex<Held>>,
}

/// Namespace and name of a Cluster.
type Key = (String, String);

#[derive(Default)]
struct Held {
    clients: HashMap<Key, Entry>,
    servers: HashMap<Key, Server>,
    made: u64,
    /// Counts uses, to find the client that was used last.
    uses: u64,
}

struct Entry {
    uid: String,
    resource_version: String,
    client: Client,
    breaker: Arc<CircuitBreaker>,
    used: u64,
}

/// What is known of a Cluster's server.
struct Server {
    identity: Identity,
    memory: Arc<Memory>,
}

/// What makes a server another one: its address, its authority, and the name in its certificate. Credentials do not.
#[derive(PartialEq)]
struct Identity(Uri, Option<Vec<Vec<u8>>>, Option<String>);

impl Identity {
    fn of(config: &Config) -> Self {
        Self(config.cluster_url.clone(), config.root_cert.clone(), config.tls_server_name.clone())
    }
}

impl fmt::Debug for WorkloadClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadClients")
            .field("limits", &self.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Creates kube's own client without its retries, which repeat a POST.
///
/// # Errors
/// If the settings cannot be used.
pub fn connect(mut config: Config) -> Result<Client, kube::Error> {
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    Client::try_from(config)
}

impl WorkloadClients {
    /// Creates a cache that reads Secrets through `management`. `connect` creates a client without sending anything
    /// or blocking: see [`connect()`].
    pub fn new<E: Into<BoxError>>(
        management: Client,
        connect: impl Fn(Config) -> Result<Client, E> + Send + Sync + 'static,
    ) -> Self {
        Self {
            management,
            connect: Arc::new(move |config| connect(config).map_err(Into::into)),
            limits: Limits::default(),
            waits: Arc::new(Waits::new(Limits::default())),
            held: Arc::default(),
        }
    }

    /// Sets other limits, for clients that are created from then on.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self.waits = Arc::new(Waits::new(limits));
        self
    }

    /// Returns the client of a Cluster. Costs one read of its Secret from the management cluster, and sends nothing
    /// to the workload cluster. Errors of the client's calls become [`Error`] again with `Error::from`.
    ///
    /// # Errors
    /// [`Kind::NoKubeconfig`], [`Kind::BadKubeconfig`], and whatever reading the Secret can fail with.
    pub async fn client(&self, namespace: &str, cluster: &str) -> Result<Client, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.management.clone(), namespace);
        let name = secret_name(cluster);
        let secret = secrets.get_opt(&name).await.map_err(|error| {
            Error::from(error).harmless().about(format_args!("Secret {namespace}/{name}"))
        })?;
        if let Some(secret) = secret {
            self.client_from(&secret)
        } else {
            self.retire(namespace, cluster);
            Err(Error::new(Kind::NoKubeconfig, format!("Secret {namespace}/{name} does not exist yet")))
        }
    }

    /// Returns the client for a kubeconfig Secret that the caller has read.
    ///
    /// # Errors
    /// [`Kind::BadKubeconfig`].
    pub fn client_from(&self, secret: &Secret) -> Result<Client, Error> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&secret.metadata.namespace), text(&secret.metadata.name));
        let subject = format!("Secret {namespace}/{name}");
        let Some(cluster) = name.strip_suffix(SUFFIX) else {
            return Err(bad("not the name of a Cluster's kubeconfig").about(subject));
        };
        let (uid, resource_version) = (text(&secret.metadata.uid), text(&secret.metadata.resource_version));

        // Locked while the client is created, which takes milliseconds: so it is created once.
        let mut held = self.held();
        held.uses += 1;
        let used = held.uses;
        let key = (namespace, cluster.to_owned());
        if let Some(entry) = held.clients.get_mut(&key)
            && entry.uid == uid
            && entry.resource_version == resource_version
        {
            entry.used = used;
            return Ok(entry.client.clone());
        }
        // The old client must not be used any more, even if the new kubeconfig is invalid.
        held.remove(&key);
        let value = secret.data.as_ref().and_then(|data| data.get(KEY));
        let value = value.ok_or_else(|| bad("it has no key \"value\"").about(&subject))?;
        let mut config = kubeconfig::read(&value.0).map_err(|error| error.about(&subject))?;
        config.connect_timeout = Some(self.limits.connect);
        let identity = Identity::of(&config);
        // Its message might quote a secret.
        let client = (self.connect)(config).map_err(|_| {
            bad("its certificates or credentials cannot be used for a connection").about(&subject)
        })?;
        let memory = held.memory(&key, identity);
        let name = format!("cluster {}/{}", key.0, key.1);
        let breaker = CircuitBreaker::new(name, self.limits, memory, Arc::clone(&self.waits));
        let client = breaker.before(client);
        held.made += 1;
        held.make_room(self.limits.clients);
        held.clients.insert(key, Entry { uid, resource_version, client: client.clone(), breaker, used });
        Ok(client)
    }

    /// Drops the client of a Cluster whose Secret is gone. Its users receive [`Kind::Replaced`]. That its server does not answer stays known.
    pub fn retire(&self, namespace: &str, cluster: &str) {
        let key = (namespace.to_owned(), cluster.to_owned());
        let mut held = self.held();
        held.remove(&key);
        held.forget_if_up(&key);
    }

    /// Drops the client of a Cluster that does not exist any more, and all that is known of it. Its users receive [`Kind::Replaced`].
    pub fn forget(&self, namespace: &str, cluster: &str) {
        let key = (namespace.to_owned(), cluster.to_owned());
        let mut held = self.held();
        held.remove(&key);
        held.servers.remove(&key);
    }

    /// Returns the figures of the cache.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let held = self.held();
        Stats { held: held.clients.len(), made: held.made }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Returns what is known of the server, which gets one try at once where the credentials have changed.
    fn memory(&mut self, key: &Key, identity: Identity) -> Arc<Memory> {
        if let Some(server) = self.servers.get(key).filter(|server| server.identity == identity) {
            server.memory.hurry();
            return Arc::clone(&server.memory);
        }
        let memory = Arc::default();
        self.servers.insert(key.clone(), Server { identity, memory: Arc::clone(&memory) });
        memory
    }

    /// Nothing worth keeping is known of a server that answers.
    fn forget_if_up(&mut self, key: &Key) {
        if self.servers.get(key).is_some_and(|server| !server.memory.is_down()) {
            self.servers.remove(key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.clients.remove(key) {
            entry.breaker.retire();
        }
    }

    /// Evicts clients until there is room for one more. Requests in flight on an evicted client may finish.
    fn make_room(&mut self, limit: usize) {
        while self.clients.len() >= limit.max(1) {
            let oldest = self.clients.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
            self.clients.remove(&key);
            self.forget_if_up(&key);
        }
    }
}

/// Returns the name of a Cluster's kubeconfig Secret.
#[must_use]
pub fn secret_name(cluster: &str) -> String {
    format!("{cluster}{SUFFIX}")
}

fn bad(problem: &str) -> Error {
    Error::new(Kind::BadKubeconfig, problem)
}

#[cfg(test)]
mod tests;
