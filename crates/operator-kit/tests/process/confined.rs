//! The example operator with `--watch-namespace`, under the Roles it prints for those namespaces.

use std::collections::BTreeSet;

use testbed::eventually;

use crate::{NAME, PATIENCE, Replica, Rig, print};

impl Rig {
    /// Installs what the binary prints for these namespaces.
    async fn confine(&self, namespaces: &[&str]) {
        let flags: Vec<_> = namespaces.iter().map(|name| format!("--watch-namespace={name}")).collect();
        let arguments: Vec<_> = ["rbac"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        self.control_plane.kubectl_stdin(&["apply", "-f", "-"], &print(&arguments)).await.unwrap();
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        self.control_plane.kubectl(arguments).await.unwrap()
    }

    /// Waits for the texts of the files.
    async fn has(&self, texts: &[&str]) {
        eventually(&format!("{texts:?}"), PATIENCE, async || Ok((self.texts() == texts).then_some(())))
            .await
            .unwrap();
    }
}

impl Replica {
    /// Waits until the metric says whether the cache lacks a namespace.
    async fn lacks(&self, namespace: &str, lacks: bool) {
        let line = format!(
            r#"operator_watch_incomplete{{kind="Page",namespace="{namespace}"}} {}"#,
            u8::from(lacks)
        );
        let has = async || Ok(self.get("/metrics").await.contains(&line).then_some(()));
        eventually(&line, PATIENCE, has).await.unwrap();
    }

    async fn ends(mut self) -> String {
        assert!(self.process.terminate(PATIENCE).await.unwrap().success(), "{}", self.process.log());
        self.process.log()
    }
}

/// The Roles of those namespaces suffice, and others are left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_may_be_confined_to_namespaces() {
    let rig = Rig::start().await;
    let (both, three) = ("--watch-namespace=team,default", "--watch-namespace=team,default,later");
    rig.confine(&["team", "default"]).await;
    let replica = rig.replica(both);
    replica.is_ready("[+] watch Page\n").await;
    eventually("each empty namespace is named", PATIENCE, async || {
        let lines = replica.lines();
        let hints = lines
            .iter()
            .filter(|line| line["message"] == "nothing in this namespace yet; check that it exists");
        let named: BTreeSet<_> = hints.filter_map(|line| line["namespace"].as_str()).collect();
        Ok((named == BTreeSet::from(["default", "team"])).then_some(()))
    })
    .await
    .unwrap();
    for (namespace, text) in [("other", "not watched"), ("team", "one"), ("default", "two")] {
        rig.page(namespace, "page", text).await;
    }
    rig.wait("team", "page", "Ready").await;
    rig.wait("default", "page", "Ready").await;
    rig.has(&["one", "two"]).await;
    let log = replica.ends().await;
    assert!(!log.contains("forbidden"), "{log}");

    a_missing_namespace_is_named_and_served_once_it_exists(&rig, three).await;
    a_namespace_without_its_role_keeps_no_other_from_work(&rig, both).await;
    a_namespace_that_ends_without_its_role_goes_when_the_rights_are_back(&rig, three).await;
}

/// All others are served meanwhile.
async fn a_missing_namespace_is_named_and_served_once_it_exists(rig: &Rig, flags: &str) {
    let replica = rig.replica(flags);
    replica.is_ready("nothing is done in the namespace later until it exists").await;
    replica.lacks("later", true).await;
    replica.lacks("team", false).await;
    rig.page("team", "page", "three").await;
    rig.has(&["three", "two"]).await;
    rig.kubectl(&["create", "namespace", "later"]).await;
    rig.page("later", "page", "four").await;
    rig.confine(&["later"]).await;
    rig.wait("later", "page", "Ready").await;
    replica.lacks("later", false).await;
    replica.is_ready("[+] watch Page\n").await;
    replica.ends().await;
}

/// Nothing is done in that one, until the Role is back.
async fn a_namespace_without_its_role_keeps_no_other_from_work(rig: &Rig, flags: &str) {
    rig.kubectl(&["-n", "default", "delete", "role", NAME]).await;
    rig.page("default", "page", "five").await;
    let replica = rig.replica(flags);
    replica.is_ready("nothing is done in the namespace default until it exists").await;
    rig.page("team", "page", "six").await;
    rig.has(&["four", "six", "two"]).await;
    rig.confine(&["default"]).await;
    rig.has(&["five", "four", "six"]).await;
    replica.ends().await;
}

/// Kubernetes may delete the Role of the namespace before its objects, which need the operator.
async fn a_namespace_that_ends_without_its_role_goes_when_the_rights_are_back(rig: &Rig, flags: &str) {
    let replica = rig.replica(flags);
    replica.is_ready("[+] watch Page\n").await;
    rig.kubectl(&["-n", "later", "delete", "role", NAME]).await;
    rig.kubectl(&["delete", "namespace", "later", "--wait=false"]).await;
    rig.page("team", "page", "seven").await;
    // Its file goes, as the watch has told, but its finalizer cannot.
    rig.has(&["five", "seven"]).await;
    let another = rig.replica(flags);
    another.is_ready("nothing is done in the namespace later").await;
    another.ends().await;
    let page = rig.kubectl(&["-n", "later", "get", "page", "page", "-o", "name"]).await;
    assert!(!page.is_empty(), "it waits for the operator");
    rig.grant().await;
    rig.kubectl(&["wait", "--for=delete", "namespace/later", "--timeout=180s"]).await;
    replica.ends().await;
}
