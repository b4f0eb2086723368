//! The demo of vdo.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Launch, Rig as _, Site, VdoRig};
use serde_json::json;
use testbed::eventually;

use crate::screen::Screen;
use crate::{Demo, Stage, Step};

/// The time limit of a step, which usually takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(2);
/// What CPI runs as.
const CPI: &str = "vsphere-cloud-controller-manager";

/// vdo with three Nodes and a simulated vCenter.
pub(crate) struct VdoDemo(VdoRig);

impl Demo for VdoDemo {
    const STEPS: &'static [Step] = &[
        Step {
            title: "Four objects: a matrix, an account, a VsphereCloudConfig, a VDOConfig",
            why: "The account is tried, the checks run, versions are chosen; CPI comes first, and CSI waits for it.",
        },
        Step {
            title: "CPI sets the Nodes up",
            why: "That is played here. CSI is installed then, and registers on the Nodes.",
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
    const TRY: [&'static str; 3] = [
        "kubectl describe vdoconfig vdo; kubectl get vspherecloudconfigs",
        "kubectl -n kube-system delete daemonset vsphere-cloud-controller-manager; kubectl -n kube-system get daemonsets",
        "kubectl delete vdoconfig vdo --wait=false; kubectl get vdoconfig -w",
    ];

    async fn start(screen: &Screen) -> Result<Self> {
        screen.step(
            "A Kubernetes control plane with three Nodes, and a simulated vCenter with their machines",
            "The API server and the controllers of DaemonSets and Deployments are real. Pods become ready, and run nothing.",
        );
        let rig = VdoRig::start().await?;
        screen.say(&format!("control plane at {}", rig.control_plane().url()));
        screen.say(&format!("vCenter at https://{}/sdk", rig.vcenter.host()));
        Ok(Self(rig))
    }

    fn site(&self) -> &Site {
        &self.0
    }

    fn launch(&self) -> Launch {
        self.0.launch().arg("--enable-leader-election")
    }

    async fn outside(&self) -> Result<BTreeMap<String, String>> {
        let drivers = self.0.drivers().await?;
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
                stage.screen.during(self, self.image_becomes(":v1.36.0")).await
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
        Ok(vec![format!("vCenter       https://{}, user {}", self.0.vcenter.host(), self.0.vcenter.user())])
    }
}

impl VdoDemo {
    async fn install(&self, stage: &mut Stage) -> Result<()> {
        self.0.write_account(self.0.vcenter.password()).await?;
        stage.screen.say("the account is in the Secret kube-system/vc-creds");
        let file = self.site().directory().join("vdo.yaml");
        fs::write(&file, serde_json::to_string_pretty(&self.0.seed())?)?;
        stage.screen.kubectl(self, &format!("apply --server-side -f {}", file.display())).await?;
        stage.screen.during(self, self.0.says("CSIAvailable", "NodesUninitialized")).await?;
        stage.screen.kubectl(self, "get vspherecloudconfig vdo").await?;
        self.condition(stage, "ChecksPassed").await?;
        self.condition(stage, "CSIAvailable").await
    }

    async fn set_up(&self, stage: &mut Stage) -> Result<()> {
        self.0.set_up_nodes().await?;
        stage.screen.say("each Node has a provider ID now, and no taint of the cloud provider");
        stage.screen.during(self, self.0.says("CSIAvailable", "SettingUpNodes")).await?;
        self.0.register_csi().await?;
        stage.screen.during(self, self.0.settled(PATIENCE)).await?;
        stage.screen.kubectl(self, "get daemonsets,deployments -A").await?;
        stage.screen.kubectl(self, "-n kube-system get configmap vdo-cpi -o jsonpath={.data}").await
    }

    async fn upgrade(&self, stage: &mut Stage) -> Result<()> {
        let pid = stage.operator.process.pid();
        stage.operator.process.kill().await;
        stage.screen.say(&format!("$ kill -9 {pid}"));
        self.0.write_matrix(&self.0.matrix(&["1.36.0", "1.36.1"])).await?;
        stage.operator = self.site().spawn(&self.launch())?;
        stage.screen.say(&format!("the operator runs again, as process {}", stage.operator.process.pid()));
        stage.screen.during(self, self.image_becomes(":v1.36.1")).await?;
        stage.screen.during(self, self.0.settled(PATIENCE)).await?;
        let get = format!(
            "-n kube-system get daemonset {CPI} -o jsonpath={{.spec.template.spec.containers[*].image}}"
        );
        stage.screen.kubectl(self, &get).await
    }

    async fn configure(&self, stage: &mut Stage) -> Result<()> {
        let patch = r#"{"spec":{"storageProvider":{"customKubeletPath":"/data/kubelet"}}}"#;
        stage.screen.kubectl(self, &format!("patch vdoconfig vdo --type=merge -p {patch}")).await?;
        let moved = eventually("the Pods of CSI mount the directory", PATIENCE, async || {
            let node = self.0.get("vmware-system-csi", "daemonset", "vsphere-csi-node").await?;
            let is_moved = node.is_some_and(|node| node["spec"].to_string().contains("/data/kubelet"));
            Ok(is_moved.then_some(()))
        });
        stage.screen.during(self, moved).await?;
        stage.screen.during(self, self.0.settled(PATIENCE)).await.map(drop)
    }

    async fn delete(&self, stage: &mut Stage) -> Result<()> {
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "data"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "csi.vsphere.vmware.com", "volumeHandle": "data"}},
        });
        let kubectl = self.site();
        kubectl.kubectl_stdin(&["create", "-f", "-"], &volume.to_string()).await?;
        stage.screen.kubectl(self, "delete vdoconfig vdo --wait=false").await?;
        stage.screen.during(self, self.site().reason("vdo", "VolumesInUse")).await?;
        self.condition(stage, "Ready").await?;
        kubectl.kubectl(&["delete", "persistentvolume", "data", "--wait=false"]).await?;
        let no_finalizers = r#"{"metadata":{"finalizers":null}}"#;
        // It may be gone by now.
        let _ = kubectl.kubectl(&["patch", "pv", "data", "--type=merge", "-p", no_finalizers]).await;
        stage.screen.say("the volume is gone");
        stage.screen.during(self, self.site().gone("vdo")).await?;
        let left = self.outside().await?;
        ensure!(left.is_empty(), "there are {left:?}");
        stage.screen.say("verified: no object of a driver is left");
        Ok(())
    }

    /// Prints the message of a condition.
    async fn condition(&self, stage: &mut Stage, type_: &str) -> Result<()> {
        let path = format!("jsonpath={{.status.conditions[?(@.type=={type_:?})].message}}");
        stage.screen.kubectl(self, &format!("get vdoconfig vdo -o {path}")).await
    }

    async fn image_becomes(&self, end: &str) -> Result<()> {
        eventually("CPI has the image", PATIENCE, async || {
            let image = self.0.image("kube-system", "daemonset", CPI).await.context("CPI")?;
            ensure!(image.ends_with(end), "it is {image}");
            Ok(Some(()))
        })
        .await
    }
}
