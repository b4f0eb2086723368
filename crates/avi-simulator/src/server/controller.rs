//! The controller behind the socket: its whole state, and the road every request takes through it. Synchronous.
//!
//! A request under `/api` passes, in this order: session (or basic authentication), rate limit, CSRF, age of the
//! password, version, tenant, upgrade mode; then [`accounts`](super::login), [`fixed`](super::fixed) paths, or
//! [`objects`](super::objects).

use http::HeaderName;
use http::header::{AUTHORIZATION, HOST, REFERER, SET_COOKIE};

use super::accounts::{Accounts, Proof, Verdict};
use super::clock::{Clock, Micros};
use super::directory::{self, Settings, text};
use super::faults::Faults;
use super::journal::Journal;
use super::sessions::{Session, Sessions};
use super::wire::{Reply, Request};
use super::{fixed, login, objects};
use crate::store::PortGroup;
use crate::{ApiError, Assumptions, Caller, Rule, Rules, Scope, Store, Version};

/// Everything that changes, under one lock.
pub(super) struct Controller {
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) accounts: Accounts,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) rules: Rules,
    pub(super) assumptions: Assumptions,
    pub(super) version: Version,
    /// `https://host:port`.
    pub(super) base: String,
    /// When the cluster came up.
    pub(super) up_since: Micros,
    pub(super) upgrading: bool,
    pub(super) unavailable: bool,
    /// What clouds are going to find, by when.
    pub(super) discoveries: Vec<Discovery>,
    window: Window,
}

/// Port groups that a cloud's vCenter has and the cloud does not know yet.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) due: Micros,
    pub(super) cloud: String,
    pub(super) groups: Vec<PortGroup>,
}

/// Requests counted in the running second.
#[derive(Debug, Default)]
struct Window {
    second: u64,
    count: u64,
}

/// Who sent an authenticated request, and as what.
pub(super) struct Client {
    /// The user's uuid.
    pub(super) user: String,
    pub(super) caller: Caller,
}

/// What the log should know of a request, filled in on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) user: Option<String>,
}

impl Controller {
    pub(super) fn new(rules: Rules, assumptions: Assumptions, version: Version, base: String) -> Self {
        let clock = Clock::new();
        Self {
            store: Store::new(rules.clone(), assumptions.clone()),
            sessions: Sessions::new(rules.holds(Rule::SessionExpiry)),
            accounts: Accounts::default(),
            up_since: clock.now(),
            clock,
            faults: Faults::default(),
            journal: Journal::default(),
            rules,
            assumptions,
            version,
            base,
            upgrading: false,
            unavailable: false,
            discoveries: Vec::new(),
            window: Window::default(),
        }
    }

    /// Does what was due by now. Whoever looks at the controller looks at it after this.
    pub(super) fn catch_up(&mut self) {
        let now = self.clock.now();
        let due: Vec<Discovery> = self.discoveries.extract_if(.., |discovery| discovery.due <= now).collect();
        for Discovery { cloud, groups, .. } in due {
            let now = self.clock.tick();
            // The cloud may be gone by now, or another.
            if let Err(error) = self.store.discover(&cloud, &groups, now) {
                tracing::warn!(cloud, error = error.text(), "cannot discover networks");
            }
        }
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Request, seen: &mut Seen) -> Reply {
        if self.unavailable {
            return unavailable();
        }
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let mut reply = match segments.as_slice() {
            ["login"] => login::login(self, request, seen),
            ["logout"] => login::logout(self, request, seen),
            ["api", rest @ ..] => match fixed::anonymous(self, request, rest) {
                Some(reply) => reply,
                None => self.api(request, rest, seen).unwrap_or_else(Reply::from),
            },
            _ => Reply::text(404, "text/html", "<h1>Not Found</h1>"),
        };
        reply.version(self.requested_version(request).unwrap_or(self.version));
        reply
    }

    fn api(&mut self, request: &Request, path: &[&str], seen: &mut Seen) -> Result<Reply, ApiError> {
        let settings = Settings::read(&self.store);
        let (user, session) = self.authenticate(request, &settings)?;
        let Some(account) = self.store.object("user", &user) else {
            return Err(self.unauthenticated());
        };
        let username = directory::username(account).to_owned();
        let expired =
            self.accounts.expired(&user, directory::profile(&self.store, account), self.clock.now());
        seen.user = Some(username.clone());

        let mut reply = self
            .admit(request, &settings, session.as_ref())
            .and_then(|()| {
                if expired && path != ["useraccount"] {
                    let status = self.assumptions.credentials_expired_status;
                    return Err(ApiError::new(status, "Credentials have expired: change the password"));
                }
                let version = self.version_gate(request)?;
                let scope = self.scope(request, &user)?;
                if self.upgrading && request.writes() {
                    return Err(ApiError::new(403, "Configuration is disallowed during upgrade"));
                }
                let caller = Caller {
                    user: username,
                    scope,
                    rights: self.rights(&user),
                    version,
                    base: self.base.clone(),
                    now: self.clock.tick(),
                };
                let client = Client { user, caller };
                login::own(self, request, path, &client)
                    .or_else(|| fixed::answer(self, request, path, &client))
                    .unwrap_or_else(|| objects::answer(self, request, path, &client))
            })
            .unwrap_or_else(Reply::from);
        if let Some(session) = &session {
            set_cookies(&mut reply, session);
        }
        Ok(reply)
    }

    /// What a write of the request's object is answered that comes too late.
    pub(super) fn stale(&self, request: &Request) -> Reply {
        let part = |index: usize| request.segments.get(index).map(String::as_str).unwrap_or_default();
        let (kind, uuid) = (part(1), part(2));
        let name = self.store.object(kind, uuid).and_then(|object| text(object, "name")).unwrap_or_default();
        ApiError::stale(Store::kind(kind).map_or(kind, |kind| kind.model), name).into()
    }

    /// The user's uuid, and the session if it was one.
    pub(super) fn authenticate(
        &mut self,
        request: &Request,
        settings: &Settings,
    ) -> Result<(String, Option<Session>), ApiError> {
        let now = self.clock.now();
        if let Some(credentials) = request.header(AUTHORIZATION.as_str()) {
            let user = settings
                .basic
                .then(|| login::basic(&credentials))
                .flatten()
                .and_then(|(username, password)| self.prove(&username, &Proof::Password(password)).ok());
            return user.map(|user| (user, None)).ok_or_else(|| self.unauthenticated());
        }
        let ids = request.cookies("avi-sessionid").chain(request.cookies("sessionid"));
        let csrf = request.header("x-csrftoken");
        match self.sessions.touch(ids, csrf.as_deref(), settings.limits, now) {
            Some(session) => Ok((session.user.clone(), Some(session))),
            None => Err(self.unauthenticated()),
        }
    }

    /// Judges a username and what proves it. The error is what to answer.
    pub(super) fn prove(&mut self, username: &str, proof: &Proof) -> Result<String, ApiError> {
        // What AKO recognises a refused login by, and never tries again.
        let invalid = || ApiError::new(401, "Invalid credentials");
        let user = directory::user(&self.store, username).ok_or_else(invalid)?;
        let uuid = text(user, "uuid").unwrap_or_default().to_owned();
        let profile = directory::profile(&self.store, user);
        if !directory::active(user) {
            return Err(ApiError::new(self.assumptions.locked_status, "User account is not active"));
        }
        if !self.rules.holds(Rule::PasswordCheck) {
            return Ok(uuid);
        }
        match self.accounts.judge(&uuid, proof, profile, self.clock.now()) {
            Verdict::Locked => Err(ApiError::new(self.assumptions.locked_status, "User account is locked")),
            Verdict::Wrong => Err(invalid()),
            Verdict::Right => Ok(uuid),
        }
    }

    fn unauthenticated(&self) -> ApiError {
        let body =
            crate::error::ErrorBody::Detail("Authentication credentials were not provided.".to_owned());
        ApiError { status: self.assumptions.expired_session_status, body }
    }

    /// Rate limit and CSRF.
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
        let Some(session) = session.filter(|_| request.writes() && self.rules.holds(Rule::Csrf)) else {
            return Ok(());
        };
        let refused =
            |text: &str| ApiError { status: 401, body: crate::error::ErrorBody::Raw(text.to_owned()) };
        let Some(referer) = request.header(REFERER.as_str()) else {
            return Err(refused("Referer checking failed - no Referer."));
        };
        let host = request.header(HOST.as_str());
        if self.assumptions.referer_same_origin && !same_origin(&referer, host.as_deref()) {
            return Err(refused("Referer checking failed - the Referer is of another origin."));
        }
        let token = request.header("x-csrftoken");
        let cookie = request.cookies("csrftoken").any(|cookie| cookie == session.csrf);
        if token.as_deref() != Some(session.csrf.as_str()) || !cookie {
            return Err(refused("CSRF token missing or incorrect."));
        }
        Ok(())
    }

    fn requested_version(&self, request: &Request) -> Option<Version> {
        match request.header("x-avi-version") {
            None => Some(Version::UNSTATED),
            Some(text) => text.parse().ok().filter(|version| *version <= self.version),
        }
    }

    fn version_gate(&self, request: &Request) -> Result<Version, ApiError> {
        self.requested_version(request).ok_or_else(|| {
            let asked = request.header("x-avi-version").unwrap_or_default();
            ApiError::new(
                self.assumptions.invalid_version_status,
                format!("Invalid version {asked}: this controller has {}", self.version),
            )
        })
    }

    /// The tenant that the request names, or the user's own.
    fn scope(&self, request: &Request, user: &str) -> Result<Scope, ApiError> {
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
            Some(name) if !name.is_empty() => directory::named(&self.store, "tenant", name)
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

/// The three cookies of a session, as every reply to it carries them.
pub(super) fn set_cookies(reply: &mut Reply, session: &Session) {
    let cookie = |reply: &mut Reply, text: String| reply.header(SET_COOKIE, &text);
    cookie(reply, format!("csrftoken={}; Max-Age=31449600; Path=/; Secure", session.csrf));
    for name in ["avi-sessionid", "sessionid"] {
        cookie(reply, format!("{name}={}; HttpOnly; Max-Age=86400; Path=/; Secure", session.id));
    }
}

/// What the web server in front answers while the controller behind it is down.
fn unavailable() -> Reply {
    Reply::text(
        503,
        "text/html",
        "<html><head><title>503 Service Temporarily Unavailable</title></head></html>",
    )
}

/// Whether a `Referer` is of the host the request was sent to. Clients leave the usual port out of one and not of the
/// other.
fn same_origin(referer: &str, host: Option<&str>) -> bool {
    let plain = |host: &str| host.strip_suffix(":443").unwrap_or(host).to_ascii_lowercase();
    let origin = referer.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    origin.is_some() && origin.map(plain) == host.map(plain)
}

/// Header names that `http` has no constant for.
pub(super) const SLUG: HeaderName = HeaderName::from_static("slug");

#[cfg(test)]
mod tests {
    use super::same_origin;

    #[test]
    fn origins() {
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
            assert_eq!(same_origin(referer, Some(host)), same, "{referer} {host}");
        }
        assert!(!same_origin("https://avi.test", None));
    }
}
