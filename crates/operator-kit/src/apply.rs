//! Server-side apply of statuses.
//!
//! Owns how they are sent: forced, without nulls (a null in server-side apply claims the field), and bound to the version of
//! the object that was read. The API server ignores the UID in an apply to an object that exists: only the resource version
//! tells an object from its successor.

use kube::{
    Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Applies `status` to the status subresource of `object`, which is as it was read. The answer parses as `R`.
pub(crate) async fn status<K, R>(
    client: &Client,
    kind: &K::DynamicType,
    manager: &str,
    object: &K,
    status: &impl Serialize,
) -> Result<R, kube::Error>
where
    K: Resource,
    R: DeserializeOwned,
{
    let mut body = json!({
        "apiVersion": K::api_version(kind),
        "kind": K::kind(kind),
        "metadata": {
            "name": object.name_any(),
            "namespace": object.namespace(),
            "uid": object.uid(),
            "resourceVersion": object.resource_version(),
        },
        "status": status,
    });
    strip_nulls(&mut body);
    let (name, params) = (object.name_any(), PatchParams::apply(manager).force());
    let path = Request::new(K::url_path(kind, object.meta().namespace.as_deref()));
    let request = path.patch_subresource("status", &name, &params, &Patch::Apply(body));
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}

/// Removes null members of objects, at every depth; nulls in lists stay, as they hold a place.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_go_at_every_depth() {
        let mut value = json!({"a": null, "b": {"c": null, "d": [{"e": null}, null]}});
        strip_nulls(&mut value);
        assert_eq!(value, json!({"b": {"d": [{}, null]}}));
    }
}
