//! `POST /login` and `POST /logout`.

use http::Method;
use http::header::SET_COOKIE;
use serde_json::{Value, json};

use super::accounts::{Credential, Secret};
use super::admission::set_cookies;
use super::directory::{self, Settings, text};
use super::fixed::{system_config, version_info};
use super::journal::LogFields;
use super::own_account::account_view;
use super::sessions::Session;
use super::state::Controller;
use super::wire::{Reply, Request};
use crate::ApiError;

/// Answers `/login`.
pub(super) fn log_in(controller: &mut Controller, request: &Request, log: &mut LogFields) -> Reply {
    if request.method != Method::POST {
        return ApiError::method_not_allowed(request.method.as_str()).into();
    }
    try_log_in(controller, request, log).unwrap_or_else(Reply::from)
}

fn try_log_in(
    controller: &mut Controller,
    request: &Request,
    log: &mut LogFields,
) -> Result<Reply, ApiError> {
    let fields = request.parse_fields()?;
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let Some(username) = field("username") else {
        return Err(ApiError::new(400, "username is required"));
    };
    log.user = Some(username.to_owned());
    let credential = match (field("password"), field("token")) {
        (Some(password), _) => Credential::Password(Secret::new(password)),
        (None, Some(token)) => Credential::Token(Secret::new(token)),
        (None, None) => return Err(ApiError::new(400, "password or token is required")),
    };
    let uuid = controller.verify(username, &credential)?;
    let now = controller.clock.now();
    let settings = Settings::read(&controller.store);
    let Some(user) = controller.store.object("user", &uuid) else {
        return Err(ApiError::new(401, "Invalid credentials"));
    };
    let max = directory::profile(&controller.store, user).max_sessions;
    if max.is_some_and(|max| controller.sessions.count(&uuid, settings.limits, now) >= max) {
        let status = controller.assumptions.too_many_sessions_status;
        return Err(ApiError::new(status, "Maximum number of concurrent sessions reached"));
    }
    let session = controller.sessions.open(&uuid, settings.limits, now);
    let mut reply = Reply::json(200, welcome(controller, user, &settings));
    set_cookies(&mut reply, &session);
    Ok(reply)
}

/// Returns the body of a successful login.
fn welcome(controller: &Controller, user: &Value, settings: &Settings) -> Value {
    let tenants: Vec<Value> = directory::accessible_tenants(&controller.store, user)
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
    json!({
        "user": account_view(user),
        "tenants": tenants,
        "version": version_info(controller.version),
        "system_config": system_config(&controller.store),
        "controller": { "api_idle_timeout": settings.idle_minutes },
        "session_cookie_name": "avi-sessionid",
        "user_initialized": true,
    })
}

/// Answers `/logout`.
pub(super) fn log_out(controller: &mut Controller, request: &Request, log: &mut LogFields) -> Reply {
    if request.method != Method::POST {
        return ApiError::method_not_allowed(request.method.as_str()).into();
    }
    match admit_log_out(controller, request, log) {
        Ok(session) => {
            if let Some(session) = session {
                controller.sessions.close(&session.id);
            }
            let mut reply = Reply::empty(200);
            for name in ["csrftoken", "avi-sessionid", "sessionid"] {
                reply.add_header(SET_COOKIE, &format!("{name}=; Max-Age=0; Path=/; Secure"));
            }
            reply
        }
        Err(error) => error.into(),
    }
}

/// Checks a logout and returns the session to end.
fn admit_log_out(
    controller: &mut Controller,
    request: &Request,
    log: &mut LogFields,
) -> Result<Option<Session>, ApiError> {
    let settings = Settings::read(&controller.store);
    let (user, session) = controller.authenticate(request, &settings)?;
    log.user = controller.store.object("user", &user).map(|user| directory::username(user).to_owned());
    controller.admit(request, &settings, session.as_ref())?;
    Ok(session)
}
