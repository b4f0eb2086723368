//! The main job of vm-operator in steps, and what its vCenter shows and fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use testbed::{Fault, Outage, Vcsim, eventually};

use super::{VmRig, group, history};
use crate::install::{Kind, Manifests, Plane, Scope, Subject};
use crate::objects::condition;
use crate::operator::Launch;
use crate::rig::{Found, PASSWORD, Rig};
use crate::site::{PATIENCE, Site};

/// How long the vCenter refuses connections: the step that is played meanwhile needs it.
const OUTAGE: Duration = Duration::from_secs(3);

impl Rig for VmRig {
    const SUBJECT: Subject = Subject {
        name: "vm-operator",
        group: "vm.codeconnect.vmworld.com",
        kinds: &[
            Kind {
                kind: "VmGroup",
                plural: "vmgroups",
                version: "v1alpha1",
                by_users: true,
                scope: Scope::Namespaced,
            },
            Kind {
                kind: "VmInstance",
                plural: "vminstances",
                version: "v1alpha1",
                by_users: false,
                scope: Scope::Namespaced,
            },
        ],
        namespace: "codeconnect-vm-operator-system",
        manifests: Manifests::Deploy("deploy/vm-operator"),
        all_controllers: false,
        has_fixed_names: false,
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
    // A group without replicas keeps its folder and the vCenter that has it; a new one gets both with its first machine.
    const KEPT: &'static [&'static str] =
        &["outside//DC0/vm/vm-operator/NAMESPACE.web: ", "VmGroup/web/status/vcenter: "];
    const FOUND: &'static [Found] = &[Found {
        what: "after a restart with an old list, a folder was created for a group that had been deleted, and stayed; instances \
               were created for an earlier number of replicas",
        runs: &[
            "older-list-16@patch/vmgroups/web#2",
            "older-list-16@delete/vminstances/web-2#1",
            "older-list-4@patch/vminstances/web-0#1",
        ],
    }];

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        let vcenter = Vcsim::builder().password(PASSWORD).start().await?;
        // Of others: nothing is to be done to it.
        vcenter.add_vm("/DC0/vm", "bystander").await?;
        Self::new(plane, vcenter).await
    }

    fn site(&self) -> &Site {
        &self.site
    }

    /// Returns a launch with the environment of the Secret `vc-creds`; the simulator's CA is trusted.
    fn launch(&self) -> Launch {
        self.site
            .base_launch()
            .env("VC_HOST", self.vcenter.host())
            .env("VC_USER", self.vcenter.user())
            .env("VC_PASS", self.vcenter.password())
            .env("VC_CA_FILE", self.vcenter.ca_file())
    }

    async fn play(&self, step: &str) -> Result<()> {
        let machine = |name: &str| format!("{}/{name}", self.folder("web"));
        match step {
            "create" => {
                self.apply_and_settle("web", 2).await?;
            }
            "grow" => {
                self.apply_and_settle("web", 4).await?;
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
                self.apply_and_settle("web", 1).await?;
            }
            "delete" => self.remove("web").await?,
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
            self.apply_and_settle("again", replicas).await?;
        }
        Ok(())
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        let generic = |path: &str| path.replace(&format!("/{}.", self.namespace()), "/NAMESPACE.");
        let vms = self.vcenter.vms().await?.into_iter();
        let mut outside: BTreeMap<String, Value> = vms
            .map(|vm| {
                let is_marked = vm.extra_config.contains_key("vmgroup/owner");
                let state = json!({ "power": vm.power, "cpu": vm.cpu, "memoryMb": vm.memory_mb, "isMarked": is_marked });
                (generic(&vm.path), state)
            })
            .collect();
        let folders = self.vcenter.folders().await?;
        outside.extend(folders.iter().map(|path| (generic(path), json!("folder"))));
        Ok(outside)
    }

    async fn effects(&self) -> Result<BTreeMap<String, u64>> {
        Ok(history::effects(&self.vcenter.history().await?))
    }

    /// Returns the calls since the last reset, without the long poll and what keeps the session alive.
    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.vcenter.calls().await?;
        calls.retain(|method, n| *n > 0 && !matches!(method.as_str(), "WaitForUpdatesEx" | "CurrentTime"));
        Ok(calls)
    }

    async fn violations(&self) -> Result<Vec<String>> {
        Ok(history::violations(&self.vcenter.history().await?))
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        match fault {
            "updates-paged" => self.vcenter.page_updates(1).await,
            "updates-doubled" => self.vcenter.repeat_updates(5).await,
            "session-expires" => self.vcenter.expire_sessions().await,
            "outage" => self.vcenter.outage_for(Outage::Refuse, OUTAGE).await,
            call => self.vcenter.fault(of_call(call)?).await,
        }
    }

    fn is_of_change(fault: &str) -> bool {
        // A call that is late has no error.
        !fault.starts_with("updates-") && fault != "clone-late" && of_call(fault).is_ok()
    }

    async fn has_fired(&self, fault: &str) -> Result<bool> {
        match fault {
            "updates-paged" => Ok(self.vcenter.update_counts().await?.truncated > 0),
            "updates-doubled" => Ok(self.vcenter.update_counts().await?.repeated > 0),
            // The operator logs in again.
            "session-expires" => Ok(self.vcenter.sessions().await?.logins > 1),
            "outage" => Ok(self.vcenter.cut_calls().await? > 0),
            call => Ok(!self.vcenter.is_pending(&of_call(call)?).await?),
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.vcenter.password().to_owned()]
    }

    fn samples() -> Vec<Value> {
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

/// Returns the fault of one call.
fn of_call(fault: &str) -> Result<Fault> {
    Ok(match fault {
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
        other => bail!("unknown fault {other}"),
    })
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
                "group": "web", "groupUid": "another", "slot": 5, "vmName": name, "cpu": 1, "memory": 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_faults_of_calls_that_change_something_are_of_a_change() {
        let others: Vec<_> = VmRig::FAULTS.iter().filter(|fault| !VmRig::is_of_change(fault)).collect();
        let expected = [
            "clone-late",
            "updates-cut",
            "updates-garbage",
            "updates-paged",
            "updates-doubled",
            "session-expires",
            "outage",
        ];
        assert_eq!(others, expected.iter().collect::<Vec<_>>());
    }
}
