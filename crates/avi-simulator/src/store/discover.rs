//! The networks a vCenter cloud finds: one `network` and one `vimgrnwruntime` for each port group, under one uuid.
//! When they are found, and from where, is the caller's affair.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::kind::Kind;
use super::table::{Id, Object};
use super::{Store, refs, text};
use crate::ApiError;

/// A port group, as vCenter tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortGroup {
    /// The managed object's id: `dvportgroup-81`, or `81`.
    pub moid: String,
    /// Its name; several may have the same.
    pub name: String,
    /// Whether it is of a distributed switch.
    pub dvs: bool,
    /// The uuids of the hosts that have it.
    pub hosts: Vec<String>,
}

impl PortGroup {
    fn uuid(&self, cloud: &str) -> String {
        let plain = self.moid.chars().all(|c| c.is_ascii_digit());
        format!("{}{}-{cloud}", if plain { "dvportgroup-" } else { "" }, self.moid)
    }
}

impl Store {
    /// Brings the networks of a cloud in line with the port groups of its vCenter; the uuids of all of them.
    ///
    /// New ones are made, renamed ones renamed, vanished ones removed unless they were configured or are referred to.
    ///
    /// # Errors
    /// 404 if there is no such cloud (uuid or name), 400 if it is not of type `CLOUD_VCENTER`.
    pub fn discover(&mut self, cloud: &str, groups: &[PortGroup], now: u64) -> Result<Vec<String>, ApiError> {
        let cloud = self.cloud_named(cloud).ok_or_else(|| ApiError::new(404, "Cloud object not found!"))?;
        if self.object("cloud", &cloud).is_none_or(|cloud| text(cloud, "vtype") != "CLOUD_VCENTER") {
            return Err(ApiError::new(400, "Only a cloud of type CLOUD_VCENTER discovers port groups"));
        }
        let (Some(network), Some(runtime)) = (Kind::named("network"), Kind::named("vimgrnwruntime")) else {
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
            self.make_if_new(runtime, &uuid, &seen, now)?;
            self.make_if_new(network, &uuid, &body, now)?;
            found.push(uuid);
        }
        self.forget_vanished(network, runtime, &cloud, &found, now);
        Ok(found)
    }

    fn make_if_new(
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
        let caller = Self::itself(now);
        let old = self.find(kind, uuid).cloned();
        let object = self.compose(
            &caller,
            kind,
            uuid.to_owned(),
            old.as_ref(),
            body.as_object().cloned().unwrap_or_default(),
        )?;
        self.settle(&caller, kind, object);
        Ok(())
    }

    fn forget_vanished(
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
            let wanted = self.referrers.contains_key(&Id { kind: network.name, uuid: uuid.clone() });
            let configured = self
                .object(network.name, &uuid)
                .and_then(|value| value.get("configured_subnets")?.as_array())
                .is_some_and(|subnets| !subnets.is_empty());
            if !wanted && !configured {
                self.stamp(now);
                self.withdraw(network, &uuid);
                self.withdraw(runtime, &uuid);
            }
        }
    }
}
