//! Races between own writes, watch events and lists, played one by one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn object(name: &str, uid: &str, version: u64) -> Guarded<ConfigMap> {
    let metadata = json!({
        "name": name, "namespace": "n", "uid": uid, "resourceVersion": version.to_string(),
        "labels": { "app": uid },
    });
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}

fn version(cache: &Cache<ConfigMap>, name: &str) -> Option<u64> {
    cache.get(&Key::new("n", name)).as_ref().and_then(version_of)
}

/// Returns a cache, and what its subscriber was called with: UID and version before and after.
fn recorded() -> (Cache<ConfigMap>, Arc<Mutex<Vec<String>>>) {
    let (cache, calls) = (Cache::default(), Arc::new(Mutex::new(vec![])));
    let record = Arc::clone(&calls);
    cache.subscribe(move |change: &Change<ConfigMap>| {
        let text = |object: &Option<Guarded<ConfigMap>>| {
            object.as_ref().map_or("-".to_owned(), |object| {
                format!("{}@{}", uid_of(object), version_of(object).unwrap_or_default())
            })
        };
        record.lock().unwrap().push(format!("{} {}", text(&change.before), text(&change.after)));
    });
    (cache, calls)
}

fn take(calls: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *calls.lock().unwrap())
}

#[test]
fn an_own_write_is_read_at_once_and_not_undone_by_an_older_event() {
    let (cache, calls) = recorded();
    cache.listed(None, vec![object("a", "1", 10)]);
    cache.wrote(object("a", "1", 12));
    cache.watched(object("a", "1", 11));
    assert_eq!(version(&cache, "a"), Some(12));
    cache.watched(object("a", "1", 12));
    cache.watched(object("a", "1", 13));
    assert_eq!(version(&cache, "a"), Some(13));
    assert_eq!(take(&calls), ["- 1@10", "1@10 1@12", "1@12 1@13"], "the echo of an own write is no change");
}

#[test]
fn a_created_object_survives_a_list_that_is_older() {
    let (cache, _) = recorded();
    cache.wrote(object("new", "1", 20));
    cache.listed(None, vec![]);
    assert_eq!(version(&cache, "new"), Some(20));
    cache.watched(object("new", "1", 20));
    cache.listed(None, vec![]);
    assert_eq!(version(&cache, "new"), None, "once the watch has shown it, a list without it counts");
}

#[test]
fn late_events_do_not_bring_back_what_was_seen_to_its_end() {
    let (cache, calls) = recorded();
    cache.listed(None, vec![object("a", "1", 10)]);
    cache.removed(&Key::new("n", "a"), "1");
    cache.watched(object("a", "1", 11));
    cache.listed(None, vec![object("a", "1", 11)]);
    assert!(cache.is_empty());
    cache.watched(object("a", "2", 12));
    cache.deleted(&object("a", "1", 11));
    assert_eq!(version(&cache, "a"), Some(12), "a successor is another object");
    assert_eq!(take(&calls), ["- 1@10", "1@10 -", "- 2@12"]);
}

/// Two writes of one object by this process overtake each other: the object ends, and the response to the DELETE comes last.
#[test]
fn a_late_response_does_not_bring_back_what_is_gone() {
    for by_watch in [false, true] {
        let (cache, _) = recorded();
        cache.listed(None, vec![object("a", "1", 10)]);
        if !by_watch {
            cache.removed(&Key::new("n", "a"), "1");
        }
        cache.deleted(&object("a", "1", 12));
        cache.wrote(object("a", "1", 11));
        assert!(cache.is_empty());
    }
}

#[test]
fn what_is_gone_is_remembered_for_the_lag() {
    let (mut removed, now) = (Removed::default(), Instant::now());
    removed.insert("a", now);
    removed.insert("b", now + LAG / 2);
    assert!(removed.contains("a", now + LAG / 2) && !removed.contains("a", now + LAG));
    removed.insert("c", now + LAG);
    assert_eq!((removed.since.len(), removed.order.len()), (2, 2), "a is forgotten");
}

#[test]
fn a_restored_api_server_is_believed_although_its_versions_are_lower() {
    let (cache, _) = recorded();
    cache.listed(None, vec![object("a", "1", 5000)]);
    cache.listed(None, vec![object("a", "1", 3000)]);
    assert_eq!(version(&cache, "a"), Some(3000));
}

#[test]
fn an_unconfirmed_write_is_given_up_after_the_lag() {
    let mut state = State {
        objects: HashMap::new(),
        invalid: HashSet::new(),
        written: HashMap::new(),
        removed: Removed::default(),
        indexes: vec![],
    };
    let now = Instant::now();
    state.wrote(object("a", "1", 5000), now);
    assert!(state.watched(object("a", "1", 3000), now).is_empty());
    assert_eq!(state.watched(object("a", "1", 3000), now + LAG).len(), 1);
    state.wrote(object("b", "2", 5001), now);
    state.listed(None, vec![], now + LAG);
    assert!(state.objects.is_empty());
}

#[test]
fn a_list_reports_what_vanished_and_what_was_recreated() {
    let (cache, calls) = recorded();
    cache.listed(None, vec![object("same", "1", 1), object("vanished", "2", 2), object("recreated", "3", 3)]);
    take(&calls);
    cache.listed(None, vec![object("same", "1", 1), object("recreated", "4", 4)]);
    let mut calls = take(&calls);
    calls.sort();
    assert_eq!(calls, ["- 4@4", "2@2 -", "3@3 -"]);
}

#[test]
fn a_list_of_one_namespace_leaves_the_others() {
    let (cache, _) = recorded();
    cache.listed(Some("n"), vec![object("a", "1", 1)]);
    cache.listed(Some("other"), vec![]);
    assert_eq!(cache.len(), 1);
    cache.listed(Some("n"), vec![]);
    assert!(cache.is_empty());
}

fn by_label(cache: &Cache<ConfigMap>) -> Index<ConfigMap, String> {
    cache.index(|object| object.metadata.labels.as_ref().and_then(|labels| labels.get("app").cloned()))
}

#[test]
fn an_index_follows_its_objects() {
    let (cache, _) = recorded();
    cache.listed(None, vec![object("early", "x", 1)]);
    let index = by_label(&cache);
    cache.watched(object("a", "x", 2));
    cache.watched(object("b", "y", 3));
    assert_eq!(index.get(&"x".to_owned()).len(), 2);
    assert_eq!(index.keys(&"y".to_owned()), [Key::new("n", "b")]);
    cache.watched(object("a", "z", 4));
    cache.deleted(&object("early", "x", 1));
    assert!(!index.contains(&"x".to_owned()) && index.contains(&"z".to_owned()));
}

proptest! {
    /// Whatever happens, an index finds exactly the objects that have its key.
    #[test]
    fn an_index_equals_a_scan(steps in prop::collection::vec((0..4u8, 0..3usize, 0..3usize), 1..60)) {
        let (names, uids) = (["a", "b", "c"], ["x", "y", "z"]);
        let (cache, _) = recorded();
        let index = by_label(&cache);
        for (version, (step, name, uid)) in (1..).zip(steps) {
            let object = object(names[name], uids[uid], version);
            match step {
                0 => cache.watched(object),
                1 => drop(cache.wrote(object)),
                2 => cache.deleted(&object),
                _ => cache.listed(None, vec![object]),
            }
            for uid in uids {
                let mut found: Vec<_> = index.get(&uid.to_owned()).iter().map(|o| Key::of(&**o)).collect();
                let mut wanted: Vec<_> =
                    cache.all().iter().filter(|o| o.metadata.uid.as_deref() == Some(uid)).map(|o| Key::of(&**o)).collect();
                found.sort();
                wanted.sort();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}

/// Whatever way an object comes in.
#[test]
fn a_lean_cache_keeps_no_labels() {
    let labelled = |name: &str| {
        let labels: BTreeMap<_, _> = (0..500).map(|n| (format!("label-{n}"), "x".repeat(100))).collect();
        let metadata =
            json!({"name": name, "namespace": "n", "uid": "1", "resourceVersion": "1", "labels": labels});
        serde_json::from_value::<Guarded<ConfigMap>>(json!({ "metadata": metadata })).unwrap()
    };
    let (full, lean) = (Cache::<ConfigMap>::default(), Cache::<ConfigMap>::default());
    lean.keep_only(Keep::Lean);
    for cache in [&full, &lean] {
        cache.wrote(labelled("a"));
        cache.watched(labelled("b"));
        cache.listed(None, vec![cache.bounded(labelled("c"))]);
    }
    let all =
        |cache: &Cache<ConfigMap>| cache.keys().iter().map(|key| cache.get(key).unwrap()).collect::<Vec<_>>();
    assert!(
        all(&full).iter().all(|object| object.object().is_err())
            && full.bounded(labelled("d")).valid().is_none()
    );
    assert!(all(&lean).iter().all(|object| object.valid().unwrap().metadata.labels.is_none()));
    assert!(lean.bounded(labelled("d")).meta().labels.is_none());
}

#[test]
fn objects_that_do_not_parse_are_found() {
    let (cache, _) = recorded();
    let bad = |version: u64| {
        let mut value = json!({"metadata": object("a", "1", version).meta()});
        value["data"] = json!({"key": []});
        serde_json::from_value::<Guarded<ConfigMap>>(value).unwrap()
    };
    cache.listed(None, vec![bad(1), object("b", "2", 2)]);
    let invalid = |cache: &Cache<ConfigMap>| cache.invalid().iter().map(Key::of).collect::<Vec<_>>();
    assert_eq!(invalid(&cache), [Key::new("n", "a")]);
    cache.watched(object("a", "1", 3));
    assert_eq!(invalid(&cache), []);
    cache.watched(bad(4));
    cache.deleted(&bad(4));
    assert_eq!(invalid(&cache), []);
}
