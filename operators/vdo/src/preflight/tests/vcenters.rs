//! Faults of vCenters.

use super::super::Severity::{BlockInstall, BlockUpgrade, Warning};
use super::*;

pub(super) static VCENTERS: &[Row] = &[
    (
        |f| f.vcenters[0].known = Err("refused".to_owned()),
        Check::Connection,
        BlockInstall,
        VC,
        "it does not answer: refused: check its address, the network in between, and user name and password of the account",
    ),
    (
        |f| f.vcenters[0].is_insecure = true,
        Check::Certificate,
        Warning,
        VC,
        "its certificate is not checked, so that anyone on the network in between can read the password: name its thumbprint",
    ),
    (
        |f| known(f).clock = SignedDuration::from_secs(61),
        Check::Clock,
        Warning,
        VC,
        "its clock is 61 seconds ahead of the cluster's: let both use the same time servers",
    ),
    (
        |f| known(f).clock = SignedDuration::from_secs(-300),
        Check::Clock,
        Warning,
        VC,
        "its clock is 300 seconds behind",
    ),
    (
        |f| known(f).version = Some(vsphere(6, 7, 2)),
        Check::VcenterVersion,
        BlockInstall,
        VC,
        "its version 6.7.2 is older than 6.7.3, the oldest that drivers work with: upgrade the vCenter",
    ),
    (
        |f| known(f).version = Some(vsphere(6, 7, 3)),
        Check::VcenterVersion,
        BlockInstall,
        VC,
        "CSI 3.7.3 ends on its version 6.7.3, which lacks file services: upgrade the vCenter, or choose an older version",
    ),
    (
        |f| {
            known(f).version = Some(vsphere(6, 7, 3));
            f.csi = Some("3.1.2".parse().unwrap());
        },
        Check::VcenterVersion,
        BlockUpgrade,
        VC,
        "its version 6.7.3 is older than 7.0.2, which newer drivers need",
    ),
    (
        |f| known(f).version = Some(vsphere(7, 0, 1)),
        Check::VcenterVersion,
        BlockUpgrade,
        VC,
        "its version 7.0.1 is older",
    ),
    (
        |f| known(f).missing_datacenters = vec!["dc0".to_owned()],
        Check::Datacenters,
        BlockInstall,
        VC,
        "the account sees no datacenter \"dc0\": correct its name, which is case-sensitive, or grant the account the role Read-only",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Vcenter, "/")],
        Check::AccountPermissions,
        BlockInstall,
        "vc.example.com /",
        "the account lacks A.B, C.D, without which searches find nothing and report no error: have a vCenter administrator grant",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Datacenter, "DC0")],
        Check::DatacenterPermissions,
        BlockInstall,
        "vc.example.com DC0",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Folder, "DC0/vm")],
        Check::FolderPermissions,
        BlockInstall,
        "vc.example.com DC0/vm",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Cluster, "C0")],
        Check::ComputeClusterPermissions,
        Warning,
        "vc.example.com C0",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::ResourcePool, "P")],
        Check::ResourcePoolPermissions,
        Warning,
        "vc.example.com P",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Host, "esx-1")],
        Check::HostPermissions,
        BlockInstall,
        "vc.example.com esx-1",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Datastore, "one")],
        Check::DatastorePermissions,
        BlockInstall,
        "vc.example.com one",
        "lacks A.B",
    ),
    (
        |f| known(f).lacking = vec![lacking(Kind::Machine, "vm-1")],
        Check::MachinePermissions,
        BlockInstall,
        "vc.example.com vm-1",
        "lacks A.B",
    ),
    (
        |f| {
            f.vcenters.push(vcenter("vc2"));
            f.categories = vec!["region".to_owned(), "zone".to_owned()];
            machine(f).server = "vc2".to_owned();
        },
        Check::ZonesDistinct,
        BlockInstall,
        VC,
        "the zone r/a is in vc2 as well, which leaves claims pending: give the hosts of each vCenter tags",
    ),
];
