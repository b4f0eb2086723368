//! Discovery by a vCenter cloud: one `network` and one `vimgrnwruntime` for each port group, with the same uuid. The caller
//! decides when port groups are found.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kind::Kind;
use super::table::{Id, Object};
use super::{Store, refs, text};
use crate::ApiError;

/// A port group of a vCenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortGroup {
    /// Its managed object id: `dvportgroup-81`, or `81`.
    pub moid: String,
    /// Its name, which need not be unique.
    pub name: String,
    /// Whether it belongs to a distributed switch.
    pub dvs: bool,
    /// The uuids of its hosts.
    pub hosts: Vec<String>,
}

impl PortGroup {
    /// Returns the uuid of its objects in a cloud.
    fn uuid(&self, cloud: &str) -> String {
        let is_number = self.moid.chars().all(|c| c.is_ascii_digit());
        format!("{}{}-{cloud}", if is_number { "dvportgroup-" } else { "" }, self.moid)
    }
}

impl Store {
    /// Updates the networks of a cloud (by uuid or name) to the port groups of its vCenter. Returns their uuids.
    ///
    /// Creates networks for new port groups and renames them with their port groups. Removes a network without a port
    /// group unless it has subnets or an object refers to it.
    ///
    /// # Errors
    /// 404 if there is no such cloud, 400 if it is not of type `CLOUD_VCENTER`.
    pub fn discover(&mut self, cloud: &str, groups: &[PortGroup], now: u64) -> Result<Vec<String>, ApiError> {
        let cloud = self.find_cloud(cloud).ok_or_else(|| ApiError::new(404, "Cloud object not found!"))?;
        if self.object("cloud", &cloud).is_none_or(|cloud| text(cloud, "vtype") != "CLOUD_VCENTER") {
            return Err(ApiError::new(400, "Only a cloud of type CLOUD_VCENTER discovers port groups"));
        }
        let (Some(network), Some(runtime)) = (Kind::find("network"), Kind::find("vimgrnwruntime")) else {
            return Ok(Vec::new());
        };
        let cloud_ref = refs::canonical("cloud", &cloud);
        let mut found = Vec::with_capacity(groups.len());
        for group in groups {
            let uuid = group.uuid(&cloud);
            let hosts: Vec<String> =
                group.hosts.iter().map(|host| refs::canonical("vimgrhostruntime", host)).collect();
            let seen = json!({"name": group.name, "managed_object_id": group.moid, "dvs": group.dvs,
                "type": "PORTGROUP", "host_refs": hosts, "cloud_ref": cloud_ref});
            let body = match self.find(network, &uuid) {
                None => json!({"name": group.name, "cloud_ref": cloud_ref, "vcenter_dvs": group.dvs,
                    "vimgrnw_ref": refs::canonical(runtime.name, &uuid)}),
                Some(known) => {
                    let mut body = (*known.value).clone();
                    body["name"] = json!(group.name);
                    body
                }
            };
            self.write_if_changed(runtime, &uuid, &seen, now)?;
            self.write_if_changed(network, &uuid, &body, now)?;
            found.push(uuid);
        }
        self.remove_vanished(network, runtime, &cloud, &found, now);
        Ok(found)
    }

    /// Writes an object unless it already has the fields of `body`.
    fn write_if_changed(
        &mut self,
        kind: &'static Kind,
        uuid: &str,
        body: &Value,
        now: u64,
    ) -> Result<(), ApiError> {
        let same = |known: &Object| {
            body.as_object()
                .is_some_and(|body| body.iter().all(|(key, value)| known.value.get(key) == Some(value)))
        };
        if self.find(kind, uuid).is_some_and(same) {
            return Ok(());
        }
        let caller = Self::own_caller(now);
        let old = self.find(kind, uuid).cloned();
        let object = self.compose(
            &caller,
            kind,
            uuid.to_owned(),
            old.as_ref(),
            body.as_object().cloned().unwrap_or_default(),
        )?;
        self.stamp_and_insert(&caller, kind, object);
        Ok(())
    }

    /// Removes the networks whose port groups are not among `found`, unless they are in use.
    fn remove_vanished(
        &mut self,
        network: &'static Kind,
        runtime: &'static Kind,
        cloud: &str,
        found: &[String],
        now: u64,
    ) {
        let found: BTreeSet<&String> = found.iter().collect();
        let suffix = format!("-{cloud}");
        let gone: Vec<String> = self
            .tables
            .get(runtime.name)
            .into_iter()
            .flat_map(super::Table::iter)
            .filter(|object| object.uuid.ends_with(&suffix) && !found.contains(&object.uuid))
            .map(|object| object.uuid.clone())
            .collect();
        for uuid in gone {
            let is_referred = self.referrers.contains_key(&Id { kind: network.name, uuid: uuid.clone() });
            let has_subnets = self
                .object(network.name, &uuid)
                .and_then(|value| value.get("configured_subnets")?.as_array())
                .is_some_and(|subnets| !subnets.is_empty());
            if !is_referred && !has_subnets {
                self.next_stamp(now);
                self.remove_object(network, &uuid);
                self.remove_object(runtime, &uuid);
            }
        }
    }
}
