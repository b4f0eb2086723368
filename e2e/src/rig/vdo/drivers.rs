//! The objects of the drivers in the cluster: what vdo works on, outside of its own kinds.

use std::collections::BTreeMap;

use anyhow::Result;
use data_encoding::BASE64;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Value, json};

use super::VdoRig;

/// Label of the members of a set of objects.
const PART_OF: &str = "applyset.kubernetes.io/part-of";
/// Kinds that tell how drivers run: API group, kind.
const KINDS: [(&str, &str); 5] =
    [("apps", "DaemonSet"), ("apps", "Deployment"), ("", "ConfigMap"), ("", "Secret"), ("", "Namespace")];

impl VdoRig {
    /// Returns the drivers' objects, by kind, namespace and name: what each is to be, with what Secrets hold in words.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn drivers(&self) -> Result<BTreeMap<String, Value>> {
        let mut found = BTreeMap::new();
        for (group, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
            let api: Api<DynamicObject> = Api::all_with(self.client(), &resource);
            for object in api.list(&ListParams::default().labels(PART_OF)).await? {
                let name = format!("{kind} {}/{}", object.namespace().unwrap_or_default(), object.name_any());
                found.insert(name, self.shown(&object.data));
            }
        }
        Ok(found)
    }

    /// Returns what an object is to be: without its status, what a Secret holds in words, and without the address of this rig.
    fn shown(&self, data: &Value) -> Value {
        let mut shown = data.clone();
        if let Some(fields) = shown.as_object_mut() {
            fields.remove("status");
        }
        if data["type"].is_string() {
            let decoded = |text: &Value| {
                let bytes = BASE64.decode(text.as_str().unwrap_or_default().as_bytes()).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let entries = data["data"].as_object().into_iter().flatten();
            let entries: BTreeMap<_, _> = entries.map(|(key, text)| (key.clone(), decoded(text))).collect();
            shown = json!({ "data": entries });
        }
        let text = shown.to_string().replace(&self.vcenter.host(), "VCENTER");
        serde_json::from_str(&text).unwrap_or(shown)
    }
}

/// Returns what a Ready object asks for that the drivers do not have: which object lacks which text.
pub(super) fn missing(spec: &Value, drivers: &BTreeMap<String, Value>) -> Option<String> {
    let cloud = ["/cpi", "/cloudProvider"].iter().find_map(|path| spec.pointer(path)).unwrap_or(&Value::Null);
    let storage =
        ["/csi", "/storageProvider"].iter().find_map(|path| spec.pointer(path)).unwrap_or(&Value::Null);
    let is_managed = |driver: &Value| {
        !driver.is_null() && matches!(driver["managementState"].as_str(), None | Some("Managed"))
    };
    let connects =
        !cloud["connections"].is_null() || !cloud["vsphereCloudConfigs"].as_array().is_none_or(Vec::is_empty);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kubelet = ["kubeletPath", "customKubeletPath"].map(|field| text(&storage[field])).concat();
    let mut wanted = Vec::new();
    if is_managed(cloud) && connects {
        wanted.push(("DaemonSet kube-system/vsphere-cloud-controller-manager", text(&cloud["version"])));
        wanted.push(("ConfigMap kube-system/cloud-config", text(&cloud["topology"]["region"])));
    }
    if is_managed(storage) {
        wanted.push(("DaemonSet vmware-system-csi/vsphere-csi-node", kubelet));
        wanted
            .push(("Secret vmware-system-csi/vsphere-config-secret", text(&storage["clusterDistribution"])));
    }
    wanted.into_iter().find_map(|(name, part)| {
        let Some(object) = drivers.get(name) else { return Some(format!("there is no {name}")) };
        // Each file writes others in its own way.
        let is_plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let is_missing = is_plain && !object.to_string().contains(&part);
        is_missing.then(|| format!("{name} has no {part}: {object}"))
    })
}
