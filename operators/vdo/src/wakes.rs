//! What a change of one object wakes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::storage::v1::CSINode;
use kube::Resource;
use kube::core::PartialObjectMeta;
use operator_kit::{Cache, Change, Guarded, Key, Kind, Triggers, Watch};

use crate::api::{
    CREDENTIALS_NAMESPACE, CompatibilityMatrix, DriverSet, MATRIX_CONFIG_MAPS, VSphereConnection, VdoConfig,
    VsphereCloudConfig,
};
use crate::config::{CPI_CONFIG_MAP, CPI_SECRET, CSI_NAMESPACE, CSI_SECRET};
use crate::connection::Connection;
use crate::installer::Memory;
use crate::matrix::Driver;
use crate::watched::BriefNode;

/// The objects of all controllers, to be woken.
#[derive(Clone)]
pub(crate) struct Wakes {
    pub(crate) vdo_configs: Triggers<VdoConfig>,
    pub(crate) driver_sets: Triggers<DriverSet>,
    pub(crate) clouds: Triggers<VsphereCloudConfig>,
    pub(crate) connections: Triggers<VSphereConnection>,
    pub(crate) matrices: Triggers<CompatibilityMatrix>,
    pub(crate) caches: Caches,
    pub(crate) memory: Arc<Memory>,
}

/// The objects that users write.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) vdo_configs: Cache<VdoConfig>,
    pub(crate) driver_sets: Cache<DriverSet>,
    pub(crate) clouds: Cache<VsphereCloudConfig>,
    pub(crate) connections: Cache<VSphereConnection>,
    pub(crate) matrices: Cache<CompatibilityMatrix>,
}

impl Wakes {
    /// Wakes all that ask for drivers.
    pub(crate) fn all_installers(&self) {
        self.vdo_configs.wake_all(&self.caches.vdo_configs.keys());
        self.driver_sets.wake_all(&self.caches.driver_sets.keys());
    }

    /// Wakes all that ask for drivers, also those whose last pass has failed.
    fn retry_installers(&self) {
        self.vdo_configs.retry_all(&self.caches.vdo_configs.keys());
        self.driver_sets.retry_all(&self.caches.driver_sets.keys());
    }

    /// Wakes a connection.
    pub(crate) fn connection<C: Connection>(&self, key: &Key) {
        C::triggers(self).wake(key);
    }

    /// Wakes all that ask for drivers when a person has changed, made or deleted an object of this kind.
    pub(crate) fn after<K: Kind>(&self, watch: &Watch<K>) {
        let wakes = self.clone();
        watch.subscribe(move |change| {
            if change.before.as_ref().map(written) != change.after.as_ref().map(written) {
                wakes.retry_installers();
            }
        });
    }

    /// Wakes all that ask for drivers when a Node has changed.
    pub(crate) fn after_nodes(&self, nodes: &Watch<BriefNode>, csi_nodes: &Watch<CSINode>) {
        let relevant = |node: &Guarded<BriefNode>| node.valid().map(|node| node.relevant());
        let wakes = self.clone();
        nodes.subscribe(move |change| {
            if change.before.as_ref().map(relevant) != change.after.as_ref().map(relevant) {
                wakes.all_installers();
            }
        });
        let drivers = |node: &Guarded<CSINode>| node.valid().map(|node| node.spec.drivers.clone());
        let wakes = self.clone();
        csi_nodes.subscribe(move |change| {
            if change.before.as_ref().map(drivers) != change.after.as_ref().map(drivers) {
                wakes.all_installers();
            }
        });
    }

    /// Has the drivers looked at whose members have changed.
    pub(crate) fn after_members<K: Kind>(&self, members: &Watch<K>) {
        let wakes = self.clone();
        members.subscribe(move |change| {
            if version(change.before.as_ref()) != version(change.after.as_ref()) {
                for driver in Driver::ALL {
                    wakes.memory.look_at(driver);
                }
                wakes.all_installers();
            }
        });
    }

    /// Wakes what has failed with a Secret as it was, and what a Secret of a driver belongs to.
    pub(crate) fn secret(&self, change: &Change<PartialObjectMeta<Secret>>) {
        let Some(key) = changed(change) else { return };
        let own =
            [(Driver::Cpi, CREDENTIALS_NAMESPACE, CPI_SECRET), (Driver::Csi, CSI_NAMESPACE, CSI_SECRET)];
        self.own(&key, &own);
        self.connections_of(|_| false, |account| *account == key);
    }

    /// Wakes what reads a ConfigMap.
    pub(crate) fn config_map(&self, change: &Change<PartialObjectMeta<ConfigMap>>) {
        let Some(key) = changed(change) else { return };
        self.own(&key, &[(Driver::Cpi, CREDENTIALS_NAMESPACE, CPI_CONFIG_MAP)]);
        self.connections_of(|authority| *authority == key, |_| false);
        let is_named = |matrix: &CompatibilityMatrix| {
            let name = matrix.spec.config_map.as_ref().map(|of| of.name.as_str());
            name == Some(key.name()) && Key::of(matrix).namespace() == key.namespace()
        };
        let matrices = self.caches.matrices.all();
        let named: Vec<_> =
            matrices.iter().filter(|matrix| is_named(matrix)).map(|of| Key::of(&**of)).collect();
        self.matrices.wake_all(&named);
        if MATRIX_CONFIG_MAPS.contains(&key.name()) || !named.is_empty() {
            self.retry_installers();
        }
    }

    /// Has a driver looked at whose file has changed.
    fn own(&self, key: &Key, files: &[(Driver, &str, &str)]) {
        for (driver, namespace, name) in files {
            if (key.namespace(), key.name()) == (*namespace, *name) {
                self.memory.look_at(*driver);
                self.all_installers();
            }
        }
    }

    /// Wakes the connections whose authorities or account have changed, and all that may use them.
    fn connections_of(&self, authority: impl Fn(&Key) -> bool, account: impl Fn(&Key) -> bool) {
        let clouds = concerned(&self.caches.clouds, &authority, &account);
        let connections = concerned(&self.caches.connections, &authority, &account);
        for key in &clouds {
            self.clouds.retry(key);
        }
        for key in &connections {
            self.connections.retry(key);
        }
        if !clouds.is_empty() || !connections.is_empty() {
            self.retry_installers();
        }
    }
}

fn concerned<C: Connection>(
    cache: &Cache<C>,
    authority: impl Fn(&Key) -> bool,
    account: impl Fn(&Key) -> bool,
) -> Vec<Key> {
    let all = cache.all();
    let is_concerned =
        |of: &&Arc<C>| account(&of.account()) || of.authority().is_some_and(|key| authority(&key));
    all.iter().filter(is_concerned).map(|of| Key::of(&**of)).collect()
}

/// Returns what of an object only a person writes.
fn written<K: Kind>(object: &Guarded<K>) -> impl PartialEq + use<K> {
    let meta = object.meta();
    (meta.uid.clone(), meta.generation, meta.deletion_timestamp.is_some(), object.valid().is_some())
}

fn version<K: Kind>(object: Option<&Guarded<K>>) -> Option<(Option<String>, Option<String>)> {
    object.map(|object| (object.meta().uid.clone(), object.meta().resource_version.clone()))
}

/// Returns the key of an object that has another version, is new or is gone.
fn changed<K: Kind>(change: &Change<K>) -> Option<Key> {
    let differs = version(change.before.as_ref()) != version(change.after.as_ref());
    change.newest().filter(|_| differs).map(Key::of)
}
