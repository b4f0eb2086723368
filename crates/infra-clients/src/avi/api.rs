//! Looking and writing in one tenant. Owns the calls that every type of object has, what is tried again and what
//! never is; knows no type in particular.

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
/// Writers of this process to one object wait for each other instead of refusing each other. So many locks, each for
/// the objects that fall on it.
const LOCKS: usize = 64;

/// The objects of one tenant, or, for looking, of all. Clones share the session.
#[derive(Clone)]
pub struct Api {
    session: Arc<Session>,
    scope: Scope,
    locks: Locks,
}

/// See [`LOCKS`].
#[derive(Clone)]
pub(super) struct Locks(Arc<[tokio::sync::Mutex<()>]>, RandomState);

impl Default for Locks {
    fn default() -> Self {
        Self((0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(), RandomState::new())
    }
}

impl Locks {
    /// Whose turn does not come in time is told so: the writers before it may all be waiting for the controller.
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

    /// The tenant.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The object of that uuid.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], and whatever a call can fail with.
    pub async fn get<T: Object>(&self, resource: Resource<T>, uuid: &str) -> Result<T, Error> {
        typed(resource.kind(), self.read(resource.kind(), uuid).await?)
    }

    /// The object of that uuid, or `None` if the controller says that there is none.
    pub async fn find<T: Object>(&self, resource: Resource<T>, uuid: &str) -> Result<Option<T>, Error> {
        match self.get(resource, uuid).await {
            Err(error) if error.is_gone() => Ok(None),
            result => result.map(Some),
        }
    }

    /// All objects that the query selects, fetched page by page as they are wanted. An object that cannot be read is
    /// an error in its place; a page that cannot be had is the last item. What comes or goes while the pages are
    /// fetched may be missed or seen twice: to delete what is listed, collect it first ([`Api::all`]).
    #[must_use]
    pub fn list<T: Object>(
        &self,
        resource: Resource<T>,
        query: &Query,
    ) -> BoxStream<'static, Result<T, Error>> {
        let kind = resource.kind();
        list::values(self.clone(), kind, query).map(move |object| typed(kind, object?)).boxed()
    }

    /// All objects that the query selects.
    pub async fn all<T: Object>(&self, resource: Resource<T>, query: &Query) -> Result<Vec<T>, Error> {
        self.list(resource, query).try_collect().await
    }

    /// The objects of that name among those that the query selects.
    pub async fn by_name<T: Object>(
        &self,
        resource: Resource<T>,
        name: &str,
        query: &Query,
    ) -> Result<Found<T>, Error> {
        let mut found = self.all(resource, &query.clone().name(name)).await?;
        // A controller that does not know the filter must not have everything taken for what was looked for.
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

    /// Makes an object. Never sent twice: if [`Error::in_doubt`], look by name before trying again, or use
    /// [`Api::create_or_find`].
    ///
    /// # Errors
    ///
    /// [`Kind::Conflict`] if the name is taken, and whatever a call can fail with.
    pub async fn create<T: Object>(&self, resource: Resource<T>, object: &T) -> Result<T, Error> {
        self.post(resource, object, None).await
    }

    /// Makes an object of that uuid, which makes a second one impossible.
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
            return Err(Error::new(Kind::Invalid, "an object cannot be made with an empty uuid"));
        }
        self.post(resource, object, Some(uuid)).await
    }

    /// Finds the object of that name (in the same cloud), or makes it. Where the answer to the making is lost it looks
    /// again, so that it never makes two.
    ///
    /// # Errors
    ///
    /// [`Kind::Ambiguous`] if there are several; the lost answer itself, with [`Error::in_doubt`], if the
    /// object cannot be seen (yet): the same call later finds it, or makes it.
    pub async fn create_or_find<T: Object>(
        &self,
        resource: Resource<T>,
        object: &T,
    ) -> Result<Created<T>, Error> {
        // Where names can repeat the controller would take it from each who found none.
        let _turn = self.turn(resource.kind(), &object.meta().name).await?;
        if let Some(found) = self.namesake(resource, object).await? {
            return Ok(Created::Found(found));
        }
        match self.create(resource, object).await {
            Ok(made) => Ok(Created::Made(made)),
            Err(error) if error.in_doubt() || error.kind() == Kind::Conflict => {
                tracing::debug!(%error, kind = resource.kind(), "looking whether the object is there after all");
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

    /// Puts an object in the place of what the controller has, fields that are left out included. Refused if it was
    /// changed since it was read, which the controller knows from [`Meta::last_modified`](super::objects::Meta): without
    /// it everything is overwritten.
    ///
    /// # Errors
    ///
    /// [`Kind::Stale`], and whatever a call can fail with.
    pub async fn replace<T: Object>(&self, resource: Resource<T>, object: &T) -> Result<T, Error> {
        let value = written(resource.kind(), object)?;
        self.put(resource, &object.meta().uuid, &value).await
    }

    /// Reads an object, has it changed, and writes it if it is another then; all again, a bounded number of times,
    /// if somebody else wrote in between. So `change` may run several times, each time on the newest state.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`]; [`Kind::Stale`] if others were quicker each time; whatever a call can fail with. With
    /// [`Error::in_doubt`] the last write may have landed: it is not tried again.
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
            // Without it the controller would take the write whatever came between.
            match &before["_last_modified"] {
                Value::Null => {
                    return Err(Error::new(Kind::Protocol, "the object does not say when it was changed"));
                }
                seen => after["_last_modified"] = seen.clone(),
            }
            let result = self.put(resource, uuid, &after).await;
            if !self.again(result.as_ref().err(), &mut tries).await {
                return result.map(Updated::Written);
            }
        }
    }

    /// Changes parts of an object. Tried again, a bounded number of times, if the controller refuses it because of
    /// somebody else's write; never if its outcome is unknown.
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

    /// Deletes an object; `false` if the controller says that there is none (any more).
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
            return Err(Error::new(Kind::Invalid, "an object is made in one tenant, not in all"));
        }
        let kind = resource.kind();
        let mut value = written(kind, object)?;
        if let Value::Object(fields) = &mut value {
            // Of the object it was copied from, if it was.
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
            // Whatever it says, it was taken.
            .map_err(|error: Error| error.with_status(status).doubtful().in_call(method, path))
    }

    /// Whether a write has failed because others wrote in between, and is to be made again: after a while, longer with
    /// each try and different for each writer, so that those who clashed do not clash again.
    async fn again(&self, error: Option<&Error>, tries: &mut u32) -> bool {
        let longest = FIRST_PAUSE.saturating_mul(1 << (*tries).min(16)).min(LONGEST_PAUSE);
        *tries += 1;
        if error.is_none_or(|error| error.kind() != Kind::Stale) || *tries >= self.session.stale_tries() {
            return false;
        }
        tokio::time::sleep(jittered(longest)).await;
        true
    }

    /// The turn among the writers of this process to one object, by its uuid or its name.
    async fn turn(&self, kind: &str, which: &str) -> Result<impl Sized + use<'_>, Error> {
        self.locks.of((kind, which), self.session.patience()).await
    }

    /// A page of a list.
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

    /// A call to something that is no object of a tenant's: `PUT /api/useraccount`.
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
        // It would be the path of the whole list.
        return Err(Error::new(Kind::Invalid, format!("{uuid:?} is no uuid of a {kind}")));
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
