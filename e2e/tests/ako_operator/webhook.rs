//! The admission webhook, as the overlay installs it, called by a real API server. The API server has no network to Services, so the
//! registration names an address of this machine; everything else is as shipped.

use std::collections::BTreeSet;

use testbed::{Port, project_root};

use super::*;

const REGISTRATION: &str = "validatingwebhookconfiguration/ako-operator-webhook";
const PATH: &str = "/validate-networking-tkg-tanzu-vmware-com-v1alpha1-akodeploymentconfig";
const NAMESPACE: &str = "ako-operator-system";

struct Hooked {
    operator: OperatorProcess,
    rig: AkoRig,
    _port: Port,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Hooked {
    async fn start() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        let port = Port::reserve().unwrap();
        let kubectl = rig.site().control_plane();
        let overlay = project_root().unwrap().join("deploy/ako-operator/overlays/webhook");
        kubectl.kubectl(&["apply", "--server-side", "-k", overlay.to_str().unwrap()]).await.unwrap();
        let url = format!("https://127.0.0.1:{}{PATH}", port.number());
        let at = |entry: usize| {
            let path = format!("/webhooks/{entry}/clientConfig");
            json!({ "op": "replace", "path": path, "value": { "url": url } })
        };
        let patch = json!([at(0), at(1)]).to_string();
        kubectl.kubectl(&["patch", REGISTRATION, "--type=json", "-p", &patch]).await.unwrap();
        let launch = rig.launch().arg("--enable-leader-election");
        let launch = launch.env("WEBHOOK_ADDR", format!("127.0.0.1:{}", port.number()));
        let operator = rig.operator_with(&launch).await.unwrap();
        Self { operator, rig, _port: port, _place: place }
    }

    async fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        self.rig.site().control_plane().kubectl(args).await
    }

    /// Applies an AKODeploymentConfig; returns why it is refused.
    async fn refusal(&self, adc: &serde_json::Value) -> String {
        self.rig.site().apply(None, adc).await.map_or_else(|error| format!("{error:#}"), |()| String::new())
    }

    /// Waits until an AKODeploymentConfig is refused with this message.
    async fn refuses(&self, adc: &serde_json::Value, message: &str) {
        eventually(message, PATIENCE, async || {
            let refusal = self.refusal(adc).await;
            anyhow::ensure!(refusal.contains(message), "{refusal:?}\n{}", self.operator.process.log());
            Ok(Some(()))
        })
        .await
        .unwrap();
    }
}

fn named(mut adc: serde_json::Value, name: &str) -> serde_json::Value {
    adc["metadata"]["name"] = name.into();
    adc
}

#[tokio::test]
async fn the_api_server_refuses_what_the_original_refused() {
    let mut hooked = Hooked::start().await;
    crate::observability::shows(&hooked.operator, "operator_webhook_certificate_usable").await;
    let adc = hooked.rig.config();
    let mut wrong = named(adc.clone(), "wrong");
    wrong["spec"]["controllerVersion"] = "x".into();
    hooked.refuses(&wrong, "spec.ControllerVersion: invalid controller version format").await;
    let refusal = hooked.refusal(&wrong).await;
    let wanted = "AKODeploymentConfig.networking.tkg.tanzu.vmware.com \"wrong\" is invalid: ";
    assert!(refusal.contains(wanted), "{refusal}");

    hooked.rig.site().apply(None, &adc).await.unwrap();
    hooked.rig.site().ready_within("adc", PATIENCE, |_| true).await.unwrap();
    let mut changed = adc.clone();
    changed["spec"]["clusterSelector"] = json!({ "matchLabels": { "other": "label" } });
    hooked.refuses(&changed, "spec.ClusterSelector: field should not be changed").await;
    let mut changed = adc.clone();
    changed["spec"]["controlPlaneNetwork"] = json!({ "name": "vips", "cidr": "10.92.0.0/25" });
    hooked.refuses(&changed, "spec.ControlPlaneNetwork: field should not be changed").await;
    let mut changed = adc.clone();
    changed["spec"]["extraConfigs"] = json!({ "replicaCount": 2 });
    assert_eq!(hooked.refusal(&changed).await, "");

    let management = named(adc.clone(), "install-ako-for-management-cluster");
    hooked.rig.site().apply(None, &management).await.unwrap();
    let delete = ["delete", "akodeploymentconfig", "install-ako-for-management-cluster", "--wait=false"];
    let refused = format!("{:#}", hooked.kubectl(&delete).await.unwrap_err());
    assert!(refused.contains("can't delete akodeploymentconfig object for management cluster"), "{refused}");

    certificate_is_replaced(&hooked, &wrong).await;
    rights_are_exact(&hooked).await;

    // Without the operator nothing is refused but what it would have looked at.
    assert!(hooked.operator.process.terminate(PATIENCE).await.unwrap().success());
    hooked.refuses(&named(adc, "other"), "failed calling webhook").await;
    for name in ["adc", "install-ako-for-management-cluster"] {
        hooked.kubectl(&["label", "akodeploymentconfig", name, "a=b"]).await.unwrap();
        hooked.kubectl(&["delete", "akodeploymentconfig", name, "--wait=false"]).await.unwrap();
        let free = [
            "patch",
            "akodeploymentconfig",
            name,
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ];
        hooked.kubectl(&free).await.unwrap();
        hooked.rig.site().gone(name).await.unwrap();
    }
}

/// A certificate that is lost is made again, without a restart.
async fn certificate_is_replaced(hooked: &Hooked, wrong: &serde_json::Value) {
    let secret =
        ["get", "secret", "ako-operator-webhook", "-n", NAMESPACE, "-o", r"jsonpath={.data.tls\.crt}"];
    let before = hooked.kubectl(&secret).await.unwrap();
    hooked.kubectl(&["delete", "secret", "ako-operator-webhook", "-n", NAMESPACE]).await.unwrap();
    eventually("another certificate", PATIENCE, async || {
        let now = hooked.kubectl(&secret).await?;
        Ok((!now.is_empty() && now != before).then_some(()))
    })
    .await
    .unwrap();
    hooked.refuses(wrong, "spec.ControllerVersion").await;
    let key = ["get", "secret", "ako-operator-webhook", "-n", NAMESPACE, "-o", r"jsonpath={.data.tls\.key}"];
    let key = data_encoding::BASE64.decode(hooked.kubectl(&key).await.unwrap().as_bytes()).unwrap();
    let key = String::from_utf8(key).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(!hooked.operator.process.log().contains(line), "the key is in the log");
}

/// The overlay grants what the webhook uses, and no more.
async fn rights_are_exact(hooked: &Hooked) {
    // An update of the Secret, as a renewal makes: it is for other names.
    let empty = r#"{"data":{"tls.crt":"eA=="}}"#;
    let patch = ["patch", "secret", "ako-operator-webhook", "-n", NAMESPACE, "-p", empty];
    hooked.kubectl(&patch).await.unwrap();
    let shipped = ["create", "list", "update", "watch"].map(|verb| ("secrets", verb)).into_iter();
    let shipped =
        shipped.chain(["list", "patch", "watch"].map(|verb| ("validatingwebhookconfigurations", verb)));
    let shipped: BTreeSet<_> =
        shipped.map(|(resource, verb)| (resource.to_owned(), verb.to_owned())).collect();
    eventually("each right is used", PATIENCE, async || {
        let requests = hooked.rig.site().requests()?;
        let refused: Vec<_> = requests.iter().filter(|request| request.code == 403).collect();
        anyhow::ensure!(refused.is_empty(), "{refused:?}");
        let is_of_webhook = |resource: &str, verb: &str| {
            resource == "validatingwebhookconfigurations" || (resource == "secrets" && verb != "get")
        };
        let used = requests.into_iter().filter(|request| is_of_webhook(&request.resource, &request.verb));
        let used: BTreeSet<_> = used.map(|request| (request.resource, request.verb)).collect();
        anyhow::ensure!(used.is_subset(&shipped), "{used:?}");
        Ok((used == shipped).then_some(()))
    })
    .await
    .unwrap();
}
