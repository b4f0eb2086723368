mod deliveries;
mod overlaps;
mod roles;
mod services;
mod unread;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::seen::{Answer, Basis, Cloud, Departing, Role, Tenant};
use super::*;
use crate::delivery::Ako;
use crate::problem::Problem;

const ROLE: &str = "ako-essential-role";

fn adc(spec: &Value, added: &Value) -> AkoDeploymentConfig {
    let secret = json!({"name": "s", "namespace": "n"});
    let mut object = json!({
        "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
        "metadata": {"name": "a", "generation": 1},
        "spec": {
            "clusterSelector": {"matchLabels": {"a": "b"}},
            "controller": "avi", "cloudName": "cloud", "serviceEngineGroup": "group",
            "dataNetwork": {"name": "data", "cidr": "10.0.0.0/24",
                "ipPools": [{"start": "10.0.0.1", "end": "10.0.0.9", "type": "V4"}]},
            "adminCredentialRef": secret, "certificateAuthorityRef": secret,
        },
        "status": {"added": added, "place": {"controller": "avi", "cloud": "cloud", "tenant": "admin"}},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn plain() -> AkoDeploymentConfig {
    adc(&json!({}), &Value::Null)
}

fn facts() -> Facts {
    Facts {
        version: Some(Version(30, 2, 1)),
        cloud: Some(Cloud { profile: Some("profile".into()), is_of_vcenter: true }),
        has_group: true,
        tenants: [("admin".into(), Some(Tenant::default()))].into(),
        roles: [(ROLE.into(), Role { uuid: "role".into(), is_wrong: false })].into(),
        names: [("data".into(), "net".into())].into(),
        contexts: [("data".into(), "global".into())].into(),
        networks: [("net".into(), Vec::new())].into(),
        profiles: [("profile".into(), ["net".to_owned()].into())].into(),
        asked: ["net", "profile", ROLE].map(str::to_owned).into(),
    }
}

fn ako() -> Ako {
    Ako { image: "ako".into(), ..Ako::default() }
}

fn basis() -> Basis {
    Basis { generation: Some(1), credentials: "1".into(), is_deleting: false }
}

fn seen(facts: Facts) -> Seen {
    let answer = Answer { basis: basis(), at: Timestamp::UNIX_EPOCH, facts };
    Seen {
        is_forced: false,
        clusters: Vec::new(),
        delivered: Vec::new(),
        departing: Departing::default(),
        unsettled: BTreeMap::new(),
        problem: None,
        ways: vec![Way::Direct(ako())],
        basis: basis(),
        answer: Some(Arc::new(answer)),
        claimed: Items::default(),
        released: Items::default(),
        unread: Vec::new(),
        others: Vec::new(),
        infra: None,
        balanced: Balanced::default(),
        kept_roles: BTreeSet::new(),
        groups: port_groups::Seen::default(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A turn by its name, and the reason where it has one.
fn named(turn: &Turn<Plan>) -> String {
    match turn {
        Turn::Act(Plan::Ask) => "ask".into(),
        Turn::Act(Plan::Configure(_)) => "configure".into(),
        Turn::LookAgain(Plan::Infra(_)) => "infra".into(),
        Turn::LookAgain(Plan::Record(_)) => "record".into(),
        Turn::LookAgain(Plan::Deliver { .. }) => "deliver".into(),
        Turn::LookAgain(Plan::AskTenants) => "ask tenants".into(),
        Turn::LookAgain(Plan::Tenants(change)) => change.describe(),
        Turn::Wait { reason, .. } => format!("wait {reason}"),
        Turn::Settled => "settled".into(),
        Turn::Gone => "gone".into(),
        Turn::Blocked { reason, .. } => (*reason).into(),
        other => format!("{other:?}"),
    }
}

fn decided(adc: &AkoDeploymentConfig, seen: &Seen) -> String {
    named(&decide(adc, seen, at(1)))
}

#[test]
fn avi_is_asked_where_the_answer_is_missing_old_or_of_another_question() {
    let good = seen(facts());
    assert_eq!(decided(&plain(), &good), "record");
    let mut none = good.clone();
    none.answer = None;
    assert_eq!(decided(&plain(), &none), "ask");
    assert_eq!(named(&decide(&plain(), &good, at(599))), "record");
    assert_eq!(named(&decide(&plain(), &good, at(600))), "ask", "the answer is old");
    let lacking = seen(Facts { has_group: false, ..facts() });
    assert_eq!(named(&decide(&plain(), &lacking, at(239))), "AviServiceEngineGroupNotFound");
    assert_eq!(named(&decide(&plain(), &lacking, at(240))), "ask", "it may be there now");
    for other in [
        Basis { generation: Some(2), ..basis() },
        Basis { credentials: "2".into(), ..basis() },
        Basis { is_deleting: true, ..basis() },
    ] {
        let adc = adc(&json!({}), &json!({"subnets": [{"network": "net", "cidr": "10.0.0.0/24"}]}));
        let seen = Seen { basis: other.clone(), ..good.clone() };
        assert_eq!(decided(&adc, &seen), "ask", "{other:?}");
    }
    let elsewhere = adc(&json!({}), &json!({"subnets": [{"network": "old", "cidr": "10.0.0.0/24"}]}));
    assert_eq!(decided(&elsewhere, &good), "ask", "the record names a network that was not asked for");
}

/// What is known of the tenant of a namespace.
#[derive(Clone, Copy)]
enum Known {
    NotAsked,
    Absent,
    Ours,
    /// With what is in it.
    Asked(&'static [&'static str]),
    /// Nothing was found in it, and AVI has not removed it.
    Refused,
    OfOthers,
}

/// An AKODeploymentConfig that makes tenants for namespaces, and delivers AKO to these Clusters.
fn scoped(clusters: &[&str], recorded: &[&str], known: Known) -> (AkoDeploymentConfig, Seen) {
    let spec = json!({"tenant": {"name": "t", "scope": "Namespace"},
        "dataNetwork": {"name": "data", "cidr": "10.0.0.0/24"}});
    let mut adc = adc(&spec, &json!({"tenants": recorded}));
    let status = adc.status.as_mut().unwrap();
    status.delivered_to = clusters.iter().map(|key| (*key).to_owned()).collect();
    status.place = Some(Place::from(&adc.spec));
    let tenant = |is_marked, content: Option<&[&str]>| {
        let content = content.map(|content| content.iter().map(|&object| object.to_owned()).collect());
        Some(Tenant { uuid: "uuid".into(), is_marked, content, ..Tenant::default() })
    };
    let found = match known {
        Known::NotAsked => None,
        Known::Absent => Some(None),
        Known::Ours => Some(tenant(true, None)),
        Known::Asked(content) => Some(tenant(true, Some(content))),
        Known::Refused => {
            Some(tenant(true, Some(&[])).map(|known| Tenant { refusal: Some("in use".into()), ..known }))
        }
        Known::OfOthers => Some(tenant(false, None)),
    };
    let roles = ["ako-operator-admin-role", "ako-operator-all-tenants-role"];
    let facts = Facts {
        tenants: found.into_iter().map(|found| ("t-ns".to_owned(), found)).collect(),
        roles: roles.map(|name| (name.to_owned(), Role::default())).into(),
        ..facts()
    };
    let seen = Seen { delivered: status.delivered_to.clone(), ..seen(facts) };
    (adc, seen)
}

/// Asked, recorded, made; and removed once no Cluster needs it.
#[test]
fn a_tenant_is_made_for_the_clusters_of_a_namespace() {
    let two: &[&str] = &["ns/w1", "ns/w2"];
    let (none, ours): (&[&str], &[&str]) = (&[], &["t-ns"]);
    let rows = [
        ("no Cluster", none, none, Known::NotAsked, "settled"),
        ("a Cluster: not asked", two, none, Known::NotAsked, "ask tenants"),
        ("not recorded", two, none, Known::Absent, "record"),
        ("recorded, not made", two, ours, Known::Absent, "added tenant t-ns"),
        ("made", two, ours, Known::Ours, "settled"),
        ("made by others", two, none, Known::OfOthers, "settled"),
        ("made by others after it was recorded", two, ours, Known::OfOthers, "record"),
        ("of an ako-operator of another management cluster", two, none, Known::Ours, "settled"),
        ("the last Cluster is gone", none, ours, Known::Ours, "ask tenants"),
        ("it is empty", none, ours, Known::Asked(&[]), "removed tenant t-ns"),
        ("it is not", none, ours, Known::Asked(&["pool \"p\""]), "settled"),
        ("AVI does not remove it", none, ours, Known::Refused, "settled"),
        ("a person took it over", none, ours, Known::OfOthers, "record"),
        ("it is gone", none, ours, Known::Absent, "record"),
        ("a Cluster came meanwhile", two, ours, Known::Asked(&[]), "settled"),
    ];
    for (what, clusters, recorded, known, wanted) in rows {
        let (adc, seen) = scoped(clusters, recorded, known);
        assert_eq!(decided(&adc, &seen), wanted, "{what}");
    }
}

#[test]
fn a_tenant_of_another_configuration_stays_until_the_last_of_them_needs_it_no_more() {
    let others = Items { tenants: ["t-ns".to_owned()].into(), ..Items::default() };
    let (one, seen) = scoped(&[], &["t-ns"], Known::Asked(&[]));
    assert_eq!(decided(&one, &Seen { claimed: others.clone(), ..seen }), "record", "it leaves it to others");
    let (one, seen) = scoped(&["ns/w1"], &[], Known::Ours);
    assert_eq!(decided(&one, &Seen { released: others, ..seen }), "record", "it takes it over");
}

#[test]
fn a_deleted_configuration_waits_for_what_is_in_its_tenants() {
    for (known, wanted) in [
        (Known::Ours, "ask tenants"),
        (Known::Asked(&[]), "removed tenant t-ns"),
        (Known::Asked(&["pool \"p\""]), "wait AviTenantInUse"),
        (Known::Refused, "wait AviTenantInUse"),
        (Known::OfOthers, "record"),
    ] {
        let (mut adc, mut seen) = scoped(&[], &["t-ns"], known);
        adc.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-29T00:00:00Z")).unwrap();
        seen.basis.is_deleting = true;
        let facts = seen.answer.as_ref().unwrap().facts.clone();
        seen.answer = Some(Arc::new(Answer { basis: seen.basis.clone(), at: at(0), facts }));
        assert_eq!(decided(&adc, &seen), wanted);
        let later = if wanted == "wait AviTenantInUse" { "ask" } else { wanted };
        assert_eq!(named(&decide(&adc, &seen, at(60))), later, "a minute later");
        assert_eq!(decided(&adc, &Seen { is_forced: true, ..seen }), "gone", "a person does not wait");
    }
}

/// Two tenants would have what AKO made, and it would clean up in one.
#[test]
fn the_scope_of_tenants_does_not_change_under_a_cluster() {
    for clusters in [&[][..], &["ns/w1"]] {
        let (mut adc, seen) = scoped(clusters, &["t-ns"], Known::Ours);
        adc.spec.tenant.as_mut().unwrap().scope = Some(crate::api::TenantScope::Cluster);
        let Turn::Blocked { reason: "PlaceChanged", message } = decide(&adc, &seen, at(1)) else {
            panic!("it changes")
        };
        assert!(message.contains("tenant \"t\" (Namespace)") && message.contains("write these back"));
    }
    let (mut adc, seen) = scoped(&[], &[], Known::NotAsked);
    adc.spec.tenant.as_mut().unwrap().scope = Some(crate::api::TenantScope::Shared);
    assert_eq!(decided(&adc, &seen), "deliver", "nothing is there yet");
}

#[test]
fn the_record_is_written_before_avi_is_changed() {
    let Turn::LookAgain(Plan::Record(added)) = decide(&plain(), &seen(facts()), at(1)) else {
        panic!("it records nothing")
    };
    let recorded = adc(&json!({}), &serde_json::to_value(added).unwrap());
    let Turn::Act(Plan::Configure(change)) = decide(&recorded, &seen(facts()), at(1)) else {
        panic!("it changes nothing")
    };
    let mut network = infra_clients::avi::objects::Network::default();
    change.edit_network("net", &mut network).unwrap();
    let mut done = facts();
    done.networks.insert("net".into(), network.configured_subnets);
    assert_eq!(decided(&recorded, &seen(done)), "settled");
}

#[test]
fn a_controller_that_ako_does_not_work_with_is_refused_before_a_delivery() {
    let newer = Version(31, 3, 0);
    for (spec, version, wanted) in [
        (json!({}), newer, "set spec.controllerVersion to 31.2.1"),
        (json!({}), Version(22, 1, 2), "AKO 2.2 needs 22.1.3 or later"),
        (json!({"controllerVersion": "31.2.1"}), newer, "record"),
    ] {
        let seen = seen(Facts { version: Some(version), ..facts() });
        let found = match decide(&adc(&spec, &Value::Null), &seen, at(1)) {
            Turn::Blocked { reason: "ControllerVersionUnsupported", message } => message,
            other => named(&other),
        };
        assert!(found.contains(wanted), "{version}: {found}");
        let by_addon = Seen { ways: vec![Way::Addon], ..seen };
        assert_eq!(decided(&adc(&spec, &Value::Null), &by_addon), "record", "it has another AKO");
    }
}

#[test]
fn what_avi_lacks_is_named_with_its_field() {
    let rows: Vec<(Value, Facts, &str, &str)> = vec![
        (
            json!({}),
            Facts { cloud: None, ..facts() },
            "AviCloudNotFound",
            "spec.cloudName: AVI has no cloud \"cloud\"",
        ),
        (
            json!({}),
            Facts { cloud: Some(Cloud::default()), ..facts() },
            "AviIpamProfileMissing",
            "doesn't have any ipam profile configured",
        ),
        (json!({}), Facts { has_group: false, ..facts() }, "AviServiceEngineGroupNotFound", "\"group\""),
        (
            json!({}),
            Facts { names: BTreeMap::new(), ..facts() },
            "AviNetworkNotFound",
            "spec.dataNetwork.name",
        ),
        (
            json!({"controlPlaneNetwork": {"name": "cp", "cidr": "10.1.0.0/24"}}),
            facts(),
            "AviNetworkNotFound",
            "spec.controlPlaneNetwork.name",
        ),
        (json!({"controllerVersion": "30.2.2"}), facts(), "ControllerVersionUnsupported", "has 30.2.1"),
        (
            json!({}),
            Facts { tenants: [("admin".into(), None)].into(), ..facts() },
            "AviTenantNotFound",
            "spec.tenant.name",
        ),
        (json!({"controllerVersion": "22.1.3"}), facts(), "record", ""),
        (json!({"controllerVersion": ""}), facts(), "record", ""),
    ];
    for (spec, facts, wanted, text) in rows {
        let turn = decide(&adc(&spec, &Value::Null), &seen(facts), at(1));
        assert_eq!(named(&turn), wanted);
        if let Turn::Blocked { message, .. } = turn {
            assert!(message.contains(text), "{message}");
        }
    }
}

#[test]
fn a_pool_that_overlaps_a_range_of_others_blocks() {
    let subnet = serde_json::from_value(json!({
        "prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24},
        "static_ip_ranges": [
            {"range": {"begin": {"addr": "10.0.0.9", "type": "V4"}, "end": {"addr": "10.0.0.20", "type": "V4"}}}],
    }))
    .unwrap();
    let facts = Facts { networks: [("net".into(), vec![subnet])].into(), ..facts() };
    let recorded = |seen: &Seen| match decide(&plain(), seen, at(1)) {
        Turn::LookAgain(Plan::Record(added)) => adc(&json!({}), &serde_json::to_value(added).unwrap()),
        other => panic!("{other:?}"),
    };
    let seen = seen(facts);
    assert_eq!(decided(&recorded(&seen), &seen), "IPPoolsOverlap");
}

#[test]
fn a_problem_of_the_spec_or_a_secret_blocks_and_names_the_way_out_of_a_deletion() {
    let mut seen = seen(facts());
    seen.problem = Some(Problem { reason: "CredentialsMissing", message: "no Secret".into() });
    let Turn::Blocked { message, .. } = decide(&plain(), &seen, at(1)) else { panic!("not blocked") };
    assert_eq!(message, "no Secret");
    seen.basis.is_deleting = true;
    let added = json!({"subnets": [{"network": "net", "cidr": "10.0.0.0/24"}]});
    let Turn::Blocked { message, .. } = decide(&adc(&json!({}), &added), &seen, at(1)) else {
        panic!("not blocked")
    };
    assert!(message.contains(FORCE_ANNOTATION), "{message}");
}

#[test]
fn a_deleted_one_waits_for_its_clusters_then_removes_what_it_added() {
    let added = json!({"usableNetworks": [{"profile": "profile", "network": "net"}]});
    let recorded = adc(&json!({}), &added);
    let mut seen = seen(facts());
    seen.basis.is_deleting = true;
    seen.answer = Some(Arc::new(Answer { basis: seen.basis.clone(), at: at(0), facts: facts() }));
    seen.delivered = (0..7).map(|n| format!("default/c{n}")).collect();
    let Turn::LookAgain(Plan::Deliver { to, .. }) = decide(&recorded, &seen, at(1)) else {
        panic!("it records no deliveries")
    };
    assert_eq!(to.len(), 7);
    let mut recorded = recorded;
    recorded.status.as_mut().unwrap().delivered_to = to;
    let Turn::Blocked { reason: "InUse", message } = decide(&recorded, &seen, at(1)) else {
        panic!("it does not wait")
    };
    assert!(message.contains("default/c4 and 2 more"), "{message}");
    seen.delivered.clear();
    assert_eq!(decided(&recorded, &seen), "deliver");
    recorded.status.as_mut().unwrap().delivered_to.clear();
    assert_eq!(decided(&recorded, &seen), "configure");
    let mut nothing = plain();
    nothing.status = None;
    assert_eq!(decided(&nothing, &seen), "gone", "nothing was added, so AVI is not asked");
    let gone = Facts { profiles: [("profile".into(), [].into())].into(), ..facts() };
    seen.answer = Some(Arc::new(Answer { basis: seen.basis.clone(), at: at(0), facts: gone }));
    assert_eq!(decided(&recorded, &seen), "record");
    seen.is_forced = true;
    seen.answer = None;
    assert_eq!(decided(&recorded, &seen), "gone");
}

fn with_port_group(added: &Value) -> AkoDeploymentConfig {
    let secret = json!({"name": "s", "namespace": "n"});
    let spec = json!({"vcenter": {"server": "vc", "credentialRef": secret}, "portGroups": [{"name": "data", "switch": "DVS0"}]});
    adc(&spec, added)
}

/// The port group of the data network, as it is recorded and as the vCenter has it.
fn port_group() -> port_groups::Seen {
    let reference = "DistributedVirtualPortgroup:dvportgroup-7";
    let basis = port_groups::Basis {
        generation: Some(1),
        credentials: "1".into(),
        record: vec![
            serde_json::from_value(
                json!({"name": "data", "vcenter": "vc", "switch": "Switch:dvs-1", "reference": reference,
            "since": 0}),
            )
            .unwrap(),
        ],
    };
    let found = infra_clients::vsphere::networks::PortGroup {
        moref: reference.parse().unwrap(),
        name: "data".into(),
        switch: Some("Switch:dvs-1".parse().unwrap()),
        version: "1".into(),
        vlan: Some(infra_clients::vsphere::networks::Vlan::Id(0)),
        ports: 8,
        auto_expand: true,
        binding: Some(infra_clients::vsphere::networks::Binding::Early),
        description: "[ako-operator.network.tkg.tanzu.vmware.com/adc=u]".into(),
    };
    let facts = port_groups::Facts {
        vcenter: "vc".into(),
        switches: [("DVS0".to_owned(), Ok("Switch:dvs-1".to_owned()))].into(),
        groups: [(reference.to_owned(), found)].into(),
        users: BTreeMap::new(),
    };
    let answer = port_groups::Answer { basis: basis.clone(), at: at(0), facts };
    port_groups::Seen {
        uid: "u".into(),
        basis,
        answer: Some(Arc::new(answer)),
        ..port_groups::Seen::default()
    }
}

#[test]
fn port_groups_are_made_before_avi_is_asked_and_removed_after_it_has_forgotten_them() {
    let declared = with_port_group(&Value::Null);
    let network = "dvportgroup-7-cloud-1";
    let discovered = || Facts {
        names: [("data".into(), network.into())].into(),
        networks: [(network.into(), Vec::new())].into(),
        profiles: [("profile".into(), [network.to_owned()].into())].into(),
        asked: [network.to_owned(), "profile".to_owned()].into(),
        ..facts()
    };
    let unmade = Seen { answer: None, ..seen(facts()) };
    let blocked = port_groups::Seen {
        problem: Some(Problem { reason: "CredentialsMissing", message: "none".into() }),
        ..port_group()
    };
    assert_eq!(decided(&declared, &Seen { groups: blocked, ..unmade.clone() }), "CredentialsMissing");
    let unmade = Seen { groups: port_group(), ..unmade };
    assert_eq!(decided(&declared, &unmade), "ask", "it is there, so AVI is asked");
    let none = Facts { names: BTreeMap::new(), ..facts() };
    for (facts, is_of_vcenter) in [(none.clone(), true), (facts(), true), (none.clone(), false)] {
        let cloud = Some(Cloud { profile: Some("profile".into()), is_of_vcenter });
        let seen = Seen { groups: port_group(), ..seen(Facts { cloud, ..facts }) };
        let Turn::Wait { reason, message, after: Some(after) } = decide(&declared, &seen, at(1)) else {
            panic!("it does not wait")
        };
        assert_eq!((reason, after), ("PortGroupNotDiscovered", Duration::from_secs(10)));
        assert_eq!(message.contains("only clouds of the type vCenter"), !is_of_vcenter, "{message}");
        assert_eq!(named(&decide(&declared, &seen, at(10))), "ask");
    }
    let other = Seen { groups: port_group(), ..seen(Facts { has_group: false, ..none }) };
    assert_eq!(decided(&declared, &other), "AviServiceEngineGroupNotFound", "which does not pass");
    let seen = Seen { groups: port_group(), ..seen(discovered()) };
    assert_eq!(decided(&declared, &seen), "record");

    let added = json!({"usableNetworks": [{"profile": "profile", "network": network}]});
    let mut gone = seen.clone();
    gone.basis.is_deleting = true;
    gone.answer = Some(Arc::new(Answer { basis: gone.basis.clone(), at: at(0), facts: discovered() }));
    assert_eq!(decided(&with_port_group(&added), &gone), "configure", "AVI forgets it first");
    let mut nothing = declared;
    nothing.status = None;
    let Turn::Act(Plan::ChangeGroup(change)) = decide(&nothing, &gone, at(1)) else { panic!("it stays") };
    assert_eq!(change.describe(), "removes port group data");
    gone.is_forced = true;
    assert_eq!(decided(&nothing, &gone), "gone");
    gone.is_forced = false;
    gone.groups = port_groups::Seen::default();
    assert_eq!(decided(&nothing, &gone), "gone");
}
