//! A label of the Cluster has AKO remove what it made, and make nothing.

use e2e::{PATIENCE, Rig};
use testbed::{Cleanup, eventually};

use crate::{CLUSTER, Walk, on_avi};

const ASK: &str = "networking.tkg.tanzu.vmware.com/avi-config-delete";

/// Labels the Cluster, and waits until AVI has nothing of AKO.
async fn asks(walk: &Walk) {
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{ASK}=true")]).await.unwrap();
    walk.says("AviResourceCleanupSucceeded", "True AKOCleanedUp").await;
    walk.says("AKOInstalled", "False AviConfigDeleted").await;
    assert_eq!(on_avi(walk, "virtualservice"), <[String; 0]>::default());
}

/// Takes the label off, and waits until AKO works again.
async fn asks_no_more(walk: &Walk) {
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{ASK}-")]).await.unwrap();
    walk.says("AKOInstalled", "True AKOInstalled").await;
    walk.says("AviResourceCleanupSucceeded", "").await;
    eventually("AKO has made its virtual service again", PATIENCE, async || {
        anyhow::ensure!(!on_avi(walk, "virtualservice").is_empty(), "{:?}", walk.ako.trouble());
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_label_has_ako_make_nothing_until_it_goes() {
    let walk = Walk::start().await;
    asks(&walk).await;
    asks_no_more(&walk).await;

    walk.ako.set_cleanup(Cleanup::TimesOut);
    asks(&walk).await;
    let events = ["get", "events", "-o", "jsonpath={.items[?(@.reason=='AviObjectsRemoved')].message}"];
    walk.shows(&events, "removed 4 objects that AKO had left on AVI").await;
    asks_no_more(&walk).await;

    asks(&walk).await;
    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.nothing_is_left().await;
}

/// As one that was started again in the middle: it has nothing to remove then.
#[tokio::test]
async fn an_ako_that_does_not_answer_is_installed_again() {
    let mut walk = Walk::start().await;
    walk.ako.set_cleanup(Cleanup::Silent);
    walk.operator = walk.rig.operator_with(&walk.rig.launch().env("CLEANUP_DEADLINE", "2s")).await.unwrap();
    asks(&walk).await;
    let pod = ["get", "pod", "ako-0", "-n", "avi-system", "-o", "jsonpath={.status.phase}"];
    walk.workload_shows(&pod, "Running").await;
    assert_eq!(walk.ako.starts(), 2);
    asks_no_more(&walk).await;
}
