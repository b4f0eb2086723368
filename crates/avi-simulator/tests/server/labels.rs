//! Access by roles: by the labels of objects, in several tenants at the same time, and after an upgrade.

use avi_simulator::{Assumptions, Config, Version};
use serde_json::{Value, json};

use crate::rig::{Got, Login, Rig};

const PASSWORD: &str = "Correct-Horse-1";

fn markers(cluster: &str) -> Value {
    json!([{ "key": "clustername", "values": [cluster] }])
}

/// Returns a role for the pools of the cluster `c1`, like that of AKO.
fn pools_of_c1(unlabelled: bool) -> Value {
    json!({
        "name": "c1", "tenant_ref": "/api/tenant/?name=admin", "allow_unlabelled_access": unlabelled,
        "privileges": [
            { "resource": "PERMISSION_POOL", "type": "WRITE_ACCESS" },
            { "resource": "PERMISSION_VIRTUALSERVICE", "type": "READ_ACCESS" },
            { "resource": "PERMISSION_TENANT", "type": "READ_ACCESS" },
        ],
        "filters": [{ "match_label": { "key": "clustername", "values": ["c1"] } }],
    })
}

struct Scene {
    rig: Rig,
    admin: Login,
    user: Login,
}

impl Scene {
    /// Creates the tenants `blue` and `green`, the roles, and a user with `access`: pairs of role and tenant.
    async fn new(assumptions: Assumptions, roles: &[Value], access: &[(&str, &str)]) -> Self {
        let rig = Rig::with(Config { assumptions, ..Config::default() }).await;
        let admin = rig.admin().await;
        for tenant in ["blue", "green"] {
            rig.send(&admin, "POST", "/api/tenant", json!({ "name": tenant })).await.is(201);
        }
        for role in roles {
            rig.send(&admin, "POST", "/api/role", role.clone()).await.is(201);
        }
        let access: Vec<Value> = access
            .iter()
            .map(|(role, tenant)| {
                json!({ "role_ref": format!("/api/role/?name={role}"), "tenant_ref": format!("/api/tenant/?name={tenant}") })
            })
            .collect();
        let user = json!({ "name": "u", "password": PASSWORD, "access": access });
        rig.send(&admin, "POST", "/api/user", user).await.is(201);
        let user = rig.login("u", PASSWORD).await;
        Self { rig, admin, user }
    }

    async fn act(&self, login: &Login, tenant: &str, method: &str, path: &str, body: Value) -> Got {
        let mut headers = self.rig.headers(login);
        headers.insert("x-avi-tenant", tenant.parse().unwrap());
        let request = self.rig.http.request(method.parse().unwrap(), self.rig.url(path)).headers(headers);
        Got::of(request.json(&body).send().await.unwrap()).await
    }

    /// Creates an object in a tenant as the administrator. Returns its path.
    async fn make(&self, tenant: &str, kind: &str, body: Value) -> String {
        let made = self.act(&self.admin, tenant, "POST", &format!("/api/{kind}"), body).await.is(201).json();
        format!("/api/{kind}/{}", made["uuid"].as_str().unwrap())
    }

    async fn names(&self, tenant: &str, path: &str) -> Vec<String> {
        let got = self.act(&self.user, tenant, "GET", path, Value::Null).await.is(200).json();
        let names =
            got["results"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        let names: Vec<String> = names.collect();
        assert_eq!(got["count"], names.len());
        names
    }
}

#[tokio::test]
async fn a_filter_hides_objects_with_other_labels() {
    for (unlabelled, hidden) in [(true, 403), (false, 404)] {
        let assumptions = Assumptions { hidden_status: hidden, ..Assumptions::default() };
        let scene = Scene::new(assumptions, &[pools_of_c1(unlabelled)], &[("c1", "admin")]).await;
        let mine = scene.make("admin", "pool", json!({ "name": "mine", "markers": markers("c1") })).await;
        let other = scene.make("admin", "pool", json!({ "name": "other", "markers": markers("c2") })).await;
        let bare = scene.make("admin", "pool", json!({ "name": "bare" })).await;
        let seen: &[&str] = if unlabelled { &["mine", "bare"] } else { &["mine"] };
        assert_eq!(scene.names("admin", "/api/pool").await, seen);
        assert!(scene.names("admin", "/api/pool?name=other").await.is_empty());
        let act = async |method: &str, path: &str, body: Value| {
            scene.act(&scene.user, "admin", method, path, body).await
        };
        act("GET", &mine, Value::Null).await.is(200);
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let body =
                if method == "PATCH" { json!({ "add": { "x": 1 } }) } else { json!({ "name": "other" }) };
            let got = act(method, &other, body).await.is(hidden);
            let text = if hidden == 404 {
                "Pool object not found!"
            } else {
                "User 'u' is not authorized to read on resource POOL in tenant admin"
            };
            assert_eq!(got.error(), text);
        }
        act("GET", &bare, Value::Null).await.is(if unlabelled { 200 } else { hidden });

        // An object must have the label after a write, too.
        let post = async |name: &str, markers: Value| {
            act("POST", "/api/pool", json!({ "name": name, "markers": markers })).await
        };
        post("new", markers("c1")).await.is(201);
        let got = post("foreign", markers("c2")).await.is(403);
        assert_eq!(got.error(), "User 'u' is not authorized to write on resource POOL in tenant admin");
        post("plain", json!([])).await.is(if unlabelled { 201 } else { 403 });
        act("PATCH", &mine, json!({ "replace": { "markers": markers("c2") } })).await.is(403);
        act("PATCH", &mine, json!({ "replace": { "default_server_port": 81 } })).await.is(200);
        act("DELETE", &mine, Value::Null).await.is(204);

        // The cached list of the administrator is not used for the user. Kinds without markers are not filtered.
        let all =
            scene.act(&scene.admin, "admin", "GET", "/api/pool", Value::Null).await.json()["count"].clone();
        assert_ne!(all, scene.names("admin", "/api/pool").await.len());
        assert_eq!(scene.names("admin", "/api/tenant").await, ["admin", "blue", "green"]);
        assert_eq!(scene.rig.sim.control().check().len(), 2, "two orphans: pools with markers");
    }
}

#[tokio::test]
async fn invalid_filters_are_refused() {
    let rig = Rig::start().await;
    let admin = rig.admin().await;
    let filter = json!({ "match_label": { "key": "k" } });
    let role = async |filters: Value| {
        rig.send(&admin, "POST", "/api/role", json!({ "name": "r", "filters": filters })).await
    };
    role(json!([filter, filter, filter, filter, filter])).await.is(400);
    role(json!([{ "match_label": { "key": "k" }, "match_operation": "ROLE_FILTER_ALMOST" }])).await.is(400);
    role(json!([{ "match_label": {} }])).await.is(400);
    let made = role(json!([filter])).await.is(201).json();
    assert_eq!(made["filters"][0]["match_operation"], "ROLE_FILTER_EQUALS");
    assert_eq!(made["filters"][0]["enabled"], true);
}

#[tokio::test]
async fn the_scope_of_all_tenants_covers_those_of_the_user_only() {
    let role = |name: &str, pool: &str, network: &str| {
        json!({ "name": name, "privileges": [
            { "resource": "PERMISSION_POOL", "type": pool }, { "resource": "PERMISSION_NETWORK", "type": network },
        ] })
    };
    let roles = [role("writer", "WRITE_ACCESS", "NO_ACCESS"), role("reader", "READ_ACCESS", "READ_ACCESS")];
    let access = [("writer", "blue"), ("reader", "green")];
    let scene = Scene::new(Assumptions::default(), &roles, &access).await;
    let mut paths = Vec::new();
    for tenant in ["admin", "blue", "green"] {
        paths.push(scene.make(tenant, "pool", json!({ "name": tenant })).await);
        scene.make(tenant, "network", json!({ "name": tenant })).await;
    }
    assert_eq!(scene.names("*", "/api/pool").await, ["blue", "green"]);
    assert_eq!(scene.names("blue", "/api/pool").await, ["blue"]);
    // The networks of admin are visible in every tenant.
    assert_eq!(scene.names("*", "/api/network").await, ["admin", "green"]);
    let act = async |method: &str, path: &str| {
        scene.act(&scene.user, "*", method, path, json!({ "name": "x" })).await
    };
    act("GET", &paths[0]).await.is(403);
    act("PUT", &paths[1]).await.is(200);
    act("PUT", &paths[2]).await.is(403);
    // Without tenant_ref an object is created in admin.
    act("POST", "/api/pool").await.is(403);
    let green = json!({ "name": "y", "tenant_ref": "/api/tenant/?name=blue" });
    scene.act(&scene.user, "*", "POST", "/api/pool", green).await.is(201);
    let got = act("GET", "/api/virtualservice").await.is(403);
    assert_eq!(got.error(), "User 'u' is not authorized to read on resource VIRTUALSERVICE in tenant *");
}

#[tokio::test]
async fn a_macro_needs_permission_for_each_part() {
    let role = json!({ "name": "services", "privileges": [{ "resource": "PERMISSION_VIRTUALSERVICE", "type": "WRITE_ACCESS" }] });
    let scene = Scene::new(Assumptions::default(), &[role], &[("services", "blue")]).await;
    let of = |data: Value| json!({ "model_name": "VirtualService", "data": data });
    let post = async |body: Value| scene.act(&scene.user, "blue", "POST", "/api/macro", body).await;
    post(of(json!({ "name": "a", "vsvip_ref_data": { "name": "v" } }))).await.is(201);
    let got = post(of(json!({ "name": "b", "pool_ref_data": { "name": "p" } }))).await.is(403);
    assert_eq!(got.error(), "User 'u' is not authorized to write on resource POOL in tenant blue");
}

#[tokio::test]
async fn the_built_in_tenant_admin_may_be_used_in_any_tenant() {
    let scene = Scene::new(Assumptions::default(), &[], &[("Tenant-Admin", "blue")]).await;
    let pool = json!({ "name": "p" });
    scene.act(&scene.user, "blue", "POST", "/api/pool", pool.clone()).await.is(201);
    scene.act(&scene.user, "green", "POST", "/api/pool", pool).await.is(403);
    // A role that a client created with this name is not the built-in one.
    let role = json!({ "name": "Tenant-Admin", "tenant_ref": "/api/tenant/?name=blue",
        "privileges": [{ "resource": "PERMISSION_USER", "type": "READ_ACCESS" }] });
    let role = scene.act(&scene.admin, "admin", "POST", "/api/role", role).await.is(201).json();
    let user = json!({ "name": "v", "password": PASSWORD, "access": [{ "role_ref": role["url"], "tenant_ref": "/api/tenant/?name=blue" }] });
    let got = scene.act(&scene.admin, "admin", "POST", "/api/user", user).await.is(400);
    assert!(got.error().starts_with("Cannot use Role Tenant-Admin with access to"), "{}", got.text);
}

#[tokio::test]
async fn after_an_upgrade_a_put_of_a_role_needs_the_new_privileges() {
    let rig = Rig::with(Config { version: Version(22, 1, 3), ..Config::default() }).await;
    let mut admin = rig.admin().await;
    let old = Some("22.1.3");
    let act = async |login: &Login, method: &str, path: &str, version: Option<&str>, body: Value| {
        let mut headers = rig.headers(login);
        headers.insert("x-avi-version", version.unwrap_or("30.2.1").parse().unwrap());
        let request = rig.http.request(method.parse().unwrap(), rig.url(path)).headers(headers);
        Got::of(request.json(&body).send().await.unwrap()).await
    };
    let role =
        json!({ "name": "r", "privileges": [{ "resource": "PERMISSION_POOL", "type": "READ_ACCESS" }] });
    let made = act(&admin, "POST", "/api/role", old, role.clone()).await.is(201).json();
    let path = format!("/api/role/{}", made["uuid"].as_str().unwrap());
    act(&admin, "PUT", &path, old, role.clone()).await.is(200);
    act(&admin, "GET", "/api/role", None, Value::Null).await.is(400);

    rig.sim.control().upgrade_to(Version(30, 2, 1)).unwrap();
    act(&admin, "GET", &path, old, Value::Null).await.is(401);
    admin = rig.admin().await;
    act(&admin, "PUT", &path, old, role.clone()).await.is(500);
    let mut whole = act(&admin, "GET", &path, None, Value::Null).await.is(200).json();
    let privileges = whole["privileges"].as_array().unwrap();
    assert!(
        privileges.len() > 90
            && !privileges.iter().any(|one| one["resource"] == "PERMISSION_PINGACCESSAGENT")
    );
    whole["privileges"][0]["type"] = json!("WRITE_ACCESS");
    act(&admin, "PUT", &path, None, whole).await.is(200);
    act(&admin, "PUT", &path, None, role).await.is(200);
}
