//! Hosts, and the datastores that they have in common.

use std::collections::BTreeMap;

use super::Checks;
use super::machines::text;
use crate::vsphere::error::Error;
use crate::vsphere::moref::MoRef;
use crate::vsphere::properties::{filter, object, properties, read_existing, traverse};
use crate::vsphere::xml::Node;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// Version of ESXi, such as `8.0.3`; empty while the host is not connected.
    pub version: String,
    /// Build of ESXi.
    pub build: String,
    /// Its datastores.
    pub datastores: Vec<MoRef>,
    /// What it is in, from its cluster up to the datacenter and the folders above.
    pub ancestors: Vec<MoRef>,
}

/// A datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datastore {
    /// Its reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// Its URL, `ds:///vmfs/volumes/…/`.
    pub url: String,
    /// Whether a host can read and write it.
    pub is_accessible: bool,
    /// Name of the storage cluster that moves its disks by itself.
    pub moved_by: Option<String>,
}

impl Checks {
    /// Returns hosts, those that exist, in two calls.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn hosts(&self, morefs: &[MoRef]) -> Result<Vec<Host>, Error> {
        let core = self.session.core();
        let paths: &[&str] = &["name", "config.product.version", "config.product.build", "datastore"];
        let found = read_existing(core, &[("HostSystem", paths)], morefs).await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let up = |moref: &MoRef| {
            object(moref.to_vim(), false, vec![traverse("up", "ManagedEntity", "parent", &["up"])])
        };
        let chains = filter(vec![properties("ManagedEntity", &["parent"])], morefs.iter().map(up).collect());
        let above = core.retrieve(&chains).await?;
        let parents: BTreeMap<&MoRef, MoRef> =
            above.iter().filter_map(|object| Some((&object.obj, object.moref("parent")?))).collect();
        let hosts = found.iter().map(|host| {
            let listed = host.get("datastore").map(|list| list.children.iter().filter_map(Node::moref));
            // No inventory is that deep.
            let ancestors =
                std::iter::successors(parents.get(&host.obj), |above| parents.get(above)).take(100);
            Host {
                moref: host.obj.clone(),
                name: host.name(),
                version: text(host, "config.product.version"),
                build: text(host, "config.product.build"),
                datastores: listed.into_iter().flatten().collect(),
                ancestors: ancestors.cloned().collect(),
            }
        });
        Ok(hosts.collect())
    }

    /// Returns datastores, those that exist, in the order of their names.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn datastores(&self, morefs: &[MoRef]) -> Result<Vec<Datastore>, Error> {
        let core = self.session.core();
        let paths: &[&str] = &["name", "parent", "summary.url", "summary.accessible"];
        let found = read_existing(core, &[("Datastore", paths)], morefs).await?;
        let mut pods: Vec<MoRef> = found.iter().filter_map(|store| store.moref("parent")).collect();
        pods.retain(|parent| parent.kind() == "StoragePod");
        pods.sort();
        pods.dedup();
        let mut movers = BTreeMap::new();
        if !pods.is_empty() {
            const ENABLED: &str = "podStorageDrsEntry.storageDrsConfig.podConfig.enabled";
            for pod in read_existing(core, &[("StoragePod", &["name", ENABLED])], &pods).await? {
                if text(&pod, ENABLED) == "true" {
                    movers.insert(pod.obj.clone(), pod.name());
                }
            }
        }
        let mut stores: Vec<_> = found
            .iter()
            .map(|store| Datastore {
                moref: store.obj.clone(),
                name: store.name(),
                url: text(store, "summary.url"),
                is_accessible: text(store, "summary.accessible") == "true",
                moved_by: store.moref("parent").and_then(|parent| movers.get(&parent).cloned()),
            })
            .collect();
        stores.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stores)
    }
}

/// Returns the datastores that all hosts have, in order; none for no hosts.
#[must_use]
pub fn shared(hosts: &[Host]) -> Vec<MoRef> {
    let Some((first, others)) = hosts.split_first() else { return Vec::new() };
    let mut common = first.datastores.clone();
    common.retain(|store| others.iter().all(|host| host.datastores.contains(store)));
    common.sort();
    common.dedup();
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_datastores_are_those_of_all_hosts() {
        let store = |id: &str| MoRef::new("Datastore", id);
        let host = |stores: &[&str]| Host {
            moref: MoRef::new("HostSystem", "host-1"),
            name: String::new(),
            version: String::new(),
            build: String::new(),
            datastores: stores.iter().map(|id| store(id)).collect(),
            ancestors: Vec::new(),
        };
        for (hosts, wanted) in [
            (vec![], vec![]),
            (vec![host(&["b", "a"])], vec!["a", "b"]),
            (vec![host(&["a", "b", "c"]), host(&["c", "b"]), host(&["b", "c", "d"])], vec!["b", "c"]),
            (vec![host(&["a"]), host(&["b"])], vec![]),
            (vec![host(&["a"]), host(&[])], vec![]),
        ] {
            assert_eq!(shared(&hosts), wanted.into_iter().map(store).collect::<Vec<_>>());
        }
    }
}
