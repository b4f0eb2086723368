//! Clusters that stay as they are, and what holds a delivery or a deletion back.

use super::*;
use crate::api::FORCE_ANNOTATION;

fn write() -> ObjectWrite {
    ObjectWrite {
        target: set(Cleanup::Silent).target,
        patch: kube::api::Patch::Apply(serde_json::Value::Null),
    }
}

fn behind() -> Delivery {
    Delivery::Of(Difference { differing: vec![write()], ..Difference::default() })
}

#[test]
fn a_cluster_stays_as_it_is_until_its_adc_is_known() {
    let kept = |skip, workload| Seen { want: Want::Kept(skip), is_recorded: false, workload, ..settled() };
    let unclear = || Skip::Unclear(vec!["a".to_owned()]);
    let here = || open(Delivery::None, Some(set(Cleanup::Silent)), Some(false));
    let empty = || {
        let state = State { delivery: Delivery::None, installed: Installed::default() };
        Workload::Open(Box::new(state))
    };
    let unhooked = |seen| Seen { hooks: Hooks::default(), ..seen };
    check(vec![
        ("it cannot be read", kept(unclear(), here()), "blocked AKODeploymentConfigInvalid"),
        ("it is gone", kept(Skip::Unrecorded, here()), "blocked AKODeploymentConfigMissing"),
        (
            "it is gone, no answer",
            kept(Skip::Unrecorded, unreachable()),
            "blocked AKODeploymentConfigMissing",
        ),
        (
            "it is gone, and objects are left",
            kept(Skip::Unrecorded, open(Delivery::None, None, None)),
            "blocked AKODeploymentConfigMissing",
        ),
        (
            "it has a new Machine",
            Seen {
                hooks: Hooks { missing: vec!["n".to_owned()], ..Hooks::default() },
                ..kept(unclear(), here())
            },
            "hook +1 -0",
        ),
        ("AKO was never there", kept(Skip::Unrecorded, empty()), "hook +0 -1"),
        ("its hooks are off", unhooked(kept(Skip::Unrecorded, empty())), "gone"),
        (
            "its record and its status are lost",
            kept(Skip::Unrecorded, Workload::NotInitialized),
            "blocked AKODeploymentConfigMissing",
        ),
        (
            "a new cluster, and one cannot be read",
            kept(unclear(), Workload::NotInitialized),
            "blocked AKODeploymentConfigInvalid",
        ),
    ]);
}

#[test]
fn a_deleted_cluster_waits_until_it_is_known_what_was_delivered() {
    let of = |seen| Seen { is_recorded: false, unread: vec!["a".to_owned()], ..seen };
    let (cleaned, asked) = (deleted(Cleanup::Done, Some(true)), deleted(Cleanup::Silent, Some(true)));
    check(vec![
        ("AKO is asked first", of(asked), "wait AKOCleaningUp"),
        ("then it waits", of(cleaned.clone()), "blocked AKODeploymentConfigInvalid"),
        (
            "its user is not known",
            of(Seen { user: Left::Unknown, ..cleaned.clone() }),
            "blocked AKODeploymentConfigInvalid",
        ),
        ("AKO is gone", of(no_set(rest())), "blocked AKODeploymentConfigInvalid"),
        ("a person ends the wait", forced(of(no_set(rest()))), "hook +0 -1"),
        ("nothing was there yet", of(Seen { workload: Workload::NotInitialized, ..cleaned }), "hook +0 -1"),
    ]);
    let message = match next(&of(no_set(rest())), now()).turn {
        Turn::Blocked { message, .. } => message,
        turn => shown(&turn),
    };
    assert!(message.contains("worked: a; correct them") && message.contains(FORCE_ANNOTATION), "{message}");
}

/// Nothing is made of it, nor of its Machines.
#[test]
fn a_cluster_waits_to_be_recorded_without_the_finalizer() {
    let new = |offer| Seen {
        is_held: false,
        is_recorded: false,
        is_awaited: false,
        hooks: Hooks { missing: vec!["m".to_owned()], ..Hooks::default() },
        workload: Workload::Unread,
        offer: Err(offer),
        ..settled()
    };
    let early = |seen| Seen { workload: Workload::NotInitialized, ..seen };
    let twin = |seen| Seen { namesake: Some(Key::new("a", "b")), ..seen };
    check(vec![
        ("it is about to be", new(passing()), "wait AKODeploymentConfigNotReady"),
        ("its control plane does not run yet", early(new(passing())), "wait ClusterNotReady"),
        ("it has a namesake", twin(new(passing())), "blocked ClusterNameAmbiguous"),
        ("the same, early", twin(early(new(passing()))), "blocked ClusterNameAmbiguous"),
        ("another has", new(lasting(reason::PLACE_CHANGED)), "blocked PlaceChanged"),
    ]);
}

/// A process that starts in the middle knows by it that AKO leaves.
#[test]
fn that_ako_leaves_is_said_before_anything_is_changed() {
    let moves = |seen| Seen { moves_to: Some("all".to_owned()), want: Want::Nothing, ..seen };
    let said = |seen: Seen| {
        let said = crate::cluster::report::leaving(&seen).unwrap().set;
        Seen { said, ..seen }
    };
    let asked = || {
        moves(Seen { workload: open(Delivery::None, Some(set(Cleanup::Silent)), Some(false)), ..settled() })
    };
    let unknown = || moves(Seen { user: Left::Unknown, workload: Workload::Unread, ..settled() });
    let gone = Seen { hooks: Hooks::default(), workload: Workload::Unread, ..settled() };
    check(vec![
        ("AKO is asked next", asked(), "report"),
        ("it is said", said(asked()), "deleteConfig, stale answer: false"),
        (
            "the user is next",
            moves(Seen { user: Left::Removable, workload: Workload::Unread, ..settled() }),
            "report",
        ),
        ("a person is", unknown(), "blocked AviUserCleanupImpossible"),
        ("nothing is", moves(gone), "gone"),
    ]);
    let deselected = Seen { moves_to: None, ..asked() };
    assert_eq!(shown(&next(&deselected, now()).turn), "report", "as where it only lost its label");
}

/// Else an AKO that runs would count as that of an AKODeploymentConfig that has never been Ready.
#[test]
fn that_the_place_has_changed_is_said_of_an_ako_that_runs_whatever_else_is_missing() {
    let refused = |obstacle| Seen {
        workload: open(Delivery::Refused(obstacle), Some(set(Cleanup::Silent)), Some(false)),
        offer: Err(lasting(reason::PLACE_CHANGED)),
        ..settled()
    };
    check(vec![
        ("it is not Ready yet", refused(passing()), "blocked PlaceChanged"),
        ("its settings are wrong", refused(lasting(reason::INVALID_SPEC)), "blocked PlaceChanged"),
    ]);
}

/// Of two reasons, the condition has the one that has to end first.
#[test]
fn a_namesake_is_named_where_the_place_has_changed() {
    let refused = Delivery::Refused(lasting(reason::PLACE_CHANGED));
    let seen = Seen {
        is_recorded: false,
        workload: open(refused, Some(set(Cleanup::Silent)), Some(false)),
        ..settled()
    };
    check(vec![
        ("alone", seen.clone(), "blocked PlaceChanged"),
        (
            "with a namesake",
            Seen { namesake: Some(Key::new("a", "b")), ..seen },
            "blocked ClusterNameAmbiguous",
        ),
    ]);
}

/// What runs is not as it is to be, and its condition does not say that it is.
#[test]
fn a_change_that_is_held_back_shows() {
    let brief = || Obstacle::Brief(Problem { reason: reason::ADC_NOT_READY, message: String::new() });
    let with = |delivery, offer| Seen {
        workload: open(delivery, Some(set(Cleanup::Silent)), Some(false)),
        offer: Err(offer),
        ..settled()
    };
    check(vec![
        ("nothing is to be changed", with(delivered(), passing()), "settled"),
        ("something is", with(behind(), passing()), "wait AKODeploymentConfigNotReady"),
        ("AVI is being asked", with(behind(), brief()), "settled"),
        (
            "AVI is being asked, and there is no AKO",
            Seen { workload: open(behind(), None, None), offer: Err(brief()), ..settled() },
            "wait AKODeploymentConfigNotReady",
        ),
    ]);
}

/// It serves nothing until its ConfigMap says otherwise, whatever its Pod says.
#[test]
fn an_ako_that_is_still_to_make_nothing_is_not_said_to_work() {
    let told = |delivery, offer: Option<Obstacle>| Seen {
        workload: open(delivery, Some(set(Cleanup::Done)), Some(true)),
        offer: offer.map_or(Ok(()), Err),
        ..settled()
    };
    let refused = || Delivery::Refused(lasting(reason::INVALID_SPEC));
    for (what, seen, wanted, is_idle) in [
        (
            "an obstacle that passes",
            told(behind(), Some(passing())),
            "wait AKODeploymentConfigNotReady",
            true,
        ),
        (
            "one that lasts",
            told(behind(), Some(lasting(reason::PLACE_CHANGED))),
            "blocked PlaceChanged",
            true,
        ),
        ("a wrong spec", told(refused(), None), "blocked InvalidSpec", true),
        ("none", told(behind(), None), "apply 1", false),
    ] {
        let decision = next(&seen, now());
        assert_eq!(shown(&decision.turn), wanted, "{what}");
        assert_eq!(decision.about == About::Idle, is_idle, "{what}");
    }
}
