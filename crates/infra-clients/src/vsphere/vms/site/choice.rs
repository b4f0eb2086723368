//! The datacenter and the resource pool that the settings choose. Pure: says which name does not fit and which would, and never chooses
//! between two.

use super::Site;
use crate::vsphere::name::escape;
use crate::vsphere::paths::{Paths, list, normal};
use crate::vsphere::properties::ObjectUpdate;
use crate::vsphere::vms::config::Config;
use crate::vsphere::{Error, Kind, MoRef};

/// What the settings choose.
pub(super) struct Chosen {
    /// The datacenter's inventory path.
    pub(super) datacenter: String,
    pub(super) vm_folder: MoRef,
    pub(super) pool: MoRef,
}

/// Chooses the datacenter and the resource pool. Where the settings fit several, those of `known` stay.
pub(super) fn choose(
    objects: &[ObjectUpdate],
    paths: &Paths,
    top: &MoRef,
    config: &Config,
    known: Option<&Site>,
) -> Result<Chosen, Error> {
    let is_known = |object: &&ObjectUpdate| {
        let vm_folder = object.moref("vmFolder").filter(|_| object.obj.kind() == "Datacenter");
        vm_folder.is_some() && vm_folder.as_ref() == known.map(|site| &site.vm_folder)
    };
    let found = match find_datacenter(objects, paths, top, config.datacenter.as_deref()) {
        Err(error) if error.kind() == Kind::Ambiguous => objects.iter().find(is_known).ok_or(error)?,
        found => found?,
    };
    let datacenter = paths.path(&found.obj, top);
    let folder = |path| {
        found.moref(path).ok_or_else(|| {
            let message = format!(
                "the account cannot read the datacenter {datacenter:?}: have a vCenter administrator grant it System.Read there"
            );
            Error::new(Kind::Forbidden, message)
        })
    };
    let (vm_folder, hosts) = (folder("vmFolder")?, folder("hostFolder")?);
    let is_there =
        |pool: &&MoRef| objects.iter().any(|object| object.obj == **pool) && paths.is_under(pool, &hosts);
    let pool = match find_pool(objects, paths, (top, &hosts), config.resource_pool.as_deref(), &datacenter) {
        Err(error) if error.kind() == Kind::Ambiguous => {
            known.map(|site| &site.pool).filter(is_there).cloned().ok_or(error)?
        }
        pool => pool?,
    };
    Ok(Chosen { datacenter, vm_folder, pool })
}

fn find_datacenter<'a>(
    objects: &'a [ObjectUpdate],
    paths: &Paths,
    top: &MoRef,
    wanted: Option<&str>,
) -> Result<&'a ObjectUpdate, Error> {
    let all: Vec<(String, &ObjectUpdate)> = objects
        .iter()
        .filter(|object| object.obj.kind() == "Datacenter")
        .map(|object| (paths.path(&object.obj, top), object))
        .collect();
    let names: Vec<&str> = all.iter().map(|(path, _)| path.as_str()).collect();
    let found: Vec<_> = all
        .iter()
        .filter(|(path, object)| {
            wanted.is_none_or(|wanted| object.name() == wanted || *path == normal(wanted))
        })
        .collect();
    let error = |kind, message| Err(Error::new(kind, message));
    match (found.as_slice(), wanted) {
        ([(_, object)], _) => Ok(object),
        ([], None) => error(Kind::Config, "the account sees no datacenter in this vCenter".to_owned()),
        ([], Some(wanted)) if names.is_empty() => error(
            Kind::Config,
            format!("there is no datacenter {wanted:?}; the account sees no datacenter at all"),
        ),
        ([], Some(wanted)) => {
            error(Kind::Config, format!("there is no datacenter {wanted:?}, only {}", list(&names)))
        }
        (_, None) => error(
            Kind::Ambiguous,
            format!(
                "this vCenter has {} datacenters ({}): set the datacenter to use",
                names.len(),
                list(&names)
            ),
        ),
        (_, Some(wanted)) => error(
            Kind::Ambiguous,
            format!(
                "{} datacenters have the name {wanted} ({}): set the datacenter to one of these paths",
                found.len(),
                list(&names)
            ),
        ),
    }
}

/// A resource pool that could be meant.
struct Candidate {
    /// `cluster/Resources/pool`.
    path: String,
    /// `datacenter/host/cluster/Resources/pool`.
    inventory_path: String,
    name: String,
    /// For a root pool, the name of its cluster or host.
    cluster: Option<String>,
    moref: MoRef,
}

impl Candidate {
    /// Returns whether a person means it: by a name, by its path, or by its inventory path.
    fn fits(&self, wanted: Option<&str>) -> bool {
        match wanted {
            None => self.cluster.is_some(),
            Some(wanted) => {
                let path = normal(wanted);
                self.cluster.as_deref() == Some(wanted)
                    || (self.cluster.is_none() && self.name == wanted)
                    || [&self.path, &self.inventory_path].contains(&&path)
            }
        }
    }
}

fn candidates(objects: &[ObjectUpdate], paths: &Paths, top: &MoRef, hosts: &MoRef) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let clusters = objects.iter().filter(|object| {
        object.obj.kind().ends_with("ComputeResource") && paths.is_under(&object.obj, hosts)
    });
    for cluster in clusters {
        let Some(root) = cluster.moref("resourcePool") else { continue };
        let pools = objects
            .iter()
            .filter(|object| object.obj.kind() == "ResourcePool" && paths.is_under(&object.obj, &root));
        candidates.extend(pools.map(|pool| Candidate {
            path: format!("{}/{}", escape(&cluster.name()), paths.path(&pool.obj, &cluster.obj)),
            inventory_path: paths.path(&pool.obj, top),
            name: pool.name(),
            cluster: (pool.obj == root).then(|| cluster.name()),
            moref: pool.obj.clone(),
        }));
    }
    candidates
}

fn find_pool(
    objects: &[ObjectUpdate],
    paths: &Paths,
    (top, hosts): (&MoRef, &MoRef),
    wanted: Option<&str>,
    datacenter: &str,
) -> Result<MoRef, Error> {
    let candidates = candidates(objects, paths, top, hosts);
    let found: Vec<_> = candidates.iter().filter(|candidate| candidate.fits(wanted)).collect();
    let names = |candidates: &[&Candidate]| {
        list(&candidates.iter().map(|candidate| &candidate.path).collect::<Vec<_>>())
    };
    let error = |kind, message| Err(Error::new(kind, message));
    match (found.as_slice(), wanted) {
        ([pool], _) => Ok(pool.moref.clone()),
        ([], None) => error(
            Kind::Config,
            format!(
                "the account sees no resource pool in datacenter {datacenter:?}: it has no cluster or host, or the account lacks rights on them"
            ),
        ),
        ([], Some(wanted)) => error(
            Kind::Config,
            format!(
                "there is no resource pool {wanted:?} in datacenter {datacenter:?}, only {}",
                names(&candidates.iter().collect::<Vec<_>>())
            ),
        ),
        (some, None) => error(
            Kind::Ambiguous,
            format!(
                "datacenter {datacenter:?} has {} clusters or hosts ({}): set the resource pool to use",
                some.len(),
                names(some)
            ),
        ),
        (some, Some(wanted)) => error(
            Kind::Ambiguous,
            format!(
                "{wanted} fits {} resource pools ({}): set the resource pool to one of these paths",
                some.len(),
                names(some)
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_pool_has_a_name_and_two_paths() {
        let pool = |path: &str, name: &str, cluster: Option<&str>| Candidate {
            path: path.to_owned(),
            inventory_path: format!("DC0/host/lab/{path}"),
            name: name.to_owned(),
            cluster: cluster.map(str::to_owned),
            moref: MoRef::new("ResourcePool", "resgroup-1"),
        };
        let (web, root) =
            (pool("C0/Resources/web", "web", None), pool("C0/Resources", "Resources", Some("C0")));
        for (wanted, fits) in [
            (None, [false, true]),
            (Some("web"), [true, false]),
            (Some("C0"), [false, true]),
            (Some("Resources"), [false, false]),
            (Some("C0/Resources/web"), [true, false]),
            (Some("/DC0/host/lab/C0/Resources/web"), [true, false]),
            (Some("DC0/host/lab/C0/Resources"), [false, true]),
            (Some("/DC1/host/lab/C0/Resources/web"), [false, false]),
        ] {
            assert_eq!([web.fits(wanted), root.fits(wanted)], fits, "{wanted:?}");
        }
    }
}
