//! Chooses the version of a driver: the highest that fits.
//!
//! Pure: from the matrix and from what is there to one version, with the reason for each that was rejected. A version fits if *every*
//! vCenter, the Kubernetes and what the driver needs admit it, if it is neither revoked nor a trial, and if the policy and the
//! version that is installed let it be reached. An upgrade that has failed is rolled back to the version that ran before, if that one fits.

mod history;
mod reason;

use crate::matrix::{Driver, Matrix, Release};
use crate::version::{Kubernetes, Version, Vsphere};

pub use history::{Failure, History};
pub use reason::Rejection;

/// A vCenter that the driver has to work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcenter {
    /// Its address, for messages.
    pub server: String,
    /// Its version.
    pub version: Vsphere,
}

/// What the version depends on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Version of the API server.
    pub kubernetes: Kubernetes,
    /// The vCenters that the driver is configured with. None for the network.
    pub vcenters: Vec<Vcenter>,
    /// Whether the cluster has CPI, or gets it before this driver.
    pub has_cpi: bool,
}

/// Which versions a user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// This one. It may be older than the one that is installed.
    Pinned(Version),
    /// Patches of the one that is installed; where none is, as `Latest`. CPI follows the minor version of Kubernetes all the same.
    Patch,
    /// The highest.
    Latest,
    /// The highest of those that are maintained for long.
    Lts,
}

impl Policy {
    /// Returns the policy that `auto-upgrade` of the original's ConfigMap stands for.
    #[must_use]
    pub fn of_auto_upgrade(auto_upgrade: bool, installed: Option<&Version>) -> Self {
        match installed {
            Some(installed) if !auto_upgrade => Self::Pinned(installed.clone()),
            _ => Self::Latest,
        }
    }
}

/// What follows from a choice for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The driver is not there yet.
    Install,
    /// The version runs already.
    Keep,
    /// A newer version replaces the one that is installed.
    Upgrade,
    /// An older version replaces the one that is installed, because a user pinned it.
    Downgrade,
    /// The version that ran before replaces the one that is installed, which did not become available.
    Rollback,
    /// No version fits. What is installed is left as it is.
    Nothing,
}

/// Which version of a driver is used, and why not the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The driver.
    pub driver: Driver,
    /// The version.
    pub version: Option<Version>,
    /// What follows.
    pub step: Step,
    /// All versions of the matrix, newest first, with what speaks against them: nothing against those that fit.
    pub candidates: Vec<(Version, Vec<Rejection>)>,
    /// Why the version that is installed is not rolled back although it did not become available, and what a person has to write.
    pub stays: Option<String>,
}

/// Chooses the version of a driver.
#[must_use]
pub fn choose(
    matrix: &Matrix,
    driver: Driver,
    surroundings: &Surroundings,
    policy: &Policy,
    history: &History<'_>,
) -> Choice {
    let installed = history.installed;
    let mut candidates: Vec<_> = matrix
        .releases(driver)
        .rev()
        .map(|(version, release)| {
            let mut against = incompatible(driver, version, release, surroundings);
            against.extend(unreachable(version, release, policy, installed));
            against.extend(history.failure(version, policy).cloned().map(Rejection::Failed));
            (version.clone(), against)
        })
        .collect();
    let stays = history.failing.and_then(|failing| history.stays(failing, policy, &candidates));
    let rolled_back = history.failing.filter(|_| stays.is_none());
    if let Some(failing) = rolled_back {
        for (version, against) in &mut candidates {
            if *version == failing.version {
                against.push(Rejection::Failed(failing.clone()));
            } else if *version == failing.from {
                against.clear();
            } else if *version > failing.version {
                against.push(Rejection::AfterRollback(failing.from.clone()));
            }
        }
    }
    let version =
        candidates.iter().find(|(_, against)| against.is_empty()).map(|(version, _)| version.clone());
    let step = match (&version, installed) {
        (None, _) => Step::Nothing,
        (Some(_), None) => Step::Install,
        (Some(version), Some(installed)) if version == installed => Step::Keep,
        (Some(version), Some(installed)) if version > installed => Step::Upgrade,
        (Some(_), Some(_)) if rolled_back.is_some() => Step::Rollback,
        (Some(_), Some(_)) => Step::Downgrade,
    };
    Choice { driver, version, step, candidates, stays }
}

/// Returns why a version does not work here, whatever is installed.
#[must_use]
pub fn incompatible(
    driver: Driver,
    version: &Version,
    release: &Release,
    surroundings: &Surroundings,
) -> Vec<Rejection> {
    let mut against = Vec::new();
    if version.is_pre_release() {
        against.push(Rejection::PreRelease);
    }
    if let Some(why) = &release.revoked {
        against.push(Rejection::Revoked(why.clone()));
    }
    if !release.kubernetes.contains(&surroundings.kubernetes) {
        let (found, range) = (surroundings.kubernetes, release.kubernetes.clone());
        against.push(Rejection::Kubernetes { found, range });
    }
    for vcenter in &surroundings.vcenters {
        if !release.vsphere.contains(&vcenter.version) {
            let (vcenter, range) = (vcenter.clone(), release.vsphere.clone());
            against.push(Rejection::Vsphere { vcenter, range });
        }
    }
    if release.is_cpi_required && !surroundings.has_cpi && driver != Driver::Cpi {
        against.push(Rejection::NeedsCpi);
    }
    against
}

/// Returns why a version is not wanted, or cannot be reached from the one that is installed.
fn unreachable(
    version: &Version,
    release: &Release,
    policy: &Policy,
    installed: Option<&Version>,
) -> Vec<Rejection> {
    let mut against = Vec::new();
    match policy {
        Policy::Pinned(pin) if pin != version => against.push(Rejection::NotPinned(pin.clone())),
        Policy::Patch => {
            // A CPI works with one minor version of Kubernetes: with another one, patches of the old do not help.
            let follows_kubernetes = release.kubernetes.is_one_minor();
            if let Some(installed) = installed
                && !follows_kubernetes
                && installed.minor() != version.minor()
            {
                against.push(Rejection::AnotherMinor(installed.clone()));
            }
        }
        Policy::Lts if !release.is_lts => against.push(Rejection::NotLts),
        Policy::Pinned(_) | Policy::Latest | Policy::Lts => {}
    }
    let Some(installed) = installed else { return against };
    if version < installed && !matches!(policy, Policy::Pinned(_)) {
        against.push(Rejection::Downgrade(installed.clone()));
    }
    if version > installed
        && let Some(oldest) = &release.upgrade_from
        && installed < oldest
    {
        let (installed, oldest) = (installed.clone(), oldest.clone());
        against.push(Rejection::TooFar { installed, oldest });
    }
    against
}

impl Choice {
    /// Adds to the upgrade that has failed what was found out about it later.
    pub(crate) fn found_out(&mut self, found: &Failure) {
        for why in self.candidates.iter_mut().flat_map(|(_, against)| against) {
            if let Rejection::Failed(failure) = why
                && failure.version == found.version
            {
                failure.clone_from(found);
            }
        }
    }

    /// Returns the pinned version that the matrix does not have.
    fn missing_pin(&self) -> Option<&Version> {
        let mut pins = self.candidates.iter().map(|(_, against)| {
            against.iter().find_map(|why| if let Rejection::NotPinned(pin) = why { Some(pin) } else { None })
        });
        let first = pins.next()??;
        pins.all(|pin| pin.is_some()).then_some(first)
    }

    /// Returns the choice in words: a line for the version, and one for each that is newer. Where no version fits, all lines.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut lines = vec![match &self.version {
            Some(version) => format!("{} {version} is the highest version that fits", self.driver),
            None if self.candidates.is_empty() => format!("the matrix has no version of {}", self.driver),
            None => match self.missing_pin() {
                Some(pin) => {
                    return format!("{} {pin} is pinned, and the matrix does not have it", self.driver);
                }
                None => format!("no version of {} fits", self.driver),
            },
        }];
        let rejected =
            self.candidates.iter().take_while(|(version, _)| Some(version) != self.version.as_ref());
        lines.extend(rejected.map(|(version, against)| {
            let why: Vec<_> = against.iter().map(ToString::to_string).collect();
            format!("{version}: {}", why.join("; "))
        }));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
