//! Passwords on their way in: taken out of a user's body, and checked against the portal's policy. The passwords
//! themselves are kept in [`accounts`](super::accounts).

use serde_json::Value;

use super::accounts::Secret;
use super::directory::{self, Settings};
use super::state::Controller;
use crate::ApiError;

/// Checks a new password against the portal's policy and, for an existing user (by uuid), against the user's history.
pub(super) fn check_password(
    controller: &Controller,
    user: Option<&str>,
    password: &Secret,
) -> Result<(), ApiError> {
    let settings = Settings::read(&controller.store);
    let least = settings.password_length;
    if password.expose().chars().count() < least {
        return Err(ApiError::new(400, format!("Password must have at least {least} characters")));
    }
    if settings.password_strength && !is_strong(password.expose()) {
        return Err(ApiError::new(
            400,
            "Password must have a lower-case and an upper-case letter, a digit and a special character",
        ));
    }
    let Some((uuid, object)) = user.and_then(|uuid| Some((uuid, controller.store.object("user", uuid)?)))
    else {
        return Ok(());
    };
    let history = directory::profile(&controller.store, object).history;
    if controller.accounts.is_reused(uuid, password, history) {
        return Err(ApiError::new(400, "Password was used before: choose another"));
    }
    Ok(())
}

/// Returns whether the password has all four kinds of characters.
fn is_strong(password: &str) -> bool {
    let kinds = [char::is_lowercase, char::is_uppercase, char::is_numeric, |c: char| !c.is_alphanumeric()];
    kinds.iter().all(|kind| password.chars().any(*kind))
}

/// Removes the password from the body of a user's POST, PUT or PATCH and returns it.
pub(super) fn take_password(body: &mut Value) -> Option<Secret> {
    let mut found = None;
    let mut take = |part: Option<&mut Value>| {
        let password = part.and_then(Value::as_object_mut).and_then(|part| part.remove("password"));
        if let Some(Value::String(password)) = password {
            found = Some(Secret::new(password));
        }
    };
    take(Some(body));
    for operation in ["add", "replace"] {
        take(body.get_mut(operation));
    }
    found
}
