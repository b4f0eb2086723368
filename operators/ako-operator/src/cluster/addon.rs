//! Delivery by an add-on manager of TKG: how the add-on Secret, the ClusterBootstrap and the workload cluster differ from what is to be
//! there. Pure, as [`live`](super::live) is for direct delivery.
//!
//! The Secret in the management cluster is this operator's; everything in the workload cluster is the add-on manager's, which installs AKO
//! and hands the data values on. The operator changes one value of them there, so that AKO learns of its removal at once.

use data_encoding::BASE64;
use infra_clients::capi::{ADDON_NAME_LABEL, AddonForm, ClusterBootstrap, VALUES_KEY};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Patch;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use super::live::{Live, contains, in_the_way, is_ours, read_delete_config, set};
use super::seen::{Delivery, Difference, Installed, ObjectWrite, Obstacle, Pending, State};
use crate::api::{SYSTEM_NAMESPACE, reason};
use crate::delivery::addon::{ADDON, PACKAGE, data_values_name, delete_config, secret_name, told_to_delete};
use crate::delivery::{Side, Target};
use crate::problem::Problem;

/// Label of everything that kapp-controller installs, which both add-on managers use.
const KAPP_LABEL: &str = "kapp.k14s.io/app";
/// Group that the original wrote into the owner reference: Kubernetes cannot find an owner there, and collects nothing of it.
const WRONG_GROUP: &str = "networking.tanzu.vmware.com/";

/// The Cluster that an add-on Secret is of.
pub(crate) struct Owner {
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its name on AVI.
    pub(crate) avi_name: String,
    /// The reference to it.
    pub(crate) reference: Value,
    /// Which add-on manager it has.
    pub(crate) form: AddonForm,
}

/// What the add-on manager of a Cluster is to have.
pub(crate) struct WantedAddon {
    /// The Secret, without an owner.
    pub(crate) secret: Secret,
    /// What is known of the Cluster's ClusterBootstrap; `None` where the Cluster has no topology.
    pub(crate) bootstrap: Option<Bootstrap>,
}

/// What is known of a Cluster's ClusterBootstrap.
#[derive(Default)]
pub(crate) struct Bootstrap {
    /// The object.
    pub(crate) read: Option<ClusterBootstrap>,
    /// The package of AKO, as its release has it; only where the object does not list one.
    pub(crate) package: Option<String>,
}

impl Owner {
    /// Returns the Secret of the management cluster.
    pub(crate) fn secret(&self) -> Target {
        Target {
            side: Side::Management,
            resource: ApiResource::erase::<Secret>(&()),
            namespace: Some(self.namespace.clone()),
            name: secret_name(&self.name),
        }
    }

    /// Returns the Secret of the workload cluster.
    pub(crate) fn data_values(&self) -> Target {
        Target {
            side: Side::Workload,
            resource: ApiResource::erase::<Secret>(&()),
            namespace: Some(SYSTEM_NAMESPACE.to_owned()),
            name: data_values_name(&self.name, self.form),
        }
    }

    /// Returns whether an add-on manager has installed AKO in the workload cluster for this Cluster, or is to.
    pub(crate) fn has_addon(&self, live: &Live) -> bool {
        if live.has_ours() {
            return false;
        }
        let is_named = |config: &DynamicObject| config.data["data"]["clusterName"] == *self.avi_name;
        let by_kapp = live.set().is_some_and(|(_, set)| set.labels().contains_key(KAPP_LABEL));
        live.get(&self.secret()).is_some()
            || live.get(&self.data_values()).is_some()
            || by_kapp && live.config().is_some_and(|(_, config)| is_named(config))
    }

    /// Compares with what is to be there.
    pub(crate) fn state(&self, live: &Live, wanted: Option<Result<WantedAddon, Obstacle>>) -> State {
        let wanted = match wanted {
            None => None,
            Some(Err(obstacle)) => {
                let delivery = Delivery::Refused(obstacle);
                return State { delivery, installed: self.installed(live) };
            }
            Some(Ok(wanted)) => Some(wanted),
        };
        let other = live.config().filter(|(_, config)| {
            config.data["data"]["clusterName"].as_str().is_some_and(|of| of != self.avi_name)
        });
        let set_of_others = || live.set().filter(|_| !self.has_addon(live));
        let delivery = match (wanted, other.map(|(target, _)| target)) {
            (None, _) => Delivery::None,
            (Some(_), _) if live.has_ours() => delivered_otherwise(),
            (Some(_), Some(config)) => in_the_way(config),
            (Some(wanted), None) => match set_of_others() {
                Some((set, _)) => in_the_way(set),
                None => self.difference(live, &wanted),
            },
        };
        State { delivery, installed: self.installed(live) }
    }

    /// Returns what is in the workload cluster, and from where AKO learns that it has to remove what it made: from the data values, which
    /// the add-on manager hands on, else from its ConfigMap.
    fn installed(&self, live: &Live) -> Installed {
        let config = live.config();
        let is_other = config.as_ref().is_some_and(|(_, config)| {
            config.data["data"]["clusterName"].as_str().is_some_and(|of| of != self.avi_name)
        });
        if is_other || !self.has_addon(live) {
            return Installed::default();
        }
        let set = live.set().map(|(target, live)| set(target, live, false));
        let (mut delete_config, mut untold) = (None, Vec::new());
        for target in [self.secret(), self.data_values()] {
            let Some(secret) = live.get(&target) else { continue };
            let Some((says_so, told)) = read_values(secret) else { continue };
            delete_config = Some(says_so && delete_config != Some(false));
            if !says_so {
                untold.push(change(target, secret, json!({"data": {VALUES_KEY: encoded(&told)}})));
            }
        }
        if delete_config.is_none()
            && let Some((target, config)) = config
        {
            (delete_config, untold) = read_delete_config(target, config);
        }
        Installed { set, delete_config, untold, ..Installed::default() }
    }

    fn difference(&self, live: &Live, wanted: &WantedAddon) -> Delivery {
        let target = self.secret();
        let secret = match self.secret_change(live.get(&target), &wanted.secret) {
            Ok(secret) => secret,
            Err(message) => return refused(reason::ADDON_SECRET_TAKEN, message),
        };
        let entry = wanted.bootstrap.as_ref().map_or(Ok(None), |bootstrap| self.entry(bootstrap));
        let (entry, pending) = match entry {
            Ok(entry) => (entry, None),
            Err(pending) => (None, Some(pending)),
        };
        let waits = || {
            let message = "the add-on manager of TKG has not installed AKO in the workload cluster yet; if that lasts, look at its log, and \
                           at the PackageInstalls and Apps of tkg-system";
            live.set().is_none().then(|| Pending {
                reason: reason::ADDON_PENDING,
                message: message.to_owned(),
                is_watched: true,
            })
        };
        let differing = secret.into_iter().chain(entry).collect();
        let pending = pending.or_else(waits);
        Delivery::Of(Difference { differing, pending, ..Difference::default() })
    }

    /// Returns how the Secret has to change: only what differs, as a write of its data installs AKO again.
    fn secret_change(
        &self,
        live: Option<&DynamicObject>,
        wanted: &Secret,
    ) -> Result<Option<ObjectWrite>, String> {
        let (target, mut wanted) = (self.secret(), serde_json::to_value(wanted).unwrap_or_default());
        let Some(live) = live else {
            wanted["metadata"]["ownerReferences"] = json!([self.reference]);
            return Ok(Some(ObjectWrite { target, patch: Patch::Apply(wanted) }));
        };
        if live.data["type"] != wanted["type"] {
            return Err(format!(
                "{target} has the type {}, and the add-on manager of this Cluster reads those of type {}: delete it",
                live.data["type"], wanted["type"]
            ));
        }
        let mut patch = Map::new();
        let metadata = serde_json::to_value(&live.metadata).unwrap_or_default();
        let mut meta: Map<String, Value> = ["labels", "annotations"]
            .into_iter()
            .filter(|field| !contains(&metadata[field], &wanted["metadata"][field]))
            .map(|field| (field.to_owned(), wanted["metadata"][field].clone()))
            .collect();
        if let Some(owners) = self.owners(&metadata["ownerReferences"]) {
            meta.insert("ownerReferences".to_owned(), owners);
        }
        if !meta.is_empty() {
            patch.insert("metadata".to_owned(), meta.into());
        }
        if live.data["data"][VALUES_KEY] != wanted["data"][VALUES_KEY] {
            patch.insert("data".to_owned(), wanted["data"].take());
        }
        Ok((!patch.is_empty()).then(|| change(target, live, patch.into())))
    }

    /// Returns the owners of the Secret, if they are not as they have to be: the Cluster, and those of others.
    fn owners(&self, live: &Value) -> Option<Value> {
        let known = live.as_array().cloned().unwrap_or_default();
        let is_wrong = |of: &Value| of["apiVersion"].as_str().is_some_and(|of| of.starts_with(WRONG_GROUP));
        let mut owners = known.clone();
        owners.retain(|owner| !is_wrong(owner));
        let group =
            |of: &Value| of["apiVersion"].as_str().and_then(|of| Some(of.split_once('/')?.0.to_owned()));
        let is_this = |of: &Value| of["uid"] == self.reference["uid"] && group(of) == group(&self.reference);
        if !owners.iter().any(is_this) {
            owners.retain(|owner| owner["uid"] != self.reference["uid"]);
            owners.push(self.reference.clone());
        }
        (owners != known).then(|| owners.into())
    }

    /// Returns how the ClusterBootstrap has to change: one step at a time, each for the state that was read. An entry that is there keeps
    /// its version: TKG upgrades it.
    fn entry(&self, bootstrap: &Bootstrap) -> Result<Option<ObjectWrite>, Pending> {
        let pending = |message: &str| Pending {
            reason: reason::BOOTSTRAP_PENDING,
            message: message.to_owned(),
            is_watched: false,
        };
        let Some(read) = &bootstrap.read else {
            return Err(pending("the ClusterBootstrap of the Cluster does not exist yet: TKG creates it"));
        };
        let present = read.additional_package(PACKAGE).map(|entry| entry.ref_name.clone());
        let Some(ref_name) = present.or_else(|| bootstrap.package.clone()) else {
            if read.status.resolved_tkr.is_empty() {
                return Err(pending("status.resolvedTKR of the ClusterBootstrap is empty: TKG fills it in"));
            }
            let message = format!(
                "the TanzuKubernetesRelease {} has no package {PACKAGE}: add the package to spec.additionalPackages of the ClusterBootstrap, \
                 or use another release",
                read.status.resolved_tkr
            );
            return Err(Pending { reason: reason::PACKAGE_MISSING, message, is_watched: false });
        };
        let secret = secret_name(&self.name);
        let patch = read.set_additional_package(PACKAGE, &ref_name, &secret);
        let patch = patch.or_else(|| read.skip_deletion(ADDON));
        let target = Target {
            side: Side::Management,
            resource: ApiResource::erase::<ClusterBootstrap>(&()),
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        };
        Ok(patch.map(|patch| ObjectWrite { target, patch }))
    }
}

fn delivered_otherwise() -> Delivery {
    let message = "this operator delivered AKO to the workload cluster directly, and would leave it to TKG's add-on manager now: start it \
                   with AKO_DELIVERY=direct, or remove the label of the Cluster, and put it back once AKO has left";
    refused(reason::DELIVERED_OTHERWISE, message.to_owned())
}

fn refused(reason: &'static str, message: String) -> Delivery {
    Delivery::Refused(Obstacle::Lasting(Problem { reason, message }))
}

/// Returns whether a Secret is the add-on Secret of AKO.
pub(crate) fn is_addon(secret: &DynamicObject) -> bool {
    secret.labels().get(ADDON_NAME_LABEL).is_some_and(|addon| addon == ADDON) && !is_ours(secret)
}

/// Returns whether the data values of a Secret tell AKO to remove what it made, and those that do.
fn read_values(secret: &DynamicObject) -> Option<(bool, String)> {
    let values = secret.data["data"][VALUES_KEY].as_str()?;
    let values = String::from_utf8(BASE64.decode(values.as_bytes()).ok()?).ok()?;
    Some((delete_config(&values)?, told_to_delete(&values)?))
}

fn encoded(values: &str) -> String {
    BASE64.encode(values.as_bytes())
}

/// Returns a merge patch of an object, for the state that was read.
fn change(target: Target, read: &DynamicObject, mut patch: Value) -> ObjectWrite {
    patch["metadata"]["uid"] = json!(read.metadata.uid);
    patch["metadata"]["resourceVersion"] = json!(read.metadata.resource_version);
    ObjectWrite { target, patch: Patch::Merge(patch) }
}

#[cfg(test)]
mod tests;
