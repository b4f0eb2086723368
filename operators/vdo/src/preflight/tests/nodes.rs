//! Faults of Nodes and their machines.

use super::super::Severity::{BlockInstall, BlockUpgrade, Degraded, Warning};
use super::*;

pub(super) static NODES: &[Row] = &[
    (
        |f| f.nodes[0].machine = Seen::No,
        Check::MachineVisible,
        Degraded,
        "node-1",
        "the account sees no machine with its UUID, and CPI deletes such a Node once it is not ready: grant the account the right to read",
    ),
    (
        |f| machine(f).datacenter = "DC1".to_owned(),
        Check::DatacenterConsistency,
        BlockInstall,
        "node-1",
        "its machine vm-node-1 is in the datacenter DC1, which is not named: name the datacenter",
    ),
    (
        |f| f.nodes[0].provider_id = None,
        Check::ProviderId,
        BlockUpgrade,
        "node-1",
        "it has no provider ID, so that CSI does not find its machine: delete the Node, so that its kubelet registers it again",
    ),
    (
        |f| f.nodes[0].provider_id = Some("aws://x".to_owned()),
        Check::ProviderId,
        BlockInstall,
        "node-1",
        "its provider ID aws://x is not of vSphere: another cloud provider has set it up: keep such Nodes out of the cluster",
    ),
    (
        |f| f.nodes[0].provider_id = Some("vsphere://other".to_owned()),
        Check::ProviderId,
        Degraded,
        "node-1",
        "its provider ID vsphere://other is not that of its machine, 4230c6a1-0000-4000-8000-00000000000a: delete the Node",
    ),
    (
        |f| machine(f).machine.brief.host_name = String::new(),
        Check::HostName,
        BlockInstall,
        "node-1",
        "VMware Tools report no host name of its machine vm-node-1: set the host name of the operating system",
    ),
    (
        |f| machine(f).machine.brief.host_name = "photon".to_owned(),
        Check::HostName,
        BlockInstall,
        "node-1",
        "the host name of its machine vm-node-1 is photon: CPI does not set it up: give the Node the host name of its machine",
    ),
    (
        |f| machine(f).same_host_name = vec!["copy".to_owned()],
        Check::HostNameUnique,
        BlockInstall,
        "node-1",
        "the machine copy has the host name node-1 as well: CPI may take it for the Node's: give each machine a host name",
    ),
    (
        |f| machine(f).machine.has_tools = false,
        Check::Tools,
        BlockInstall,
        "node-1",
        "VMware Tools do not run on its machine vm-node-1: the vCenter knows neither host name nor addresses: install and start open-vm-tools",
    ),
    (
        |f| machine(f).machine.nics = vec![nic("", &["172.17.0.1"], true), nic("n", &[], false)],
        Check::Addresses,
        BlockInstall,
        "node-1",
        "VMware Tools report no address of a network adapter of its machine vm-node-1: connect the adapter",
    ),
    (
        |f| machine(f).machine.nics.push(nic("storage", &["10.1.0.1"], false)),
        Check::NodeNetwork,
        Warning,
        "node-1",
        "its machine vm-node-1 has addresses in VM Network, storage: CPI takes the first it finds: name the subnet or the network",
    ),
    (
        |f| machine(f).machine.has_disk_uuids = false,
        Check::DiskUuid,
        BlockInstall,
        "node-1",
        "its machine vm-node-1 does not show the UUIDs of its disks: CSI cannot mount them: power the machine off, and set the advanced parameter disk.enableUUID",
    ),
    (
        |f| machine(f).machine.hardware = Some(14),
        Check::HardwareVersion,
        BlockInstall,
        "node-1",
        "the virtual hardware of its machine vm-node-1 has version 14, and 15 is the oldest that works: power the machine off, and upgrade",
    ),
    (
        |f| machine(f).host.as_mut().unwrap().version = "6.5.0".to_owned(),
        Check::EsxiVersion,
        BlockInstall,
        "node-1",
        "the ESXi of its host esx-1 has version 6.5.0, and 6.7.3 is the oldest that works: upgrade ESXi",
    ),
    (
        |f| machine(f).host.as_mut().unwrap().version = "6.7.0".to_owned(),
        Check::EsxiVersion,
        BlockUpgrade,
        "node-1",
        "the ESXi of its host esx-1 has version 6.7.0, and newer drivers need 7.0.2: upgrade ESXi",
    ),
    (
        |f| machine(f).machine.tracks_changes = true,
        Check::ChangeTracking,
        Warning,
        "cluster",
        "changed blocks are tracked on 1 machines, such as that of node-1, and not on 1, such as that of node-2: set changeTrackingEnabled",
    ),
    (
        |f| f.nodes[0].volumes = 59,
        Check::VolumeLimit,
        Warning,
        "node-1",
        "59 volumes are attached, and it takes 59: add Nodes, or move Pods",
    ),
    (
        |f| (f.nodes[0].volumes, f.nodes[0].volume_limit) = (20, Some(20)),
        Check::VolumeLimit,
        Warning,
        "node-1",
        "and it takes 20",
    ),
    (
        |f| {
            f.categories = vec!["zone".to_owned(), "rack".to_owned()];
            f.nodes.truncate(1);
        },
        Check::ZoneTags,
        BlockInstall,
        "node-1",
        "esx-1, and what it is in, have no tag of the categories rack: attach a tag of each category to the host",
    ),
];
