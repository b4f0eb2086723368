//! The effect of a controller upgrade on its configuration: roles get privileges for new resources.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::table::{Object, Table};
use super::validate::{is_removed, resources};
use super::{Store, text};
use crate::{ApiError, Caller, Version};

impl Store {
    /// Adds the missing privileges of `version` to each role that is not built in, with `NO_ACCESS`, and removes those of
    /// resources that `version` no longer has. `now` is the time, µs since 1970. Then a PUT of such a role gets 500 if it
    /// lacks an added privilege, until a PUT has them all.
    ///
    /// # Errors
    /// If the store refuses a role, which means that the stored role was invalid.
    pub fn upgrade_roles(&mut self, version: Version, now: u64) -> Result<(), ApiError> {
        let Some(kind) = Kind::find("role") else { return Ok(()) };
        let roles: Vec<Object> = self
            .tables
            .get(kind.name)
            .into_iter()
            .flat_map(Table::iter)
            .filter(|role| !role.builtin)
            .cloned()
            .collect();
        let caller = Caller { version, ..Self::own_caller(now) };
        for role in roles {
            let mut body = role.fields().cloned().unwrap_or_default();
            if let Some(Value::Array(privileges)) = body.get_mut("privileges") {
                privileges.retain(|privilege| !is_removed(version, text(privilege, "resource")));
            }
            let present = granted_resources(&body);
            let added: BTreeSet<String> =
                resources(version).filter(|resource| !present.contains(resource)).collect();
            let more = added.iter().map(|resource| json!({"resource": resource, "type": "NO_ACCESS"}));
            match body.entry("privileges").or_insert_with(|| json!([])) {
                Value::Array(privileges) => privileges.extend(more),
                _ => continue,
            }
            let object = self.compose(&caller, kind, role.uuid.clone(), Some(&role), body)?;
            self.stamp_and_insert(&caller, kind, object);
            self.upgraded.insert(role.uuid, added);
        }
        Ok(())
    }

    /// Checks that a PUT of a role has the privileges that an upgrade added; 500 if not.
    pub(super) fn check_upgraded_privileges(
        &self,
        uuid: &str,
        body: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let present = granted_resources(body);
        match self.upgraded.get(uuid) {
            Some(added) if !added.is_subset(&present) => Err(ApiError::new(500, "Internal Server Error")),
            _ => Ok(()),
        }
    }
}

/// Returns the resources of a role's privileges.
fn granted_resources(body: &Map<String, Value>) -> BTreeSet<String> {
    let privileges = body.get("privileges").and_then(Value::as_array);
    privileges.into_iter().flatten().map(|privilege| text(privilege, "resource").to_owned()).collect()
}
