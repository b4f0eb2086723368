//! What is gathered of a vCenter, and what the checks find in it, with a simulated one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use infra_clients::Secret;
use infra_clients::vsphere::checks::Checks;
use infra_clients::vsphere::{Config, Session, Trust};
use testbed::{Account, Guest, NewVm, Outage, Vcsim};
use vdo::preflight::{Check, Facts, Finding, NodeFacts, Search, Verdict, assign, gather, run};

const FOLDER: &str = "/DC0/vm/vm-operator";
const HOST: &str = "/DC0/host/DC0_C0/DC0_C0_H0";

struct Rig {
    sim: Vcsim,
    checks: Checks,
    uuids: BTreeMap<String, String>,
}

impl Rig {
    /// Starts a vCenter with the machines of two Nodes, and nothing wrong with them.
    async fn start() -> Self {
        let builder =
            Vcsim::builder().datacenters(2).hosts(2).datastores(2).release("8.0.3", "8.0.3.0", "24022515");
        let sim = builder.start().await.unwrap();
        let names = ["node-0", "node-1"];
        sim.add_vms(FOLDER, &names.map(NewVm::new)).await.unwrap();
        let mut uuids = BTreeMap::new();
        for (at, name) in names.into_iter().enumerate() {
            let (path, uuid) =
                (format!("{FOLDER}/{name}"), format!("4230c6a1-12ab-4c8d-9000-00000000000{at}"));
            let address = format!("10.0.0.{at}");
            sim.set_guest(&path, &Guest::named(name).uuid(&uuid).addresses(&[&address])).await.unwrap();
            sim.set_hardware(&path, "vmx-19", false).await.unwrap();
            sim.set_extra_config(&path, "disk.enableUUID", Some("TRUE")).await.unwrap();
            uuids.insert(name.to_owned(), uuid);
        }
        let account = Account::new("csi@vsphere.local", "secret");
        sim.set_account(&account).await.unwrap();
        let checks = Checks::new(Self::session(&sim));
        Self { sim, checks, uuids }
    }

    fn session(sim: &Vcsim) -> Session {
        let mut config = Config::new(sim.host(), "csi@vsphere.local", Secret::new("secret"));
        config.trust = Trust::CaBundle(sim.ca_pem().into());
        Session::start(config).unwrap()
    }

    async fn facts(&self, datacenters: &[&str], categories: &[&str]) -> Facts {
        let datacenters: Vec<String> = datacenters.iter().map(|&name| name.to_owned()).collect();
        let search = Search {
            server: "vc",
            datacenters: &datacenters,
            uuids: &self.uuids,
            is_insecure: false,
            has_file_volumes: false,
        };
        let gathered = gather(&self.checks, &search).await;
        let mut nodes: Vec<_> = self
            .uuids
            .keys()
            .map(|name| NodeFacts {
                name: name.clone(),
                provider_id: Some(format!("vsphere://{}", self.uuids[name])),
                is_control_plane: true,
                ..NodeFacts::default()
            })
            .collect();
        let gathered = [gathered];
        assign(&mut nodes, &gathered);
        let [gathered] = gathered;
        Facts {
            vcenters: vec![gathered.vcenter],
            nodes,
            has_snapshot_kinds: true,
            categories: categories.iter().map(|&name| name.to_owned()).collect(),
            ..Facts::default()
        }
    }

    async fn found(&self, datacenters: &[&str], categories: &[&str]) -> Vec<Finding> {
        run(&self.facts(datacenters, categories).await, &BTreeSet::new())
    }
}

fn checks(findings: &[Finding]) -> Vec<(Check, &str)> {
    findings.iter().map(|finding| (finding.check, finding.object.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vcenter_without_a_fault_is_read_in_few_calls() {
    let mut rig = Rig::start().await;
    rig.sim.reset_calls().await.unwrap();
    assert_eq!(rig.found(&["DC0"], &[]).await, []);
    let calls = rig.sim.calls().await.unwrap();
    assert_eq!(calls["HasUserPrivilegeOnEntities"], 8, "one for each kind of object");
    assert!(calls["RetrievePropertiesEx"] <= 7, "{calls:?}");
    // Some systems swap the bytes of the UUID.
    rig.uuids.insert("node-0".to_owned(), "a1c63042-ab12-8d4c-9000-000000000000".to_owned());
    let facts = rig.facts(&["/DC0"], &[]).await;
    assert!(
        matches!(&facts.nodes[0].machine, vdo::preflight::Seen::Yes(of) if of.machine.brief.name == "node-0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_machines_and_hosts_are_found() {
    let rig = Rig::start().await;
    let (zero, one) = (format!("{FOLDER}/node-0"), format!("{FOLDER}/node-1"));
    rig.sim.set_guest(&zero, &Guest::named("photon").addresses(&["10.0.0.1"])).await.unwrap();
    rig.sim.set_guest("/DC0/vm/photon", &Guest::named("photon")).await.unwrap();
    rig.sim.set_extra_config(&zero, "disk.enableUUID", None).await.unwrap();
    rig.sim.set_hardware(&one, "vmx-14", false).await.unwrap();
    rig.sim.set_guest(&one, &Guest::named("node-1").tools_stopped()).await.unwrap();
    let found = rig.found(&["DC0"], &[]).await;
    let wanted = [
        (Check::HostName, "node-0"),
        (Check::Tools, "node-1"),
        (Check::DiskUuid, "node-0"),
        (Check::HardwareVersion, "node-1"),
    ];
    assert_eq!(checks(&found), wanted, "a template is no machine: {found:#?}");

    rig.sim.unregister_vm(&one).await.unwrap();
    rig.sim.add_vms("/DC1/vm", &[NewVm::new("copy")]).await.unwrap();
    rig.sim.set_guest("/DC1/vm/copy", &Guest::named("photon")).await.unwrap();
    for host in ["DC0_C0_H0", "DC0_C0_H1"] {
        rig.sim.set_host_release(&format!("/DC0/host/DC0_C0/{host}"), "6.5.0", "1").await.unwrap();
        for store in ["LocalDS_0", "LocalDS_1"] {
            rig.sim
                .unmount_datastore(&format!("/DC0/datastore/{store}"), &format!("/DC0/host/DC0_C0/{host}"))
                .await
                .unwrap();
        }
    }
    rig.sim.set_release("6.7.0", "6.7.2", "13010631").await.unwrap();
    let found = rig.found(&["DC1", "dc0"], &[]).await;
    let wanted = [
        (Check::MachineVisible, "node-1"),
        (Check::VcenterVersion, "vc"),
        (Check::Datacenters, "vc"),
        (Check::DatacenterConsistency, "node-0"),
        (Check::HostName, "node-0"),
        (Check::HostNameUnique, "node-0"),
        (Check::DiskUuid, "node-0"),
        (Check::EsxiVersion, "node-0"),
        (Check::SharedDatastore, "vc"),
    ];
    assert_eq!(checks(&found), wanted, "{found:#?}");
    assert!(Verdict::of(&found, true).is_degraded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_account_lacks_is_found_and_named() {
    let rig = Rig::start().await;
    let account = Account::new("csi@vsphere.local", "secret").hidden(&format!("{FOLDER}/node-1"));
    let account = account
        .lacks("Cns.Searchable")
        .lacks("Datastore.FileManagement")
        .lacks("VirtualMachine.Config.AddExistingDisk");
    rig.sim.set_account(&account).await.unwrap();
    let found = rig.found(&["DC0"], &[]).await;
    let wanted = [
        (Check::MachineVisible, "node-1"),
        (Check::AccountPermissions, "vc root folder"),
        (Check::DatastorePermissions, "vc LocalDS_0"),
        (Check::DatastorePermissions, "vc LocalDS_1"),
        (Check::MachinePermissions, "vc node-0"),
    ];
    assert_eq!(checks(&found), wanted, "{found:#?}");
    assert!(found[1].message.contains("lacks Cns.Searchable,"), "{}", found[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_hosts_and_clusters_are_zones() {
    let rig = Rig::start().await;
    rig.sim.attach_tag("region", "r", "/DC0").await.unwrap();
    rig.sim.attach_tag("zone", "z", "/DC0/host/DC0_C0").await.unwrap();
    rig.sim.attach_tag("zone", "own", HOST).await.unwrap();
    assert_eq!(rig.found(&["DC0"], &["region", "zone"]).await, []);
    let found = rig.found(&["DC0"], &["region", "rack"]).await;
    assert_eq!(checks(&found), [(Check::ZoneTags, "node-0"), (Check::ZoneTags, "node-1")]);

    rig.sim.outage(Outage::Refuse).await.unwrap();
    let facts = rig.facts(&["DC0"], &[]).await;
    let found = run(&facts, &BTreeSet::new());
    assert_eq!(checks(&found), [(Check::Connection, "vc")], "what is not known is no finding");
    assert_eq!(Verdict::of(&found, true).may_upgrade, None);
    rig.sim.outage(Outage::None).await.unwrap();
    assert_eq!(rig.found(&["DC0"], &[]).await, []);
}
