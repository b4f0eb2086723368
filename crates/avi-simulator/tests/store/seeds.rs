//! Seeds, snapshots and the consistency check.

use avi_simulator::{Assumptions, Rule, Rules};
use serde_json::json;

use crate::rig::{Rig, text, uuid};

fn inventory() -> serde_json::Value {
    json!({
        "virtualservice": [{"name": "vs", "tenant": "blue", "cloud_ref": "/api/cloud?name=vc", "pool_ref": "/api/pool?name=p"}],
        "pool": [{"name": "p", "tenant": "blue", "cloud_ref": "/api/cloud?name=vc"}],
        "cloud": [{"name": "vc", "vtype": "CLOUD_VCENTER", "ipam_provider_ref": "/api/ipamdnsproviderprofile?name=ipam"}],
        "ipamdnsproviderprofile": [{"name": "ipam", "type": "IPAMDNS_TYPE_INTERNAL",
            "internal_profile": {"usable_networks": [{"nw_ref": "/api/network/network-seeded"}]}}],
        "network": [{"uuid": "network-seeded", "name": "net", "cloud_ref": "/api/cloud?name=vc"}, {"name": "twin"}, {"name": "twin"}],
        "tenant": [{"name": "blue"}],
        "systemconfiguration": {"default_license_tier": "ESSENTIALS"},
    })
}

#[test]
fn seeds_may_be_in_any_order_and_cyclic() {
    let mut rig = Rig::new();
    let made = rig.store.seed(inventory(), 1).unwrap();
    assert_eq!(made.iter().filter(|made| made.kind == "network").count(), 3);
    let cloud = rig.get("cloud", &rig.uuid_of("cloud", "vc"), "include_name").unwrap();
    assert!(text(&cloud, "ipam_provider_ref").ends_with("#ipam"));
    assert_eq!(rig.list("network", "name=twin")["count"], 2);
    assert_eq!(rig.list("network", "name=net")["count"], 1);
    assert_eq!(
        rig.list("vrfcontext", "cloud_ref.name=vc")["count"],
        2,
        "a seeded cloud has its built-in objects"
    );
    assert_eq!(rig.list("systemconfiguration", "")["default_license_tier"], "ESSENTIALS");
    let blue = rig.uuid_of("tenant", "blue");
    let service = rig.as_tenant(&blue, |rig| rig.list("virtualservice", "name=vs&include_name"));
    assert!(text(&service["results"][0], "pool_ref").ends_with("#p"));
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
    rig.store.seed(json!({"tenant": [{"name": "blue", "description": "d"}]}), 2).unwrap();
    let tenant = rig.get("tenant", &blue, "").unwrap();
    assert_eq!(
        (&tenant["description"], &tenant["name"]),
        (&json!("d"), &json!("blue")),
        "the existing object gets the fields"
    );
}

#[test]
fn invalid_seeds_are_refused() {
    for (seed, text) in [
        (json!([]), "Invalid seed"),
        (json!({"pools": []}), "no object type 'pools'"),
        (json!({"pool": {"name": "p"}}), "must be a list"),
        (json!({"pool": ["p"]}), "is not an object"),
        (json!({"pool": [{"name": "p", "tenant": "none"}]}), "Pool p: Tenant object not found!"),
        (
            json!({"pool": [{"name": "p", "ssl_profile_ref": "/api/sslprofile?name=none"}]}),
            "Pool p: SSLProfile object not found!",
        ),
        (json!({"cloud": [{"name": "c"}]}), "vtype"),
    ] {
        let error = Rig::new().store.seed(seed.clone(), 1).unwrap_err();
        assert!(error.text().contains(text), "{seed}: {}", error.text());
    }
    assert!(Rig::new().store.seed(json!(null), 1).unwrap().is_empty());
}

#[test]
fn a_diff_lists_added_removed_and_changed_objects() {
    let mut rig = Rig::new();
    let stays = uuid(&rig.create("pool", json!({"name": "stays", "description": "a"})));
    let goes = uuid(&rig.create("pool", json!({"name": "goes"})));
    let touched = uuid(&rig.create("pool", json!({"name": "touched"})));
    let before = rig.store.snapshot();
    assert!(rig.store.diff(&before).is_empty());
    rig.patch("pool", &stays, json!({"replace": {"description": "b"}, "add": {"new": 1}})).unwrap();
    rig.patch("pool", &touched, json!({"replace": {"name": "touched"}})).unwrap();
    rig.delete("pool", &goes).unwrap();
    let came = uuid(&rig.create("pool", json!({"name": "came"})));
    let diff = rig.store.diff(&before);
    let shown = serde_json::to_value(&diff).unwrap();
    assert_eq!(
        shown,
        json!({
            "added": [{"kind": "pool", "uuid": came, "name": "came"}],
            "removed": [{"kind": "pool", "uuid": goes, "name": "goes"}],
            "changed": [{"kind": "pool", "uuid": stays, "name": "stays", "fields": ["description", "new"]}],
        })
    );
}

#[test]
fn the_check_finds_orphans_and_dangling_refs() {
    let mut rig = Rig::with(Rules::default().without(Rule::ReferentialIntegrity), Assumptions::default());
    let pool = uuid(&rig.create("pool", json!({"name": "p", "created_by": "ako-c"})));
    rig.create("pool", json!({"name": "made by hand"}));
    assert_eq!(rig.store.check().len(), 1);
    assert!(rig.store.check()[0].contains("Pool p") && rig.store.check()[0].contains("orphan"));
    rig.create("virtualservice", json!({"name": "v", "pool_ref": format!("/api/pool/{pool}")}));
    assert!(rig.store.check().is_empty());
    rig.delete("pool", &pool).unwrap();
    assert_eq!(
        rig.store.check(),
        [format!("VirtualService v refers to /api/pool/{pool}, which does not exist")]
    );
    rig.create("vsvip", json!({"name": "x", "markers": [{"key": "clustername", "values": ["c"]}]}));
    assert_eq!(rig.store.check().len(), 2, "markers make an orphan like created_by");
}
