//! What is wrong with `spec.portGroups`.

use infra_clients::vsphere::networks::Vlan;

use crate::api::{AkoDeploymentConfigSpec, PORT_GROUP_MARK, PortBinding, PortGroup};

/// Longest name that vCenter takes.
const NAME: usize = 80;
/// Longest description: the mark has to have room beside it.
const DESCRIPTION: usize = 160;
/// Most ports.
const PORTS: i32 = 8192;

/// Returns everything that is wrong.
pub(super) fn wrong(spec: &AkoDeploymentConfigSpec) -> Vec<String> {
    let groups = &spec.port_groups;
    let mut problems = Vec::new();
    if !groups.is_empty() && spec.vcenter.as_ref().is_none_or(|vcenter| vcenter.server.trim().is_empty()) {
        problems.push("spec.vcenter is missing: write the vCenter that they are made in".to_owned());
    }
    for (n, group) in groups.iter().enumerate() {
        let name = &group.name;
        if groups.iter().take(n).any(|other| other.name == *name) {
            problems.push(format!("{name:?} is listed twice: give each port group another name"));
        }
        problems.extend(wrong_with(group).into_iter().map(|problem| format!("{name:?}: {problem}")));
    }
    problems
}

fn wrong_with(group: &PortGroup) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |is_right: bool, problem: &str| {
        if !is_right {
            problems.push(problem.to_owned());
        }
    };
    let is_vlan = |id: i32| (0..=i32::from(Vlan::LAST)).contains(&id);
    let length = group.name.chars().count();
    check((1..=NAME).contains(&length), "the name has to have 1 to 80 characters");
    check(group.name.trim() == group.name, "the name must not begin or end with a space");
    check(
        !group.switch.trim().is_empty(),
        "switch is empty: write the name or the path of a distributed switch",
    );
    check(group.vlan.is_none_or(is_vlan), "vlan has to be 0 to 4094");
    check(
        group.vlan.is_none() || group.trunk.is_empty(),
        "vlan and trunk exclude each other: write one of them",
    );
    for range in &group.trunk {
        let is_right = is_vlan(range.start) && is_vlan(range.end) && range.start <= range.end;
        check(is_right, "a range of trunk has to be within 0 to 4094, start not above end");
    }
    check(group.ports.is_none_or(|ports| (1..=PORTS).contains(&ports)), "ports has to be 1 to 8192");
    if group.binding == Some(PortBinding::Ephemeral) {
        let message = "ports and autoExpand do not matter with the binding ephemeral: leave them out";
        check(group.ports.is_none() && group.auto_expand.is_none(), message);
    }
    let about = group.description.as_deref().unwrap_or_default();
    check(about.chars().count() <= DESCRIPTION, "description has to have at most 160 characters");
    check(
        !about.contains(PORT_GROUP_MARK),
        "description must not have the operator's mark: the operator adds it",
    );
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(vcenter: &Value, groups: &Value) -> AkoDeploymentConfigSpec {
        let secret = json!({ "name": "s", "namespace": "n" });
        let spec = json!({
            "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
            "dataNetwork": { "name": "dp", "cidr": "10.0.0.0/24" },
            "adminCredentialRef": secret, "certificateAuthorityRef": secret,
            "vcenter": vcenter, "portGroups": groups,
        });
        serde_json::from_value(spec).unwrap()
    }

    fn group(change: &Value) -> Value {
        let mut group = json!({ "name": "a", "switch": "DVS0" });
        group.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!([group])
    }

    #[test]
    fn everything_that_is_wrong_is_listed() {
        let vcenter = json!({ "server": "vc", "credentialRef": { "name": "s", "namespace": "n" } });
        let rows: Vec<(Value, &[&str])> = vec![
            (json!([]), &[]),
            (group(&json!({})), &[]),
            (
                group(
                    &json!({ "vlan": 4094, "ports": 8192, "binding": "earlyBinding", "autoExpand": false }),
                ),
                &[],
            ),
            (group(&json!({ "trunk": [{ "start": 0, "end": 4094 }], "binding": "ephemeral" })), &[]),
            (group(&json!({ "name": "" })), &["\"\": the name has to have 1 to 80 characters"]),
            (group(&json!({ "name": "é".repeat(81) })), &["\"é"]),
            (group(&json!({ "name": " a" })), &["\" a\": the name must not begin"]),
            (group(&json!({ "switch": " " })), &["\"a\": switch is empty"]),
            (group(&json!({ "vlan": 4095 })), &["\"a\": vlan has to be 0 to 4094"]),
            (group(&json!({ "vlan": -1 })), &["\"a\": vlan has to be 0 to 4094"]),
            (
                group(&json!({ "vlan": 1, "trunk": [{ "start": 1, "end": 1 }] })),
                &["\"a\": vlan and trunk exclude"],
            ),
            (group(&json!({ "trunk": [{ "start": 2, "end": 1 }] })), &["\"a\": a range of trunk"]),
            (group(&json!({ "trunk": [{ "start": 2, "end": 4095 }] })), &["\"a\": a range of trunk"]),
            (group(&json!({ "ports": 0 })), &["\"a\": ports has to be 1 to 8192"]),
            (
                group(&json!({ "ports": 1, "binding": "ephemeral" })),
                &["\"a\": ports and autoExpand do not matter"],
            ),
            (group(&json!({ "description": "x".repeat(161) })), &["\"a\": description has to have"]),
            (group(&json!({ "description": PORT_GROUP_MARK })), &["\"a\": description must not have"]),
            (
                json!([{ "name": "a", "switch": "x" }, { "name": "a", "switch": "" }]),
                &["\"a\" is listed twice", "\"a\": switch is empty"],
            ),
        ];
        for (groups, wanted) in rows {
            let found = wrong(&spec(&vcenter, &groups));
            assert_eq!(found.len(), wanted.len(), "{groups}: {found:?}");
            assert!(found.iter().zip(wanted).all(|(found, wanted)| found.starts_with(wanted)), "{found:?}");
        }
        for without in
            [json!(null), json!({ "server": "", "credentialRef": { "name": "s", "namespace": "n" } })]
        {
            let found = wrong(&spec(&without, &group(&json!({}))));
            assert!(
                matches!(found.as_slice(), [one] if one.starts_with("spec.vcenter is missing")),
                "{found:?}"
            );
            assert_eq!(wrong(&spec(&without, &json!([]))), [""; 0]);
        }
    }
}
