//! The demo of vdo.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use e2e::{Launch, Rig as _, Site, VdoRig};
use serde_json::{Value, json};
use testbed::{PodRunner, Tools, eventually};

use crate::screen::Screen;
use crate::{Demo, Stage, Step};

/// The time limit of a step, which usually takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// What CPI runs as.
const CPI: &str = "vsphere-cloud-controller-manager";

/// vdo with three Nodes and a simulated vCenter.
pub(crate) struct VdoDemo {
    // What runs before where it runs.
    drivers: Option<Drivers>,
    rig: VdoRig,
}

/// The projects' programs, which run as CPI and CSI.
struct Drivers {
    _runner: PodRunner,
    tools: Tools,
}

impl Demo for VdoDemo {
    const STEPS: &'static [Step] = &[
        Step {
            title: "Four objects: a matrix, an account, a VsphereCloudConfig, a VDOConfig",
            why: "The account is tried, the checks run, versions are chosen; CPI comes first, and CSI waits for it.",
        },
        Step {
            title: "CPI sets the Nodes up",
            why: "That is played here, without --drivers. CSI is installed then, and registers on the Nodes.",
        },
        Step {
            title: "Another client changes the image of CPI",
            why: "What is changed of a driver's objects is put back at once.",
        },
        Step {
            title: "kill -9 the operator; the matrix offers CPI 1.36.1",
            why: "A new process knows what is installed, and upgrades it.",
        },
        Step {
            title: "Another kubelet directory for CSI",
            why: "A changed setting is rolled out without a change of the version.",
        },
        Step {
            title: "Delete the VDOConfig while a volume exists",
            why: "CSI has to stay until the volume is gone. Then all goes, CSI before CPI.",
        },
        Step { title: "Stop the operator", why: "It ends with status 0." },
    ];
    const INSTALL: &'static [&'static str] =
        &["apply --server-side -k deploy/vdo/crds", "apply --server-side -k deploy/vdo/base"];
    const KEPT: usize = 2;
    const WATCH: (&'static str, &'static [&'static str]) = ("vdo", &["get", "vdoconfig", "-w"]);
    const OUTSIDE: &'static str = "driver";
    const HAS_DRIVERS: bool = true;
    const TRY: [&'static str; 3] = [
        "kubectl describe vdoconfig vdo; kubectl get vspherecloudconfigs",
        "kubectl -n kube-system delete daemonset vsphere-cloud-controller-manager; kubectl -n kube-system get daemonsets",
        "kubectl delete vdoconfig vdo --wait=false; kubectl get vdoconfig -w",
    ];

    async fn start(screen: &Screen, drivers: bool) -> Result<Self> {
        screen.step(
            "A Kubernetes control plane with three Nodes, and a simulated vCenter with their machines",
            if drivers {
                "The API server and the controllers of DaemonSets and Deployments are real, and so are CPI, CSI and csi-provisioner."
            } else {
                "The API server and the controllers of DaemonSets and Deployments are real. Pods become ready, and run nothing."
            },
        );
        let why = PodRunner::lacks().filter(|_| drivers);
        ensure!(why.is_none(), "--drivers: {}", why.unwrap_or_default());
        // A build of minutes, the first time.
        let tools = if drivers { Some(VdoRig::build_drivers().await?) } else { None };
        let rig = VdoRig::start().await?;
        screen.say(&format!("control plane at {}", rig.control_plane().url()));
        screen.say(&format!("vCenter at https://{}/sdk", rig.vcenter.host()));
        let run = |tools: Tools| anyhow::Ok(Drivers { _runner: rig.run_drivers(&tools)?, tools });
        Ok(Self { drivers: tools.map(run).transpose()?, rig })
    }

    fn site(&self) -> &Site {
        &self.rig
    }

    fn launch(&self) -> Launch {
        self.rig.launch().arg("--enable-leader-election")
    }

    async fn outside(&self) -> Result<BTreeMap<String, String>> {
        let drivers = self.rig.drivers().await?;
        let images = |object: &serde_json::Value| {
            let containers =
                object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
            let images = containers.iter().filter_map(|container| container["image"].as_str());
            images
                .filter_map(|image| image.rsplit('/').next().map(str::to_owned))
                .collect::<Vec<_>>()
                .join(", ")
        };
        Ok(drivers.into_iter().map(|(name, object)| (name, images(&object))).collect())
    }

    async fn play(&self, step: usize, stage: &mut Stage) -> Result<()> {
        match step {
            0 => self.install(stage).await,
            1 => self.set_up(stage).await,
            2 => {
                let change = format!("-n kube-system set image daemonset/{CPI} *=other:v1");
                stage.screen.kubectl(self, &change).await?;
                stage.screen.during(self, self.rig.cpi_becomes(":v1.36.0", PATIENCE)).await
            }
            3 => self.upgrade(stage).await,
            4 => self.configure(stage).await,
            5 => self.delete(stage).await,
            6 => {
                let status = stage.operator.process.terminate(PATIENCE).await?;
                ensure!(status.success(), "the operator ended with {status}");
                stage.screen.say("it ended with status 0");
                Ok(())
            }
            _ => bail!("there is no step {step}"),
        }
    }

    fn access(&self) -> Result<Vec<String>> {
        Ok(vec![format!(
            "vCenter       https://{}, user {}",
            self.rig.vcenter.host(),
            self.rig.vcenter.user()
        )])
    }
}

impl VdoDemo {
    /// Returns the matrix with these versions of CPI.
    fn matrix(&self, cpi: &[&str]) -> Result<Value> {
        match &self.drivers {
            Some(Drivers { tools, .. }) => self.rig.real_matrix(tools, cpi),
            None => Ok(self.rig.matrix(cpi)),
        }
    }

    async fn install(&self, stage: &mut Stage) -> Result<()> {
        self.rig.write_account(self.rig.vcenter.password()).await?;
        stage.screen.say("the account is in the Secret kube-system/vc-creds");
        let file = self.site().directory().join("vdo.yaml");
        let mut seed = self.rig.seed();
        if self.drivers.is_some() {
            seed["items"][0]["data"]["versionConfigContent"] = self.matrix(&["1.36.0"])?.to_string().into();
        }
        fs::write(&file, serde_json::to_string_pretty(&seed)?)?;
        stage.screen.kubectl(self, &format!("apply --server-side -f {}", file.display())).await?;
        if self.drivers.is_none() {
            stage.screen.during(self, self.rig.says("CSIAvailable", "NodesUninitialized")).await?;
        }
        stage.screen.kubectl(self, "get vspherecloudconfig vdo").await?;
        self.condition(stage, "ChecksPassed").await?;
        self.condition(stage, "CSIAvailable").await
    }

    async fn set_up(&self, stage: &mut Stage) -> Result<()> {
        match self.drivers {
            Some(_) => {
                for number in 1..=3 {
                    stage.screen.during(self, self.rig.is_set_up(number)).await?;
                }
            }
            None => self.rig.set_up_nodes().await?,
        }
        stage.screen.say("each Node has a provider ID now, and no taint of the cloud provider");
        stage.screen.during(self, self.rig.says("CSIAvailable", "SettingUpNodes")).await?;
        self.rig.register_csi().await?;
        stage.screen.during(self, self.rig.settled(PATIENCE)).await?;
        if self.drivers.is_some() {
            stage.screen.during(self, self.rig.claim("data")).await?;
            stage.screen.kubectl(self, "-n default get persistentvolumeclaims").await?;
        }
        stage.screen.kubectl(self, "get daemonsets,deployments -A").await?;
        stage.screen.kubectl(self, "-n kube-system get configmap vdo-cpi -o jsonpath={.data}").await
    }

    async fn upgrade(&self, stage: &mut Stage) -> Result<()> {
        let pid = stage.operator.process.pid();
        stage.operator.process.kill().await;
        stage.screen.say(&format!("$ kill -9 {pid}"));
        self.rig.write_matrix(&self.matrix(&["1.36.0", "1.36.1"])?).await?;
        stage.operator = self.site().spawn(&self.launch())?;
        stage.screen.say(&format!("the operator runs again, as process {}", stage.operator.process.pid()));
        stage.screen.during(self, self.rig.cpi_becomes(":v1.36.1", PATIENCE)).await?;
        stage.screen.during(self, self.rig.settled(PATIENCE)).await?;
        let get = format!(
            "-n kube-system get daemonset {CPI} -o jsonpath={{.spec.template.spec.containers[*].image}}"
        );
        stage.screen.kubectl(self, &get).await
    }

    async fn configure(&self, stage: &mut Stage) -> Result<()> {
        let patch = r#"{"spec":{"storageProvider":{"customKubeletPath":"/data/kubelet"}}}"#;
        stage.screen.kubectl(self, &format!("patch vdoconfig vdo --type=merge -p {patch}")).await?;
        let moved = eventually("the Pods of CSI mount the directory", PATIENCE, async || {
            let node = self.rig.get("vmware-system-csi", "daemonset", "vsphere-csi-node").await?;
            let is_moved = node.is_some_and(|node| node["spec"].to_string().contains("/data/kubelet"));
            Ok(is_moved.then_some(()))
        });
        stage.screen.during(self, moved).await?;
        stage.screen.during(self, self.rig.settled(PATIENCE)).await.map(drop)
    }

    async fn delete(&self, stage: &mut Stage) -> Result<()> {
        if self.drivers.is_none() {
            self.play_volume().await?;
        }
        stage.screen.kubectl(self, "delete vdoconfig vdo --wait=false").await?;
        stage.screen.during(self, self.site().reason("vdo", "VolumesInUse")).await?;
        self.condition(stage, "Ready").await?;
        if self.drivers.is_none() {
            self.remove_volume().await?;
        } else {
            stage.screen.kubectl(self, "-n default delete persistentvolumeclaim data").await?;
        }
        stage.screen.say("the volume is gone");
        stage.screen.during(self, self.site().gone("vdo")).await?;
        let left = self.outside().await?;
        ensure!(left.is_empty(), "there are {left:?}");
        stage.screen.say("verified: no object of a driver is left");
        Ok(())
    }

    /// Makes a volume, as csi-provisioner does.
    async fn play_volume(&self) -> Result<()> {
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "data"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "csi.vsphere.vmware.com", "volumeHandle": "data"}},
        });
        self.site().kubectl_stdin(&["create", "-f", "-"], &volume.to_string()).await.map(drop)
    }

    async fn remove_volume(&self) -> Result<()> {
        self.site().kubectl(&["delete", "persistentvolume", "data", "--wait=false"]).await?;
        let no_finalizers = r#"{"metadata":{"finalizers":null}}"#;
        // It may be gone by now.
        let _ = self.site().kubectl(&["patch", "pv", "data", "--type=merge", "-p", no_finalizers]).await;
        Ok(())
    }

    /// Prints the message of a condition.
    async fn condition(&self, stage: &mut Stage, type_: &str) -> Result<()> {
        let path = format!("jsonpath={{.status.conditions[?(@.type=={type_:?})].message}}");
        stage.screen.kubectl(self, &format!("get vdoconfig vdo -o {path}")).await
    }
}
