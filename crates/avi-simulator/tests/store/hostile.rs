//! Hostile requests: the store stays consistent, bounded and readable.

use avi_simulator::Version;
use serde_json::{Value, json};

use crate::rig::{Rig, text, uuid};

fn assert_refused(rig: &mut Rig, pool: &str, patch: Value, words: &str) {
    let before = rig.store.snapshot();
    let error = rig.patch("pool", pool, patch).unwrap_err();
    assert_eq!(error.status, 400, "{}", error.text());
    assert!(error.text().contains(words), "{}", error.text());
    assert!(rig.store.diff(&before).is_empty());
}

/// Each copy of a field into itself doubles it: 30 copies make a thousand million.
#[test]
fn a_json_patch_cannot_copy_without_limit() {
    let mut rig = Rig::new();
    let pool = uuid(&rig.create("pool", json!({"name": "p", "x": [[1, "abc"]]})));
    let double = json!({"op": "copy", "from": "/x", "path": "/x/-"});
    let few: Vec<&Value> = std::iter::repeat_n(&double, 5).collect();
    rig.patch("pool", &pool, json!({"json_patch": few})).expect("a few copies are allowed");
    let many: Vec<&Value> = std::iter::repeat_n(&double, 40).collect();
    assert_refused(&mut rig, &pool, json!({"json_patch": many}), "too much");
    let long: Vec<Value> = (0..1001).map(|n| json!({"op": "add", "path": "/y", "value": n})).collect();
    assert_refused(&mut rig, &pool, json!({"json_patch": long}), "more than 1000 operations");
}

/// A JSON parser could not read deeper objects.
#[test]
fn no_write_nests_deeper_than_parsers_accept() {
    let mut rig = Rig::new();
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"a": inner}));
    let pool = uuid(&rig.create("pool", json!({"name": "p", "a": nested(91)})));
    let error = rig.try_create("pool", json!({"name": "q", "a": nested(120)})).unwrap_err();
    assert!(error.status == 400 && error.text().contains("nested"), "{error:?}");
    let path = "/a".repeat(90);
    assert_refused(
        &mut rig,
        &pool,
        json!({"json_patch": [{"op": "add", "path": format!("{path}/a"), "value": nested(60)}]}),
        "nested",
    );
    assert_refused(
        &mut rig,
        &pool,
        json!({"json_patch": [{"op": "copy", "from": "/a", "path": format!("{path}/a")}]}),
        "nested",
    );
    rig.patch("pool", &pool, json!({"add": {"b": nested(9)}})).unwrap();
    let into = |depth: usize| json!({"json_patch": [{"op": "move", "from": "/a", "path": format!("/b{}/c", "/a".repeat(depth))}]});
    assert_refused(&mut rig, &pool, into(8), "nested");
    rig.patch("pool", &pool, into(7)).expect("the maximum depth is allowed");
    let whole = serde_json::to_string(&rig.list("pool", "name=p")).unwrap();
    serde_json::from_str::<Value>(&whole).expect("stored objects can be parsed");
}

#[test]
fn every_ref_of_a_list_is_checked() {
    let mut rig = Rig::new();
    let body = json!({"name": "p", "health_monitor_refs": ["/api/healthmonitor/healthmonitor-none", 3]});
    assert_eq!(rig.try_create("pool", body).unwrap_err().status, 400);
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

#[test]
fn a_slug_that_needs_url_encoding_is_refused() {
    let mut rig = Rig::new();
    for slug in ["pool/x", "pool#x", "pool?x", "pool x", "..", "p\u{e4}"] {
        let error = rig.store.create(&rig.caller, "pool", Some(slug), json!({"name": "p"})).unwrap_err();
        assert_eq!(error.status, 400, "{slug}");
    }
    rig.store.create(&rig.caller, "pool", Some("pool-1.2_x"), json!({"name": "p"})).unwrap();
}

/// The uuids of discovered networks end with that of the cloud; other objects may have such a uuid, too.
#[test]
fn a_deleted_cloud_takes_only_its_own_objects() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_VCENTER"})));
    let slug = format!("pool-{cloud}");
    let body = json!({"name": "p", "cloud_ref": format!("/api/cloud/{cloud}")});
    rig.store.create(&rig.caller, "pool", Some(&slug), body).unwrap();
    assert_eq!(rig.delete("cloud", &cloud).unwrap_err().status, 403);
    assert!(rig.get("pool", &slug, "").is_ok());
}

#[test]
fn a_built_in_object_blocks_the_deletion_of_what_it_refers_to() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"})));
    let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
    let refers = json!({"replace": {"obj_cloud_ref": format!("/api/cloud/{cloud}"), "default_tenant_ref": format!("/api/tenant/{tenant}")}});
    rig.patch("user", "user-1", refers).unwrap();
    for (kind, id) in [("cloud", &cloud), ("tenant", &tenant)] {
        assert!(rig.delete(kind, id).unwrap_err().text().contains("User admin"));
    }
}

#[test]
fn a_renamed_default_cloud_stays_the_default() {
    let mut rig = Rig::new();
    let cloud = rig.uuid_of("cloud", "Default-Cloud");
    rig.patch("cloud", &cloud, json!({"replace": {"name": "other"}})).unwrap();
    let pool = rig.create("pool", json!({"name": "p"}));
    assert!(text(&pool, "cloud_ref").ends_with("#other"), "{pool}");
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

#[test]
fn a_mask_is_not_stored_as_a_secret() {
    let mut rig = Rig::new();
    let made = rig.create(
        "cloud",
        json!({"name": "c", "vtype": "CLOUD_VCENTER", "vcenter_configuration": {"username": "u", "password": "<sensitive>"}}),
    );
    assert!(made["vcenter_configuration"].get("password").is_none(), "{made}");
}

#[test]
fn a_role_with_a_removed_resource_survives_an_upgrade() {
    let mut rig = Rig::new();
    let gone = json!({"resource": "PERMISSION_PINGACCESSAGENT", "type": "READ_ACCESS"});
    let stays = json!({"resource": "PERMISSION_POOL", "type": "READ_ACCESS"});
    let body = json!({"name": "r", "privileges": [gone, stays]});
    let role = uuid(&rig.as_version(Version(30, 1, 2), |rig| rig.create("role", body)));
    let now = rig.get("role", &role, "").unwrap();
    assert_eq!(now["privileges"], json!([stays]), "a removed resource is hidden");
    rig.put("role", &role, now).expect("a read role can be written back");
    let body = json!({"name": "s", "privileges": [gone, stays]});
    let role = uuid(&rig.as_version(Version(30, 1, 2), |rig| rig.create("role", body)));
    rig.store.upgrade_roles(Version(30, 2, 1), 1).expect("the upgrade succeeds");
    let kept = rig.store.object("role", &role).unwrap()["privileges"].to_string();
    assert!(!kept.contains("PINGACCESS") && kept.contains("PERMISSION_TASKJOURNAL"), "{kept}");
}

#[test]
fn an_empty_created_by_makes_no_orphan_and_a_self_reference_does_not_prevent_one() {
    let mut rig = Rig::new();
    rig.create("pool", json!({"name": "empty creator", "created_by": ""}));
    assert_eq!(rig.store.check(), Vec::<String>::new());
    let pool = uuid(&rig.create("pool", json!({"name": "selfish", "created_by": "ako-c"})));
    rig.patch("pool", &pool, json!({"add": {"pool_ref": format!("/api/pool/{pool}")}})).unwrap();
    assert_eq!(rig.store.check().len(), 1, "{:?}", rig.store.check());
}

#[test]
fn a_put_without_username_keeps_it() {
    let mut rig = Rig::new();
    let user = uuid(&rig.create("user", json!({"name": "Full Name", "username": "login"})));
    let now = rig.put("user", &user, json!({"name": "Full Name", "full_name": "x"})).unwrap();
    assert_eq!(now["username"], "login");
    let user = uuid(&rig.create("user", json!({"name": "plain"})));
    let now = rig.put("user", &user, json!({"name": "renamed"})).unwrap();
    assert_eq!(now["username"], "renamed", "a user with one name still has one");
}
