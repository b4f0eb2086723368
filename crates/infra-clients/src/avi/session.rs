//! The session of a client, and its end after idle time. Owns the second attempt of a call that found the session
//! gone, or its connection broken before it had an effect; knows nothing of what the calls are about. The login is in
//! `login`.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::Value;
use tracing::Instrument;

use super::config::{Config, Credentials, Identity, Scope};
use super::error::{Error, Kind};
use super::live::{Live, header};
use super::login::Logins;
use super::redact::Redact;
use super::reply::Reply;
use super::version::{self, Version};
use super::wire::{Request, Wire};
use crate::Trust;

/// Longest wait for a logout, which only frees a session earlier.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shortest idle time that counts.
const SHORTEST_SILENCE: Duration = Duration::from_millis(50);

/// A call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    /// The path with its query.
    pub(super) path: &'a str,
    pub(super) kind: &'a str,
    pub(super) scope: &'a Scope,
    pub(super) body: Body<'a>,
    /// The uuid of the object to create.
    pub(super) slug: Option<&'a str>,
}

/// The body of a call, with the newest field names.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Object(&'a Value),
    /// Parts of an object under `add`, `replace` and `delete`.
    Patch(&'a Value),
}

pub(super) struct Session {
    pub(super) wire: Wire,
    trust: Trust,
    scope: Scope,
    pub(super) newest: Version,
    stale_tries: u32,
    pub(super) lock_period: Duration,
    idle: Option<Duration>,
    pub(super) credentials: Mutex<Credentials>,
    pub(super) live: Mutex<Option<Arc<Live>>>,
    pub(super) login: tokio::sync::Mutex<Logins>,
    /// Whether the next login is due although the controller refused the last.
    pub(super) is_due: AtomicBool,
    /// How many logins have ended, with success or not.
    pub(super) ended: AtomicU64,
    /// How many calls are in flight.
    busy: AtomicUsize,
}

impl Session {
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            wire: Wire::new(&config)?,
            trust: config.trust,
            scope: config.scope,
            newest: config.api_version,
            stale_tries: config.stale_tries,
            lock_period: config.lock_period,
            idle: config.idle_logout,
            credentials: Mutex::new(config.credentials),
            live: Mutex::default(),
            login: tokio::sync::Mutex::default(),
            is_due: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
        })
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the longest wait for the lock of an object.
    pub(super) fn patience(&self) -> Duration {
        self.wire.reply_timeout()
    }

    /// Returns [`Config::stale_tries`].
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

    /// Makes a call; logs in before if there is no session. If the session turns out to be gone the call is made once
    /// more after a login: a controller that does not know the session has done nothing. A read whose connection
    /// broke is made once more, too.
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
            Scope::Name(name) | Scope::Uuid(name) if !Scope::can_name(name) => {
                let text = format!("{name:?} cannot name a tenant in a call; give the tenant's uuid");
                return Err(Error::new(Kind::Invalid, text));
            }
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
        let mut reply = self.wire.exchange(request).await?;
        live.touch();
        live.keep(std::mem::take(&mut reply.cookies));
        Ok(reply)
    }

    /// Returns the current session if it is later than `than`, or a new one.
    pub(super) async fn live(self: &Arc<Self>, than: u64) -> Result<Arc<Live>, Error> {
        if let Some(live) = self.current(than) {
            return Ok(live);
        }
        let (this, ended) = (self.clone(), self.ended.load(Ordering::Acquire));
        // A task of its own: if the caller drops this future, the outcome of the login is still recorded.
        let login = tokio::spawn(async move { this.log_in(than, ended).await }.in_current_span());
        login.await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Canceled, "the process is ending; the login was dropped"))
        })
    }

    pub(super) fn current(&self, than: u64) -> Option<Arc<Live>> {
        locked(&self.live).clone().filter(|live| live.epoch > than)
    }

    pub(super) fn redact(&self, live: &Live) -> Redact {
        let mut redact = Redact::default();
        redact.add(locked(&self.credentials).proof.secret());
        live.redact(&mut redact);
        redact
    }

    /// Ends the session, if there is one and `ends` agrees.
    pub(super) async fn end(&self, ends: impl FnOnce(&Live) -> bool + Send) -> Result<(), Error> {
        let _logins = self.login.lock().await;
        let ended = locked(&self.live).take_if(|live| ends(live));
        match ended {
            Some(live) => self.log_out(&live).await,
            None => Ok(()),
        }
    }

    pub(super) async fn log_out(&self, live: &Live) -> Result<(), Error> {
        let request = Request {
            method: Method::POST,
            path: "/logout",
            resource: "logout",
            headers: live.headers(self.authority())?,
            body: None,
            redact: self.redact(live),
        };
        let result = tokio::time::timeout(LOGOUT_TIMEOUT, self.wire.exchange(request)).await;
        match result.unwrap_or_else(|_| Err(Error::new(Kind::Timeout, "the logout was not answered"))) {
            Err(error) if !error.expired() => {
                tracing::debug!(%error, "logout failed");
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Ends the session after idle time. This task ends with the session, or with the client.
    pub(super) fn watch(self: &Arc<Self>, live: &Arc<Live>) {
        let Some(idle) = self.idle.map(|idle| idle.max(SHORTEST_SILENCE)) else { return };
        let (session, live) = (Arc::downgrade(self), live.clone());
        tokio::spawn(async move {
            // An idle time too long to add to the clock disables this.
            while let Some(due) = live.used().checked_add(idle) {
                tokio::time::sleep_until(due.into()).await;
                let Some(session) = session.upgrade() else { return };
                if session.current(live.epoch - 1).is_none_or(|current| current.epoch != live.epoch) {
                    return;
                }
                if session.busy.load(Ordering::Acquire) > 0 {
                    live.touch();
                } else if live.used().elapsed() >= idle {
                    // A call is counted as in flight before it takes the session: at this point none has it, and none
                    // will take it.
                    let silent = |now: &Live| {
                        now.epoch == live.epoch
                            && session.busy.load(Ordering::Acquire) == 0
                            && now.used().elapsed() >= idle
                    };
                    drop(session.end(silent).await);
                }
            }
        });
    }
}

/// Counts a call as in flight while it exists.
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

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
