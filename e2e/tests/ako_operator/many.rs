//! Clusters that come and go at once.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use avi_simulator::LoggedRequest;
use futures::future::try_join_all;

use super::*;

const CLUSTERS: [&str; 5] = ["w1", "w2", "w3", "w4", "w5"];

/// Each has a tenant and a user of its own. All are labelled at once, and deleted at once.
#[tokio::test]
async fn five_clusters_come_and_go_at_once() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let before = avi.snapshot();
    let operator = rig.operator().await.unwrap();
    let mut config = rig.config();
    config["spec"]["tenant"] = json!({ "name": "tkg", "scope": "Cluster" });
    rig.site().apply(None, &config).await.unwrap();
    let start = async |name| rig.with_ako(rig.cluster(name, false).await?).await;
    let guests = try_join_all(CLUSTERS.map(start)).await.unwrap();
    let selected = format!("{LABEL}=");
    let label = [&["label", "cluster"], &CLUSTERS[..], &[&*selected]].concat();
    rig.management.kubectl(&label).await.unwrap();
    try_join_all(CLUSTERS.map(|name| rig.condition(name, "AKOInstalled", "True"))).await.unwrap();
    try_join_all(guests.iter().map(|guest| rig.balance(guest))).await.unwrap();

    let delete = [&["delete", "cluster", "--wait=false"], &CLUSTERS[..]].concat();
    rig.management.kubectl(&delete).await.unwrap();
    try_join_all(guests.iter().map(|guest| guest.workload.deleted(PATIENCE))).await.unwrap();
    rig.gone("machines").await.unwrap();
    rig.site().remove("adc").await.unwrap();
    let left = avi.diff(&before);
    assert!(left.is_empty(), "{left:?}\n{}", operator.process.log());

    let requests = avi.requests();
    assert_eq!(logins(&requests).get("admin"), Some(&1), "the operator has one session for all tenants");
    for (tenant, sessions) in sessions(&requests) {
        assert!(sessions <= 2, "{tenant}: {sessions} sessions");
    }
    has_kept_apart(&requests).unwrap();
}

/// Returns how often each user has logged in.
fn logins(requests: &[LoggedRequest]) -> BTreeMap<&str, usize> {
    let mut logins = BTreeMap::new();
    for request in requests.iter().filter(|request| request.path == "/login" && request.status == 200) {
        *logins.entry(request.user.as_deref().unwrap_or_default()).or_default() += 1;
    }
    logins
}

/// Returns how many sessions have worked in each tenant: a user has as many as it has logged in.
fn sessions(requests: &[LoggedRequest]) -> BTreeMap<&str, usize> {
    let logins = logins(requests);
    let mut users: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for request in requests {
        if let (Some(tenant), Some(user)) = (request.tenant.as_deref(), request.user.as_deref()) {
            users.entry(tenant).or_default().insert(user);
        }
    }
    let count =
        |users: std::collections::BTreeSet<&str>| users.into_iter().filter_map(|user| logins.get(user)).sum();
    users.into_iter().map(|(tenant, users)| (tenant, count(users))).collect()
}

/// Each AKO has worked in the tenant of its Cluster.
fn has_kept_apart(requests: &[LoggedRequest]) -> Result<()> {
    for name in CLUSTERS {
        let user = format!("{name}-default-ako-user");
        let of_user = requests.iter().filter(|request| request.user.as_ref() == Some(&user));
        let tenants: std::collections::BTreeSet<_> =
            of_user.filter_map(|request| request.tenant.as_deref()).collect();
        ensure!(tenants == [&*format!("tkg-default-{name}")].into(), "{user} works in {tenants:?}");
    }
    Ok(())
}
