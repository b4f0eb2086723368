//! The shipped rights are those that the operator uses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::{AuditEvent, eventually};

use crate::rig::Rig;
use crate::site::{PATIENCE, Site};

/// Group, resource with subresource, and verb.
type Right = (String, String, String);
/// The rights of roles, each with the names of the objects that it is limited to; `None`: it is for all.
type Rights = BTreeMap<Right, Option<BTreeSet<String>>>;

/// Checks that the operator has used each right that is shipped and no other, for each object that it is limited to, and that the
/// first object of another process reports a right that is taken away.
pub(super) async fn are_exact<R: Rig>(rig: &R) -> Result<()> {
    let site = rig.site();
    let mut requests = site.requests()?;
    let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    requests.retain(|request| !request.resource.is_empty());
    let mut shipped = shipped::<R>(site).await?;
    for (group, resource, verb) in R::UNUSED_RIGHTS {
        let right = ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned());
        ensure!(shipped.remove(&right).is_some(), "{right:?} is not shipped: remove it from UNUSED_RIGHTS");
    }
    // Users name the operator's objects, what is called after one of them, and all in the rig's namespace.
    let own: BTreeSet<_> = requests
        .iter()
        .filter(|request| request.group == R::SUBJECT.group)
        .map(|request| request.name.clone())
        .collect();
    let by_users = |request: &AuditEvent| {
        let is_of_own = own.iter().any(|own| !own.is_empty() && request.name.contains(own));
        request.group == R::SUBJECT.group
            || [&*request.namespace, &*request.name].contains(&site.namespace())
            || is_of_own
    };
    let problems = problems(&shipped, &requests, by_users);
    ensure!(problems.is_empty(), "{}", problems.join("; "));
    missed(rig).await
}

/// Returns how the rights that are shipped differ from those that requests need. A right whose requests are about one object that no
/// user has named is to be limited to it.
fn problems(
    shipped: &Rights,
    requests: &[AuditEvent],
    by_users: impl Fn(&AuditEvent) -> bool,
) -> Vec<String> {
    let mut used = BTreeMap::<Right, Vec<&AuditEvent>>::new();
    for request in requests {
        let slash = if request.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", request.resource, request.subresource);
        used.entry((request.group.clone(), resource, request.verb.clone())).or_default().push(request);
    }
    let mut problems = Vec::new();
    for (right, names) in shipped {
        let Some(requests) = used.get(right) else {
            problems.push(format!("shipped but never used: {right:?}"));
            continue;
        };
        let about: BTreeSet<_> = requests.iter().map(|request| request.name.as_str()).collect();
        let unused = names.iter().flatten().filter(|name| !about.contains(name.as_str()));
        problems.extend(unused.map(|name| format!("shipped for {name} but never used for it: {right:?}")));
        let can_be_limited = !matches!(right.2.as_str(), "create" | "list" | "watch" | "deletecollection");
        if let (None, [name]) = (names, about.iter().collect::<Vec<_>>().as_slice())
            && can_be_limited
            && !requests.iter().any(|request| by_users(request))
        {
            problems.push(format!("shipped without resourceNames and used for {name} only: {right:?}"));
        }
    }
    let extra = used.keys().filter(|right| !shipped.contains_key(*right));
    problems.extend(extra.map(|right| format!("used but not shipped: {right:?}")));
    problems
}

/// Returns what the ClusterRole and the Role of the Lease allow.
async fn shipped<R: Rig>(site: &Site) -> Result<Rights> {
    let name = R::SUBJECT.name;
    let lease = format!("{name}-leader-election");
    let mut shipped = Rights::new();
    for command in [
        vec!["get", "clusterrole", name, "-o", "json"],
        vec!["-n", R::SUBJECT.namespace, "get", "role", lease.as_str(), "-o", "json"],
    ] {
        let role: Value = serde_json::from_str(&site.control_plane().kubectl(&command).await?)?;
        add(&mut shipped, &role)?;
    }
    Ok(shipped)
}

/// Adds what a role allows.
fn add(rights: &mut Rights, role: &Value) -> Result<()> {
    for rule in role["rules"].as_array().context("a role without rules")? {
        let list = |key: &str| serde_json::from_value::<Vec<String>>(rule[key].clone());
        let names = if rule["resourceNames"].is_null() { None } else { Some(list("resourceNames")?) };
        for group in list("apiGroups")? {
            for resource in list("resources")? {
                for verb in list("verbs")? {
                    let right = (group.clone(), resource.clone(), verb);
                    let of = rights.entry(right).or_insert_with(|| Some(BTreeSet::new()));
                    match (of.as_mut(), &names) {
                        (Some(of), Some(names)) => of.extend(names.iter().cloned()),
                        _ => *of = None,
                    }
                }
            }
        }
    }
    Ok(())
}

/// Takes a right away and waits until an object says so.
async fn missed<R: Rig>(rig: &R) -> Result<()> {
    let site = rig.site();
    let (group, resource, verb) = R::MISSED_RIGHT;
    let kubectl = site.control_plane();
    let cluster_role: Value = serde_json::from_str(
        &kubectl.kubectl(&["get", "clusterrole", R::SUBJECT.name, "-o", "json"]).await?,
    )?;
    let has =
        |list: &Value, text: &str| list.as_array().is_some_and(|list| list.iter().any(|item| item == text));
    let rules = cluster_role["rules"].as_array().context("a role without rules")?;
    let rule =
        rules.iter().position(|rule| has(&rule["apiGroups"], group) && has(&rule["resources"], resource));
    let rule = rule.context("no rule has MISSED_RIGHT")?;
    let verbs = rules.get(rule).and_then(|rule| rule["verbs"].as_array()).context("a rule without verbs")?;
    let verbs: Vec<_> = verbs.iter().filter(|shipped| *shipped != verb).collect();
    let patch =
        json!([{ "op": "replace", "path": format!("/rules/{rule}/verbs"), "value": verbs }]).to_string();
    kubectl.kubectl(&["patch", "clusterrole", R::SUBJECT.name, "--type=json", "-p", &patch]).await?;
    let account = site.account();
    eventually("the API server refuses", PATIENCE, async || {
        let ask = ["auth", "can-i", verb, &format!("{resource}.{group}"), "--as", &account];
        Ok(kubectl.kubectl(&ask).await.is_err().then_some(()))
    })
    .await?;
    let _operator = rig.operator().await?;
    let samples = R::samples();
    let mut sample = samples.first().context("no sample")?.clone();
    sample["metadata"]["name"] = "refused".into();
    site.apply(None, &rig.localized(sample)).await?;
    let status = site.reason("refused", "KubernetesRefused").await?;
    ensure!(status.to_string().contains("forbidden"), "the status does not say what is forbidden: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASES: &str = "coordination.k8s.io";

    fn request(verb: &str, group: &str, resource: &str, name: &str) -> AuditEvent {
        AuditEvent {
            verb: verb.to_owned(),
            user: String::new(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: String::new(),
            namespace: if group == LEASES { "system" } else { "" }.to_owned(),
            name: name.to_owned(),
            code: 200,
            user_agent: String::new(),
        }
    }

    /// Returns the problems of rules where these requests were made.
    fn of(rules: &[Value]) -> Vec<String> {
        let requests = [
            request("get", "", "namespaces", "kube-system"),
            request("create", LEASES, "leases", ""),
            request("update", LEASES, "leases", "operator"),
            request("patch", "example.com", "things", "one"),
            request("get", "", "secrets", "one"),
            request("get", "", "secrets", "two"),
        ];
        let mut rights = Rights::new();
        add(&mut rights, &json!({ "rules": rules })).unwrap();
        problems(&rights, &requests, |request| request.group == "example.com")
    }

    fn rule(verb: &str, group: &str, resource: &str) -> Value {
        json!({ "verbs": [verb], "apiGroups": [group], "resources": [resource] })
    }

    fn named(mut rule: Value, names: &[&str]) -> Value {
        rule["resourceNames"] = names.into();
        rule
    }

    #[test]
    fn a_rule_that_loses_its_names_is_noticed() {
        let (kube_system, lease) = (rule("get", "", "namespaces"), rule("update", LEASES, "leases"));
        let others = [
            rule("create", LEASES, "leases"),
            rule("patch", "example.com", "things"),
            rule("get", "", "secrets"),
        ];
        let with = |more: &[Value]| of(&[&others[..], more].concat());
        let limited = [named(kube_system.clone(), &["kube-system"]), named(lease.clone(), &["operator"])];
        assert_eq!(with(&limited), Vec::<String>::new());
        let only = |name: &str, right: &str| {
            format!("shipped without resourceNames and used for {name} only: {right}")
        };
        let kube_system_only = [only("kube-system", r#"("", "namespaces", "get")"#)];
        assert_eq!(with(&[kube_system.clone(), limited[1].clone()]), kube_system_only);
        // A second rule of the same right without names.
        assert_eq!(with(&[kube_system, limited[0].clone(), limited[1].clone()]), kube_system_only);
        let lease_only = only("operator", r#"("coordination.k8s.io", "leases", "update")"#);
        assert_eq!(with(&[limited[0].clone(), lease]), [lease_only]);
    }

    #[test]
    fn rights_and_names_without_a_use_and_uses_without_a_right_are_noticed() {
        let rules = [
            named(rule("get", "", "namespaces"), &["kube-system", "default"]),
            named(rule("update", LEASES, "leases"), &["operator"]),
            rule("patch", "example.com", "things"),
            rule("get", "", "secrets"),
            rule("delete", "example.com", "things"),
        ];
        let expected = [
            r#"shipped for default but never used for it: ("", "namespaces", "get")"#,
            r#"shipped but never used: ("example.com", "things", "delete")"#,
            r#"used but not shipped: ("coordination.k8s.io", "leases", "create")"#,
        ];
        assert_eq!(of(&rules), expected);
    }
}
