//! The virtual machines under one folder: an inventory that is kept current, and the calls that create, change and
//! remove VMs.
//!
//! ```text
//!   Vms ── calls ──────────────▶ Session ──▶ vCenter
//!    │ read       ▲ requests        ▲            │
//!    ▼            │                 │            ▼
//!   Inventory ◀── watch: one collector, one poll at a time; templates; look-ups
//!    └─▶ Changes
//! ```
//!
//! [`Vms::start`] connects in the background and stays connected; [`Vms::link`] says how the connection is. Changes
//! under the root folder and of every task come through the one collector into the [`Inventory`], and as [`Change`]s
//! to subscribers.
//!
//! No read waits for vCenter. What the inventory does not hold is requested, and the answer is sent as a change:
//!
//! | request | answer in the inventory | change |
//! | --- | --- | --- |
//! | [`Vms::request_refresh`] | [`Inventory::refreshed`] | [`Change::Refreshed`] |
//! | [`Vms::look_up`] | [`Inventory::outside`] | [`Change::LookedUp`] |
//! | [`Vms::confirm`] | [`Inventory::confirmed`] | [`Change::LookedUp`] |
//! | [`Vms::request_template`] | [`Vms::template`] | [`Change::Templates`] |

mod calls;
mod config;
#[cfg(feature = "fixtures")]
pub mod fixtures;
mod inventory;
mod site;
mod templates;
mod updates;
mod watch;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use calls::CloneSpec;
pub use config::{Config, Recorded, RecordedVm};
pub use inventory::{
    Change, Changes, Confirmation, Connection, Folder, Inventory, Markers, Outside, Ticket, Vm,
};
pub use templates::Template;

use super::session::{Core, Session, closed};
pub use super::task::{Task, TaskState};
use super::{Error, Kind, MoRef};
use site::{Site, Sites};
use templates::Templates;
use watch::{LookUps, Watcher};

/// How the connection of a watch is.
#[derive(Debug, Clone)]
pub enum Link {
    /// Not connected yet, or interrupted a moment ago.
    Connecting,
    /// Connected; the inventory is complete and current.
    Up,
    /// Not connected, for this reason. Connecting is retried, as often as the reason makes sensible.
    Down(Error),
}

impl Link {
    /// Returns whether it is [`Link::Up`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// What the tasks of one watch share.
struct Shared {
    config: Config,
    core: Arc<Core>,
    inventory: RwLock<Inventory>,
    sites: Sites,
    templates: Templates,
    look_ups: LookUps,
    link: tokio::sync::watch::Sender<Link>,
    /// The newest ticket that was requested, and the newest that was served.
    newest: tokio::sync::watch::Sender<Ticket>,
    served: tokio::sync::watch::Sender<Ticket>,
    stop: CancellationToken,
}

impl Shared {
    fn read<R>(&self, f: impl FnOnce(&Inventory) -> R) -> R {
        f(&self.inventory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn update<R>(&self, f: impl FnOnce(&mut Inventory) -> R) -> R {
        f(&mut self.inventory.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn newest_ticket(&self) -> Ticket {
        *self.newest.borrow()
    }

    fn has_open_tickets(&self) -> bool {
        self.newest_ticket() > *self.served.borrow()
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// Finds the site if it is not known or stale.
    async fn find_site(&self) -> Result<Arc<Site>, Error> {
        let site = self.sites.find(&self.core, &self.config).await?;
        self.update(|inventory| inventory.set_root(site.root.clone()));
        Ok(site)
    }

    /// Returns the site, found again if it is stale; before it was first found, why it is not known.
    async fn known_site(&self) -> Result<Arc<Site>, Error> {
        self.check_open()?;
        if self.sites.current().is_some() {
            return self.find_site().await;
        }
        Err(match &*self.link.borrow() {
            Link::Down(error) => Error::clone(error),
            _ => Error::new(Kind::Unreachable, "not connected to vCenter yet"),
        })
    }

    /// Takes note of an object that does not exist, or of one that a fault does not name. A reader of the inventory
    /// after this finds the object gone and the site stale.
    fn object_missing(&self, inventory: &mut Inventory, moref: Option<&MoRef>) {
        match moref.map(|moref| (moref.kind(), moref)) {
            Some(("VirtualMachine", vm)) => {
                self.templates.forget_moref(vm);
                inventory.remove_missing(vm);
            }
            Some(("Folder", folder)) => {
                inventory.remove_missing(folder);
                if self.sites.current().is_some_and(|site| site.root == *folder) {
                    self.sites.mark_stale();
                }
            }
            Some(("Task", _)) => {}
            // The resource pool, or what it belongs to.
            _ => self.sites.mark_stale(),
        }
    }

    /// Works until it is stopped.
    async fn run(self: Arc<Self>) {
        let watcher = Watcher::new(self.clone());
        let work = async { tokio::join!(watcher.run(), self.look_ups.run(&self), self.templates.run(&self)) };
        Box::pin(self.stop.run_until_cancelled(work)).await;
        self.update(Inventory::close);
        self.link.send_replace(Link::Down(closed()));
    }
}

/// A watch over the VMs under one folder, and the calls on them. Clones share it. It ends when the last clone is
/// dropped, by [`Vms::close`], and with its session.
#[derive(Clone)]
pub struct Vms {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    session: Session,
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for Vms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vms")
            .field("host", &self.shared.core.host())
            .field("root_folder", &self.shared.config.root_folder)
            .finish_non_exhaustive()
    }
}

impl Vms {
    /// Starts to connect, in the background, and stays connected. To be called within a tokio runtime. Whatever is
    /// wrong shows in [`Vms::link`].
    #[must_use]
    pub fn start(session: Session, config: Config) -> Self {
        let core = session.core().clone();
        let stop = core.stop().child_token();
        let shared = Arc::new(Shared {
            inventory: RwLock::new(Inventory::new(config.marker_prefix.clone())),
            sites: Sites::default(),
            templates: Templates::default(),
            look_ups: LookUps::default(),
            link: tokio::sync::watch::Sender::new(Link::Connecting),
            newest: tokio::sync::watch::Sender::new(Ticket(0)),
            served: tokio::sync::watch::Sender::new(Ticket(0)),
            stop: stop.clone(),
            config,
            core,
        });
        let tasks = TaskTracker::new();
        shared.core.tasks().spawn(tasks.track_future(shared.clone().run()));
        tasks.close();
        Self { shared, tasks, session, _stop: Arc::new(stop.drop_guard()) }
    }

    /// Returns how the connection is, now and whenever that changes.
    #[must_use]
    pub fn link(&self) -> tokio::sync::watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Returns the account of this client, as tasks name it; none before the first login.
    #[must_use]
    pub fn user(&self) -> Option<Arc<str>> {
        self.session.user()
    }

    /// Reads the inventory. Updates wait meanwhile: keep it short, and do not read again from within, which would wait
    /// for an update that waits for this.
    pub fn read<R>(&self, f: impl FnOnce(&Inventory) -> R) -> R {
        self.shared.read(f)
    }

    /// Subscribes to changes from now on. Subscribe first and read the inventory then, and nothing is missed.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.shared.update(Inventory::subscribe)
    }

    /// Follows a task that an earlier process submitted as if it had been submitted here: the inventory shows it at
    /// once, and it is read by reference where vCenter's list of recent tasks does not show it any more.
    pub fn follow(&self, task: &MoRef) {
        self.shared.update(|inventory| inventory.task_submitted(task, Instant::now()));
    }

    /// Requests that the inventory be brought up to date. When it includes everything that had taken effect at vCenter
    /// by now, [`Inventory::refreshed`] is true for the ticket and [`Change::Refreshed`] is sent. One poll serves all
    /// requests made before it. While the link is down requests wait for the next complete report.
    #[must_use]
    pub fn request_refresh(&self) -> Ticket {
        let mut ticket = Ticket(0);
        self.shared.newest.send_modify(|newest| {
            newest.0 += 1;
            ticket = *newest;
        });
        ticket
    }

    /// Requests a refresh and waits for it. For tests and tools: an operator must not wait in a reconcile.
    ///
    /// # Errors
    ///
    /// The reason if the link is or goes down.
    pub async fn fresh(&self) -> Result<(), Error> {
        self.shared.check_open()?;
        let (mut link, mut served) = (self.link(), self.shared.served.subscribe());
        let ticket = self.request_refresh();
        tokio::select! {
            biased;
            _ = served.wait_for(|served| *served >= ticket) => Ok(()),
            down = link.wait_for(|link| matches!(link, Link::Down(_))) => match down.as_deref() {
                Ok(Link::Down(error)) => Err(Error::clone(error)),
                _ => Err(closed()),
            },
        }
    }

    /// Requests to find out where a VM is that the inventory does not show. [`Inventory::outside`] has the answer when
    /// [`Change::LookedUp`] is sent. Requests of one moment are sent in one call; a request while one of the same VM is
    /// open, or answered, adds nothing.
    pub fn look_up(&self, vm: &MoRef) {
        if self.shared.read(|inventory| inventory.outside(vm).is_none()) {
            self.shared.look_ups.request(vm);
        }
    }

    /// Drops what was found when a VM was read: what is found from now on was read after this.
    pub fn forget_answers(&self, vm: &MoRef) {
        self.shared.look_ups.renew(vm);
        self.shared.update(|inventory| {
            inventory.forget_outside(vm);
            inventory.forget_confirmed(vm);
        });
    }

    /// Requests to read a VM that the inventory shows, and the folders above it, before something is done to it that cannot be undone: an
    /// update may have been lost, or be late. [`Inventory::confirmed`] has the answer when [`Change::LookedUp`] is sent. If the VM is not
    /// as the inventory shows it, the inventory is read again.
    pub fn confirm(&self, vm: &MoRef) {
        if self.shared.read(|inventory| inventory.confirmed(vm).is_none()) {
            self.shared.look_ups.request(vm);
        }
    }

    /// Returns whether a request of [`Vms::look_up`] or [`Vms::confirm`] is not answered yet.
    #[must_use]
    pub fn is_looking_up(&self, vm: &MoRef) -> bool {
        self.shared.look_ups.is_open(vm)
    }

    /// Returns what is known of a template, by its name or its inventory path. Only templates are found by name; any VM
    /// is found by its path.
    #[must_use]
    pub fn template(&self, name: &str) -> Template {
        self.shared.templates.get(name)
    }

    /// Requests a scan of the datacenter for a template; [`Change::Templates`] is sent when it has ended. One scan answers
    /// for all names, for 10 seconds for a name without a template and for 5 minutes for a template.
    pub fn request_template(&self, name: &str) {
        if matches!(self.template(name), Template::Unknown) {
            self.shared.templates.request(name);
        }
    }

    /// Drops the answer, so that the next request scans again.
    pub fn forget_template(&self, name: &str) {
        self.shared.templates.forget(name);
    }

    /// Ends watching, and every subscription. Calls fail with [`Kind::Canceled`] from then on. The session stays.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.tasks.wait().await;
    }
}
