//! What AKO left on a controller is removed by its marks, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod controller;

use ako_operator::error::Error;
use ako_operator::purge::{Target, purge};
use avi_simulator::{Config, Simulator};
use infra_clients::avi::objects::{Meta, Tenant};
use infra_clients::avi::{Avi, POOL, Query, SE_GROUP, Scope, TENANT, VRF_CONTEXT};
use serde_json::{Value, json};

fn marks(cluster: &str) -> Value {
    json!([{ "key": "clustername", "values": [cluster] }])
}

/// Everything that an AKO of this cluster makes: names are free, marks are not.
fn made(cluster: &str, creator: &str, address: u8) -> Value {
    let name = |kind: &str| format!("{creator}-{kind}");
    let cloud = "/api/cloud?name=Default-Cloud";
    let with = |kind: &str, more: Value| {
        let mut object = json!({ "name": name(kind), "created_by": creator, "markers": marks(cluster) });
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        vec![object]
    };
    let vip = json!({ "name": name("vip"), "cloud_ref": cloud, "markers": marks(cluster), "vip": [{ "vip_id": "0",
        "ip_address": { "addr": format!("10.92.0.{address}"), "type": "V4" }}] });
    let service = |kind: &str, more: Value| {
        let mut object = with(
            kind,
            json!({ "cloud_ref": cloud, "vsvip_ref": format!("/api/vsvip/?name={}", name("vip")),
            "services": [{ "port": 80 }] }),
        )
        .remove(0);
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let parent = service("parent", json!({ "type": "VS_TYPE_VH_PARENT" }));
    let child = service(
        "child",
        json!({ "type": "VS_TYPE_VH_CHILD",
        "vh_parent_vs_ref": format!("/api/virtualservice/?name={}", name("parent")) }),
    );
    let mut monitor = with("monitor", json!({ "type": "HEALTH_MONITOR_TCP" }));
    monitor[0].as_object_mut().unwrap().remove("created_by");
    json!({
        "healthmonitor": monitor,
        "pool": with("pool", json!({ "cloud_ref": cloud,
            "health_monitor_refs": [format!("/api/healthmonitor/?name={}", name("monitor"))] })),
        "poolgroup": with("group", json!({ "cloud_ref": cloud,
            "members": [{ "pool_ref": format!("/api/pool/?name={}", name("pool")) }] })),
        "l4policyset": with("l4", json!({})), "httppolicyset": with("http", json!({})),
        "vsvip": [vip], "virtualservice": [parent, child],
    })
}

async fn controller() -> (Simulator, Avi) {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let avi = controller::admin(&simulator);
    (simulator, avi)
}

fn target() -> Target {
    Target { cluster: "default-w1".into(), tenant: "admin".into(), cloud: "Default-Cloud".into() }
}

#[tokio::test]
async fn all_that_has_the_marks_goes_and_all_else_stays() {
    let (simulator, avi) = controller().await;
    let control = simulator.control();
    // Of another cluster, whose name begins alike, and of a person who took the name of a mark.
    control.seed_value(made("default-w10", "ako-default-w10", 200)).unwrap();
    control
        .seed_value(json!({ "stringgroup": [{ "name": "ako-default-w1", "type": "SG_TYPE_STRING" }] }))
        .unwrap();
    // Of the Cluster w1-avi-system, whose primary AKO has the mark of a secondary one of w1.
    control.seed_value(made("default-w1-avi-system", "ako-default-w1-avi-system", 204)).unwrap();
    // Of a Cluster of this name in another cloud, of another management cluster.
    let elsewhere = json!({ "name": "elsewhere", "cloud_ref": "/api/cloud?name=other",
        "created_by": "ako-default-w1", "markers": marks("default-w1") });
    control
        .seed_value(json!({ "cloud": [{ "name": "other", "vtype": "CLOUD_NONE" }], "pool": [elsewhere] }))
        .unwrap();
    let before = control.snapshot();
    for (address, creator) in [(201, "ako-default-w1"), (203, "ako-gw-default-w1")] {
        control.seed_value(made("default-w1", creator, address)).unwrap();
    }
    let api = avi.default_api();
    let found =
        api.by_name(SE_GROUP, "Default-Group", &Query::new().cloud_name("Default-Cloud")).await.unwrap();
    let group = found.at_most_one().unwrap().unwrap();
    api.update(SE_GROUP, &group.meta.uuid, |group| {
        group.labels =
            serde_json::from_value(json!([{ "key": "clustername", "value": "default-w1" }])).unwrap();
    })
    .await
    .unwrap();
    assert!(!control.diff(&before).is_empty());

    let removed = purge(&avi, &target()).await.unwrap();
    assert_eq!(removed, 2 * 8 + 1, "eight objects of each, and the label");
    let left = control.diff(&before);
    let fields: Vec<_> = left.changed.iter().map(|change| (&*change.kind, change.fields.clone())).collect();
    assert!(left.added.is_empty() && left.removed.is_empty() && fields.is_empty(), "{left:?}");
    assert_eq!(purge(&avi, &target()).await.unwrap(), 0, "a second time");
}

/// AKO of another tenant leaves routes and a label on objects of the provider, which only the tenant `admin` may change.
#[tokio::test]
async fn what_the_ako_of_another_tenant_left_on_the_provider_goes_even_without_the_tenant() {
    let (simulator, avi) = controller().await;
    let tenant = Tenant { meta: Meta::named("blue"), ..Tenant::default() };
    let api = avi.default_api();
    let tenant = api.create(TENANT, &tenant).await.unwrap();
    let in_cloud = Query::new().cloud_name("Default-Cloud");
    let context = api.by_name(VRF_CONTEXT, "global", &in_cloud).await.unwrap().at_most_one().unwrap();
    let context = context.unwrap().meta.uuid;
    let route = |id: &str| {
        json!({ "route_id": id, "next_hop": { "addr": "10.1.0.1", "type": "V4" },
        "prefix": { "ip_addr": { "addr": "10.2.0.0", "type": "V4" }, "mask": 24 } })
    };
    api.update(VRF_CONTEXT, &context, |context| context.rest.set("static_routes", vec![route("7")]))
        .await
        .unwrap();
    let before = simulator.control().snapshot();
    let target = Target { tenant: "blue".into(), ..target() };
    for is_gone in [false, true] {
        if is_gone {
            api.delete(TENANT, &tenant.meta.uuid).await.unwrap();
        } else {
            let pool =
                serde_json::from_value(json!({ "name": "p", "cloud_ref": "/api/cloud?name=Default-Cloud",
                "created_by": "ako-default-w1", "markers": marks("default-w1") }))
                .unwrap();
            avi.api(Scope::Name("blue".into())).create(POOL, &pool).await.unwrap();
        }
        let group = api.by_name(SE_GROUP, "Default-Group", &in_cloud).await.unwrap().at_most_one().unwrap();
        let labels = json!([{ "key": "clustername", "value": "default-w1" }]);
        api.update(SE_GROUP, &group.unwrap().meta.uuid, |group| {
            group.labels = serde_json::from_value(labels.clone()).unwrap();
        })
        .await
        .unwrap();
        api.update(VRF_CONTEXT, &context, |context| {
            context.rest.set("static_routes", vec![route("7"), route("default-w1-1")]);
        })
        .await
        .unwrap();
        assert_eq!(purge(&avi, &target).await.unwrap(), if is_gone { 2 } else { 3 });
        assert_eq!(purge(&avi, &target).await.unwrap(), 0);
    }
    api.create(TENANT, &Tenant { meta: Meta::named("blue"), ..Tenant::default() }).await.unwrap();
    let left = simulator.control().diff(&before);
    let kinds: Vec<_> = left.added.iter().chain(&left.removed).map(|object| &*object.kind).collect();
    let changed: Vec<_> = left.changed.iter().map(|change| (&*change.kind, change.fields.clone())).collect();
    assert_eq!((kinds, changed), (vec!["tenant", "tenant"], vec![]), "{left:?}");
}

/// What AKO and its gateway made with other settings has the marker, and goes as well.
#[tokio::test]
async fn what_was_made_with_other_settings_goes_where_it_has_the_marker() {
    let (simulator, avi) = controller().await;
    let control = simulator.control();
    let pool = |name: &str, creator: &str, markers: Value| json!({ "pool": [{ "name": name, "cloud_ref": "/api/cloud?name=Default-Cloud", "created_by": creator, "markers": markers }] });
    // Without a marker: of the cluster gw-default-w1, or of the gateway of default-w1.
    control.seed_value(pool("unmarked", "ako-gw-default-w1", json!([]))).unwrap();
    let before = control.snapshot();
    for (name, creator) in [
        ("of the gateway", "ako-gw-default-w1"),
        ("of a secondary AKO", "ako-default-w1-avi-system"),
        ("of its gateway", "ako-gw-default-w1-avi-system"),
    ] {
        control.seed_value(pool(name, creator, marks("default-w1"))).unwrap();
    }
    assert_eq!(purge(&avi, &target()).await.unwrap(), 3);
    let left = control.diff(&before);
    assert!(left.is_empty(), "{left:?}");
    let other = Target { cluster: "gw-default-w1".into(), ..target() };
    assert_eq!(purge(&avi, &other).await.unwrap(), 0, "nor is it removed with that cluster");
    control.seed_value(pool("ours", "ako-default-w1", json!([]))).unwrap();
    assert_eq!(purge(&avi, &target()).await.unwrap(), 1, "no other cluster has this creator");
}

/// A cloud or a tenant that has another name now is no reason to leave what is in it.
#[tokio::test]
async fn a_renamed_cloud_and_a_renamed_tenant_are_missed() {
    let (simulator, avi) = controller().await;
    let control = simulator.control();
    let blue = Tenant { meta: Meta::named("blue"), ..Tenant::default() };
    let blue = avi.default_api().create(TENANT, &blue).await.unwrap().meta.uuid;
    let missed = async |target: &Target| match purge(&avi, target).await {
        Err(Error::PlaceMissing { reason, message }) => format!("{reason}: {message}"),
        other => format!("{other:?}"),
    };
    let absent =
        [Target { cloud: "renamed".into(), ..target() }, Target { tenant: "renamed".into(), ..target() }];
    for target in &absent {
        assert_eq!(purge(&avi, target).await.unwrap(), 0, "nothing has a mark");
    }
    let pool = json!({ "name": "p", "cloud_ref": "/api/cloud?name=Default-Cloud", "tenant_ref": format!("/api/tenant/{blue}"),
        "created_by": "ako-default-w1", "markers": marks("default-w1") });
    control.seed_value(json!({ "pool": [pool] })).unwrap();
    let [cloud, tenant] = &absent;
    for (target, begin) in [
        (
            cloud,
            "AviCloudNotFound: AVI has no cloud \"renamed\", where AKO worked, and the pool \"p\" has the mark",
        ),
        (
            tenant,
            "AviTenantNotFound: AVI has no tenant \"renamed\", where AKO worked, and the pool \"p\" has the mark",
        ),
    ] {
        let found = missed(target).await;
        assert!(found.starts_with(begin), "{found}");
    }
    assert_eq!(purge(&avi, &Target { tenant: "blue".into(), ..target() }).await.unwrap(), 1);
    assert_eq!(purge(&avi, cloud).await.unwrap(), 0, "once it is gone");
}
