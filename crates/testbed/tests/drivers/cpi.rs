//! vSphere's cloud controller manager (CPI).

use serde_json::{Value, json};
use testbed::{Account, PodRunner, Program, RunningContainer, Vcsim, eventually};

use crate::{FOLDER, SOON, Site, tools, vcenter};

/// The port at which it serves its health.
const PORT: u16 = 10258;
const CONTAINER: &str = "vsphere-cloud-controller-manager";

/// How CPI is to reach a vCenter.
struct Access<'a> {
    vcsim: &'a Vcsim,
    /// The name by which it is reached: the certificate is for `127.0.0.1` and `localhost`.
    server: &'static str,
    /// Whether the certificate is verified by its thumbprint, or else by its CA.
    by_thumbprint: bool,
}

impl Access<'_> {
    /// Returns the entry of the configuration.
    fn config(&self) -> Value {
        let mut config = json!({
            "server": self.server,
            "port": self.vcsim.host().rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()),
            "insecureFlag": false,
            "datacenters": ["DC0"],
            "secretName": "vsphere-cloud-secret",
            "secretNamespace": "kube-system",
        });
        if self.by_thumbprint {
            config["thumbprint"] = self.vcsim.thumbprint_sha1().into();
        } else {
            config["caFile"] = format!("/etc/cloud/{}.crt", self.server).into();
        }
        config
    }
}

impl Site {
    /// Writes the Secret and the ConfigMap that the manifest expects, in the format that its documentation describes. `comment` changes
    /// the text and not its meaning.
    async fn configure_cpi(&self, comment: &str, accesses: &[Access<'_>]) {
        let (mut vcenters, mut credentials, mut files) = (json!({}), json!({}), json!({}));
        for access in accesses {
            vcenters[access.server] = access.config();
            credentials[format!("{}.username", access.server)] = access.vcsim.user().into();
            credentials[format!("{}.password", access.server)] = access.vcsim.password().into();
            files[format!("{}.crt", access.server)] = access.vcsim.ca_pem().into();
        }
        files["vsphere.conf"] = format!("# {comment}\n{:#}\n", json!({"vcenter": vcenters})).into();
        let metadata = |name: &str| json!({"name": name, "namespace": "kube-system"});
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata("vsphere-cloud-secret"), "stringData": credentials},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("vsphere-cloud-config"), "data": files},
        ]});
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &objects.to_string()).await.unwrap();
    }

    /// How CPI reaches the first vCenter.
    fn access(&self) -> Access<'_> {
        Access { vcsim: &self.vcsim, server: "127.0.0.1", by_thumbprint: true }
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
        site.configure_cpi("first", &[site.access()]).await;
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
        let rollout = ["-n", "kube-system", "rollout", "status", "--timeout=300s", workload];
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
    cpi.site.configure_cpi("second", &[cpi.site.access()]).await;
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_uses_two_vcenters_and_a_rotated_password() {
    let Some(mut cpi) = Installed::start().await else { return };
    let other = vcenter().start().await.unwrap();
    let second = || Access { vcsim: &other, server: "localhost", by_thumbprint: false };
    cpi.site.configure_cpi("two vCenters", &[cpi.site.access(), second()]).await;
    cpi.site.join(&other, 4).await;
    cpi.site.is_initialised(4).await;

    // The sessions of before are gone, so that the password counts.
    cpi.site.vcsim.set_password("another").await.unwrap();
    cpi.site.configure_cpi("two vCenters", &[cpi.site.access(), second()]).await;
    cpi.site.vcsim.expire_sessions().await.unwrap();
    cpi.site.join(&cpi.site.vcsim, 5).await;
    cpi.site.is_initialised(5).await;
}
