//! Random valid and invalid writes: after each the store is consistent, and a refused one changes nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rig::{Rig, uuid};

#[derive(Debug, Clone)]
enum Step {
    Create(usize, u8, u8),
    Replace(usize, u8, u8),
    Add(usize, u8),
    Remove(usize, u8),
    Delete(usize),
}

/// Kinds that refer to each other in a chain, with the field of the ref.
const CHAIN: &[(&str, &str)] = &[
    ("healthmonitor", "x_ref"),
    ("pool", "health_monitor_refs"),
    ("poolgroup", "members"),
    ("virtualservice", "pool_group_ref"),
];

fn step() -> impl Strategy<Value = Step> {
    let at = 0_usize..40;
    prop_oneof![
        3 => (0..CHAIN.len(), 0..12_u8, 0..12_u8).prop_map(|(kind, name, to)| Step::Create(kind, name, to)),
        1 => (at.clone(), 0..12_u8, 0..12_u8).prop_map(|(at, name, to)| Step::Replace(at, name, to)),
        1 => (at.clone(), 0..12_u8).prop_map(|(at, to)| Step::Add(at, to)),
        1 => (at.clone(), 0..12_u8).prop_map(|(at, to)| Step::Remove(at, to)),
        2 => at.prop_map(Step::Delete),
    ]
}

fn body(kind: usize, name: u8, to: u8) -> Value {
    let mut body = json!({"name": format!("n{name}"), "type": "HEALTH_MONITOR_TCP"});
    if kind > 0 {
        body[CHAIN[kind].1] = ref_value(kind, to);
    }
    body
}

/// Returns the value of the field with the ref.
fn ref_value(kind: usize, to: u8) -> Value {
    let text = format!("/api/{}?name=n{to}", CHAIN[kind - 1].0);
    match CHAIN[kind].1 {
        "health_monitor_refs" => json!([text]),
        "members" => json!([{"pool_ref": text}]),
        _ => json!(text),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_write_leaves_the_store_consistent(steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new();
        let mut there: Vec<(usize, String)> = Vec::new();
        for step in steps {
            let before = rig.store.snapshot();
            let pick = |at: usize| there.get(at % there.len().max(1)).cloned();
            let done = match &step {
                Step::Create(kind, name, to) => rig.try_create(CHAIN[*kind].0, body(*kind, *name, *to)).map(|made| {
                    there.push((*kind, uuid(&made)));
                }),
                Step::Replace(at, name, to) => match pick(*at) {
                    Some((kind, id)) => rig.put(CHAIN[kind].0, &id, body(kind, *name, *to)).map(drop),
                    None => continue,
                },
                Step::Add(at, to) | Step::Remove(at, to) => match pick(*at) {
                    Some((kind, id)) if kind > 0 => {
                        let operation = if matches!(step, Step::Add(..)) { "add" } else { "delete" };
                        rig.patch(CHAIN[kind].0, &id, json!({operation: {CHAIN[kind].1: ref_value(kind, *to)}})).map(drop)
                    }
                    _ => continue,
                },
                Step::Delete(at) => match pick(*at) {
                    Some((kind, id)) => rig.delete(CHAIN[kind].0, &id).map(|()| there.retain(|(_, other)| *other != id)),
                    None => continue,
                },
            };
            if let Err(error) = done {
                prop_assert!(matches!(error.status, 400 | 403 | 409), "{step:?}: {error:?}");
                prop_assert!(rig.store.diff(&before).is_empty(), "{step:?} was refused but changed something");
            }
            prop_assert_eq!(rig.store.check(), Vec::<String>::new());
            for (kind, _) in CHAIN {
                let all = rig.list(kind, "page_size=200");
                let raw = rig.store.objects(kind).count();
                prop_assert_eq!(&all["count"], &json!(raw));
            }
        }
        // All objects can be deleted, the referring ones first.
        there.sort_by_key(|(kind, _)| std::cmp::Reverse(*kind));
        for (kind, id) in there {
            prop_assert!(rig.delete(CHAIN[kind].0, &id).is_ok());
        }
    }
}
