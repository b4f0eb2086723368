//! What a vCenter tells over REST only: tags, and the names of storage policies. Owns a session of its own for each question, which it ends.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Checks;
use crate::vsphere::error::{Error, Kind};
use crate::vsphere::moref::MoRef;
use crate::vsphere::session::Core;

const SESSION: &str = "/rest/com/vmware/cis/session";
const TAGGING: &str = "/rest/com/vmware/cis/tagging";
const POLICIES: &str = "/rest/vcenter/storage/policies";

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Name of its category.
    pub category: String,
    /// Its name.
    pub name: String,
}

/// What a vCenter tells over REST.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// The tags that are attached to the objects; objects without tags are left out.
    pub tags: BTreeMap<MoRef, BTreeSet<Tag>>,
    /// Names of the storage policies.
    pub policies: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Answer<T> {
    value: T,
}

#[derive(Deserialize)]
struct Attached {
    object_id: Object,
    /// Null, if there are none.
    tag_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Object {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct TagModel {
    name: String,
    category_id: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Checks {
    /// Returns the tags of the objects, and the storage policies: one call for each, and for each tag and category.
    ///
    /// # Errors
    /// [`Kind::NotSupported`] if the vCenter does not serve REST.
    pub async fn services(&self, objects: &[MoRef]) -> Result<Services, Error> {
        let rest = Rest::log_in(self.session.core()).await?;
        let read = rest.read(objects).await;
        rest.log_out().await;
        read
    }
}

/// A session.
struct Rest<'a> {
    core: &'a Core,
    id: String,
}

impl<'a> Rest<'a> {
    async fn log_in(core: &'a Core) -> Result<Self, Error> {
        let log_in = async || {
            let request = core.rest(Method::POST, SESSION).header("vmware-use-header-authn", "true");
            answer::<String>(core, SESSION, core.with_account(request)).await
        };
        Ok(Self { core, id: core.log_in_elsewhere(log_in).await? })
    }

    async fn log_out(&self) {
        if let Err(error) = self.call::<Value>(Method::DELETE, SESSION, None).await {
            tracing::debug!(%error, "logout failed");
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let mut request = self.core.rest(method, path).header("vmware-api-session-id", &self.id);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(self.core, path, request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path, None).await
    }

    async fn read(&self, objects: &[MoRef]) -> Result<Services, Error> {
        let policies: Vec<Named> = self.get(POLICIES).await?;
        let policies = policies.into_iter().map(|policy| policy.name).collect();
        if objects.is_empty() {
            return Ok(Services { tags: BTreeMap::new(), policies });
        }
        let ids: Vec<_> = objects.iter().map(|of| json!({"id": of.value(), "type": of.kind()})).collect();
        let path = format!("{TAGGING}/tag-association?~action=list-attached-tags-on-objects");
        let attached: Vec<Attached> =
            self.call(Method::POST, &path, Some(&json!({"object_ids": ids}))).await?;
        let (mut known, mut categories): (BTreeMap<String, Tag>, BTreeMap<String, String>) =
            Default::default();
        let mut tags = BTreeMap::new();
        for of in attached {
            let mut all = BTreeSet::new();
            for id in of.tag_ids.unwrap_or_default() {
                if !known.contains_key(&id) {
                    let tag: TagModel = self.get(&format!("{TAGGING}/tag/id:{id}")).await?;
                    if !categories.contains_key(&tag.category_id) {
                        let path = format!("{TAGGING}/category/id:{}", tag.category_id);
                        categories.insert(tag.category_id.clone(), self.get::<Named>(&path).await?.name);
                    }
                    let category = categories.get(&tag.category_id).cloned().unwrap_or_default();
                    known.insert(id.clone(), Tag { category, name: tag.name });
                }
                all.extend(known.get(&id).cloned());
            }
            if !all.is_empty() {
                tags.insert(MoRef::new(&of.object_id.kind, &of.object_id.id), all);
            }
        }
        Ok(Services { tags, policies })
    }
}

/// Sends a request and reads the `value` of its answer.
async fn answer<T: DeserializeOwned>(
    core: &Core,
    path: &str,
    request: reqwest::RequestBuilder,
) -> Result<T, Error> {
    let failed = |kind, message: String| Error::new(kind, format!("REST {path}: {message}"));
    let (status, body) = core.send_rest(request).await.map_err(|error| {
        let message = format!("REST {path}: {error}");
        error.explained(message)
    })?;
    if status.is_success() {
        let body = if body.is_empty() { r#"{"value": null}"# } else { &body };
        return serde_json::from_str::<Answer<T>>(body)
            .map(|answer| answer.value)
            .map_err(|error| failed(Kind::Protocol, format!("the answer cannot be read ({error})")));
    }
    let kind = match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthorized,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::NOT_FOUND => Kind::NotSupported,
        StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited,
        _ if status.is_server_error() => Kind::Unavailable,
        _ => Kind::Protocol,
    };
    Err(failed(kind, format!("HTTP {status}")))
}
