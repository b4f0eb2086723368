//! The registry of running workload clusters. The provider reads it as a real one would query its cloud.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::api::Endpoint;
use crate::nodes::Nodes;

/// A Cluster: namespace and name.
pub(super) type ClusterKey = (String, String);

/// All running workload clusters.
#[derive(Clone, Default)]
pub(super) struct Sites(Arc<Mutex<BTreeMap<ClusterKey, Arc<Site>>>>);

/// A running workload cluster.
pub(super) struct Site {
    /// The address that the provider writes to `controlPlaneEndpoint`; `None`: another client writes it.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) nodes: Arc<Nodes>,
    /// The number of addresses assigned so far.
    addresses: AtomicU32,
}

impl Sites {
    /// Returns a cluster.
    pub(super) fn get(&self, key: &ClusterKey) -> Option<Arc<Site>> {
        self.all().get(key).cloned()
    }

    /// Adds a cluster.
    pub(super) fn insert(&self, key: ClusterKey, site: Site) -> Arc<Site> {
        let site = Arc::new(site);
        self.all().insert(key, site.clone());
        site
    }

    /// Removes a cluster.
    pub(super) fn remove(&self, key: &ClusterKey) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, Arc<Site>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    pub(super) fn new(endpoint: Option<Endpoint>, nodes: Arc<Nodes>) -> Self {
        Self { endpoint, nodes, addresses: AtomicU32::new(0) }
    }

    /// Returns the next address for a machine, from 10.20.0.1; addresses are not reused.
    pub(super) fn next_address(&self) -> Ipv4Addr {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed) + 1;
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 20, 0, 0).to_bits() + number)
    }
}
