//! What an upgrade of the controller does to its configuration: roles get the privileges that are new.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::table::{Object, Table};
use super::validate::{gone, resources};
use super::{Store, text};
use crate::{ApiError, Caller, Version};

impl Store {
    /// Adds every privilege that a role made by a client does not have and that `version` knows, with `NO_ACCESS`, and
    /// removes those of resources that `version` knows no more; `now` is the time, µs since 1970. From then on a PUT of
    /// the role that leaves one of the new ones out is answered 500, until one that has them all.
    ///
    /// # Errors
    /// None but those of a role that could not have been there.
    pub fn upgrade_roles(&mut self, version: Version, now: u64) -> Result<(), ApiError> {
        let Some(kind) = Kind::named("role") else { return Ok(()) };
        let roles: Vec<Object> = self
            .tables
            .get(kind.name)
            .into_iter()
            .flat_map(Table::iter)
            .filter(|role| !role.builtin)
            .cloned()
            .collect();
        let caller = Caller { version, ..Self::itself(now) };
        for role in roles {
            let mut body = role.fields().cloned().unwrap_or_default();
            if let Some(Value::Array(privileges)) = body.get_mut("privileges") {
                privileges.retain(|privilege| !gone(version, text(privilege, "resource")));
            }
            let has = granted(&body);
            let added: BTreeSet<String> =
                resources(version).filter(|resource| !has.contains(resource)).collect();
            let more = added.iter().map(|resource| json!({"resource": resource, "type": "NO_ACCESS"}));
            match body.entry("privileges").or_insert_with(|| json!([])) {
                Value::Array(privileges) => privileges.extend(more),
                _ => continue,
            }
            let object = self.compose(&caller, kind, role.uuid.clone(), Some(&role), body)?;
            self.settle(&caller, kind, object);
            self.upgraded.insert(role.uuid, added);
        }
        Ok(())
    }

    /// What a PUT is answered that takes from a role what an upgrade has added.
    pub(super) fn keeps_upgrade(&self, uuid: &str, body: &Map<String, Value>) -> Result<(), ApiError> {
        let has = granted(body);
        match self.upgraded.get(uuid) {
            Some(added) if !added.is_subset(&has) => Err(ApiError::new(500, "Internal Server Error")),
            _ => Ok(()),
        }
    }
}

/// The resources a role's body has privileges of.
fn granted(body: &Map<String, Value>) -> BTreeSet<String> {
    let privileges = body.get("privileges").and_then(Value::as_array);
    privileges.into_iter().flatten().map(|privilege| text(privilege, "resource").to_owned()).collect()
}
