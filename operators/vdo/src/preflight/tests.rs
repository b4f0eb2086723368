mod cluster;
mod nodes;
mod vcenters;

use std::collections::BTreeSet;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::checks::{Brief, Datastore, Host, Machine, Nic, Tag};
use jiff::SignedDuration;

use super::*;
use crate::version::Vsphere;

const UUID: &str = "4230c6a1-0000-4000-8000-00000000000a";
const VC: &str = "vc.example.com";

fn vsphere(major: u64, minor: u64, update: u64) -> Vsphere {
    Vsphere { major, minor, update }
}

fn tag(category: &str, name: &str) -> Tag {
    Tag { category: category.to_owned(), name: name.to_owned() }
}

fn nic(network: &str, addresses: &[&str], is_virtual: bool) -> Nic {
    let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
    Nic { network: network.to_owned(), addresses, is_virtual }
}

fn store(name: &str) -> Datastore {
    Datastore {
        moref: MoRef::new("Datastore", name),
        name: name.to_owned(),
        url: format!("ds:///vmfs/volumes/{name}/"),
        is_accessible: true,
        moved_by: None,
    }
}

fn node(name: &str) -> NodeFacts {
    let machine = Machine {
        brief: Brief {
            moref: MoRef::new("VirtualMachine", name),
            name: format!("vm-{name}"),
            uuid: UUID.to_owned(),
            host_name: name.to_owned(),
        },
        has_tools: true,
        nics: vec![nic("VM Network", &["10.0.0.1"], false), nic("", &["172.17.0.1"], true)],
        hardware: Some(19),
        has_disk_uuids: true,
        tracks_changes: false,
        host: None,
        pool: None,
    };
    let host = Host {
        moref: MoRef::new("HostSystem", "host-1"),
        name: "esx-1".to_owned(),
        version: "8.0.3".to_owned(),
        build: String::new(),
        datastores: Vec::new(),
        ancestors: Vec::new(),
    };
    NodeFacts {
        name: name.to_owned(),
        provider_id: Some(format!("vsphere://{}", UUID.to_uppercase())),
        is_control_plane: true,
        machine: Seen::Yes(Box::new(MachineFacts {
            server: VC.to_owned(),
            datacenter: "DC0".to_owned(),
            machine,
            host: Some(host),
            same_host_name: Vec::new(),
            tags: Some(BTreeSet::from([tag("zone", "a"), tag("region", "r")])),
        })),
        ..NodeFacts::default()
    }
}

fn vcenter(server: &str) -> VcenterFacts {
    let known = Known {
        version: Some(vsphere(8, 0, 3)),
        clock: SignedDuration::from_secs(1),
        datacenters: vec!["DC0".to_owned()],
        shared: vec![store("one")],
        policies: Some(BTreeSet::from(["gold".to_owned()])),
        ..Known::default()
    };
    VcenterFacts { server: server.to_owned(), is_insecure: false, known: Ok(known) }
}

/// A cluster without a fault.
fn good() -> Facts {
    Facts {
        vcenters: vec![vcenter(VC)],
        nodes: vec![node("node-1"), node("node-2")],
        storage_classes: vec![StorageClassFacts {
            name: "fast".to_owned(),
            policy: Some("gold".to_owned()),
            datastore_url: Some("ds:///vmfs/volumes/one".to_owned()),
        }],
        csi: Some("3.7.3".parse().unwrap()),
        has_cpi: true,
        has_snapshot_kinds: true,
        openshift: Some(OpenShift { manages_csi: false, admits_pods: true }),
        ..Facts::default()
    }
}

fn known(facts: &mut Facts) -> &mut Known {
    facts.vcenters[0].known.as_mut().unwrap()
}

fn machine(facts: &mut Facts) -> &mut MachineFacts {
    match &mut facts.nodes[0].machine {
        Seen::Yes(machine) => machine,
        Seen::Unknown | Seen::No => panic!("no machine"),
    }
}

fn lacking(kind: Kind, object: &str) -> Lacking {
    Lacking { kind, object: object.to_owned(), privileges: vec!["A.B".to_owned(), "C.D".to_owned()] }
}

/// A change of the good cluster, and what is found: check, severity, object, and the message with its remedy.
type Row = (fn(&mut Facts), Check, Severity, &'static str, &'static str);

#[test]
fn each_fault_is_found_and_nothing_else() {
    assert_eq!(run(&good(), &BTreeSet::new()), []);
    let rows = [vcenters::VCENTERS, nodes::NODES, cluster::CLUSTER].concat();
    let mut seen = BTreeSet::new();
    for (change, check, severity, object, text) in rows {
        let mut facts = good();
        change(&mut facts);
        let found = run(&facts, &BTreeSet::new());
        let [finding] = found.as_slice() else { panic!("{check}: {found:#?}") };
        assert_eq!((finding.check, finding.severity, finding.object.as_str()), (check, severity, object));
        let line = finding.to_string();
        assert!(line.starts_with(&format!("{check}: {object}: ")) && line.contains(text), "{line}");
        assert!(
            !line.ends_with('.') && finding.docs().ends_with(&format!("#{}", check.name().to_lowercase())),
            "{line}"
        );
        assert_eq!(run(&facts, &BTreeSet::from([check])), [], "it can be switched off");
        seen.insert(check);
    }
    let all: BTreeSet<_> = Check::ALL.iter().copied().collect();
    assert_eq!(seen, all);
}

#[test]
fn what_is_allowed_is_no_finding() {
    let allowed: Vec<fn(&mut Facts)> = vec![
        |f| *f = Facts { has_snapshot_kinds: true, ..Facts::default() },
        |f| f.openshift = None,
        |f| known(f).clock = SignedDuration::from_secs(-60),
        |f| known(f).version = None,
        |f| known(f).version = Some(vsphere(7, 0, 2)),
        |f| known(f).policies = None,
        |f| known(f).datacenters.clear(),
        |f| f.nodes[0].machine = Seen::Unknown,
        |f| (f.nodes[0].provider_id, f.has_cpi) = (None, false),
        |f| machine(f).machine.brief.host_name = "NODE-1".to_owned(),
        |f| machine(f).machine.hardware = None,
        |f| machine(f).host = None,
        |f| machine(f).host.as_mut().unwrap().version = String::new(),
        |f| machine(f).machine.nics.push(nic("VM Network", &["10.1.0.1"], false)),
        |f| {
            machine(f).machine.nics.push(nic("storage", &["10.1.0.1"], false));
            f.chooses_addresses = true;
        },
        |f| f.nodes.iter_mut().for_each(|node| node.volumes = 58),
        |f| f.nodes[0].taints = vec!["team=a".to_owned()],
        |f| {
            f.categories = vec!["zone".to_owned(), "region".to_owned()];
            known(f).shared.clear();
        },
        |f| {
            f.categories = vec!["rack".to_owned()];
            f.nodes.truncate(1);
            machine(f).tags = None;
        },
        |f| {
            f.vcenters.push(vcenter("vc2"));
            f.features.insert("multi-vcenter-csi-topology".to_owned(), false);
        },
    ];
    for (row, change) in allowed.into_iter().enumerate() {
        let mut facts = good();
        change(&mut facts);
        assert_eq!(run(&facts, &BTreeSet::new()), [], "row {row}");
    }
}

#[test]
fn the_worst_comes_first_and_counts() {
    let mut facts = good();
    facts.has_snapshot_kinds = false;
    known(&mut facts).version = Some(vsphere(7, 0, 0));
    machine(&mut facts).machine.has_disk_uuids = false;
    facts.nodes[1].machine = Seen::No;
    let found = run(&facts, &BTreeSet::new());
    let checks: Vec<_> = found.iter().map(|finding| finding.check).collect();
    assert_eq!(checks, [Check::MachineVisible, Check::DiskUuid, Check::VcenterVersion, Check::SnapshotKinds]);
    let counted = counts(&found);
    assert_eq!((counted.len(), counted[&(Check::DiskUuid, Severity::BlockInstall)]), (4, 1));
    let words: BTreeSet<_> = found.iter().map(|finding| finding.severity.word()).collect();
    assert_eq!(words.len(), 4);
}

#[test]
fn a_verdict_depends_on_what_runs() {
    let finding = |check, severity| Finding::new(check, severity, "x", "m", "r");
    let lost = finding(Check::Connection, Severity::BlockInstall);
    let warning = finding(Check::Clock, Severity::Warning);
    let upgrade = finding(Check::EsxiVersion, Severity::BlockUpgrade);
    let install = finding(Check::DiskUuid, Severity::BlockInstall);
    let degraded = finding(Check::MachineVisible, Severity::Degraded);
    // Findings, whether a driver is installed; may it be installed, may its version change, does a person have to act.
    let rows = [
        (vec![], false, (true, Some(true), false)),
        (vec![&warning], true, (true, Some(true), false)),
        (vec![&upgrade], true, (true, Some(false), false)),
        (vec![&install], false, (false, Some(false), true)),
        (vec![&install, &upgrade], true, (false, Some(false), false)),
        (vec![&degraded], true, (false, Some(false), true)),
        (vec![&lost], true, (false, None, false)),
        (vec![&lost, &warning], true, (false, None, false)),
        (vec![&lost, &upgrade], true, (false, Some(false), false)),
        (vec![&lost], false, (false, None, true)),
    ];
    for (findings, is_installed, wanted) in rows {
        let findings: Vec<_> = findings.into_iter().cloned().collect();
        let verdict = Verdict::of(&findings, is_installed);
        let found = (verdict.may_install, verdict.may_upgrade, verdict.is_degraded);
        assert_eq!(found, wanted, "{findings:?} {is_installed}");
        assert_eq!(verdict.worst, findings.iter().map(|finding| finding.severity).max());
    }
}

#[test]
fn checks_have_names_and_are_explained() {
    let docs = include_str!("../../../../docs/vdo/checks.md");
    for check in Check::ALL {
        assert_eq!(format!(" {}", check.name().to_lowercase()).parse(), Ok(*check));
        assert!(docs.contains(&format!("\n### {check}\n")), "{check}");
    }
    let headings = docs.lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(headings, Check::ALL.len());
    let error = "DiskUid".parse::<Check>().unwrap_err();
    assert!(error.starts_with("unknown check \"DiskUid\"; use one of Connection, Certificate, "), "{error}");
}

#[test]
fn privileges_are_those_of_the_kind_of_object() {
    for kind in Kind::ALL {
        let needed = needed(kind, false);
        assert!(
            needed.iter().all(|privilege| privilege.contains('.')) && needed[0].starts_with("System."),
            "{kind:?}"
        );
    }
    assert!(needed(Kind::Cluster, true).contains(&"Host.Config.Storage"));
    let checks: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.check().0).collect();
    assert_eq!(checks.len(), Kind::ALL.len());
}
