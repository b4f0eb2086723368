//! Calls that read and write in one tenant, by name and by uuid, and those that read in all.

use anyhow::{Context, Result, ensure};
use infra_clients::avi::{Found, Kind, POOL, Query, Scope, TENANT};
use infra_clients::{Class, Failure};

use super::same;
use crate::rig::{Rig, pool, refused};

pub(super) async fn switch(rig: &Rig) -> Result<()> {
    let tenant = rig.tenant("t 1").await?;
    let mine = tenant.create(POOL, &pool("p")).await?;
    let admins = rig.api().create(POOL, &pool("p")).await?;
    ensure!(mine.meta.uuid != admins.meta.uuid, "two pools");
    let uuid =
        mine.meta.tenant_ref.as_ref().and_then(|tenant| tenant.uuid()).context("no tenant")?.to_owned();
    for (api, wanted) in [(&tenant, &mine), (&rig.api(), &admins), (&rig.avi.api(Scope::Uuid(uuid)), &mine)] {
        let found = api.by_name(POOL, "p", &Query::new()).await?.at_most_one()?.context("no pool")?;
        same(&found.meta.uuid, &wanted.meta.uuid)?;
    }
    // It is not visible from the other tenant, and cannot be changed from there.
    same(rig.api().find(POOL, &mine.meta.uuid).await?, None)?;
    same(rig.api().delete(POOL, &mine.meta.uuid).await?, false)?;
    ensure!(tenant.delete(POOL, &mine.meta.uuid).await?, "still there");
    Ok(())
}

pub(super) async fn across(rig: &Rig) -> Result<()> {
    for name in ["t1", "t2"] {
        rig.tenant(name).await?.create(POOL, &pool("p")).await?;
    }
    let all = rig.avi.api(Scope::All);
    let found = all.by_name(POOL, "p", &Query::new().include_name()).await?;
    let Found::Several(pools) = found else { anyhow::bail!("{found:?}") };
    let mut tenants: Vec<_> =
        pools.iter().filter_map(|pool| Some(pool.meta.tenant_ref.as_ref()?.name()?.to_owned())).collect();
    tenants.sort();
    same(tenants, vec!["t1".to_owned(), "t2".to_owned()])?;
    refused(all.create(POOL, &pool("q")).await, Kind::Invalid)?;
    // Tenants are listed from every tenant.
    let tenants = rig.avi.api(Scope::Name("t1".to_owned())).all(TENANT, &Query::new()).await?;
    ensure!(tenants.iter().any(|tenant| tenant.meta.name == "t2"), "{tenants:?}");
    Ok(())
}

pub(super) async fn unknown(rig: &Rig) -> Result<()> {
    let error =
        refused(rig.avi.api(Scope::Name("none".to_owned())).all(POOL, &Query::new()).await, Kind::NotFound)?;
    ensure!(error.status() == Some(403) && error.class() == Class::Retry, "{error:?}");
    // A missing tenant does not prove that the object is gone.
    let nowhere = rig.avi.api(Scope::Uuid("tenant-none".to_owned()));
    refused(nowhere.find(POOL, "pool-1").await, Kind::NotFound)?;
    refused(nowhere.delete(POOL, "pool-1").await, Kind::NotFound)?;
    // Neither the tenant `admin`, nor all tenants, nor another one by mistake: a header loses the spaces around its
    // value, and what is not ASCII may be lost.
    for none in ["", " ", "*", "admin ", "\tadmin", "é"] {
        for scope in [Scope::Name(none.to_owned()), Scope::Uuid(none.to_owned())] {
            refused(rig.avi.api(scope).delete(POOL, "pool-1").await, Kind::Invalid)?;
        }
    }
    refused(rig.avi.api(Scope::Name("a\nb".to_owned())).all(POOL, &Query::new()).await, Kind::Invalid)?;
    Ok(())
}
