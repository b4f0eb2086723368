//! The cost of lists, filters, pages and writes with 10,000 objects, measured in examined objects, not in time.

use serde_json::json;

use crate::rig::{Rig, text, uuid};

const MANY: u64 = 10_000;

/// Returns a rig with pools: every tenth has a virtual service, every hundredth another creator.
fn with_many_pools(many: u64) -> Rig {
    let mut rig = Rig::new();
    for n in 0..many {
        let by = if n % 100 == 0 { "ako-few" } else { "ako-most" };
        let pool = rig.create("pool", json!({"name": format!("p{n}"), "created_by": by}));
        if n % 10 == 0 {
            rig.create("virtualservice", json!({"name": format!("v{n}"), "pool_ref": text(&pool, "url")}));
        }
    }
    rig
}

/// Reads all pages. Returns the number of examined objects and of listed objects.
fn read_pages(rig: &Rig, kind: &str, query: &str) -> (u64, u64) {
    let before = rig.store.visited();
    let mut given = 0;
    let mut next = Some(query.to_owned());
    while let Some(query) = next {
        let page = rig.list(kind, &query);
        given += page["results"].as_array().unwrap().len() as u64;
        next = page.get("next").map(|next| next.as_str().unwrap().split_once('?').unwrap().1.to_owned());
    }
    (rig.store.visited() - before, given)
}

#[test]
fn the_query_determines_the_cost() {
    let mut rig = with_many_pools(MANY);
    let look = |rig: &Rig, kind: &str, query: &str| read_pages(rig, kind, query);
    assert_eq!(rig.store.visited(), 0, "writes examine no objects");
    assert_eq!(
        look(&rig, "pool", "page_size=100"),
        (2 * MANY, MANY),
        "a hundred pages: one search, and each object is listed once"
    );
    assert_eq!(look(&rig, "pool", "page_size=10"), (MANY, MANY), "a thousand pages of a cached list");
    assert_eq!(look(&rig, "pool", "page_size=100&created_by=ako-few"), (MANY + 100, 100));
    assert_eq!(look(&rig, "pool", "name=p77"), (2, 1), "found by the index");
    assert_eq!(look(&rig, "pool", "name=p77&created_by=ako-few"), (1, 0));
    assert_eq!(look(&rig, "pool", "name.in=p1,p2,p3"), (6, 3));
    assert_eq!(look(&rig, "pool", "name=none"), (0, 0));
    let pool = rig.uuid_of("pool", "p500");
    assert_eq!(look(&rig, "virtualservice", &format!("refers_to=pool:{pool}")), (2, 1));
    let service = rig.uuid_of("virtualservice", "v500");
    assert_eq!(look(&rig, "pool", &format!("referred_by=virtualservice:{service}")), (2, 1));
    let before = rig.store.visited();
    assert_eq!(rig.delete("pool", &pool).unwrap_err().status, 403);
    rig.delete("virtualservice", &service).unwrap();
    rig.delete("pool", &pool).unwrap();
    assert_eq!(rig.store.visited(), before, "deletes examine no objects");
    assert!(rig.store.check().iter().all(|fault| fault.contains("orphan")));
}

#[test]
fn the_cost_grows_linearly() {
    let (small, large) = (with_many_pools(500), with_many_pools(1000));
    for query in [
        "page_size=50",
        "page_size=50&created_by=ako-most",
        "page_size=50&sort=-name",
        "page_size=50&name.contains=p",
    ] {
        let (few, given_few) = read_pages(&small, "pool", query);
        let (many, given_many) = read_pages(&large, "pool", query);
        assert_eq!((few * 2, given_few * 2), (many, given_many), "{query}");
    }
}

#[test]
fn deletes_use_the_index() {
    let mut rig = with_many_pools(2000);
    let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
    let refused = rig.delete("cloud", &rig.uuid_of("cloud", "Default-Cloud")).unwrap_err();
    assert_eq!(refused.status, 403);
    rig.delete("tenant", &tenant).unwrap();
    let group = rig.uuid_of("serviceenginegroup", "Default-Group");
    let before = rig.store.visited();
    let list = rig.list("virtualservice", &format!("refers_to=serviceenginegroup:{group}&page_size=200"));
    assert_eq!(list["count"], 200);
    assert_eq!(rig.store.visited() - before, 400);
}
