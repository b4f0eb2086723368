//! The Service of a control plane, with a real Cluster API and its webhooks; the test takes the place of AKO in the management cluster.

use anyhow::ensure;
use e2e::{AkoRig, OperatorProcess, PATIENCE, Rig};
use serde_json::{Value, json};
use testbed::eventually;

use crate::PLACES;

const ADDRESS: &str = "10.93.0.7";

/// Waits until an object of the management cluster fits, and returns it.
async fn fits(rig: &AkoRig, object: &str, what: &str, fit: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{object}: {what}"), PATIENCE, async || {
        let printed = rig.management.kubectl(&["get", object, "-o", "json"]).await?;
        let found: Value = serde_json::from_str(&printed)?;
        ensure!(fit(&found), "{found}");
        Ok(Some(found))
    })
    .await
    .unwrap()
}

fn condition(cluster: &Value) -> (Value, Value) {
    let all = cluster["status"]["conditions"].as_array().into_iter().flatten();
    let is = all.into_iter().find(|is| is["type"] == "AviControlPlaneEndpointReady");
    is.map(|is| (is["status"].clone(), is["reason"].clone())).unwrap_or_default()
}

/// A control plane that AVI balances.
struct Balanced {
    operator: OperatorProcess,
    rig: AkoRig,
    cluster: String,
    service: String,
}

impl Balanced {
    async fn cluster(&self, what: &str, status: &str, reason: &str) -> Value {
        fits(&self.rig, &self.cluster, what, |it| condition(it) == (status.into(), reason.into())).await
    }

    async fn service(&self, what: &str, fit: impl Fn(&Value) -> bool) -> Value {
        fits(&self.rig, &format!("service/{}", self.service), what, fit).await
    }

    async fn slice(&self, what: &str, fit: impl Fn(&Value) -> bool) -> Value {
        fits(&self.rig, &format!("endpointslice/{}", self.service), what, fit).await
    }

    /// A Service, and then an endpoint of the Cluster.
    async fn is_set_up(&self) -> Value {
        self.cluster("it has no address", "False", "ControlPlaneAddressPending").await;
        let made = self.service("it exists", |_| true).await;
        let annotations = &made["metadata"]["annotations"];
        assert_eq!(annotations["aviinfrasetting.ako.vmware.com/name"], "adc-ais", "{annotations}");
        assert_eq!(made["spec"]["ports"][0]["port"], 7443);
        assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "Cluster");
        let has_machine = |it: &Value| {
            it["endpoints"][0]["addresses"][0].as_str().is_some_and(|address| address.starts_with("10.20."))
        };
        let slice = self.slice("it has the Machine", has_machine).await;
        let endpoints = slice["endpoints"].as_array().unwrap();
        assert_eq!((endpoints.len(), &endpoints[0]["conditions"]["ready"]), (1, &true.into()));

        // As by an AKO that has accepted another AviInfraSetting.
        self.rig.give_address(&self.service, "10.92.0.7").await.unwrap();
        self.cluster("it is of another network", "False", "ControlPlaneAddressDiffers").await;
        self.rig.give_address(&self.service, ADDRESS).await.unwrap();
        let has = self.cluster("it has its endpoint", "True", "ControlPlaneEndpointReady").await;
        assert_eq!(has["spec"]["controlPlaneEndpoint"], json!({ "host": ADDRESS, "port": 7443 }));
        let variables = has["spec"]["topology"]["variables"].as_array().unwrap();
        assert!(
            variables.contains(&json!({ "name": "apiServerEndpoint", "value": ADDRESS })),
            "{variables:?}"
        );
        made
    }

    /// A Service that a person deletes is made again with its address.
    async fn comes_back(&self, before: &Value) {
        self.rig.management.kubectl(&["delete", &format!("service/{}", self.service)]).await.unwrap();
        let is_new = |it: &Value| it["metadata"]["uid"] != before["metadata"]["uid"];
        let again = self.service("it is made again", is_new).await;
        assert_eq!(again["spec"]["loadBalancerIP"], ADDRESS);
        assert_eq!(again["metadata"]["annotations"]["ako.vmware.com/load-balancer-ip"], ADDRESS);
        self.cluster("it waits for the address", "False", "ControlPlaneAddressPending").await;
        self.rig.give_address(&self.service, "10.93.0.8").await.unwrap();
        self.cluster("its address is taken", "False", "ControlPlaneAddressDiffers").await;
        self.rig.give_address(&self.service, ADDRESS).await.unwrap();
        self.cluster("it is reached again", "True", "ControlPlaneEndpointReady").await;
        let owner = &again["metadata"]["uid"];
        self.slice("it belongs to the new one", |it| it["metadata"]["ownerReferences"][0]["uid"] == *owner)
            .await;
    }

    /// Wakes the Cluster, waits until its endpoint was looked at, and checks that nothing was written.
    async fn is_at_rest(&self) {
        let writes = || {
            let mut writes = self.rig.site().requests().unwrap();
            writes.retain(|request| request.is_write() && request.resource != "events");
            writes.len()
        };
        let before = (self.operator.passes_of("endpoint").await.unwrap(), writes());
        self.rig.management.kubectl(&["label", &self.cluster, "look=again"]).await.unwrap();
        eventually("the endpoint was looked at", PATIENCE, async || {
            Ok((self.operator.passes_of("endpoint").await? > before.0).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(writes(), before.1, "a second pass writes nothing");
    }
}

/// Prints an AviInfraSetting, and who manages it.
fn managed_by() -> String {
    r"jsonpath={.items[*].metadata.name} {.items[*].metadata.labels.app\.kubernetes\.io/managed-by}"
        .to_owned()
}

/// The AKODeploymentConfig owns its AviInfraSetting, as of an earlier version, until the operator looks. Then it is deleted in the foreground, and
/// waits for its Clusters.
async fn is_deleted_in_foreground(rig: &AkoRig) {
    let kubectl = async |args: &[&str]| rig.management.kubectl(args).await.unwrap();
    let uid = kubectl(&["get", "adc", "adc", "-o", "jsonpath={.metadata.uid}"]).await;
    let owner = json!({ "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig", "name": "adc",
        "uid": uid, "blockOwnerDeletion": true });
    let patch = json!({ "metadata": { "ownerReferences": [owner] } }).to_string();
    kubectl(&["patch", "aviinfrasetting", "adc-ais", "--type=merge", "-p", &patch]).await;
    let change = json!({ "spec": { "extraConfigs": { "log": { "logLevel": "WARN" } } } }).to_string();
    kubectl(&["patch", "adc", "adc", "--type=merge", "-p", &change]).await;
    let owners =
        ["get", "aviinfrasetting", "adc-ais", "-o", "jsonpath={.metadata.uid}{.metadata.ownerReferences}"];
    let uid = ["get", "aviinfrasetting", "adc-ais", "-o", "jsonpath={.metadata.uid}"];
    let uid = kubectl(&uid).await;
    eventually("it has no owner", PATIENCE, async || Ok((kubectl(&owners).await == uid).then_some(())))
        .await
        .unwrap();
    kubectl(&["delete", "adc", "adc", "--cascade=foreground", "--wait=false"]).await;
    rig.site().reason("adc", "InUse").await.unwrap();
    assert_eq!(kubectl(&owners).await, uid, "it is there");
}

#[tokio::test]
async fn avi_balances_a_control_plane() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let operator = rig.operator().await.unwrap();
    let mut config = rig.config();
    config["spec"]["controlPlaneNetwork"]["cidr"] = "10.93.0.0/24".into();
    rig.site().apply(None, &config).await.unwrap();
    let guest = rig.with_ako(rig.balanced_cluster("w1").await.unwrap()).await.unwrap();
    let (cluster, service) = ("cluster/w1".to_owned(), "default-w1-control-plane".to_owned());
    let balanced = Balanced { operator, rig, cluster, service };
    balanced.cluster("AKO has not accepted the setting", "False", "AviInfraSettingPending").await;
    let accepted = r#"--patch={"status":{"status":"Accepted"}}"#;
    let accept = ["patch", "aviinfrasetting", "adc-ais", "--type=merge", accepted];
    balanced.rig.management.kubectl(&accept).await.unwrap();

    let made = balanced.is_set_up().await;
    let Balanced { rig, operator, service, .. } = &balanced;
    rig.replace_endpoints(service).await.unwrap();
    balanced.comes_back(&made).await;
    rig.condition("w1", "AKOInstalled", "True").await.unwrap();
    balanced.is_at_rest().await;

    // The Service goes on naming the AviInfraSetting, which stays until an AKODeploymentConfig of that name has it again.
    is_deleted_in_foreground(rig).await;
    let label = "cluster-service.network.tkg.tanzu.vmware.com/avi";
    rig.management.kubectl(&["label", "cluster/w1", &format!("{label}-")]).await.unwrap();
    rig.site().gone("adc").await.unwrap();
    assert_eq!(
        rig.management.kubectl(&["get", "aviinfrasetting", "-o", &managed_by()]).await.unwrap(),
        "adc-ais "
    );
    rig.site().apply(None, &config).await.unwrap();
    rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
    assert_ne!(
        rig.management.kubectl(&["get", "aviinfrasetting", "-o", &managed_by()]).await.unwrap(),
        "adc-ais "
    );

    // As while AKO removes the virtual service.
    let hold = async |finalizers: Value| {
        let patch = json!({ "metadata": { "finalizers": finalizers } }).to_string();
        rig.management.kubectl(&["patch", "service", service, "--type=merge", "-p", &patch]).await.unwrap();
    };
    hold(json!(["example.com/hold"])).await;
    guest.workload.delete().await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();
    rig.management.kubectl(&["delete", "adc", "adc", "--wait=false"]).await.unwrap();
    rig.site().reason("adc", "AviInfraSettingInUse").await.unwrap();
    hold(json!(null)).await;
    rig.gone(&format!("service/{service}")).await.unwrap();
    rig.site().gone("adc").await.unwrap();
    rig.gone("aviinfrasetting/adc-ais").await.unwrap();
    let log = operator.process.log();
    assert!(!log.contains("panicked") && !log.contains("InternalError"), "{log}");
}
