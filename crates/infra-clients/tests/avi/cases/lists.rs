//! Pages, lookups by name, filters.

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt};
use infra_clients::avi::objects::{Marker, RangeUse};
use infra_clients::avi::{Found, Kind, NETWORK, POOL, Query, Ref};
use serde_json::{Value, json};

use super::same;
use crate::rig::{Rig, network, pool, refused, subnet};

pub(super) async fn thousand(rig: &Rig) -> Result<()> {
    let pools: Vec<Value> = (0..1000).map(|number| json!({"name": format!("p{number:04}")})).collect();
    rig.control().seed_value(json!({"pool": pools}))?;
    let listed = rig.api().all(POOL, &Query::new()).await?;
    let names: std::collections::BTreeSet<&str> = listed.iter().map(|pool| &*pool.meta.name).collect();
    same((listed.len(), names.len()), (1000, 1000))?;
    same(rig.count("GET", "/api/pool"), 5)?;
    // Fetched as the stream is read.
    let some: Vec<_> = rig.api().list(POOL, &Query::new().page_size(10)).take(15).try_collect().await?;
    same((some.len(), rig.count("GET", "/api/pool")), (15, 7))?;
    let part = rig.api().all(POOL, &Query::new().name_contains("p00").sort("-name").page_size(33)).await?;
    let names: Vec<String> = part.into_iter().map(|pool| pool.meta.name).collect();
    same(names, (0..100).rev().map(|number| format!("p{number:04}")).collect())?;
    same(rig.count("GET", "/api/pool"), 11)
}

pub(super) async fn by_name(rig: &Rig) -> Result<()> {
    let cloud = rig.cloud().await?;
    for name in ["one", "one more", "ones", "twice", "twice"] {
        rig.api().create(NETWORK, &network(name, &cloud, vec![subnet(1, RangeUse::VIP)])).await?;
    }
    // What the controller itself selects, before this client checks it.
    same(rig.api().all(NETWORK, &Query::new().name("one")).await?.len(), 1)?;
    let find = async |name: &str| rig.api().by_name(NETWORK, name, &Query::new()).await;
    same(find("none").await?, Found::None)?;
    ensure!(matches!(find("one").await?, Found::One(network) if network.meta.name == "one"), "one");
    ensure!(matches!(find("twice").await?, Found::Several(networks) if networks.len() == 2), "several");
    refused(find("twice").await?.at_most_one(), Kind::Ambiguous)?;
    ensure!(find("one").await?.at_most_one()?.is_some(), "one");
    Ok(())
}

pub(super) async fn odd_names(rig: &Rig) -> Result<()> {
    for name in ["a b", "a+b", "a&b=c", "a/b", "a#b", "a%20b", "é ü 網", "a?b", "a;b", "\"a'"] {
        let made = rig.api().create(POOL, &pool(name)).await?;
        let found = rig.api().by_name(POOL, name, &Query::new()).await?.at_most_one()?;
        same(found.map(|pool| pool.meta.uuid), Some(made.meta.uuid))?;
    }
    Ok(())
}

pub(super) async fn filters(rig: &Rig) -> Result<()> {
    let cloud = rig.cloud().await?;
    let uuid = cloud.uuid().unwrap_or_default().to_owned();
    let mut marked = pool("marked");
    marked.cloud_ref = Some(cloud);
    marked.created_by = Some("ako-c2".to_owned());
    marked.markers =
        vec![Marker { key: "clustername".to_owned(), values: vec!["c2".to_owned()], ..Marker::default() }];
    let marked = rig.api().create(POOL, &marked).await?;
    rig.api().create(POOL, &pool("other")).await?;
    let names = async |query: Query| -> Result<Vec<String>> {
        let pools = rig.api().all(POOL, &query.sort("name")).await?;
        Ok(pools.into_iter().map(|pool| pool.meta.name).collect())
    };
    same(names(Query::new().created_by("ako-c2")).await?, vec!["marked".to_owned()])?;
    same(names(Query::new().label("clustername", "c2")).await?, vec!["marked".to_owned()])?;
    same(names(Query::new().label("clustername", "c3")).await?, vec![])?;
    same(names(Query::new().cloud_name("Default-Cloud")).await?.len(), 2)?;
    same(names(Query::new().cloud_uuid("cloud-none")).await?, vec![])?;
    ensure!(names(Query::new().refers_to("cloud", &uuid)).await?.contains(&"marked".to_owned()), "refers_to");
    // Selected fields, and names in refs.
    let mut lean = rig.api().all(POOL, &Query::new().name("marked").fields(&["name", "markers"])).await?;
    let lean = lean.pop().unwrap_or_default();
    same((lean.markers.len(), lean.created_by), (1, None))?;
    let mut full = rig.api().all(POOL, &Query::new().name("marked").include_name()).await?;
    let shown = full.pop().and_then(|pool| pool.cloud_ref);
    same(shown.as_ref().and_then(Ref::name), Some("Default-Cloud"))?;
    same(shown, marked.cloud_ref)
}
