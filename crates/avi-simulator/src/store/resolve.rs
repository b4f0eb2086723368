//! From the references a client writes to the form they are kept in: found by uuid or name, of the right kind, in
//! reach of the object that has them. Changes nothing.

use super::kind::{Kind, Shape};
use super::read::in_reach;
use super::refs::{self, Pointer};
use super::table::Object;
use super::{ADMIN, Store};
use crate::{ApiError, Rule};

/// Where the object with the references is: what it may refer to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// The uuid of its tenant; empty for kinds in no tenant.
    pub(super) tenant: &'a str,
    /// The uuid of its cloud; empty for kinds in no cloud.
    pub(super) cloud: &'a str,
    /// The uuid of the tenant of the request, whose objects a name means first where the object is in none.
    pub(super) request: &'a str,
}

impl Store {
    /// The kept form of a reference; `None` for an empty one.
    ///
    /// # Errors
    /// 400 if the text is no reference, or points at the wrong kind, at nothing, or at several objects of one name.
    pub(super) fn resolve(
        &self,
        field: &str,
        text: &str,
        place: Place<'_>,
    ) -> Result<Option<String>, ApiError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let expected = refs::target(field);
        let unreadable = || ApiError::new(400, format!("Invalid reference '{text}' in {field}"));
        let pointer = refs::parse(text).ok_or_else(unreadable)?;
        let kind = match &pointer {
            Pointer::Uuid(name, _) | Pointer::Name(name, _) => Kind::named(name).ok_or_else(unreadable)?,
            Pointer::Bare(_) => expected.ok_or_else(unreadable)?,
        };
        // A discovered network is known by two kinds under one uuid.
        if expected.is_some_and(|expected| {
            expected != kind && !(expected.name == "network" && kind.name == "vimgrnwruntime")
        }) {
            let wanted = expected.map_or("", |kind| kind.model);
            return Err(ApiError::new(400, format!("{field} must refer to {wanted}, not {}", kind.model)));
        }
        match pointer {
            Pointer::Uuid(_, uuid) | Pointer::Bare(uuid) => {
                let there = kind.shape == Shape::Foreign
                    || self.find(kind, &uuid).is_some_and(|object| self.within(kind, object, place.tenant));
                if there { Ok(Some(refs::canonical(kind.name, &uuid))) } else { Err(self.missing(kind)) }
            }
            Pointer::Name(_, name) => {
                let uuid = self.by_name(kind, &name, place)?;
                Ok(Some(refs::canonical(kind.name, uuid)))
            }
        }
    }

    /// The object a name stands for: in the cloud of the one that refers, its own tenant before `admin`.
    pub(super) fn by_name(
        &self,
        kind: &'static Kind,
        name: &str,
        place: Place<'_>,
    ) -> Result<&str, ApiError> {
        let table = self.tables.get(kind.name).ok_or_else(|| self.missing(kind))?;
        let mut found: Vec<&Object> = table
            .named(name)
            .filter(|object| self.within(kind, object, place.tenant))
            .filter(|object| !kind.clouded || place.cloud.is_empty() || object.cloud == place.cloud)
            .collect();
        let near = if place.tenant.is_empty() { place.request } else { place.tenant };
        if found.iter().any(|object| object.tenant == near) {
            found.retain(|object| object.tenant == near);
        }
        match found.as_slice() {
            [] => Err(self.missing(kind)),
            [one] => Ok(&one.uuid),
            _ => Err(ApiError::new(400, format!("More than one {} with name {name}", kind.model))),
        }
    }

    fn within(&self, kind: &Kind, object: &Object, tenant: &str) -> bool {
        let tenant = if tenant.is_empty() { ADMIN } else { tenant };
        !self.rules.holds(Rule::TenantScope) || in_reach(kind, object, tenant)
    }

    /// AKO looks for these texts, and for this one of VRF contexts.
    fn missing(&self, kind: &Kind) -> ApiError {
        let text = if kind.name == "vrfcontext" { "not found!" } else { "object not found!" };
        ApiError::new(self.assumptions.missing_ref_status, format!("{} {text}", kind.model))
    }
}
