//! The paths of the account that sends the request: its description, password, tenants and tokens.

use http::Method;
use serde_json::{Value, json};

use super::accounts::{Secret, Token};
use super::admission::Client;
use super::clock::rfc3339;
use super::directory::{self, text};
use super::passwords::check_password;
use super::state::Controller;
use super::wire::{Reply, Request};
use crate::ApiError;

/// Answers the paths of the account; `None` for all others.
pub(super) fn answer(
    controller: &mut Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Option<Result<Reply, ApiError>> {
    let not_found = || ApiError::new(404, "UserToken object not found!");
    Some(match (path, &request.method) {
        (["useraccount"], &Method::GET) => Ok(show_account(controller, client)),
        (["useraccount"], &Method::PUT) => change_password(controller, request, client),
        (["user-tenant-list"], &Method::GET) => Ok(list_tenants(controller, client)),
        (["user-token"], &Method::GET) => Ok(list_tokens(controller, client)),
        (["user-token"], &Method::POST) => issue_token(controller, request, client),
        (["user-token", uuid], &Method::GET) => controller
            .accounts
            .tokens(&client.user, controller.clock.now())
            .into_iter()
            .find(|token| token.uuid == *uuid)
            .map(|token| Reply::json(200, token_view(token, client)))
            .ok_or_else(not_found),
        (["user-token", uuid], &Method::DELETE) => {
            if controller.accounts.revoke_token(&client.user, uuid) {
                Ok(Reply::empty(204))
            } else {
                Err(not_found())
            }
        }
        (["useraccount" | "user-tenant-list"] | ["user-token", ..], method) => {
            Err(ApiError::method_not_allowed(method.as_str()))
        }
        _ => return None,
    })
}

/// Returns an account as its owner sees it.
pub(super) fn account_view(user: &Value) -> Value {
    let mut view = json!({
        "username": directory::username(user),
        "name": text(user, "name"),
        "uuid": text(user, "uuid"),
        "is_superuser": directory::is_superuser(user),
    });
    for field in ["email", "full_name", "local", "service_user"] {
        if let Some(value) = user.get(field) {
            view[field] = value.clone();
        }
    }
    view
}

fn show_account(controller: &Controller, client: &Client) -> Reply {
    let user = controller.store.object("user", &client.user);
    Reply::json(200, user.map_or_else(|| json!({}), account_view))
}

fn list_tenants(controller: &Controller, client: &Client) -> Reply {
    let user = controller.store.object("user", &client.user);
    let tenants: Vec<Value> = user
        .map(|user| directory::accessible_tenants(&controller.store, user))
        .unwrap_or_default()
        .into_iter()
        .map(|tenant| json!({ "name": text(tenant, "name"), "uuid": text(tenant, "uuid") }))
        .collect();
    Reply::json(200, json!({ "count": tenants.len(), "results": tenants }))
}

fn list_tokens(controller: &Controller, client: &Client) -> Reply {
    let tokens = controller.accounts.tokens(&client.user, controller.clock.now());
    let tokens: Vec<Value> = tokens.into_iter().map(|token| token_view(token, client)).collect();
    Reply::json(200, json!({ "count": tokens.len(), "results": tokens }))
}

/// Returns a token as its owner sees it.
fn token_view(token: &Token, client: &Client) -> Value {
    json!({
        "uuid": token.uuid,
        "url": format!("{}/api/user-token/{}", client.caller.base, token.uuid),
        "username": client.caller.user,
        "token": token.value.expose(),
        "hours": token.hours,
        "expires_at": rfc3339(token.expires),
    })
}

/// Issues a token. AKO sends `hours` as text, other clients as a number; the default is 1.
fn issue_token(controller: &mut Controller, request: &Request, client: &Client) -> Result<Reply, ApiError> {
    let body = if request.body.is_empty() { json!({}) } else { request.parse_json()? };
    let hours = match body.get("hours") {
        None => Some(1),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    let Some(hours) = hours.filter(|hours| *hours > 0) else {
        return Err(ApiError::new(400, "hours must be a whole number from 1"));
    };
    let token = controller.accounts.issue_token(&client.user, hours, controller.clock.now());
    Ok(Reply::json(201, token_view(&token, client)))
}

fn change_password(
    controller: &mut Controller,
    request: &Request,
    client: &Client,
) -> Result<Reply, ApiError> {
    let body = request.parse_json()?;
    let Some(password) = text(&body, "password").map(Secret::new) else {
        return Err(ApiError::new(400, "password is required"));
    };
    let old = text(&body, "old_password").map(Secret::new);
    if !old.is_some_and(|old| controller.accounts.is_current(&client.user, &old)) {
        return Err(ApiError::new(400, "old_password is not correct"));
    }
    check_password(controller, Some(&client.user), &password)?;
    controller.accounts.set_password(&client.user, password, client.caller.now);
    Ok(Reply::empty(200))
}
