//! The one loop that keeps the inventory current: connect, take a complete report, then poll for
//! changes; and when anything breaks, how long to wait before trying again. Owns the collector at
//! vCenter and the barrier behind [`VCenter::fresh`](super::VCenter::fresh); never changes anything
//! at vCenter but its own view, collector and session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vim_rs::mo;

use super::error::{Error, Kind};
use super::finder::{Site, SiteRef};
use super::moref::MoRef;
use super::soap::Body;
use super::updates::{Page, UpdateKind, read_updates, tasks_filter, wait_request, watch_filter};
use super::{Link, Shared};
use crate::failure::{Class, Failure, jittered};

/// Longest poll, in seconds: below the five minutes after which proxies and firewalls forget an
/// idle connection.
const MAX_WAIT: i32 = 240;
/// How much longer than it was asked to wait vCenter may take to answer.
const GRACE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that was up for longer than this is made again at once.
const STEADY: Duration = Duration::from_secs(10);
/// Between tries when somebody has to change something first.
const ADMIN_PAUSE: Duration = Duration::from_mins(1);
/// Between two attempts to interrupt the same poll: the first may overtake it on the way.
const CANCEL_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks after tasks the collector does not report.
const STRAY_PAUSE: Duration = Duration::from_secs(2);

/// Numbers the requests for a fresh inventory. A poll serves those asked for before it started.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    pub(super) asked: watch::Sender<u64>,
    pub(super) served: watch::Sender<u64>,
}

impl Barrier {
    fn waiting(&self) -> bool {
        *self.asked.borrow() > *self.served.borrow()
    }
}

/// What exists at vCenter for watching. It belongs to one session.
struct Collector {
    epoch: u64,
    view: MoRef,
    moref: MoRef,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    collector: Option<Collector>,
    /// When the last poll was sent, and when the last that brought news was answered.
    polled: Option<Instant>,
    news: Option<Instant>,
    strays_seen: Option<Instant>,
    /// Since when the connection has been up.
    up_since: Option<Instant>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, collector: None, polled: None, news: None, strays_seen: None, up_since: None }
    }

    /// Connects, watches, and connects again, for ever.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut pause = Duration::ZERO;
        loop {
            let epoch = *shared.session.epoch().borrow();
            let Err(mut error) = self.watch().await;
            shared.update(|inventory| inventory.set_synced(false));
            if error.is_session_lost()
                && let Err(refused) = shared.session.renew(epoch).await
            {
                error = refused;
            }
            if error.kind() == Kind::NotFound {
                // The root folder or the datacenter went away.
                shared.forget_site();
                shared.templates.clear().await;
            }
            let up = self.up_since.take();
            if up.is_some_and(|since| since.elapsed() > STEADY) {
                pause = Duration::ZERO;
            }
            // Connections are cut and sessions end now and then; it is down only if the next
            // attempt to get it up fails.
            let passing = up.is_some() && (error.class() == Class::Retry || error.is_session_lost());
            if !passing {
                pause = pause.max(FIRST_PAUSE);
            }
            let wait = match error.kind() {
                Kind::Unauthorized if !error.is_session_lost() => shared
                    .session
                    .refused_until()
                    .await
                    .map_or(ADMIN_PAUSE, |until| until.saturating_duration_since(Instant::now())),
                _ if passing || error.class() == Class::Retry || error.is_session_lost() => jittered(pause),
                _ => ADMIN_PAUSE,
            };
            pause = (pause * 2).clamp(shared.config.poll_interval, LONGEST_PAUSE);
            if passing {
                tracing::info!(%error, retry_in = ?wait, "the connection to vCenter was interrupted");
                shared.link.send_replace(Link::Connecting);
            } else {
                tracing::warn!(%error, remedy = error.remedy(), retry_in = ?wait, "no connection to vCenter");
                shared.link.send_replace(Link::Down(Arc::new(error)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Connects and watches; returns why it ended.
    async fn watch(&mut self) -> Result<std::convert::Infallible, Error> {
        let shared = self.shared.clone();
        let session = &shared.session;
        session.content().await?;
        let mut epochs = session.epoch();
        if *epochs.borrow() == 0 {
            session.renew(0).await?;
        }
        let epoch = *epochs.borrow_and_update();
        let site = if let Some(site) = shared.site() {
            site
        } else {
            let site = Arc::new(Site::find(session, &shared.config).await?);
            shared.set_site(site.clone());
            site
        };
        let collector = self.collect(epoch, &site).await?;

        let started = Instant::now();
        let serving = *shared.fresh.asked.borrow();
        shared.update(super::Inventory::begin_baseline);
        let mut version = String::new();
        loop {
            let page = self.poll(&collector, &version, 0, &site).await?;
            let Some(page) = page else {
                return Err(Error::new(Kind::Protocol, "the collector reported nothing at all"));
            };
            version = page.version;
            if !page.truncated {
                break;
            }
        }
        shared.update(|inventory| {
            if !inventory.baseline_has(&site.root) {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("the folder {} is gone", shared.config.root_folder),
                ));
            }
            inventory.end_baseline(started);
            inventory.set_synced(true);
            Ok(())
        })?;
        shared.fresh.served.send_replace(serving);
        self.up_since = Some(Instant::now());
        shared.link.send_replace(Link::Up);
        tracing::info!("watching the vCenter inventory");

        loop {
            self.pace().await;
            if *epochs.borrow() != epoch {
                return Err(Error::session_lost());
            }
            let serving = *shared.fresh.asked.borrow();
            let polled = Instant::now();
            let max_wait = self.max_wait();
            let page = tokio::select! {
                page = self.poll(&collector, &version, max_wait, &site) => page,
                error = interrupt(&shared, &collector, serving), if max_wait > 0 => Err(error),
                _ = epochs.changed() => Err(Error::session_lost()),
            };
            match page {
                Ok(page) => {
                    let truncated = page.as_ref().is_some_and(|page| page.truncated);
                    if let Some(page) = page {
                        version = page.version;
                        self.news = (!truncated).then(Instant::now);
                    }
                    if !truncated {
                        self.look_after_strays(polled).await?;
                        shared.fresh.served.send_replace(serving);
                    }
                }
                Err(error) if error.is_fault("RequestCanceled") => {}
                Err(error) => return Err(error),
            }
            shared.update(|inventory| inventory.purge(Instant::now()));
            shared.templates.purge();
        }
    }

    /// How long the next poll may wait: not at all while somebody waits for its answer, not long
    /// while there are tasks only a look of our own can tell about.
    fn max_wait(&self) -> i32 {
        if self.shared.fresh.waiting() {
            0
        } else if self.shared.read(|inventory| inventory.strays(Instant::now()).is_empty()) {
            MAX_WAIT
        } else {
            2
        }
    }

    /// Lets changes gather before the next poll.
    async fn pace(&self) {
        let interval = self.shared.config.poll_interval;
        if let Some(due) = self.polled.max(self.news).map(|last| last + interval) {
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Makes the view, the collector and its filter, reusing what the session still has. Whatever
    /// was known to the last collector is reported again by a new one.
    async fn collect(&mut self, epoch: u64, site: &SiteRef) -> Result<MoRef, Error> {
        let session = &self.shared.session;
        let root = &site.root;
        let mut view = None;
        if let Some(old) = self.collector.take().filter(|old| old.epoch == epoch) {
            // Ends its poll, should vCenter still think that somebody waits for the answer.
            let old_collector = &old.moref;
            let destroy = |client| async move {
                mo::PropertyCollector::new(client, old_collector.value()).destroy_property_collector().await
            };
            match session.direct(None, destroy).await {
                Ok(()) => view = Some(old.view),
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => {
                    self.collector = Some(old);
                    return Err(error);
                }
            }
        }
        let view = if let Some(view) = view {
            view
        } else {
            let manager = &session.root_object(|content| content.view_manager.as_ref()).await?;
            let types = &["VirtualMachine".to_owned(), "Folder".to_owned()];
            let create = |client| async move {
                mo::ViewManager::new(client, manager.value())
                    .create_container_view(&root.to_vim(), Some(types), true)
                    .await
            };
            MoRef::from(&session.direct(None, create).await?)
        };
        let maker = &session.collector().await?;
        let create = |client| async move {
            mo::PropertyCollector::new(client, maker.value()).create_property_collector().await
        };
        let collector = MoRef::from(&session.direct(None, create).await?);
        self.collector = Some(Collector { epoch, view: view.clone(), moref: collector.clone() });
        let tasks = session.root_object(|content| content.task_manager.as_ref()).await?;
        let filter = &watch_filter(view.to_vim(), root.to_vim(), tasks.to_vim());
        let watcher = &collector;
        let create = |client| async move {
            mo::PropertyCollector::new(client, watcher.value()).create_filter(filter, false).await
        };
        session.direct(None, create).await?;
        Ok(collector)
    }

    /// One WaitForUpdatesEx, taken into the inventory; `None` if there was no news.
    async fn poll(
        &mut self,
        collector: &MoRef,
        version: &str,
        max_wait: i32,
        site: &SiteRef,
    ) -> Result<Option<Page>, Error> {
        self.polled = Some(Instant::now());
        let body = wait_request(collector, version, max_wait);
        let deadline = Duration::from_secs(u64::try_from(max_wait).unwrap_or(0)) + GRACE;
        let answer = self.shared.session.send(&body, deadline).await?;
        let mut root_gone = false;
        let page = self.shared.update(|inventory| {
            let now = Instant::now();
            read_updates(&answer, |update| {
                root_gone |= update.kind == UpdateKind::Leave && update.obj == site.root;
                inventory.apply(update, now);
            })
        })?;
        if root_gone {
            return Err(Error::new(
                Kind::NotFound,
                format!("the folder {} is gone", self.shared.config.root_folder),
            ));
        }
        Ok(page)
    }

    /// Asks, in one call for all, after tasks of ours that vCenter's list does not show.
    async fn look_after_strays(&mut self, polled: Instant) -> Result<(), Error> {
        if self.strays_seen.is_some_and(|seen| seen.elapsed() < STRAY_PAUSE) {
            return Ok(());
        }
        let strays = self.shared.read(|inventory| inventory.strays(polled));
        if strays.is_empty() {
            return Ok(());
        }
        self.strays_seen = Some(Instant::now());
        let mut known = self.shared.session.retrieve(&tasks_filter(&strays)).await?;
        self.shared.update(|inventory| {
            for moref in strays {
                let update =
                    known.iter().position(|update| update.obj == moref).map(|at| known.swap_remove(at));
                inventory.stray_seen(&moref, update, Instant::now());
            }
        });
        Ok(())
    }
}

/// Waits until somebody wants a fresher inventory than the poll under way can give, then makes
/// vCenter answer it. Returns only if that cannot be asked for.
async fn interrupt(shared: &Shared, collector: &MoRef, serving: u64) -> Error {
    if shared.fresh.asked.subscribe().wait_for(|asked| *asked > serving).await.is_err() {
        return std::future::pending().await;
    }
    let body = Body::new("CancelWaitForUpdates", collector, None);
    loop {
        if let Err(error) = shared.session.send(&body, shared.config.call_timeout).await {
            return error;
        }
        tokio::time::sleep(CANCEL_AGAIN).await;
    }
}
