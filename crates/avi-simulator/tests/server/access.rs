//! Versions, tenants and roles: whether a request with a live session is permitted.

use avi_simulator::{Assumptions, Config, Rule, Rules};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::accounts::user;
use crate::rig::{Got, Login, Rig, until};

const PASSWORD: &str = "Correct-Horse-1";

async fn with_header(rig: &Rig, login: &Login, path: &str, set: &[(&'static str, Option<&str>)]) -> Got {
    let mut headers = rig.headers(login);
    for (name, value) in set {
        headers.remove(*name);
        if let Some(value) = value {
            headers.insert(*name, value.parse().unwrap());
        }
    }
    Got::of(rig.http.get(rig.url(path)).headers(headers).send().await.unwrap()).await
}

#[tokio::test]
async fn the_requested_version_is_checked_and_echoed() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let version =
        async |value: Option<&str>| with_header(&rig, &login, "/api/pool", &[("x-avi-version", value)]).await;
    for (asked, echoed) in [(Some("30.2.1"), "30.2.1"), (Some("20.1.1"), "20.1.1"), (None, "16.4.1")] {
        let got = version(asked).await.is(200);
        assert_eq!(got.headers["avi_api_version"], echoed);
    }
    for asked in ["30.2.2", "31.1.1", "latest", ""] {
        let got = version(Some(asked)).await.is(400);
        assert!(got.error().starts_with("Invalid version"), "{}", got.text);
    }
    // A client reads the version here, so these paths accept any.
    for path in ["/api/initial-data", "//api/cluster/status"] {
        with_header(&rig, &login, path, &[("x-avi-version", Some("99.1.1"))]).await.is(200);
    }
}

#[tokio::test]
async fn the_status_of_an_invalid_version_is_a_switch() {
    let assumptions = Assumptions { invalid_version_status: 412, ..Assumptions::default() };
    let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
    let login = rig.admin().await;
    with_header(&rig, &login, "/api/pool", &[("x-avi-version", Some("99.1.1"))]).await.is(412);
}

#[tokio::test]
async fn headers_select_the_tenant() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let tenant = rig.send(&login, "POST", "/api/tenant", json!({ "name": "blue" })).await.is(201).json();
    let uuid = tenant["uuid"].as_str().unwrap();
    let mut headers = rig.headers(&login);
    headers.insert("x-avi-tenant", "blue".parse().unwrap());
    let request = rig.http.post(rig.url("/api/pool")).headers(headers).json(&json!({ "name": "p" }));
    let made = Got::of(request.send().await.unwrap()).await.is(201).json();
    assert!(made["tenant_ref"].as_str().unwrap().contains(uuid), "{made}");

    let count = async |set: &[(&'static str, Option<&str>)]| {
        with_header(&rig, &login, "/api/pool", set).await.is(200).json()["count"].clone()
    };
    assert_eq!(count(&[("x-avi-tenant", Some("blue"))]).await, 1);
    assert_eq!(count(&[("x-avi-tenant", None), ("x-avi-tenant-uuid", Some(uuid))]).await, 1);
    assert_eq!(count(&[("x-avi-tenant", Some("admin"))]).await, 0);
    assert_eq!(count(&[("x-avi-tenant", None)]).await, 0);
    assert_eq!(count(&[("x-avi-tenant", Some("*"))]).await, 1);
    // A header that is not ASCII must not be ignored, which would select the user's default tenant.
    rig.send(&login, "POST", "/api/tenant", json!({ "name": "é" })).await.is(201);
    for (name, value, status) in [
        ("x-avi-tenant", "é".as_bytes(), 200),
        ("x-avi-tenant", b"\xe9", 403),
        ("x-avi-tenant-uuid", b"\xe9", 403),
        ("x-avi-version", b"30.2.1\xe9", 400),
    ] {
        let mut headers = rig.headers(&login);
        headers.insert(name, HeaderValue::from_bytes(value).unwrap());
        Got::of(rig.http.get(rig.url("/api/pool")).headers(headers).send().await.unwrap()).await.is(status);
    }

    let got = with_header(&rig, &login, "/api/pool", &[("x-avi-tenant", Some("green"))]).await.is(403);
    assert_eq!(got.error(), "Tenant 'green' does not exist!");
    let unknown = [("x-avi-tenant", None), ("x-avi-tenant-uuid", Some("tenant-0"))];
    with_header(&rig, &login, "/api/pool", &unknown).await.is(403);
}

#[tokio::test]
async fn a_slug_sets_the_uuid() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    let post = async |slug: &str, name: &str| {
        let request = rig.request(&login, "POST", "/api/pool").header("Slug", slug);
        Got::of(request.json(&json!({ "name": name })).send().await.unwrap()).await
    };
    let uuid = "pool-2f7c1a40-5f9f-4ff2-9f3e-0c0de0c0de00";
    assert_eq!(post(uuid, "p").await.is(201).json()["uuid"], uuid);
    rig.get(&login, &format!("/api/pool/{uuid}")).await.is(200);
    post(uuid, "q").await.is(409);
}

/// Creates a role with these privileges in `admin`.
async fn role(rig: &Rig, admin: &Login, name: &str, privileges: &[(&str, &str)]) {
    let privileges: Vec<Value> = privileges
        .iter()
        .map(|(resource, level)| json!({ "resource": format!("PERMISSION_{resource}"), "type": level }))
        .collect();
    let body = json!({ "name": name, "privileges": privileges, "tenant_ref": "/api/tenant/?name=admin" });
    rig.send(admin, "POST", "/api/role", body).await.is(201);
}

#[tokio::test]
async fn a_role_grants_its_privileges_only() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    rig.send(&admin, "POST", "/api/tenant", json!({ "name": "blue" })).await.is(201);
    let privileges = [("POOL", "WRITE_ACCESS"), ("CLOUD", "READ_ACCESS"), ("VIRTUALSERVICE", "NO_ACCESS")];
    role(&rig, &admin, "pools", &privileges).await;
    user(&rig, &admin, "u", "pools", "blue").await;
    let login = rig.login("u", PASSWORD).await;
    assert_eq!(login.body["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(login.body["tenants"][0]["name"], "blue");
    let get = async |path: &str, tenant: &str| {
        with_header(&rig, &login, path, &[("x-avi-tenant", Some(tenant))]).await
    };
    get("/api/pool", "blue").await.is(200);
    get("/api/cloud", "blue").await.is(200);
    // Users have reported this text.
    let got = get("/api/cluster", "blue").await.is(403);
    assert_eq!(got.error(), "User 'u' is not authorized to read on resource System in tenant blue");
    for path in ["/api/virtualservice", "/api/vsvip", "/api/network", "/api/cluster/runtime"] {
        get(path, "blue").await.is(403);
    }
    get("/api/pool", "admin").await.is(403);
    get("/api/pool", "*").await.is(200);
    get("/api/virtualservice", "*").await.is(403);
    get("/api/cluster/version", "blue").await.is(200);

    let write = async |method: &str, path: &str| {
        let mut headers = rig.headers(&login);
        headers.insert("x-avi-tenant", "blue".parse().unwrap());
        let request = rig.http.request(method.parse().unwrap(), rig.url(path)).headers(headers);
        Got::of(request.json(&json!({ "name": "x", "vtype": "CLOUD_NONE" })).send().await.unwrap()).await
    };
    write("POST", "/api/pool").await.is(201);
    let got = write("POST", "/api/cloud").await.is(403);
    assert!(got.error().starts_with("User 'u' is not authorized to write on resource "), "{}", got.text);
}

#[tokio::test]
async fn without_the_rule_every_request_is_permitted() {
    let config = Config { rules: Rules::default().without(Rule::Permissions), ..Config::default() };
    let rig = Rig::with(config).await;
    let admin = rig.admin().await;
    role(&rig, &admin, "nothing", &[]).await;
    user(&rig, &admin, "u", "nothing", "admin").await;
    let login = rig.login("u", PASSWORD).await;
    rig.get(&login, "/api/cluster").await.is(200);
}

#[tokio::test]
async fn an_administrative_role_cannot_be_limited_to_a_tenant() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    rig.send(&admin, "POST", "/api/tenant", json!({ "name": "blue" })).await.is(201);
    role(&rig, &admin, "r", &[("POOL", "WRITE_ACCESS"), ("CONTROLLER", "READ_ACCESS")]).await;
    let access = |tenant: &str, all: bool| {
        json!({
            "name": "u", "username": "u", "password": PASSWORD,
            "access": [{
                "role_ref": "/api/role/?name=r",
                "tenant_ref": format!("/api/tenant/?name={tenant}"),
                "all_tenants": all,
            }],
        })
    };
    let got = rig.send(&admin, "POST", "/api/user", access("blue", false)).await.is(400);
    assert_eq!(
        got.error(),
        "Cannot use Role r with access to Controller, Role, Tenant or User in non-admin tenant"
    );
    let made = rig.send(&admin, "POST", "/api/user", access("admin", true)).await.is(201).json();
    let path = format!("/api/user/{}", made["uuid"].as_str().unwrap());
    rig.send(&admin, "PUT", &path, access("blue", false)).await.is(400);
    // With all_tenants the role applies in each tenant.
    let login = rig.login("u", PASSWORD).await;
    with_header(&rig, &login, "/api/cluster", &[("x-avi-tenant", Some("blue"))]).await.is(200);
    with_header(&rig, &login, "/api/pool", &[("x-avi-tenant", Some("*"))]).await.is(200);
}

#[tokio::test]
async fn requests_above_the_rate_limit_are_refused() {
    for (switch, status) in [(429, 429), (503, 503)] {
        let assumptions = Assumptions { rate_limit_status: switch, ..Assumptions::default() };
        let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
        let login = rig.admin().await;
        for _ in 0..50 {
            rig.get(&login, "/api/pool").await.is(200);
        }
        let limit = json!({ "replace": { "portal_request_rate_limit": 1 } });
        rig.send(&login, "PATCH", "/api/controllerproperties", limit).await.is(200);
        let refused = async || {
            let (one, other) = tokio::join!(rig.get(&login, "/api/pool"), rig.get(&login, "/api/pool"));
            [one, other].into_iter().find(|got| got.status != 200).map(|got| assert_eq!(got.status, status))
        };
        until("two requests are in the same second of the controller's clock", async || {
            refused().await.is_some()
        })
        .await;
        rig.sim.control().advance_clock(std::time::Duration::from_secs(1));
        rig.get(&login, "/api/pool").await.is(200);
    }
}

#[tokio::test]
async fn upgrade_mode_refuses_writes() {
    let rig = Rig::start().await;
    let login = rig.admin().await;
    rig.sim.control().upgrade_mode(true);
    let got = rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(403);
    assert_eq!(got.error(), "Configuration is disallowed during upgrade");
    rig.get(&login, "/api/pool").await.is(200);
    rig.sim.control().upgrade_mode(false);
    rig.send(&login, "POST", "/api/pool", json!({ "name": "p" })).await.is(201);
}
