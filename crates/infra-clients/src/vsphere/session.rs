//! A session: login, by one caller at a time and never more often than an account's lock-out allows; keeping it
//! alive; logout. Owns the limit on concurrent calls and the retry of a read that found the session gone; knows
//! nothing of what the calls are about, needs no datacenter and creates nothing.

mod changes;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vim_rs::types::structs::PropertyFilterSpec;

use super::config::Config;
use super::error::{Error, Kind};
use super::login::{Logins, Refusals};
use super::moref::MoRef;
use super::properties::{ObjectUpdate, read_objects};
use super::roots::Roots;
use super::soap::{Call, Soap};
use super::value::Data;
use super::xml::{self, Node};
use crate::{Secret, https};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Objects in one answer when properties are read once.
const PAGE: i32 = 500;

/// A session at a vCenter, and the account behind it. Clones share it. When the last clone is dropped it ends without
/// a logout; [`Session::close`] sends one.
#[derive(Clone)]
pub struct Session {
    core: Arc<Core>,
    _stop: Arc<DropGuard>,
}

impl Session {
    /// Creates a session that logs in with its first call. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the address or the CA bundle cannot be used. Whether the vCenter can be reached shows with
    /// the first call.
    pub fn start(config: Config) -> Result<Self, Error> {
        let core = Arc::new(Core::new(config)?);
        let (alive, stop) = (core.clone(), core.stop.clone());
        core.tasks.spawn(async move { stop.run_until_cancelled(alive.keep_alive()).await });
        let stop = core.stop.clone().drop_guard();
        Ok(Self { core, _stop: Arc::new(stop) })
    }

    /// Returns the account as the vCenter names it since the last login, such as `VSPHERE.LOCAL\operator`: the name
    /// that its tasks carry. None before the first login.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.core.user()
    }

    /// Ends everything that works on this session, and logs out. Calls fail with [`Kind::Canceled`] from then on.
    pub async fn close(&self) {
        self.core.close().await;
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("host", &self.core.config.host).finish_non_exhaustive()
    }
}

/// What the clones of a session and the tasks that work on it share. Tasks hold this and not the session, so that
/// the session ends when its last clone is dropped.
pub(super) struct Core {
    config: SessionSettings,
    soap: Soap,
    roots: OnceCell<Roots>,
    /// How many logins there were. A login ends everything that belonged to the session before.
    epoch: watch::Sender<u64>,
    /// Whether a login was sent that has not succeeded: the vCenter may have another session for this client, of which no epoch tells.
    unsettled: AtomicBool,
    user: Mutex<Option<Arc<str>>>,
    login: tokio::sync::Mutex<Logins>,
    calls: Semaphore,
    /// When the last ordinary call was answered.
    last_answer: Mutex<Instant>,
    stop: CancellationToken,
    /// Everything that works on the session.
    tasks: TaskTracker,
}

/// The settings that are needed after the start.
struct SessionSettings {
    host: String,
    user: String,
    password: Secret,
    call_timeout: Duration,
    keep_alive: Duration,
    concurrency: usize,
}

impl Core {
    fn new(config: Config) -> Result<Self, Error> {
        let agent = format!("{}/{}", config.agent.0, config.agent.1);
        // The cookies are the session.
        let http = https::build(https::client(&config.trust, CONNECT_TIMEOUT)?.cookie_store(true))?;
        let concurrency = config.concurrency.max(1);
        let authority = config.authority()?;
        Ok(Self {
            soap: Soap::new(http, &authority, agent, config.max_answer, config.observer),
            roots: OnceCell::new(),
            epoch: watch::Sender::new(0),
            unsettled: AtomicBool::new(false),
            user: Mutex::default(),
            login: tokio::sync::Mutex::default(),
            calls: Semaphore::new(concurrency),
            last_answer: Mutex::new(Instant::now()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config: SessionSettings {
                host: authority,
                user: config.user,
                password: config.password,
                call_timeout: config.call_timeout,
                keep_alive: config.keep_alive,
                concurrency,
            },
        })
    }

    pub(super) fn host(&self) -> &str {
        &self.config.host
    }

    pub(super) fn user(&self) -> Option<Arc<str>> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the token that is cancelled when the session is closed or dropped.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Returns the tracker of what [`Core::close`] waits for.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Returns the number of the current session, 0 before the first; it changes with every login.
    pub(super) fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// Returns whether there was a login, and none was sent since that has not succeeded. A session that has ended counts until that is noticed.
    pub(super) fn has_session(&self) -> bool {
        *self.epoch.borrow() > 0 && !self.is_unsettled()
    }

    fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// Returns the root objects, which are the same as long as the vCenter is.
    pub(super) async fn roots(&self) -> Result<&Roots, Error> {
        self.roots.get_or_try_init(|| self.read_roots()).await
    }

    async fn read_roots(&self) -> Result<Roots, Error> {
        let this = MoRef::new("ServiceInstance", "ServiceInstance");
        let call = Call::new("RetrieveServiceContent", &this);
        let answer = self.send(&call, self.config.call_timeout).await?;
        Roots::read(&answer).map_err(|error| call.not_understood(error))
    }

    /// Reads which vCenter answers. References that were read from one name other objects in another, so the first is kept,
    /// and another is refused.
    async fn identify(&self) -> Result<&Roots, Error> {
        let read = self.read_roots().await?;
        let now = read.vcenter.clone();
        let found = || async {
            tracing::info!(server = read.product.as_deref(), vcenter = &*read.vcenter, "vCenter found");
            read
        };
        let first = self.roots.get_or_init(found).await;
        if first.vcenter == now {
            return Ok(first);
        }
        let message = format!(
            "{} is another vCenter (instanceUuid {now}) than the one that was there before (instanceUuid {})",
            self.config.host, first.vcenter
        );
        Err(Error::new(Kind::AnotherVCenter, message))
    }

    /// Sends a call as it is: no limit on calls, no login.
    pub(super) async fn send(&self, call: &Call<'_>, deadline: Duration) -> Result<String, Error> {
        self.soap.send(call, deadline).await
    }

    /// Sends a call as it is and reads the reference in its answer.
    pub(super) async fn send_for_moref(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        let answer = self.send(call, self.config.call_timeout).await?;
        returned_moref(&answer).map_err(|error| call.not_understood(error))
    }

    /// Sends a call as it is, whose answer holds nothing.
    pub(super) async fn send_for_nothing(&self, call: &Call<'_>) -> Result<(), Error> {
        self.send(call, self.config.call_timeout).await.map(drop)
    }

    /// Makes a call that changes nothing within the limit on calls, and returns its answer. Logs in when there is no
    /// session; if the session turns out to be gone, logs in and sends the call once more.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<String, Error> {
        self.with_session(|| self.send(call, self.config.call_timeout)).await
    }

    /// Returns how long an ordinary call may take.
    pub(super) fn call_timeout(&self) -> Duration {
        self.config.call_timeout
    }

    /// Reads properties once, page by page.
    pub(super) async fn retrieve(&self, filter: &PropertyFilterSpec) -> Result<Vec<ObjectUpdate>, Error> {
        self.retrieve_within(Duration::MAX, filter).await.map(|(objects, _)| objects)
    }

    /// As [`Core::retrieve`], where all pages have to come within this time; returns when the first was asked for as well. A login, and
    /// waiting for a place among the calls, do not count.
    pub(super) async fn retrieve_within(
        &self,
        deadline: Duration,
        filter: &PropertyFilterSpec,
    ) -> Result<(Vec<ObjectUpdate>, Instant), Error> {
        let collector = &self.roots().await?.collector;
        self.with_session(|| async move {
            let options = Data { type_name: "RetrieveOptions", fields: vec![("maxObjects", &PAGE)] };
            let (mut objects, sent) = (Vec::new(), Instant::now());
            let mut token: Option<String> = None;
            loop {
                let call = match &token {
                    None => Call::new("RetrievePropertiesEx", collector)
                        .with("specSet", filter)
                        .with("options", &options),
                    Some(token) => Call::new("ContinueRetrievePropertiesEx", collector).with("token", token),
                };
                let left = deadline.saturating_sub(sent.elapsed()).min(self.config.call_timeout);
                let answer = self.send(&call, left).await?;
                let next = read_objects(&answer, |object| objects.push(object))
                    .map_err(|error| call.failed(error))?;
                match next {
                    Some(next) => token = Some(next),
                    None => return Ok((objects, sent)),
                }
            }
        })
        .await
    }

    /// Returns whether a call is in flight; long polls do not count.
    pub(super) fn is_calling(&self) -> bool {
        self.calls.available_permits() < self.config.concurrency
    }

    async fn with_session<T, Fut>(&self, call: impl Fn() -> Fut) -> Result<T, Error>
    where
        Fut: Future<Output = Result<T, Error>>,
    {
        self.check_open()?;
        let _permit = self.calls.acquire().await.map_err(|_| closed())?;
        let mut epoch = *self.epoch.borrow();
        if !self.has_session() {
            self.renew(epoch).await?;
            epoch = *self.epoch.borrow();
        }
        let mut result = call().await;
        if result.as_ref().is_err_and(Error::is_session_lost) {
            self.renew(epoch).await?;
            result = call().await;
        }
        if result.is_ok() {
            self.touch();
        }
        result
    }

    fn touch(&self) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Logs in unless another caller has since session `seen`. To be called when there is no session or vCenter has
    /// said that it is gone. The session is probed before: logging in over a live session is refused as if the
    /// password were wrong, and counts towards a lock-out. Who waited for the attempt of another caller shares its failure.
    pub(super) async fn renew(&self, seen: u64) -> Result<(), Error> {
        let asked = Instant::now();
        let mut logins = self.login.lock().await;
        if !self.is_unsettled() && *self.epoch.borrow() != seen {
            return Ok(());
        }
        self.check_open()?;
        if let Some(error) = logins.failed_since(asked) {
            return Err(error);
        }
        let result = self.attempt(seen, &mut logins.refusals).await;
        logins.ended(&result, Instant::now());
        result
    }

    async fn attempt(&self, seen: u64, refusals: &mut Refusals) -> Result<(), Error> {
        let unsettled = self.is_unsettled();
        if let Some((error, left)) = refusals.blocking(Instant::now()) {
            return Err(error.clone().after(left));
        }
        if unsettled || seen > 0 {
            match self.probe(self.config.call_timeout).await {
                Err(error) if error.is_session_lost() => {}
                // Of this session the account's name is not known, and what belongs to the one before still counts as alive.
                Ok(()) if unsettled => self.end(&self.roots().await?.sessions).await?,
                alive_or_unknown => return alive_or_unknown,
            }
        }
        match self.log_in().await {
            Ok(user) => {
                refusals.succeeded();
                *self.user.lock().unwrap_or_else(PoisonError::into_inner) = user;
                self.epoch.send_modify(|epoch| *epoch += 1);
                self.unsettled.store(false, Ordering::Release);
                self.touch();
                tracing::info!(user = self.config.user, "logged in to vCenter");
                Ok(())
            }
            // Another call of the login may lack a right, which no password corrects.
            Err(error) if error.method() == Some("Login") && error.kind().is_refused_login() => {
                let fault = error.fault().unwrap_or_default();
                let message = format!("vCenter refuses the login of {} ({fault})", self.config.user);
                let error = error.clone().explained(message).of_login();
                let now = Instant::now();
                refusals.refused(now, error.clone());
                let left = refusals.blocking(now).map_or(Duration::ZERO, |(_, left)| left);
                tracing::warn!(user = self.config.user, %error, retry_in = ?left, "vCenter refused the login");
                Err(error.after(left))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the account as the vCenter names it. Identifies the vCenter before, so that another gets no password, and
    /// after, since another may have taken the address in between.
    async fn log_in(&self) -> Result<Option<Arc<str>>, Error> {
        let password = self.config.password.expose();
        let sessions = &self.identify().await?.sessions;
        let call = Call::new("Login", sessions)
            .with("userName", &self.config.user)
            .with("password", &password)
            .with("locale", &"en");
        // Whatever becomes of the answer, or of the caller that waits for it.
        self.unsettled.store(true, Ordering::Release);
        let answer = self.send(&call, self.config.call_timeout).await?;
        let session =
            xml::first(&answer, "returnval").map_err(|error| call.not_understood(error))?.unwrap_or_default();
        if let Err(error) = self.identify().await {
            self.log_out(sessions).await;
            return Err(error);
        }
        Ok(session.child("userName").map(|user| user.text.as_str().into()))
    }

    /// Logs in at another interface of the vCenter, within the limit on refused logins: not before the account has logged in here.
    pub(super) async fn log_in_elsewhere<T>(
        &self,
        log_in: impl AsyncFnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.with_session(|| self.probe(self.config.call_timeout)).await?;
        let refusals = &mut self.login.lock().await.refusals;
        if let Some((error, left)) = refusals.blocking(Instant::now()) {
            return Err(error.clone().after(left));
        }
        let result = log_in().await;
        if let Err(error) = &result
            && error.kind() == Kind::Unauthorized
        {
            refusals.refused(Instant::now(), error.clone());
        }
        result
    }

    /// Returns a request to the REST interface.
    pub(super) fn rest(&self, method: Method, path: &str) -> RequestBuilder {
        self.soap.http().request(method, format!("https://{}{path}", self.config.host))
    }

    /// Adds the account to a request.
    pub(super) fn with_account(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(&self.config.user, Some(self.config.password.expose()))
    }

    /// Sends a request to the REST interface.
    pub(super) async fn send_rest(&self, request: RequestBuilder) -> Result<(StatusCode, String), Error> {
        let _permit = self.calls.acquire().await.map_err(|_| closed())?;
        self.soap.ask(request, self.config.call_timeout).await
    }

    /// Makes the cheapest call that needs a session.
    pub(super) async fn probe(&self, deadline: Duration) -> Result<(), Error> {
        let this = MoRef::new("ServiceInstance", "ServiceInstance");
        self.send(&Call::new("CurrentTime", &this), deadline).await.map(drop)
    }

    /// Makes a call whenever there was none for the time set. Never returns.
    async fn keep_alive(&self) {
        loop {
            let last = *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
            let due = last + self.config.keep_alive;
            if Instant::now() < due {
                tokio::time::sleep_until(due.into()).await;
                continue;
            }
            if *self.epoch.borrow() > 0
                && let Err(error) = self.with_session(|| self.probe(self.config.call_timeout)).await
            {
                tracing::debug!(%error, "keep-alive failed");
            }
            self.touch();
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.calls.close();
        // A login in flight ends first.
        let _login = self.login.lock().await;
        if *self.epoch.borrow() == 0 && !self.is_unsettled() {
            return;
        }
        let Ok(roots) = self.roots().await else { return };
        self.log_out(&roots.sessions).await;
    }

    async fn log_out(&self, sessions: &MoRef) {
        if let Err(error) = self.end(sessions).await {
            tracing::debug!(%error, "logout failed");
        }
    }

    /// Has the vCenter end the session, unless it has ended.
    async fn end(&self, sessions: &MoRef) -> Result<(), Error> {
        match self.send(&Call::new("Logout", sessions), LOGOUT_TIMEOUT).await {
            Err(error) if !error.is_session_lost() => Err(error),
            _ => Ok(()),
        }
    }
}

pub(super) fn closed() -> Error {
    Error::new(Kind::Canceled, "the session is closed")
}

fn returned_moref(answer: &str) -> Result<MoRef, Error> {
    let returned = xml::first(answer, "returnval")?;
    returned
        .as_ref()
        .and_then(Node::moref)
        .ok_or_else(|| Error::new(Kind::Protocol, "the answer holds no reference"))
}
