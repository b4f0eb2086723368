//! The user of a Cluster on AVI: made, corrected and removed. Sends a password only when it changes.

use infra_clients::Secret;
use infra_clients::avi::objects::{Access, Meta, Role, User};
use infra_clients::avi::{
    Avi, Error, Kind as Refusal, Query, ROLE, Ref, Scope, TENANT, USER, Updated, Version,
};

use super::mark::{Marks, Whose, password_of};
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
    /// From what it is known.
    pub marks: Marks,
}

impl WantedUser {
    /// Returns the access that the user is to have. `own`: UUID of the role of its cluster, in another tenant than `admin`.
    fn access(&self, own: Option<&str>) -> Vec<Access> {
        let shared = self.shared.iter().map(|(kind, role)| shared(*kind, role));
        shared.chain(own.map(|role| entry(role, &self.tenant_uuid))).collect()
    }

    /// Returns a new user.
    fn create(&self, own: Option<&str>) -> User {
        User {
            meta: Meta::named(&*self.name),
            username: Some(self.name.clone()),
            full_name: Some(self.marks.full_name()),
            password: Some(self.password.clone()),
            access: self.access(own),
            default_tenant_ref: Some(TENANT.reference(&self.tenant_uuid)),
            ..User::default()
        }
    }

    /// Corrects a user. One that is as it is to be stays so, and keeps its password.
    fn correct(&self, own: Option<&str>, user: &mut User) {
        let (access, tenant) = (self.access(own), TENANT.reference(&self.tenant_uuid));
        if !is_same(&user.access, &access) {
            user.access = access;
        }
        if user.default_tenant_ref.as_ref() != Some(&tenant) {
            user.default_tenant_ref = Some(tenant);
        }
        user.full_name = Some(self.marks.full_name());
        if self.is_changed {
            user.password = Some(self.password.clone());
        }
    }
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
    /// Nothing: it is of others.
    Refused,
    /// Nothing: it has another password than the Secret, as that was restored from before a change.
    Outdated,
}

/// What was done, and what AVI has returned.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// What was done.
    pub done: Done,
    /// The id of the password that AVI has; `None` without one.
    pub password: Option<String>,
}

impl Ensured {
    fn of(done: Done, user: Option<&User>) -> Self {
        Self { done, password: user.and_then(password_of) }
    }
}

/// Makes the user, or corrects it, unless it is of others.
///
/// # Errors
/// The first request that failed. The next call goes on.
pub async fn ensure(avi: &Avi, wanted: &WantedUser) -> Result<Ensured, Error> {
    let api = avi.api(Scope::admin());
    let found = api.by_name(USER, &wanted.name, &Query::new()).await?.at_most_one()?;
    if wanted.marks.whose(found.as_ref()) == Whose::Others {
        return Ok(Ensured::of(Done::Refused, None));
    }
    if let Some(found) = &found
        && !wanted.is_changed
        && password_of(found) != wanted.marks.password
    {
        return Ok(Ensured::of(Done::Outdated, Some(found)));
    }
    let own = if wanted.tenant == ADMIN_TENANT { None } else { Some(own_role(avi, wanted).await?) };
    let Some(found) = found else {
        // One that another client has made meanwhile has the request refused.
        let made = api.create(USER, &wanted.create(own.as_deref())).await?;
        return Ok(Ensured::of(Done::Made, Some(&made)));
    };
    let edit = |user: &mut User| wanted.correct(own.as_deref(), user);
    Ok(match api.update(USER, &found.meta.uuid, edit).await? {
        Updated::Written(user) => Ensured::of(Done::Corrected, Some(&user)),
        Updated::Unchanged(user) => Ensured::of(Done::Nothing, Some(&user)),
    })
}

/// Returns whose the user of this name is.
///
/// # Errors
/// The request failed.
pub async fn whose(avi: &Avi, name: &str, marks: &Marks) -> Result<Whose, Error> {
    let found = avi.api(Scope::admin()).by_name(USER, name, &Query::new()).await?.at_most_one()?;
    Ok(marks.whose(found.as_ref()))
}

/// Removes the user of this name, and the role of its cluster in its tenant, unless it is of others. Returns whether there was anything.
///
/// # Errors
/// The first request that failed. The next call goes on.
pub async fn remove(
    avi: &Avi,
    name: &str,
    cluster: &str,
    tenant: &str,
    marks: &Marks,
) -> Result<bool, Error> {
    let api = avi.api(Scope::admin());
    let mut is_removed = false;
    let found = api.by_name(USER, name, &Query::new()).await?.at_most_one()?;
    if marks.whose(found.as_ref()) == Whose::Others {
        return Ok(false);
    }
    if let Some(user) = found {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(is_changed: bool) -> WantedUser {
        WantedUser {
            name: "w1-default-ako-user".to_owned(),
            cluster: "default-w1".to_owned(),
            tenant: "tkg".to_owned(),
            tenant_uuid: "tenant-1".to_owned(),
            shared: vec![(Kind::Admin, "role-a".to_owned()), (Kind::AllTenants, "role-b".to_owned())],
            version: Version(30, 2, 1),
            password: Secret::new("of a test"),
            is_changed,
            marks: Marks::new("here"),
        }
    }

    /// The user as AVI returns it: without its password.
    fn stored(change: impl FnOnce(&mut User)) -> User {
        let mut user = User { password: None, ..wanted(false).create(Some("role-c")) };
        change(&mut user);
        user
    }

    #[test]
    fn a_new_user_has_its_roles_in_their_tenants() {
        let user = wanted(false).create(Some("role-c"));
        let shown = |access: &Access| {
            let uuid = |of: &Option<Ref>| of.as_ref().and_then(Ref::uuid).unwrap_or_default().to_owned();
            (uuid(&access.role_ref), uuid(&access.tenant_ref), access.all_tenants == Some(true))
        };
        let is = |role: &str, tenant: &str, all| (role.to_owned(), tenant.to_owned(), all);
        let wanted = [
            is("role-a", ADMIN_TENANT, false),
            is("role-b", ADMIN_TENANT, true),
            is("role-c", "tenant-1", false),
        ];
        assert_eq!(user.access.iter().map(shown).collect::<Vec<_>>(), wanted);
        assert_eq!(user.default_tenant_ref.as_ref().and_then(Ref::uuid), Some("tenant-1"));
    }

    fn shown(user: &User) -> serde_json::Value {
        serde_json::to_value(user).unwrap()
    }

    #[test]
    fn a_user_is_corrected_where_it_differs_and_nowhere_else() {
        let rows: [(&str, User, bool, bool); 8] = [
            ("of an earlier version", stored(|user| user.full_name = None), false, true),
            ("as it is to be", stored(|_| ()), false, false),
            ("in another order", stored(|user| user.access.reverse()), false, false),
            ("a tenant beside `all`", stored(|user| user.access[1].tenant_ref = None), false, false),
            ("a role is missing", stored(|user| drop(user.access.pop())), false, true),
            ("a role too many", stored(|user| user.access.push(entry("role-d", "tenant-1"))), false, true),
            ("another tenant", stored(|user| user.default_tenant_ref = None), false, true),
            ("another password", stored(|_| ()), true, true),
        ];
        for (what, user, is_changed, differs) in rows {
            let mut corrected = user.clone();
            wanted(is_changed).correct(Some("role-c"), &mut corrected);
            assert_eq!(shown(&corrected) != shown(&user), differs, "{what}");
            assert_eq!(corrected.password.is_some(), is_changed, "{what}");
            let mut again = User { password: None, ..corrected };
            let known = again.clone();
            wanted(false).correct(Some("role-c"), &mut again);
            assert_eq!(shown(&again), shown(&known), "{what}: a second time");
        }
    }
}
