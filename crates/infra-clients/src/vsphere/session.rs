//! The one session: login, once and by one caller at a time, never more often than an account's
//! lock-out allows; keeping it alive; logout. Owns the limit on concurrent calls and the retry of
//! a call that found the session gone; knows nothing of what the calls are about.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore, watch};
use vim_rs::core::client::{Error as VimError, Transport, VimClientHandle, unmarshal};
use vim_rs::mo::{ServiceInstance, SessionManager};
use vim_rs::types::structs::{ManagedObjectReference, PropertyFilterSpec, ServiceContent};

use super::config::Config;
use super::error::{Error, Kind};
use super::moref::MoRef;
use super::soap::{Body, Soap, bound};
use super::updates::{ObjectUpdate, continue_request, read_objects, retrieve_request};
use crate::{Secret, https};

/// After a refused login; doubled each time. Lock-out policies count five in a few minutes.
const FIRST_LOCK_OUT_PAUSE: Duration = Duration::from_mins(1);
const LONGEST_LOCK_OUT_PAUSE: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Objects in one answer when properties are read once.
const PAGE: i32 = 500;

pub(super) struct Session {
    soap: Arc<Soap>,
    user: String,
    password: Secret,
    call_timeout: Duration,
    content: OnceCell<Arc<ServiceContent>>,
    /// How many logins there have been. A new one ends everything that belonged to the last.
    epoch: watch::Sender<u64>,
    login: tokio::sync::Mutex<Option<Refused>>,
    calls: Semaphore,
    /// When the last ordinary call was answered.
    last_answer: Mutex<Instant>,
}

/// The last login was refused.
struct Refused {
    until: Instant,
    pause: Duration,
    error: Error,
}

impl Session {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let agent = format!("{}/{}", config.agent.0, config.agent.1);
        // The cookies are the session.
        let http = https::build(https::client(&config.trust, CONNECT_TIMEOUT)?.cookie_store(true))?;
        let soap = Soap::new(http, &https::authority("vCenter", &["sdk"], &config.host)?, agent);
        Ok(Self {
            soap: Arc::new(soap),
            user: config.user.clone(),
            password: config.password.clone(),
            call_timeout: config.call_timeout,
            content: OnceCell::new(),
            epoch: watch::Sender::new(0),
            login: tokio::sync::Mutex::new(None),
            calls: Semaphore::new(config.concurrency.max(1)),
            last_answer: Mutex::new(Instant::now()),
        })
    }

    /// The number of the current session, 0 before the first; it changes with every login.
    pub(super) fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// The root objects, asked for once.
    pub(super) async fn content(&self) -> Result<&Arc<ServiceContent>, Error> {
        self.content
            .get_or_try_init(|| async {
                let this = MoRef::new("ServiceInstance", "ServiceInstance");
                let body = Body::new("RetrieveServiceContent", &this, None);
                let answer = self.soap.send(&body, None, self.call_timeout).await?;
                let content = unmarshal::<ServiceContent>(Transport::Soap, answer.as_bytes())
                    .map_err(|_| Error::new(Kind::Protocol, "what answers there is not a vCenter"))?;
                tracing::info!(
                    server = content.about.full_name,
                    api = content.about.api_version,
                    "vCenter found"
                );
                Ok(Arc::new(content))
            })
            .await
    }

    /// One of the root objects, which every vCenter has.
    pub(super) async fn root_object(
        &self,
        pick: impl FnOnce(&ServiceContent) -> Option<&ManagedObjectReference>,
    ) -> Result<MoRef, Error> {
        let content = self.content().await?;
        pick(content)
            .map(MoRef::from)
            .ok_or_else(|| Error::new(Kind::Protocol, "the server lacks a root object: it is no vCenter"))
    }

    /// The property collector of the session.
    pub(super) async fn collector(&self) -> Result<MoRef, Error> {
        self.root_object(|content| Some(&content.property_collector)).await
    }

    /// Sends a call as it is: no limit, no login.
    pub(super) async fn send(&self, body: &Body, deadline: Duration) -> Result<String, Error> {
        self.soap.send(body, None, deadline).await
    }

    /// Makes a call through the generated bindings as it is: no limit, no login.
    pub(super) async fn direct<T, F, Fut>(&self, op_id: Option<&str>, call: F) -> Result<T, Error>
    where
        F: FnOnce(VimClientHandle) -> Fut,
        Fut: Future<Output = Result<T, VimError>>,
    {
        bound(&self.soap, self.content().await?, op_id, self.call_timeout, call).await
    }

    /// Makes an ordinary call; if the session turns out to be gone, once more after a login.
    pub(super) async fn call<T, F, Fut>(&self, op_id: Option<&str>, call: F) -> Result<T, Error>
    where
        F: Fn(VimClientHandle) -> Fut,
        Fut: Future<Output = Result<T, VimError>>,
    {
        self.with_session(|| self.direct(op_id, &call)).await
    }

    async fn with_session<T, F, Fut>(&self, call: F) -> Result<T, Error>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let _permit =
            self.calls.acquire().await.map_err(|_| Error::new(Kind::Canceled, "the connection is closed"))?;
        let epoch = *self.epoch.borrow();
        let mut result = call().await;
        if result.as_ref().is_err_and(Error::is_session_lost) {
            self.renew(epoch).await?;
            result = call().await;
        }
        if result.is_ok() {
            *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        result
    }

    /// Reads properties once, page by page.
    pub(super) async fn retrieve(&self, filter: &PropertyFilterSpec) -> Result<Vec<ObjectUpdate>, Error> {
        let collector = &self.collector().await?;
        self.with_session(|| async move {
            let mut objects = Vec::new();
            let mut request = retrieve_request(collector, filter, PAGE);
            loop {
                let answer = self.soap.send(&request, None, self.call_timeout).await?;
                match read_objects(&answer, |object| objects.push(object))? {
                    Some(token) => request = continue_request(collector, &token),
                    None => return Ok(objects),
                }
            }
        })
        .await
    }

    /// Logs in unless somebody has since session `seen`. To be called when there is no session or
    /// vCenter has said that it is gone. It is asked again before: logging in over a live session
    /// is refused as if the password were wrong, and counts towards a lock-out.
    pub(super) async fn renew(&self, seen: u64) -> Result<(), Error> {
        let mut refused = self.login.lock().await;
        if *self.epoch.borrow() != seen {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(refused) = refused.as_ref().filter(|refused| refused.until > now) {
            return Err(refused.error.clone().after(refused.until - now));
        }
        if seen > 0 {
            match self.direct(None, current_time).await {
                Err(error) if error.is_session_lost() => {}
                alive_or_unknown => return alive_or_unknown.map(drop),
            }
        }
        let manager = self.root_object(|content| content.session_manager.as_ref()).await?;
        let login = self.direct(None, |client| async move {
            SessionManager::new(client, manager.value())
                .login(&self.user, self.password.expose(), Some("en"))
                .await
        });
        match login.await {
            Ok(_) => {
                *refused = None;
                self.epoch.send_modify(|epoch| *epoch += 1);
                tracing::info!(user = self.user, "logged in to vCenter");
                Ok(())
            }
            Err(error) if matches!(error.kind(), Kind::Unauthorized | Kind::Forbidden) => {
                let pause = refused
                    .as_ref()
                    .map_or(FIRST_LOCK_OUT_PAUSE, |last| LONGEST_LOCK_OUT_PAUSE.min(last.pause * 2));
                tracing::warn!(user = self.user, %error, ?pause, "vCenter refused the login");
                let fault = error.fault().unwrap_or_default();
                let message = format!("vCenter refuses to let {} in ({fault})", self.user);
                let error = error.clone().explained(message);
                *refused = Some(Refused { until: now + pause, pause, error: error.clone() });
                Err(error.after(pause))
            }
            Err(error) => Err(error),
        }
    }

    /// When the next login may be tried, if the last was refused.
    pub(super) async fn refused_until(&self) -> Option<Instant> {
        self.login.lock().await.as_ref().map(|refused| refused.until)
    }

    /// Makes a call whenever there was none for so long, for ever.
    pub(super) async fn keep_alive(&self, pause: Duration) {
        loop {
            let last = *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
            let due = last + pause;
            if Instant::now() < due {
                tokio::time::sleep_until(due.into()).await;
                continue;
            }
            if *self.epoch.borrow() > 0
                && let Err(error) = self.call(None, current_time).await
            {
                tracing::debug!(%error, "keep-alive failed");
            }
            *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
    }

    /// Ends the session at vCenter, if there is one; no call is made after.
    pub(super) async fn logout(&self) {
        self.calls.close();
        if *self.epoch.borrow() == 0 {
            return;
        }
        let Ok(manager) = self.root_object(|content| content.session_manager.as_ref()).await else { return };
        let body = Body::new("Logout", &manager, None);
        if let Err(error) = self.soap.send(&body, None, Duration::from_secs(5)).await {
            tracing::debug!(%error, "logout failed");
        }
    }
}

/// The cheapest call that needs a session.
async fn current_time(client: VimClientHandle) -> Result<String, VimError> {
    ServiceInstance::new(client, "ServiceInstance").current_time().await
}
