//! Where each workload cluster really runs, for the provider: what a real one would ask its cloud.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::api::Endpoint;
use crate::nodes::Nodes;

/// A Cluster: namespace and name.
pub(super) type ClusterKey = (String, String);

/// Every workload cluster there is.
#[derive(Clone, Default)]
pub(super) struct Sites(Arc<Mutex<BTreeMap<ClusterKey, Arc<Site>>>>);

/// One workload cluster's place.
pub(super) struct Site {
    /// What the infrastructure says is the API server's address; nothing if that is left to others.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) nodes: Nodes,
    /// Addresses given out so far.
    addresses: AtomicU32,
}

impl Sites {
    pub(super) fn get(&self, key: &ClusterKey) -> Option<Arc<Site>> {
        self.all().get(key).cloned()
    }

    pub(super) fn insert(&self, key: ClusterKey, site: Site) -> Arc<Site> {
        let site = Arc::new(site);
        self.all().insert(key, site.clone());
        site
    }

    pub(super) fn remove(&self, key: &ClusterKey) {
        self.all().remove(key);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ClusterKey, Arc<Site>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Site {
    pub(super) fn new(endpoint: Option<Endpoint>, nodes: Nodes) -> Self {
        Self { endpoint, nodes, addresses: AtomicU32::new(0) }
    }

    /// An address that no machine of this cluster has had, from 10.20.0.1 on.
    pub(super) fn next_address(&self) -> Ipv4Addr {
        let number = self.addresses.fetch_add(1, Ordering::Relaxed) + 1;
        Ipv4Addr::from_bits(Ipv4Addr::new(10, 20, 0, 0).to_bits() + number)
    }
}
