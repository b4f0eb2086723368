//! Every row of the decision, and that plans carried out in a small world come to rest.

use std::sync::Arc;

use serde_json::json;

use super::super::Settings;
use super::super::objects::{ADDRESS_ANNOTATION, INFRA_ANNOTATION};
use super::super::seen::Member;
use super::*;

fn cluster(change: &Value) -> Cluster {
    let mut object = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "metadata": { "name": "c", "namespace": "n", "uid": "u", "resourceVersion": "1" },
    });
    for (path, value) in change.as_object().into_iter().flatten() {
        let (parent, member) = path.split_once('.').unwrap();
        object[parent][member] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn plain() -> Cluster {
    cluster(&json!({}))
}

fn at(host: &str) -> Cluster {
    cluster(&json!({ "spec.controlPlaneEndpoint": { "host": host, "port": 6443 } }))
}

fn asking(host: &str) -> Cluster {
    cluster(
        &json!({ "metadata.annotations": { "tkg.tanzu.vmware.com/cluster-controlplane-endpoint": host } }),
    )
}

fn class_based(variables: &Value) -> Value {
    json!({ "classRef": { "name": "class" }, "version": "v1.34.1", "variables": variables })
}

fn seen() -> Seen {
    Seen {
        settings: Settings { is_provider: true, ..Settings::default() },
        has_adc: true,
        unclear: None,
        infra: Infra::Unneeded,
        subnet: None,
        family: Ok(IpFamily::V4),
        service: None,
        slice: None,
        is_mirrored: false,
        resolved: None,
        members: vec![Member { name: "m".into(), address: "10.20.0.1".parse().unwrap(), is_ready: true }],
        said: None,
    }
}

#[test]
fn a_new_service_waits_until_its_adc_is_known() {
    let cluster = cluster(&json!({}));
    let unclear = Seen { has_adc: false, unclear: Some("m".to_owned()), ..seen() };
    assert_eq!(shown(&next(&cluster, &unclear)), "AKODeploymentConfigInvalid");
    let (cluster, made, _) = carried_out(&cluster, seen(), Some("10.20.0.9"));
    let unclear = Seen { has_adc: false, unclear: Some("m".to_owned()), ..made };
    assert_ne!(shown(&next(&cluster, &unclear)), "AKODeploymentConfigInvalid", "one that is there stays");
}

/// What the API server and AKO make of plans.
fn carried_out(cluster: &Cluster, mut seen: Seen, address: Option<&str>) -> (Cluster, Seen, Vec<String>) {
    let (mut cluster, mut steps) = (cluster.clone(), Vec::new());
    for _ in 0..20 {
        let turn = next(&cluster, &seen);
        steps.push(shown(&turn));
        let (Turn::LookAgain(plan) | Turn::Act(plan)) = turn else { return (cluster, seen, steps) };
        match plan {
            Plan::CreateService(service) => {
                let mut service = *service;
                service.metadata.uid = Some("s".to_owned());
                seen.service = Some(Arc::new(with_address(service, address)));
            }
            Plan::ChangeService(patch) => {
                let live = serde_json::to_value(&**seen.service.as_ref().unwrap()).unwrap();
                seen.service = Some(Arc::new(serde_json::from_value(merged(live, &patch)).unwrap()));
            }
            Plan::CreateSlice(slice) => seen.slice = Some(Arc::new(*slice)),
            Plan::ChangeSlice(patch) => {
                let live = serde_json::to_value(&**seen.slice.as_ref().unwrap()).unwrap();
                seen.slice = Some(Arc::new(serde_json::from_value(merged(live, &patch)).unwrap()));
            }
            Plan::SetEndpoint(Endpoint { host, port }) => {
                assert!(cluster.control_plane_endpoint().is_none(), "it is written once");
                let endpoint = json!({ "host": host, "port": port });
                let mut variables = Vec::new();
                if let Ok(Some(is)) = cluster.variable::<bool>("aviAPIServerHAProvider") {
                    variables.push(json!({ "name": "aviAPIServerHAProvider", "value": is }));
                }
                let topology = cluster.is_class_based().then(|| class_based(&variables.into()));
                cluster = self::cluster(
                    &json!({ "spec.controlPlaneEndpoint": endpoint, "spec.topology": topology }),
                );
            }
            Plan::SetVariable(host) => {
                let variables = json!([{ "name": "aviAPIServerHAProvider", "value": true },
                    { "name": "apiServerEndpoint", "value": host }]);
                let endpoint = cluster.control_plane_endpoint().unwrap();
                let endpoint = json!({ "host": endpoint.host, "port": endpoint.port });
                cluster = self::cluster(
                    &json!({ "spec.controlPlaneEndpoint": endpoint, "spec.topology": class_based(&variables) }),
                );
            }
            Plan::RemoveEndpoints => seen.is_mirrored = false,
            Plan::Report(_) => panic!("next reports nothing"),
        }
    }
    panic!("it does not come to rest: {steps:?}")
}

fn merged(mut live: Value, patch: &Value) -> Value {
    fn merge(target: &mut Value, patch: &Value) {
        match patch {
            Value::Object(patch) if target.is_object() => {
                patch.iter().for_each(|(key, value)| merge(&mut target[key], value));
            }
            patch => *target = patch.clone(),
        }
    }
    merge(&mut live, patch);
    live
}

fn with_address(service: Service, address: Option<&str>) -> Service {
    let mut value = serde_json::to_value(service).unwrap();
    if let Some(address) = address {
        value["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": address }] } });
    }
    serde_json::from_value(value).unwrap()
}

/// Says a turn in a word or two.
fn shown(turn: &Turn<Plan>) -> String {
    match turn {
        Turn::LookAgain(plan) | Turn::Act(plan) => match plan {
            Plan::CreateService(_) => "service".to_owned(),
            Plan::ChangeService(_) => "change service".to_owned(),
            Plan::CreateSlice(_) => "slice".to_owned(),
            Plan::ChangeSlice(_) => "change slice".to_owned(),
            Plan::SetEndpoint(endpoint) => format!("endpoint {}:{}", endpoint.host, endpoint.port),
            Plan::SetVariable(host) => format!("variable {host}"),
            Plan::RemoveEndpoints => "remove endpoints".to_owned(),
            Plan::Report(_) => "report".to_owned(),
        },
        Turn::Wait { reason, .. } | Turn::Blocked { reason, .. } => (*reason).to_owned(),
        Turn::Settled => "settled".to_owned(),
        Turn::Gone => "gone".to_owned(),
    }
}

fn walk(cluster: &Cluster, seen: Seen, address: Option<&str>) -> String {
    carried_out(cluster, seen, address).2.join(", ")
}

/// Checks the steps of each row, where AKO gives the address of the row.
fn check(rows: Vec<(&str, Cluster, Seen, Option<&str>, &str)>) {
    for (what, cluster, seen, address, wanted) in rows {
        assert_eq!(walk(&cluster, seen, address), wanted, "{what}");
    }
}

/// The cases of the original's `EnsureHAService`, `Test_CreateOrUpdateHAService` and `set cluster endpoint`.
#[test]
fn a_control_plane_gets_a_service_and_then_its_endpoint() {
    let no_machine = Seen { members: Vec::new(), ..seen() };
    let off = Seen { settings: Settings::default(), ..seen() };
    let mirrored = Seen { is_mirrored: true, ..seen() };
    let (given, taken) = (Some("10.0.0.5"), Some("10.0.0.6"));
    let fresh = "service, slice, endpoint 10.0.0.5:6443, change service, settled";
    let waits = "service, slice, endpoint 10.0.0.5:6443, change service, ControlPlaneMachinesWithoutAddress";
    let chosen = "service, slice, endpoint 10.0.0.5:6443, settled";
    let (again, differs) = ("service, slice, settled", "service, slice, ControlPlaneAddressDiffers");
    let replaced = "service, slice, remove endpoints, settled";
    check(vec![
        ("not the provider", plain(), off, None, "settled"),
        ("AKO gives no address", plain(), seen(), None, "service, slice, ControlPlaneAddressPending"),
        ("AKO gives one", plain(), seen(), given, fresh),
        ("no Machine yet", plain(), no_machine, given, waits),
        ("an address is asked for", asking("10.0.0.5"), seen(), given, chosen),
        ("AKO gives another", asking("10.0.0.5"), seen(), taken, differs),
        ("a Service that was deleted", at("10.0.0.5"), seen(), given, again),
        ("its address is taken", at("10.0.0.5"), seen(), taken, differs),
        ("Endpoints of the original", at("10.0.0.5"), mirrored, given, replaced),
        ("a paused Cluster", cluster(&json!({ "spec.paused": true })), seen(), None, "settled"),
    ]);
}

/// The cases of the original's `FQDN HA service endpoint exist`, and of its `Test_CreateService` with a name.
#[test]
fn a_name_is_resolved_once_and_stays_the_host() {
    let name = "api.example.com";
    let with = |list: &[&str]| Seen {
        resolved: Some(Ok(list.iter().map(|ip| ip.parse().unwrap()).collect())),
        ..seen()
    };
    let unresolved = Seen { resolved: Some(Err("it does not exist".to_owned())), ..seen() };
    let resolved = with(&["3.3.3.3", "3.3.3.4", "fd00::1"]);
    let (given, problem) = (Some("3.3.3.3"), "ControlPlaneNameUnresolved");
    let chosen = "service, slice, endpoint api.example.com:6443, settled";
    check(vec![
        ("a name that does not exist", asking(name), unresolved, None, problem),
        ("a name of another family", asking(name), with(&["fd00::1"]), None, problem),
        ("a name that was not looked up", asking(name), seen(), None, problem),
        ("a name", asking(name), resolved.clone(), given, chosen),
        ("its Service was deleted", at(name), resolved, given, "service, slice, settled"),
    ]);
}

#[test]
fn what_cannot_be_balanced_says_so() {
    let v6 = Seen { family: Ok(IpFamily::V6), members: Vec::new(), ..seen() };
    let refused = Seen { family: Err("V6".into()), ..seen() };
    let unnamed = cluster(&json!({ "metadata.name": "c.d" }));
    let waits = "service, slice, ControlPlaneMachinesWithoutAddress";
    check(vec![
        ("IPv6", at("fd00::7"), v6.clone(), Some("fd00::7"), waits),
        ("an address of another family", at("1.1.1.1"), v6, None, "IPFamilyUnsupported"),
        ("a family that AKO does not support", plain(), refused, None, "IPFamilyUnsupported"),
        ("a name that is none", unnamed, seen(), None, "ControlPlaneServiceNameInvalid"),
    ]);
}

#[test]
fn the_service_asks_for_the_address_of_the_host() {
    let resolved = Some(Ok(vec!["3.3.3.4".parse().unwrap(), "fd00::1".parse().unwrap()]));
    let v6 = Seen { family: Ok(IpFamily::V6V4), resolved: resolved.clone(), ..seen() };
    for (cluster, seen, wanted) in [
        (plain(), seen(), None),
        (asking("2.2.2.2"), seen(), Some("2.2.2.2")),
        (at("2.2.2.2"), seen(), Some("2.2.2.2")),
        (asking("api.example.com"), Seen { resolved, ..seen() }, Some("3.3.3.4")),
        (asking("api.example.com"), v6, Some("fd00::1")),
    ] {
        let Turn::LookAgain(Plan::CreateService(made)) = next(&cluster, &seen) else { panic!("no Service") };
        assert_eq!(asked_address(&made), wanted.map(|address| address.parse().unwrap()));
    }
}

/// The case of the original's `set cluster endpoint` with a class.
#[test]
fn a_topology_learns_the_host_once() {
    let provider = json!({ "name": "aviAPIServerHAProvider", "value": true });
    let with = |variables: Value| cluster(&json!({ "spec.topology": class_based(&variables) }));
    let off = Seen { settings: Settings::default(), ..seen() };
    assert_eq!(
        walk(&with(json!([provider])), off.clone(), Some("10.0.0.5")),
        "service, slice, endpoint 10.0.0.5:6443, change service, variable 10.0.0.5, settled"
    );
    assert_eq!(walk(&with(json!([])), seen(), Some("10.0.0.5")), "settled", "the flag is for others");
    let asks = json!([provider, { "name": "apiServerEndpoint", "value": "10.0.0.9" }]);
    let moved = cluster(&json!({ "spec.topology": class_based(&asks),
        "spec.controlPlaneEndpoint": { "host": "10.0.0.5", "port": 6443 } }));
    let (_, rest, steps) = carried_out(&moved, off, Some("10.0.0.5"));
    assert_eq!(steps.join(", "), "service, slice, settled", "an endpoint never moves");
    let Turn::LookAgain(Plan::Report(report)) = decide(&moved, &rest) else { panic!("nothing is said") };
    assert!(report.said.unwrap().message.contains("it cannot move to \"10.0.0.9\""));
}

#[test]
fn an_address_that_is_known_comes_back_whatever_others_write() {
    let (settled, rest, _) = carried_out(&at("1.1.1.1"), seen(), Some("1.1.1.1"));
    let with = |change: fn(&mut Service)| {
        let mut service = (**rest.service.as_ref().unwrap()).clone();
        change(&mut service);
        Seen { service: Some(Arc::new(service)), ..rest.clone() }
    };
    let other = with(|service| {
        service.metadata.annotations.as_mut().unwrap().insert(ADDRESS_ANNOTATION.into(), "9.9.9.9".into());
        service.spec.as_mut().unwrap().load_balancer_ip = Some("9.9.9.9".into());
    });
    assert_eq!(walk(&settled, other, None), "change service, settled");
    let named = at("api.example.com");
    let resolved = Some(Ok(vec!["8.8.8.8".parse().unwrap()]));
    assert_eq!(
        walk(&named, Seen { resolved, ..rest.clone() }, None),
        "settled",
        "a name that changes moves nothing"
    );
    let moved = Seen {
        members: vec![Member { address: "10.20.0.2".parse().unwrap(), ..rest.members[0].clone() }],
        ..rest.clone()
    };
    assert_eq!(walk(&settled, moved, None), "change slice, settled");
    let ending = with(|service| {
        service.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    });
    assert_eq!(walk(&settled, ending, None), "ControlPlaneServiceEnding");
    let others = with(|service| {
        service.metadata = serde_json::from_value(json!({ "name": "n-c-control-plane" })).unwrap();
    });
    assert_eq!(walk(&settled, others, None), "ControlPlaneServiceOfOthers");
}

/// The cases of the original's `HA and VIP seperation is enabled`.
#[test]
fn a_new_service_waits_for_the_setting_that_decides_its_network() {
    let missing = |is_apart, is_installed| Infra::Missing { name: "a-ais".into(), is_apart, is_installed };
    let unaccepted = || Infra::Unaccepted { name: "a-ais".into(), refused: None };
    let management = cluster(&json!({ "metadata.labels": { MANAGEMENT_LABEL: "" } }));
    let without = Seen { has_adc: false, ..seen() };
    for (what, cluster, seen, wanted) in [
        ("one subnet for both", plain(), Seen { infra: missing(false, true), ..seen() }, "service"),
        ("two subnets", plain(), Seen { infra: missing(true, true), ..seen() }, "AviInfraSettingMissing"),
        (
            "AKO's CRDs are missing",
            plain(),
            Seen { infra: missing(true, false), ..seen() },
            "AviInfraSettingMissing",
        ),
        (
            "AKO has not accepted it",
            plain(),
            Seen { infra: unaccepted(), ..seen() },
            "AviInfraSettingPending",
        ),
        ("it is there", plain(), Seen { infra: Infra::There("a-ais".into()), ..seen() }, "service"),
        ("nothing selects", plain(), without.clone(), "service"),
        ("nothing selects a management cluster", management.clone(), without, "AKODeploymentConfigMissing"),
        ("something does", management, seen(), "service"),
    ] {
        assert_eq!(shown(&next(&cluster, &seen)), wanted, "{what}");
    }
    let there = Seen { infra: Infra::There("a-ais".into()), ..seen() };
    let (_, rest, _) = carried_out(&plain(), seen(), None);
    let (_, rest, steps) = carried_out(&plain(), Seen { infra: there.infra, ..rest }, None);
    assert_eq!(steps[0], "change service", "it has no address yet");
    assert_eq!(rest.service.unwrap().metadata.annotations.as_ref().unwrap()[INFRA_ANNOTATION], "a-ais");
}

#[test]
fn only_ready_machines_get_traffic_where_that_is_asked_for() {
    let down = Member { name: "m2".into(), address: "10.20.0.2".parse().unwrap(), is_ready: false };
    let settings = Settings { is_provider: true, ready_only: true, ..Settings::default() };
    let members = vec![seen().members[0].clone(), down];
    let seen = Seen { settings, members, ..seen() };
    let ready = |cluster: &Cluster| {
        let slice = carried_out(cluster, seen.clone(), Some("1.1.1.1")).1.slice.unwrap();
        let of = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().unwrap().ready
        };
        slice.endpoints.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(ready(&at("1.1.1.1")), [Some(true), Some(true)], "its API server does not run yet");
    let running = cluster(&json!({ "spec.controlPlaneEndpoint": { "host": "1.1.1.1", "port": 6443 },
        "status.initialization": { "controlPlaneInitialized": true } }));
    assert_eq!(ready(&running), [Some(true), Some(false)]);
}

/// An endpoint never changes.
#[test]
fn an_address_of_another_network_becomes_no_endpoint() {
    let apart = |subnet: &str| Seen { subnet: Some(subnet.parse().unwrap()), ..seen() };
    check(vec![
        (
            "of its own",
            plain(),
            apart("10.0.0.0/24"),
            Some("10.0.0.5"),
            "service, slice, endpoint 10.0.0.5:6443, change service, settled",
        ),
        (
            "of another",
            plain(),
            apart("10.1.0.0/24"),
            Some("10.0.0.5"),
            "service, slice, ControlPlaneAddressDiffers",
        ),
        ("it has one", at("10.0.0.5"), apart("10.1.0.0/24"), Some("10.0.0.5"), "service, slice, settled"),
    ]);
}

#[test]
fn each_end_of_a_pass_is_said_once() {
    let off = Seen { settings: Settings::default(), ..seen() };
    let (settled, rest, _) = carried_out(&at("1.1.1.1"), seen(), Some("1.1.1.1"));
    let (_, pending, _) = carried_out(&plain(), seen(), None);
    let (_, others, _) = carried_out(&at("1.1.1.1"), seen(), Some("1.1.1.2"));
    for (what, cluster, seen, wanted) in [
        ("settled", &settled, rest.clone(), Some(("True", "ControlPlaneEndpointReady", true))),
        ("no address", &plain(), pending, Some(("False", "ControlPlaneAddressPending", true))),
        ("another address", &at("1.1.1.1"), others, Some(("False", "ControlPlaneAddressDiffers", false))),
        ("not the provider", &plain(), off.clone(), None),
        ("paused", &cluster(&json!({ "spec.paused": true })), seen(), None),
    ] {
        let Turn::LookAgain(Plan::Report(report)) = decide(cluster, &seen) else {
            assert_eq!(wanted, None, "{what}");
            continue;
        };
        let said = report.said.unwrap();
        assert_eq!(Some((said.status.as_str(), &*said.reason, report.notice.is_some())), wanted, "{what}");
        let again = decide(cluster, &Seen { said: Some(said.clone()), ..seen.clone() });
        assert!(!matches!(again, Turn::LookAgain(Plan::Report(_))), "{what}: it is said again");
        let Turn::LookAgain(Plan::Report(end)) = decide(cluster, &Seen { said: Some(said), ..off.clone() })
        else {
            panic!("{what}: the condition stays")
        };
        assert!(end.said.is_none() && end.notice.is_none(), "{what}");
    }
}
