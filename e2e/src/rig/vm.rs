//! vm-operator with a simulated vCenter.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{ControlPlane, Fault, Outage, Vcsim, VcsimBuilder, eventually};

use super::Rig;
use crate::install::{Kind, Manifests, Plane, Subject};
use crate::objects::{Id, condition};
use crate::operator::{Launch, OperatorProcess};
use crate::site::{PATIENCE, Site};

/// Looks odd in every encoding that a log, a status or a SOAP body might use.
const PASSWORD: &str = "s3cr&t<\"Pa%ss\u{fc}";
/// The operator's folder in the vCenter.
const ROOT: &str = "/DC0/vm/vm-operator";

/// A part of a control plane, a simulated vCenter, and vm-operator installed but not yet started.
pub struct VmRig {
    site: Site,
    /// The vCenter.
    pub vcenter: Vcsim,
}

/// The settings of a rig.
#[derive(Default)]
pub struct VmRigBuilder {
    vcenter: Option<VcsimBuilder>,
    alone: bool,
}

impl VmRigBuilder {
    /// Sets another vCenter than the default with the template `photon`.
    #[must_use]
    pub fn vcenter(mut self, vcenter: VcsimBuilder) -> Self {
        self.vcenter = Some(vcenter);
        self
    }

    /// Starts a control plane for this rig alone, in which the operator watches all namespaces and the rig's is `default`.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Starts what the rig needs, and installs vm-operator from `deploy/vm-operator/base` as a user would.
    ///
    /// # Errors
    /// If a server does not start or the operator cannot be installed.
    pub async fn start(self) -> Result<VmRig> {
        let plane = async {
            if self.alone {
                Ok(Arc::new(Plane::start(ControlPlane::builder().audit(true)).await?))
            } else {
                Plane::shared().await
            }
        };
        let vcenter = self.vcenter.unwrap_or_else(Vcsim::builder);
        let (plane, vcenter) = tokio::try_join!(plane, vcenter.start())?;
        VmRig::new(plane, !self.alone, vcenter).await
    }
}

impl VmRig {
    /// Starts the default rig, in the plane that the tests of this process share.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Starts a rig with this vCenter.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn with(vcenter: VcsimBuilder) -> Result<Self> {
        Self::builder().vcenter(vcenter).start().await
    }

    /// Starts a rig whose vCenter takes this long for each clone.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn with_clones_of(time: Duration) -> Result<Self> {
        Self::with(Vcsim::builder().clone_time(time)).await
    }

    /// Returns a builder, for a rig that differs from the default.
    #[must_use]
    pub fn builder() -> VmRigBuilder {
        VmRigBuilder::default()
    }

    async fn new(plane: Arc<Plane>, is_shared: bool, vcenter: Vcsim) -> Result<Self> {
        let site = Site::new(&Self::SUBJECT, plane, is_shared).await?;
        Ok(Self { site, vcenter })
    }

    /// Applies a group of 1 core and 1 GB machines.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply<'a>(&self, id: impl Into<Id<'a>>, replicas: usize, template: &str) -> Result<()> {
        let id = id.into();
        self.site.apply(id.namespace, &group(id.name, replicas, template)).await
    }

    /// Waits until a group is ready with that many machines, by a status that answers its present spec.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the status.
    pub async fn settled<'a>(&self, id: impl Into<Id<'a>>, replicas: usize) -> Result<Value> {
        self.settled_within(id, replicas, PATIENCE).await
    }

    /// Waits like [`settled`](Self::settled), with another patience.
    ///
    /// # Errors
    /// If that takes longer than `patience`; the error has the status.
    pub async fn settled_within<'a>(
        &self,
        id: impl Into<Id<'a>>,
        replicas: usize,
        patience: Duration,
    ) -> Result<Value> {
        let has_all = |status: &Value| status["readyReplicas"] == replicas && status["replicas"] == replicas;
        self.site.ready_within(id, patience, has_all).await
    }

    /// Returns the folder in the vCenter of a group in the rig's namespace.
    #[must_use]
    pub fn folder(&self, group: &str) -> String {
        format!("{ROOT}/{}.{group}", self.namespace())
    }

    /// Returns the machines under the operator's folder, by inventory path: on or not.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn machines(&self) -> Result<BTreeMap<String, bool>> {
        let vms = self.vcenter.vms().await?;
        let ours = vms.into_iter().filter(|vm| vm.folder.starts_with(ROOT));
        Ok(ours.map(|vm| (vm.path.clone(), vm.is_on())).collect())
    }

    /// Waits until a machine exists and is on, by its inventory path.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub async fn on(&self, path: &str) -> Result<()> {
        eventually(&format!("{path} is on"), PATIENCE, async || {
            Ok((self.machines().await?.get(path) == Some(&true)).then_some(()))
        })
        .await
    }

    /// Returns how often a method was called at the vCenter since the last reset.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn called(&self, method: &str) -> Result<u64> {
        Ok(self.vcenter.calls().await?.get(method).copied().unwrap_or(0))
    }

    /// Waits until a method was called that often.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub async fn called_often(&self, method: &str, times: u64) -> Result<()> {
        eventually(&format!("{times} calls of {method}"), PATIENCE, async || {
            Ok((self.called(method).await? >= times).then_some(()))
        })
        .await
    }

    /// Starts the operator and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not become ready.
    pub async fn operator(&self) -> Result<OperatorProcess> {
        Rig::operator(self).await
    }

    /// Starts the operator with `launch` and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not become ready.
    pub async fn ready_operator(&self, launch: &Launch) -> Result<OperatorProcess> {
        Rig::operator_with(self, launch).await
    }

    /// Returns how the operator is started: the environment of the Secret `vc-creds`, the simulator's CA trusted.
    #[must_use]
    pub fn launch(&self) -> Launch {
        let launch = self.site.launch();
        launch
            .env("VC_HOST", self.vcenter.host())
            .env("VC_USER", self.vcenter.user())
            .env("VC_PASS", self.vcenter.password())
            .env("VC_CA_FILE", self.vcenter.ca_file())
    }

    /// Returns the calls at the vCenter since the last reset, but for the long poll and what keeps the session alive.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.vcenter.calls().await?;
        calls.retain(|method, n| *n > 0 && !matches!(method.as_str(), "WaitForUpdatesEx" | "CurrentTime"));
        Ok(calls)
    }
}

impl Deref for VmRig {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for VmRig {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

/// Returns a group of machines with 1 core and 1 GB.
#[must_use]
pub fn group(name: &str, replicas: usize, template: &str) -> Value {
    json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmGroup",
        "metadata": { "name": name },
        "spec": { "cpu": 1, "memory": 1, "replicas": replicas, "template": template },
    })
}

impl Rig for VmRig {
    const SUBJECT: Subject = Subject {
        name: "vm-operator",
        group: "vm.codeconnect.vmworld.com",
        version: "v1alpha1",
        kinds: &[
            Kind { kind: "VmGroup", plural: "vmgroups", by_users: true },
            Kind { kind: "VmInstance", plural: "vminstances", by_users: false },
        ],
        namespace: "codeconnect-vm-operator-system",
        manifests: Manifests::Deploy("deploy/vm-operator"),
        docs: &["docs/vm-operator"],
    };
    const STEPS: &'static [&'static str] = &["create", "grow", "power off", "lose", "shrink", "delete"];
    const FAULTS: &'static [&'static str] = &[
        "clone-reply-lost",
        "clone-request-lost",
        "clone-fails",
        "clone-late",
        "power-off-reply-lost",
        "destroy-reply-lost",
        "destroy-fails",
        "folder-reply-lost",
        "updates-cut",
        "updates-garbage",
        "updates-paged",
        "updates-doubled",
        "session-expires",
        "outage",
    ];
    // The API server checks it on the operator's behalf, only where OwnerReferencesPermissionEnforcement is on.
    const UNUSED_RIGHTS: &'static [(&'static str, &'static str, &'static str)] =
        &[("vm.codeconnect.vmworld.com", "vmgroups/finalizers", "update")];
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) =
        ("vm.codeconnect.vmworld.com", "vminstances", "create");
    const PASSING: &'static [&'static str] = &[
        "Adopting",
        "Busy",
        "Cloning",
        "PoweringOn",
        "Queued",
        "Refreshing",
        "Removing",
        "Scaling",
        "WaitingForEarlierClone",
        "WaitingForFolder",
        "WaitingForTemplate",
    ];
    // A group without replicas keeps its folder; a new one gets a folder with its first machine.
    const KEPT: &'static [&'static str] = &["outside//DC0/vm/vm-operator/NAMESPACE.web: "];

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        Self::new(plane, true, Vcsim::builder().password(PASSWORD).start().await?).await
    }

    async fn start_alone(plane: Plane) -> Result<Self> {
        Self::new(Arc::new(plane), false, Vcsim::builder().password(PASSWORD).start().await?).await
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        self.launch()
    }

    async fn play(&self, step: &str) -> Result<()> {
        let machine = |name: &str| format!("{}/{name}", self.folder("web"));
        match step {
            "create" => {
                self.apply("web", 2, "photon").await?;
                self.settled("web", 2).await?;
            }
            "grow" => {
                self.apply("web", 4, "photon").await?;
                self.settled("web", 4).await?;
            }
            "power off" => {
                self.vcenter.power_off(&machine("web-1")).await?;
                self.on(&machine("web-1")).await?;
                self.settled("web", 4).await?;
            }
            "lose" => {
                self.vcenter.unregister_vm(&machine("web-0")).await?;
                self.replaced("web-0", &machine("web-0")).await?;
                self.settled("web", 4).await?;
            }
            "shrink" => {
                self.apply("web", 1, "photon").await?;
                self.settled("web", 1).await?;
            }
            "delete" => {
                self.delete("web").await?;
                self.gone("web").await?;
            }
            other => bail!("unknown step {other}"),
        }
        Ok(())
    }

    /// Also makes objects in the operator's way, and repeats an event.
    async fn exercise(&self) -> Result<()> {
        self.apply("web", 2, "no-such-template").await?;
        self.reason("web", "TemplateNotFound").await?;
        for step in ["create", "grow"] {
            self.play(step).await?;
        }
        self.put_in_the_way("web-4").await?;
        self.apply("web", 5, "photon").await?;
        self.reason("web", "WaitingForPredecessor").await?;
        self.take_out_of_the_way("web-4").await?;
        self.settled("web", 5).await?;
        self.play("delete").await?;
        // An event that is repeated becomes a series, by a patch.
        for replicas in [0, 1, 0, 1, 0, 1] {
            self.apply("again", replicas, "photon").await?;
            self.settled("again", replicas).await?;
        }
        Ok(())
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        let generic = |path: &str| path.replace(&format!("/{}.", self.namespace()), "/NAMESPACE.");
        let vms = self.vcenter.vms().await?.into_iter();
        let mut outside: BTreeMap<String, Value> = vms
            .map(|vm| {
                let state = json!({ "power": vm.power, "cpu": vm.cpu, "memoryMb": vm.memory_mb });
                (generic(&vm.path), state)
            })
            .collect();
        let folders = self.vcenter.folders().await?;
        outside.extend(folders.iter().map(|path| (generic(path), json!("folder"))));
        Ok(outside)
    }

    async fn effects(&self) -> Result<BTreeMap<String, u64>> {
        let mut effects = BTreeMap::new();
        for vm in self.vcenter.removed_vms().await? {
            let name = vm.path.rsplit('/').next().unwrap_or_default();
            *effects.entry(format!("removed {name}")).or_default() += 1;
        }
        Ok(effects)
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        self.calls().await
    }

    async fn violations(&self) -> Result<Vec<String>> {
        let mut owners = BTreeMap::new();
        let mut violations = Vec::new();
        for vm in self.vcenter.vms().await? {
            let Some(owner) = vm.extra_config.get("vmgroup/owner") else { continue };
            if let Some(other) = owners.insert(owner.clone(), vm.path.clone()) {
                violations.push(format!("{} and {other} have the owner {owner}", vm.path));
            }
        }
        Ok(violations)
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        let fault = match fault {
            "clone-reply-lost" => Fault::cut_after("CloneVM_Task"),
            "clone-request-lost" => Fault::cut_before("CloneVM_Task"),
            "clone-fails" => Fault::task("CloneVM_Task", "TaskInProgress"),
            "clone-late" => Fault::delay("CloneVM_Task", Duration::from_secs(2)),
            "power-off-reply-lost" => Fault::cut_after("PowerOffVM_Task"),
            "destroy-reply-lost" => Fault::cut_after("Destroy_Task"),
            "destroy-fails" => Fault::task("Destroy_Task", "InvalidState"),
            "folder-reply-lost" => Fault::cut_after("CreateFolder"),
            "updates-cut" => Fault::cut_after("WaitForUpdatesEx"),
            "updates-garbage" => Fault::garbage("WaitForUpdatesEx"),
            "updates-paged" => return self.vcenter.page_updates(1).await,
            "updates-doubled" => return self.vcenter.repeat_updates(5).await,
            "session-expires" => return self.vcenter.expire_sessions().await,
            "outage" => {
                self.vcenter.outage(Outage::Refuse).await?;
                return self.vcenter.outage(Outage::None).await;
            }
            other => bail!("unknown fault {other}"),
        };
        self.vcenter.fault(fault).await
    }

    async fn has_fired(&self, fault: &str) -> Result<bool> {
        match fault {
            "updates-paged" => Ok(self.vcenter.update_counts().await?.truncated > 0),
            "updates-doubled" => Ok(self.vcenter.update_counts().await?.repeated > 0),
            // The operator logs in again.
            "session-expires" => Ok(self.vcenter.sessions().await?.logins > 1),
            "outage" => {
                let log = fs::read_to_string(self.site.log_path()).unwrap_or_default();
                Ok(log.contains("the link to vCenter "))
            }
            _ => Ok(self.vcenter.pending_faults().await? == 0),
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.vcenter.password().to_owned()]
    }

    fn samples(&self) -> Vec<Value> {
        let mut sample = group("web", 2, "photon");
        sample["spec"]["paused"] = false.into();
        vec![sample]
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        let name = object["metadata"]["name"].as_str().context("no name")?;
        let vms = self.vcenter.vms_in(&self.folder(name)).await?;
        let spec = &object["spec"];
        let wanted = usize::try_from(spec["replicas"].as_u64().context("no replicas")?)?;
        let on = vms.iter().filter(|vm| vm.is_on()).count();
        if vms.len() != wanted || on != wanted {
            return Ok(Some(format!("{wanted} machines are asked for, {} exist, {on} are on", vms.len())));
        }
        let is_synced = self.is_in_sync(object);
        let differs = vms.iter().find(|vm| {
            spec["cpu"] != vm.cpu || spec["memory"].as_i64().map(|gb| gb * 1024) != Some(vm.memory_mb.into())
        });
        Ok(differs.filter(|_| is_synced).map(|vm| {
            format!("ConfigSynced is not False, and {} has {} CPU and {} MB", vm.path, vm.cpu, vm.memory_mb)
        }))
    }

    fn is_in_sync(&self, object: &Value) -> bool {
        condition(&object["status"], "ConfigSynced").is_none_or(|synced| synced["status"] == "True")
    }

    fn frugal_launch(&self) -> Launch {
        self.launch().env("MAX_REPLICAS", "5")
    }
}

impl VmRig {
    /// Waits until an instance has the machine that is at the path now, powered on. Its group is not asked: the status may
    /// be from before the loss.
    async fn replaced(&self, instance: &str, path: &str) -> Result<()> {
        eventually(&format!("{instance} has a new machine"), PATIENCE, async || {
            let vms = self.vcenter.vms().await?;
            let machine = vms.iter().find(|vm| vm.path == path).context("there is no machine")?;
            let instance = self.api("VmInstance").get(instance).await?;
            let status = &instance.data["status"];
            Ok((status["vmRef"] == *machine.moref && status["power"] == "poweredOn").then_some(()))
        })
        .await
    }

    /// Creates a VmInstance with another owner where the operator will create one.
    async fn put_in_the_way(&self, name: &str) -> Result<()> {
        let instance = json!({
            "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
            "kind": "VmInstance",
            "metadata": { "name": name },
            "spec": {
                "group": "web", "groupUid": "another", "slot": 4, "vmName": name, "cpu": 1, "memory": 1,
                "instanceUuid": "00000000-0000-4000-8000-000000000000", "template": "photon",
            },
        });
        self.site.apply(None, &instance).await
    }

    /// Deletes it, also if the finalizer comes back meanwhile.
    async fn take_out_of_the_way(&self, name: &str) -> Result<()> {
        let remove = r#"{"metadata":{"finalizers":null}}"#;
        self.kubectl(&["patch", "vgi", name, "--type=merge", "-p", remove]).await?;
        self.kubectl(&["delete", "vgi", name, "--ignore-not-found", "--wait=false"]).await?;
        // It may be gone by now.
        let _ = self.kubectl(&["patch", "vgi", name, "--type=merge", "-p", remove]).await;
        Ok(())
    }
}
