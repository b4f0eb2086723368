//! How the metadata of an object has to change. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};

/// Returns the changes of labels, annotations and owners. Those of others stay.
#[must_use]
pub(crate) fn change_metadata(live: &ObjectMeta, wanted: &ObjectMeta) -> Map<String, Value> {
    let mut change = Map::new();
    for (member, live, wanted) in
        [("labels", &live.labels, &wanted.labels), ("annotations", &live.annotations, &wanted.annotations)]
    {
        let has = |key: &str, value| live.as_ref().and_then(|live| live.get(key)) == Some(value);
        let missing: BTreeMap<_, _> =
            wanted.iter().flatten().filter(|(key, value)| !has(key, value)).collect();
        if !missing.is_empty() {
            change.insert(member.to_owned(), json!(missing));
        }
    }
    let owners = live.owner_references.clone().unwrap_or_default();
    let is_missing = |owner: &&OwnerReference| owners.iter().all(|known| known.uid != owner.uid);
    let missing: Vec<_> = wanted.owner_references.iter().flatten().filter(is_missing).collect();
    if !missing.is_empty() {
        // An owner of the same name is an earlier one.
        let is_earlier = |known: &&OwnerReference| {
            missing.iter().any(|new| new.kind == known.kind && new.name == known.name)
        };
        let kept = owners.iter().filter(|known| !is_earlier(known));
        change.insert(
            "ownerReferences".to_owned(),
            json!(kept.chain(missing.iter().copied()).collect::<Vec<_>>()),
        );
    }
    change
}
