//! The one session of a client: login by one caller at a time for all who wait, never again with credentials that
//! were refused; its end after silence. Owns the second try of a call that found the session gone, or
//! the connection broken before any harm; knows nothing of what the calls are about.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::{Value, json};
use tracing::Instrument;

use super::config::{Config, Credentials, Identity, Scope};
use super::error::{Error, Kind};
use super::live::{Live, common_headers, header};
use super::redact::Redact;
use super::reply::Reply;
use super::version::{self, Version};
use super::wire::{Request, Wire};
use crate::Trust;

/// A logout is a courtesy; it is not waited for long.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked of the controller.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    /// With its query.
    pub(super) path: &'a str,
    pub(super) kind: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) body: Body<'a>,
    /// The uuid of what is made.
    pub(super) slug: Option<&'a str>,
}

/// What goes with it, in the newest field names.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Object(&'a Value),
    /// Parts of an object under `add`, `replace` and `delete`.
    Patch(&'a Value),
}

pub(super) struct Session {
    wire: Wire,
    trust: Trust,
    scope: Scope,
    newest: Version,
    stale_tries: u32,
    idle: Option<Duration>,
    credentials: Mutex<Credentials>,
    live: Mutex<Option<Arc<Live>>>,
    login: tokio::sync::Mutex<Logins>,
    /// Logins that have ended, well or not.
    ended: AtomicU64,
    /// Calls under way.
    busy: AtomicUsize,
}

/// How the last logins went.
#[derive(Default)]
struct Logins {
    /// Sessions so far.
    epoch: u64,
    /// The controller refused these credentials.
    refused: Option<Error>,
    /// The last one failed for another reason.
    failed: Option<Error>,
}

impl Session {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            wire: Wire::new(&config)?,
            trust: config.trust,
            scope: config.scope,
            newest: config.api_version,
            stale_tries: config.stale_tries,
            idle: config.idle_logout,
            credentials: Mutex::new(config.credentials),
            live: Mutex::default(),
            login: tokio::sync::Mutex::default(),
            ended: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        })
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// See [`Config::stale_tries`].
    pub(super) fn stale_tries(&self) -> u32 {
        self.stale_tries
    }

    pub(super) fn authority(&self) -> &str {
        self.wire.authority()
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::new(self.authority(), &locked(&self.credentials), &self.trust, &self.scope)
    }

    pub(super) fn credentials(&self) -> Credentials {
        locked(&self.credentials).clone()
    }

    /// Makes a call, logging in before if there is no session. If the session turns out to be gone it is made once
    /// more after a login: a controller that does not know the session has done nothing. If it only looks and the
    /// connection broke it is made once more, too.
    pub(super) async fn call(self: &Arc<Self>, call: Call<'_>) -> Result<Reply, Error> {
        let _busy = Busy::new(&self.busy);
        let live = self.live(0).await?;
        let mut result = self.send(&live, &call).await;
        if call.method.is_safe() && result.as_ref().is_err_and(Error::repeatable) {
            result = self.send(&live, &call).await;
        }
        if result.as_ref().is_err_and(Error::expired) {
            tracing::debug!(controller = self.authority(), "the session is gone; logging in again");
            let live = self.live(live.epoch).await?;
            result = self.send(&live, &call).await;
        }
        result
    }

    async fn send(&self, live: &Live, call: &Call<'_>) -> Result<Reply, Error> {
        let body = match call.body {
            Body::None => None,
            Body::Object(object) => {
                let mut object = object.clone();
                version::fit(call.kind, &mut object, live.api)?;
                Some(object)
            }
            Body::Patch(patch) => {
                let mut patch = patch.clone();
                for part in patch.as_object_mut().into_iter().flat_map(|parts| parts.values_mut()) {
                    version::fit(call.kind, part, live.api)?;
                }
                Some(patch)
            }
        };
        let mut headers = live.headers(self.authority())?;
        headers.insert("x-avi-version", header(live.api.to_string().as_bytes(), "a version")?);
        match call.scope {
            Scope::Name(name) => headers.insert("x-avi-tenant", header(name.as_bytes(), "a tenant's name")?),
            Scope::Uuid(uuid) => {
                headers.insert("x-avi-tenant-uuid", header(uuid.as_bytes(), "a tenant's uuid")?)
            }
            Scope::All => headers.insert("x-avi-tenant", HeaderValue::from_static("*")),
        };
        if let Some(slug) = call.slug {
            headers.insert("slug", header(slug.as_bytes(), "a uuid")?);
        }
        let mut redact = self.redact(live);
        if let Some(body) = &body {
            redact.add_body(body);
        }
        let request = Request {
            method: call.method.clone(),
            path: call.path,
            resource: call.kind,
            headers,
            body: body.as_ref(),
            redact,
        };
        live.touch();
        let reply = self.wire.exchange(request).await?;
        live.touch();
        live.keep(&reply.cookies);
        Ok(reply)
    }

    /// The current session if it is a later one than `than`, else a new one.
    pub(super) async fn live(self: &Arc<Self>, than: u64) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.current(than) {
            return Ok(live);
        }
        let (this, ended) = (self.clone(), self.ended.load(Ordering::Acquire));
        // A task of its own: a caller that gives up does not leave a login whose outcome nobody takes note of.
        let login = tokio::spawn(async move { this.log_in(than, ended).await }.in_current_span());
        login.await.unwrap_or_else(|_| Err(Error::new(Kind::Transport, "the login was abandoned")))
    }

    fn current(&self, than: u64) -> Option<Arc<Live>> {
        locked(&self.live).clone().filter(|live| live.epoch > than)
    }

    /// Logs in unless somebody has meanwhile, or has tried in vain: then that outcome is everybody's.
    async fn log_in(self: Arc<Self>, than: u64, ended: u64) -> Result<Arc<Live>, Error> {
        let mut logins = self.login.lock().await;
        if let Some(live) = self.current(than) {
            return Ok(live);
        }
        if let Some(refused) = &logins.refused {
            return Err(refused.clone());
        }
        if let Some(failed) = &logins.failed
            && self.ended.load(Ordering::Acquire) > ended
        {
            return Err(failed.clone());
        }
        let credentials = self.credentials();
        let outcome = self.try_log_in(&credentials, logins.epoch + 1).await.map_err(Error::harmless);
        self.ended.fetch_add(1, Ordering::Release);
        logins.failed = None;
        match outcome {
            Ok(live) => {
                let live = Arc::new(live);
                logins.epoch = live.epoch;
                *locked(&self.live) = Some(live.clone());
                tracing::info!(
                    controller = self.authority(),
                    version = %live.controller,
                    user = credentials.user,
                    "logged in to the AVI controller"
                );
                self.watch(&live);
                Ok(live)
            }
            Err(error) if matches!(error.kind(), Kind::Auth | Kind::Forbidden) => {
                let error = error.of_kind(Kind::Auth);
                tracing::warn!(controller = self.authority(), user = credentials.user, %error, "the AVI controller refused the login");
                logins.refused = Some(error.clone());
                Err(error)
            }
            Err(error) => {
                logins.failed = Some(error.clone());
                Err(error)
            }
        }
    }

    async fn try_log_in(&self, credentials: &Credentials, epoch: u64) -> Result<Live, Error> {
        let proof = &credentials.proof;
        let body = json!({"username": credentials.user, proof.field(): proof.secret().expose()});
        let mut redact = Redact::default();
        redact.add(proof.secret());
        let reply = self.wire.exchange(Request {
            method: Method::POST,
            path: "/login",
            resource: "login",
            headers: common_headers(self.authority())?,
            body: Some(&body),
            redact,
        });
        let reply = reply.await?;
        let own_name = reply.body["session_cookie_name"].as_str();
        let mut live = Live::new(epoch, reply.cookies, own_name, self.newest)?;
        live.controller = match version_in(&reply.body) {
            Some(version) => version.parse()?,
            None => self.ask_version(&live).await?,
        };
        live.api = self.newest.min(live.controller);
        Ok(live)
    }

    /// Where the login's answer does not say it.
    async fn ask_version(&self, live: &Live) -> Result<Version, Error> {
        let reply = self.wire.exchange(Request {
            method: Method::GET,
            path: "/api/initial-data",
            resource: "initial-data",
            headers: live.headers(self.authority())?,
            body: None,
            redact: self.redact(live),
        });
        let reply = reply.await?;
        version_in(&reply.body)
            .ok_or_else(|| Error::new(Kind::Protocol, "the controller does not say which version it is"))?
            .parse()
    }

    fn redact(&self, live: &Live) -> Redact {
        let mut redact = Redact::default();
        redact.add(locked(&self.credentials).proof.secret());
        live.redact(&mut redact);
        redact
    }

    /// Other credentials from now on, and with them a new session; also the end of a refusal. `false` if they are
    /// the same.
    pub(super) async fn set_credentials(&self, credentials: Credentials) -> bool {
        let mut logins = self.login.lock().await;
        if *locked(&self.credentials) == credentials {
            return false;
        }
        let old = locked(&self.live).take();
        *locked(&self.credentials) = credentials;
        logins.refused = None;
        logins.failed = None;
        if let Some(old) = old {
            drop(self.log_out(&old).await);
        }
        true
    }

    /// The same account has another password now, by a call of this session, which stays.
    pub(super) async fn password_changed(&self, credentials: Credentials) {
        let mut logins = self.login.lock().await;
        *locked(&self.credentials) = credentials;
        logins.refused = None;
    }

    /// Ends the session, if there is one and it is no later one than `until`.
    pub(super) async fn end(&self, until: u64) -> Result<(), Error> {
        let _logins = self.login.lock().await;
        let ended = locked(&self.live).take_if(|live| live.epoch <= until);
        match ended {
            Some(live) => self.log_out(&live).await,
            None => Ok(()),
        }
    }

    async fn log_out(&self, live: &Live) -> Result<(), Error> {
        let request = Request {
            method: Method::POST,
            path: "/logout",
            resource: "logout",
            headers: live.headers(self.authority())?,
            body: None,
            redact: self.redact(live),
        };
        let result = tokio::time::timeout(LOGOUT_TIMEOUT, self.wire.exchange(request)).await;
        match result.unwrap_or_else(|_| Err(Error::new(Kind::Transport, "the logout was not answered"))) {
            Err(error) if !error.expired() => {
                tracing::debug!(%error, "logout failed");
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Ends the session after silence. The watch ends with the session, or with the client.
    fn watch(self: &Arc<Self>, live: &Arc<Live>) {
        let Some(idle) = self.idle else { return };
        let (session, live) = (Arc::downgrade(self), live.clone());
        tokio::spawn(async move {
            loop {
                let due = live.used() + idle;
                tokio::time::sleep_until(due.into()).await;
                let Some(session) = session.upgrade() else { return };
                if session.current(live.epoch - 1).is_none_or(|current| current.epoch != live.epoch) {
                    return;
                }
                if session.busy.load(Ordering::Acquire) > 0 {
                    live.touch();
                } else if live.used().elapsed() >= idle {
                    drop(session.end(live.epoch).await);
                    return;
                }
            }
        });
    }
}

/// Counts a call as long as it lasts.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn version_in(body: &Value) -> Option<&str> {
    body["version"]["Version"].as_str()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
