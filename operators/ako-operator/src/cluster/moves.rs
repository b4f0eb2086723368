//! Whether AKO leaves the place where it works for that of the AKODeploymentConfig that selects its Cluster. Pure.
//!
//! That begins where a person has asked for it, AKO is known to work elsewhere, and it can come from there. The conditions of the Cluster say
//! so before anything is changed, and once they do, it goes on to its end, whatever the annotation and the AKODeploymentConfig say then.

use infra_clients::capi::Cluster;
use kube::ResourceExt;
use operator_kit::Key;

use super::glance::Known;
use super::seen::Obstacle;
use crate::api::condition::AKO_INSTALLED;
use crate::api::{AkoDeploymentConfig, MOVE_ANNOTATION, Place, SYSTEM_NAMESPACE, Works, is_held, reason};
use crate::delivery::{CONFIG_MAP, NAMESPACE, STATEFUL_SET, cluster_name};
use crate::problem::Problem;

/// Returns whether the conditions of a Cluster say that AKO leaves it.
pub(crate) fn is_leaving(cluster: &Cluster) -> bool {
    cluster.conditions.get(AKO_INSTALLED).is_some_and(|said| said.reason == reason::LEAVING)
}

impl Known<'_> {
    /// Returns whether AKO leaves for the place of the AKODeploymentConfig that selects the Cluster.
    pub(super) fn is_to_move(&self, adc: &AkoDeploymentConfig) -> bool {
        // Of one whose status was lost, it is not known whether AKO runs.
        if !self.cluster.control_plane_initialized() {
            return false;
        }
        let has_begun = is_leaving(self.cluster);
        let may_begin = || self.hindrance(adc).is_none();
        match (self.find_elsewhere(adc), &self.works) {
            // Nothing asks for the annotation where no Service has an address.
            (Some(_), Some(Works::Nowhere)) => has_begun || self.wait(adc).is_none(),
            (Some(_), works) => has_begun || works.is_some() && may_begin(),
            (None, None) => has_begun && self.is_unrecorded(),
            (None, Some(works)) if self.is_unrecorded() && !self.fits(works, adc) => {
                has_begun || matches!(works, Works::At(_)) && may_begin()
            }
            (None, Some(_)) => false,
        }
    }

    /// Returns whether where AKO works decides what becomes of it: where nothing has recorded that, or another AKODeploymentConfig has.
    pub(crate) fn needs_works(&self) -> bool {
        self.is_unrecorded() || self.adc().is_some_and(|adc| self.find_elsewhere(adc).is_some())
    }

    /// Returns whether the Cluster may have AKO, and is in no record.
    fn is_unrecorded(&self) -> bool {
        is_held(&self.cluster.metadata) && self.recorded().is_none()
    }

    fn fits(&self, works: &Works, adc: &AkoDeploymentConfig) -> bool {
        works.fits(&Place::from(&adc.spec), self.cluster.namespace(), self.cluster.name())
    }

    /// Returns why AKO does not leave for the place of an AKODeploymentConfig, and what to do; `None` if it may.
    fn hindrance(&self, adc: &AkoDeploymentConfig) -> Option<String> {
        let name = adc.name_any();
        let asks = self.cluster.annotation(MOVE_ANNOTATION);
        if self.cluster.namespace() == SYSTEM_NAMESPACE {
            let message = "AKO of a management cluster does not move, as the control planes that it serves would have no address";
            return Some(message.to_owned());
        }
        if asks != Some(&*name) {
            let instead = asks.map(|other| format!(" in place of {other:?}")).unwrap_or_default();
            return Some(format!(
                "to have AKO from {name:?}, annotate the Cluster with {MOVE_ANNOTATION}={name}{instead}: AKO leaves first, and Services have \
                 no address meanwhile; remove the annotation once {AKO_INSTALLED} has the reason {}",
                reason::INSTALLED
            ));
        }
        let waits = self.wait(adc)?;
        Some(format!("its annotation {MOVE_ANNOTATION}={name} has no effect until {waits}"))
    }

    /// Returns what AKO of the Cluster cannot come from an AKODeploymentConfig before; `None` if it can.
    fn wait(&self, adc: &AkoDeploymentConfig) -> Option<String> {
        if let Some(other) = self.namesake() {
            return Some(format!("the Cluster {other} has another name on AVI"));
        }
        let why = || adc.ready().map(|ready| format!(" ({}: {})", ready.reason, ready.message));
        (!adc.is_ready()).then(|| format!("{:?} is Ready{}", adc.name_any(), why().unwrap_or_default()))
    }

    /// Returns why an AKODeploymentConfig does not deliver to a Cluster whose AKO another one has recorded for another place.
    pub(crate) fn refuse_elsewhere(&self, adc: &AkoDeploymentConfig) -> Option<Obstacle> {
        let (name, other) = (adc.name_any(), self.find_elsewhere(adc)?.name_any());
        let hindrance = self.hindrance(adc).unwrap_or_default();
        let message = format!(
            "AKO of the Cluster works where the AKODeploymentConfig {other:?} says, and {name:?} says another controller, cloud or tenant: \
             {hindrance}"
        );
        Some(Obstacle::Lasting(Problem { reason: reason::PLACE_CHANGED, message }))
    }

    /// Returns why an AKODeploymentConfig cannot take over an AKO that is in no record; `None` if it can.
    pub(crate) fn refuse(&self, works: &Works, adc: &AkoDeploymentConfig) -> Option<Obstacle> {
        if self.fits(works, adc) {
            return None;
        }
        let name = adc.name_any();
        let problem = match works {
            Works::At(Place { controller, cloud, tenant, .. }) => Problem {
                reason: reason::PLACE_CHANGED,
                message: format!(
                    "AKO of the Cluster works at controller {controller:?}, cloud {cloud:?}, tenant {tenant:?}, as its ConfigMap says, and no \
                     AKODeploymentConfig has recorded that; {name:?}, which selects the Cluster, says another place: create the \
                     AKODeploymentConfig again that AKO came from, so that it selects the Cluster; or: {}",
                    self.hindrance(adc).unwrap_or_default()
                ),
            },
            Works::Nowhere | Works::OfOthers | Works::Unknown => Problem {
                reason: reason::ADC_MISSING,
                message: format!(
                    "no AKODeploymentConfig has recorded where AKO of the Cluster works, and the ConfigMap {NAMESPACE}/{CONFIG_MAP} of the \
                     workload cluster, which would say it, is gone or lacks that: write its controllerIP, cloudName and tenantName; or remove \
                     what has the marks of ako-{} on AVI by hand, then the StatefulSet {NAMESPACE}/{STATEFUL_SET}: AKO comes from {name:?} then",
                    cluster_name(self.cluster.namespace(), self.cluster.name())
                ),
            },
        };
        Some(Obstacle::Lasting(problem))
    }

    /// Returns another Cluster with AKO whose name on AVI is the same.
    pub(super) fn namesake(&self) -> Option<Key> {
        let taken = crate::api::recorded(&self.adcs.read).chain(&self.unrecorded);
        crate::api::find_namesake(taken, &Key::of(self.cluster))
    }
}

#[cfg(test)]
mod tests;
