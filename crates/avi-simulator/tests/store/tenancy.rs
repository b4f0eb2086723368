//! Visibility and writes by tenant: a tenant's own objects, shared objects of `admin`, kinds without tenants.

use avi_simulator::Scope;
use serde_json::json;

use crate::rig::{Rig, text, uuid};

fn with_two_tenants() -> (Rig, String, String) {
    let mut rig = Rig::new();
    let a = uuid(&rig.create("tenant", json!({"name": "a"})));
    let b = uuid(&rig.create("tenant", json!({"name": "b"})));
    (rig, a, b)
}

#[test]
fn reads_return_objects_of_the_tenant_only() {
    let (mut rig, a, b) = with_two_tenants();
    let pool = rig.as_tenant(&a, |rig| uuid(&rig.create("pool", json!({"name": "p"}))));
    assert_eq!(rig.list("pool", "name=p")["count"], 0, "not visible in admin");
    assert_eq!(rig.as_tenant(&b, |rig| rig.list("pool", "name=p"))["count"], 0);
    assert_eq!(rig.as_tenant(&b, |rig| rig.get("pool", &pool, "")).unwrap_err().status, 404);
    assert_eq!(rig.as_tenant(&b, |rig| rig.delete("pool", &pool)).unwrap_err().status, 404);
    assert_eq!(rig.as_tenant(&a, |rig| rig.list("pool", "name=p"))["count"], 1);
    assert_eq!(rig.as_scope(Scope::All, |rig| rig.list("pool", "name=p"))["count"], 1);
    let seen = rig.as_tenant(&a, |rig| rig.get("pool", &pool, "include_name")).unwrap();
    assert!(text(&seen, "tenant_ref").ends_with(&format!("/api/tenant/{a}#a")));
    for kind in ["tenant", "cloud", "user"] {
        let all = rig.list(kind, "")["count"].clone();
        assert_eq!(
            rig.as_tenant(&a, |rig| rig.list(kind, ""))["count"],
            all,
            "{kind} is visible in every tenant"
        );
    }
}

#[test]
fn shared_objects_are_visible_and_not_writable() {
    let (mut rig, a, _) = with_two_tenants();
    rig.create("network", json!({"name": "n"}));
    rig.create("pool", json!({"name": "p"}));
    rig.create("healthmonitor", json!({"name": "mine", "type": "HEALTH_MONITOR_TCP"}));
    rig.as_tenant(&a, |rig| {
        for (kind, name, count) in [
            ("network", "n", 1), ("serviceenginegroup", "Default-Group", 1), ("vrfcontext", "global", 1),
            ("applicationprofile", "System-L4-Application", 1), ("role", "Tenant-Admin", 1), ("pool", "p", 0), ("healthmonitor", "mine", 0),
        ] {
            assert_eq!(rig.list(kind, &format!("name={name}"))["count"], count, "{kind} {name}");
        }
        for (kind, name) in [("vrfcontext", "global"), ("network", "n"), ("serviceenginegroup", "Default-Group"), ("cloud", "Default-Cloud")] {
            let id = rig.uuid_of(kind, name);
            let error = rig.patch(kind, &id, json!({"add": {"x": 1}})).unwrap_err();
            assert_eq!(error.status, 400);
            assert!(error.text().contains("Cannot modify"), "{}", error.text());
            assert_eq!(rig.delete(kind, &id).unwrap_err().status, 400);
        }
        assert_eq!(rig.try_create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"})).unwrap_err().status, 400);
        let service = rig.create("virtualservice", json!({"name": "v", "application_profile_ref": "/api/applicationprofile/?name=System-L4-Application"}));
        assert!(text(&service, "se_group_ref").ends_with("#Default-Group"), "refs may name shared objects");
    });
}

#[test]
fn in_admin_the_body_may_set_the_tenant() {
    let (mut rig, a, b) = with_two_tenants();
    let pool = uuid(&rig.create("pool", json!({"name": "p", "tenant_ref": "/api/tenant/?name=a"})));
    assert!(rig.as_tenant(&a, |rig| rig.get("pool", &pool, "")).is_ok());
    assert_eq!(
        rig.as_tenant(&b, |rig| rig
            .try_create("pool", json!({"name": "p", "tenant_ref": "/api/tenant/?name=a"})))
            .unwrap_err()
            .status,
        400
    );
    rig.as_tenant(&b, |rig| rig.create("pool", json!({"name": "p", "tenant_ref": "/api/tenant/?name=b"})));
    let everywhere = rig.as_scope(Scope::All, |rig| uuid(&rig.create("pool", json!({"name": "q"}))));
    assert!(rig.get("pool", &everywhere, "").is_ok(), "without tenant_ref it is created in admin");
    let role =
        rig.create("role", json!({"name": "r", "tenant_ref": "/api/tenant/?name=a", "privileges": []}));
    assert_eq!(rig.list("role", "name=r")["count"], 1, "admin sees the roles of all tenants");
    rig.delete("role", &uuid(&role)).expect("admin may write them");
}

#[test]
fn refs_cannot_name_objects_of_another_tenant() {
    let (mut rig, a, b) = with_two_tenants();
    let pool = rig.as_tenant(&a, |rig| uuid(&rig.create("pool", json!({"name": "p"}))));
    for form in ["/api/pool/?name=p".to_owned(), format!("/api/pool/{pool}")] {
        let error = rig
            .as_tenant(&b, |rig| rig.try_create("virtualservice", json!({"name": "v", "pool_ref": form})))
            .unwrap_err();
        assert_eq!((error.status, error.text()), (400, "Pool object not found!"));
    }
}

#[test]
fn only_empty_tenants_can_be_deleted() {
    let (mut rig, a, _) = with_two_tenants();
    let pool = rig.as_tenant(&a, |rig| uuid(&rig.create("pool", json!({"name": "p"}))));
    let user =
        uuid(&rig.create("user", json!({"name": "u", "default_tenant_ref": format!("/api/tenant/{a}")})));
    assert!(rig.delete("tenant", &a).unwrap_err().text().contains("Pool p"));
    rig.as_tenant(&a, |rig| rig.delete("pool", &pool)).unwrap();
    assert!(rig.delete("tenant", &a).unwrap_err().text().contains("User u"));
    rig.delete("user", &user).unwrap();
    rig.delete("tenant", &a).unwrap();
    assert!(a.starts_with("tenant-"));
    let defaults = rig.get("tenant", "admin", "").unwrap()["config_settings"].clone();
    assert_eq!(
        defaults,
        json!({"se_in_provider_context": true, "tenant_access_to_provider_se": true, "tenant_vrf": false})
    );
}

#[test]
fn administrative_roles_are_for_admin_or_all_tenants() {
    let (mut rig, a, _) = with_two_tenants();
    let access = |role: &str, tenant: &str| json!([{"role_ref": format!("/api/role/?name={role}"), "tenant_ref": format!("/api/tenant/{tenant}")}]);
    let error =
        rig.try_create("user", json!({"name": "u", "access": access("System-Admin", &a)})).unwrap_err();
    assert_eq!(error.status, 400);
    assert_eq!(
        error.text(),
        "Cannot use Role System-Admin with access to Controller, Role, Tenant or User in non-admin tenant"
    );
    let user = uuid(&rig.create("user", json!({"name": "u", "access": access("Application-Admin", &a)})));
    rig.put("user", &user, json!({"name": "u", "access": access("System-Admin", "admin")})).unwrap();
    let everywhere = json!([{"role_ref": "/api/role/?name=System-Admin", "all_tenants": true}]);
    rig.put("user", &user, json!({"name": "u", "access": everywhere})).unwrap();
    assert_eq!(
        rig.put("user", &user, json!({"name": "u", "access": access("System-Admin", &a)}))
            .unwrap_err()
            .status,
        400
    );
    let role = uuid(&rig.create("role", json!({"name": "r", "privileges": [{"resource": "PERMISSION_USER", "type": "NO_ACCESS"}, {"resource": "PERMISSION_POOL", "type": "WRITE_ACCESS"}]})));
    rig.put("user", &user, json!({"name": "u", "access": access("r", &a)})).unwrap();
    assert!(rig.delete("role", &role).unwrap_err().text().contains("User u"));
}

fn count(rig: &Rig, kind: &str, query: &str) -> serde_json::Value {
    rig.list(kind, query)["count"].clone()
}

/// One tenant has its own VRF contexts, the other its own service engine groups.
#[test]
fn a_tenant_has_its_own_objects_of_kinds_it_does_not_share() {
    let mut rig = Rig::new();
    let before = rig.store.snapshot();
    let own = uuid(&rig.create("tenant", json!({"name": "own", "config_settings": {"tenant_vrf": true}})));
    let apart = uuid(
        &rig.create("tenant", json!({"name": "apart", "config_settings": {"se_in_provider_context": false}})),
    );
    let seen = |rig: &mut Rig, tenant: &str, kind: &str| {
        rig.as_tenant(tenant, |rig| {
            let list = rig.list(kind, "cloud_ref.name=Default-Cloud&sort=name&include_name");
            let of = |one: &serde_json::Value| {
                (text(one, "name").to_owned(), text(one, "tenant_ref").rsplit('#').next().unwrap().to_owned())
            };
            list["results"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
        })
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut rig, &own, "vrfcontext"), pairs(&[("global", "own")]));
    assert_eq!(seen(&mut rig, &own, "serviceenginegroup"), pairs(&[("Default-Group", "admin")]));
    assert_eq!(seen(&mut rig, &apart, "vrfcontext"), pairs(&[("global", "admin"), ("management", "admin")]));
    assert_eq!(seen(&mut rig, &apart, "serviceenginegroup"), pairs(&[("Default-Group", "apart")]));
    assert_eq!(count(&rig, "vrfcontext", "name=global"), 1, "only that of admin is visible in admin");
    // A new object there refers to it by default and by name.
    for body in [json!({"name": "p"}), json!({"name": "q", "vrf_ref": "/api/vrfcontext/?name=global"})] {
        let pool = rig.as_tenant(&own, |rig| rig.create("pool", body));
        let vrf = rig.store.object(
            "vrfcontext",
            text(&pool, "vrf_ref").rsplit('/').next().unwrap().split('#').next().unwrap(),
        );
        assert_eq!(text(vrf.unwrap(), "tenant_ref"), format!("/api/tenant/{own}"));
        rig.as_tenant(&own, |rig| rig.delete("pool", &uuid(&pool))).unwrap();
    }
    let service = rig.as_tenant(&apart, |rig| rig.create("virtualservice", json!({"name": "v"})));
    assert!(rig.delete("tenant", &apart).unwrap_err().text().contains("VirtualService v"));
    rig.as_tenant(&apart, |rig| rig.delete("virtualservice", &uuid(&service))).unwrap();
    // A later cloud has them too, and they are deleted with it.
    let cloud = uuid(&rig.create("cloud", json!({"name": "later", "vtype": "CLOUD_NONE"})));
    assert_eq!(rig.as_tenant(&own, |rig| count(rig, "vrfcontext", "name=global")), 2);
    assert_eq!(rig.as_tenant(&apart, |rig| count(rig, "serviceenginegroup", "cloud_ref.name=later")), 1);
    assert_eq!(rig.store.check(), Vec::<String>::new());
    rig.delete("cloud", &cloud).unwrap();
    for tenant in [&own, &apart] {
        rig.delete("tenant", tenant).expect("its built-in objects are deleted with it");
    }
    assert!(rig.store.diff(&before).is_empty(), "{:?}", rig.store.diff(&before));
}

/// Existing refs keep their targets.
#[test]
fn a_tenant_may_get_its_own_vrf_context_later() {
    let (mut rig, a, _) = with_two_tenants();
    let pool = rig.as_tenant(&a, |rig| uuid(&rig.create("pool", json!({"name": "p"}))));
    let settings = json!({"config_settings": {"tenant_vrf": true}});
    for _ in 0..2 {
        rig.patch("tenant", &a, json!({"replace": settings})).unwrap();
    }
    rig.as_tenant(&a, |rig| {
        let own = rig.list("vrfcontext", "name=global");
        assert_eq!(own["count"], 1);
        assert!(text(&own["results"][0], "tenant_ref").ends_with(&a), "the VRF context of the tenant: {own}");
        let read = rig.get("pool", &pool, "include_name").unwrap();
        rig.put("pool", &pool, read).expect("a read object can be written back");
    });
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

#[test]
fn a_role_name_in_access_is_resolved_in_the_tenant_of_the_request_first() {
    let (mut rig, a, b) = with_two_tenants();
    let role = |rig: &mut Rig| uuid(&rig.create("role", json!({"name": "r", "privileges": []})));
    let (of_a, of_b) = (rig.as_tenant(&a, role), rig.as_tenant(&b, role));
    let of_admin = role(&mut rig);
    let access = |tenant: &str| json!([{"role_ref": "/api/role/?name=r", "tenant_ref": format!("/api/tenant/{tenant}")}]);
    for (scope, role) in [("admin", &of_admin), (a.as_str(), &of_a), (b.as_str(), &of_b)] {
        let name = format!("u-{scope}");
        let user =
            rig.as_tenant(scope, |rig| rig.create("user", json!({"name": name, "access": access(scope)})));
        assert!(text(&user["access"][0], "role_ref").contains(role.as_str()), "{scope}: {user}");
    }
}
