//! What the caches say of a Cluster, before its workload cluster is looked at. Pure.

use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::{Cluster, Machine};
use operator_kit::{Foreign, Key};

use super::patience::Patience;
use super::seen::{Hooks, Left, Purge, Seen, Want, Workload};
use crate::api::condition::OWNED;
use crate::api::{
    AkoDeploymentConfig, DELETE_CONFIG_LABEL, FORCE_ANNOTATION, HOOK_OWNER, MOVE_ANNOTATION,
    PRE_TERMINATE_HOOK, SYSTEM_NAMESPACE, find_elsewhere, find_namesake, is_held, recorded,
};
use crate::conditions::said;
use crate::delivery::cluster_name;
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
}

impl Known<'_> {
    fn selection(&self) -> Selection {
        select(self.cluster, &self.adcs)
    }

    /// Returns whether the Cluster is to have AKO.
    pub(crate) fn want(&self) -> Want {
        let selection = self.selection();
        if self.is_to_move(&selection) { Want::Nothing } else { want(&selection) }
    }

    /// Returns whether AKO is to leave the place where it works first, as a person has asked. Where its AKODeploymentConfig is gone, any
    /// place is another one.
    fn is_to_move(&self, selection: &Selection) -> bool {
        let Some(adc) = self.selected(selection) else { return false };
        let is_asked = self.cluster.annotation(MOVE_ANNOTATION) == adc.metadata.name.as_deref();
        let is_unrecorded = || is_held(&self.cluster.metadata) && self.recorded().is_none();
        is_asked && (is_unrecorded() || self.find_elsewhere(adc).is_some())
    }

    /// Returns the AKODeploymentConfig that the Cluster takes AKO from, if there is one.
    pub(crate) fn adc(&self) -> Option<&Arc<AkoDeploymentConfig>> {
        self.selected(&self.selection())
    }

    fn selected(&self, selection: &Selection) -> Option<&Arc<AkoDeploymentConfig>> {
        let Selection::From(name) = selection else { return None };
        self.adcs.read.iter().find(|adc| adc.metadata.name.as_ref() == Some(name))
    }

    /// Returns the AKODeploymentConfig that has recorded that AKO is delivered to the Cluster: the one that selects it, if several have.
    pub(crate) fn recorded(&self) -> Option<&Arc<AkoDeploymentConfig>> {
        let key = Key::of(self.cluster);
        let selected = self.adc().filter(|adc| adc.has_recorded(&key));
        selected.or_else(|| self.adcs.read.iter().find(|adc| adc.has_recorded(&key)))
    }

    /// Returns the AKODeploymentConfig from which AKO was delivered to work at another place than this one says.
    pub(crate) fn find_elsewhere(&self, adc: &AkoDeploymentConfig) -> Option<&Arc<AkoDeploymentConfig>> {
        find_elsewhere(&self.adcs.read, adc, &Key::of(self.cluster))
    }

    /// Returns what a pass sees, but for the workload cluster. `unrecorded`: the Clusters that have AKO without a record that can be read.
    pub(crate) fn glance(&self, unrecorded: &[String]) -> Seen {
        let (cluster, selection) = (self.cluster, self.selection());
        let ip_family = self.selected(&selection).map(|adc| {
            let refused = refuse_ip_family(&cluster.ip_family(), adc.spec.ip_family(), self.is_balanced);
            refused.map_or(Ok(()), Err)
        });
        let taken = recorded(&self.adcs.read).chain(unrecorded);
        let (is_recorded, namesake) = (self.recorded().is_some(), find_namesake(taken, &Key::of(cluster)));
        Seen {
            is_deleting: cluster.is_deleting(),
            is_held: is_held(&cluster.metadata),
            is_forced: cluster.annotation(FORCE_ANNOTATION) == Some("true"),
            is_paused: cluster.is_paused(),
            is_recorded,
            unread: if is_recorded { Vec::new() } else { self.adcs.unread.clone() },
            want: self.want(),
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
