//! The kinds that AKO waits for.

use super::*;
use crate::api::AkoDeploymentConfigSpec;
use crate::cluster::definitions::{Definitions, Missing};
use crate::delivery::awaited_kinds;

fn spec() -> AkoDeploymentConfigSpec {
    serde_json::from_value(serde_json::json!({
        "controller": "c", "cloudName": "c", "serviceEngineGroup": "g", "dataNetwork": {"name": "n", "cidr": "10.0.0.0/24"},
        "adminCredentialRef": {"name": "a", "namespace": "n"}, "certificateAuthorityRef": {"name": "a", "namespace": "n"},
        "extraConfigs": {"featureGates": {"GatewayAPI": true}},
    }))
    .unwrap()
}

fn due() -> Definitions {
    let write = ObjectWrite {
        target: removal().swap_remove(0),
        patch: kube::api::Patch::Apply(serde_json::Value::Null),
    };
    Definitions { differing: vec![write], is_awaited: true, ..Definitions::default() }
}

fn pending() -> Definitions {
    Definitions { pending: vec!["n".to_owned()], is_awaited: true, ..Definitions::default() }
}

fn missing(is_defined: bool) -> Definitions {
    let missing = Missing { kind: awaited_kinds(&spec())[1], is_defined };
    Definitions { missing: vec![missing], is_awaited: true, ..Definitions::default() }
}

fn newer() -> Definitions {
    Definitions { newer: vec!["n (v1)".to_owned()], ..Definitions::default() }
}

/// A Cluster with these definitions, whose AKO lacks an object or is as it is to be.
fn with(definitions: Definitions, is_there: bool, lacks: bool) -> Seen {
    let target = removal().swap_remove(1);
    let write = ObjectWrite { target, patch: kube::api::Patch::Apply(serde_json::Value::Null) };
    let differing = if lacks { vec![write.clone(), write] } else { Vec::new() };
    let difference = Difference { differing, definitions, ..Difference::default() };
    let set = is_there.then(|| set(Cleanup::Silent));
    Seen { workload: open(Delivery::Of(difference), set, Some(false)), ..settled() }
}

#[test]
fn ako_starts_when_its_kinds_are_served() {
    let new = |definitions| with(definitions, false, true);
    let account = |seen| Seen { account: Account::Do(Step::Ensure), ..seen };
    check(vec![
        ("they are", new(Definitions::default()), "apply 2"),
        ("the user on AVI comes first", account(new(due())), "Ensure"),
        ("some are to be defined", new(due()), "apply 1"),
        ("they are not served yet", new(pending()), "wait AKOCRDsPending"),
        ("nothing defines them", new(missing(false)), "wait AKOCRDsMissing"),
        ("they stay as they are", new(newer()), "apply 2"),
        (
            "no ADC that is ready",
            Seen { offer: Err(passing()), ..new(missing(false)) },
            "wait AKODeploymentConfigNotReady",
        ),
        (
            "files that are wrong",
            Seen { offer: Err(lasting(reason::DEFINITIONS_INVALID)), ..new(missing(false)) },
            "blocked AKOCRDsInvalid",
        ),
    ]);
}

#[test]
fn an_ako_that_runs_goes_on_and_says_what_it_waits_for() {
    let runs = |definitions| with(definitions, true, false);
    let unready = |seen| Seen { offer: Err(passing()), ..seen };
    check(vec![
        ("a new bundle", runs(due()), "apply 1"),
        ("an object, although it waits", with(missing(false), true, true), "apply 2"),
        ("nothing serves them", runs(missing(false)), "wait AKOCRDsMissing"),
        ("the same, while AVI is not ready", unready(runs(missing(false))), "wait AKOCRDsMissing"),
        ("not served yet", runs(pending()), "wait AKOCRDsPending"),
        ("newer ones", runs(newer()), "blocked AKOCRDsNewer"),
        (
            "files that are wrong",
            Seen { offer: Err(lasting(reason::DEFINITIONS_INVALID)), ..runs(Definitions::default()) },
            "blocked AKOCRDsInvalid",
        ),
    ]);
    let about = |seen: Seen| next(&seen, now()).about;
    assert_eq!(about(runs(missing(false))), About::Idle);
    assert_eq!(about(runs(newer())), About::Ako);
    let elsewhere = Seen { offer: Err(lasting(reason::PLACE_CHANGED)), ..runs(missing(false)) };
    assert_eq!(about(elsewhere), About::Ako, "it waits for what its own AKODeploymentConfig says");
    assert_eq!(about(Seen { deletes_config: true, ..runs(missing(false)) }), About::ConfigDeletion);
}

#[test]
fn the_message_says_what_to_do_about_each_kind() {
    let message = |definitions| match next(&with(definitions, false, true), now()).turn {
        Turn::Wait { message, .. } => message,
        turn => panic!("{turn:?}"),
    };
    let gateways = Missing { kind: awaited_kinds(&spec())[6], is_defined: false };
    let all = Definitions { missing: vec![missing(false).missing[0], gateways], ..Definitions::default() };
    let with_bundle = |definitions| Definitions { has_bundle: true, ..definitions };
    for (definitions, wanted) in [
        (
            missing(false),
            ["HostRule (ako.vmware.com/v1beta1)", "start the operator with --ako-crds (AKO_CRDS)"],
        ),
        (with_bundle(missing(false)), ["HostRule", "into the directory of --ako-crds"]),
        (
            with_bundle(missing(true)),
            ["hostrules.ako.vmware.com of another program", "label them app.kubernetes.io/managed-by="],
        ),
        (
            all,
            ["GatewayClass (gateway.networking.k8s.io/v1)", "helm/ako/crds; install the Gateway API there"],
        ),
    ] {
        let message = message(definitions);
        assert!(wanted.iter().all(|part| message.contains(part)), "{message}");
    }
}
