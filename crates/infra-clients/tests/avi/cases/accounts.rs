//! Users, roles, and what they may do.

use anyhow::{Context, Result, bail, ensure};
use infra_clients::Secret;
use infra_clients::avi::objects::{Access, AccessType, Meta, Privilege, Role, User};
use infra_clients::avi::{CLOUD, Created, Error, Kind, POOL, Query, ROLE, Ref, Scope, USER};
use infra_clients::{Class, Failure};

use super::same;
use crate::rig::{Rig, pool, refused};

const PASSWORD: &str = "Str0ng-enough!";

async fn user(rig: &Rig, name: &str, access: Vec<Access>) -> Result<User> {
    let user = User {
        meta: Meta::named(name),
        password: Some(Secret::new(PASSWORD)),
        access,
        default_tenant_ref: Some(Ref::new("tenant", "admin")),
        ..User::default()
    };
    Ok(rig.api().create(USER, &user).await?)
}

async fn role(rig: &Rig, name: &str, privileges: &[(&str, AccessType)]) -> Result<Ref> {
    let privileges =
        privileges.iter().map(|(resource, kind)| Privilege::new(*resource, kind.clone())).collect();
    let role = Role { meta: Meta::named(name), privileges, ..Role::default() };
    let role = rig.api().create(ROLE, &role).await?;
    Ok(Ref::new("role", &role.meta.uuid))
}

fn in_tenant(role: Ref, tenant: &str) -> Access {
    Access { role_ref: Some(role), tenant_ref: Some(Ref::new("tenant", tenant)), ..Access::default() }
}

pub(super) async fn user_logs_in(rig: &Rig) -> Result<()> {
    let made = user(rig, "u1", vec![in_tenant(Ref::by_name("role", "Tenant-Admin"), "admin")]).await?;
    ensure!(made.password.is_none(), "the password is not shown");
    same(made.username.as_deref(), Some("u1"))?;
    let read = rig.api().get(USER, &made.meta.uuid).await?;
    ensure!(read.password.is_none(), "the password is not shown");
    rig.client_of("u1", PASSWORD)?.default_api().all(POOL, &Query::new()).await?;
    // A write without the password leaves it.
    rig.api().update(USER, &made.meta.uuid, |user| user.full_name = Some("U One".to_owned())).await?;
    rig.client_of("u1", PASSWORD)?.versions().await?;
    // A write with one changes it.
    rig.api().update(USER, &made.meta.uuid, |user| user.password = Some(Secret::new("An0ther-one!"))).await?;
    refused(rig.client_of("u1", PASSWORD)?.versions().await, Kind::Unauthorized)?;
    rig.client_of("u1", "An0ther-one!")?.versions().await?;
    ensure!(rig.api().delete(USER, &made.meta.uuid).await?, "was there");
    refused(rig.client_of("u1", "An0ther-one!")?.versions().await, Kind::Unauthorized)?;
    let taken = User { meta: Meta::named("admin"), password: Some(Secret::new(PASSWORD)), ..User::default() };
    refused(rig.api().create(USER, &taken).await, Kind::Conflict)?;
    Ok(())
}

/// Lists leave out accounts of programs unless they are asked for: a client must not conclude that none exists.
pub(super) async fn service_users(rig: &Rig) -> Result<()> {
    let account = User {
        meta: Meta::named("ako-c1"),
        password: Some(Secret::new(PASSWORD)),
        access: vec![in_tenant(Ref::by_name("role", "Tenant-Admin"), "admin")],
        service_user: Some(true),
        ..User::default()
    };
    ensure!(matches!(rig.api().create_or_find(USER, &account).await?, Created::Made(_)), "is new");
    let Created::Found(found) = rig.api().create_or_find(USER, &account).await? else { bail!("made twice") };
    same(found.service_user, Some(true))?;
    let named = rig.api().by_name(USER, "ako-c1", &Query::new()).await?.at_most_one()?;
    same(named.context("not visible")?.meta.uuid, found.meta.uuid.clone())?;
    let listed = async |query: Query| {
        let users = rig.api().all(USER, &query).await?;
        Ok::<_, Error>(users.into_iter().map(|user| user.meta.name).collect::<Vec<_>>())
    };
    same(listed(Query::new()).await?, vec!["admin".to_owned(), "ako-c1".to_owned()])?;
    let people = Query::new().param("include_service_accounts", "false");
    same(listed(people).await?, vec!["admin".to_owned()])?;
    ensure!(rig.api().delete(USER, &found.meta.uuid).await?, "was there");
    Ok(())
}

pub(super) async fn own_password(rig: &Rig) -> Result<()> {
    user(rig, "u1", vec![in_tenant(Ref::by_name("role", "Tenant-Admin"), "admin")]).await?;
    let client = rig.client_of("u1", PASSWORD)?;
    refused(client.change_password(Secret::new("short")).await, Kind::Invalid)?;
    client.change_password(Secret::new("An0ther-one!")).await?;
    rig.control().expire_sessions();
    client.default_api().all(POOL, &Query::new()).await?;
    refused(rig.client_of("u1", PASSWORD)?.versions().await, Kind::Unauthorized)?;
    Ok(())
}

pub(super) async fn roles_limit(rig: &Rig) -> Result<()> {
    rig.tenant("t1").await?;
    let reads = role(rig, "pool-reader", &[("PERMISSION_POOL", AccessType::READ)]).await?;
    user(rig, "u1", vec![in_tenant(reads, "admin")]).await?;
    let client = rig.client_of("u1", PASSWORD)?;
    client.default_api().all(POOL, &Query::new()).await?;
    let error = refused(client.default_api().create(POOL, &pool("p")).await, Kind::Forbidden)?;
    ensure!(error.class() != Class::Retry && error.status() == Some(403), "{error:?}");
    refused(client.default_api().all(CLOUD, &Query::new()).await, Kind::Forbidden)?;
    let elsewhere = client.api(Scope::Name("t1".to_owned()));
    refused(elsewhere.all(POOL, &Query::new()).await, Kind::Forbidden)?;
    // A refused write has no effect and ends no session.
    same(rig.api().all(POOL, &Query::new()).await?.len(), 0)?;
    same(rig.control().logins().total, 2)
}

pub(super) async fn changes_of_access(rig: &Rig) -> Result<()> {
    let reads = role(rig, "r", &[("PERMISSION_POOL", AccessType::READ)]).await?;
    let made = user(rig, "u1", vec![in_tenant(reads.clone(), "admin")]).await?;
    let client = rig.client_of("u1", PASSWORD)?;
    refused(client.default_api().create(POOL, &pool("p")).await, Kind::Forbidden)?;
    let uuid = reads.uuid().context("a role has a uuid")?;
    rig.api()
        .update(ROLE, uuid, |role| {
            for privilege in
                role.privileges.iter_mut().filter(|privilege| privilege.resource == "PERMISSION_POOL")
            {
                privilege.kind = AccessType::WRITE;
            }
        })
        .await?;
    client.default_api().create(POOL, &pool("p")).await?;
    let in_use = rig.api().delete(ROLE, uuid).await;
    refused(in_use, Kind::Conflict)?;
    rig.api().delete(USER, &made.meta.uuid).await?;
    ensure!(rig.api().delete(ROLE, uuid).await?, "no user has it any more");
    let too_much = role(rig, "too-much", &[("PERMISSION_TENANT", AccessType::READ)]).await?;
    rig.tenant("t1").await?;
    let tenant = rig.api().by_name(infra_clients::avi::TENANT, "t1", &Query::new()).await?.at_most_one()?;
    let tenant = tenant.context("no tenant")?.meta.uuid;
    let user = User {
        meta: Meta::named("u2"),
        password: Some(Secret::new(PASSWORD)),
        access: vec![in_tenant(too_much, &tenant)],
        ..User::default()
    };
    refused(rig.api().create(USER, &user).await, Kind::Invalid)?;
    Ok(())
}
