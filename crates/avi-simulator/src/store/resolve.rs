//! Resolution of references: from the form that a client writes to the canonical form. Finds the target by uuid or name and
//! checks that it has the right kind and is visible to the referring object. Only reads.

use super::kind::{Kind, Shape};
use super::refs::{self, Pointer};
use super::table::Object;
use super::{ADMIN, Store};
use crate::{ApiError, Rule};

/// The location of the referring object, which decides what it may refer to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// The uuid of its tenant; empty for kinds without tenants.
    pub(super) tenant: &'a str,
    /// The uuid of its cloud; empty for kinds without clouds.
    pub(super) cloud: &'a str,
    /// The uuid of the request's tenant. For an object without a tenant, a name refers to objects of this tenant first.
    pub(super) request: &'a str,
}

impl Store {
    /// Returns the canonical form of a reference; `None` for an empty one.
    ///
    /// # Errors
    /// 400 if the text is not a reference, or if it refers to the wrong kind, to no object, or to several of that name.
    pub(super) fn resolve_ref(
        &self,
        field: &str,
        text: &str,
        place: Place<'_>,
    ) -> Result<Option<String>, ApiError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let expected = refs::target_kind(field);
        let unreadable = || ApiError::new(400, format!("Invalid reference '{text}' in {field}"));
        let pointer = refs::parse(text).ok_or_else(unreadable)?;
        let kind = match &pointer {
            Pointer::Uuid(name, _) | Pointer::Name(name, _) => Kind::find(name).ok_or_else(unreadable)?,
            Pointer::Bare(_) => expected.ok_or_else(unreadable)?,
        };
        // A discovered network has an object of each of these two kinds with the same uuid.
        if expected.is_some_and(|expected| {
            expected != kind && !(expected.name == "network" && kind.name == "vimgrnwruntime")
        }) {
            let model = expected.map_or("", |kind| kind.model);
            return Err(ApiError::new(400, format!("{field} must refer to {model}, not {}", kind.model)));
        }
        match pointer {
            Pointer::Uuid(_, uuid) | Pointer::Bare(uuid) => {
                let exists = kind.shape == Shape::Foreign
                    || self
                        .find(kind, &uuid)
                        .is_some_and(|object| self.is_in_scope(kind, object, place.tenant));
                if exists { Ok(Some(refs::canonical(kind.name, &uuid))) } else { Err(self.missing_ref(kind)) }
            }
            Pointer::Name(_, name) => {
                let uuid = self.find_by_name(kind, &name, place)?;
                Ok(Some(refs::canonical(kind.name, uuid)))
            }
        }
    }

    /// Returns the uuid of the object with a name: in the cloud of the referring object, in its own tenant before `admin`.
    pub(super) fn find_by_name(
        &self,
        kind: &'static Kind,
        name: &str,
        place: Place<'_>,
    ) -> Result<&str, ApiError> {
        let table = self.tables.get(kind.name).ok_or_else(|| self.missing_ref(kind))?;
        let mut found: Vec<&Object> = table
            .find_by_name(name)
            .filter(|object| self.is_in_scope(kind, object, place.tenant))
            .filter(|object| !kind.clouded || place.cloud.is_empty() || object.cloud == place.cloud)
            .collect();
        let own = if place.tenant.is_empty() { place.request } else { place.tenant };
        if found.iter().any(|object| object.tenant == own) {
            found.retain(|object| object.tenant == own);
        }
        match found.as_slice() {
            [] => Err(self.missing_ref(kind)),
            [one] => Ok(&one.uuid),
            _ => Err(ApiError::new(400, format!("More than one {} with name {name}", kind.model))),
        }
    }

    fn is_in_scope(&self, kind: &Kind, object: &Object, tenant: &str) -> bool {
        let tenant = if tenant.is_empty() { ADMIN } else { tenant };
        !self.rules.holds(Rule::TenantScope) || object.is_visible_in(kind, tenant)
    }

    /// Creates the error for a target that does not exist. AKO looks for these texts; that for VRF contexts differs.
    fn missing_ref(&self, kind: &Kind) -> ApiError {
        let text = if kind.name == "vrfcontext" { "not found!" } else { "object not found!" };
        ApiError::new(self.assumptions.missing_ref_status, format!("{} {text}", kind.model))
    }
}
