//! The example's admission webhook, called by a real API server, under the rights and the registration that the binary prints.

use std::sync::OnceLock;

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::Secret;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use testbed::Port;

use super::*;

const REGISTRATION: &str = "validatingwebhookconfiguration/page-operator-webhook";
const SECRET: &str = "page-operator-webhook";

/// Certificate, key and authority of a webhook at 127.0.0.1, valid for some more days, as PEM.
struct Made([String; 3]);

impl Made {
    fn new(days: i64) -> Self {
        let end = k8s_openapi::jiff::Timestamp::now()
            .saturating_add(k8s_openapi::jiff::SignedDuration::from_hours(24 * days))
            .unwrap()
            .to_zoned(k8s_openapi::jiff::tz::TimeZone::UTC);
        let end = date_time_ymd(end.year().into(), end.month().unsigned_abs(), end.day().unsigned_abs());
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "of the test");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        let mut served = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        served.not_after = end;
        let key = KeyPair::generate().unwrap();
        let certificate = served.signed_by(&key, &issuer).unwrap().pem();
        Self([certificate, key.serialize_pem(), authority_pem])
    }

    fn authority(&self) -> &str {
        &self.0[2]
    }

    fn secret(&self, name: &str) -> Value {
        let [certificate, key, authority] = &self.0;
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "stringData": { "tls.crt": certificate, "tls.key": key, "ca.crt": authority } })
    }
}

impl Rig {
    /// Registers the webhook at an address of this machine, with the rights that it needs.
    async fn register(&self, port: &Port) {
        let kubectl = &self.control_plane;
        let apply = ["-n", NAMESPACE, "apply", "--server-side", "-f", "-"];
        kubectl.kubectl_stdin(&apply, &print(&["webhook"])).await.unwrap();
        let url = format!("https://127.0.0.1:{}/validate-example-com-v1-page", port.number());
        let at = |entry: usize| {
            let path = format!("/webhooks/{entry}/clientConfig");
            json!({ "op": "replace", "path": path, "value": { "url": url } })
        };
        let patch = json!([at(0), at(1)]).to_string();
        kubectl.kubectl(&["patch", REGISTRATION, "--type=json", "-p", &patch]).await.unwrap();
        let account = format!("--serviceaccount={NAMESPACE}:{NAME}");
        let role = format!("--role={SECRET}");
        kubectl.kubectl(&["-n", NAMESPACE, "create", "rolebinding", SECRET, &role, &account]).await.unwrap();
        let role = format!("--clusterrole={SECRET}");
        kubectl.kubectl(&["create", "clusterrolebinding", SECRET, &role, &account]).await.unwrap();
    }

    /// Applies a page; returns what kubectl prints, or why it is refused.
    async fn try_page(&self, name: &str, text: &str, more: &[&str]) -> Result<String, String> {
        let page = json!({ "apiVersion": "example.com/v1", "kind": "Page",
            "metadata": { "name": name, "namespace": "team" }, "spec": { "text": text } });
        let apply = [&["apply", "-f", "-"], more].concat();
        let applied = self.control_plane.kubectl_stdin(&apply, &page.to_string()).await;
        applied.map_err(|error| format!("{error:#}"))
    }

    /// Waits until a page without a text is refused with this message.
    async fn refuses(&self, message: &str) {
        eventually(message, PATIENCE, async || {
            let refused = self.try_page("empty", "", &["--dry-run=server"]).await.unwrap_err();
            anyhow::ensure!(refused.contains(message), "{refused}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Returns the certificate in a Secret, other than `old`.
    async fn certificate(&self, secret: &str, old: &[u8]) -> Vec<u8> {
        let secrets: Api<Secret> = Api::namespaced(self.control_plane.client(), NAMESPACE);
        eventually("another certificate", PATIENCE, async || {
            let data = secrets.get_opt(secret).await?.and_then(|secret| secret.data).unwrap_or_default();
            let certificate = data.get("tls.crt").map(|bytes| bytes.0.clone()).unwrap_or_default();
            Ok((!certificate.is_empty() && certificate != old).then_some(certificate))
        })
        .await
        .unwrap()
    }

    /// Returns the authorities that the API server trusts, as PEM.
    async fn bundle(&self) -> String {
        let path = "jsonpath={.webhooks[1].clientConfig.caBundle}";
        let bundle = self.control_plane.kubectl(&["get", REGISTRATION, "-o", path]).await.unwrap();
        String::from_utf8(BASE64.decode(bundle.as_bytes()).unwrap()).unwrap()
    }

    async fn apply(&self, object: &Value) {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.control_plane.kubectl_stdin(&apply, &object.to_string()).await.unwrap();
    }
}

/// What the message of the example's function says.
const REFUSED: &str = "spec.text: write a text, or delete the page";

fn port() -> &'static Port {
    static PORT: OnceLock<Port> = OnceLock::new();
    PORT.get_or_init(|| Port::reserve().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_refuses_renews_its_certificate_and_stops_no_deletion_when_it_is_down() {
    let rig = Rig::start().await;
    rig.grant().await;
    rig.register(port()).await;
    let address = format!("--webhook-addr=127.0.0.1:{}", port().number());
    let arguments = format!("{address} --leader-election-namespace={NAMESPACE}");
    let mut replica = rig.replica(&arguments);
    replica.is_ready("[+] webhook certificate").await;
    rig.refuses(REFUSED).await;
    it_decides(&rig, &replica).await;
    it_makes_a_certificate_in_place_of_one_that_is_gone(&rig).await;
    an_entry_with_a_wrong_name_takes_nothing_from_the_others(&rig, &replica).await;
    a_renewal_fails_no_request(&rig).await;

    rig.page("team", "left", "a page").await;
    // It has its finalizer then.
    rig.wait("team", "left", "Ready").await;
    assert!(replica.process.terminate(PATIENCE).await.unwrap().success(), "{}", replica.process.log());
    assert!(!replica.process.log().contains("BEGIN PRIVATE KEY"), "a key is in the log");
    deletion_works_while_it_is_down(&rig).await;

    it_serves_what_others_keep(&rig, &address).await;
}

async fn it_decides(rig: &Rig, replica: &Replica) {
    let kubectl = &rig.control_plane;
    rig.try_page("greeting", "hello", &[]).await.unwrap();
    rig.wait("team", "greeting", "Ready").await;
    let refused = rig.try_page("greeting", "", &[]).await.unwrap_err();
    assert!(refused.contains(REFUSED) && refused.contains("greeting"), "{refused}");

    let page = ["-n", "team", "page", "greeting"];
    kubectl.kubectl(&["label", page[0], page[1], page[2], page[3], "example.com/keep="]).await.unwrap();
    let delete = ["delete", page[0], page[1], page[2], page[3], "--timeout=180s"];
    let refused = format!("{:#}", kubectl.kubectl(&delete).await.unwrap_err());
    let wanted = "admission webhook \"deletion.pages.example.com\" denied the request: remove the label example.com/keep";
    assert!(refused.contains(wanted) && refused.contains("Forbidden"), "{refused}");
    kubectl.kubectl(&["label", page[0], page[1], page[2], page[3], "example.com/keep-"]).await.unwrap();
    kubectl.kubectl(&delete).await.unwrap();

    let metrics = replica.get("/metrics").await;
    for (operation, result) in [("create", "allowed"), ("update", "refused"), ("delete", "refused")] {
        let line = format!("{{kind=\"Page\",operation=\"{operation}\",result=\"{result}\"}} ");
        let line = metrics
            .lines()
            .find_map(|text| text.strip_prefix("operator_webhook_requests_total")?.strip_prefix(&*line));
        assert!(line.is_some_and(|count| count != "0"), "{operation} {result}: {metrics}");
    }
}

async fn it_makes_a_certificate_in_place_of_one_that_is_gone(rig: &Rig) {
    let old = rig.certificate(SECRET, b"").await;
    rig.control_plane.kubectl(&["-n", NAMESPACE, "delete", "secret", SECRET]).await.unwrap();
    rig.certificate(SECRET, &old).await;
    rig.refuses(REFUSED).await;
}

async fn an_entry_with_a_wrong_name_takes_nothing_from_the_others(rig: &Rig, replica: &Replica) {
    let secrets: Api<Secret> = Api::namespaced(rig.control_plane.client(), NAMESPACE);
    let version = secrets.get(SECRET).await.unwrap().resource_version();
    let get = ["get", REGISTRATION, "-o", "jsonpath={.webhooks[1].clientConfig}"];
    let right: Value = serde_json::from_str(&rig.control_plane.kubectl(&get).await.unwrap()).unwrap();
    let wrong = json!({ "service": { "name": "Page Operator", "namespace": NAMESPACE, "path": "/" } });
    for config in [wrong, right] {
        let patch =
            json!([{ "op": "replace", "path": "/webhooks/1/clientConfig", "value": config }]).to_string();
        rig.control_plane.kubectl(&["patch", REGISTRATION, "--type=json", "-p", &patch]).await.unwrap();
        replica.says("webhook: no certificate can be for this name, correct it").await;
        rig.refuses(REFUSED).await;
    }
    replica.is_ready("[+] webhook certificate").await;
    assert_eq!(secrets.get(SECRET).await.unwrap().resource_version(), version, "no other one was made");
}

/// The certificate ends soon. The API server learns the new authority beside the old one before the new certificate is served.
async fn a_renewal_fails_no_request(rig: &Rig) {
    let old = Made::new(30);
    rig.apply(&old.secret(SECRET)).await;
    eventually("the API server trusts the old authority", PATIENCE, async || {
        Ok(rig.bundle().await.contains(old.authority().trim()).then_some(()))
    })
    .await
    .unwrap();
    // The API server reads its registrations again when the kernel of its cache says so, within moments.
    rig.refuses(REFUSED).await;
    let secrets: Api<Secret> = Api::namespaced(rig.control_plane.client(), NAMESPACE);
    let mut after = 0;
    eventually("requests after the renewal", PATIENCE, async || {
        let applied = rig.try_page("steady", "text", &["--dry-run=server"]).await;
        assert!(applied.is_ok(), "a request failed: {applied:?}");
        let secret = secrets.get(SECRET).await?;
        let certificate = secret.data.unwrap_or_default().remove("tls.crt").unwrap_or_default();
        after += u32::from(certificate.0 != old.0[0].as_bytes());
        Ok((after > 5).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(rig.bundle().await.matches("BEGIN CERTIFICATE").count(), 2);
}

async fn deletion_works_while_it_is_down(rig: &Rig) {
    let kubectl = &rig.control_plane;
    rig.refuses("failed calling webhook \"pages.example.com\"").await;
    kubectl.kubectl(&["-n", "team", "label", "page", "left", "a=b"]).await.unwrap();
    kubectl.kubectl(&["-n", "team", "delete", "page", "left", "--wait=false"]).await.unwrap();
    let free =
        ["-n", "team", "patch", "page", "left", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    kubectl.kubectl(&free).await.unwrap();
    kubectl.kubectl(&["-n", "team", "wait", "--for=delete", "page/left", "--timeout=180s"]).await.unwrap();
    kubectl.kubectl(&["delete", "namespace", "other", "--timeout=180s"]).await.unwrap();
}

/// With a certificate of another program, the operator only reads.
async fn it_serves_what_others_keep(rig: &Rig, address: &str) {
    let kubectl = &rig.control_plane;
    kubectl.kubectl(&["delete", "clusterrolebinding", SECRET]).await.unwrap();
    let read = r#"[{"op":"replace","path":"/rules","value":[{"apiGroups":[""],"resources":["secrets"],
        "resourceNames":["others"],"verbs":["list","watch"]}]}]"#;
    kubectl.kubectl(&["-n", NAMESPACE, "patch", "role", SECRET, "--type=json", "-p", read]).await.unwrap();
    let trust = async |made: &Made| {
        rig.apply(&made.secret("others")).await;
        let bundle = BASE64.encode(made.authority().as_bytes());
        let add = |entry: usize| {
            let path = format!("/webhooks/{entry}/clientConfig/caBundle");
            json!({ "op": "add", "path": path, "value": bundle })
        };
        let patch = json!([add(0), add(1)]).to_string();
        kubectl.kubectl(&["patch", REGISTRATION, "--type=json", "-p", &patch]).await.unwrap();
    };
    let others = format!("{address} --leader-election-namespace={NAMESPACE} --webhook-secret=others");
    let mut replica = rig.replica(&others);
    eventually("it waits for the Secret", PATIENCE, async || {
        let said = "[-] webhook certificate: there is no Secret others";
        Ok(replica.get("/readyz").await.contains(said).then_some(()))
    })
    .await
    .unwrap();
    for days in [20, 30] {
        trust(&Made::new(days)).await;
        rig.refuses(REFUSED).await;
    }
    replica.is_ready("[+] webhook certificate").await;
    assert!(replica.process.terminate(PATIENCE).await.unwrap().success());
    let log = replica.process.log();
    assert!(!log.contains("forbidden"), "{log}");
}
