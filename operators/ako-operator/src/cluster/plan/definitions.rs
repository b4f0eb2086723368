//! When AKO may start, as it waits for its kinds, and what is said where they are not as they are to be.

use std::time::Duration;

use operator_kit::Turn;

use super::{AGAIN, About, Decision, Plan};
use crate::api::reason;
use crate::cluster::definitions::{Definitions, Missing};
use crate::delivery::{GATEWAY_API_GROUP, MANAGED_BY, MANAGED_BY_LABEL};

/// How often a definition is looked at that was applied. An API server takes a moment, or some seconds where there are several.
const SOON: Duration = Duration::from_secs(1);

/// Decides what has to be done before AKO is delivered; `None`: nothing. An AKO that is there gets its changes whatever it waits for.
pub(super) fn before_ako(definitions: &Definitions, is_there: bool) -> Option<Turn<Plan>> {
    if !definitions.differing.is_empty() {
        return Some(Turn::LookAgain(Plan::Apply(definitions.differing.clone())));
    }
    if is_there { None } else { wait(definitions) }
}

/// Returns what there is to say of the kinds of an AKO that is as it is to be otherwise.
pub(super) fn beside_ako(definitions: &Definitions, turn: Turn<Plan>) -> Turn<Plan> {
    let Turn::Settled = turn else { return turn };
    if let Some(wait) = wait(definitions) {
        return wait;
    }
    if definitions.newer.is_empty() {
        return turn;
    }
    let message = format!(
        "the workload cluster stores objects in versions that the definitions of --ako-crds lack: {}: these definitions stay as they are; give \
         the operator those of a newer AKO, or have the objects stored in another version",
        definitions.newer.join(", ")
    );
    Turn::Blocked { reason: reason::DEFINITIONS_NEWER, message }
}

/// An AKO that waits for its kinds serves nothing, whatever its Pod says.
pub(super) fn with_kinds(definitions: &Definitions, decision: Decision) -> Decision {
    let is_waiting = definitions.is_awaited && decision.about == About::Ako;
    if is_waiting { Decision { about: About::Idle, ..decision } } else { decision }
}

/// Returns which kinds are missing that nothing in the operator's hands defines, and what to do about that.
pub(in crate::cluster) fn find_missing(definitions: &Definitions) -> Option<String> {
    (!definitions.missing.is_empty()).then(|| say_missing(definitions))
}

fn wait(definitions: &Definitions) -> Option<Turn<Plan>> {
    if let Some(message) = find_missing(definitions) {
        return Some(Turn::Wait { reason: reason::DEFINITIONS_MISSING, message, after: Some(AGAIN) });
    }
    if definitions.pending.is_empty() {
        return None;
    }
    let message = format!(
        "the workload cluster does not serve these definitions yet: {}; if that lasts, look at their conditions there",
        definitions.pending.join(", ")
    );
    Some(Turn::Wait { reason: reason::DEFINITIONS_PENDING, message, after: Some(SOON) })
}

/// Names the kinds, and what to do about each.
fn say_missing(definitions: &Definitions) -> String {
    let of_others = |missing: &&Missing| missing.kind.group == GATEWAY_API_GROUP;
    let (gateways, akos): (Vec<&Missing>, Vec<&Missing>) = definitions.missing.iter().partition(of_others);
    let (defined, undefined): (Vec<&Missing>, Vec<&Missing>) =
        akos.into_iter().partition(|missing| missing.is_defined);
    let mut remedies = Vec::new();
    if !undefined.is_empty() {
        remedies.push(if definitions.has_bundle {
            "put their definitions, which are in helm/ako/crds of AKO's repository, into the directory of --ako-crds, or apply them there \
             with kubectl"
                .to_owned()
        } else {
            "start the operator with --ako-crds (AKO_CRDS) and the directory helm/ako/crds of AKO's repository, or apply that there: \
             kubectl apply --server-side -f helm/ako/crds"
                .to_owned()
        });
    }
    if !defined.is_empty() {
        let names: Vec<_> = defined.iter().map(|missing| missing.kind.definition()).collect();
        remedies.push(format!(
            "{} of another program are there and do not serve these versions: replace them, or label them {MANAGED_BY_LABEL}={MANAGED_BY} \
             to have them follow --ako-crds",
            names.join(", ")
        ));
    }
    if !gateways.is_empty() {
        remedies.push("install the Gateway API there".to_owned());
    }
    let kinds: Vec<_> = definitions.missing.iter().map(|missing| missing.kind.to_string()).collect();
    format!(
        "AKO waits for kinds that the workload cluster does not serve, and serves nothing before: {}: {}",
        kinds.join(", "),
        remedies.join("; ")
    )
}
