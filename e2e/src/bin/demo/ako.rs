//! The demo of ako-operator.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use avi_simulator::store::Snapshot;
use e2e::{AkoRig, Launch, Rig, Site, VcenterCloud};
use serde_json::json;
use testbed::{Ako, Cleanup, SimPortGroup, Workload, eventually};

use crate::screen::Screen;
use crate::{Demo, Stage, Step};

/// The time limit of a step. Cluster API takes half a minute to delete a Cluster.
const PATIENCE: Duration = Duration::from_mins(3);
/// The workload cluster.
const CLUSTER: &str = "workload-cls";
/// That of the second act: a share of the management cluster's API server, which looks like a cluster of its own.
const SECOND: &str = "apps-cls";
/// The label that asks for AKO.
const LABEL: &str = AkoRig::LABEL;

/// ako-operator with Cluster API, a workload cluster with a stand-in for AKO, and a simulated AVI controller.
pub(crate) struct AkoDemo {
    // Clients before servers.
    ako: Ako,
    workload: Workload,
    cloud: VcenterCloud,
    rig: AkoRig,
    before: Snapshot,
    groups: Vec<SimPortGroup>,
}

impl Demo for AkoDemo {
    const STEPS: &'static [Step] = &[
        Step {
            title: "An AKODeploymentConfig",
            why: "It names the AVI controller. The operator checks it, and adds a pool of addresses to the network.",
        },
        Step {
            title: "Label the Cluster",
            why: "AKO is installed in the workload cluster; the Cluster and its Machines wait for AKO's cleanup from now on.",
        },
        Step {
            title: "A Service of type LoadBalancer in the workload cluster",
            why: "AKO makes a virtual service on AVI, with an address of the network.",
        },
        Step {
            title: "Delete the Cluster, and AKO hangs",
            why: "The operator tells AKO to remove what it made, and keeps Cluster and Machines until that is done.",
        },
        Step {
            title: "kill -9 the operator; AKO gives up",
            why: "A new process goes on, removes what AKO left by its marks, and lets the Cluster go.",
        },
        Step {
            title: "A port group in vCenter",
            why: "A second AKODeploymentConfig lists it: the operator makes it, AVI finds it, and addresses are pooled there.",
        },
        Step {
            title: "A tenant for the Clusters of a namespace",
            why: "The second one makes tenants: AKO of a new Cluster works in one, as a user without rights in another.",
        },
        Step {
            title: "Delete the AKODeploymentConfigs",
            why: "What the operator added is removed: nothing is on AVI or in vCenter that was not there before.",
        },
        Step { title: "Stop the operator", why: "It ends with status 0 and logs out of AVI." },
    ];
    const INSTALL: &'static [&'static str] = &[
        "apply --server-side -k deploy/ako-operator/crds",
        "apply --server-side -k deploy/ako-operator/base",
    ];
    const KEPT: usize = 3;
    const WATCH: (&'static str, &'static [&'static str]) = ("adc", &["get", "adc", "-w"]);
    const OUTSIDE: &'static str = "outside";
    const TRY: [&'static str; 3] = [
        "kubectl get cluster workload-cls -o jsonpath='{.status.conditions[?(@.type==\"AKOInstalled\")]}'",
        "kubectl label cluster workload-cls cluster-service.network.tkg.tanzu.vmware.com/avi-; kubectl get events",
        "kubectl delete adc adc --wait=false; kubectl describe adc adc",
    ];

    async fn start(screen: &Screen, _: bool) -> Result<Self> {
        screen.step(
            "A management cluster, a workload cluster, a simulated AVI controller, a simulated vCenter",
            "Both API servers and Cluster API are real; machines and AKO are stand-ins.",
        );
        let rig = AkoRig::start().await?;
        screen.say(&format!("management cluster at {}", rig.site().control_plane().url()));
        screen.say(&format!("AVI controller at {}", rig.simulator.url()));
        let workload = rig.management.with_workload(CLUSTER).await?;
        screen.say(&format!("workload cluster {CLUSTER} at {}, with two Machines", workload.plane().url()));
        let ako = Ako::start(workload.plane().client());
        let cloud = rig.vcenter_cloud().await?;
        let (before, groups) = (rig.simulator.control().snapshot(), rig.vcenter.port_groups().await?);
        Ok(Self { ako, workload, cloud, rig, before, groups })
    }

    fn site(&self) -> &Site {
        self.rig.site()
    }

    fn launch(&self) -> Launch {
        self.rig.launch().without("AVI_CONTROL_PLANE_HA_PROVIDER").arg("--enable-leader-election")
    }

    async fn outside(&self) -> Result<BTreeMap<String, String>> {
        let diff = self.rig.simulator.control().diff(&self.before);
        let name = |change: &avi_simulator::store::Change| format!("{} {}", change.kind, change.name);
        let added = diff.added.iter().map(|change| (name(change), String::new()));
        let changed = diff.changed.iter().map(|change| {
            (format!("{} ({})", name(change), change.fields.join(", ")), "differs from before".to_owned())
        });
        let groups = self.rig.vcenter.port_groups().await?;
        let made = groups.into_iter().filter(|group| !self.groups.contains(group));
        let made = made.map(|group| (format!("port group {}", group.name), format!("VLAN {}", group.vlan)));
        Ok(added.chain(changed).chain(made).collect())
    }

    async fn play(&self, step: usize, stage: &mut Stage) -> Result<()> {
        match step {
            0 => self.configure(stage).await,
            1 => self.label(stage).await,
            2 => self.serve(stage).await,
            3 => self.delete_while_ako_hangs(stage).await,
            4 => self.give_up(stage).await,
            5 => self.make_port_group(stage).await,
            6 => Box::pin(self.make_tenant(stage)).await,
            7 => {
                stage.screen.kubectl(self, "delete adc adc vc --wait=false").await?;
                stage.screen.during(self, self.site().gone("adc")).await?;
                stage.screen.during(self, self.site().gone("vc")).await?;
                self.cloud.discover().await?;
                let left = self.outside().await?;
                ensure!(left.is_empty(), "there are {left:?}");
                stage.screen.say("verified: AVI and vCenter are as they were before");
                Ok(())
            }
            8 => {
                let status = stage.operator.process.terminate(PATIENCE).await?;
                ensure!(status.success(), "the operator ended with {status}");
                let requests = self.rig.simulator.control().requests();
                let logout = requests.iter().any(|request| request.path.ends_with("/logout"));
                ensure!(logout, "it did not log out");
                stage.screen.say("it ended with status 0, and its session at the controller has ended");
                Ok(())
            }
            _ => bail!("there is no step {step}"),
        }
    }

    fn access(&self) -> Result<Vec<String>> {
        Ok(vec![
            format!("AVI           {}, user admin", self.rig.simulator.url()),
            format!("vCenter       https://{}, user {}", self.rig.vcenter.host(), self.rig.vcenter.user()),
            format!("workload      kubectl --kubeconfig {}", self.workload.plane().kubeconfig().display()),
        ])
    }
}

impl AkoDemo {
    async fn configure(&self, stage: &mut Stage) -> Result<()> {
        let file = self.site().directory().join("adc.yaml");
        fs::write(&file, serde_json::to_string_pretty(&self.rig.config())?)?;
        stage.screen.kubectl(self, &format!("apply --server-side -f {}", file.display())).await?;
        stage.screen.during(self, self.site().ready_within("adc", PATIENCE, |_| true)).await?;
        stage.screen.kubectl(self, "get adc adc -o jsonpath={.status.added}").await
    }

    async fn label(&self, stage: &mut Stage) -> Result<()> {
        stage.screen.kubectl(self, &format!("label cluster {CLUSTER} {LABEL}=")).await?;
        stage.screen.during(self, self.rig.condition(CLUSTER, "AKOInstalled", "True")).await?;
        let running = eventually("ako-0 runs", PATIENCE, async || {
            let pods = self.workload.plane().kubectl(&["get", "pods", "-n", "avi-system"]).await?;
            Ok(pods.contains("Running").then_some(()))
        });
        stage.screen.during(self, running).await?;
        self.workload_kubectl(stage, "get pods ako-0 -n avi-system").await?;
        self.workload_kubectl(stage, "get configmap -n avi-system").await?;
        let finalizers = format!("get cluster {CLUSTER} -o jsonpath={{.metadata.finalizers}}");
        stage.screen.kubectl(self, &finalizers).await?;
        let hook = r"pre-terminate\.delete\.hook\.machine\.cluster\.x-k8s\.io/avi-cleanup";
        let hooks =
            format!("get machines -o custom-columns=NAME:.metadata.name,HOOK:.metadata.annotations.{hook}");
        stage.screen.kubectl(self, &hooks).await
    }

    async fn serve(&self, stage: &mut Stage) -> Result<()> {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let apply = ["apply", "--server-side", "-f", "-"];
        self.workload.plane().kubectl_stdin(&apply, &service.to_string()).await?;
        let address = eventually("the Service has an address", PATIENCE, async || {
            let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
            let address = self.workload.plane().kubectl(&["get", "service", "web", "-o", path]).await?;
            Ok((!address.is_empty()).then_some(address))
        });
        let address = stage.screen.during(self, address).await?;
        ensure!(address.starts_with("10.92.0."), "{address} is not of the network");
        self.workload_kubectl(stage, "get service web").await
    }

    async fn delete_while_ako_hangs(&self, stage: &mut Stage) -> Result<()> {
        self.ako.set_cleanup(Cleanup::Hangs);
        stage.screen.kubectl(self, &format!("delete cluster {CLUSTER} --wait=false")).await?;
        let waits = self.rig.condition(CLUSTER, "AviResourceCleanupSucceeded", "False");
        stage.screen.during(self, waits).await?;
        let condition = r#"jsonpath={.status.conditions[?(@.type=="AviResourceCleanupSucceeded")].message}"#;
        stage.screen.kubectl(self, &format!("get cluster {CLUSTER} -o {condition}")).await?;
        stage.screen.kubectl(self, "get machines -o name").await
    }

    async fn give_up(&self, stage: &mut Stage) -> Result<()> {
        let pid = stage.operator.process.pid();
        stage.operator.process.kill().await;
        stage.screen.say(&format!("$ kill -9 {pid}"));
        self.ako.set_cleanup(Cleanup::TimesOut);
        stage.operator = self.site().spawn(&self.launch())?;
        stage.screen.say(&format!("the operator runs again, as process {}", stage.operator.process.pid()));
        stage.screen.during(self, self.workload.deleted(PATIENCE)).await?;
        stage.screen.kubectl(self, "get cluster").await?;
        let events = "get events -o custom-columns=REASON:.reason,MESSAGE:.message --field-selector reason=AviObjectsRemoved";
        stage.screen.kubectl(self, events).await?;
        let left = self.outside().await?.into_keys().filter(|name| name.contains("virtualservice")).count();
        ensure!(left == 0, "{left} virtual services are left");
        Ok(())
    }

    async fn make_port_group(&self, stage: &mut Stage) -> Result<()> {
        let groups = json!([{ "name": "apps", "switch": "DVS0", "vlan": 12 }]);
        let mut config = self.rig.vcenter_config(&groups, "apps");
        config["metadata"]["name"] = "vc".into();
        config["spec"]["clusterSelector"] = json!({ "matchLabels": { "team": "apps" } });
        config["spec"]["tenant"] = json!({ "name": "apps", "scope": "Namespace" });
        let file = self.site().directory().join("vc.yaml");
        fs::write(&file, serde_json::to_string_pretty(&config)?)?;
        stage.screen.kubectl(self, &format!("apply --server-side -f {}", file.display())).await?;
        stage.screen.during(self, self.site().reason("vc", "PortGroupNotDiscovered")).await?;
        stage.screen.say("AVI looks at its vCenter, which takes it minutes; here it does so now");
        self.cloud.discover().await?;
        stage.screen.during(self, self.site().ready_within("vc", PATIENCE, |_| true)).await?;
        stage.screen.kubectl(self, "get adc vc -o jsonpath={.status.portGroups}").await
    }

    async fn make_tenant(&self, stage: &mut Stage) -> Result<()> {
        let cluster = stage.screen.during(self, self.rig.cluster(SECOND, false)).await?;
        let guest = self.rig.with_ako(cluster).await?;
        stage.screen.kubectl(self, &format!("label cluster {SECOND} team=apps")).await?;
        stage.screen.during(self, self.rig.condition(SECOND, "AKOInstalled", "True")).await?;
        stage.screen.during(self, self.rig.balance(&guest)).await?;
        stage.screen.kubectl(self, "get adc vc -o jsonpath={.status.added.tenants}").await?;
        let secret = format!("get secret {SECOND}-avi-credentials -o jsonpath={{.type}}");
        stage.screen.kubectl(self, &secret).await?;
        stage.screen.kubectl(self, &format!("delete cluster {SECOND} --wait=false")).await?;
        stage.screen.during(self, guest.workload.deleted(PATIENCE)).await?;
        let tenants = eventually("the tenant is gone", PATIENCE, async || {
            let left = self.outside().await?.into_keys().find(|name| name.starts_with("tenant"));
            Ok(left.is_none().then_some(()))
        });
        stage.screen.during(self, tenants).await
    }

    /// Runs `kubectl` on the workload cluster, and prints command and output.
    async fn workload_kubectl(&self, stage: &mut Stage, command: &str) -> Result<()> {
        let arguments: Vec<_> = command.split_whitespace().collect();
        let answer = self.workload.plane().kubectl(&arguments).await.context("in the workload cluster")?;
        stage.screen.commands(&[&format!("--kubeconfig {CLUSTER} {command}")], &answer);
        Ok(())
    }
}
