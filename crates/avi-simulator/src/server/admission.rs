//! Checks of every request before it reaches a path: who sends it, rate limit, CSRF, version and tenant.
//! [`router`](super::router) calls them in this order.

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, REFERER, SET_COOKIE};

use super::accounts::{Credential, CredentialCheck, Secret};
use super::directory::{self, Settings, text};
use super::sessions::Session;
use super::state::{Controller, Window};
use super::wire::{Reply, Request};
use crate::error::ErrorBody;
use crate::{ApiError, Caller, Rule, Scope, Version};

/// The sender of an authenticated request.
pub(super) struct Client {
    /// The user's uuid.
    pub(super) user: String,
    pub(super) caller: Caller,
}

impl Controller {
    /// Authenticates a request by its `Authorization` or its session cookie. Returns the user's uuid, and the session if
    /// there is one.
    pub(super) fn authenticate(
        &mut self,
        request: &Request,
        settings: &Settings,
    ) -> Result<(String, Option<Session>), ApiError> {
        let now = self.clock.now();
        if let Some(credentials) = request.header(AUTHORIZATION.as_str()) {
            let user = settings.basic.then(|| parse_basic(&credentials)).flatten().and_then(
                |(username, password)| self.verify(&username, &Credential::Password(password)).ok(),
            );
            return user.map(|user| (user, None)).ok_or_else(|| self.unauthenticated());
        }
        let ids = request.cookies("avi-sessionid").chain(request.cookies("sessionid"));
        let csrf = request.header("x-csrftoken");
        match self.sessions.touch(ids, csrf.as_deref(), settings.limits, now) {
            Some(session) => Ok((session.user.clone(), Some(session))),
            None => Err(self.unauthenticated()),
        }
    }

    /// Verifies a user's password or token and returns the user's uuid. Counts a wrong one, which may lock the account.
    pub(super) fn verify(&mut self, username: &str, credential: &Credential) -> Result<String, ApiError> {
        // AKO recognises a refused login by this text and does not retry it.
        let invalid = || ApiError::new(401, "Invalid credentials");
        let user = directory::find_user(&self.store, username).ok_or_else(invalid)?;
        let uuid = text(user, "uuid").unwrap_or_default().to_owned();
        let profile = directory::profile(&self.store, user);
        if !directory::is_active(user) {
            return Err(ApiError::new(self.assumptions.locked_status, "User account is not active"));
        }
        if !self.rules.holds(Rule::PasswordCheck) {
            return Ok(uuid);
        }
        match self.accounts.check(&uuid, credential, profile, self.clock.now()) {
            CredentialCheck::Locked => {
                Err(ApiError::new(self.assumptions.locked_status, "User account is locked"))
            }
            CredentialCheck::Wrong => Err(invalid()),
            CredentialCheck::Right => Ok(uuid),
        }
    }

    /// Returns the refusal of a request without a live session.
    pub(super) fn unauthenticated(&self) -> ApiError {
        let body = ErrorBody::Detail("Authentication credentials were not provided.".to_owned());
        ApiError { status: self.assumptions.expired_session_status, body }
    }

    /// Checks the rate limit and, for a write with a session, `Referer` and CSRF token.
    pub(super) fn admit(
        &mut self,
        request: &Request,
        settings: &Settings,
        session: Option<&Session>,
    ) -> Result<(), ApiError> {
        if let Some(rate) = settings.rate {
            let second = self.clock.now() / 1_000_000;
            if self.window.second != second {
                self.window = Window { second, count: 0 };
            }
            self.window.count += 1;
            if self.window.count > rate {
                return Err(ApiError::new(self.assumptions.rate_limit_status, "Too many requests"));
            }
        }
        let Some(session) = session.filter(|_| request.is_write() && self.rules.holds(Rule::Csrf)) else {
            return Ok(());
        };
        let refuse = |text: &str| ApiError { status: 401, body: ErrorBody::Raw(text.to_owned()) };
        let Some(referer) = request.header(REFERER.as_str()) else {
            return Err(refuse("Referer checking failed - no Referer."));
        };
        let host = request.header(HOST.as_str());
        if self.assumptions.referer_same_origin && !is_same_origin(&referer, host.as_deref()) {
            return Err(refuse("Referer checking failed - the Referer is of another origin."));
        }
        let token = request.header("x-csrftoken");
        let cookie = request.cookies("csrftoken").any(|cookie| cookie == session.csrf);
        if token.as_deref() != Some(session.csrf.as_str()) || !cookie {
            return Err(refuse("CSRF token missing or incorrect."));
        }
        Ok(())
    }

    /// Returns the API version of a request's reply; `None` if the requested one is invalid.
    pub(super) fn requested_version(&self, request: &Request) -> Option<Version> {
        match request.header("x-avi-version") {
            None => Some(Version::UNSTATED),
            Some(text) => text.parse().ok().filter(|version| *version <= self.version),
        }
    }

    /// Returns the API version of a request, or the refusal of an invalid one.
    pub(super) fn check_version(&self, request: &Request) -> Result<Version, ApiError> {
        self.requested_version(request).ok_or_else(|| {
            let requested = request.header("x-avi-version").unwrap_or_default();
            ApiError::new(
                self.assumptions.invalid_version_status,
                format!("Invalid version {requested}: this controller has {}", self.version),
            )
        })
    }

    /// Returns the tenant that the request names, or the user's default tenant.
    pub(super) fn scope(&self, request: &Request, user: &str) -> Result<Scope, ApiError> {
        let unknown = |tenant: &str| ApiError::new(403, format!("Tenant '{tenant}' does not exist!"));
        if let Some(uuid) = request.header("x-avi-tenant-uuid") {
            return match &*uuid {
                "*" => Ok(Scope::All),
                uuid if self.store.object("tenant", uuid).is_some() => Ok(Scope::Tenant(uuid.to_owned())),
                uuid => Err(unknown(uuid)),
            };
        }
        match request.header("x-avi-tenant").as_deref() {
            Some("*") => Ok(Scope::All),
            Some(name) if !name.is_empty() => directory::find_by_name(&self.store, "tenant", name)
                .and_then(|tenant| text(tenant, "uuid"))
                .map(|uuid| Scope::Tenant(uuid.to_owned()))
                .ok_or_else(|| unknown(name)),
            _ => {
                let own = self.store.object("user", user);
                let tenant = own.map_or("admin", |user| directory::default_tenant(&self.store, user));
                Ok(Scope::Tenant(tenant.to_owned()))
            }
        }
    }
}

/// Adds the three cookies of a session, which every reply to a request of the session has.
pub(super) fn set_cookies(reply: &mut Reply, session: &Session) {
    let csrf = format!("csrftoken={}; Max-Age=31449600; Path=/; Secure", session.csrf);
    reply.add_header(SET_COOKIE, &csrf);
    for name in ["avi-sessionid", "sessionid"] {
        let cookie = format!("{name}={}; HttpOnly; Max-Age=86400; Path=/; Secure", session.id);
        reply.add_header(SET_COOKIE, &cookie);
    }
}

/// Parses `Basic …`: username and password.
fn parse_basic(credentials: &str) -> Option<(String, Secret)> {
    let decoded = BASE64.decode(credentials.strip_prefix("Basic ")?.trim().as_bytes()).ok()?;
    let (username, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((username.to_owned(), Secret::new(password)))
}

/// Returns whether a `Referer` names the host of the request. A client may leave out the default port in one of the two.
fn is_same_origin(referer: &str, host: Option<&str>) -> bool {
    let normalize = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let origin = referer.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    origin.is_some() && origin.map(normalize) == host.map(normalize)
}

#[cfg(test)]
mod tests {
    use super::is_same_origin;

    #[test]
    fn origins_are_compared_by_host_and_port() {
        for (referer, host, same) in [
            ("https://avi.test", "avi.test", true),
            ("https://avi.test/", "avi.test", true),
            ("https://avi.test:443/x", "avi.test", true),
            ("https://Avi.test/", "avi.test:443", true),
            ("https://avi.test:8443/", "avi.test:8443", true),
            ("https://avi.test:8443/", "avi.test", false),
            ("http://avi.test/", "avi.test", false),
            ("https://avi.test.evil/", "avi.test", false),
            ("avi.test", "avi.test", false),
        ] {
            assert_eq!(is_same_origin(referer, Some(host)), same, "{referer} {host}");
        }
        assert!(!is_same_origin("https://avi.test", None));
    }
}
