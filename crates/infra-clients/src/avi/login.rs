//! Logs in: one caller at a time for all that wait, and with credentials that were refused once in a lock period. Owns
//! the outcomes of logins and the change of credentials; sends nothing but logins.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::config::Credentials;
use super::error::{Error, Kind};
use super::live::{Live, common_headers};
use super::redact::Redact;
use super::session::{Session, locked};
use super::version::Version;
use super::wire::Request;

/// The outcomes of the last logins.
#[derive(Default)]
pub(super) struct Logins {
    /// How many sessions there were.
    epoch: u64,
    /// The refusal, if the controller refused the present credentials.
    refused: Option<Refusal>,
    /// The error of the last login, if it failed for another reason.
    failed: Option<Error>,
}

/// The last refusal of the present credentials.
struct Refusal {
    error: Error,
    /// When they may be sent again; `None`: after a time too long to add to the clock.
    due: Option<Instant>,
}

impl Refusal {
    fn new(error: Error, now: Instant, lock_period: Duration) -> Self {
        Self { error, due: now.checked_add(lock_period) }
    }

    /// Returns the error of a call at `now`, or `None` if a login is due.
    fn standing(&self, now: Instant) -> Option<Error> {
        match self.due.map(|due| due.saturating_duration_since(now)) {
            Some(Duration::ZERO) => None,
            Some(left) => Some(self.error.clone().after(left)),
            None => Some(self.error.clone()),
        }
    }
}

impl Session {
    /// Logs in, unless another caller has done so or failed to since `than` and `ended`: that outcome is shared by
    /// all callers that waited.
    pub(super) async fn log_in(self: Arc<Self>, than: u64, ended: u64) -> Result<Arc<Live>, Error> {
        let mut logins = self.login.lock().await;
        if let Some(live) = self.current(than) {
            return Ok(live);
        }
        if self.is_due.swap(false, Ordering::AcqRel) {
            logins.refused = None;
        }
        if let Some(error) = logins.refused.as_ref().and_then(|refused| refused.standing(Instant::now())) {
            return Err(error);
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
                logins.refused = None;
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
            Err(error) if error.kind() == Kind::Unauthorized => {
                let retry_in = self.lock_period;
                tracing::warn!(
                    controller = self.authority(),
                    user = credentials.user,
                    %error,
                    ?retry_in,
                    "the AVI controller refused the login"
                );
                let now = Instant::now();
                let refusal = logins.refused.insert(Refusal::new(error.clone(), now, retry_in));
                Err(refusal.standing(now).unwrap_or(error))
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
        // Controllers differ in the status of a refused login.
        let reply = reply
            .await
            .map_err(|error| if error.is_refusal() { error.of_kind(Kind::Unauthorized) } else { error })?;
        let own_name = reply.body["session_cookie_name"].as_str();
        let mut live = Live::new(epoch, reply.cookies, own_name, self.newest)?;
        let version = match version_in(&reply.body) {
            Some(version) => version.parse(),
            None => self.ask_version(&live).await,
        };
        match version {
            Ok(version) => live.controller = version,
            Err(error) => {
                // The session is of no use, and counts towards the sessions that the account may have.
                drop(self.log_out(&live).await);
                // The credentials were accepted: this refusal is about something else.
                let refused = matches!(error.kind(), Kind::Unauthorized | Kind::Forbidden);
                return Err(if refused { error.of_kind(Kind::Protocol) } else { error });
            }
        }
        live.api = self.newest.min(live.controller);
        Ok(live)
    }

    /// Reads the version where the answer to the login does not have it.
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
            .ok_or_else(|| Error::new(Kind::Protocol, "the controller does not name its version"))?
            .parse()
    }

    /// Sets other credentials, which end the session and a refusal. Returns false if they are the same.
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

    /// Makes a login due although the controller refused the last.
    pub(super) fn retry_refused(&self) {
        self.is_due.store(true, Ordering::Release);
    }

    /// Records that the account of the `old` credentials has these now. The session stays.
    pub(super) async fn password_changed(&self, old: &Credentials, new: Credentials) {
        let mut logins = self.login.lock().await;
        let mut credentials = locked(&self.credentials);
        // Otherwise other credentials were set meanwhile.
        if *credentials == *old {
            *credentials = new;
            logins.refused = None;
        }
    }
}

fn version_in(body: &Value) -> Option<&str> {
    body["version"]["Version"].as_str()
}
