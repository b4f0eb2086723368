//! Paths that are not objects: the cluster's state and version, unknown paths, invalid JSON.

use serde_json::json;

use crate::rig::{Got, Rig};

#[tokio::test]
async fn some_paths_need_no_session() {
    let rig = Rig::start().await;
    let get = async |path: &str| Got::of(rig.http.get(rig.url(path)).send().await.unwrap()).await;
    let got = get("/api/initial-data").await.is(200);
    assert_eq!(got.json()["version"]["Version"], "30.2.1");
    // The Go SDK sends this after a failure: without headers, with two slashes.
    let got = get("//api/cluster/status").await.is(200);
    assert_eq!(got.json()["cluster_state"]["state"], "CLUSTER_UP_NO_HA");
    for path in ["/api/cluster", "/api/cluster/runtime", "/api/cluster/version", "/api/pool", "/api/nonsense"]
    {
        let got = get(path).await.is(401);
        assert_eq!(got.headers["content-type"], "application/json");
    }
    get("/").await.is(404);
}

#[tokio::test]
async fn akos_requests_for_the_cluster_are_answered() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let runtime = rig.get(&login, "/api/cluster/runtime").await.is(200).json();
    let node = &runtime["node_states"][0];
    assert_eq!(node["role"], "CLUSTER_LEADER");
    assert!(node["name"].is_string() && node["up_since"].is_string());
    assert_eq!(runtime["cluster_state"]["state"], "CLUSTER_UP_NO_HA");
    let cluster = rig.get(&login, "/api/cluster").await.is(200).json();
    assert!(cluster["uuid"].as_str().unwrap().starts_with("cluster-"));
    assert_eq!(rig.get(&login, "/api/cluster/version").await.json()["Version"], "30.2.1");
    let system = rig.get(&login, "/api/systemconfiguration").await.is(200).json();
    assert!(system["default_license_tier"].is_string());
    let got = rig.get(&login, "/api/cloud?name=Default-Cloud").await.is(200).json();
    let uuid = got["results"][0]["uuid"].as_str().unwrap();
    let got = rig.get(&login, &format!("/api/ipamdnsproviderprofiledomainlist?cloud_uuid={uuid}")).await;
    assert_eq!(got.is(200).json(), json!({ "domains": [] }));

    let profile = json!({
        "name": "dns", "type": "IPAMDNS_TYPE_INTERNAL_DNS",
        "internal_profile": { "dns_service_domain": [{ "domain_name": "a.test" }, { "domain_name": "b.test" }] },
    });
    let profile = rig.send(&login, "POST", "/api/ipamdnsproviderprofile", profile).await.is(201).json();
    let change = json!({ "replace": { "dns_provider_ref": profile["url"] } });
    rig.send(&login, "PATCH", &format!("/api/cloud/{uuid}"), change).await.is(200);
    let got = rig.get(&login, &format!("/api/ipamdnsproviderprofiledomainlist?cloud_uuid={uuid}")).await;
    assert_eq!(got.json()["domains"], json!(["a.test", "b.test"]));
}

#[tokio::test]
async fn unknown_paths_methods_and_bodies_are_refused() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.get(&login, "/api/nonsense").await.is(404);
    rig.get(&login, "/api/pool/pool-1/what/ever").await.is(404);
    let got = rig.get(&login, "/api/pool/pool-1").await.is(404);
    assert_eq!(got.error(), "Pool object not found!");
    for (method, path) in [
        ("DELETE", "/api/pool"),
        ("PUT", "/api/pool"),
        ("POST", "/api/pool/pool-1"),
        ("POST", "/api/cluster/runtime"),
        ("DELETE", "/api/systemconfiguration"),
        ("POST", "/api/systemconfiguration"),
    ] {
        let got = rig.send(&login, method, path, json!({ "name": "x" })).await.is(405);
        assert_eq!(got.json(), json!({ "detail": format!("Method '{method}' not allowed.") }), "{path}");
    }
    let request = rig.request(&login, "POST", "/api/pool").body("{\"name\": ");
    let got = Got::of(request.send().await.unwrap()).await.is(400);
    assert!(got.error().starts_with("Invalid JSON"), "{}", got.text);
}

#[tokio::test]
async fn additional_slashes_are_ignored() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.send(&login, "POST", "//api/pool/", json!({ "name": "p" })).await.is(201);
    for path in
        ["/api/pool", "/api/pool/", "//api/pool", "//api//pool/", "/api/pool/?name=p", "/api/pool?name=p"]
    {
        assert_eq!(rig.get(&login, path).await.is(200).json()["count"], 1, "{path}");
    }
}
