//! `Objects`: reads the objects of a kind from the cache, and writes them at the API server.
//!
//! Owns how objects are written: by server-side apply without nulls, or by a patch, bound to the object's UID or to the
//! version that was read, so that no write lands on a successor of the same name. The response of a write is in the cache when
//! the call returns.

use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::{ObjectList, Request, Status},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    apply::{self, strip_nulls},
    cache::Cache,
    guarded::Guarded,
    key::Key,
    watch::{Kind, PAGE},
};

/// Reads and writes the objects of one kind. Clones share the cache.
pub struct Objects<K: Kind> {
    cache: Cache<K>,
    client: Client,
    kind: K::DynamicType,
}

impl<K: Kind> Clone for Objects<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), client: self.client.clone(), kind: self.kind.clone() }
    }
}

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deleted {
    /// It no longer exists, or existed only under another UID.
    Gone,
    /// Its finalizers keep it.
    Going,
}

/// Whether a patch fitted the object as it is now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patched {
    /// The patch was applied.
    Done,
    /// The object is gone or has changed since it was read: read it again.
    Stale,
}

impl<K: Kind> Objects<K> {
    pub(crate) fn new(cache: Cache<K>, client: Client, kind: K::DynamicType) -> Self {
        Self { cache, client, kind }
    }

    /// Returns the cache.
    #[must_use]
    pub fn cache(&self) -> &Cache<K> {
        &self.cache
    }

    /// Reads an object from the API server, not from the cache, which has it when this returns; `None` if it does not exist.
    ///
    /// # Errors
    /// The API server refuses the request or does not answer.
    pub async fn read(&self, key: &Key) -> Result<Option<Guarded<K>>, kube::Error> {
        let request = self.at(key).get(key.name(), &kube::api::GetParams::default());
        match self.send(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status)) if is_absent(&status, key) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the objects of a namespace with these labels from the API server, page by page, until one `fits`, and returns
    /// that one. The cache has what was listed when this returns.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn find(
        &self,
        namespace: &str,
        labels: &str,
        fits: impl Fn(&Guarded<K>) -> bool,
    ) -> Result<Option<Guarded<K>>, kube::Error> {
        self.first(namespace, ListParams::default().labels(labels).limit(PAGE), fits).await
    }

    async fn first(
        &self,
        namespace: &str,
        mut params: ListParams,
        fits: impl Fn(&Guarded<K>) -> bool,
    ) -> Result<Option<Guarded<K>>, kube::Error> {
        loop {
            let request =
                self.at(&Key::new(namespace, "")).list(&params).map_err(kube::Error::BuildRequest)?;
            let page: ObjectList<Guarded<K>> = self.client.request(request).await?;
            let listed: Vec<_> = page.items.into_iter().map(|object| self.cache.wrote(object)).collect();
            if let Some(found) = listed.into_iter().find(&fits) {
                return Ok(Some(found));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(None),
            }
        }
    }

    /// Reads `object` from the API server and returns whether it exists and `view` of it is as this process knows it.
    /// Otherwise the cache has the newer state when this returns. The driver wakes an object when its generation, finalizers, deletion,
    /// controller or status changes; where `view` has anything else, the operator has to wake it, or the object waits five minutes.
    ///
    /// For what is made or removed outside: a cache may be behind, above all after a start; nothing removes what is made for an
    /// object that is gone, and what is removed cannot be brought back.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn is_current<V: PartialEq>(
        &self,
        object: &K,
        view: impl Fn(&K) -> V,
    ) -> Result<bool, kube::Error> {
        let key = Key::of(object);
        let request = self.at(&key).get(key.name(), &kube::api::GetParams::default());
        match self.send(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(found) => Ok(found.meta().uid == object.meta().uid
                && found.valid().is_some_and(|found| view(found) == view(object))),
            Err(kube::Error::Api(status)) if is_absent(&status, &key) => {
                self.cache.removed(&key, object.meta().uid.as_deref().unwrap_or_default());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates `object` as `manager`, and fails if one of its name exists: for an intent that must not take over an object
    /// of another client.
    ///
    /// # Errors
    /// As [`read`](Self::read); 409 `AlreadyExists` if the name is taken.
    pub async fn create(&self, manager: &str, object: &K) -> Result<Guarded<K>, kube::Error>
    where
        K: Serialize,
    {
        let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
        let mut body = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        body["apiVersion"] = K::api_version(&self.kind).into();
        body["kind"] = K::kind(&self.kind).into();
        strip_nulls(&mut body);
        let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
        let request = self.at(&Key::of(object)).create(&params, body);
        self.send(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Applies `status` to the status subresource of `object` as `manager`.
    ///
    /// Names the UID and the version: where the object is gone, nothing is created, and where it has changed since it was
    /// read, or a successor has the name, nothing is changed.
    ///
    /// # Errors
    /// As [`read`](Self::read); 404 if the object is gone, 409 if it is not as it was read.
    pub async fn apply_status(
        &self,
        manager: &str,
        object: &K,
        status: &impl Serialize,
    ) -> Result<Guarded<K>, kube::Error> {
        let written = apply::status::<K, Guarded<K>>(&self.client, &self.kind, manager, object, status).await;
        if let Err(kube::Error::Api(status)) = &written
            && is_absent(status, &Key::of(object))
        {
            self.cache.removed(&Key::of(object), object.meta().uid.as_deref().unwrap_or_default());
        }
        Ok(self.cache.wrote(written?))
    }

    /// Changes the status of `object` by a merge patch, as `manager`: for what has to be written before something is done outside. The
    /// status that the reconciler computes keeps it.
    ///
    /// # Errors
    /// As [`read`](Self::read); 409 if the object is not as it was read.
    pub async fn merge_status(&self, manager: &str, object: &K, status: Value) -> Result<(), kube::Error> {
        let (uid, version) = (&object.meta().uid, &object.meta().resource_version);
        let patch = json!({ "metadata": { "uid": uid, "resourceVersion": version }, "status": status });
        self.patch_status(manager, object, &Patch::Merge(patch)).await
    }

    /// Changes the status of `object` by a patch, as `manager`: for a status that belongs to others, of which this operator writes a part.
    ///
    /// # Errors
    /// As [`read`](Self::read); 409 if the patch names another version than the object has.
    pub async fn patch_status(
        &self,
        manager: &str,
        object: &K,
        patch: &Patch<Value>,
    ) -> Result<(), kube::Error> {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let key = Key::of(object);
        let request = self.at(&key).patch_subresource("status", key.name(), &params, patch);
        self.send(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
    }

    /// Changes `object` by a merge patch as `manager`, unless it changed since it was read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn merge(&self, manager: &str, object: &K, mut patch: Value) -> Result<Patched, kube::Error> {
        patch["metadata"]["uid"] = json!(object.meta().uid);
        patch["metadata"]["resourceVersion"] = json!(object.meta().resource_version);
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        self.patch(object, &params, &Patch::Merge(patch), &[404, 409]).await
    }

    /// Changes `object` by a patch as `manager`: for an object of others, of which a part is written. The patch names the version that it
    /// was computed from.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn change(
        &self,
        manager: &str,
        object: &K,
        patch: &Patch<Value>,
    ) -> Result<Patched, kube::Error> {
        let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        self.patch(object, &params, patch, &[404, 409]).await
    }

    /// Replaces the finalizers of `object`: adds `add` and removes those of `remove`, bound to the list that was read, so
    /// that no finalizer of another controller is lost.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn change_finalizers(
        &self,
        object: &K,
        add: Option<&str>,
        remove: &[&str],
    ) -> Result<Patched, kube::Error> {
        let held = object.finalizers();
        let mut wanted: Vec<&str> = held.iter().map(String::as_str).filter(|f| !remove.contains(f)).collect();
        wanted.extend(add.filter(|add| !held.iter().any(|held| held == add)));
        let ends = wanted.is_empty() && object.meta().deletion_timestamp.is_some();
        // A test against null holds where the list is absent.
        let before = (!held.is_empty()).then_some(held);
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": object.meta().uid},
            {"op": "test", "path": "/metadata/finalizers", "value": before},
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]);
        let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        let patch = Patch::<()>::Json(patch);
        // A race with another writer is 409.
        let patched = match self.patch(object, &PatchParams::default(), &patch, &[404, 409]).await {
            // A test that fails, or an admission policy that denies the change.
            Err(kube::Error::Api(status)) if status.code == 422 => self.stale_or(object, status).await?,
            patched => patched?,
        };
        if ends && patched == Patched::Done {
            self.cache.removed(&Key::of(object), object.meta().uid.as_deref().unwrap_or_default());
        }
        Ok(patched)
    }

    /// Deletes the object of this UID, not a successor of its name.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn delete(&self, key: &Key, uid: &str) -> Result<Deleted, kube::Error> {
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request = self.at(key).delete(key.name(), &params).map_err(kube::Error::BuildRequest)?;
        match self.client.request::<Guarded<K>>(request).await {
            // The API server answers with the object while finalizers keep it, else with a Status, whose metadata is empty.
            Ok(object) if object.meta().deletion_timestamp.is_some() => {
                self.cache.wrote(object);
                Ok(Deleted::Going)
            }
            Ok(_) => {
                self.cache.removed(key, uid);
                Ok(Deleted::Gone)
            }
            Err(kube::Error::Api(status)) if is_absent(&status, key) => {
                self.cache.removed(key, uid);
                Ok(Deleted::Gone)
            }
            // A successor has the name, unless something else refused the request.
            Err(kube::Error::Api(status)) if status.is_conflict() => match self.read(key).await? {
                Some(object) if object.uid().as_deref() == Some(uid) => Err(kube::Error::Api(status)),
                _ => {
                    self.cache.removed(key, uid);
                    Ok(Deleted::Gone)
                }
            },
            Err(error) => Err(error),
        }
    }

    /// Returns [`Patched::Stale`] where the object is gone, recreated, or has other finalizers than `object`, and `refusal` where it is
    /// as `object` is: the same patch would be refused again.
    async fn stale_or(&self, object: &K, refusal: Box<Status>) -> Result<Patched, kube::Error> {
        let key = Key::of(object);
        let uid = object.uid().unwrap_or_default();
        // Every watch needs the right to list, and not all kinds come with the right to get.
        let named = ListParams::default().fields(&format!("metadata.name={}", key.name()));
        match self.first(key.namespace(), named, |now| Key::of(now) == key).await? {
            Some(now) if now.uid() == object.uid() && now.finalizers() == object.finalizers() => {
                Err(kube::Error::Api(refusal))
            }
            Some(_) => Ok(Patched::Stale),
            None => {
                self.cache.removed(&key, &uid);
                Ok(Patched::Stale)
            }
        }
    }

    fn at(&self, key: &Key) -> Request {
        let namespace = key.namespace();
        Request::new(K::url_path(&self.kind, (!namespace.is_empty()).then_some(namespace)))
    }

    async fn patch<P: Serialize + std::fmt::Debug>(
        &self,
        object: &K,
        params: &PatchParams,
        patch: &Patch<P>,
        stale: &[u16],
    ) -> Result<Patched, kube::Error> {
        let key = Key::of(object);
        let request = self.at(&key).patch(key.name(), params, patch).map_err(kube::Error::BuildRequest)?;
        match self.send(request).await {
            Ok(_) => Ok(Patched::Done),
            Err(kube::Error::Api(status)) if is_absent(&status, &key) => {
                self.cache.removed(&key, object.meta().uid.as_deref().unwrap_or_default());
                Ok(Patched::Stale)
            }
            Err(kube::Error::Api(status)) if stale.contains(&status.code) => Ok(Patched::Stale),
            Err(error) => Err(error),
        }
    }

    /// Sends a request for one object and adds the response to the cache.
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<Guarded<K>, kube::Error> {
        Ok(self.cache.wrote(self.client.request(request).await?))
    }
}

/// Returns whether the API server says that no object of this name exists. For a kind that it does not serve yet, while it
/// starts, it answers 404 as well, without a name.
fn is_absent(status: &Status, key: &Key) -> bool {
    status.is_not_found() && status.details.as_ref().is_some_and(|details| details.name == key.name())
}
