//! Cluster API is the real one.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Instant;

use testbed::Management;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_becomes_available() {
    let started = Instant::now();
    let management = Management::start().await.unwrap();
    eprintln!("management {:?} rss {} MiB", started.elapsed(), management.memory().unwrap().rss >> 20);
    let started = Instant::now();
    let workload = management.with_workload("w1").await.unwrap();
    eprintln!("workload {:?}", started.elapsed());
    eprintln!(
        "{}",
        management
            .kubectl(&[
                "get",
                "cluster,machine,md,ms,testbedcluster,testbedmachine,testbedcontrolplane",
                "-o",
                "wide"
            ])
            .await
            .unwrap()
    );
    eprintln!("{}", workload.plane().kubectl(&["get", "node", "-o", "wide"]).await.unwrap());
    if std::env::var_os("CAPI_LOG").is_some() {
        eprintln!("{}", management.log());
    }
}
