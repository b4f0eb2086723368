//! The status of an AKODeploymentConfig: a pure function of the old one, what was seen and how the pass ended.

use jiff::Timestamp;
use operator_kit::conditions;
use operator_kit::{Notice, Outcome};

use super::lost;
use super::plan::stays;
use super::seen::Seen;
use super::tenants;
use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigStatus, condition, reason};
use crate::error::Error;

/// Computes the status.
#[must_use]
pub fn status(
    old: Option<&AkoDeploymentConfigStatus>,
    adc: &AkoDeploymentConfig,
    seen: Option<&Seen>,
    outcome: &Outcome<Option<Notice>, Error>,
    now: Timestamp,
) -> AkoDeploymentConfigStatus {
    // The record is written by `apply`, before AVI is changed.
    let mut status = old.cloned().unwrap_or_default();
    status.observed_generation = adc.metadata.generation;
    if let Some(seen) = seen {
        status.selected_clusters = Some(i32::try_from(seen.clusters.len()).unwrap_or(i32::MAX));
        let version = seen.answer.as_ref().and_then(|answer| answer.facts.version);
        status.controller_version = version.map(|version| version.to_string()).or(status.controller_version);
    }
    if !tenants::concern(adc) {
        status.conditions.retain(|known| known.type_ != condition::TENANTS_READY);
    } else if let Some(seen) = seen
        && let Some(answer) = seen.answer.as_ref().filter(|answer| answer.basis == seen.basis)
        && let Some((is, why, message)) = tenants::state(adc, &seen.delivered, &answer.facts)
    {
        let generation = adc.metadata.generation;
        conditions::set(&mut status.conditions, condition::TENANTS_READY, is, why, &message, generation, now);
    }
    if let Some(seen) = seen {
        lost::report(adc, seen, &mut status, now);
    }
    let (ready, why, mut message) = outcome.ready(reason::AS_ASKED);
    if let (Outcome::Settled, Some(seen)) = (outcome, seen) {
        message = stays(adc, seen, now).unwrap_or(message);
    }
    let generation = adc.metadata.generation;
    conditions::set(&mut status.conditions, condition::READY, ready, why, &message, generation, now);
    status
}
