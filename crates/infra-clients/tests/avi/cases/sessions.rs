//! Login by password and by token, sessions that end, logout.

use anyhow::{Context, Result, ensure};
use infra_clients::Secret;
use infra_clients::avi::objects::{Any, Meta, Rest};
use infra_clients::avi::{CLOUD, Credentials, Kind, POOL, Query, Resource, Version, Versions};
use infra_clients::{Class, Failure};
use serde_json::json;

use super::same;
use crate::raw::Raw;
use crate::rig::{Rig, pool, refused};

pub(super) async fn by_password(rig: &Rig) -> Result<()> {
    same(rig.control().logins().total, 0)?;
    let versions = rig.avi.versions().await?;
    same(versions, Versions { controller: Version(30, 2, 1), api: Version::KNOWN })?;
    for _ in 0..20 {
        rig.api().all(CLOUD, &Query::new()).await?;
    }
    same(rig.control().logins().total, 1)?;
    let requests = rig.control().requests();
    ensure!(
        requests.iter().filter(|request| request.path.starts_with("/api")).all(|request| {
            request.user.as_deref() == Some("admin")
                && request.tenant.as_deref() == Some("admin")
                && request.version.as_deref() == Some("30.2.1")
        }),
        "{requests:?}"
    );
    let connections: std::collections::BTreeSet<u64> =
        requests.iter().map(|request| request.connection).collect();
    // If a connection is not returned when the next call begins another is opened, which depends on the machine.
    ensure!(connections.len() * 2 < requests.len(), "{connections:?} for {} requests", requests.len());
    Ok(())
}

pub(super) async fn by_token(rig: &Rig) -> Result<()> {
    let mut wanted = Any { meta: Meta::default(), rest: Rest::default() };
    wanted.rest.set("hours", 1);
    let token = rig.api().create(Resource::any("user-token"), &wanted).await?;
    let token = token.rest.text("token").context("no token")?.to_owned();
    let client = rig.client(|config| config.credentials = Credentials::token("admin", Secret::new(token)))?;
    client.default_api().all(CLOUD, &Query::new()).await?;
    let wrong =
        rig.client(|config| config.credentials = Credentials::token("admin", Secret::new("no-token")))?;
    refused(wrong.versions().await, Kind::Unauthorized)?;
    refused(client.change_password(Secret::new("Other-1-password")).await, Kind::Invalid)?;
    Ok(())
}

/// Sent once, and again only with other credentials.
pub(super) async fn wrong_password(rig: &Rig) -> Result<()> {
    let client = rig.client_of("admin", "not it")?;
    for _ in 0..3 {
        let error = refused(client.default_api().all(CLOUD, &Query::new()).await, Kind::Unauthorized)?;
        same(error.status(), Some(401))?;
        ensure!(error.class() != Class::Retry && !error.in_doubt(), "{error:?}");
    }
    same(rig.control().requests().len(), 1)?;
    same(rig.control().logins().failed, 1)?;
    ensure!(!client.set_credentials(Credentials::password("admin", Secret::new("not it"))).await, "the same");
    refused(client.versions().await, Kind::Unauthorized)?;
    same(rig.control().logins().total, 1)?;
    let right = Credentials::password("admin", Secret::new(rig.sim.admin_password()));
    ensure!(client.set_credentials(right).await, "others");
    client.versions().await?;
    same(rig.control().logins().total, 2)
}

pub(super) async fn expired_session(rig: &Rig) -> Result<()> {
    rig.api().create(POOL, &pool("p1")).await?;
    rig.control().expire_sessions();
    rig.api().create(POOL, &pool("p2")).await?;
    same(rig.control().logins().total, 2)?;
    // By its age.
    rig.control().advance_clock(std::time::Duration::from_hours(1));
    same(rig.api().all(POOL, &Query::new()).await?.len(), 2)?;
    same(rig.control().logins().total, 3)
}

pub(super) async fn logout(rig: &Rig) -> Result<()> {
    rig.avi.versions().await?;
    rig.avi.close().await?;
    rig.avi.close().await?;
    same(rig.count("POST", "/logout"), 1)?;
    rig.api().all(CLOUD, &Query::new()).await?;
    same(rig.control().logins().total, 2)
}

/// A foreign web page in the administrator's browser has the cookies, but not the token in the header.
pub(super) async fn strangers_write_nothing(rig: &Rig) -> Result<()> {
    let raw = Raw::log_in(rig).await?;
    let referer = format!("{}/", rig.sim.url());
    let body = json!({"name": "p"});
    for headers in [
        &[("x-avi-version", "30.2.1")][..],
        &[("x-avi-version", "30.2.1"), ("referer", &referer)],
        &[("x-avi-version", "30.2.1"), ("referer", &referer), ("x-csrftoken", "wrong")],
        &[("x-avi-version", "30.2.1"), ("x-csrftoken", raw.csrf())],
    ] {
        let (status, body) = raw.send("POST", "/api/pool", headers, Some(&body)).await?;
        ensure!(status == 401, "{status}: {body}");
    }
    // This client sends it.
    rig.api().create(POOL, &pool("p")).await?;
    Ok(())
}

pub(super) async fn upgrade(rig: &Rig) -> Result<()> {
    rig.control().upgrade_mode(true);
    let error = refused(rig.api().create(POOL, &pool("p")).await, Kind::Upgrading)?;
    ensure!(error.class() == Class::Retry && error.status() == Some(403), "{error:?}");
    rig.control().upgrade_mode(false);
    rig.api().create(POOL, &pool("p")).await?;
    Ok(())
}
