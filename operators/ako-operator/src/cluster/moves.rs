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
use crate::api::{
    AkoDeploymentConfig, MOVE_ANNOTATION, Place, SYSTEM_NAMESPACE, Works, asks_for, is_held, reason,
    says_leaving,
};
use crate::delivery::{CONFIG_MAP, NAMESPACE, STATEFUL_SET, cluster_name};
use crate::problem::Problem;

/// Returns whether the conditions of a Cluster say that AKO leaves it.
pub(crate) fn is_leaving(cluster: &Cluster) -> bool {
    let said = cluster.conditions.get(AKO_INSTALLED);
    said.is_some_and(|said| says_leaving(&said.reason, is_held(&cluster.metadata)))
}

impl Known<'_> {
    /// Returns whether AKO leaves for the place of the AKODeploymentConfig that selects the Cluster.
    pub(super) fn is_to_move(&self, adc: &AkoDeploymentConfig) -> bool {
        // Of one whose status was lost, it is not known whether AKO runs.
        if !is_held(&self.cluster.metadata) || !self.cluster.control_plane_initialized() {
            return false;
        }
        let has_begun = is_leaving(self.cluster);
        let may_begin = || self.hindrance(adc).is_none();
        match (self.find_elsewhere(adc), &self.works) {
            (Some(_), works) => has_begun || works.is_some() && may_begin(),
            (None, None) => has_begun && self.is_unrecorded(),
            (None, Some(works)) if self.is_unrecorded() && !works.fits(adc, self.cluster) => {
                has_begun || works.place().is_some() && may_begin()
            }
            (None, Some(_)) => false,
        }
    }

    /// Returns whether a person has asked for AKO to leave for the place of an AKODeploymentConfig, and nothing but what that lacks for this
    /// Cluster keeps it.
    pub(super) fn may_move_to(&self, adc: &AkoDeploymentConfig) -> bool {
        let works_elsewhere =
            |works: &Works| self.is_unrecorded() && works.place().is_some() && !works.fits(adc, self.cluster);
        let is_elsewhere =
            self.find_elsewhere(adc).is_some() || self.works.as_ref().is_some_and(works_elsewhere);
        is_elsewhere && asks_for(self.cluster, adc) && adc.is_ready() && self.namesake().is_none()
    }

    /// Returns whether where AKO works decides what becomes of it: where nothing has recorded that, or another AKODeploymentConfig has.
    pub(crate) fn needs_works(&self) -> bool {
        self.is_unrecorded() || self.adc().is_some_and(|adc| self.find_elsewhere(adc).is_some())
    }

    /// Returns whether the Cluster may have AKO, and is in no record.
    fn is_unrecorded(&self) -> bool {
        is_held(&self.cluster.metadata) && self.recorded().is_none()
    }

    /// Returns why AKO does not leave for the place of an AKODeploymentConfig, and what to do; `None` if it may.
    fn hindrance(&self, adc: &AkoDeploymentConfig) -> Option<String> {
        let name = adc.name_any();
        let asks = self.cluster.annotation(MOVE_ANNOTATION);
        if self.cluster.namespace() == SYSTEM_NAMESPACE {
            let message = "AKO of a management cluster does not move, as the control planes that it serves would have no address";
            return Some(message.to_owned());
        }
        if !asks_for(self.cluster, adc) {
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
        let name = adc.name_any();
        if !adc.is_ready() {
            let why = adc.ready().map(|ready| format!(" ({}: {})", ready.reason, ready.message));
            return Some(format!("{name:?} is Ready{}", why.unwrap_or_default()));
        }
        match &self.can_serve {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(format!("AKO can come from {name:?}: {}", why.message)),
            None => Some("its workload cluster was read".to_owned()),
        }
    }

    /// Returns why an AKODeploymentConfig does not deliver to a Cluster whose AKO another one has recorded for another place.
    pub(crate) fn refuse_elsewhere(&self, adc: &AkoDeploymentConfig) -> Option<Obstacle> {
        let (name, other) = (adc.name_any(), self.find_elsewhere(adc)?.name_any());
        let hindrance = self.hindrance(adc).unwrap_or_default();
        let message = format!(
            "AKO was delivered to the Cluster for the place that the AKODeploymentConfig {other:?} says, and {name:?} says another controller, \
             cloud or tenant: {hindrance}"
        );
        Some(self.obstacle(Problem { reason: self.reason(), message }))
    }

    /// Returns the reason of a Cluster whose AKO works at another place.
    fn reason(&self) -> &'static str {
        match &self.can_serve {
            Some(Err(why)) => why.reason,
            _ => reason::PLACE_CHANGED,
        }
    }

    /// Returns why an AKODeploymentConfig cannot take over an AKO that is in no record; `None` if it can.
    pub(crate) fn refuse(&self, works: &Works, adc: &AkoDeploymentConfig) -> Option<Obstacle> {
        if self.recorded().is_some() || works.fits(adc, self.cluster) {
            return None;
        }
        let name = adc.name_any();
        let marks = cluster_name(self.cluster.namespace(), self.cluster.name());
        let clean = format!("remove what has the marks of ako-{marks} on AVI by hand");
        let come = format!("annotate the Cluster with {MOVE_ANNOTATION}={name}: AKO comes from there");
        let problem = match works {
            Works::At(Place { controller, cloud, tenant, .. }) => Problem {
                reason: self.reason(),
                message: format!(
                    "AKO of the Cluster works at controller {controller:?}, cloud {cloud:?}, tenant {tenant:?}, as its ConfigMap says, \
                     and no AKODeploymentConfig has recorded that; {name:?}, which selects the Cluster, says another place: \
                     create the AKODeploymentConfig again that AKO came from, so that it selects the Cluster; \
                     or: {}",
                    self.hindrance(adc).unwrap_or_default()
                ),
            },
            Works::Nowhere | Works::OfOthers => Problem {
                reason: reason::ADC_MISSING,
                message: format!(
                    "the Cluster has lost its AKO, and no AKODeploymentConfig has recorded where that worked: {clean}, then {come}"
                ),
            },
            Works::Unknown => Problem {
                reason: reason::ADC_MISSING,
                message: format!(
                    "no AKODeploymentConfig has recorded where AKO of the Cluster works, and the ConfigMap {NAMESPACE}/{CONFIG_MAP} of the \
                     workload cluster, which would say it, is gone or lacks that: write its controllerIP, cloudName and tenantName; or {clean}, \
                     then the StatefulSet {NAMESPACE}/{STATEFUL_SET}, and {come}"
                ),
            },
        };
        Some(self.obstacle(problem))
    }

    /// Returns what holds a move back that a person has asked for: where the pass has found why AKO cannot come, no watch says when that ends.
    fn obstacle(&self, problem: Problem) -> Obstacle {
        if matches!(self.can_serve, Some(Err(_))) {
            Obstacle::Unwatched(problem)
        } else {
            Obstacle::Lasting(problem)
        }
    }

    /// Returns another Cluster with AKO whose name on AVI is the same.
    pub(super) fn namesake(&self) -> Option<Key> {
        let taken = crate::api::recorded(&self.adcs.read).chain(&self.unrecorded);
        crate::api::find_namesake(taken, &Key::of(self.cluster))
    }
}

#[cfg(test)]
mod tests;
