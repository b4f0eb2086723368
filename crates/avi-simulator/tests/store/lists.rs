//! Lists: filters, the form of replies, order and pages.

use avi_simulator::store::Query;
use avi_simulator::{Assumptions, Rules};
use proptest::prelude::*;
use serde_json::json;

use crate::rig::{BASE, Rig, text, uuid};

fn with_pools(names: &[&str]) -> Rig {
    let mut rig = Rig::new();
    for (at, name) in names.iter().enumerate() {
        let by = if at % 2 == 0 { "ako-a" } else { "ako-b" };
        rig.create("pool", json!({"name": name, "created_by": by, "default_server_port": 100 - at}));
    }
    rig
}

/// Returns a rig with four pools and two objects with labels.
fn with_labelled_objects() -> Rig {
    let mut rig = with_pools(&["web", "web 2", "db", "a&b=c"]);
    rig.create("stringgroup", json!({"name": "marked", "type": "SG_TYPE_STRING",
        "markers": [{"key": "created_by", "values": ["ako-x"]}, {"key": "clustername", "values": ["c1", "c2"]}]}));
    rig.create(
        "serviceenginegroup",
        json!({"name": "labelled", "labels": [{"key": "clustername", "value": "c1"}]}),
    );
    rig
}

#[test]
fn filters_select() {
    let mut rig = with_labelled_objects();
    let default_cloud = rig.uuid_of("cloud", "Default-Cloud");
    let global = rig.uuid_of("vrfcontext", "global");
    let group = rig.uuid_of("serviceenginegroup", "Default-Group");
    let web = rig.uuid_of("pool", "web");
    let service =
        uuid(&rig.create("virtualservice", json!({"name": "vs", "pool_ref": format!("/api/pool/{web}")})));
    for (kind, query, expected) in [
        ("pool", "", vec!["web", "web 2", "db", "a&b=c"]),
        ("pool", "name=web", vec!["web"]),
        ("pool", "name=web+2", vec!["web 2"]),
        ("pool", "name=web%202", vec!["web 2"]),
        ("pool", "name=a%26b%3Dc", vec!["a&b=c"]),
        ("pool", "name=WEB", vec![]),
        ("pool", "name=", vec![]),
        ("pool", "name.in=db,nothing,web", vec!["db", "web"]),
        ("pool", "name.contains=eb", vec!["web", "web 2"]),
        ("pool", "name.contains=", vec!["web", "web 2", "db", "a&b=c"]),
        ("pool", "name=web&created_by=ako-b", vec![]),
        ("pool", "created_by=ako-b", vec!["web 2", "a&b=c"]),
        ("pool", "&&include_name=true&created_by=ako-a&", vec!["web", "db"]),
        ("pool", "cloud_ref.name=Default-Cloud&name=db", vec!["db"]),
        ("pool", "cloud_ref.name=Other", vec![]),
        ("pool", "cloud=Default-Cloud&name=db", vec!["db"]),
        ("pool", "cloud=Other", vec![]),
        ("pool", &format!("cloud_ref.uuid={default_cloud}&name=db"), vec!["db"]),
        ("pool", &format!("vrf_ref.uuid={global}&name=db"), vec!["db"]),
        ("pool", "vrf_ref.name=global&name=db", vec!["db"]),
        ("pool", "vrf_ref.name=management", vec![]),
        ("pool", "default_server_port=98", vec!["db"]),
        ("pool", "enabled=True&name=db", vec!["db"]),
        ("pool", "no_such_field=1", vec![]),
        ("pool", &format!("uuid={web}"), vec!["web"]),
        ("pool", &format!("referred_by=virtualservice:{service}"), vec!["web"]),
        ("virtualservice", &format!("refers_to=pool:{web}"), vec!["vs"]),
        ("virtualservice", &format!("refers_to=Pool:{web}"), vec!["vs"]),
        ("virtualservice", "refers_to=pool:pool-none", vec![]),
        (
            "virtualservice",
            &format!("se_group_ref.name=Default-Group&refers_to=serviceenginegroup:{group}"),
            vec!["vs"],
        ),
        ("stringgroup", "label_key=created_by&label_value=ako-x", vec!["marked"]),
        ("stringgroup", "label_key=clustername&label_value=c2", vec!["marked"]),
        ("stringgroup", "label_key=clustername&label_value=c3", vec![]),
        ("stringgroup", "label_key=clustername", vec!["marked"]),
        ("serviceenginegroup", "label_key=clustername&label_value=c1", vec!["labelled"]),
        // Objects of a kind without clouds are in no cloud.
        ("pkiprofile", "cloud_ref.name=Default-Cloud", vec![]),
        ("tenant", "cloud_ref.uuid=x", vec![]),
        ("tenant", "", vec!["admin"]),
    ] {
        let mut names = rig.names(kind, query);
        if query.starts_with("name.in") {
            names.sort();
        }
        assert_eq!(names, expected, "{kind}?{query}");
    }
}

#[test]
fn an_empty_list_is_a_list_and_an_unknown_kind_is_404() {
    let rig = with_pools(&["web"]);
    assert_eq!(rig.list("pool", "name=none")["count"], 0, "an empty list is not an error");
    assert_eq!(rig.try_list("nonsense", "").unwrap_err().status, 404);
    assert_eq!(
        rig.try_list("vimgrhostruntime", "").unwrap_err().status,
        404,
        "a foreign kind cannot be listed"
    );
}

#[test]
fn service_accounts_are_listed_on_request() {
    let mut rig = Rig::new();
    rig.create("user", json!({"name": "svc", "service_user": true}));
    assert_eq!(rig.list("user", "name=svc")["count"], 0);
    let found = rig.list("user", "name=svc&include_service_accounts=true&fields=uuid");
    let fields: Vec<&String> = found["results"][0].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["url", "uuid"]);
}

#[test]
fn replies_have_the_requested_form() {
    let mut rig = Rig::new();
    let made = rig.create("pool", json!({"name": "p one", "x_unknown": {"kept": [1]}}));
    let pool = uuid(&made);
    assert_eq!(text(&made, "url"), format!("{BASE}/api/pool/{pool}#p one"), "the reply to a write has names");
    assert!(text(&made, "cloud_ref").ends_with("#Default-Cloud"));
    assert_eq!(made["x_unknown"], json!({"kept": [1]}));
    assert!(text(&made, "_last_modified").parse::<u64>().is_ok());
    let plain = rig.get("pool", &pool, "").unwrap();
    assert_eq!(text(&plain, "url"), format!("{BASE}/api/pool/{pool}"));
    assert_eq!(text(&plain, "tenant_ref"), format!("{BASE}/api/tenant/admin"));
    for query in ["include_name", "include_name=", "include_name=true", "include_name=True"] {
        assert_eq!(
            text(&rig.get("pool", &pool, query).unwrap(), "tenant_ref"),
            format!("{BASE}/api/tenant/admin#admin")
        );
    }
    assert!(!text(&rig.get("pool", &pool, "include_name=false").unwrap(), "url").contains('#'));
    let few = rig.get("pool", &pool, "fields=name,cloud_ref").unwrap();
    assert_eq!(few.as_object().unwrap().keys().collect::<Vec<_>>(), ["cloud_ref", "name", "url", "uuid"]);
    assert_eq!(rig.get("pool", &pool, "").unwrap()["default_server_port"], 80);
    let short = rig.get("pool", &pool, "skip_default=true").unwrap();
    assert!(short.get("default_server_port").is_none() && short.get("name").is_some());
    let tenant = rig.get("tenant", "admin", "skip_default=true").unwrap();
    assert!(tenant.get("config_settings").is_none(), "{tenant}");
}

#[test]
fn join_subresources_adds_the_runtime_state() {
    let mut rig = Rig::new();
    let vs = uuid(&rig.create("virtualservice", json!({"name": "v", "enabled": false})));
    assert!(rig.get("virtualservice", &vs, "").unwrap().get("runtime").is_none());
    let joined = rig.get("virtualservice", &vs, "join_subresources=runtime").unwrap();
    assert_eq!(joined["runtime"]["oper_status"]["state"], "OPER_DISABLED");
}

#[test]
fn a_singleton_is_read_at_its_kind() {
    let mut rig = Rig::new();
    assert!(text(&rig.list("cluster", ""), "uuid").starts_with("cluster-"));
    assert_eq!(rig.list("systemconfiguration", "")["default_license_tier"], "ENTERPRISE");
    let reply = rig
        .patch("systemconfiguration", "", json!({"replace": {"default_license_tier": "ESSENTIALS"}}))
        .unwrap();
    assert_eq!(reply["default_license_tier"], "ESSENTIALS");
    assert_eq!(rig.get("systemconfiguration", "anything", "").unwrap()["default_license_tier"], "ESSENTIALS");
    assert_eq!(
        rig.try_create("cluster", json!({"name": "c"})).unwrap_err().text(),
        "Method 'POST' not allowed."
    );
    assert_eq!(rig.delete("cluster", "x").unwrap_err().status, 405);
}

#[test]
fn lists_are_in_creation_order_or_sorted() {
    let rig = with_pools(&["b", "a", "c"]);
    assert_eq!(rig.names("pool", ""), ["b", "a", "c"]);
    assert_eq!(rig.names("pool", "sort=name"), ["a", "b", "c"]);
    assert_eq!(rig.names("pool", "sort=%2Bname"), ["a", "b", "c"]);
    assert_eq!(rig.names("pool", "sort=+name"), ["a", "b", "c"]);
    assert_eq!(rig.names("pool", "sort=-name"), ["c", "b", "a"]);
    assert_eq!(rig.names("pool", "sort=default_server_port"), ["c", "a", "b"]);
    assert_eq!(rig.names("pool", "sort=created_by,-name"), ["c", "b", "a"]);
}

#[test]
fn pages_have_a_next_that_repeats_the_query() {
    let names: Vec<String> = (0..60).map(|n| format!("p{n:02}")).collect();
    let rig = with_pools(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let first =
        rig.list("pool", "name.contains=p&include_name&cloud_ref.name=Default-Cloud&created_by=ako-a");
    assert_eq!(first["count"], 30);
    assert_eq!(first["results"].as_array().unwrap().len(), 25, "the default page size");
    let next = format!(
        "{BASE}/api/pool?name.contains=p&include_name&cloud_ref.name=Default-Cloud&created_by=ako-a&page=2"
    );
    assert_eq!(text(&first, "next"), next);
    let last = rig.list("pool", next.split_once('?').unwrap().1);
    assert_eq!(last["results"].as_array().unwrap().len(), 5);
    assert!(last.get("next").is_none());
    assert_eq!(rig.list("pool", "page_size=60").get("next"), None, "one page has no next");
    assert_eq!(
        rig.list("pool", "page_size=100000")["results"].as_array().unwrap().len(),
        60,
        "200 is the maximum"
    );
    assert_eq!(rig.try_list("pool", "page=4").unwrap_err().status, 404);
    assert_eq!(rig.list("pool", "name=none&page=1")["count"], 0);
    for wrong in ["page=0", "page=x", "page=-1", "page_size=0", "page_size=", "page=99999999999999999999"] {
        assert_eq!(rig.try_list("pool", wrong).unwrap_err().status, 400, "{wrong}");
    }
    let lenient =
        Rig::with(Rules::default(), Assumptions { page_after_last_is_404: false, ..Assumptions::default() });
    assert_eq!(lenient.list("tenant", "page=9")["results"], json!([]));
}

#[test]
fn a_page_after_a_write_is_current() {
    let mut rig = with_pools(&["a", "b", "c", "d"]);
    assert_eq!(rig.names("pool", "page_size=2"), ["a", "b"]);
    let b = rig.uuid_of("pool", "b");
    rig.delete("pool", &b).unwrap();
    assert_eq!(rig.names("pool", "page_size=2&page=2"), ["d"]);
    let d = rig.uuid_of("pool", "d");
    rig.patch("pool", &d, json!({"replace": {"name": "z"}})).unwrap();
    assert_eq!(rig.names("pool", "page_size=2&page=2"), ["z"]);
}

#[test]
fn filters_by_name_of_a_ref_follow_its_changes() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "c1", "vtype": "CLOUD_NONE"})));
    rig.create("pool", json!({"name": "p", "cloud_ref": format!("/api/cloud/{cloud}")}));
    assert_eq!(rig.names("pool", "cloud_ref.name=c1"), ["p"]);
    rig.patch("cloud", &cloud, json!({"replace": {"name": "c2"}})).unwrap();
    assert!(rig.names("pool", "cloud_ref.name=c1").is_empty());
    assert_eq!(rig.names("pool", "cloud_ref.name=c2"), ["p"]);
}

#[test]
fn lists_from_an_index_keep_the_order_without_duplicates() {
    let mut rig = Rig::new();
    rig.create("user", json!({"name": "Full Name", "username": "login"}));
    assert_eq!(rig.list("user", "name.in=login,Full+Name,login")["count"], 1);
    let group = rig.uuid_of("serviceenginegroup", "Default-Group");
    let names: Vec<String> = (0..30).map(|n| format!("v{n:02}")).collect();
    for name in &names {
        rig.create("virtualservice", json!({"name": name}));
    }
    assert_eq!(rig.names("virtualservice", "name.in=v07,v03,v05,v03"), ["v03", "v05", "v07"]);
    assert_eq!(
        rig.names("virtualservice", &format!("refers_to=serviceenginegroup:{group}&page_size=200")),
        names
    );
    let pools: Vec<String> = names
        .iter()
        .map(|name| text(&rig.create("poolgroup", json!({"name": name})), "url").to_owned())
        .collect();
    let members: Vec<serde_json::Value> =
        pools.iter().rev().map(|url| json!({"poolgroup_ref": url})).collect();
    let set = uuid(&rig.create("httppolicyset", json!({"name": "h", "x": members})));
    assert_eq!(rig.names("poolgroup", &format!("referred_by=httppolicyset:{set}&page_size=200")), names);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn pages_cover_every_object_once_in_order(count in 0_usize..80, size in 1_usize..30, filtered: bool, sorted: bool) {
        let names: Vec<String> = (0..count).map(|n| format!("p{:03}", (n * 37) % 101)).collect();
        let rig = with_pools(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let query = format!("{}{}", if filtered { "created_by=ako-a&" } else { "" }, if sorted { "sort=-name&" } else { "" });
        let mut whole: Vec<String> = names.iter().enumerate().filter(|(at, _)| !filtered || at % 2 == 0).map(|(_, n)| n.clone()).collect();
        if sorted {
            whole.sort();
            whole.reverse();
        }
        let mut seen = Vec::new();
        let mut next = Some(format!("{query}page_size={size}"));
        let mut pages = 0;
        while let Some(query) = next {
            let page = rig.list("pool", &query);
            prop_assert_eq!(&page["count"], &json!(whole.len()));
            seen.extend(page["results"].as_array().unwrap().iter().map(|one| text(one, "name").to_owned()));
            next = page.get("next").map(|next| next.as_str().unwrap().split_once('?').unwrap().1.to_owned());
            pages += 1;
        }
        prop_assert_eq!(seen, whole);
        prop_assert!(pages <= 80 / size + 1);
    }

    #[test]
    fn next_repeats_the_query(name in "\\PC{0,12}", value in "\\PC{0,12}", bare: bool) {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let raw = format!("name={}&{}={}&include_name{}&page=3", encode(&name), encode("x_y"), encode(&value), if bare { "" } else { "=true" });
        let first = Query::parse(&raw).unwrap();
        let again = Query::parse(&first.at_page(3)).unwrap();
        prop_assert_eq!(&again, &first);
        prop_assert_eq!(Query::parse(&again.at_page(4)).unwrap().page, 4);
    }
}
