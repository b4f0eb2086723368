//! What the caches say of a Cluster, before its workload cluster is looked at. Pure.

use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::{Cluster, Machine};
use operator_kit::{Foreign, Key};

use super::patience::Patience;
use super::seen::{Hooks, Left, Purge, Seen, Want, Workload};
use crate::api::condition::OWNED;
use crate::api::{
    AkoDeploymentConfig, DELETE_CONFIG_LABEL, FORCE_ANNOTATION, HOOK_OWNER, PRE_TERMINATE_HOOK,
    SYSTEM_NAMESPACE, Works, find_elsewhere, is_held, is_stripped,
};
use crate::conditions::said;
use crate::delivery::cluster_name;
use crate::problem::Problem;
use crate::selection::{Configs, Selection, Skip, refuse_ip_family, select};
use crate::user::account::Account;

/// What caches and memory have of a Cluster.
pub(crate) struct Known<'a> {
    /// The Cluster.
    pub(crate) cluster: &'a Cluster,
    /// All AKODeploymentConfigs.
    pub(crate) adcs: Configs,
    /// Its Machines.
    pub(crate) machines: Vec<Arc<Foreign<Machine>>>,
    /// Whether nothing was left on AVI when the operator looked last.
    pub(crate) is_purged: bool,
    /// Whether AVI balances its control plane.
    pub(crate) is_balanced: bool,
    /// Whether the Service of its control plane exists.
    pub(crate) has_service: bool,
    /// How long a cleanup waits for AKO.
    pub(crate) deadline: Option<Duration>,
    /// Where AKO works; `None` if no pass has looked, or it does not matter.
    pub(crate) works: Option<Works>,
    /// Whether AKO can come from the AKODeploymentConfig that selects the Cluster, beside that one being Ready, or why not; `None` if that was
    /// not looked at.
    pub(crate) can_serve: Option<Result<(), Problem>>,
    /// The Clusters that have AKO without a record that can be read, as `namespace/name`.
    pub(crate) unrecorded: Vec<String>,
}

impl Known<'_> {
    fn selection(&self) -> Selection {
        select(self.cluster, &self.adcs)
    }

    /// Returns whether the Cluster is to have AKO.
    pub(crate) fn want(&self) -> Want {
        let selection = self.selection();
        let moves = self.selected(&selection).is_some_and(|adc| self.is_to_move(adc));
        if moves { Want::Nothing } else { want(&selection) }
    }

    /// Returns the AKODeploymentConfig that the Cluster takes AKO from, if there is one.
    pub(crate) fn adc(&self) -> Option<&Arc<AkoDeploymentConfig>> {
        self.selected(&self.selection())
    }

    fn selected(&self, selection: &Selection) -> Option<&Arc<AkoDeploymentConfig>> {
        let Selection::From(name) = selection else { return None };
        self.adcs.read.iter().find(|adc| adc.metadata.name.as_ref() == Some(name))
    }

    /// Returns the AKODeploymentConfig that has recorded that AKO is delivered to the Cluster. If several have: one of another place, as the one
    /// that selects the Cluster delivers nothing until that has let go of it; else the one that selects it.
    pub(crate) fn recorded(&self) -> Option<&Arc<AkoDeploymentConfig>> {
        let (key, selected) = (Key::of(self.cluster), self.adc());
        let elsewhere = || selected.and_then(|adc| self.find_elsewhere(adc));
        let here = || selected.filter(|adc| adc.has_recorded(&key));
        elsewhere().or_else(here).or_else(|| self.adcs.read.iter().find(|adc| adc.has_recorded(&key)))
    }

    /// Returns the AKODeploymentConfig from which AKO was delivered to work at another place than this one says.
    pub(crate) fn find_elsewhere(&self, adc: &AkoDeploymentConfig) -> Option<&Arc<AkoDeploymentConfig>> {
        find_elsewhere(&self.adcs.read, adc, &Key::of(self.cluster))
    }

    /// Returns what a pass sees, but for the workload cluster.
    pub(crate) fn glance(&self) -> Seen {
        let (cluster, selection) = (self.cluster, self.selection());
        let ip_family = self.selected(&selection).map(|adc| {
            let refused = refuse_ip_family(&cluster.ip_family(), adc.spec.ip_family(), self.is_balanced);
            refused.map_or(Ok(()), Err)
        });
        let (is_recorded, namesake) = (self.recorded().is_some(), self.namesake());
        let (adc, want) = (self.selected(&selection), self.want());
        let moves_to = adc.filter(|adc| want == Want::Nothing && self.is_to_move(adc));
        Seen {
            is_deleting: cluster.is_deleting(),
            is_held: is_held(&cluster.metadata),
            is_forced: cluster.annotation(FORCE_ANNOTATION) == Some("true"),
            is_paused: cluster.is_paused(),
            is_recorded,
            is_awaited: adc.is_some_and(|adc| adc.has_recorded(&Key::of(cluster))),
            is_stripped: is_stripped(cluster),
            moves_to: moves_to.and_then(|adc| adc.metadata.name.clone()),
            unread: if is_recorded { Vec::new() } else { self.adcs.unread.clone() },
            want,
            hooks: self.hooks(),
            workload: if cluster.control_plane_initialized() {
                Workload::Unread
            } else {
                Workload::NotInitialized
            },
            needs_watch: false,
            said: said(cluster, &OWNED),
            purge: match (self.is_purged, is_recorded && namesake.is_none()) {
                (true, _) => Purge::Done,
                (false, true) => Purge::Possible,
                (false, false) => Purge::Impossible,
            },
            patience: Patience::of(cluster, self.deadline),
            ip_family,
            offer: Ok(()),
            account: Account::Other,
            user: Left::No,
            addon: Vec::new(),
            key: Key::of(cluster),
            avi_name: avi_name(cluster),
            deletes_config: deletes_config(cluster),
            namesake,
            is_service_missing: self.is_balanced
                && !self.has_service
                && cluster.namespace() == SYSTEM_NAMESPACE,
        }
    }

    fn hooks(&self) -> Hooks {
        let cluster = self.cluster;
        let mut hooks = Hooks::default();
        for machine in &self.machines {
            let name = machine.name().to_owned();
            if machine.annotation(PRE_TERMINATE_HOOK) == Some(HOOK_OWNER) {
                if machine.is_deleting() && !cluster.is_deleting() {
                    hooks.unneeded.push(name.clone());
                }
                hooks.present.push(name);
            } else if !machine.is_deleting() && cluster.namespace() != SYSTEM_NAMESPACE {
                // Machines of management clusters have none, as with the original: nothing is left that would remove it.
                hooks.missing.push(name);
            }
        }
        hooks
    }
}

/// Returns whether the workload cluster has to be looked at.
pub(crate) fn matters(seen: &Seen) -> bool {
    // Of one that nothing has recorded, the workload cluster says whether there is anything to keep.
    let is_kept = matches!(&seen.want, Want::Kept(skip) if *skip != Skip::Unrecorded) && !seen.is_deleting;
    let is_initialized = !matches!(seen.workload, Workload::NotInitialized);
    seen.is_held && !is_kept && !seen.is_paused && is_initialized
}

/// Returns whether the AKO of a Cluster is to remove what it made, as its label says. AKO of a management cluster outlives all that uses it.
pub(super) fn deletes_config(cluster: &Cluster) -> bool {
    cluster.namespace() != SYSTEM_NAMESPACE && cluster.label(DELETE_CONFIG_LABEL) == Some("true")
}

/// Returns the name of a Cluster on AVI.
pub(super) fn avi_name(cluster: &Cluster) -> String {
    cluster_name(cluster.namespace(), cluster.name())
}

fn want(selection: &Selection) -> Want {
    match selection {
        Selection::From(_) => Want::Ako,
        Selection::None => Want::Nothing,
        Selection::Skipped(skip) if skip.removes() => Want::Nothing,
        Selection::Skipped(skip) => Want::Kept(skip.clone()),
    }
}

#[cfg(test)]
mod tests;
