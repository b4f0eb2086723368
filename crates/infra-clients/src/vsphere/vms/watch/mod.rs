//! The loop that keeps the inventory current: connect, take a complete report, poll for changes; and after a failure,
//! how long to wait before connecting again. Changes nothing at vCenter but its own view, collector and session, and
//! the levels of the root folder that are missing.

mod collector;
mod look_ups;
mod pace;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use collector::Resources;
pub(super) use look_ups::LookUps;
use pace::{Next, Pace};

use super::inventory::{Inventory, Ticket};
use super::site::Site;
use super::updates::{PAGE, Page, read_updates};
use super::{Link, Shared};
use crate::failure::{Class, Failure, jittered};
use crate::vsphere::properties::UpdateKind;
use crate::vsphere::task::read_tasks;
use crate::vsphere::{Error, Kind, MoRef, clock};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A link that was up for longer than this is connected again at once.
const STEADY: Duration = Duration::from_secs(10);
/// Shortest pause between two attempts after a link that was up for less.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// Between attempts when a person has to change something first.
const HELP_PAUSE: Duration = Duration::from_mins(1);
/// Between two attempts to interrupt the same poll: the first may arrive before the poll.
const CANCEL_PAUSE: Duration = Duration::from_secs(1);
/// Between two readings of tasks that the collector does not report.
const TASK_PAUSE: Duration = Duration::from_secs(2);

/// A collector that reports what is watched.
struct Watched {
    epoch: u64,
    root: MoRef,
    /// The view of what is below the root folder.
    view: MoRef,
    collector: MoRef,
    /// Of the last answer.
    version: String,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    resources: Resources,
    pace: Pace,
    tasks_read: Option<Instant>,
    /// The session of the last attempt; 0 before the first login.
    epoch: u64,
    /// Whether that session has ended, or there was none.
    session_lost: bool,
    /// Objects in one answer: fewer after an answer that was too large.
    page: i32,
    /// Since when the link has been up.
    up_since: Option<Instant>,
    /// Pause before the next attempt to connect.
    pause: Duration,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let pace = Pace::new(shared.config.poll_burst, shared.config.poll_interval, Instant::now());
        let resources = Resources::default();
        Self {
            shared,
            resources,
            pace,
            tasks_read: None,
            epoch: 0,
            session_lost: true,
            page: PAGE,
            up_since: None,
            pause: Duration::ZERO,
        }
    }

    /// Connects, watches, and connects again. Never returns.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.watch().await;
            self.recover(error).await;
        }
    }

    /// Sets the link's state after a failure, and waits until connecting again makes sense. Does not log in: a session that
    /// waited here might have ended before it is used.
    async fn recover(&mut self, error: Error) {
        let shared = self.shared.clone();
        shared.update(|inventory| inventory.set_synced(false));
        self.session_lost |= error.is_session_lost();
        if matches!(error.kind(), Kind::NotFound | Kind::RootFolderMoved | Kind::RootFolderUnknown) {
            // The root folder or the datacenter is gone.
            shared.sites.mark_stale();
            shared.templates.clear();
        }
        let up = self.up_since.take();
        if up.is_some_and(|since| since.elapsed() > STEADY) {
            self.pause = Duration::ZERO;
        }
        let retry = error.is_session_lost() || error.class() == Class::Retry;
        // Connections are cut and sessions end now and then: the link is down only if connecting again fails. A
        // server that does not answer has failed already.
        let passing = up.is_some() && retry && error.kind() != Kind::Timeout;
        if !passing {
            self.pause = self.pause.max(FIRST_PAUSE);
        }
        let wait = match error.retry_after() {
            Some(wait) => wait,
            None if retry => jittered(self.pause),
            None => HELP_PAUSE,
        };
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        if passing {
            tracing::info!(%error, retry_in = ?wait, "the link to vCenter was interrupted");
            shared.link.send_replace(Link::Connecting);
        } else {
            let (server, remedy) = (shared.core.host(), (shared.config.remedy)(&error));
            tracing::warn!(server, %error, remedy, retry_in = ?wait, "the link to vCenter is down");
            shared.link.send_replace(Link::Down(error));
        }
        tokio::time::sleep(wait).await;
    }

    /// Connects and watches; returns why that ended.
    async fn watch(&mut self) -> Result<Infallible, Error> {
        loop {
            let mut watched = self.connect().await?;
            self.read_baseline(&mut watched).await?;
            let root = watched.root.clone();
            self.follow(watched).await?;
            self.check_root(&root).await?;
        }
    }

    /// Fails if the root folder has another name or place than the settings say. A process that starts would not find it.
    async fn check_root(&self, root: &MoRef) -> Result<(), Error> {
        let Shared { core, config, sites, .. } = &*self.shared;
        // Another task may have found another one.
        let site = sites.current().filter(|site| site.root == *root);
        let is_in_place = match site {
            Some(site) => site.is_in_place(core, config).await?,
            None => false,
        };
        if is_in_place { Ok(()) } else { Err(root_gone(&self.shared)) }
    }

    /// Logs in if there is no session, finds the site if it is not known, and creates what is needed for watching, in
    /// place of what there was.
    async fn connect(&mut self) -> Result<Watched, Error> {
        let shared = self.shared.clone();
        let core = &shared.core;
        if self.session_lost || !core.has_session() {
            core.renew(self.epoch).await?;
            self.session_lost = false;
        }
        self.epoch = *core.epoch().borrow();
        let epoch = self.epoch;
        let vcenter = core.roots().await?.vcenter.clone();
        shared.update(|inventory| inventory.set_vcenter(vcenter));
        self.resources.enter(epoch);
        let old = self.resources.take_collector();
        let (site, created, (), clock) = tokio::join!(
            shared.find_site(),
            collector::create(core),
            collector::remove(core, old),
            clock::ahead(core)
        );
        let collector = created?;
        self.resources.set_collector(&collector);
        // A vCenter that does not say its time is taken to have the one that it had.
        match clock {
            Ok(ahead) => shared.update(|inventory| inventory.set_clock(ahead)),
            Err(error) => tracing::debug!(%error, "the clock of the vCenter is not known"),
        }
        let site = site?;
        let view = self.resources.create_filter(core, &site, &collector).await?;
        Ok(Watched { epoch, root: site.root.clone(), view, collector, version: String::new() })
    }

    /// Reads a complete report. The inventory is current when this returns.
    async fn read_baseline(&mut self, watched: &mut Watched) -> Result<(), Error> {
        let shared = self.shared.clone();
        self.wait_for_turn(Next::Change).await;
        let (started, serving) = (Instant::now(), shared.newest_ticket());
        shared.update(Inventory::begin_baseline);
        self.page = (self.page * 2).min(PAGE);
        if !self.poll(watched, Duration::ZERO).await? {
            return Err(Error::new(Kind::Protocol, "the collector reported nothing at all"));
        }
        // Another caller may have logged in since, and not at this vCenter.
        if !shared.core.has_session() || *shared.core.epoch().borrow() != watched.epoch {
            return Err(Error::session_lost());
        }
        shared.update(|inventory| {
            if !inventory.baseline_has(&watched.root) {
                return Err(root_gone(&shared));
            }
            // Without it the report shows nothing that is below the root folder.
            if !inventory.baseline_has(&watched.view) {
                self.resources.forget_view();
                return Err(view_gone());
            }
            inventory.end_baseline(started);
            inventory.set_synced(true);
            inventory.set_refreshed(serving);
            Ok(())
        })?;
        shared.served.send_replace(serving);
        if self.up_since.is_none() {
            self.up_since = Some(started);
            shared.templates.forget_failures();
            shared.link.send_replace(Link::Up);
            tracing::info!("the inventory is complete; watching for changes");
        }
        Ok(())
    }

    /// Polls for changes, until a complete report is due or the connection fails.
    async fn follow(&mut self, mut watched: Watched) -> Result<(), Error> {
        let shared = self.shared.clone();
        let audit_due = Instant::now() + jittered(shared.config.audit);
        let (collector, root) = (watched.collector.clone(), watched.root.clone());
        let (mut sites, mut epochs) = (shared.sites.subscribe(), shared.core.epoch());
        let mut changed = false;
        let place = |inventory: &Inventory| {
            inventory.folder(&root).map(|root| (root.name.clone(), root.parent.clone()))
        };
        let known = shared.read(place);
        // A root folder with another name or place is looked for at once.
        while Instant::now() < audit_due
            && !shared.read(Inventory::is_incomplete)
            && shared.read(place) == known
        {
            self.wait_for_turn(self.next_poll(changed)).await;
            if *epochs.borrow_and_update() != watched.epoch {
                return Err(Error::session_lost());
            }
            let (serving, polled) = (shared.newest_ticket(), Instant::now());
            let wait = self.poll_wait();
            let answer = tokio::select! {
                answer = self.poll(&mut watched, wait) => answer,
                error = interrupt(&shared, &collector, serving), if !wait.is_zero() => Err(error),
                _ = epochs.changed() => Err(Error::session_lost()),
                () = moved(&mut sites, &root) => Err(root_gone(&shared)),
            };
            match answer {
                Ok(any) => {
                    changed = any;
                    self.pace.answered(polled.elapsed());
                    self.read_unwatched_tasks(polled).await?;
                    shared.update(|inventory| inventory.set_refreshed(serving));
                    shared.served.send_replace(serving);
                }
                // Interrupted.
                Err(error) if error.is_fault("RequestCanceled") => {}
                Err(error) => return Err(error),
            }
            shared.update(|inventory| inventory.purge(Instant::now()));
        }
        Ok(())
    }

    /// Returns what the next poll is for: more changes are about to follow while calls are in flight or several tasks of
    /// this client run.
    fn next_poll(&self, changed: bool) -> Next {
        let running = self.shared.read(Inventory::running_tasks);
        if self.shared.has_open_tickets() || (changed && (self.shared.core.is_calling() || running > 1)) {
            Next::Gathering
        } else if running == 1 {
            Next::Urgent
        } else {
            Next::Change
        }
    }

    /// Waits until another poll is allowed and, where there is something to gather, for that.
    async fn wait_for_turn(&mut self, next: Next) {
        let mut wait = self.pace.wait(next, Instant::now());
        while !wait.is_zero() {
            tokio::time::sleep(wait).await;
            wait = self.pace.wait(if next == Next::Urgent { next } else { Next::Change }, Instant::now());
        }
        self.pace.take(Instant::now());
    }

    /// Returns how long the next poll may wait: not at all while a ticket is open, not long while there are tasks
    /// that have to be read by reference.
    fn poll_wait(&self) -> Duration {
        if self.shared.has_open_tickets() {
            Duration::ZERO
        } else if self.shared.read(|inventory| inventory.unwatched_tasks(Instant::now()).is_empty()) {
            self.shared.config.poll_wait
        } else {
            TASK_PAUSE
        }
    }

    /// Polls once, every page of the answer, and applies it. Returns whether anything has changed.
    async fn poll(&mut self, watched: &mut Watched, wait: Duration) -> Result<bool, Error> {
        let mut page = self.poll_page(watched, wait).await?;
        let changed = page.is_some();
        while page.is_some_and(|page| page.truncated) {
            page = self.poll_page(watched, Duration::ZERO).await?;
        }
        Ok(changed)
    }

    async fn poll_page(&mut self, watched: &mut Watched, wait: Duration) -> Result<Option<Page>, Error> {
        let shared = &self.shared;
        let grace = shared.config.poll_grace;
        let poll =
            collector::poll(&shared.core, &watched.collector, &watched.version, wait, grace, self.page);
        let answer = match poll.await {
            Err(error) if error.kind() == Kind::AnswerTooLarge && self.page > 1 => {
                self.page = (self.page / 4).max(1);
                let remedy = (shared.config.remedy)(&error);
                tracing::warn!(%error, remedy, objects = self.page, "reading fewer objects at once");
                return Err(error);
            }
            answer => answer?,
        };
        // Without its view, all that it showed leaves as well: before any of it is applied.
        if answer.contains(watched.view.value()) && has_left(&answer, &watched.view)? {
            self.resources.forget_view();
            return Err(view_gone());
        }
        let mut root_left = false;
        let page = shared.update(|inventory| {
            let now = Instant::now();
            let page = read_updates(&answer, |update| {
                root_left |= update.kind == UpdateKind::Leave && update.obj == watched.root;
                inventory.apply(&update, now);
            });
            for moref in inventory.take_missing() {
                shared.object_missing(inventory, moref.as_ref());
            }
            page
        })?;
        if root_left {
            return Err(root_gone(shared));
        }
        if let Some(page) = &page {
            watched.version.clone_from(&page.version);
        }
        Ok(page)
    }

    /// Reads, in one call for all, the tasks of this client that vCenter's list of recent tasks does not show.
    async fn read_unwatched_tasks(&mut self, polled: Instant) -> Result<(), Error> {
        if self.tasks_read.is_some_and(|read| read.elapsed() < TASK_PAUSE) {
            return Ok(());
        }
        let shared = &self.shared;
        let tasks = shared.read(|inventory| inventory.unwatched_tasks(polled));
        if tasks.is_empty() {
            return Ok(());
        }
        self.tasks_read = Some(Instant::now());
        let grace = shared.config.poll_grace;
        let (core, named) = (Arc::clone(&shared.core), tasks.clone());
        // Of its own, as a login in it has to come to its end; nothing is polled while this waits.
        let read = shared.core.tasks().spawn(async move { read_tasks(&core, grace, &named).await });
        let unread = || Error::new(Kind::Timeout, "tasks cannot be read");
        let known =
            tokio::time::timeout(grace, read).await.map_err(|_| unread())?.map_err(|_| unread())??;
        shared.update(|inventory| {
            for moref in tasks {
                let update = known.iter().find(|update| update.obj == moref);
                inventory.task_read(&moref, update, Instant::now());
            }
        });
        Ok(())
    }
}

fn root_gone(shared: &Shared) -> Error {
    Error::new(Kind::NotFound, format!("the folder {} does not exist any more", shared.config.root_folder))
}

/// Returns whether an answer says that the object is not shown any more.
fn has_left(answer: &str, moref: &MoRef) -> Result<bool, Error> {
    let mut left = false;
    read_updates(answer, |update| left |= update.kind == UpdateKind::Leave && update.obj == *moref)?;
    Ok(left)
}

fn view_gone() -> Error {
    Error::new(
        Kind::Unavailable,
        "the view of the root folder does not exist any more; another one is created",
    )
}

/// Waits until another root folder than this was found.
async fn moved(sites: &mut tokio::sync::watch::Receiver<Option<Arc<Site>>>, root: &MoRef) {
    let elsewhere = |site: &Option<Arc<Site>>| site.as_ref().is_some_and(|site| site.root != *root);
    if sites.wait_for(elsewhere).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until a ticket is open that the poll in progress does not serve, then has vCenter answer the poll. Returns
/// only if that fails.
async fn interrupt(shared: &Shared, collector: &MoRef, serving: Ticket) -> Error {
    if shared.newest.subscribe().wait_for(|newest| *newest > serving).await.is_err() {
        return std::future::pending().await;
    }
    loop {
        if let Err(error) = collector::cancel(&shared.core, collector, shared.config.poll_grace).await {
            return error;
        }
        tokio::time::sleep(CANCEL_PAUSE).await;
    }
}
