//! What a check of a cluster asks of its vCenter, and with how many calls.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use infra_clients::Secret;
use infra_clients::vsphere::checks::{About, Checks, Host, Tag, shared};
use infra_clients::vsphere::{Config, Kind, MoRef, Session};
use testbed::{Account, Fault, Guest, NewVm, Vcsim, VcsimBuilder};

use crate::rig::session_config;

const CLUSTER: &str = "/DC0/host/DC0_C0";
const HOST: &str = "/DC0/host/DC0_C0/DC0_C0_H0";
const UUID: &str = "4230c6a1-0000-4000-8000-00000000000a";

async fn start(builder: VcsimBuilder) -> Result<(Vcsim, Checks)> {
    let sim = builder.start().await?;
    let checks = Checks::new(Session::start(session_config(&sim))?);
    Ok((sim, checks))
}

async fn calls(sim: &Vcsim, method: &str) -> Result<u64> {
    Ok(sim.calls().await?.get(method).copied().unwrap_or_default())
}

/// Returns all hosts of the datacenter, by the machines that run on them.
async fn hosts(checks: &Checks) -> Result<Vec<Host>> {
    let mut all = Vec::new();
    for datacenter in checks.datacenters().await? {
        let morefs: Vec<_> = checks.census(&datacenter).await?.into_iter().map(|brief| brief.moref).collect();
        all.extend(checks.machines(&morefs).await?.into_iter().filter_map(|machine| machine.host));
    }
    all.sort();
    all.dedup();
    Ok(checks.hosts(&all).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn release_and_clock_are_those_of_the_vcenter() -> Result<()> {
    let day = Duration::from_hours(24);
    let builder = Vcsim::builder().release("8.0.3", "8.0.3.0", "24022515").clock_offset(day, false);
    let (sim, checks) = start(builder).await?;
    let about = |version: &str, api: &str, build: &str| About {
        version: version.to_owned(),
        api_version: api.to_owned(),
        build: build.to_owned(),
    };
    assert_eq!(checks.about().await?, about("8.0.3", "8.0.3.0", "24022515"));
    sim.set_release("9.0.0", "9.0.0.0", "24755230").await?;
    assert_eq!(checks.about().await?, about("9.0.0", "9.0.0.0", "24755230"));
    let clock = checks.clock().await?;
    let off = clock.as_secs() + 24 * 60 * 60;
    assert!(off.abs() < 60, "{clock}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_tells_what_an_account_lacks_on_many_objects() -> Result<()> {
    let (sim, _) = start(Vcsim::builder()).await?;
    let machines: Vec<_> = (0..50).map(|at| NewVm::new(&format!("node-{at}"))).collect();
    sim.add_vms("/DC0/vm/vm-operator", &machines).await?;
    let account = Account::new("csi@vsphere.local", "secret")
        .lacks("Cns.Searchable")
        .hidden("/DC0/vm/vm-operator/node-7");
    sim.set_account(&account).await?;
    let config = Config {
        user: "csi@vsphere.local".to_owned(),
        password: Secret::new("secret"),
        ..session_config(&sim)
    };
    let checks = Checks::new(Session::start(config)?);
    let privileges = ["Cns.Searchable", "StorageProfile.View"];
    let root = checks.root().await?;
    let missing = checks.missing_privileges(std::slice::from_ref(&root), &privileges).await?;
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), [(root.clone(), vec!["Cns.Searchable".to_owned()])]);

    let all = sim.vms_in("/DC0/vm/vm-operator").await?;
    let morefs: Vec<_> = all.iter().map(|vm| MoRef::new("VirtualMachine", &vm.moref)).collect();
    sim.reset_calls().await?;
    let missing = checks.missing_privileges(&morefs, &["VirtualMachine.Config.AddExistingDisk"]).await?;
    let hidden = all.iter().find(|vm| vm.name == "node-7").context("no node-7")?;
    assert_eq!(missing.keys().map(MoRef::value).collect::<Vec<_>>(), [hidden.moref.as_str()]);
    assert_eq!(
        sim.calls().await?.into_iter().collect::<Vec<_>>(),
        [("HasUserPrivilegeOnEntities".to_owned(), 1)]
    );
    assert!(checks.missing_privileges(&[], &privileges).await?.is_empty());
    sim.fault(Fault::soap("HasUserPrivilegeOnEntities", "ManagedObjectNotFound")).await?;
    let error = checks.missing_privileges(&[root], &privileges).await.unwrap_err();
    assert_eq!((error.kind(), error.method()), (Kind::NotFound, Some("HasUserPrivilegeOnEntities")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_say_what_a_node_needs() -> Result<()> {
    let (sim, checks) = start(Vcsim::builder().datacenters(2)).await?;
    let uuids: Vec<_> = (0..3).map(|at| NewVm::new(&format!("node-{at}"))).collect();
    sim.add_vms("/DC0/vm/vm-operator", &uuids).await?;
    let path = "/DC0/vm/vm-operator/node-0";
    let guest = Guest::named("node-0.example.com").uuid(UUID).addresses_in("a/b", &["10.0.0.1", "fd00::1"]);
    sim.set_guest(path, &guest.container_addresses(&["172.17.0.1"])).await?;
    sim.set_hardware(path, "vmx-19", true).await?;
    sim.set_extra_config(path, "disk.enableUUID", Some("TRUE")).await?;
    sim.set_guest(
        "/DC0/vm/vm-operator/node-1",
        &Guest::named("node-1").addresses(&["10.0.0.2"]).tools_stopped(),
    )
    .await?;

    let datacenters = checks.datacenters().await?;
    let paths: Vec<_> = datacenters.iter().map(|of| (of.name.as_str(), of.path.as_str())).collect();
    assert_eq!(paths, [("DC0", "DC0"), ("DC1", "DC1")]);
    sim.reset_calls().await?;
    let census = checks.census(&datacenters[0]).await?;
    assert_eq!(calls(&sim, "RetrievePropertiesEx").await?, 1);
    assert_eq!(census.len(), 3, "without the template: {census:?}");
    let found = census.iter().find(|brief| brief.uuid == UUID).context("no machine with the UUID")?;
    assert_eq!((found.name.as_str(), found.host_name.as_str()), ("node-0", "node-0.example.com"));
    assert!(checks.census(&datacenters[1]).await?.is_empty());

    let morefs: Vec<_> = census.iter().map(|brief| brief.moref.clone()).collect();
    sim.reset_calls().await?;
    let machines = checks.machines(&morefs).await?;
    assert_eq!(calls(&sim, "RetrievePropertiesEx").await?, 1);
    let machine =
        |name: &str| machines.iter().find(|machine| machine.brief.name == name).context("no such machine");
    let good = machine("node-0")?;
    assert_eq!(
        (good.hardware, good.has_tools, good.has_disk_uuids, good.tracks_changes),
        (Some(19), true, true, true)
    );
    assert!(good.host.is_some() && good.pool.is_some());
    let nics: Vec<_> =
        good.nics.iter().map(|nic| (nic.network.as_str(), nic.addresses.len(), nic.is_virtual)).collect();
    assert_eq!(nics, [("a/b", 2, false), ("", 1, true)]);
    let stopped = machine("node-1")?;
    assert_eq!((stopped.has_tools, stopped.nics.len()), (false, 0));
    assert!(!stopped.has_disk_uuids && !stopped.tracks_changes);
    // One that is gone is left out.
    sim.unregister_vm("/DC0/vm/vm-operator/node-2").await?;
    assert_eq!(checks.machines(&morefs).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_share_datastores() -> Result<()> {
    let (sim, checks) = start(Vcsim::builder().hosts(2).datastores(3)).await?;
    let machines: Vec<_> = (0..20).map(|at| NewVm::new(&format!("node-{at}"))).collect();
    sim.add_vms("/DC0/vm/vm-operator", &machines).await?;
    sim.set_host_release(HOST, "6.7.0", "14320388").await?;
    sim.unmount_datastore("/DC0/datastore/LocalDS_1", HOST).await?;
    sim.balance_datastore("/DC0/datastore/LocalDS_2", "pod", true).await?;
    let found = hosts(&checks).await?;
    assert_eq!(found.len(), 2, "{found:?}");
    let old = found.iter().find(|host| host.name == "DC0_C0_H0").context("no such host")?;
    assert_eq!((old.version.as_str(), old.build.as_str()), ("6.7.0", "14320388"));
    let kinds: Vec<_> = old.ancestors.iter().map(MoRef::kind).collect();
    assert_eq!(kinds, ["ClusterComputeResource", "Folder", "Datacenter", "Folder"]);
    sim.reset_calls().await?;
    let stores = checks.datastores(&shared(&found)).await?;
    assert_eq!(calls(&sim, "RetrievePropertiesEx").await?, 2, "datastores, and their storage clusters");
    let names: Vec<_> = stores.iter().map(|store| (store.name.as_str(), store.moved_by.as_deref())).collect();
    assert_eq!(names, [("LocalDS_0", None), ("LocalDS_2", Some("pod"))]);
    assert!(stores.iter().all(|store| store.is_accessible && !store.url.is_empty()), "{stores:?}");
    assert!(checks.hosts(&[]).await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_and_policies_are_read_over_rest() -> Result<()> {
    let (mut sim, checks) = start(Vcsim::builder()).await?;
    sim.add_vms("/DC0/vm/vm-operator", &[NewVm::new("node")]).await?;
    for (category, tag, path) in [("zone", "a", HOST), ("zone", "b", CLUSTER), ("region", "r", CLUSTER)] {
        sim.attach_tag(category, tag, path).await?;
    }
    let host = hosts(&checks).await?.pop().context("no host")?;
    let services =
        checks.services(&[host.moref.clone(), host.ancestors[0].clone(), checks.root().await?]).await?;
    let tag = |category: &str, name: &str| Tag { category: category.to_owned(), name: name.to_owned() };
    assert_eq!(services.tags.len(), 2);
    assert_eq!(services.tags[&host.moref], BTreeSet::from([tag("zone", "a")]));
    assert_eq!(services.tags[&host.ancestors[0]], BTreeSet::from([tag("region", "r"), tag("zone", "b")]));
    assert!(services.policies.contains("vSAN Default Storage Policy"), "{services:?}");
    assert!(checks.services(&[]).await?.tags.is_empty());

    // A login that REST refuses counts for the session as well.
    sim.set_password("other").await?;
    let failed = sim.sessions().await?.failed_logins;
    for _ in 0..3 {
        let error = checks.services(&[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    }
    sim.expire_sessions().await?;
    assert_eq!(checks.clock().await.unwrap_err().kind(), Kind::Unauthorized);
    assert_eq!(
        sim.sessions().await?.failed_logins,
        failed,
        "not sent over SOAP after it was refused over REST"
    );
    Ok(())
}
