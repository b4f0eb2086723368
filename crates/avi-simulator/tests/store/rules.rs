//! Each broken rule of the store changes what a client sees, and nothing else.

use avi_simulator::{Assumptions, Rule, Rules, Scope, Version};
use serde_json::{Value, json};

use crate::rig::{Rig, uuid};

/// Returns what a client sees of a rule: a value that differs if the rule is broken; null for rules of the server.
fn observe(rule: Rule, rig: &mut Rig) -> Value {
    match rule {
        Rule::UniqueNames => {
            rig.create("pool", json!({"name": "p"}));
            json!(rig.try_create("pool", json!({"name": "p"})).is_ok())
        }
        Rule::ReferentialIntegrity => {
            let pool = uuid(&rig.create("pool", json!({"name": "p"})));
            rig.create("virtualservice", json!({"name": "v", "pool_ref": pool}));
            json!(rig.delete("pool", &pool).is_ok())
        }
        Rule::OptimisticLock => {
            let pool = uuid(&rig.create("pool", json!({"name": "p"})));
            json!(rig.put("pool", &pool, json!({"name": "p", "_last_modified": "1"})).is_ok())
        }
        Rule::Paging => {
            rig.create("tenant", json!({"name": "t"}));
            json!(rig.list("tenant", "page_size=1").get("next").is_some())
        }
        Rule::TenantScope => {
            let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
            rig.as_scope(Scope::Tenant(tenant), |rig| rig.create("pool", json!({"name": "p"})));
            rig.list("pool", "name=p")["count"].clone()
        }
        Rule::NameFilter => {
            rig.create("tenant", json!({"name": "t"}));
            rig.list("tenant", "name=t")["count"].clone()
        }
        Rule::PatchAdd | Rule::PatchDelete => {
            let pool = uuid(&rig.create("pool", json!({"name": "p", "list": [1, 2]})));
            let operation = if rule == Rule::PatchAdd { "add" } else { "delete" };
            rig.patch("pool", &pool, json!({operation: {"list": [2]}})).unwrap()["list"].clone()
        }
        Rule::VersionShape => {
            let made = rig.create("ipamdnsproviderprofile", json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_networks": []}}));
            let old =
                rig.as_version(Version(18, 2, 6), |rig| rig.get("ipamdnsproviderprofile", &uuid(&made), ""));
            json!(old.unwrap()["internal_profile"].get("usable_network_refs").is_some())
        }
        Rule::Slug => {
            let made = rig.store.create(&rig.caller, "pool", Some("pool-x"), json!({"name": "p"})).unwrap();
            json!(uuid(&made) == "pool-x")
        }
        Rule::PutReplaces => {
            let pool = uuid(&rig.create("pool", json!({"name": "p", "description": "d"})));
            json!(rig.put("pool", &pool, json!({"name": "p"})).unwrap().get("description").is_some())
        }
        _ => Value::Null,
    }
}

#[test]
fn a_broken_version_shape_affects_replies_only() {
    let mut rig = Rig::with(Rules::default().without(Rule::VersionShape), Assumptions::default());
    let profile = json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_networks": [
        {"nw_ref": "/api/network?name=n"}]}});
    rig.create("network", json!({"name": "n"}));
    let id = uuid(&rig.create("ipamdnsproviderprofile", profile));
    let patched = rig.as_version(Version(18, 2, 6), |rig| {
        rig.patch("ipamdnsproviderprofile", &id, json!({"add": {"allocate_ip_in_vrf": true}})).unwrap()
    });
    assert_eq!(patched["internal_profile"]["usable_networks"].as_array().unwrap().len(), 1, "{patched}");
}

#[test]
fn each_broken_rule_changes_its_own_observation_only() {
    let mut of_the_store = 0;
    for rule in Rule::ALL {
        let whole = observe(*rule, &mut Rig::new());
        if whole.is_null() {
            continue;
        }
        of_the_store += 1;
        let broken = observe(*rule, &mut Rig::with(Rules::default().without(*rule), Assumptions::default()));
        assert_ne!(whole, broken, "{rule:?}");
        for other in Rule::ALL.iter().filter(|other| *other != rule) {
            let rest =
                observe(*rule, &mut Rig::with(Rules::default().without(*other), Assumptions::default()));
            assert_eq!(rest, whole, "{rule:?} with {other:?} broken");
        }
    }
    assert_eq!(of_the_store, 11);
}
