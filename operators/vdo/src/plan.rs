//! Decides what happens next with each driver.
//!
//! Pure and total: from what a user asks for and what is there to one step for each driver. The order of the first installation is network,
//! cloud provider, Nodes set up, storage; that of the removal is the reverse. A driver that runs is maintained whatever the state of
//! the others: only installations, changes of version and removals wait.
//!
//! ```text
//!   install:  CNI ──available──▶ CPI ──available──▶ SnapshotController ──available, no Node uninitialized──▶ CSI
//!   remove:   CSI ──no volume──▶ SnapshotController ──no snapshot──▶ CPI ──gone──▶ CNI (no Pod has an address of it)
//! ```

mod guard;

use crate::api::reason;
use crate::matrix::Driver;
use crate::version::Version;

pub(crate) use guard::REASONS_IN_USE;
pub use guard::{Checks, Cluster};

/// Something for each driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Drivers<T> {
    /// Of the network.
    pub cni: T,
    /// Of the cloud provider.
    pub cpi: T,
    /// Of the kinds of snapshots and their controller.
    pub snapshots: T,
    /// Of the storage driver.
    pub csi: T,
}

impl<T> Drivers<T> {
    /// Makes one for each driver.
    pub fn of(mut make: impl FnMut(Driver) -> T) -> Self {
        Self {
            cni: make(Driver::Cni),
            cpi: make(Driver::Cpi),
            snapshots: make(Driver::Snapshots),
            csi: make(Driver::Csi),
        }
    }

    /// Returns that of a driver.
    pub fn get(&self, driver: Driver) -> &T {
        match driver {
            Driver::Cni => &self.cni,
            Driver::Cpi => &self.cpi,
            Driver::Snapshots => &self.snapshots,
            Driver::Csi => &self.csi,
        }
    }

    /// Returns that of a driver, to be changed.
    pub fn get_mut(&mut self, driver: Driver) -> &mut T {
        match driver {
            Driver::Cni => &mut self.cni,
            Driver::Cpi => &mut self.cpi,
            Driver::Snapshots => &mut self.snapshots,
            Driver::Csi => &mut self.csi,
        }
    }
}

/// What a user wants of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// It is not ours to manage.
    #[default]
    Unmanaged,
    /// It is to run.
    Present(Target),
    /// It is to run, but how is not known: no version fits, or its settings cannot be used. What runs is left.
    Unclear(Hold),
    /// It is to be removed.
    Removed,
    /// It is to stay, and we let go of it.
    Released,
}

/// How a driver is to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The version.
    pub version: Version,
    /// Hash of the objects and of the configuration.
    pub digest: String,
    /// Whether this version needs CPI.
    pub needs_cpi: bool,
    /// Whether a driver that another tool installed is taken over.
    pub adopts: bool,
    /// Whether it is the version that ran before an upgrade which has failed.
    pub rolls_back: bool,
}

/// What there is of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Found {
    /// Nothing.
    #[default]
    Absent,
    /// One that another tool installed: what shows it, such as `DaemonSet kube-system/calico-node`.
    Foreign(String),
    /// Ours.
    Ours(Installed),
}

/// A driver that we installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Installed {
    /// The version that was applied last.
    pub version: Version,
    /// Hash of what was applied last.
    pub digest: String,
    /// Whether this version needs CPI.
    pub needs_cpi: bool,
    /// How it is.
    pub health: Health,
}

/// How a driver is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Everything of it runs.
    Available,
    /// It is being rolled out, or something of it does not run: what.
    Progressing(String),
    /// It is being removed: what is left of it, and what keeps that; empty while that is not known.
    Removing(String),
}

impl Health {
    /// Returns whether it is being removed.
    #[must_use]
    pub fn is_removing(&self) -> bool {
        matches!(self, Self::Removing(_))
    }
}

/// Returns a text about a removal with what is left of the driver.
pub(crate) fn with_left(text: &str, left: &str) -> String {
    if left.is_empty() { text.to_owned() } else { format!("{text}; left: {left}") }
}

/// Why a driver is not changed now: reason, and message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hold {
    /// Constant of [`reason`].
    pub reason: &'static str,
    /// What it waits for, or what a person has to do.
    pub message: String,
}

impl Hold {
    /// Returns whether it ends without help: a server is waited for.
    fn passes(&self) -> bool {
        [reason::CONNECTION_NOT_READY, reason::FILE_UNREACHABLE].contains(&self.reason)
    }
}

/// What happens next with a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Its objects are applied.
    Apply(Change),
    /// It waits for something that comes without help.
    Wait(Hold),
    /// A person has to act. What runs is left.
    Blocked(Hold),
    /// Its objects are deleted.
    Remove,
    /// Its objects lose our marks and stay.
    Release,
}

/// What applying the objects changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The driver is installed.
    Install,
    /// One of another tool is taken over.
    Adopt,
    /// It gets a newer version.
    Upgrade,
    /// It gets an older version.
    Downgrade,
    /// It gets the version again that ran before an upgrade which has failed.
    Rollback,
    /// It gets other settings.
    Configure,
    /// Nothing, unless another client changed it: then that is put back.
    Maintain,
}

impl Change {
    /// Every change.
    pub const ALL: [Self; 7] = [
        Self::Install,
        Self::Adopt,
        Self::Upgrade,
        Self::Downgrade,
        Self::Rollback,
        Self::Configure,
        Self::Maintain,
    ];
}

/// Decides the step of each driver.
#[must_use]
pub fn plan(wanted: &Drivers<Wanted>, found: &Drivers<Found>, cluster: &Cluster) -> Drivers<Step> {
    let planner = Planner { wanted, found, cluster };
    Drivers::of(|driver| planner.step(driver))
}

struct Planner<'a> {
    wanted: &'a Drivers<Wanted>,
    found: &'a Drivers<Found>,
    cluster: &'a Cluster,
}

impl Planner<'_> {
    fn step(&self, driver: Driver) -> Step {
        match (self.wanted.get(driver), self.found.get(driver)) {
            (Wanted::Unmanaged, _)
            | (Wanted::Removed | Wanted::Released, Found::Absent | Found::Foreign(_)) => Step::Rest,
            (Wanted::Released, Found::Ours(_)) => Step::Release,
            (Wanted::Unclear(hold), _) if hold.passes() => Step::Wait(hold.clone()),
            (Wanted::Unclear(hold), _) => Step::Blocked(hold.clone()),
            (Wanted::Removed, Found::Ours(_)) => self.remove(driver),
            (Wanted::Present(target), found) => self.present(driver, target, found),
        }
    }

    fn present(&self, driver: Driver, target: &Target, found: &Found) -> Step {
        let change = match found {
            Found::Absent => Change::Install,
            Found::Foreign(_) if target.adopts => Change::Adopt,
            Found::Foreign(what) => return Step::Blocked(guard::foreign(driver, what)),
            Found::Ours(Installed { health: Health::Removing(left), .. }) => {
                let message = with_left(&format!("the {driver} that was removed is not gone yet"), left);
                return Step::Wait(Hold { reason: reason::REMOVING, message });
            }
            Found::Ours(installed) if target.version > installed.version => Change::Upgrade,
            Found::Ours(installed) if target.version < installed.version && target.rolls_back => {
                Change::Rollback
            }
            Found::Ours(installed) if target.version < installed.version => Change::Downgrade,
            Found::Ours(installed) if target.digest != installed.digest => Change::Configure,
            Found::Ours(_) => return Step::Apply(Change::Maintain),
        };
        if driver == Driver::Cpi
            && let Some(step) = guard::lost_sight(self.cluster)
        {
            return step;
        }
        let wait = match change {
            Change::Install | Change::Adopt => {
                self.before_install(driver, target).or_else(|| self.cluster.checks.hold(true))
            }
            Change::Upgrade | Change::Downgrade => {
                self.before_version(driver).or_else(|| self.cluster.checks.hold(false))
            }
            // What is broken waits neither for the window nor for what has been found since it ran.
            Change::Rollback => self.unavailable_before(driver),
            Change::Configure | Change::Maintain => None,
        };
        wait.unwrap_or(Step::Apply(change))
    }

    /// Returns what an installation waits for.
    fn before_install(&self, driver: Driver, target: &Target) -> Option<Step> {
        let earlier = Driver::ALL.into_iter().filter(|earlier| *earlier < driver);
        for earlier in earlier {
            if let Some(message) = self.not_there(earlier) {
                return Some(Step::Wait(Hold { reason: reason::WAITING_FOR_DRIVER, message }));
            }
        }
        if driver != Driver::Csi {
            return None;
        }
        let has_cpi = match &self.found.cpi {
            Found::Absent => false,
            Found::Foreign(_) => true,
            Found::Ours(cpi) => !cpi.health.is_removing(),
        };
        if target.needs_cpi && !has_cpi {
            let message =
                format!("CSI {} needs CPI: let vdo install it, or install it yourself", target.version);
            return Some(Step::Blocked(Hold { reason: reason::CPI_REQUIRED, message }));
        }
        if let Found::Ours(Installed { health: Health::Progressing(why), .. }) = &self.found.cpi
            && target.needs_cpi
            && self.cluster.is_cpi_kept
        {
            // Also where another object decides about CPI.
            let message = format!("CPI is not available: {why}");
            return Some(Step::Wait(Hold { reason: reason::WAITING_FOR_DRIVER, message }));
        }
        guard::uninitialized(self.cluster)
    }

    /// Returns why a driver that is to run is not there. One of another tool does the work as well.
    fn not_there(&self, driver: Driver) -> Option<String> {
        if !matches!(self.wanted.get(driver), Wanted::Present(_) | Wanted::Unclear(_)) {
            return None;
        }
        match self.found.get(driver) {
            Found::Foreign(_) => None,
            Found::Absent => Some(format!("{driver} is not installed")),
            Found::Ours(installed) => match &installed.health {
                Health::Available => None,
                Health::Progressing(why) => Some(format!("{driver} is not available: {why}")),
                Health::Removing(_) => Some(format!("{driver} is being removed")),
            },
        }
    }

    /// Returns what a change of version waits for: earlier drivers, which later ones need, and the window. An earlier driver does not
    /// wait for later ones, as these may be unavailable because of it.
    fn before_version(&self, driver: Driver) -> Option<Step> {
        if let Some(wait) = self.unavailable_before(driver) {
            return Some(wait);
        }
        let earlier =
            Driver::ALL.into_iter().find(|earlier| *earlier < driver && self.changes_version(*earlier));
        if let Some(earlier) = earlier {
            let message = format!("{earlier} gets another version first");
            return Some(Step::Wait(Hold { reason: reason::WAITING_FOR_DRIVER, message }));
        }
        let message = "the version changes in the next maintenance window".to_owned();
        let hold = Hold { reason: reason::OUTSIDE_OF_WINDOW, message };
        (!self.cluster.is_window_open).then_some(Step::Wait(hold))
    }

    /// Returns that an earlier driver does not run, which may be why this one does not either.
    fn unavailable_before(&self, driver: Driver) -> Option<Step> {
        Driver::ALL.into_iter().filter(|earlier| *earlier < driver).find_map(|earlier| {
            let Found::Ours(Installed { health: Health::Progressing(why), .. }) = self.found.get(earlier)
            else {
                return None;
            };
            let message = format!("{earlier} is not available: {why}");
            Some(Step::Wait(Hold { reason: reason::WAITING_FOR_DRIVER, message }))
        })
    }

    /// Returns whether a driver that runs is to have another version, and nothing holds it up that a person has to remove.
    fn changes_version(&self, driver: Driver) -> bool {
        let is_blocked = driver == Driver::Cpi && guard::lost_sight(self.cluster).is_some();
        match (self.wanted.get(driver), self.found.get(driver)) {
            (Wanted::Present(target), Found::Ours(installed)) => {
                let is_forbidden = matches!(self.cluster.checks.hold(false), Some(Step::Blocked(_)));
                target.version != installed.version
                    && !is_blocked
                    && !is_forbidden
                    && !installed.health.is_removing()
            }
            _ => false,
        }
    }

    fn remove(&self, driver: Driver) -> Step {
        if let Found::Ours(Installed { health: Health::Removing(_), .. }) = self.found.get(driver) {
            // What was begun is finished: half a driver serves no Pod.
            return Step::Remove;
        }
        let later = Driver::ALL.into_iter().rev().filter(|later| *later > driver);
        for later in later {
            match (self.wanted.get(later), self.found.get(later)) {
                (Wanted::Removed, Found::Ours(Installed { health, .. })) => {
                    let left = if let Health::Removing(left) = health { left } else { "" };
                    let message = with_left(&format!("{later} is removed first"), left);
                    return Step::Wait(Hold { reason: reason::WAITING_FOR_DRIVER, message });
                }
                (Wanted::Present(target), _) if driver == Driver::Cpi && target.needs_cpi => {
                    let message = format!("CSI {} needs CPI: remove CSI first", target.version);
                    return Step::Blocked(Hold { reason: reason::CPI_REQUIRED, message });
                }
                (Wanted::Present(_), _) if driver == Driver::Snapshots => {
                    return Step::Blocked(guard::snapshotter());
                }
                _ => {}
            }
        }
        if let Found::Ours(csi) = &self.found.csi
            && driver == Driver::Cpi
            && csi.needs_cpi
        {
            let message = format!("CSI {} needs CPI: remove CSI first", csi.version);
            return Step::Blocked(Hold { reason: reason::CPI_REQUIRED, message });
        }
        if driver == Driver::Snapshots && self.found.csi != Found::Absent {
            return Step::Blocked(guard::snapshotter());
        }
        guard::in_use(driver, self.cluster).map_or(Step::Remove, Step::Blocked)
    }
}

#[cfg(test)]
mod tests;
