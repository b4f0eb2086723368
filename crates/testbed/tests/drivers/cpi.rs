//! vSphere's cloud controller manager (CPI).

use serde_json::json;
use testbed::{PodRunner, Program, eventually};

use crate::{SOON, Site, tools};

/// The port at which it serves its health.
const PORT: u16 = 10258;
const CONTAINER: &str = "vsphere-cloud-controller-manager";

impl Site {
    /// Writes the Secret and the ConfigMap that the manifest expects, in the format that its documentation describes. `comment` changes
    /// the text and not its meaning.
    async fn configure_cpi(&self, comment: &str) {
        let (host, port) = self
            .vcsim
            .host()
            .rsplit_once(':')
            .map(|(host, port)| (host.to_owned(), port.to_owned()))
            .unwrap();
        let config = json!({
            "global": {"port": port.parse::<u16>().unwrap(), "insecureFlag": false, "thumbprint": self.vcsim.thumbprint_sha1()},
            "vcenter": {&host: {
                "server": host,
                "datacenters": ["DC0"],
                "secretName": "vsphere-cloud-secret",
                "secretNamespace": "kube-system",
            }},
        });
        let credentials = json!({
            format!("{host}.username"): self.vcsim.user(),
            format!("{host}.password"): self.vcsim.password(),
        });
        let metadata = |name: &str| json!({"name": name, "namespace": "kube-system"});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("vsphere-cloud-secret"), "stringData": credentials},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("vsphere-cloud-config"),
                "data": {"vsphere.conf": format!("# {comment}\n{config:#}\n")}},
        ]});
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &objects.to_string()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_initialises_nodes_and_restarts_with_its_config() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let (tools, site) = tokio::join!(tools(&["cpi"]), Site::start(true));
    let program = Program::new("cloud-provider-vsphere", tools.path(CONTAINER).unwrap()).ready_at_port(PORT);
    let runner = PodRunner::start(&site.plane, &site.nodes, vec![program]).unwrap();
    site.configure_cpi("first").await;
    let release =
        tools.manifests("cpi").unwrap().join("releases/v1.36/vsphere-cloud-controller-manager.yaml");
    site.apply_release(&release).await;
    site.initialised().await;
    let rollout = [
        "-n",
        "kube-system",
        "rollout",
        "status",
        "--timeout=180s",
        "daemonset/vsphere-cloud-controller-manager",
    ];
    site.plane.kubectl(&rollout).await.unwrap();
    let container = runner.named(CONTAINER).remove(0);
    assert!(!container.log().contains("forbidden"), "{}", container.log());

    // It ends when its file changes, and is started again.
    site.configure_cpi("second").await;
    let restarted = async || Ok(runner.named(CONTAINER)[0].pid.filter(|pid| Some(*pid) != container.pid));
    eventually("another process runs", SOON, restarted).await.unwrap();
    site.plane.kubectl(&rollout).await.unwrap();
    let calls = site.vcsim.calls().await.unwrap();
    assert!(calls["FindByUuid"] >= 3, "{calls:?}");
}
