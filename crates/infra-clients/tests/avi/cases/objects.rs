//! What happens to objects when they are written, by one client and by several.

use anyhow::{Context, Result, ensure};
use infra_clients::avi::objects::{
    Any, InternalProfile, IpamDnsProviderProfile, Meta, Network, ProfileType, RangeUse, StaticRange,
    UsableNetwork, VirtualService, VsVip,
};
use infra_clients::avi::{
    Created, IPAM_PROFILE, Kind, NETWORK, POOL, Patch, Query, Ref, Resource, VIRTUAL_SERVICE, VSVIP, Version,
};
use infra_clients::{Class, Failure};
use serde_json::json;

use super::same;
use crate::raw::Raw;
use crate::rig::{Rig, network, pool, refused, subnet};

pub(super) async fn unknown_fields(rig: &Rig) -> Result<()> {
    let mut odd = pool("p");
    odd.rest.set("servers", json!([{"ip": {"addr": "10.0.0.1", "type": "V4"}, "ratio": 1}]));
    odd.rest.set("not_in_any_version", json!({"a": [1, 2.5, null, "x"]}));
    let made = rig.api().create(POOL, &odd).await?;
    rig.api().update(POOL, &made.meta.uuid, |pool| pool.created_by = Some("other".to_owned())).await?;
    let read = rig.api().get(POOL, &made.meta.uuid).await?;
    same(read.created_by.as_deref(), Some("other"))?;
    same(read.rest.get("not_in_any_version"), odd.rest.get("not_in_any_version"))?;
    same(read.rest.get("servers").map(|servers| &servers[0]["ip"]["addr"]), Some(&json!("10.0.0.1")))
}

pub(super) async fn ranges_keep_their_type(rig: &Rig) -> Result<()> {
    let cloud = rig.cloud().await?;
    let made = network("n", &cloud, vec![subnet(1, RangeUse::SE), subnet(2, RangeUse::VIP)]);
    let made = rig.api().create(NETWORK, &made).await?;
    rig.api()
        .update(NETWORK, &made.meta.uuid, |network| {
            let more = subnet(1, RangeUse::VIP_AND_SE).static_ip_ranges;
            network.configured_subnets[0].static_ip_ranges.extend(more);
        })
        .await?;
    let read = rig.api().get(NETWORK, &made.meta.uuid).await?;
    let usages: Vec<Vec<&RangeUse>> = read
        .configured_subnets
        .iter()
        .map(|subnet| subnet.static_ip_ranges.iter().map(StaticRange::usage).collect())
        .collect();
    same(usages, vec![vec![&RangeUse::SE, &RangeUse::VIP_AND_SE], vec![&RangeUse::VIP]])
}

pub(super) async fn put_replaces(rig: &Rig) -> Result<()> {
    let mut made = pool("p");
    made.rest.set("description", "x");
    let mut made = rig.api().create(POOL, &made).await?;
    same(made.rest.text("description"), Some("x"))?;
    made.rest.0.remove("description");
    rig.api().replace(POOL, &made).await?;
    same(rig.api().get(POOL, &made.meta.uuid).await?.rest.text("description"), None)
}

pub(super) async fn stale(rig: &Rig) -> Result<()> {
    let mine = rig.api().create(POOL, &pool("p")).await?;
    rig.api().update(POOL, &mine.meta.uuid, |pool| pool.created_by = Some("another".to_owned())).await?;
    let error = refused(rig.api().replace(POOL, &mine).await, Kind::Stale)?;
    ensure!(error.class() == Class::Retry && error.status() == Some(412), "{error:?}");
    same(rig.api().get(POOL, &mine.meta.uuid).await?.created_by.as_deref(), Some("another"))?;
    // Another client writes once between read and write.
    let (other, uuid) = (rig.client(|_| {})?, mine.meta.uuid.clone());
    let (mut runs, handle) = (0, tokio::runtime::Handle::current());
    let result = rig
        .api()
        .update(POOL, &mine.meta.uuid, |pool| {
            runs += 1;
            if runs == 1 {
                let write = other.default_api();
                let done = tokio::task::block_in_place(|| {
                    handle.block_on(write.update(POOL, &uuid, |pool| pool.rest.set("description", "theirs")))
                });
                drop(done);
            }
            pool.created_by = Some("mine".to_owned());
        })
        .await?
        .into_inner();
    same(runs, 2)?;
    same((result.created_by.as_deref(), result.rest.text("description")), (Some("mine"), Some("theirs")))
}

pub(super) async fn patch(rig: &Rig) -> Result<()> {
    let cloud = rig.cloud().await?;
    let made = rig.api().create(NETWORK, &network("n", &cloud, vec![subnet(1, RangeUse::VIP)])).await?;
    let uuid = &made.meta.uuid;
    let thirds = |network: &Network| -> Vec<String> {
        network.configured_subnets.iter().map(|subnet| subnet.prefix.ip_addr.addr.clone()).collect()
    };
    let add =
        Patch::new().add(json!({"configured_subnets": [subnet(2, RangeUse::SE)], "dhcp_enabled": true}));
    let patched = rig.api().patch(NETWORK, uuid, &add).await?;
    same(thirds(&patched), vec!["10.0.1.0".to_owned(), "10.0.2.0".to_owned()])?;
    same(patched.dhcp_enabled, Some(true))?;
    let first = &patched.configured_subnets[0];
    let patched =
        rig.api().patch(NETWORK, uuid, &Patch::new().delete(json!({"configured_subnets": [first]}))).await?;
    same(thirds(&patched), vec!["10.0.2.0".to_owned()])?;
    let replace = Patch::new().replace(json!({"configured_subnets": [subnet(7, RangeUse::SE)]}));
    rig.api().patch(NETWORK, uuid, &replace).await?;
    let read = rig.api().get(NETWORK, uuid).await?;
    same(thirds(&read), vec!["10.0.7.0".to_owned()])?;
    same(read.configured_subnets[0].static_ip_ranges[0].usage(), &RangeUse::SE)?;
    refused(rig.api().patch(NETWORK, "network-none", &add).await, Kind::NotFound)?;
    Ok(())
}

pub(super) async fn delete(rig: &Rig) -> Result<()> {
    let made = rig.api().create(POOL, &pool("p")).await?;
    let mut vsvip = VsVip { meta: Meta::named("v"), cloud_ref: Some(rig.cloud().await?), ..VsVip::default() };
    vsvip.rest.set("vip", json!([{"vip_id": "1", "ip_address": {"addr": "10.0.3.5", "type": "V4"}}]));
    let vsvip = rig.api().create(VSVIP, &vsvip).await?;
    let mut service = VirtualService {
        meta: Meta::named("s"),
        pool_ref: Some(Ref::new("pool", &made.meta.uuid)),
        vsvip_ref: Some(Ref::new("vsvip", &vsvip.meta.uuid)),
        ..VirtualService::default()
    };
    service.rest.set("services", json!([{"port": 80}]));
    let service = rig.api().create(VIRTUAL_SERVICE, &service).await?;
    let error = refused(rig.api().delete(POOL, &made.meta.uuid).await, Kind::Conflict)?;
    ensure!(!error.in_doubt(), "{error:?}");
    ensure!(rig.api().delete(VIRTUAL_SERVICE, &service.meta.uuid).await?, "was there");
    ensure!(rig.api().delete(POOL, &made.meta.uuid).await?, "nothing refers to it any more");
    ensure!(!rig.api().delete(POOL, &made.meta.uuid).await?, "is gone");
    // It must not be the whole list.
    for uuid in ["", ".", ".."] {
        refused(rig.api().delete(POOL, uuid).await, Kind::Invalid)?;
    }
    same(rig.control().check(), vec![])
}

pub(super) async fn slug(rig: &Rig) -> Result<()> {
    let uuid = "pool-6e1b2d0c-7a0e-4a53-9f64-3a1e3d1f0001";
    let made = rig.api().create_as(POOL, uuid, &pool("p")).await?;
    same(&*made.meta.uuid, uuid)?;
    refused(rig.api().create_as(POOL, uuid, &pool("q")).await, Kind::Conflict)?;
    refused(rig.api().create_as(POOL, "", &pool("q")).await, Kind::Invalid)?;
    same(rig.api().all(POOL, &Query::new()).await?.len(), 1)
}

pub(super) async fn unique_names(rig: &Rig) -> Result<()> {
    let made = rig.api().create(POOL, &pool("p")).await?;
    let error = refused(rig.api().create(POOL, &pool("p")).await, Kind::Conflict)?;
    ensure!(!error.in_doubt(), "{error:?}");
    let Created::Found(found) = rig.api().create_or_find(POOL, &pool("p")).await? else {
        anyhow::bail!("made a second one")
    };
    same(&found.meta.uuid, &made.meta.uuid)?;
    ensure!(matches!(rig.api().create_or_find(POOL, &pool("q")).await?, Created::Made(_)), "there was none");
    same(rig.api().all(POOL, &Query::new()).await?.len(), 2)
}

/// Old and new clients see the same, each with the field names of its version.
pub(super) async fn versions(rig: &Rig) -> Result<()> {
    let cloud = rig.cloud().await?;
    let old = rig.client(|config| config.api_version = Version(18, 2, 6))?;
    same(old.versions().await?.api, Version(18, 2, 6))?;
    let made = old
        .default_api()
        .create(NETWORK, &network("n", &cloud, vec![subnet(1, RangeUse::VIP_AND_SE)]))
        .await?;
    same(made.configured_subnets[0].static_ip_ranges.len(), 1)?;
    let path = format!("/api/network/{}", made.meta.uuid);
    let raw = Raw::log_in(rig).await?;
    let range =
        json!({"begin": {"addr": "10.0.1.5", "type": "V4"}, "end": {"addr": "10.0.1.9", "type": "V4"}});
    let shown = raw.read(&path, "18.2.6").await?;
    same(&shown["configured_subnets"][0]["static_ranges"], &json!([range]))?;
    ensure!(shown["configured_subnets"][0]["static_ip_ranges"].is_null(), "{shown}");
    let shown = raw.read(&path, "30.2.1").await?;
    same(&shown["configured_subnets"][0]["static_ip_ranges"][0]["range"], &range)?;
    ensure!(shown["configured_subnets"][0]["static_ranges"].is_null(), "{shown}");
    let new = rig.api().get(NETWORK, &made.meta.uuid).await?;
    same(new.configured_subnets[0].static_ip_ranges[0].usage(), &RangeUse::VIP_AND_SE)?;

    let network = Ref::new("network", &made.meta.uuid);
    let profile = IpamDnsProviderProfile {
        meta: Meta::named("ipam"),
        kind: Some(ProfileType::IPAM_INTERNAL),
        internal_profile: Some(InternalProfile {
            usable_networks: vec![UsableNetwork::new(network.clone())],
            ..InternalProfile::default()
        }),
        ..IpamDnsProviderProfile::default()
    };
    let profile = old.default_api().create(IPAM_PROFILE, &profile).await?;
    let shown = raw.read(&format!("/api/ipamdnsproviderprofile/{}", profile.meta.uuid), "18.2.6").await?;
    same(shown["internal_profile"]["usable_network_refs"].as_array().map(Vec::len), Some(1))?;
    for api in [rig.api(), old.default_api()] {
        let read = api.get(IPAM_PROFILE, &profile.meta.uuid).await?.internal_profile.unwrap_or_default();
        same(read.usable_networks.first().map(|usable| &usable.nw_ref), Some(&network))?;
    }
    // What the old version cannot express is an error, and is not lost.
    let only_vip =
        rig.api().create(NETWORK, &crate::rig::network("m", &cloud, vec![subnet(2, RangeUse::VIP)])).await;
    let only_vip = only_vip?.meta.uuid;
    let more = Patch::new().add(json!({"configured_subnets": [subnet(3, RangeUse::VIP)]}));
    refused(old.default_api().patch(NETWORK, &only_vip, &more).await, Kind::Invalid)?;
    Ok(())
}

/// Answers to writes have the names of referenced objects; refs by name are looked up.
pub(super) async fn refs(rig: &Rig) -> Result<()> {
    let mut by_name = pool("p");
    by_name.cloud_ref = Some(Ref::by_name("cloud", "Default-Cloud"));
    let made = rig.api().create(POOL, &by_name).await?;
    let cloud = made.cloud_ref.clone().context("no cloud")?;
    same(&cloud, &rig.cloud().await?)?;
    same(cloud.name(), Some("Default-Cloud"))?;
    ensure!(cloud.host().is_some_and(|host| rig.sim.url().ends_with(host)), "{cloud}");
    let read = rig.api().get(POOL, &made.meta.uuid).await?;
    same(read.cloud_ref.as_ref().and_then(Ref::name), None)?;
    same(read.cloud_ref, made.cloud_ref)?;
    let mut nowhere = pool("q");
    nowhere.cloud_ref = Some(Ref::new("cloud", "cloud-none"));
    refused(rig.api().create(POOL, &nowhere).await, Kind::Invalid)?;
    let any = rig.api().find(Resource::any("pool"), &made.meta.uuid).await?;
    same(any.map(|any: Any| any.meta.name), Some("p".to_owned()))
}
