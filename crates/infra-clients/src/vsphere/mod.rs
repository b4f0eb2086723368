//! vCenter: one session, one property collector, and the calls that make, change and remove VMs.
//!
//! ```text
//!   VCenter ── calls ──▶ session ──▶ soap ──▶ vCenter
//!      │ read              ▲ login, keep-alive   │
//!      ▼                   │                     │
//!   Inventory ◀── apply ── watch ◀── one WaitForUpdatesEx
//!      └─▶ Changes
//! ```
//!
//! [`VCenter::start`] connects in the background and stays connected: [`VCenter::link`] tells how
//! it stands. Nothing is polled: whatever happens under the root folder, and to every task, comes
//! through the one collector into the [`Inventory`], and as [`Change`]s to whoever wants them.
//! [`VCenter::fresh`] is the way to be sure that the inventory has seen everything up to now.

mod config;
mod error;
mod fault;
mod finder;
mod inventory;
mod moref;
mod name;
mod power;
mod session;
mod soap;
mod updates;
mod watch;
mod xml;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use vim_rs::core::client::{Transport, VimClient, unmarshal};
use vim_rs::mo::VirtualMachine;
use vim_rs::types::structs::ManagedObjectReference;

pub use config::Config;
pub use error::{Error, Kind, REASONS};
pub use inventory::{Change, Changes, Connection, Folder, Inventory, Task, TaskState, Vm};
pub use moref::{MoRef, ParseMoRefError};
pub use name::{escape, unescape};
pub use power::PowerState;

pub use crate::{Thumbprint, Trust};

use finder::{SiteRef, Templates};
use session::Session;
use updates::{AnyString, Fields};
use watch::{Barrier, Watcher};

/// How the connection stands.
#[derive(Debug, Clone)]
pub enum Link {
    /// Not connected yet, or interrupted a moment ago.
    Connecting,
    /// Connected, the inventory complete and current.
    Up,
    /// Not connected, for this reason; it is tried again all the time, as often as the reason
    /// makes sensible.
    Down(Arc<Error>),
}

impl Link {
    /// Whether it is [`Link::Up`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }
}

/// A VM to be made from a template.
#[derive(Debug, Clone, Copy)]
pub struct CloneSpec<'a> {
    /// From [`VCenter::template`].
    pub template: &'a MoRef,
    /// The folder it comes into.
    pub folder: &'a MoRef,
    /// Its name, not escaped. vCenter refuses a second one of that name in the folder.
    pub name: &'a str,
    /// Its `instanceUuid`. vCenter may give another if this one is taken.
    pub instance_uuid: &'a str,
    /// Virtual CPUs.
    pub cpus: i32,
    /// Memory in MiB.
    pub memory_mb: i64,
    /// Whether to power it on at once. The simulator ignores this unless told otherwise.
    pub power_on: bool,
    /// `extraConfig` entries.
    pub extra_config: &'a [(&'a str, &'a str)],
    /// Shown in vCenter's logs and on the task.
    pub op_id: &'a str,
}

/// What the tasks of one connection share.
struct Shared {
    config: Config,
    session: Session,
    inventory: RwLock<Inventory>,
    site: Mutex<Option<SiteRef>>,
    templates: Templates,
    link: tokio::sync::watch::Sender<Link>,
    fresh: Barrier,
    stop: CancellationToken,
}

impl Shared {
    fn read<R>(&self, f: impl FnOnce(&Inventory) -> R) -> R {
        f(&self.inventory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn update<R>(&self, f: impl FnOnce(&mut Inventory) -> R) -> R {
        f(&mut self.inventory.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn site(&self) -> Option<SiteRef> {
        self.site.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_site(&self, site: SiteRef) {
        self.update(|inventory| inventory.set_root(site.root.clone()));
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = Some(site);
    }

    fn forget_site(&self) {
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where to work, or why that is not known.
    fn known_site(&self) -> Result<SiteRef, Error> {
        self.check_open()?;
        self.site().ok_or_else(|| match &*self.link.borrow() {
            Link::Down(error) => Error::clone(error),
            _ => Error::new(Kind::Unreachable, "not connected to vCenter yet"),
        })
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(Error::new(Kind::Canceled, "the connection is closed"));
        }
        Ok(())
    }
}

/// A connection to a vCenter. Clones share it; when the last is dropped it ends without a logout
/// ([`VCenter::close`] makes one).
#[derive(Clone)]
pub struct VCenter {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    _stop: Arc<DropGuard>,
}

impl fmt::Debug for VCenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VCenter").field("host", &self.shared.config.host).finish_non_exhaustive()
    }
}

impl VCenter {
    /// Starts connecting, in the background, and stays at it. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the address or the CA bundle cannot be used. Everything that can only be
    /// found out by connecting shows in [`VCenter::link`].
    pub fn start(config: Config) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            session: Session::new(&config)?,
            inventory: RwLock::new(Inventory::new(config.marker_prefix.clone())),
            site: Mutex::default(),
            templates: Templates::default(),
            link: tokio::sync::watch::Sender::new(Link::Connecting),
            fresh: Barrier::default(),
            stop: stop.clone(),
            config,
        });
        let tasks = TaskTracker::new();
        let watcher = Watcher::new(shared.clone()).run();
        let stopped = stop.clone();
        tasks.spawn(async move { stopped.run_until_cancelled(watcher).await });
        let alive = shared.clone();
        tasks.spawn(async move {
            let keep_alive = alive.session.keep_alive(alive.config.keep_alive);
            alive.stop.run_until_cancelled(keep_alive).await;
        });
        tasks.close();
        Ok(Self { shared, tasks, _stop: Arc::new(stop.drop_guard()) })
    }

    /// How the connection stands, now and whenever that changes.
    #[must_use]
    pub fn link(&self) -> tokio::sync::watch::Receiver<Link> {
        self.shared.link.subscribe()
    }

    /// Looks at the inventory. Updates wait meanwhile, so keep it short, and do not look again from within:
    /// with an update waiting in between that would wait for ever.
    pub fn read<R>(&self, f: impl FnOnce(&Inventory) -> R) -> R {
        self.shared.read(f)
    }

    /// News from now on. Subscribe first, read the inventory then, and nothing is missed.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.shared.update(Inventory::subscribe)
    }

    /// A VM wherever it stands, read from vCenter now; `None` if there is none of that reference. For one that
    /// the inventory shows no more: it may only have been moved out of the root folder.
    ///
    /// # Errors
    ///
    /// Whatever a call can fail with.
    pub async fn vm(&self, moref: &MoRef) -> Result<Option<Vm>, Error> {
        let mut found = Inventory::new(self.shared.config.marker_prefix.clone());
        match self.shared.session.retrieve(&updates::vm_filter(moref)).await {
            Ok(updates) => updates.into_iter().for_each(|update| found.apply(update, Instant::now())),
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(found.vm(moref).map(|vm| Vm::clone(vm)))
    }

    /// Follows a task that an earlier process submitted as if it had been submitted here: the inventory knows
    /// it at once, and it is asked after by reference where vCenter's list of recent tasks shows it no more.
    pub fn follow(&self, task: &MoRef) {
        self.shared.update(|inventory| inventory.task_submitted(task, Instant::now()));
    }

    /// The template or VM of that name, or at that inventory path, in the datacenter.
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`], [`Kind::Ambiguous`], and whatever a call can fail with.
    pub async fn template(&self, name: &str) -> Result<MoRef, Error> {
        let site = self.shared.known_site()?;
        self.shared.templates.find(&self.shared.session, &site, name).await
    }

    /// Looks the template up anew next time: it turned out not to be there any more.
    pub async fn forget_template(&self, name: &str) {
        self.shared.templates.forget(name).await;
    }

    /// Submits the cloning of a VM; returns its task. If the template is gone the task or the call
    /// fails with [`Kind::NotFound`]: see [`VCenter::forget_template`].
    pub async fn clone_vm(&self, spec: &CloneSpec<'_>) -> Result<MoRef, Error> {
        let site = self.shared.known_site()?;
        let folder = spec.folder.to_vim();
        let pool = site.pool.to_vim();
        let name = &*name::to_send(spec.name);
        let values: Vec<AnyString<'_>> =
            spec.extra_config.iter().map(|(_, value)| AnyString(value)).collect();
        let options: Vec<Fields<'_>> = spec
            .extra_config
            .iter()
            .zip(&values)
            .map(|((key, _), value)| Fields {
                type_name: "OptionValue",
                fields: vec![("key", key), ("value", value)],
            })
            .collect();
        let location = Fields { type_name: "VirtualMachineRelocateSpec", fields: vec![("pool", &pool)] };
        let config = Fields {
            type_name: "VirtualMachineConfigSpec",
            fields: vec![
                ("instanceUuid", &spec.instance_uuid),
                ("numCPUs", &spec.cpus),
                ("memoryMB", &spec.memory_mb),
                ("extraConfig", &options),
            ],
        };
        let clone = Fields {
            type_name: "VirtualMachineCloneSpec",
            fields: vec![
                ("location", &location),
                ("template", &false),
                ("config", &config),
                ("powerOn", &spec.power_on),
            ],
        };
        let params = Fields {
            type_name: "CloneVMRequestType",
            fields: vec![("folder", &folder), ("name", &name), ("spec", &clone)],
        };
        self.submit(spec.template, "CloneVM_Task", &params, Some(spec.op_id)).await
    }

    /// Submits a change of size; returns its task. Most VMs have to be off for it.
    pub async fn reconfigure(&self, vm: &MoRef, cpus: i32, memory_mb: i64) -> Result<MoRef, Error> {
        let spec = Fields {
            type_name: "VirtualMachineConfigSpec",
            fields: vec![("numCPUs", &cpus), ("memoryMB", &memory_mb)],
        };
        let params = Fields { type_name: "ReconfigVMRequestType", fields: vec![("spec", &spec)] };
        self.submit(vm, "ReconfigVM_Task", &params, None).await
    }

    /// Submits the powering on of a VM; returns its task.
    pub async fn power_on(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.task(
            |client| async move { VirtualMachine::new(client, vm.value()).power_on_vm_task(None).await },
        )
        .await
    }

    /// Submits the powering off, without asking the guest, of a VM; returns its task.
    pub async fn power_off(&self, vm: &MoRef) -> Result<MoRef, Error> {
        self.task(|client| async move { VirtualMachine::new(client, vm.value()).power_off_vm_task().await })
            .await
    }

    /// Submits the destruction of a VM, disks included, or of a folder; returns its task. A VM has
    /// to be off. A real vCenter destroys everything in a folder with it: make sure it is empty.
    pub async fn destroy(&self, object: &MoRef) -> Result<MoRef, Error> {
        let params = Fields { type_name: "DestroyRequestType", fields: Vec::new() };
        self.submit(object, "Destroy_Task", &params, None).await
    }

    /// Makes a folder in the root folder. The inventory knows it when this returns.
    ///
    /// # Errors
    ///
    /// [`Kind::DuplicateName`] with [`Error::object`] if there is something of that name.
    pub async fn create_folder(&self, name: &str) -> Result<MoRef, Error> {
        let site = self.shared.known_site()?;
        let folder = finder::create_folder(&self.shared.session, &site.root, name).await?;
        self.shared.update(|inventory| inventory.folder_made(&folder, name, &site.root, Instant::now()));
        Ok(folder)
    }

    /// Returns when the inventory includes everything that had taken effect at vCenter when this
    /// was called. One poll serves everyone who is waiting.
    ///
    /// # Errors
    ///
    /// The reason if the connection is or goes down.
    pub async fn fresh(&self) -> Result<(), Error> {
        self.shared.check_open()?;
        let mut link = self.link();
        let mut served = self.shared.fresh.served.subscribe();
        let mut mine = 0;
        self.shared.fresh.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        tokio::select! {
            biased;
            _ = served.wait_for(|served| *served >= mine) => Ok(()),
            down = link.wait_for(|link| matches!(link, Link::Down(_))) => match down.as_deref() {
                Ok(Link::Down(error)) => Err(Error::clone(error)),
                _ => Err(Error::new(Kind::Canceled, "the connection is closed")),
            },
        }
    }

    /// Ends watching, logs out, and ends every subscription. Calls fail from then on.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.tasks.wait().await;
        self.shared.session.logout().await;
        self.shared.update(Inventory::close);
        let closed = Error::new(Kind::Canceled, "the connection is closed");
        self.shared.link.send_replace(Link::Down(Arc::new(closed)));
    }

    async fn submit(
        &self,
        object: &MoRef,
        method: &'static str,
        params: &Fields<'_>,
        op_id: Option<&str>,
    ) -> Result<MoRef, Error> {
        self.shared.check_open()?;
        let call = |client: Arc<dyn VimClient>| async move {
            let answer = client.invoke("", object.kind(), object.value(), method, Some(params)).await?;
            unmarshal::<ManagedObjectReference>(Transport::Soap, &answer)
        };
        let task = self.shared.session.call(op_id, call).await?;
        Ok(self.submitted(&task))
    }

    async fn task<F, Fut>(&self, call: F) -> Result<MoRef, Error>
    where
        F: Fn(Arc<dyn VimClient>) -> Fut,
        Fut: Future<Output = Result<ManagedObjectReference, vim_rs::core::client::Error>>,
    {
        self.shared.check_open()?;
        let task = self.shared.session.call(None, call).await?;
        Ok(self.submitted(&task))
    }

    fn submitted(&self, task: &ManagedObjectReference) -> MoRef {
        let task = MoRef::from(task);
        self.shared.update(|inventory| inventory.task_submitted(&task, Instant::now()));
        task
    }
}
