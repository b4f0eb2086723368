//! Logging in and out, and what belongs to the account that is logged in: its tokens, its password.

use data_encoding::BASE64;
use http::{HeaderName, Method};
use serde_json::{Value, json};

use super::accounts::{Hidden, Proof, Token, Weak, weakness};
use super::clock::rfc3339;
use super::controller::{Client, Controller, Seen, set_cookies};
use super::directory::{self, Settings, text};
use super::fixed::{self, version};
use super::wire::{Reply, Request};
use crate::ApiError;

/// `POST /login`.
pub(super) fn login(controller: &mut Controller, request: &Request, seen: &mut Seen) -> Reply {
    if request.method != Method::POST {
        return ApiError::method_not_allowed(request.method.as_str()).into();
    }
    try_login(controller, request, seen).unwrap_or_else(Reply::from)
}

fn try_login(controller: &mut Controller, request: &Request, seen: &mut Seen) -> Result<Reply, ApiError> {
    let fields = request.fields()?;
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Some(username) = field("username") else {
        return Err(ApiError::new(400, "username is required"));
    };
    seen.user = Some(username.to_owned());
    let proof = match (field("password"), field("token")) {
        (Some(password), _) => Proof::Password(Hidden::new(password)),
        (None, Some(token)) => Proof::Token(Hidden::new(token)),
        (None, None) => return Err(ApiError::new(400, "password or token is required")),
    };
    let uuid = controller.prove(username, &proof)?;
    let now = controller.clock.now();
    let settings = Settings::read(&controller.store);
    let Some(user) = controller.store.object("user", &uuid) else {
        return Err(ApiError::new(401, "Invalid credentials"));
    };
    let most = directory::profile(&controller.store, user).sessions;
    if most.is_some_and(|most| controller.sessions.count(&uuid, settings.limits, now) >= most) {
        let status = controller.assumptions.too_many_sessions_status;
        return Err(ApiError::new(status, "Maximum number of concurrent sessions reached"));
    }
    let session = controller.sessions.open(&uuid, settings.limits, now);
    let tenants: Vec<Value> = directory::tenants(&controller.store, user)
        .into_iter()
        .map(|tenant| {
            let uuid = text(tenant, "uuid").unwrap_or_default();
            json!({
                "name": text(tenant, "name"),
                "uuid": uuid,
                "url": format!("{}/api/tenant/{uuid}", controller.base),
                "local": tenant.get("local").and_then(Value::as_bool).unwrap_or(true),
            })
        })
        .collect();
    let mut reply = Reply::json(
        200,
        json!({
            "user": about(user),
            "tenants": tenants,
            "version": version(controller.version),
            "system_config": fixed::system_config(&controller.store),
            "controller": { "api_idle_timeout": settings.idle_minutes },
            "session_cookie_name": "avi-sessionid",
            "user_initialized": true,
        }),
    );
    set_cookies(&mut reply, &session);
    Ok(reply)
}

/// The account as its owner sees it.
fn about(user: &Value) -> Value {
    let mut about = json!({
        "username": directory::username(user),
        "name": text(user, "name"),
        "uuid": text(user, "uuid"),
        "is_superuser": directory::superuser(user),
    });
    for field in ["email", "full_name", "local", "service_user"] {
        if let Some(value) = user.get(field) {
            about[field] = value.clone();
        }
    }
    about
}

/// `POST /logout`.
pub(super) fn logout(controller: &mut Controller, request: &Request, seen: &mut Seen) -> Reply {
    if request.method != Method::POST {
        return ApiError::method_not_allowed(request.method.as_str()).into();
    }
    let settings = Settings::read(&controller.store);
    let admitted = controller.authenticate(request, &settings).and_then(|(user, session)| {
        seen.user = controller.store.object("user", &user).map(|user| directory::username(user).to_owned());
        controller.admit(request, &settings, session.as_ref())?;
        Ok(session)
    });
    match admitted {
        Ok(session) => {
            if let Some(session) = session {
                controller.sessions.close(&session.id);
            }
            let mut reply = Reply::empty(200);
            for name in ["csrftoken", "avi-sessionid", "sessionid"] {
                let gone = format!("{name}=; Max-Age=0; Path=/; Secure");
                reply.header(HeaderName::from_static("set-cookie"), &gone);
            }
            reply
        }
        Err(error) => error.into(),
    }
}

/// The two halves of `Basic …`.
pub(super) fn basic(credentials: &str) -> Option<(String, Hidden)> {
    let decoded = BASE64.decode(credentials.strip_prefix("Basic ")?.trim().as_bytes()).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((username.to_owned(), Hidden::new(password)))
}

/// The paths that belong to the account that calls; `None` for any other.
pub(super) fn own(
    controller: &mut Controller,
    request: &Request,
    path: &[&str],
    client: &Client,
) -> Option<Result<Reply, ApiError>> {
    let not_allowed = || Err(ApiError::method_not_allowed(request.method.as_str()));
    Some(match (path, &request.method) {
        (["useraccount"], &Method::GET) => Ok(controller
            .store
            .object("user", &client.user)
            .map_or_else(|| Reply::json(200, json!({})), |user| Reply::json(200, about(user)))),
        (["useraccount"], &Method::PUT) => change_password(controller, request, client),
        (["user-tenant-list"], &Method::GET) => {
            let tenants: Vec<Value> = controller
                .store
                .object("user", &client.user)
                .map(|user| directory::tenants(&controller.store, user))
                .unwrap_or_default()
                .into_iter()
                .map(|tenant| json!({ "name": text(tenant, "name"), "uuid": text(tenant, "uuid") }))
                .collect();
            Ok(Reply::json(200, json!({ "count": tenants.len(), "results": tenants })))
        }
        (["user-token"], &Method::GET) => {
            let tokens: Vec<Value> = controller
                .accounts
                .tokens(&client.user, controller.clock.now())
                .into_iter()
                .map(|token| show(token, client))
                .collect();
            Ok(Reply::json(200, json!({ "count": tokens.len(), "results": tokens })))
        }
        (["user-token"], &Method::POST) => issue(controller, request, client),
        (["user-token", uuid], &Method::GET) => controller
            .accounts
            .tokens(&client.user, controller.clock.now())
            .into_iter()
            .find(|token| token.uuid == *uuid)
            .map(|token| Reply::json(200, show(token, client)))
            .ok_or_else(|| ApiError::new(404, "UserToken object not found!")),
        (["user-token", uuid], &Method::DELETE) => {
            if controller.accounts.revoke(&client.user, uuid) {
                Ok(Reply::empty(204))
            } else {
                Err(ApiError::new(404, "UserToken object not found!"))
            }
        }
        (["useraccount" | "user-tenant-list"] | ["user-token", ..], _) => not_allowed(),
        _ => return None,
    })
}

fn show(token: &Token, client: &Client) -> Value {
    json!({
        "uuid": token.uuid,
        "url": format!("{}/api/user-token/{}", client.caller.base, token.uuid),
        "username": client.caller.user,
        "token": token.value.expose(),
        "hours": token.hours,
        "expires_at": rfc3339(token.expires),
    })
}

/// `hours` comes as text from AKO, as a number from others; an hour if left out.
fn issue(controller: &mut Controller, request: &Request, client: &Client) -> Result<Reply, ApiError> {
    let body = if request.body.is_empty() { json!({}) } else { request.json()? };
    let hours = match body.get("hours") {
        None => Some(1),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    };
    let Some(hours) = hours.filter(|hours| *hours > 0) else {
        return Err(ApiError::new(400, "hours must be a whole number from 1"));
    };
    let token = controller.accounts.issue(&client.user, hours, controller.clock.now());
    Ok(Reply::json(201, show(&token, client)))
}

fn change_password(
    controller: &mut Controller,
    request: &Request,
    client: &Client,
) -> Result<Reply, ApiError> {
    let body = request.json()?;
    let Some(password) = text(&body, "password").map(Hidden::new) else {
        return Err(ApiError::new(400, "password is required"));
    };
    let old = text(&body, "old_password").map(Hidden::new);
    if !old.is_some_and(|old| controller.accounts.is(&client.user, &old)) {
        return Err(ApiError::new(400, "old_password is not correct"));
    }
    check_password(controller, Some(&client.user), &password)?;
    controller.accounts.set(&client.user, password, client.caller.now);
    Ok(Reply::empty(200))
}

/// Holds a new password against the portal's rules, and against the history of a user who exists.
pub(super) fn check_password(
    controller: &Controller,
    user: Option<&str>,
    password: &Hidden,
) -> Result<(), ApiError> {
    let settings = Settings::read(&controller.store);
    let mut weak = weakness(password, settings.password_length, settings.password_strength);
    if let Some(uuid) = user
        && let Some(object) = controller.store.object("user", uuid)
    {
        let history = directory::profile(&controller.store, object).history;
        weak = weak.or_else(|| controller.accounts.used(uuid, password, history).then_some(Weak::Used));
    }
    match weak {
        None => Ok(()),
        Some(Weak::Short(least)) => {
            Err(ApiError::new(400, format!("Password must have at least {least} characters")))
        }
        Some(Weak::Simple) => Err(ApiError::new(
            400,
            "Password must have a lower-case and an upper-case letter, a digit and a special character",
        )),
        Some(Weak::Used) => Err(ApiError::new(400, "Password was used before: choose another")),
    }
}
