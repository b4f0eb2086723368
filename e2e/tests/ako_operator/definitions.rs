//! The kinds of AKO: the operator delivers their definitions with AKO, or says which ones a workload cluster lacks.

use std::fs;
use std::pin::pin;

use e2e::Guest;
use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::DeleteParams;
use kube::runtime::{WatchStreamExt, watcher};

use super::*;

/// Waits until AKOInstalled of the Cluster is so, and says this.
async fn says(rig: &AkoRig, wanted: &str, text: &str) {
    let fits = |condition: &Value| {
        let (status, reason) = (condition["status"].as_str(), condition["reason"].as_str());
        let found = format!("{} {}", status.unwrap_or_default(), reason.unwrap_or_default());
        found == wanted && condition["message"].as_str().is_some_and(|message| message.contains(text))
    };
    rig.condition_is(CLUSTER, "AKOInstalled", fits).await.unwrap();
}

/// A new AKO, a changed file and a wrong one: AKO goes on, and the kinds stay with the objects of users when it goes.
#[tokio::test]
async fn ako_comes_with_its_kinds() {
    let walk = Walk::start().await;
    let label = format!("app.kubernetes.io/managed-by={FINALIZER}");
    let ours = ["get", "crd", "-l", &label, "-o", "jsonpath={.items[*].spec.names.kind}"];
    let kinds = "AviInfraSetting HostRule HTTPRule L4Rule L7Rule SSORule";
    walk.workload_shows(&ours, kinds).await;
    let versions = ["get", "crd", "-l", &label, "-o", "jsonpath={.items[*].metadata.resourceVersion}"];
    let before = walk.workload.plane().kubectl(&versions).await.unwrap();

    let file = walk.rig.bundle().join("hostrules.yaml");
    let mut definition: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    definition["spec"]["names"]["shortNames"] = json!(["hr"]);
    fs::write(&file, definition.to_string()).unwrap();
    let names = ["get", "crd", "hostrules.ako.vmware.com", "-o", "jsonpath={.spec.names.shortNames[*]}"];
    walk.workload_shows(&names, "hr").await;
    let after = walk.workload.plane().kubectl(&versions).await.unwrap();
    let changed = before.split(' ').zip(after.split(' ')).filter(|(before, after)| before != after);
    assert_eq!(changed.count(), 1, "{before:?} {after:?}");

    let wrong = walk.rig.bundle().join("README.md");
    fs::write(&wrong, "# Definitions\n").unwrap();
    says(&walk.rig, "True AKOCRDsInvalid", "README.md: no document in it").await;
    walk.rig.site().reason("adc", "AKOCRDsInvalid").await.unwrap();
    fs::remove_file(&wrong).unwrap();
    says(&walk.rig, "True AKOInstalled", "").await;

    walk.workload.delete().await.unwrap();
    walk.workload.deleted(PATIENCE).await.unwrap();
    walk.workload_shows(&ours, kinds).await;
    walk.nothing_is_left().await;
}

/// A program that deletes a definition each time it is applied: the condition names it.
#[tokio::test]
async fn a_definition_that_is_deleted_again_and_again_is_named() {
    let walk = Walk::start().await;
    let name = "hostrules.ako.vmware.com";
    let definitions: Api<CustomResourceDefinition> = Api::all(walk.workload.plane().client());
    let deletes = async {
        // As soon as it is written, and once for each write: requests without a pause would hold its deletion up.
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut written = pin!(watcher(definitions.clone(), config).applied_objects());
        while let Some(definition) = written.next().await {
            if definition.unwrap().metadata.deletion_timestamp.is_none() {
                definitions.delete(name, &DeleteParams::default()).await.unwrap();
            }
        }
    };
    let file = walk.rig.bundle().join("hostrules.yaml");
    let mut definition: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    definition["spec"]["names"]["shortNames"] = json!(["hr"]);
    fs::write(&file, definition.to_string()).unwrap();
    let names_it = |condition: &Value| {
        let message = condition["message"].as_str().unwrap_or_default();
        condition["reason"] == "AKOObjectsReverted" && message.contains(&format!("{name} (it is"))
    };
    tokio::select! {
        () = deletes => {}
        named = walk.rig.condition_is(CLUSTER, "AKOInstalled", names_it) => named.unwrap(),
    }
    let log = walk.operator.process.log();
    assert!(!log.contains("InternalError"), "{log}");
}

/// A workload cluster, and an operator that was given no definitions.
struct Bare {
    operator: OperatorProcess,
    guest: Guest,
    rig: AkoRig,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Bare {
    async fn start() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        let operator = rig.operator_with(&rig.launch().without("AKO_CRDS")).await.unwrap();
        rig.site().apply(None, &rig.config()).await.unwrap();
        let guest = rig.with_ako(rig.cluster(CLUSTER, true).await.unwrap()).await.unwrap();
        Self { operator, guest, rig, _place: place }
    }

    async fn kubectl(&self, args: &[&str]) -> String {
        self.rig.site().control_plane().kubectl(args).await.unwrap()
    }

    /// Applies all definitions, as a person does.
    async fn define(&self) {
        self.kubectl(&["apply", "--server-side", "-f", self.rig.bundle().to_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn a_workload_cluster_without_the_kinds_says_which_and_what_to_do() {
    let mut bare = Bare::start().await;
    let missing = "False AKOCRDsMissing";
    let first = "HostRule (ako.vmware.com/v1beta1), HTTPRule (ako.vmware.com/v1beta1), L4Rule (ako.vmware.com/v1alpha2)";
    says(&bare.rig, missing, first).await;
    says(&bare.rig, missing, "kubectl apply --server-side -f helm/ako/crds").await;
    let type_ =
        ["get", "events", "--field-selector=reason=AKOCRDsMissing", "-o", "jsonpath={.items[*].type}"];
    eventually("there is an event", PATIENCE, async || {
        Ok((bare.kubectl(&type_).await == "Warning").then_some(()))
    })
    .await
    .unwrap();
    let system = bare.guest.workload.plane().real_name("avi-system");
    assert_eq!(bare.kubectl(&["get", "statefulsets", "-n", &system, "-o", "name"]).await, "");
    bare.define().await;
    says(&bare.rig, "True AKOInstalled", "").await;
    bare.rig.balance(&bare.guest).await.unwrap();

    // AKO would wait for it after its next start.
    bare.kubectl(&["delete", "crd", "l4rules.ako.vmware.com"]).await;
    bare.operator = bare.rig.operator_with(&bare.rig.launch().without("AKO_CRDS")).await.unwrap();
    says(&bare.rig, missing, "before: L4Rule (ako.vmware.com/v1alpha2): start the operator with --ako-crds")
        .await;
    bare.define().await;
    says(&bare.rig, "True AKOInstalled", "").await;
    let log = bare.operator.process.log();
    assert!(!log.contains("panicked"), "{log}");
}
