//! The driver's finalizer: put on before anything is made, taken off when all is gone.
//!
//! Owns two JSON patches, each bound to the object's UID and to the list it was computed from, so that neither a
//! recreated object nor another's finalizer is ever touched. Never decides when.

use kube::{
    Client, Resource, ResourceExt,
    api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams},
    core::Request,
};
use serde_json::{Value, json};

/// Whether a patch fitted the object as it is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Patched {
    /// It did.
    Done,
    /// The object is gone or has changed since it was read: read again.
    Stale,
}

/// Adds `finalizer`, which the object does not have.
pub(crate) async fn add<K>(
    client: &Client,
    kind: &K::DynamicType,
    object: &K,
    finalizer: &str,
) -> Result<Patched, kube::Error>
where
    K: Resource,
{
    send(client, kind, object, &added(object.meta(), finalizer)).await
}

/// Removes `finalizer`, which the object has.
pub(crate) async fn remove<K>(
    client: &Client,
    kind: &K::DynamicType,
    object: &K,
    finalizer: &str,
) -> Result<Patched, kube::Error>
where
    K: Resource,
{
    send(client, kind, object, &removed(object.meta(), finalizer)).await
}

fn added(meta: &ObjectMeta, finalizer: &str) -> Value {
    let change = match meta.finalizers.as_deref() {
        None | Some([]) => json!({"op": "add", "path": "/metadata/finalizers", "value": [finalizer]}),
        Some(_) => json!({"op": "add", "path": "/metadata/finalizers/-", "value": finalizer}),
    };
    guarded(meta, &change)
}

fn removed(meta: &ObjectMeta, finalizer: &str) -> Value {
    let position = meta.finalizers.iter().flatten().position(|held| held == finalizer).unwrap_or_default();
    guarded(meta, &json!({"op": "remove", "path": format!("/metadata/finalizers/{position}")}))
}

fn guarded(meta: &ObjectMeta, change: &Value) -> Value {
    json!([
        {"op": "test", "path": "/metadata/uid", "value": meta.uid},
        {"op": "test", "path": "/metadata/finalizers", "value": meta.finalizers},
        change,
    ])
}

async fn send<K>(
    client: &Client,
    kind: &K::DynamicType,
    object: &K,
    patch: &Value,
) -> Result<Patched, kube::Error>
where
    K: Resource,
{
    let patch: Patch<()> =
        Patch::Json(serde_json::from_value(patch.clone()).map_err(kube::Error::SerdeError)?);
    let request = Request::new(K::url_path(kind, object.meta().namespace.as_deref()))
        .patch_metadata(&object.name_any(), &PatchParams::default(), &patch)
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<PartialObjectMeta<K>>(request).await {
        Ok(_) => Ok(Patched::Done),
        // A failed test is 422; a lost race with another writer 409.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => Ok(Patched::Stale),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(finalizers: &[&str]) -> ObjectMeta {
        let finalizers =
            (!finalizers.is_empty()).then(|| finalizers.iter().map(ToString::to_string).collect());
        ObjectMeta { uid: Some("u".to_owned()), finalizers, ..ObjectMeta::default() }
    }

    #[test]
    fn patches_are_bound_to_what_they_were_computed_from() {
        let patch = added(&meta(&[]), "ours");
        assert_eq!(patch[0], json!({"op": "test", "path": "/metadata/uid", "value": "u"}));
        assert_eq!(patch[1], json!({"op": "test", "path": "/metadata/finalizers", "value": null}));
        assert_eq!(patch[2], json!({"op": "add", "path": "/metadata/finalizers", "value": ["ours"]}));
        assert_eq!(added(&meta(&["a"]), "ours")[2]["path"], "/metadata/finalizers/-");
        let patch = removed(&meta(&["a", "ours", "b"]), "ours");
        assert_eq!(patch[1]["value"], json!(["a", "ours", "b"]));
        assert_eq!(patch[2], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
    }
}
