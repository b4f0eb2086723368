//! Checks of the Nodes and their machines.

use super::vcenter::{OLDEST, UPGRADEABLE, is_older};
use super::{Check, Facts, Finding, MachineFacts, NodeFacts, Seen, Severity};
use crate::nodes::PROVIDER;
use crate::version::from_about;

const OLDEST_HARDWARE: u32 = 15;
/// Disks that a machine can have beside its own: four controllers with 15 each.
const VOLUMES: usize = 59;

pub(super) fn run(facts: &Facts, findings: &mut Vec<Finding>) {
    for node in &facts.nodes {
        let find = |check, severity, message: String, remediation| {
            Finding::new(check, severity, &node.name, message, remediation)
        };
        let limit = node.volume_limit.unwrap_or(VOLUMES);
        if node.volumes >= limit {
            findings.push(find(
                Check::VolumeLimit,
                Severity::Warning,
                format!("{} volumes are attached, and it takes {limit}", node.volumes),
                "add Nodes, or move Pods with volumes to others",
            ));
        }
        findings.extend(provider_id(facts, node));
        match &node.machine {
            Seen::Unknown => {}
            Seen::No => findings.push(find(
                Check::MachineVisible,
                Severity::Degraded,
                "the account sees no machine with its UUID, and CPI deletes such a Node once it is not ready"
                    .to_owned(),
                "grant the account the right to read the machine, name its datacenter, or set keepNodes",
            )),
            Seen::Yes(machine) => {
                findings.extend(identity(facts, node, machine));
                findings.extend(guest(facts, machine).map(|(check, severity, message, remediation)| {
                    find(check, severity, message, remediation)
                }));
                findings.extend(hardware(machine).map(|(check, severity, message, remediation)| {
                    find(check, severity, message, remediation)
                }));
                findings.extend(missing_tags(facts, machine).map(
                    |(check, severity, message, remediation)| find(check, severity, message, remediation),
                ));
            }
        }
    }
    findings.extend(change_tracking(facts));
}

type Found = (Check, Severity, String, &'static str);

fn provider_id(facts: &Facts, node: &NodeFacts) -> Option<Finding> {
    let find = |severity, message: String, remediation| {
        Some(Finding::new(Check::ProviderId, severity, &node.name, message, remediation))
    };
    let again = "delete the Node, so that its kubelet registers it again and CPI sets it up";
    match &node.provider_id {
        None if facts.has_cpi => find(
            Severity::BlockUpgrade,
            "it has no provider ID, so that CSI does not find its machine".to_owned(),
            again,
        ),
        None => None,
        Some(id) => match (id.strip_prefix(PROVIDER), &node.machine) {
            (None, _) => find(
                Severity::BlockInstall,
                format!("its provider ID {id} is not of vSphere: another cloud provider has set it up"),
                "keep such Nodes out of the cluster, or remove the other cloud provider",
            ),
            (Some(uuid), Seen::Yes(machine)) if !uuid.eq_ignore_ascii_case(&machine.machine.brief.uuid) => {
                find(
                    Severity::Degraded,
                    format!(
                        "its provider ID {id} is not that of its machine, {}",
                        machine.machine.brief.uuid
                    ),
                    again,
                )
            }
            (Some(_), _) => None,
        },
    }
}

/// Returns what is wrong with which machine it is.
fn identity(facts: &Facts, node: &NodeFacts, facts_of: &MachineFacts) -> Vec<Finding> {
    let (brief, mut found) = (&facts_of.machine.brief, Vec::new());
    let mut add = |check, severity, message: String, remediation| {
        found.push(Finding::new(check, severity, &node.name, message, remediation));
    };
    let vcenter = facts.vcenters.iter().find(|vcenter| vcenter.server == facts_of.server);
    let named =
        vcenter.and_then(|vcenter| vcenter.known.as_ref().ok()).map(|known| known.datacenters.as_slice());
    if named.is_some_and(|named| !named.is_empty() && !named.contains(&facts_of.datacenter)) {
        add(
            Check::DatacenterConsistency,
            Severity::BlockInstall,
            format!(
                "its machine {} is in the datacenter {}, which is not named",
                brief.name, facts_of.datacenter
            ),
            "name the datacenter in the vCenter's object",
        );
    }
    if brief.host_name.is_empty() {
        // Without Tools, that is what is wrong.
        if facts_of.machine.has_tools {
            add(
                Check::HostName,
                Severity::BlockInstall,
                format!("VMware Tools report no host name of its machine {}", brief.name),
                "set the host name of the operating system to the name of the Node",
            );
        }
    } else if !brief.host_name.eq_ignore_ascii_case(&node.name) {
        add(
            Check::HostName,
            Severity::BlockInstall,
            format!(
                "the host name of its machine {} is {}: CPI does not set it up",
                brief.name, brief.host_name
            ),
            "give the Node the host name of its machine: set the host name, or hostname-override of the kubelet",
        );
    }
    if let Some(other) = facts_of.same_host_name.first() {
        add(
            Check::HostNameUnique,
            Severity::BlockInstall,
            format!(
                "the machine {other} has the host name {} as well: CPI may take it for the Node's",
                brief.host_name
            ),
            "give each machine a host name of its own, or remove copies",
        );
    }
    found
}

/// Returns what is wrong with what VMware Tools report.
fn guest(facts: &Facts, facts_of: &MachineFacts) -> Option<Found> {
    let (machine, name) = (&facts_of.machine, &facts_of.machine.brief.name);
    if !machine.has_tools {
        let message = format!(
            "VMware Tools do not run on its machine {name}: the vCenter knows neither host name nor addresses"
        );
        return Some((
            Check::Tools,
            Severity::BlockInstall,
            message,
            "install and start open-vm-tools in the operating system",
        ));
    }
    let real: Vec<_> =
        machine.nics.iter().filter(|nic| !nic.is_virtual && !nic.addresses.is_empty()).collect();
    if real.is_empty() {
        let message = format!("VMware Tools report no address of a network adapter of its machine {name}");
        return Some((
            Check::Addresses,
            Severity::BlockInstall,
            message,
            "connect the adapter, and give it an address",
        ));
    }
    let mut networks: Vec<_> = real.iter().map(|nic| nic.network.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    if networks.len() > 1 && !facts.chooses_addresses {
        let message = format!(
            "its machine {name} has addresses in {}: CPI takes the first it finds",
            networks.join(", ")
        );
        let remediation = "name the subnet or the network of the Nodes' addresses in the settings of CPI";
        return Some((Check::NodeNetwork, Severity::Warning, message, remediation));
    }
    None
}

/// Returns what is wrong with a machine's hardware.
fn hardware(facts_of: &MachineFacts) -> impl Iterator<Item = Found> {
    let (machine, name) = (&facts_of.machine, &facts_of.machine.brief.name);
    let disks = (!machine.has_disk_uuids).then(|| {
        let message =
            format!("its machine {name} does not show the UUIDs of its disks: CSI cannot mount them");
        let remediation = "power the machine off, and set the advanced parameter disk.enableUUID to TRUE";
        (Check::DiskUuid, Severity::BlockInstall, message, remediation)
    });
    let version = machine.hardware.filter(|version| *version < OLDEST_HARDWARE).map(|version| {
        let message = format!("the virtual hardware of its machine {name} has version {version}, and {OLDEST_HARDWARE} is the oldest that works");
        (Check::HardwareVersion, Severity::BlockInstall, message, "power the machine off, and upgrade its compatibility")
    });
    disks.into_iter().chain(version).chain(old_host(facts_of))
}

fn old_host(facts_of: &MachineFacts) -> Option<Found> {
    let host = facts_of.host.as_ref()?;
    let version = from_about(&host.version, None, None).ok()?;
    let remediation = "upgrade ESXi on the host";
    // ESXi 6.7 says 6.7.0 at every update.
    let (is_oldest, oldest) = ((version.major, version.minor, version.update) == (6, 7, 0), OLDEST);
    if is_older(version, oldest) && !is_oldest {
        let message = format!(
            "the ESXi of its host {} has version {version}, and {oldest} is the oldest that works",
            host.name
        );
        return Some((Check::EsxiVersion, Severity::BlockInstall, message, remediation));
    }
    is_older(version, UPGRADEABLE).then(|| {
        let message = format!(
            "the ESXi of its host {} has version {version}, and newer drivers need {UPGRADEABLE}",
            host.name
        );
        (Check::EsxiVersion, Severity::BlockUpgrade, message, remediation)
    })
}

fn missing_tags(facts: &Facts, facts_of: &MachineFacts) -> Option<Found> {
    let tags = facts_of.tags.as_ref()?;
    let has = |category: &String| tags.iter().any(|tag| tag.category == *category);
    let missing: Vec<_> = facts.categories.iter().filter(|category| !has(category)).cloned().collect();
    (!missing.is_empty()).then(|| {
        let name = facts_of.host.as_ref().map_or("its host", |host| host.name.as_str());
        let message =
            format!("{name}, and what it is in, have no tag of the categories {}", missing.join(", "));
        let remediation = "attach a tag of each category to the host, its cluster or its datacenter";
        (Check::ZoneTags, Severity::BlockInstall, message, remediation)
    })
}

fn change_tracking(facts: &Facts) -> Option<Finding> {
    let machines = facts.nodes.iter().filter_map(|node| match &node.machine {
        Seen::Yes(machine) => Some((&node.name, machine.machine.tracks_changes)),
        Seen::Unknown | Seen::No => None,
    });
    let (with, without): (Vec<_>, Vec<_>) = machines.partition(|(_, tracks)| *tracks);
    let ((first, _), (other, _)) = (with.first()?, without.first()?);
    let message = format!(
        "changed blocks are tracked on {} machines, such as that of {first}, and not on {}, such as that of {other}",
        with.len(),
        without.len()
    );
    let remediation = "set changeTrackingEnabled on all machines of Nodes or on none: disks that move between them lose their backups' base";
    Some(Finding::new(Check::ChangeTracking, Severity::Warning, "cluster", message, remediation))
}
