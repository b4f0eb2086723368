//! The user of a Cluster on AVI: made, corrected and removed. Sends a password only when it changes.

use infra_clients::Secret;
use infra_clients::avi::objects::{Access, Meta, Role, User};
use infra_clients::avi::{
    Avi, Error, Kind as Refusal, Query, ROLE, Ref, Scope, TENANT, USER, Updated, Version,
};

use super::role::{Kind, new_for, sync, tenant_role};
use crate::api::ADMIN_TENANT;

/// How a user is to be.
#[derive(Clone, Debug)]
pub struct WantedUser {
    /// Its name.
    pub name: String,
    /// Name of its cluster on AVI.
    pub cluster: String,
    /// Name of the tenant of the cluster's objects.
    pub tenant: String,
    /// UUID of that tenant.
    pub tenant_uuid: String,
    /// The roles that Clusters share, with their UUIDs.
    pub shared: Vec<(Kind, String)>,
    /// Version of the controller.
    pub version: Version,
    /// The password of a new user.
    pub password: Secret,
    /// Whether a user that exists gets the password as well.
    pub is_changed: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The user was made.
    Made,
    /// It was corrected, or got the password.
    Corrected,
    /// It was as it is to be.
    Nothing,
}

/// Makes the user, or corrects it.
///
/// # Errors
/// The first request that failed. The next call goes on.
pub async fn ensure(avi: &Avi, wanted: &WantedUser) -> Result<Done, Error> {
    let api = avi.api(Scope::admin());
    let mut access: Vec<Access> = wanted.shared.iter().map(|(kind, role)| shared(*kind, role)).collect();
    if wanted.tenant != ADMIN_TENANT {
        access.push(entry(&own_role(avi, wanted).await?, &wanted.tenant_uuid));
    }
    let tenant = TENANT.reference(&wanted.tenant_uuid);
    let Some(found) = api.by_name(USER, &wanted.name, &Query::new()).await?.at_most_one()? else {
        let user = User {
            meta: Meta::named(&*wanted.name),
            username: Some(wanted.name.clone()),
            password: Some(wanted.password.clone()),
            access,
            default_tenant_ref: Some(tenant),
            ..User::default()
        };
        api.create(USER, &user).await?;
        return Ok(Done::Made);
    };
    let edit = |user: &mut User| {
        if !is_same(&user.access, &access) {
            user.access.clone_from(&access);
        }
        if user.default_tenant_ref.as_ref() != Some(&tenant) {
            user.default_tenant_ref = Some(tenant.clone());
        }
        if wanted.is_changed {
            user.password = Some(wanted.password.clone());
        }
    };
    Ok(match api.update(USER, &found.meta.uuid, edit).await? {
        Updated::Written(_) => Done::Corrected,
        Updated::Unchanged(_) => Done::Nothing,
    })
}

/// Returns whether there is a user of this name.
///
/// # Errors
/// The request failed.
pub async fn exists(avi: &Avi, name: &str) -> Result<bool, Error> {
    Ok(avi.api(Scope::admin()).by_name(USER, name, &Query::new()).await?.at_most_one()?.is_some())
}

/// Removes the user of this name, and the role of its cluster in its tenant. Returns whether there was anything.
///
/// # Errors
/// The first request that failed. The next call goes on.
pub async fn remove(avi: &Avi, name: &str, cluster: &str, tenant: &str) -> Result<bool, Error> {
    let api = avi.api(Scope::admin());
    let mut is_removed = false;
    if let Some(user) = api.by_name(USER, name, &Query::new()).await?.at_most_one()? {
        is_removed |= api.delete(USER, &user.meta.uuid).await?;
    }
    if tenant == ADMIN_TENANT {
        return Ok(is_removed);
    }
    let api = avi.api(Scope::Name(tenant.to_owned()));
    let role = match api.by_name(ROLE, &tenant_role(cluster), &Query::new()).await {
        // The tenant is gone, and the role with it.
        Err(error) if error.kind() == Refusal::NotFound => None,
        found => found?.at_most_one()?,
    };
    if let Some(role) = role {
        is_removed |= api.delete(ROLE, &role.meta.uuid).await?;
    }
    Ok(is_removed)
}

/// Makes or corrects the cluster's own role in its tenant. Returns its UUID.
async fn own_role(avi: &Avi, wanted: &WantedUser) -> Result<String, Error> {
    let api = avi.api(Scope::Name(wanted.tenant.clone()));
    let made = api.create_or_find(ROLE, &new_for(&wanted.cluster, wanted.version)).await?.into_inner();
    let mut synced = made.clone();
    if sync(&mut synced, Kind::Tenant, wanted.version) {
        let edit = |role: &mut Role| {
            sync(role, Kind::Tenant, wanted.version);
        };
        api.update(ROLE, &made.meta.uuid, edit).await?;
    }
    Ok(made.meta.uuid)
}

fn shared(kind: Kind, role: &str) -> Access {
    let access = entry(role, ADMIN_TENANT);
    if kind == Kind::AllTenants { Access { all_tenants: Some(true), ..access } } else { access }
}

fn entry(role: &str, tenant: &str) -> Access {
    Access {
        role_ref: Some(ROLE.reference(role)),
        tenant_ref: Some(TENANT.reference(tenant)),
        ..Access::default()
    }
}

/// Returns whether two lists say the same. In all tenants the tenant does not matter.
fn is_same(has: &[Access], wanted: &[Access]) -> bool {
    let plain = |access: &Access| -> (Option<Ref>, Option<Ref>) {
        let is_all = access.all_tenants == Some(true);
        (access.role_ref.clone(), access.tenant_ref.clone().filter(|_| !is_all))
    };
    let all = |access: &Access| access.all_tenants == Some(true);
    has.len() == wanted.len()
        && wanted
            .iter()
            .all(|one| has.iter().any(|other| plain(one) == plain(other) && all(one) == all(other)))
}
