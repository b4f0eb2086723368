//! Port groups of an AKODeploymentConfig, with a simulated vCenter that a cloud of the simulated AVI controller reads.

use anyhow::Context;
use avi_simulator::store::Snapshot;
use e2e::{AkoRig, OperatorProcess, PATIENCE, Rig, VcenterCloud};
use serde_json::{Value, json};
use testbed::{Fault, SimPortGroup, eventually};

use crate::PLACES;

const VM: &str = "/DC0/vm/photon";

struct Site {
    operator: OperatorProcess,
    cloud: VcenterCloud,
    rig: AkoRig,
    /// AVI without the network.
    before: Snapshot,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Site {
    async fn start() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        let cloud = rig.vcenter_cloud().await.unwrap();
        let before = rig.simulator.control().snapshot();
        let operator = rig.operator().await.unwrap();
        Self { operator, cloud, rig, before, _place: place }
    }

    /// Applies the AKODeploymentConfig with these port groups and this data network.
    async fn apply(&self, groups: &Value, network: &str) {
        self.rig.site().apply(None, &self.rig.vcenter_config(groups, network)).await.unwrap();
    }

    async fn waits(&self, reason: &str) -> String {
        let status = self.rig.site().reason("adc", reason).await;
        let status = status.with_context(|| self.operator.process.log()).unwrap();
        status["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Lets AVI find what is in the vCenter now, and waits until the AKODeploymentConfig is ready.
    async fn ready(&self) {
        self.discover().await;
        let ready = self.rig.site().ready_within("adc", PATIENCE, |_| true).await;
        ready.with_context(|| self.operator.process.log()).unwrap();
    }

    async fn discover(&self) {
        self.cloud.discover().await.unwrap();
    }

    async fn group(&self, name: &str) -> Option<SimPortGroup> {
        self.rig.vcenter.port_groups().await.unwrap().into_iter().find(|group| group.name == name)
    }

    /// Waits until the port group is as the test says.
    async fn shows(&self, name: &str, is: impl Fn(&SimPortGroup) -> bool) -> SimPortGroup {
        eventually(&format!("the port group {name} is as it is to be"), PATIENCE, async || {
            let group = self.group(name).await;
            Ok(group.filter(|group| is(group)))
        })
        .await
        .with_context(|| self.operator.process.log())
        .unwrap()
    }

    /// Returns the record of the AKODeploymentConfig, and its UID.
    async fn record(&self) -> (Value, String) {
        let get = ["get", "adc", "adc", "-o", "json"];
        let object: Value = serde_json::from_str(&self.rig.management.kubectl(&get).await.unwrap()).unwrap();
        (object["status"]["portGroups"].clone(), object["metadata"]["uid"].as_str().unwrap().to_owned())
    }

    /// Returns the ranges that AVI has in the network of a port group.
    fn ranges(&self, group: &SimPortGroup) -> usize {
        let uuid = format!("{}-{}", group.moref, VcenterCloud::UUID);
        self.rig.simulator.control().store(|store| {
            let network = store.objects("network").find(|network| network["uuid"] == uuid.as_str());
            let subnets = network.and_then(|network| network["configured_subnets"].as_array().cloned());
            let ranges = |subnet: &Value| subnet["static_ip_ranges"].as_array().map_or(0, Vec::len);
            subnets.iter().flatten().map(ranges).sum()
        })
    }
}

#[tokio::test]
async fn a_port_group_is_made_found_by_avi_used_and_removed() {
    let site = Site::start().await;
    // Whether it was made is not known: it is looked for before it is made again.
    site.rig.vcenter.fault(Fault::cut_after("AddDVPortgroup_Task")).await.unwrap();
    let group = |more: Value| {
        let mut group = json!({ "name": "own", "switch": "DVS0", "description": "Virtual IPs" });
        group.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([group])
    };
    site.apply(&group(json!({ "vlan": 7 })), "own").await;
    let message = site.waits("PortGroupNotDiscovered").await;
    assert!(message.contains("own") && message.contains("some minutes"), "{message}");
    let (record, uid) = site.record().await;
    let made = site.group("own").await.unwrap();
    assert_eq!((made.vlan, made.ports, made.auto_expand, &*made.binding), (7, 8, true, "earlyBinding"));
    let mark = format!("[ako-operator.network.tkg.tanzu.vmware.com/adc={uid}]");
    assert_eq!(made.description, format!("Virtual IPs {mark}"));
    assert_eq!(record[0]["reference"], format!("DistributedVirtualPortgroup:{}", made.moref));
    assert_eq!(site.rig.vcenter.port_groups().await.unwrap().len(), 2, "it was made once");
    site.ready().await;
    assert_eq!(site.ranges(&made), 1);

    site.apply(&group(json!({ "trunk": [{ "start": 100, "end": 199 }], "ports": 16 })), "own").await;
    let changed = site.shows("own", |group| group.trunk == ["100-199"]).await;
    assert_eq!((changed.moref, changed.ports), (made.moref.clone(), 16));
    site.ready().await;

    // What others have made is reported and stays.
    let theirs = site.group("DC0_DVPG0").await.unwrap();
    let mut both = group(json!({ "trunk": [{ "start": 100, "end": 199 }], "ports": 16 }));
    both.as_array_mut().unwrap().push(json!({ "name": "DC0_DVPG0", "switch": "DVS0", "vlan": 9 }));
    site.apply(&both, "own").await;
    let message = site.waits("PortGroupOfOthers").await;
    assert!(message.contains("DC0_DVPG0"), "{message}");
    assert_eq!(site.group("DC0_DVPG0").await, Some(theirs.clone()));

    site.rig.vcenter.attach(&made.path, VM, true).await.unwrap();
    site.rig.site().delete("adc").await.unwrap();
    let message = site.waits("PortGroupInUse").await;
    assert!(message.contains("photon"), "{message}");
    assert_eq!(site.ranges(&made), 0, "AVI has forgotten it before");
    site.rig.vcenter.attach(&made.path, VM, false).await.unwrap();
    site.rig.site().gone("adc").await.unwrap();
    assert_eq!(site.rig.vcenter.port_groups().await.unwrap(), [theirs]);
    site.discover().await;
    let left = site.rig.simulator.control().diff(&site.before);
    assert!(left.is_empty(), "{left:?}");

    let calls = site.rig.vcenter.calls().await.unwrap();
    assert!(!calls.contains_key("CreateFolder"), "{calls:?}");
    let log = site.operator.process.log();
    assert!(!log.contains("panicked") && !log.contains("InternalError"), "{log}");
    assert!(!log.contains(site.rig.vcenter.password()), "the password is in the log");
    eventually("the session has ended", PATIENCE, async || {
        let sessions = site.rig.vcenter.sessions().await?;
        Ok((sessions.now == 0).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_port_group_that_is_not_listed_any_more_is_removed_and_one_without_mark_stays() {
    let mut site = Site::start().await;
    let list = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({ "name": name, "switch": "DC0/network/DVS0" })).collect()
    };
    site.apply(&list(&["a", "b", "c"]), "a").await;
    site.waits("PortGroupNotDiscovered").await;
    site.ready().await;
    let a = site.group("a").await.unwrap();

    // A name is put back; a person who removes the mark takes it over.
    site.rig.vcenter.describe_port_group("/DC0/network/b", "now ours").await.unwrap();
    // A new process knows what the record says.
    site.operator.process.terminate(PATIENCE).await.unwrap();
    site.operator = site.rig.operator().await.unwrap();
    site.waits("PortGroupOfOthers").await;
    site.apply(&list(&["c"]), "c").await;
    site.ready().await;
    eventually("the record has the one that is left", PATIENCE, async || {
        let (record, _) = site.record().await;
        let names: Vec<_> =
            record.as_array().into_iter().flatten().map(|added| added["name"].clone()).collect();
        Ok((names == ["c"]).then_some(()))
    })
    .await
    .with_context(|| site.operator.process.log())
    .unwrap();
    assert!(site.group("a").await.is_none());
    assert_eq!(site.ranges(&a), 0);
    assert_eq!(site.group("b").await.unwrap().description, "now ours");
    assert_eq!(site.ranges(&site.group("c").await.unwrap()), 1);
    site.rig.site().remove("adc").await.unwrap();
    let names: Vec<_> =
        site.rig.vcenter.port_groups().await.unwrap().into_iter().map(|group| group.name).collect();
    assert_eq!(names, ["DC0_DVPG0", "b"]);
}
