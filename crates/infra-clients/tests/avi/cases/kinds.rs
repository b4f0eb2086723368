//! Creating, finding, changing and deleting objects of every kind.

use anyhow::{Context, Result, ensure};
use infra_clients::Secret;
use infra_clients::avi::objects::{
    AccessType, Cloud, InternalProfile, IpamDnsProviderProfile, Meta, Object, Privilege, ProfileType,
    RangeUse, Role, ServiceEngineGroup, Tenant, UsableNetwork, User, VirtualService, VrfContext, VsVip,
};
use infra_clients::avi::{
    CLOUD, IPAM_PROFILE, Kind, NETWORK, POOL, Query, ROLE, Ref, Resource, SE_GROUP, TENANT, USER, Updated,
    VIRTUAL_SERVICE, VRF_CONTEXT, VSVIP,
};
use serde_json::json;

use super::same;
use crate::rig::{Rig, network, pool, refused, subnet};

/// Takes an object through its life; returns when it is deleted.
async fn life<T: Object + Clone + std::fmt::Debug>(
    rig: &Rig,
    resource: Resource<T>,
    object: T,
    change: impl Fn(&mut T) + Send + Sync,
    changed: impl Fn(&T) -> bool + Send + Sync,
) -> Result<()> {
    let (api, name) = (rig.api(), object.meta().name.clone());
    let made = api.create(resource, &object).await.with_context(|| format!("creating a {resource:?}"))?;
    let uuid = made.meta().uuid.clone();
    ensure!(uuid.starts_with(resource.kind()), "{uuid}");
    ensure!(made.meta().last_modified.is_some(), "{made:?}");
    let url = made.meta().url.clone().context("no url")?;
    ensure!(url.is(resource.kind(), &uuid), "{url}");
    let read = api.get(resource, &uuid).await?;
    same(&read.meta().name, &name)?;
    ensure!(!changed(&read), "{read:?}");
    let found = api.by_name(resource, &name, &Query::new()).await?.at_most_one()?.context("not by name")?;
    same(&found.meta().uuid, &uuid)?;
    let Updated::Written(written) = api.update(resource, &uuid, &change).await? else {
        anyhow::bail!("not written")
    };
    ensure!(changed(&written) && written.meta().last_modified != read.meta().last_modified, "{written:?}");
    ensure!(
        matches!(api.update(resource, &uuid, &change).await?, Updated::Unchanged(_)),
        "nothing to change"
    );
    let written = api.get(resource, &uuid).await?;
    ensure!(changed(&written), "{written:?}");
    refused(api.replace(resource, &read).await, Kind::Stale)?;
    api.replace(resource, &written).await?;
    ensure!(api.delete(resource, &uuid).await?, "was there");
    ensure!(!api.delete(resource, &uuid).await?, "is gone");
    ensure!(api.find(resource, &uuid).await?.is_none(), "is gone");
    refused(api.get(resource, &uuid).await, Kind::NotFound)?;
    Ok(())
}

pub(super) async fn infrastructure(rig: &Rig) -> Result<()> {
    let cloud_ref = rig.cloud().await?;
    let cloud = Some(cloud_ref.clone());
    let meta = Meta::named("an object");
    life(
        rig,
        CLOUD,
        Cloud { meta: meta.clone(), vtype: "CLOUD_NONE".to_owned(), ..Cloud::default() },
        |cloud| cloud.dhcp_enabled = Some(true),
        |cloud| cloud.dhcp_enabled == Some(true),
    )
    .await?;
    life(
        rig,
        NETWORK,
        network("an object", &cloud_ref, vec![subnet(1, RangeUse::VIP_AND_SE)]),
        |network| {
            if network.configured_subnets.len() == 1 {
                network.configured_subnets.push(subnet(2, RangeUse::VIP));
            }
        },
        |network| network.configured_subnets.len() == 2,
    )
    .await?;
    let nw =
        rig.api().create(NETWORK, &network("usable", &cloud_ref, vec![subnet(3, RangeUse::VIP)])).await?;
    let nw = Ref::new("network", &nw.meta.uuid);
    life(
        rig,
        IPAM_PROFILE,
        IpamDnsProviderProfile {
            meta: meta.clone(),
            kind: Some(ProfileType::IPAM_INTERNAL),
            internal_profile: Some(InternalProfile::default()),
            ..IpamDnsProviderProfile::default()
        },
        |profile| {
            let usable = &mut profile.internal_profile.get_or_insert_default().usable_networks;
            if usable.iter().all(|network| network.nw_ref != nw) {
                usable.push(UsableNetwork::new(nw.clone()));
            }
        },
        |profile| profile.internal_profile.as_ref().is_some_and(|profile| profile.usable_networks.len() == 1),
    )
    .await?;
    life(
        rig,
        SE_GROUP,
        ServiceEngineGroup { meta: meta.clone(), cloud_ref: cloud.clone(), ..ServiceEngineGroup::default() },
        |group| group.ha_mode = Some("HA_MODE_LEGACY_ACTIVE_STANDBY".to_owned()),
        |group| group.ha_mode.as_deref() == Some("HA_MODE_LEGACY_ACTIVE_STANDBY"),
    )
    .await
}

pub(super) async fn tenants_roles_and_users(rig: &Rig) -> Result<()> {
    let meta = Meta::named("an object");
    life(
        rig,
        TENANT,
        Tenant { meta: meta.clone(), ..Tenant::default() },
        |tenant| tenant.config_settings.get_or_insert_default().se_in_provider_context = Some(false),
        |tenant| tenant.config_settings.as_ref().is_some_and(|is| is.se_in_provider_context == Some(false)),
    )
    .await?;
    let granted = Privilege::new("PERMISSION_POOL", AccessType::WRITE);
    life(
        rig,
        ROLE,
        Role { meta: meta.clone(), ..Role::default() },
        |role| {
            role.privileges.retain(|privilege| privilege.resource != "PERMISSION_POOL");
            role.privileges.push(granted.clone());
        },
        |role| role.privileges.iter().any(|is| is.resource == granted.resource && is.kind == granted.kind),
    )
    .await?;
    life(
        rig,
        USER,
        User {
            meta: Meta::named("a-user"),
            password: Some(Secret::new("Str0ng-enough!")),
            default_tenant_ref: Some(Ref::new("tenant", "admin")),
            ..User::default()
        },
        |user| user.rest.set("email", "a@example.com"),
        |user| user.rest.text("email") == Some("a@example.com"),
    )
    .await
}

pub(super) async fn services(rig: &Rig) -> Result<()> {
    let (meta, cloud) = (Meta::named("an object"), Some(rig.cloud().await?));
    life(
        rig,
        VRF_CONTEXT,
        VrfContext { meta: meta.clone(), cloud_ref: cloud.clone(), ..VrfContext::default() },
        |vrf| vrf.rest.set("description", "x"),
        |vrf| vrf.rest.text("description") == Some("x"),
    )
    .await?;
    life(rig, POOL, pool("an object"), |pool| pool.created_by = None, |pool| pool.created_by.is_none())
        .await?;
    let mut vsvip = VsVip { meta: meta.clone(), cloud_ref: cloud.clone(), ..VsVip::default() };
    vsvip.rest.set("vip", json!([{"vip_id": "1", "ip_address": {"addr": "10.0.3.5", "type": "V4"}}]));
    life(
        rig,
        VSVIP,
        vsvip.clone(),
        |vsvip| vsvip.rest.set("east_west_placement", true),
        |vsvip| vsvip.rest.get("east_west_placement") == Some(&true.into()),
    )
    .await?;
    let vsvip = rig.api().create(VSVIP, &vsvip).await?;
    let mut service = VirtualService {
        meta,
        cloud_ref: cloud,
        vsvip_ref: Some(Ref::new("vsvip", &vsvip.meta.uuid)),
        created_by: Some("ako-c1".to_owned()),
        ..VirtualService::default()
    };
    service.rest.set("services", json!([{"port": 80}]));
    life(
        rig,
        VIRTUAL_SERVICE,
        service,
        |service| service.rest.set("enabled", false),
        |service| service.rest.get("enabled") == Some(&false.into()),
    )
    .await
}
