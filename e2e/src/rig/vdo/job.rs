//! The main job: both drivers are installed, get another password and a newer version, and are removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testbed::{Account, Fault, Outage, eventually};

use super::objects::{self, config, object};
use super::{NAME, VdoRig, drivers};
use crate::install::{Kind, Manifests, Plane, Scope, Subject};
use crate::operator::Launch;
use crate::rig::{PASSWORD, Rig};
use crate::site::{PATIENCE, Site};

/// The password after the change.
const NEXT_PASSWORD: &str = "n3xt&p<\"a%ss\u{fc}";
/// How long the vCenter does not answer.
const OUTAGE: Duration = Duration::from_secs(2);
const GROUP: &str = "vdo.vmware.com";
/// Kinds of drivers' objects, whose creation and change by server-side apply is one verb in the audit log, `patch`.
macro_rules! created {
    ($($group:literal: $($resource:literal)+;)+) => {
        &[$($(($group, $resource, "create"),)+)+
            // Only of Pods that end again and again.
            ("", "pods/log", "get"),
            // Checked by the API server on vdo's behalf, as it grants rights that it does not have.
            ("rbac.authorization.k8s.io", "clusterroles", "bind"),
            ("rbac.authorization.k8s.io", "clusterroles", "escalate"),
            ("rbac.authorization.k8s.io", "roles", "bind"),
            ("rbac.authorization.k8s.io", "roles", "escalate"),
        ]
    };
}

impl Rig for VdoRig {
    const SUBJECT: Subject = Subject {
        name: "vdo",
        group: GROUP,
        kinds: &[
            kind("VDOConfig", "vdoconfigs", "v1alpha1"),
            kind("VsphereCloudConfig", "vspherecloudconfigs", "v1alpha1"),
            kind("DriverSet", "driversets", "v1beta1"),
            kind("VSphereConnection", "vsphereconnections", "v1beta1"),
            kind("CompatibilityMatrix", "compatibilitymatrices", "v1beta1"),
        ],
        namespace: "vmware-system-vdo",
        manifests: Manifests::Deploy("deploy/vdo"),
        all_controllers: true,
        has_fixed_names: true,
        docs: &["docs/vdo", "docs/operator-kit.md"],
    };
    const STEPS: &'static [&'static str] = &["create", "change", "delete"];
    const FAULTS: &'static [&'static str] = &["login-reply-lost", "login-refused", "outage"];
    const UNUSED_RIGHTS: &'static [(&'static str, &'static str, &'static str)] = created! {
        "": "namespaces" "secrets" "serviceaccounts" "services";
        "apps": "daemonsets" "deployments";
        "admissionregistration.k8s.io": "mutatingwebhookconfigurations" "validatingwebhookconfigurations";
        "apiextensions.k8s.io": "customresourcedefinitions";
        "apiregistration.k8s.io": "apiservices";
        "storage.k8s.io": "csidrivers";
        "rbac.authorization.k8s.io": "clusterrolebindings" "clusterroles" "rolebindings" "roles";
    };
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) = (GROUP, "vdoconfigs", "patch");
    const PASSING: &'static [&'static str] = &[
        "ChecksRunning",
        "ConnectionNotReady",
        "MachinesUnknown",
        "Removing",
        "RollingOut",
        "SettingUpNodes",
        "WaitingForDriver",
    ];
    const EXCLUSIVE: &'static [&'static str] = &["Conflicting"];
    // A registry has to be reached by https. Claims of resources name what no Pod of a driver has. No CSI that can be used with a
    // thumbprint knows URLs of datastores.
    const UNSET: &'static [&'static str] = &[
        "spec.oci",
        "spec.cni.resources[antrea-agent].claims",
        "spec.cpi.resources[vsphere-cloud-controller-manager].claims",
        "spec.snapshotController.resources[snapshot-controller].claims",
        "spec.csi.resources[vsphere-csi-controller].claims",
        "spec.csi.fileVolumes.vsanDataStoreUrl",
        "spec.storageProvider.fileVolumes.vsanDataStoreUrl",
    ];
    const ALIKE: &'static [&'static str] = &[
        "spec.cni.",
        // Of all of it: a driver that is not managed any more stays, so that the sample does not bring back what was before.
        "spec.snapshotController",
        "spec.cpi.nodes.exclude",
        "spec.cpi.nodes.external",
        "spec.cpi.resources[vsphere-cloud-controller-manager].limits",
        "spec.csi.adopt",
        "spec.csi.imageOverrides",
        "spec.csi.resources",
        "spec.csi.tolerations",
        "spec.csi.version",
        "spec.csi.connections[0]",
    ];
    const MANY_FIELDS: bool = true;
    // The drivers are removed and installed again for each.
    const NEW_OBJECTS: usize = 12;
    // Each run installs and removes both drivers.
    const SAMPLE: usize = 8;
    const CALLS_VARY: bool = true;

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        let rig = Self::on(plane, false).await?;
        rig.register_csi().await?;
        rig.prepare().await?;
        Ok(rig)
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        self.site.base_launch()
    }

    async fn play(&self, step: &str) -> Result<()> {
        match step {
            "create" => {
                self.apply_configs().await?;
                self.settled(PATIENCE).await?;
            }
            "change" => self.change().await?,
            "delete" => {
                self.remove(NAME).await?;
                self.api("VsphereCloudConfig").delete(NAME, &kube::api::DeleteParams::default()).await?;
            }
            other => bail!("unknown step {other}"),
        }
        Ok(())
    }

    /// Also installs a network and the kinds of snapshots by DriverSets, and has an event repeated.
    async fn exercise(&self) -> Result<()> {
        for step in Self::STEPS {
            self.play(step).await?;
        }
        for _ in 0..3 {
            for matrix in ["missing", "matrix"] {
                let spec = json!({"matrix": matrix, "cni": {"versionPolicy": "Latest"}});
                self.site.apply(None, &object("v1beta1", "DriverSet", "network", &spec)).await?;
                let reason = if matrix == "missing" { "FileUnusable" } else { "RollingOut" };
                eventually(&format!("the DriverSet says {reason}"), PATIENCE, async || {
                    let set = self.api("DriverSet").get("network").await?;
                    let status = &set.data["status"];
                    let is_answered = crate::objects::is_answered(status, set.metadata.generation);
                    ensure!(
                        is_answered && crate::objects::ready(status).is_some_and(|(_, is)| is == reason),
                        "it is {status}"
                    );
                    Ok(Some(()))
                })
                .await?;
            }
        }
        // Nothing answers it: the last wave stays the last.
        self.appears("apiservice", "v1alpha1.stats.antrea.io").await?;
        self.remove_set("network").await?;
        let spec = json!({"matrix": "matrix", "snapshotController": {}});
        self.site.apply(None, &object("v1beta1", "DriverSet", "snapshots", &spec)).await?;
        self.appears("crd", "volumesnapshots.snapshot.storage.k8s.io").await?;
        self.remove_set("snapshots").await
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        self.drivers().await
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.vcenter.calls().await?;
        calls.insert("downloads".to_owned(), self.downloads().len().try_into()?);
        calls.retain(|_, n| *n > 0);
        Ok(calls)
    }

    /// CSI of the rig's matrix needs CPI.
    async fn violations(&self) -> Result<Vec<String>> {
        let drivers = self.drivers().await?;
        let has = |name: &str| drivers.contains_key(name);
        let is_alone = has("DaemonSet vmware-system-csi/vsphere-csi-node")
            && !has("DaemonSet kube-system/vsphere-cloud-controller-manager");
        Ok(is_alone.then(|| "CSI is there without CPI".to_owned()).into_iter().collect())
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        match fault {
            "outage" => self.vcenter.outage_for(Outage::Refuse, OUTAGE).await,
            call => self.vcenter.fault(of_call(call)?).await,
        }
    }

    async fn has_fired(&self, fault: &str) -> Result<bool> {
        match fault {
            // The operator may have no call in progress then, and only it sees a connection that is refused.
            "outage" => Ok(true),
            call => Ok(!self.vcenter.is_pending(&of_call(call)?).await?),
        }
    }

    fn is_of_change(fault: &str) -> bool {
        of_call(fault).is_ok()
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned(), NEXT_PASSWORD.to_owned()]
    }

    fn samples() -> Vec<Value> {
        objects::samples()
    }

    fn localized(&self, object: Value) -> Value {
        self.here(&object)
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        Ok(drivers::missing(&object["spec"], &self.drivers().await?))
    }
}

impl VdoRig {
    async fn appears(&self, kind: &str, name: &str) -> Result<()> {
        eventually(&format!("there is the {kind} {name}"), PATIENCE, async || {
            Ok(self.get("", kind, name).await?.map(drop))
        })
        .await
    }

    /// Deletes a DriverSet, and waits until its drivers are removed.
    async fn remove_set(&self, name: &str) -> Result<()> {
        let sets = self.api("DriverSet");
        sets.delete(name, &kube::api::DeleteParams::default()).await?;
        eventually(&format!("the DriverSet {name} is gone"), PATIENCE, async || {
            Ok(sets.get_opt(name).await?.is_none().then_some(()))
        })
        .await
    }

    /// Gives the vCenter's account a password, and the Secret.
    ///
    /// # Errors
    /// If the simulator or the API server refuses.
    pub async fn rotate(&self, password: &str) -> Result<()> {
        self.vcenter.set_account(&Account::new(self.vcenter.user(), password)).await?;
        self.write_account(password).await
    }

    /// Rotates the password, and offers a newer version of CPI.
    async fn change(&self) -> Result<()> {
        self.rotate(NEXT_PASSWORD).await?;
        self.write_matrix(&self.matrix(&["1.36.0", "1.36.1"])).await?;
        eventually("CPI has the password and the version", PATIENCE, async || {
            let drivers = self.drivers().await?;
            let text =
                |name: &str| drivers.get(name).map(Value::to_string).with_context(|| format!("no {name}"));
            let workload = text("DaemonSet kube-system/vsphere-cloud-controller-manager")?;
            ensure!(workload.contains(":v1.36.1"), "it is {workload}");
            let account = text("Secret kube-system/cpi-global-secret")?;
            ensure!(account.contains("n3xt&p"), "the password is the last one");
            Ok(Some(()))
        })
        .await?;
        self.settled(PATIENCE).await.map(drop)
    }

    /// Applies the Secret, the VsphereCloudConfig and the VDOConfig.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn apply_configs(&self) -> Result<()> {
        self.rotate(PASSWORD).await?;
        let cloud = json!({"vcIp": self.vcenter.host(), "insecure": false, "credentials": "vc-creds",
            "thumbprint": self.vcenter.thumbprint_sha256(), "datacenters": ["DC0"]});
        self.site.apply(None, &object("v1alpha1", "VsphereCloudConfig", NAME, &cloud)).await?;
        self.site.apply(None, &config(NAME, NAME)).await
    }
}

/// Returns the fault of one call.
fn of_call(fault: &str) -> Result<Fault> {
    Ok(match fault {
        "login-reply-lost" => Fault::cut_after("Login"),
        "login-refused" => Fault::status("Login", 503),
        other => bail!("unknown fault {other}"),
    })
}

const fn kind(kind: &'static str, plural: &'static str, version: &'static str) -> Kind {
    Kind { kind, plural, version, by_users: true, scope: Scope::Namespaced }
}
