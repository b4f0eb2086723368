//! The shipped rights are those that the operator uses.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testbed::eventually;

use crate::rig::Rig;
use crate::site::{PATIENCE, Site};

/// Group, resource with subresource, and verb.
type Right = (String, String, String);

/// Checks that the operator has used each right that is shipped and no other, and that the first object of another process reports a
/// right that is taken away.
pub(super) async fn are_exact<R: Rig>(rig: &R) -> Result<()> {
    let site = rig.site();
    let requests = site.requests()?;
    let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    let used: BTreeSet<Right> = requests
        .into_iter()
        .filter(|request| !request.resource.is_empty())
        .map(|request| {
            let slash = if request.subresource.is_empty() { "" } else { "/" };
            (request.group, format!("{}{slash}{}", request.resource, request.subresource), request.verb)
        })
        .collect();
    let mut shipped = shipped::<R>(site).await?;
    for (group, resource, verb) in R::UNUSED_RIGHTS {
        let right = ((*group).to_owned(), (*resource).to_owned(), (*verb).to_owned());
        ensure!(shipped.remove(&right), "{right:?} is not shipped: remove it from UNUSED_RIGHTS");
    }
    let unused: Vec<_> = shipped.difference(&used).collect();
    ensure!(unused.is_empty(), "shipped but never used: {unused:?}");
    let extra: Vec<_> = used.difference(&shipped).collect();
    ensure!(extra.is_empty(), "used but not shipped: {extra:?}");
    missed(rig).await
}

/// Returns what the ClusterRole and the Role of the Lease allow.
async fn shipped<R: Rig>(site: &Site) -> Result<BTreeSet<Right>> {
    let name = R::SUBJECT.name;
    let lease = format!("{name}-leader-election");
    let mut shipped = BTreeSet::new();
    for command in [
        vec!["get", "clusterrole", name, "-o", "json"],
        vec!["-n", R::SUBJECT.namespace, "get", "role", lease.as_str(), "-o", "json"],
    ] {
        let role: Value = serde_json::from_str(&site.control_plane().kubectl(&command).await?)?;
        for rule in role["rules"].as_array().context("a role without rules")? {
            let list = |key: &str| serde_json::from_value::<Vec<String>>(rule[key].clone());
            for group in list("apiGroups")? {
                for resource in list("resources")? {
                    shipped.extend(
                        list("verbs")?.into_iter().map(|verb| (group.clone(), resource.clone(), verb)),
                    );
                }
            }
        }
    }
    Ok(shipped)
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
    let status = site.reason("refused", "KubernetesApi").await?;
    ensure!(status.to_string().contains("forbidden"), "the status does not say what is forbidden: {status}");
    Ok(())
}
