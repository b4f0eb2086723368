//! What nobody sends who means well: the store stays whole, bounded and able to show what it keeps.

use avi_simulator::Version;
use serde_json::{Value, json};

use crate::rig::{Rig, text, uuid};

fn refused(rig: &mut Rig, pool: &str, patch: Value, words: &str) {
    let before = rig.store.snapshot();
    let error = rig.patch("pool", pool, patch).unwrap_err();
    assert_eq!(error.status, 400, "{}", error.text());
    assert!(error.text().contains(words), "{}", error.text());
    assert!(rig.store.diff(&before).is_empty());
}

/// Thirty copies of a field into itself would be a thousand million of them.
#[test]
fn a_json_patch_cannot_copy_without_end() {
    let mut rig = Rig::new();
    let pool = uuid(&rig.create("pool", json!({"name": "p", "x": [[1, "abc"]]})));
    let double = json!({"op": "copy", "from": "/x", "path": "/x/-"});
    let few: Vec<&Value> = std::iter::repeat_n(&double, 5).collect();
    rig.patch("pool", &pool, json!({"json_patch": few})).expect("a few are a patch like any other");
    let many: Vec<&Value> = std::iter::repeat_n(&double, 40).collect();
    refused(&mut rig, &pool, json!({"json_patch": many}), "more than it may");
    let long: Vec<Value> = (0..1001).map(|n| json!({"op": "add", "path": "/y", "value": n})).collect();
    refused(&mut rig, &pool, json!({"json_patch": long}), "at most 1000 operations");
}

/// What is deeper than a parser follows could be kept, but not read.
#[test]
fn nothing_gets_deeper_than_it_can_be_read() {
    let mut rig = Rig::new();
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"a": inner}));
    let pool = uuid(&rig.create("pool", json!({"name": "p", "a": nested(91)})));
    let error = rig.try_create("pool", json!({"name": "q", "a": nested(120)})).unwrap_err();
    assert!(error.status == 400 && error.text().contains("nested"), "{error:?}");
    let path = "/a".repeat(90);
    refused(
        &mut rig,
        &pool,
        json!({"json_patch": [{"op": "add", "path": format!("{path}/a"), "value": nested(60)}]}),
        "nested",
    );
    refused(
        &mut rig,
        &pool,
        json!({"json_patch": [{"op": "copy", "from": "/a", "path": format!("{path}/a")}]}),
        "nested",
    );
    rig.patch("pool", &pool, json!({"add": {"b": nested(9)}})).unwrap();
    let into = |depth: usize| json!({"json_patch": [{"op": "move", "from": "/a", "path": format!("/b{}/c", "/a".repeat(depth))}]});
    refused(&mut rig, &pool, into(8), "nested");
    rig.patch("pool", &pool, into(7)).expect("exactly as deep as may be");
    let whole = serde_json::to_string(&rig.list("pool", "name=p")).unwrap();
    serde_json::from_str::<Value>(&whole).expect("what is kept can be read");
}

/// A list of refs in which one entry is none.
#[test]
fn every_ref_of_a_list_is_held_to_be_one() {
    let mut rig = Rig::new();
    let body = json!({"name": "p", "health_monitor_refs": ["/api/healthmonitor/healthmonitor-none", 3]});
    assert_eq!(rig.try_create("pool", body).unwrap_err().status, 400);
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

/// A uuid that would not survive being part of a URL.
#[test]
fn a_slug_is_a_step_of_a_path() {
    let mut rig = Rig::new();
    for slug in ["pool/x", "pool#x", "pool?x", "pool x", "..", "p\u{e4}"] {
        let error = rig.store.create(&rig.caller, "pool", Some(slug), json!({"name": "p"})).unwrap_err();
        assert_eq!(error.status, 400, "{slug}");
    }
    rig.store.create(&rig.caller, "pool", Some("pool-1.2_x"), json!({"name": "p"})).unwrap();
}

/// An object whose uuid ends as those of a cloud's discovered networks do is not one of them.
#[test]
fn a_cloud_takes_only_its_own_along() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_VCENTER"})));
    let slug = format!("pool-{cloud}");
    let body = json!({"name": "p", "cloud_ref": format!("/api/cloud/{cloud}")});
    rig.store.create(&rig.caller, "pool", Some(&slug), body).unwrap();
    assert_eq!(rig.delete("cloud", &cloud).unwrap_err().status, 403);
    assert!(rig.get("pool", &slug, "").is_ok());
}

/// Built-in objects that refer to a cloud or tenant are no part of it.
#[test]
fn what_came_with_the_controller_goes_with_nothing() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"})));
    let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
    let refers = json!({"replace": {"obj_cloud_ref": format!("/api/cloud/{cloud}"), "default_tenant_ref": format!("/api/tenant/{tenant}")}});
    rig.patch("user", "user-1", refers).unwrap();
    for (kind, id) in [("cloud", &cloud), ("tenant", &tenant)] {
        assert!(rig.delete(kind, id).unwrap_err().text().contains("User admin"));
    }
}

/// Objects that name no cloud are in the one that came with the controller, whatever it is called.
#[test]
fn the_default_cloud_may_be_renamed() {
    let mut rig = Rig::new();
    let cloud = rig.uuid_of("cloud", "Default-Cloud");
    rig.patch("cloud", &cloud, json!({"replace": {"name": "other"}})).unwrap();
    let pool = rig.create("pool", json!({"name": "p"}));
    assert!(text(&pool, "cloud_ref").ends_with("#other"), "{pool}");
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

/// What stands for a secret is none.
#[test]
fn a_secret_that_was_never_given_is_not_shown_as_if() {
    let mut rig = Rig::new();
    let made = rig.create(
        "cloud",
        json!({"name": "c", "vtype": "CLOUD_VCENTER", "vcenter_configuration": {"username": "u", "password": "<sensitive>"}}),
    );
    assert!(made["vcenter_configuration"].get("password").is_none(), "{made}");
}

/// A role with a resource that the new version does not know any more.
#[test]
fn a_role_outlives_its_resources() {
    let mut rig = Rig::new();
    let gone = json!({"resource": "PERMISSION_PINGACCESSAGENT", "type": "READ_ACCESS"});
    let stays = json!({"resource": "PERMISSION_POOL", "type": "READ_ACCESS"});
    let body = json!({"name": "r", "privileges": [gone, stays]});
    let role = uuid(&rig.as_version(Version(30, 1, 2), |rig| rig.create("role", body)));
    let now = rig.get("role", &role, "").unwrap();
    assert_eq!(now["privileges"], json!([stays]), "not shown where it is not known");
    rig.put("role", &role, now).expect("what was read can be written");
    let body = json!({"name": "s", "privileges": [gone, stays]});
    let role = uuid(&rig.as_version(Version(30, 1, 2), |rig| rig.create("role", body)));
    rig.store.upgrade_roles(Version(30, 2, 1), 1).expect("an upgrade goes through");
    let kept = rig.store.object("role", &role).unwrap()["privileges"].to_string();
    assert!(!kept.contains("PINGACCESS") && kept.contains("PERMISSION_TASKJOURNAL"), "{kept}");
}

/// `created_by` without a creator makes no orphan, and an object is no use to itself.
#[test]
fn the_checker_is_not_taken_in() {
    let mut rig = Rig::new();
    rig.create("pool", json!({"name": "by nobody", "created_by": ""}));
    assert_eq!(rig.store.check(), Vec::<String>::new());
    let pool = uuid(&rig.create("pool", json!({"name": "selfish", "created_by": "ako-c"})));
    rig.patch("pool", &pool, json!({"add": {"pool_ref": format!("/api/pool/{pool}")}})).unwrap();
    assert_eq!(rig.store.check().len(), 1, "{:?}", rig.store.check());
}

/// A user's login name stays when a client writes that knows of one name only.
#[test]
fn a_put_without_username_keeps_the_login() {
    let mut rig = Rig::new();
    let user = uuid(&rig.create("user", json!({"name": "Full Name", "username": "login"})));
    let now = rig.put("user", &user, json!({"name": "Full Name", "full_name": "x"})).unwrap();
    assert_eq!(now["username"], "login");
    let user = uuid(&rig.create("user", json!({"name": "plain"})));
    let now = rig.put("user", &user, json!({"name": "renamed"})).unwrap();
    assert_eq!(now["username"], "renamed", "where there was one name only, it is still one");
}
