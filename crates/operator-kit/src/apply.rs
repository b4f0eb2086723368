//! Server-side apply of single objects and statuses.
//!
//! Owns how they are sent (forced, without nulls, bound to the object's UID); never what is in them.

use kube::{
    Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Applies `object`, of this version of its kind, as `manager`, taking over fields of other managers. Returns what the API
/// server made of it.
///
/// Without nulls: a null in server-side apply claims the field.
///
/// # Errors
/// The API server refuses the request or does not answer.
pub async fn server_side<K>(
    client: &Client,
    kind: &K::DynamicType,
    manager: &str,
    object: &K,
) -> Result<K, kube::Error>
where
    K: Resource + Serialize + DeserializeOwned,
{
    let mut body = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
    body["apiVersion"] = K::api_version(kind).into();
    body["kind"] = K::kind(kind).into();
    if let Some(object) = body.as_object_mut() {
        object.remove("status");
    }
    send(client, kind, None, manager, object, body).await
}

/// Applies `status` to the status subresource of `object`. The answer parses as `R`.
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
    let body = json!({
        "apiVersion": K::api_version(kind),
        "kind": K::kind(kind),
        "metadata": { "name": object.name_any(), "namespace": object.namespace(), "uid": object.uid() },
        "status": status,
    });
    send(client, kind, Some("status"), manager, object, body).await
}

/// Sends `body` as what `manager` says of `object`, or of a subresource of it.
async fn send<K, R>(
    client: &Client,
    kind: &K::DynamicType,
    subresource: Option<&str>,
    manager: &str,
    object: &K,
    mut body: Value,
) -> Result<R, kube::Error>
where
    K: Resource,
    R: DeserializeOwned,
{
    strip_nulls(&mut body);
    let (name, params) = (object.name_any(), PatchParams::apply(manager).force());
    let path = Request::new(K::url_path(kind, object.meta().namespace.as_deref()));
    let request = match subresource {
        Some(subresource) => path.patch_subresource(subresource, &name, &params, &Patch::Apply(body)),
        None => path.patch(&name, &params, &Patch::Apply(body)),
    };
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
