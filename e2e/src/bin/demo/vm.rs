//! The demo of vm-operator.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Launch, Rig, Site, VmRig};
use testbed::{Outage, Vcsim, eventually};

use crate::keeping::private_file;
use crate::screen::{self, Screen};
use crate::{Demo, Stage, Step};

/// The template of the samples.
const TEMPLATE: &str = "vm-operator-template";
/// The duration of a task in the vCenter, so that a person can follow the changes.
const CLONE_TIME: Duration = Duration::from_millis(1500);
const POWER_ON_DELAY: Duration = Duration::from_secs(1);
/// The time limit of a step, which usually takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// The group of samples/vmgroup.yaml.
const GROUP: &str = "vmgroup-sample";
/// The group of samples/wrong-template.yaml.
const WRONG: &str = "vg-2";

/// vm-operator with a simulated vCenter.
pub(crate) struct VmDemo(VmRig);

impl Demo for VmDemo {
    const STEPS: &'static [Step] = &[
        Step { title: "A group of 3", why: "One object asks for three machines; the vCenter clones them." },
        Step { title: "Scale to 5", why: "A VmGroup scales like a Deployment." },
        Step {
            title: "A machine is powered off in the vCenter",
            why: "The operator sees it and powers the machine on again.",
        },
        Step {
            title: "The operator is killed while machines are cloned",
            why: "kill -9 in the middle of a scale-up to 7: a new process continues when the Lease expires; none is cloned twice.",
        },
        Step {
            title: "The vCenter goes away and comes back",
            why: "Meanwhile the status does not claim what the operator cannot see.",
        },
        Step {
            title: "A group with a wrong template says so, and recovers",
            why: "The status and an event name the template; correcting it is enough.",
        },
        Step { title: "Delete both", why: "Neither machines nor folders are left in the vCenter." },
        Step { title: "Stop the operator", why: "It ends with status 0 and logs out of the vCenter." },
    ];
    const INSTALL: &'static [&'static str] =
        &["apply --server-side -k deploy/vm-operator/crds", "apply --server-side -k deploy/vm-operator/base"];
    const KEPT: usize = 3;
    const WATCH: (&'static str, &'static [&'static str]) = ("vg", &["get", "vg", "-w"]);
    const OUTSIDE: &'static str = "vc";
    const TRY: [&'static str; 3] = [
        "kubectl scale vg/vmgroup-sample --replicas 2; kubectl get vg,vgi",
        "kubectl apply -f deploy/vm-operator/samples/wrong-template.yaml; kubectl describe vg vg-2",
        "kubectl delete vgi --all --wait=false; kubectl get vgi -w",
    ];

    async fn start(screen: &Screen, _: bool) -> Result<Self> {
        screen.step(
            "A Kubernetes control plane and a simulated vCenter",
            "The API server is real; the vCenter speaks the vSphere API and has no hosts.",
        );
        let vcenter = Vcsim::builder()
            .templates(&[TEMPLATE])
            .clone_time(CLONE_TIME)
            .call_delay("PowerOnVM_Task", POWER_ON_DELAY);
        let rig = VmRig::builder().alone().vcenter(vcenter).start().await?;
        screen.say(&format!(
            "etcd, kube-apiserver and kube-controller-manager at {}",
            rig.control_plane().url()
        ));
        screen.say(&format!("vCenter at https://{}/sdk with the template {TEMPLATE}", rig.vcenter.host()));
        Ok(Self(rig))
    }

    fn site(&self) -> &Site {
        &self.0
    }

    fn launch(&self) -> Launch {
        self.0.launch().arg("--enable-leader-election")
    }

    async fn outside(&self) -> Result<BTreeMap<String, String>> {
        let ours = |path: &str| path.starts_with("/DC0/vm/vm-operator/");
        let folders = self.0.vcenter.folders().await?;
        let folders = folders.into_iter().filter(|path| ours(path)).map(|path| (path, "folder".to_owned()));
        let machines = self.0.vcenter.vms().await?;
        let machines = machines.into_iter().filter(|vm| ours(&vm.path)).map(|vm| {
            let state = format!("{}, {} CPU, {} MB", vm.power, vm.cpu, vm.memory_mb);
            (vm.path, state)
        });
        Ok(folders.chain(machines).collect())
    }

    async fn play(&self, step: usize, stage: &mut Stage) -> Result<()> {
        match step {
            0 => {
                stage.screen.kubectl(self, "apply -f deploy/vm-operator/samples/vmgroup.yaml").await?;
                self.settled(stage, GROUP, 3).await
            }
            1 => {
                stage.screen.kubectl(self, &format!("scale vg/{GROUP} --replicas 5")).await?;
                self.settled(stage, GROUP, 5).await
            }
            2 => self.power_off_one(stage).await,
            3 => self.kill_in_a_clone(stage).await,
            4 => self.lose_the_vcenter(stage).await,
            5 => self.wrong_template(stage).await,
            6 => {
                stage.screen.kubectl(self, &format!("delete vg {GROUP} {WRONG}")).await?;
                stage.screen.during(self, self.nothing_left()).await?;
                stage.screen.kubectl(self, "get vg,vgi").await?;
                let folders = self.0.vcenter.folders().await?;
                stage.screen.say(&format!("folders in the vCenter: {}", folders.join(", ")));
                Ok(())
            }
            7 => {
                // The killed process left a session, which the vCenter ends when it idles out.
                let before = self.0.vcenter.sessions().await?.now;
                let status = stage.operator.process.terminate(PATIENCE).await?;
                ensure!(status.success(), "the operator ended with {status}");
                let after = self.0.vcenter.sessions().await?.now;
                ensure!(after + 1 == before, "{before} sessions at the vCenter became {after}");
                stage.screen.say("it ended with status 0, and its session at the vCenter has ended");
                Ok(())
            }
            _ => bail!("there is no step {step}"),
        }
    }

    /// Writes a file that sets govc's environment.
    fn access(&self) -> Result<Vec<String>> {
        let vcenter = &self.0.vcenter;
        let path = self.0.directory().join("govc.env");
        let mut file = private_file(&path)?;
        writeln!(file, "export GOVC_URL=https://{}/sdk", vcenter.host())?;
        writeln!(file, "export GOVC_USERNAME='{}'", vcenter.user())?;
        writeln!(file, "export GOVC_PASSWORD='{}'", vcenter.password())?;
        writeln!(file, "export GOVC_TLS_CA_CERTS={}", vcenter.ca_file().display())?;
        Ok(vec![
            format!("vCenter       https://{}/sdk, user {}", vcenter.host(), vcenter.user()),
            format!("for govc      source {}", path.display()),
        ])
    }
}

impl VmDemo {
    /// Shows the changes until the group has its machines, and verifies them in the vCenter.
    async fn settled(&self, stage: &mut Stage, group: &str, replicas: usize) -> Result<()> {
        stage.screen.during(self, self.0.settled_within(group, replicas, PATIENCE)).await?;
        let machines = self.machines(group).await?;
        ensure!(
            machines.len() == replicas && machines.values().all(|on| *on),
            "{group} says that {replicas} machines are ready, but the vCenter has {machines:?}"
        );
        stage
            .screen
            .say(&format!("verified in the vCenter: machines of {group}: {replicas}, each powered on"));
        Ok(())
    }

    async fn power_off_one(&self, stage: &mut Stage) -> Result<()> {
        let machines = self.machines(GROUP).await?;
        let path = machines.keys().next().context("the group has no machine")?;
        let before = self.0.called("PowerOnVM_Task").await?;
        stage.screen.say(&format!("power off {path}"));
        self.0.vcenter.power_off(path).await?;
        let on_again = async {
            self.0.called_often("PowerOnVM_Task", before + 1).await?;
            self.0.on(path).await
        };
        stage.screen.during(self, on_again).await?;
        self.settled(stage, GROUP, machines.len()).await
    }

    async fn kill_in_a_clone(&self, stage: &mut Stage) -> Result<()> {
        let before = self.0.called("CloneVM_Task").await?;
        stage.screen.kubectl(self, &format!("scale vg/{GROUP} --replicas 7")).await?;
        stage.screen.during(self, self.0.called_often("CloneVM_Task", before + 1)).await?;
        let pid = stage.operator.process.pid();
        stage.operator.process.kill().await;
        stage.screen.say(&format!("$ kill -9 {pid}"));
        stage.operator = self.0.spawn(&self.launch())?;
        stage.screen.say(&format!("the operator runs again, as process {}", stage.operator.process.pid()));
        self.settled(stage, GROUP, 7).await?;
        let clones = self.0.called("CloneVM_Task").await? - before;
        ensure!(clones == 2, "{clones} clones were requested for 2 machines");
        stage.screen.say("2 clones were requested for 2 machines");
        Ok(())
    }

    async fn lose_the_vcenter(&self, stage: &mut Stage) -> Result<()> {
        self.0.vcenter.outage(Outage::Refuse).await?;
        stage.screen.say("the vCenter refuses connections");
        stage.screen.during(self, self.0.reason(GROUP, "VCenterUnreachable")).await?;
        stage.screen.kubectl(self, &format!("get vg {GROUP}")).await?;
        self.0.vcenter.outage(Outage::None).await?;
        stage.screen.say("the vCenter is back");
        self.settled(stage, GROUP, 7).await
    }

    async fn wrong_template(&self, stage: &mut Stage) -> Result<()> {
        stage.screen.kubectl(self, "apply -f deploy/vm-operator/samples/wrong-template.yaml").await?;
        stage.screen.during(self, self.0.reason(WRONG, "TemplateNotFound")).await?;
        let events =
            format!("get events --field-selector involvedObject.kind=VmGroup,involvedObject.name={WRONG}");
        let reported = eventually("an event reports the template", PATIENCE, async || {
            let events = screen::kubectl(self, &events).await?;
            Ok(events.contains("TemplateNotFound").then_some(events))
        });
        let reported = stage.screen.during(self, reported).await?;
        stage.screen.commands(&[&events], &reported);
        let patch = format!(r#"'{{"spec":{{"template":"{TEMPLATE}"}}}}'"#);
        stage.screen.kubectl(self, &format!("patch vg {WRONG} --type merge -p {patch}")).await?;
        self.settled(stage, WRONG, 1).await
    }

    /// Returns the group's machines by inventory path, and whether each is powered on.
    async fn machines(&self, group: &str) -> Result<BTreeMap<String, bool>> {
        let folder = format!("{}/", self.0.folder(group));
        let mut machines = self.0.machines().await?;
        machines.retain(|path, _| path.starts_with(&folder));
        Ok(machines)
    }

    async fn nothing_left(&self) -> Result<()> {
        self.0.gone(GROUP).await?;
        self.0.gone(WRONG).await?;
        eventually("nothing is left in the vCenter", PATIENCE, async || {
            let left: Vec<String> = self.outside().await?.into_keys().collect();
            ensure!(left.is_empty(), "there are {left:?}");
            Ok(Some(()))
        })
        .await
    }
}
