//! vSphere's cloud controller manager (CPI).

use serde_json::json;
use testbed::{Account, PodRunner, Program, RunningContainer, eventually};

use crate::{FOLDER, SOON, Site, tools};

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

/// A cluster with the real CPI in it.
struct Installed {
    // What runs in the cluster before it.
    runner: PodRunner,
    site: Site,
}

impl Installed {
    /// Installs CPI from its released manifest and waits until it has initialised all Nodes; `None`, with a message, where Pods cannot
    /// run.
    async fn start() -> Option<Self> {
        if let Some(why) = PodRunner::lacks() {
            eprintln!("skipped: {why}");
            return None;
        }
        let (tools, site) = tokio::join!(tools(&["cpi"]), Site::start(true));
        let program =
            Program::new("cloud-provider-vsphere", tools.path(CONTAINER).unwrap()).ready_at_port(PORT);
        let runner = PodRunner::start(&site.plane, &site.nodes, vec![program]).unwrap();
        site.configure_cpi("first").await;
        let release =
            tools.manifests("cpi").unwrap().join("releases/v1.36/vsphere-cloud-controller-manager.yaml");
        site.apply_release(&release).await;
        site.initialised().await;
        let installed = Self { runner, site };
        installed.is_ready().await;
        Some(installed)
    }

    /// Waits until the Pod is ready.
    async fn is_ready(&self) {
        let workload = "daemonset/vsphere-cloud-controller-manager";
        let rollout = ["-n", "kube-system", "rollout", "status", "--timeout=180s", workload];
        self.site.plane.kubectl(&rollout).await.unwrap();
    }

    fn container(&self) -> RunningContainer {
        self.runner.named(CONTAINER).remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_initialises_nodes_and_restarts_with_its_config() {
    let Some(cpi) = Installed::start().await else { return };
    let first = cpi.container();
    assert!(!first.log().contains("forbidden"), "{}", first.log());

    // It ends when its file changes, and is started again.
    cpi.site.configure_cpi("second").await;
    let restarted = async || Ok(cpi.container().pid.filter(|pid| Some(*pid) != first.pid));
    eventually("another process runs", SOON, restarted).await.unwrap();
    cpi.is_ready().await;
    let calls = cpi.site.vcsim.calls().await.unwrap();
    assert!(calls["FindByUuid"] >= 3, "{calls:?}");
}

/// Why an operator has to know that an account sees the machines before it gives the account to CPI.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_removes_nodes_that_fail_while_it_sees_no_machine() {
    let Some(cpi) = Installed::start().await else { return };
    let (site, vcsim) = (&cpi.site, &cpi.site.vcsim);
    let blind = Account::new(vcsim.user(), vcsim.password()).hidden(FOLDER);
    vcsim.set_account(&blind).await.unwrap();
    site.nodes.leave("node-3");
    let removed = async || Ok(site.api.get_opt("node-3").await?.is_none().then_some(()));
    eventually("the Node is removed although its machine exists", SOON, removed).await.unwrap();
    assert!(site.api.get_opt("node-2").await.unwrap().is_some(), "a Node that is Ready stays");
    let machines = vcsim.vms_in(FOLDER).await.unwrap();
    assert!(machines.iter().any(|machine| machine.name == "node-3"));
}
