//! Other AKODeploymentConfigs that do not parse: what others have added is removed by none, and what these have is not known.

use jiff::Timestamp;
use operator_kit::Turn;
use operator_kit::names::first_few;

use super::super::port_groups::plan::remove;
use super::super::record::{Clash, Items};
use super::super::seen::Seen;
use super::{Plan, asked_for, needed};
use crate::api::{AkoDeploymentConfig, reason};

/// Blocks the deletion of one that has added something.
pub(super) fn block_deletion(seen: &Seen) -> Turn<Plan> {
    let message = format!(
        "nothing is removed from AVI and vCenter, as other AKODeploymentConfigs may use it that do not parse: {}; correct them, see their \
         events",
        first_few(&seen.unread)
    );
    Turn::Blocked { reason: reason::ADC_INVALID, message }
}

/// Blocks a change that what it added before is in the way of, as where a pool is enlarged: the ranges stay as they were before.
pub(super) fn block_change(seen: &Seen, clash: &Clash) -> Turn<Plan> {
    let message = format!(
        "{clash} of the network, which the AKODeploymentConfig has added before: that is not removed, as other AKODeploymentConfigs may use it \
         that do not parse: {}; correct them, see their events; or write the ipPools of before, and further ones beside them",
        first_few(&seen.unread)
    );
    Turn::Blocked { reason: reason::ADC_INVALID, message }
}

/// Says what stays of one that is otherwise as its spec asks; `None`: nothing.
pub(in crate::adc) fn stays(adc: &AkoDeploymentConfig, seen: &Seen, now: Timestamp) -> Option<String> {
    let answer = seen.answer.as_ref().filter(|_| !seen.unread.is_empty())?;
    let added = adc.status.as_ref().and_then(|status| status.added.as_ref());
    let added = added.map(Items::from).unwrap_or_default();
    let kept =
        added.without(&asked_for(adc, &answer.facts, &needed(adc, &seen.delivered), seen.basis.is_deleting));
    let has_group = remove(&adc.spec, &seen.groups, now, false).is_some();
    (has_group || !kept.is_empty()).then(|| {
        format!(
            "what it has added to AVI or vCenter and does not ask for any more stays, as other AKODeploymentConfigs may use it that do not \
             parse: {}; correct them, see their events",
            first_few(&seen.unread)
        )
    })
}
