//! `/api/<kind>[/<uuid>]`: permissions, then the store. Passwords in users' bodies stop here.

use http::Method;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::accounts::Hidden;
use super::controller::{Client, Controller, SLUG};
use super::directory::text;
use super::login;
use super::wire::{Reply, Request};
use crate::store::{Query, Shape};
use crate::{ApiError, Store};

/// What stands in a reply for a password that the controller knows.
const SENSITIVE: &str = "<sensitive>";

pub(super) fn answer(
    controller: &mut Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Result<Reply, ApiError> {
    let not_found = || ApiError::new(404, format!("{} was not found", request.path));
    let (kind, uuid) = match path {
        ["macro"] => return macro_(controller, request, client),
        [kind] => (*kind, None),
        [kind, uuid] => (*kind, Some(*uuid)),
        _ => return Err(not_found()),
    };
    if Store::kind(kind).is_none() {
        return Err(not_found());
    }
    controller.permit(client, kind, request.writes())?;
    let mut reply = match (&request.method, uuid) {
        (&Method::GET, None) => {
            let query = Query::parse(&request.query)?;
            Reply::json(200, controller.store.list(&client.caller, kind, &query)?)
        }
        (&Method::GET, Some(uuid)) => {
            let query = Query::parse(&request.query)?;
            Reply::json(200, controller.store.get(&client.caller, kind, uuid, &query)?)
        }
        (&Method::POST, None) => {
            let slug = request.header(SLUG.as_str());
            let body = request.json()?;
            let created = with_password(controller, client, kind, None, body, |store, body| {
                store.create(&client.caller, kind, slug.as_deref(), body)
            })?;
            created_reply(created)
        }
        (method @ (&Method::PUT | &Method::PATCH), uuid) => {
            let Some(uuid) = uuid.map(str::to_owned).or_else(|| singleton(&controller.store, kind)) else {
                return Err(ApiError::method_not_allowed(method.as_str()));
            };
            let write = if method == Method::PUT { Store::replace } else { Store::patch };
            let body = request.json()?;
            let written = with_password(controller, client, kind, Some(&uuid), body, |store, body| {
                write(store, &client.caller, kind, &uuid, body)
            })?;
            Reply::json(200, written)
        }
        (&Method::DELETE, Some(uuid)) => {
            controller.store.delete(&client.caller, kind, uuid)?;
            if kind == "user" {
                controller.accounts.forget(uuid);
            }
            Reply::empty(204)
        }
        (method, _) => return Err(ApiError::method_not_allowed(method.as_str())),
    };
    if kind == "user" && controller.assumptions.password_masked_on_get {
        mask(&mut reply);
    }
    Ok(reply)
}

/// 201, and where it is.
fn created_reply(created: Value) -> Reply {
    let location = text(&created, "url").map(|url| url.split('#').next().unwrap_or_default().to_owned());
    let mut reply = Reply::json(201, created);
    if let Some(location) = location {
        reply.header(LOCATION, &location);
    }
    reply
}

/// The uuid of the one object of a kind that has one.
fn singleton(store: &Store, kind: &str) -> Option<String> {
    Store::kind(kind).filter(|kind| kind.shape == Shape::Singleton)?;
    store.objects(kind).next().and_then(|object| text(object, "uuid")).map(str::to_owned)
}

fn macro_(controller: &mut Controller, request: &Request, client: &Client) -> Result<Reply, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed(request.method.as_str()));
    }
    let body = request.json()?;
    if let Some(model) = text(&body, "model_name") {
        controller.permit(client, &model.to_lowercase(), true)?;
    }
    Ok(Reply::json(201, controller.store.macro_(&client.caller, body)?))
}

/// Carries out a write. Of a user's body the password is taken out before and kept apart after; other kinds go through
/// as they are.
fn with_password(
    controller: &mut Controller,
    client: &Client,
    kind: &str,
    uuid: Option<&str>,
    mut body: Value,
    write: impl FnOnce(&mut Store, Value) -> Result<Value, ApiError>,
) -> Result<Value, ApiError> {
    if kind != "user" {
        return write(&mut controller.store, body);
    }
    let password = take_password(&mut body)
        // A client that writes back what it read changes nothing, and neither does the present password.
        .filter(|password| password.expose() != SENSITIVE)
        .filter(|password| uuid.is_none_or(|uuid| !controller.accounts.is(uuid, password)));
    if let Some(password) = &password {
        login::check_password(controller, uuid, password)?;
    }
    let written = write(&mut controller.store, body)?;
    if let (Some(password), Some(uuid)) = (password, text(&written, "uuid")) {
        controller.accounts.set(uuid, password, client.caller.now);
    }
    Ok(written)
}

/// Takes the password out of a user's body, or of a PATCH of one.
pub(super) fn take_password(body: &mut Value) -> Option<Hidden> {
    let mut found = None;
    let mut take = |part: Option<&mut Value>| {
        let password = part.and_then(Value::as_object_mut).and_then(|part| part.remove("password"));
        if let Some(Value::String(password)) = password {
            found = Some(Hidden::new(password));
        }
    };
    take(Some(body));
    for operation in ["add", "replace"] {
        take(body.get_mut(operation));
    }
    found
}

/// Shows that there is a password, as the switch demands.
fn mask(reply: &mut Reply) {
    let super::wire::Content::Json(value) = &mut reply.content else { return };
    let mask = |user: &mut Value| {
        if let Some(user) = user.as_object_mut() {
            user.insert("password".to_owned(), json!(SENSITIVE));
        }
    };
    match value.get_mut("results").and_then(Value::as_array_mut) {
        Some(users) => users.iter_mut().for_each(mask),
        None => mask(value),
    }
}
