//! Reads and writes in one tenant. Owns the calls that every type of object has, and which are retried; knows no type
//! in particular.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::Method;
use serde_json::{Map, Value};

use super::config::Scope;
use super::error::{Error, Kind};
use super::list;
use super::objects::{Object, Resource};
use super::outcome::{Created, Found, Patch, Updated};
use super::query::{Query, escape};
use super::reply::{Reply, typed};
use super::session::{Body, Call, Session};
use super::version::modernise;
use crate::failure::{Failure, jittered};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Locks for the writers of this process, so that they wait for each other and the controller refuses none of them as
/// stale. An object is assigned to one of these locks by its hash.
const LOCKS: usize = 64;

/// The calls on the objects of one tenant, or, for reads, of all. Clones share the session.
#[derive(Clone)]
pub struct Api {
    session: Arc<Session>,
    scope: Scope,
    locks: Locks,
}

/// The locks: see [`LOCKS`].
#[derive(Clone)]
pub(super) struct Locks(Arc<[tokio::sync::Mutex<()>]>, RandomState);

impl Default for Locks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(), RandomState::new())
    }
}

impl Locks {
    /// Locks an object. Fails with [`Kind::Unavailable`] if that takes longer than `patience`: the writers before may
    /// all be waiting for the controller.
    async fn of(
        &self,
        object: impl Hash,
        patience: Duration,
    ) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        let at = usize::try_from(self.1.hash_one(object) % self.0.len() as u64).unwrap_or_default();
        let turn = tokio::time::timeout(patience, self.0[at].lock()).await;
        turn.map_err(|_| Error::new(Kind::Unavailable, "too many changes to this object are under way"))
    }
}

impl Api {
    pub(super) fn new(session: Arc<Session>, scope: Scope, locks: Locks) -> Self {
        Self { session, scope, locks }
    }

    /// Returns the tenant.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the object of that uuid.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], and whatever a call can fail with.
    pub async fn get<T: Object>(&self, resource: Resource<T>, uuid: &str) -> Result<T, Error> {
        typed(resource.kind(), self.read(resource.kind(), uuid).await?)
    }

    /// Returns the object of that uuid, or `None` if the controller says that it does not exist.
    pub async fn find<T: Object>(&self, resource: Resource<T>, uuid: &str) -> Result<Option<T>, Error> {
        match self.get(resource, uuid).await {
            Err(error) if error.is_gone() => Ok(None),
            result => result.map(Some),
        }
    }

    /// Returns all objects that the query selects, fetched page by page as the stream is read. An object that cannot
    /// be read is an error in its place; a page that cannot be fetched ends the stream with an error. Objects that
    /// are created or deleted while pages are fetched may be missed or returned twice: to delete what is listed,
    /// collect it first ([`Api::all`]).
    #[must_use]
    pub fn list<T: Object>(
        &self,
        resource: Resource<T>,
        query: &Query,
    ) -> BoxStream<'static, Result<T, Error>> {
        let kind = resource.kind();
        list::values(self.clone(), kind, query).map(move |object| typed(kind, object?)).boxed()
    }

    /// Returns all objects that the query selects.
    pub async fn all<T: Object>(&self, resource: Resource<T>, query: &Query) -> Result<Vec<T>, Error> {
        self.list(resource, query).try_collect().await
    }

    /// Returns the objects of that name among those that the query selects.
    pub async fn by_name<T: Object>(
        &self,
        resource: Resource<T>,
        name: &str,
        query: &Query,
    ) -> Result<Found<T>, Error> {
        let mut found = self.all(resource, &query.clone().name(name)).await?;
        // A controller that ignores the filter returns every object.
        found.retain(|object| object.meta().name == name);
        Ok(match found.pop() {
            None => Found::None,
            Some(object) if found.is_empty() => Found::One(object),
            Some(object) => {
                found.push(object);
                Found::Several(found)
            }
        })
    }

    /// Creates an object. The request is never sent twice: if the error is in doubt, look by name before trying
    /// again, or use [`Api::create_or_find`].
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] if the name is taken, and whatever a call can fail with.
    pub async fn create<T: Object>(&self, resource: Resource<T>, object: &T) -> Result<T, Error> {
        self.post(resource, object, None).await
    }

    /// Creates an object with that uuid, so that a second one cannot exist.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] if the name or the uuid is taken, and whatever a call can fail with.
    pub async fn create_as<T: Object>(
        &self,
        resource: Resource<T>,
        uuid: &str,
        object: &T,
    ) -> Result<T, Error> {
        if uuid.is_empty() {
            return Err(Error::new(Kind::Invalid, "an object cannot be created with an empty uuid"));
        }
        self.post(resource, object, Some(uuid)).await
    }

    /// Finds the object of that name (in the same cloud), or creates it. If the answer to the creation is lost it
    /// looks again, so that it never creates two.
    ///
    /// # Errors
    ///
    /// [`Kind::Ambiguous`] if there are several. If the answer to the creation is lost and the object cannot be seen
    /// (yet), the error is in doubt: the same call later finds the object or creates it.
    pub async fn create_or_find<T: Object>(
        &self,
        resource: Resource<T>,
        object: &T,
    ) -> Result<Created<T>, Error> {
        // Where names may repeat, the controller would accept the object from every caller that found none.
        let _turn = self.turn(resource.kind(), &object.meta().name).await?;
        if let Some(found) = self.namesake(resource, object).await? {
            return Ok(Created::Found(found));
        }
        match self.create(resource, object).await {
            Ok(made) => Ok(Created::Made(made)),
            Err(error) if error.in_doubt() || error.kind() == Kind::Conflict => {
                tracing::debug!(%error, kind = resource.kind(), "looking for the object, which may exist");
                match self.namesake(resource, object).await {
                    Ok(Some(found)) => Ok(Created::Found(found)),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn namesake<T: Object>(&self, resource: Resource<T>, object: &T) -> Result<Option<T>, Error> {
        let cloud = object.cloud().map(|cloud| (cloud.uuid(), cloud.name()));
        let query = match cloud {
            Some((Some(uuid), _)) => Query::new().cloud_uuid(uuid),
            Some((None, Some(name))) => Query::new().cloud_name(name),
            _ => Query::new(),
        };
        self.by_name(resource, &object.meta().name, &query).await?.at_most_one()
    }

    /// Replaces the whole object at the controller; fields that are left out are cleared. The controller refuses it
    /// if the object has changed since it was read, which it recognizes by
    /// [`Meta::last_modified`](super::objects::Meta); without that field it overwrites everything.
    ///
    /// # Errors
    ///
    /// [`Kind::Stale`], and whatever a call can fail with.
    pub async fn replace<T: Object>(&self, resource: Resource<T>, object: &T) -> Result<T, Error> {
        let value = written(resource.kind(), object)?;
        self.put(resource, &object.meta().uuid, &value).await
    }

    /// Reads an object, calls `change`, and writes the object if that changed it. If another client wrote in between,
    /// all of it is repeated, a bounded number of times: `change` may be called several times, each time with the
    /// newest state.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`]; [`Kind::Stale`] if other clients wrote in between each time; whatever a call can fail
    /// with. If the error is in doubt the last write may have taken effect, and is not retried.
    pub async fn update<T: Object>(
        &self,
        resource: Resource<T>,
        uuid: &str,
        mut change: impl FnMut(&mut T) + Send,
    ) -> Result<Updated<T>, Error> {
        let kind = resource.kind();
        let _turn = self.turn(kind, uuid).await?;
        let mut tries = 0;
        loop {
            let mut object: T = self.get(resource, uuid).await?;
            let before = written(kind, &object)?;
            change(&mut object);
            let mut after = written(kind, &object)?;
            if after == before {
                return Ok(Updated::Unchanged(object));
            }
            // Without it the controller would accept the write whatever was written in between.
            match &before["_last_modified"] {
                Value::Null => {
                    return Err(Error::new(
                        Kind::Protocol,
                        "the object has no _last_modified: it cannot be written safely",
                    ));
                }
                seen => after["_last_modified"] = seen.clone(),
            }
            let result = self.put(resource, uuid, &after).await;
            if !self.again(result.as_ref().err(), &mut tries).await {
                return result.map(Updated::Written);
            }
        }
    }

    /// Changes parts of an object. Retried, a bounded number of times, if the controller refuses it because another
    /// client wrote in between; never if its outcome is unknown.
    pub async fn patch<T: Object>(
        &self,
        resource: Resource<T>,
        uuid: &str,
        patch: &Patch,
    ) -> Result<T, Error> {
        let kind = resource.kind();
        let _turn = self.turn(kind, uuid).await?;
        let (target, body) = (path_of(kind, uuid)?, patch.body());
        let mut tries = 0;
        loop {
            let result = self.write(resource, &Method::PATCH, &target, Body::Patch(&body), None).await;
            if !self.again(result.as_ref().err(), &mut tries).await {
                return result;
            }
        }
    }

    /// Deletes an object. Returns false if the controller says that it does not exist.
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] if another object refers to it, and whatever a call can fail with.
    pub async fn delete<T: Object>(&self, resource: Resource<T>, uuid: &str) -> Result<bool, Error> {
        let (kind, path) = (resource.kind(), path_of(resource.kind(), uuid)?);
        match self.call(&Method::DELETE, &path, kind, Body::None, None).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_gone() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn post<T: Object>(
        &self,
        resource: Resource<T>,
        object: &T,
        slug: Option<&str>,
    ) -> Result<T, Error> {
        if self.scope == Scope::All {
            return Err(Error::new(Kind::Invalid, "an object cannot be created in all tenants: name one"));
        }
        let kind = resource.kind();
        let mut value = written(kind, object)?;
        if let Value::Object(fields) = &mut value {
            // These belong to the object that this one was copied from.
            for field in ["uuid", "url", "_last_modified"] {
                fields.remove(field);
            }
        }
        let path = format!("/api/{kind}");
        self.write(resource, &Method::POST, &path, Body::Object(&value), slug).await
    }

    async fn read(&self, kind: &str, uuid: &str) -> Result<Value, Error> {
        let reply = self.call(&Method::GET, &path_of(kind, uuid)?, kind, Body::None, None).await?;
        Ok(modern(kind, reply))
    }

    async fn put<T: Object>(&self, resource: Resource<T>, uuid: &str, object: &Value) -> Result<T, Error> {
        let path = path_of(resource.kind(), uuid)?;
        self.write(resource, &Method::PUT, &path, Body::Object(object), None).await
    }

    async fn write<T: Object>(
        &self,
        resource: Resource<T>,
        method: &Method,
        path: &str,
        body: Body<'_>,
        slug: Option<&str>,
    ) -> Result<T, Error> {
        let kind = resource.kind();
        let reply = self.call(method, path, kind, body, slug).await?;
        let status = reply.status;
        typed(kind, modern(kind, reply))
            // The controller accepted it, whatever the answer says.
            .map_err(|error: Error| error.with_status(status).doubtful().in_call(method, path))
    }

    /// Returns whether to repeat a write that failed because another client wrote in between. Waits before it returns
    /// true: longer with each attempt, and differently for each writer, so that the same writers do not collide
    /// again.
    async fn again(&self, error: Option<&Error>, tries: &mut u32) -> bool {
        let longest = FIRST_PAUSE.saturating_mul(1 << (*tries).min(16)).min(LONGEST_PAUSE);
        *tries += 1;
        if error.is_none_or(|error| error.kind() != Kind::Stale) || *tries >= self.session.stale_tries() {
            return false;
        }
        tokio::time::sleep(jittered(longest)).await;
        true
    }

    /// Locks an object, by its uuid or its name, among the writers of this process.
    async fn turn(&self, kind: &str, which: &str) -> Result<impl Sized + use<'_>, Error> {
        self.locks.of((kind, which), self.session.patience()).await
    }

    /// Fetches a page of a list.
    pub(super) async fn page(&self, kind: &str, query: &str) -> Result<Value, Error> {
        let path = format!("/api/{kind}?{query}");
        Ok(self.call(&Method::GET, &path, kind, Body::None, None).await?.body)
    }

    async fn call(
        &self,
        method: &Method,
        path: &str,
        kind: &str,
        body: Body<'_>,
        slug: Option<&str>,
    ) -> Result<Reply, Error> {
        self.session.call(Call { method, path, kind, scope: &self.scope, body, slug }).await
    }

    /// Writes something that is not an object of a tenant: `PUT /api/useraccount`.
    pub(super) async fn put_singleton(&self, kind: &str, body: &Value) -> Result<(), Error> {
        let path = format!("/api/{kind}");
        self.call(&Method::PUT, &path, kind, Body::Object(body), None).await.map(drop)
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("controller", &self.session.authority())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

fn path_of(kind: &str, uuid: &str) -> Result<String, Error> {
    if uuid.is_empty() || uuid == "." || uuid == ".." {
        // That would be the path of the whole list.
        return Err(Error::new(Kind::Invalid, format!("{uuid:?} is not the uuid of a {kind}")));
    }
    Ok(format!("/api/{kind}/{}", escape(uuid)))
}

fn modern(kind: &str, reply: Reply) -> Value {
    let mut body = reply.body;
    modernise(kind, &mut body);
    body
}

fn written<T: Object>(kind: &str, object: &T) -> Result<Value, Error> {
    match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => Ok(Value::Object(fields)),
        Ok(_) => Ok(Value::Object(Map::new())),
        Err(_) => Err(Error::new(Kind::Invalid, format!("this {kind} cannot be written as JSON"))),
    }
}
