//! Gathers what the checks need of one vCenter.
//!
//! Only reads. A vCenter that does not answer is a fact, and so are tags and policies that cannot be read.

use std::collections::{BTreeMap, BTreeSet};

use infra_clients::vsphere::checks::{Brief, Checks, Datacenter, Host, Machine, Services, Tag, shared};
use infra_clients::vsphere::{Error, MoRef};

use super::facts::{Known, Lacking, MachineFacts, NodeFacts, Seen, VcenterFacts};
use super::privileges::{Kind, needed};
use crate::version::from_about;

/// What is looked for in a vCenter.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// Address of the vCenter.
    pub server: &'a str,
    /// Whether its certificate is not checked.
    pub is_insecure: bool,
    /// Names or paths of the datacenters; empty for all.
    pub datacenters: &'a [String],
    /// UUIDs of the Nodes' machines, by name of the Node: their `systemUUID`.
    pub uuids: &'a BTreeMap<String, String>,
    /// Whether there are file volumes, which need more privileges.
    pub has_file_volumes: bool,
}

/// What was gathered of a vCenter.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// What it says of itself.
    pub vcenter: VcenterFacts,
    /// The machines that it has, by name of the Node.
    pub machines: BTreeMap<String, MachineFacts>,
}

/// Gathers what the checks need of a vCenter.
pub async fn gather(checks: &Checks, search: &Search<'_>) -> Gathered {
    let facts =
        |known| VcenterFacts { server: search.server.to_owned(), is_insecure: search.is_insecure, known };
    match read(checks, search).await {
        Ok((known, machines)) => Gathered { vcenter: facts(Ok(known)), machines },
        Err(error) => Gathered { vcenter: facts(Err(error.to_string())), machines: BTreeMap::new() },
    }
}

/// Tells each Node which machine it has. One that no vCenter has is unknown while one of them does not answer.
pub fn assign(nodes: &mut [NodeFacts], gathered: &[Gathered]) {
    let all_answer = gathered.iter().all(|of| of.vcenter.known.is_ok());
    for node in nodes {
        let found = gathered.iter().find_map(|of| of.machines.get(&node.name));
        node.machine = match found {
            Some(machine) => Seen::Yes(Box::new(machine.clone())),
            None if all_answer => Seen::No,
            None => Seen::Unknown,
        };
    }
}

type Machines = BTreeMap<String, MachineFacts>;

async fn read(checks: &Checks, search: &Search<'_>) -> Result<(Known, Machines), Error> {
    let about = checks.about().await?;
    let clock = checks.clock().await?;
    let all = checks.datacenters().await?;
    let is_named = |of: &Datacenter, name: &String| of.name == *name || of.path == name.trim_matches('/');
    let named = |of: &&Datacenter| {
        search.datacenters.is_empty() || search.datacenters.iter().any(|name| is_named(of, name))
    };
    let used: Vec<&Datacenter> = all.iter().filter(named).collect();
    let missing = search.datacenters.iter().filter(|name| !all.iter().any(|of| is_named(of, name)));
    // Also those of other datacenters: then it is known where they are.
    let mut everything = Vec::new();
    for datacenter in &all {
        everything.extend(checks.census(datacenter).await?.into_iter().map(|brief| (datacenter, brief)));
    }
    let matched = matched(&everything, search.uuids);
    let machines =
        checks.machines(&matched.values().map(|(_, brief)| brief.moref.clone()).collect::<Vec<_>>()).await?;
    let hosts = checks.hosts(&distinct(machines.iter().filter_map(|machine| machine.host.as_ref()))).await?;
    let stores = checks.datastores(&shared(&hosts)).await?;
    let tagged = distinct(hosts.iter().flat_map(|host| host.ancestors.iter().chain([&host.moref])));
    let services = checks.services(&tagged).await.ok();
    let objects = Objects { datacenters: &used, machines: &machines, hosts: &hosts };
    let mut lacking = Vec::new();
    for kind in Kind::ALL {
        let objects = match kind {
            Kind::Vcenter => vec![(checks.root().await?, "root folder".to_owned())],
            Kind::Datastore => stores.iter().map(|store| (store.moref.clone(), store.name.clone())).collect(),
            kind => objects.of(kind),
        };
        lacking.extend(lacking_on(checks, kind, &objects, search.has_file_volumes).await?);
    }
    let known = Known {
        version: from_about(&about.version, Some(&about.api_version), Some(&about.build)).ok(),
        clock,
        missing_datacenters: missing.cloned().collect(),
        datacenters: used.iter().map(|of| of.name.clone()).collect(),
        lacking,
        shared: stores,
        policies: services.as_ref().map(|services| services.policies.clone()),
    };
    let of = |machine| facts_of(search.server, machine, &matched, &everything, &hosts, services.as_ref());
    Ok((known, machines.into_iter().filter_map(of).collect()))
}

/// Returns the machine of each Node, by the UUID that its BIOS shows, which some systems swap.
fn matched<'a>(
    everything: &'a [(&'a Datacenter, Brief)],
    uuids: &'a BTreeMap<String, String>,
) -> BTreeMap<&'a str, (&'a Datacenter, &'a Brief)> {
    let by_uuid: BTreeMap<String, (&Datacenter, &Brief)> = everything
        .iter()
        .filter(|(_, brief)| !brief.uuid.is_empty())
        .map(|(datacenter, brief)| (brief.uuid.to_ascii_lowercase(), (*datacenter, brief)))
        .collect();
    let find = |uuid: &String| {
        let uuid = uuid.to_ascii_lowercase();
        by_uuid.get(&uuid).or_else(|| by_uuid.get(&swapped(&uuid)?)).copied()
    };
    uuids.iter().filter_map(|(node, uuid)| Some((node.as_str(), find(uuid)?))).collect()
}

/// Returns a UUID with the bytes of its first three parts in the other order.
pub(crate) fn swapped(uuid: &str) -> Option<String> {
    let parts: Vec<&str> = uuid.split('-').collect();
    let [low, mid, high, sequence, node] = parts.as_slice() else { return None };
    let swap = |part: &str| -> Option<String> {
        let pairs: Option<Vec<&str>> =
            (0..part.len()).step_by(2).rev().map(|at| part.get(at..at + 2)).collect();
        Some(pairs?.concat())
    };
    Some(format!("{}-{}-{}-{sequence}-{node}", swap(low)?, swap(mid)?, swap(high)?))
}

fn facts_of(
    server: &str,
    machine: Machine,
    matched: &BTreeMap<&str, (&Datacenter, &Brief)>,
    everything: &[(&Datacenter, Brief)],
    hosts: &[Host],
    services: Option<&Services>,
) -> Option<(String, MachineFacts)> {
    let (node, (datacenter, _)) =
        matched.iter().find(|(_, (_, brief))| brief.moref == machine.brief.moref)?;
    let own = &machine.brief;
    let same = everything.iter().filter(|(_, other)| {
        !own.host_name.is_empty() && other.host_name == own.host_name && other.moref != own.moref
    });
    let host = hosts.iter().find(|host| Some(&host.moref) == machine.host.as_ref()).cloned();
    let tags = services.zip(host.as_ref()).map(|(services, host)| tags_of(host, services));
    let facts = MachineFacts {
        server: server.to_owned(),
        datacenter: datacenter.name.clone(),
        same_host_name: same.map(|(_, other)| other.name.clone()).collect(),
        host,
        tags,
        machine,
    };
    Some(((*node).to_owned(), facts))
}

/// Returns the tags of a host. Of each category, those of the nearest count: a host's own, or its cluster's.
fn tags_of(host: &Host, services: &Services) -> BTreeSet<Tag> {
    let mut found: BTreeSet<Tag> = BTreeSet::new();
    for object in [&host.moref].into_iter().chain(&host.ancestors) {
        let further = services.tags.get(object).into_iter().flatten();
        let new: Vec<_> =
            further.filter(|tag| !found.iter().any(|of| of.category == tag.category)).cloned().collect();
        found.extend(new);
    }
    found
}

fn distinct<'a>(morefs: impl Iterator<Item = &'a MoRef>) -> Vec<MoRef> {
    morefs.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// What privileges are needed on.
struct Objects<'a> {
    datacenters: &'a [&'a Datacenter],
    machines: &'a [Machine],
    hosts: &'a [Host],
}

impl Objects<'_> {
    /// Returns the objects of a kind, with their names.
    fn of(&self, kind: Kind) -> Vec<(MoRef, String)> {
        let unnamed =
            |morefs: Vec<MoRef>| morefs.into_iter().map(|moref| (moref.clone(), moref.to_string())).collect();
        match kind {
            Kind::Vcenter | Kind::Datastore => Vec::new(),
            Kind::Datacenter => {
                self.datacenters.iter().map(|of| (of.moref.clone(), of.path.clone())).collect()
            }
            Kind::Folder => {
                let folder = |of: &&Datacenter| Some((of.vm_folder.clone()?, format!("{}/vm", of.path)));
                self.datacenters.iter().filter_map(folder).collect()
            }
            Kind::Cluster => {
                let is_cluster = |moref: &&MoRef| moref.kind().ends_with("ComputeResource");
                unnamed(distinct(self.hosts.iter().flat_map(|host| &host.ancestors).filter(is_cluster)))
            }
            Kind::ResourcePool => {
                unnamed(distinct(self.machines.iter().filter_map(|machine| machine.pool.as_ref())))
            }
            Kind::Host => self.hosts.iter().map(|host| (host.moref.clone(), host.name.clone())).collect(),
            Kind::Machine => {
                self.machines.iter().map(|of| (of.brief.moref.clone(), of.brief.name.clone())).collect()
            }
        }
    }
}

async fn lacking_on(
    checks: &Checks,
    kind: Kind,
    objects: &[(MoRef, String)],
    has_file_volumes: bool,
) -> Result<Vec<Lacking>, Error> {
    let morefs: Vec<MoRef> = objects.iter().map(|(moref, _)| moref.clone()).collect();
    let mut missing = checks.missing_privileges(&morefs, needed(kind, has_file_volumes)).await?;
    let lacking = objects.iter().filter_map(|(moref, object)| {
        Some(Lacking { kind, object: object.clone(), privileges: missing.remove(moref)? })
    });
    Ok(lacking.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_swapped_and_back() {
        let uuid = "4230c6a1-12ab-4c8d-9000-00000000000a";
        let other = swapped(uuid).unwrap();
        assert_eq!(other, "a1c63042-ab12-8d4c-9000-00000000000a");
        assert_eq!(swapped(&other).as_deref(), Some(uuid));
        for bad in ["", "a-b-c-d", "abc-b-c-d-e", "é1-b-c-d-e"] {
            assert_eq!(swapped(bad), None, "{bad}");
        }
    }
}
