//! The path of a request through the controller, from the listener to the module that answers it. Synchronous.
//!
//! A request under `/api` is checked in this order: session (or basic authentication), rate limit, CSRF, age of the
//! password, version, tenant, upgrade mode. Then one of [`own_account`], [`fixed`] and [`objects`] answers it.

use super::admission::{Client, set_cookies};
use super::directory::{self, Settings, text};
use super::journal::LogFields;
use super::state::Controller;
use super::wire::{Reply, Request};
use super::{fixed, login, objects, own_account};
use crate::{ApiError, Caller, Store};

/// Answers a request.
pub(super) fn answer(controller: &mut Controller, request: &Request, log: &mut LogFields) -> Reply {
    if controller.unavailable {
        return unavailable();
    }
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let mut reply = match segments.as_slice() {
        ["login"] => login::log_in(controller, request, log),
        ["logout"] => login::log_out(controller, request, log),
        ["api", rest @ ..] => match fixed::answer_anonymous(controller, request, rest) {
            Some(reply) => reply,
            None => answer_api(controller, request, rest, log).unwrap_or_else(Reply::from),
        },
        _ => Reply::text(404, "text/html", "<h1>Not Found</h1>"),
    };
    reply.set_version(controller.requested_version(request).unwrap_or(controller.version));
    reply
}

/// Answers a write as if another client had written the object since it was read.
pub(super) fn answer_stale(controller: &Controller, request: &Request) -> Reply {
    let part = |index: usize| request.segments.get(index).map(String::as_str).unwrap_or_default();
    let (kind, uuid) = (part(1), part(2));
    let object = controller.store.object(kind, uuid);
    let name = object.and_then(|object| text(object, "name")).unwrap_or_default();
    ApiError::stale(Store::kind(kind).map_or(kind, |kind| kind.model), name).into()
}

/// Answers a request under `/api`. An error is the reply to a request without a session; every other refusal has the
/// session's cookies, as has a success.
fn answer_api(
    controller: &mut Controller,
    request: &Request,
    path: &[&str],
    log: &mut LogFields,
) -> Result<Reply, ApiError> {
    let settings = Settings::read(&controller.store);
    let (user, session) = controller.authenticate(request, &settings)?;
    let Some(account) = controller.store.object("user", &user) else {
        return Err(controller.unauthenticated());
    };
    let username = directory::username(account).to_owned();
    let profile = directory::profile(&controller.store, account);
    let expired = controller.accounts.is_password_expired(&user, profile, controller.clock.now());
    log.user = Some(username.clone());

    let mut reply = controller
        .admit(request, &settings, session.as_ref())
        .and_then(|()| {
            if expired && path != ["useraccount"] {
                let status = controller.assumptions.credentials_expired_status;
                return Err(ApiError::new(status, "Credentials have expired: change the password"));
            }
            let version = controller.check_version(request)?;
            let scope = controller.scope(request, &user)?;
            if controller.upgrading && request.is_write() {
                return Err(ApiError::new(403, "Configuration is disallowed during upgrade"));
            }
            let caller = Caller {
                user: username,
                scope,
                rights: controller.rights(&user),
                version,
                base: controller.base.clone(),
                now: controller.clock.tick(),
            };
            let client = Client { user, caller };
            own_account::answer(controller, request, path, &client)
                .or_else(|| fixed::answer_authenticated(controller, request, path, &client))
                .unwrap_or_else(|| objects::answer(controller, request, path, &client))
        })
        .unwrap_or_else(Reply::from);
    if let Some(session) = &session {
        set_cookies(&mut reply, session);
    }
    Ok(reply)
}

/// Returns the response of the web server in front of a controller that is down.
fn unavailable() -> Reply {
    Reply::text(
        503,
        "text/html",
        "<html><head><title>503 Service Temporarily Unavailable</title></head></html>",
    )
}
