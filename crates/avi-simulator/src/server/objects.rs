//! `/api/<kind>[/<uuid>]` and `/api/macro`: checks permissions and calls the store. Keeps passwords out of the store.

use http::Method;
use http::header::LOCATION;
use serde_json::{Value, json};

use super::admission::Client;
use super::directory::text;
use super::passwords::{check_password, take_password};
use super::state::Controller;
use super::wire::{Content, Reply, Request};
use crate::store::{Query, Shape};
use crate::{ApiError, Store};

/// The value of a password in replies.
const SENSITIVE: &str = "<sensitive>";

/// Answers all paths that no other module answers.
pub(super) fn answer(
    controller: &mut Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Result<Reply, ApiError> {
    let not_found = || ApiError::new(404, format!("{} was not found", request.path));
    let (kind, uuid) = match path {
        ["macro"] => return run_macro(controller, request, client),
        [kind] => (*kind, None),
        [kind, uuid] => (*kind, Some(*uuid)),
        _ => return Err(not_found()),
    };
    if Store::kind(kind).is_none() {
        return Err(not_found());
    }
    controller.check_permission(client, kind, request.is_write())?;
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
            let slug = request.header("slug");
            let body = request.parse_json()?;
            let created = write_with_password(controller, client, kind, None, body, |store, body| {
                store.create(&client.caller, kind, slug.as_deref(), body)
            })?;
            created_reply(created)
        }
        (method @ (&Method::PUT | &Method::PATCH), uuid) => {
            let Some(uuid) = uuid.map(str::to_owned).or_else(|| singleton_uuid(&controller.store, kind))
            else {
                return Err(ApiError::method_not_allowed(method.as_str()));
            };
            let write = if method == Method::PUT { Store::replace } else { Store::patch };
            let body = request.parse_json()?;
            let written = write_with_password(controller, client, kind, Some(&uuid), body, |store, body| {
                write(store, &client.caller, kind, &uuid, body)
            })?;
            Reply::json(200, written)
        }
        (&Method::DELETE, Some(uuid)) => {
            controller.store.delete(&client.caller, kind, uuid)?;
            if kind == "user" {
                controller.accounts.remove_user(uuid);
            }
            Reply::empty(204)
        }
        (method, _) => return Err(ApiError::method_not_allowed(method.as_str())),
    };
    if kind == "user" && controller.assumptions.password_masked_on_get {
        mask_passwords(&mut reply);
    }
    Ok(reply)
}

/// Creates a 201 reply with the object's `Location`.
fn created_reply(created: Value) -> Reply {
    let location = text(&created, "url").map(|url| url.split('#').next().unwrap_or_default().to_owned());
    let mut reply = Reply::json(201, created);
    if let Some(location) = location {
        reply.add_header(LOCATION, &location);
    }
    reply
}

/// Returns the uuid of the only object of a singleton kind.
fn singleton_uuid(store: &Store, kind: &str) -> Option<String> {
    Store::kind(kind).filter(|kind| kind.shape == Shape::Singleton)?;
    store.objects(kind).next().and_then(|object| text(object, "uuid")).map(str::to_owned)
}

/// Answers `POST /api/macro`.
fn run_macro(controller: &mut Controller, request: &Request, client: &Client) -> Result<Reply, ApiError> {
    if request.method != Method::POST {
        return Err(ApiError::method_not_allowed(request.method.as_str()));
    }
    let body = request.parse_json()?;
    if let Some(model) = text(&body, "model_name") {
        controller.check_permission(client, &model.to_lowercase(), true)?;
    }
    Ok(Reply::json(201, controller.store.run_macro(&client.caller, body)?))
}

/// Runs `write`. From the body of a user it first removes the password, and sets it in the account after the write.
fn write_with_password(
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
        // Neither a masked password that a client writes back nor the current password is a change.
        .filter(|password| password.expose() != SENSITIVE)
        .filter(|password| uuid.is_none_or(|uuid| !controller.accounts.is_current(uuid, password)));
    if let Some(password) = &password {
        check_password(controller, uuid, password)?;
    }
    let written = write(&mut controller.store, body)?;
    if let (Some(password), Some(uuid)) = (password, text(&written, "uuid")) {
        controller.accounts.set_password(uuid, password, client.caller.now);
    }
    Ok(written)
}

/// Adds a masked password to the users of a reply.
fn mask_passwords(reply: &mut Reply) {
    let Content::Json(value) = &mut reply.content else { return };
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
