//! What the conditions keep: later passes know nothing else of what has happened.

use super::*;

fn leaving_for_another_place(want: Want) -> Seen {
    let leaves = Said::new(AKO_INSTALLED, Status::False, reason::LEAVING, LEAVING);
    Seen { said: vec![leaves, cleaning().said.remove(0)], ..seen(want) }
}

/// Else the move would not go on without the annotation.
#[test]
fn a_move_that_is_halted_has_begun_whatever_else_is_the_matter() {
    let halted = || leaving_for_another_place(Want::Kept(Skip::NotReady));
    let error = Error::Credentials("the Secret is gone".to_owned());
    let of_turn = |turn, about| report(&halted(), &turn, about).unwrap().set;
    let of_failure = |seen: Seen| failed(&seen, &error);
    let uninitialized =
        || Seen { workload: Workload::NotInitialized, ..leaving_for_another_place(Want::Ako) };
    let early = report(&uninitialized(), &waits(reason::CLUSTER_NOT_READY), About::Ako).unwrap().set;
    for (what, set, why) in [
        ("not ready", of_turn(waits(reason::CLUSTER_NOT_READY), About::Ako), "ends: m"),
        ("it cannot be read", of_turn(blocked(reason::ADC_INVALID), About::Ako), "ends: m"),
        ("its status is lost", early, "ends: m"),
        ("its status is lost, and a step has failed", of_failure(uninitialized()), "the Secret is gone"),
        ("paused", of_turn(waits(reason::PAUSED), About::Pause), "ends: m"),
        ("a step has failed", of_failure(halted()), "ends: CredentialsMissing: the Secret is gone"),
    ] {
        let [said] = &set[..] else { panic!("{what}: {set:?}") };
        assert_eq!(
            (said.type_, said.status, &*said.reason),
            (AKO_INSTALLED, Status::False, "AKOLeaving"),
            "{what}"
        );
        assert!(said.message.ends_with(why), "{what}: {}", said.message);
        let again = Seen { said: vec![said.clone(), cleaning().said.remove(0)], ..halted() };
        assert!(
            report(&again, &waits(reason::PAUSED), About::Pause)
                .is_none_or(|report| report.remove.is_empty())
        );
        if what == "a step has failed" {
            assert_eq!(of_failure(again), [], "a second time");
        }
    }
    let goes_on = of_failure(leaving_for_another_place(Want::Nothing));
    assert_eq!(goes_on.iter().map(|said| said.type_).collect::<Vec<_>>(), [RESOURCES_CLEANED_UP]);
    let is_deleted = of_failure(Seen { is_deleting: true, ..halted() });
    assert_eq!(is_deleted.iter().map(|said| said.type_).collect::<Vec<_>>(), [RESOURCES_CLEANED_UP]);
    let wanted_back = of_failure(leaving_for_another_place(Want::Ako));
    assert_eq!(wanted_back[0].reason, reason::CREDENTIALS_MISSING, "it does not leave any more");
}

/// The pass that lets go may be followed by another one before the finalizer goes.
#[test]
fn a_move_has_begun_until_the_finalizer_goes() {
    let moves = |seen: Seen| Seen { is_held: true, moves_to: Some("all".to_owned()), ..seen };
    let last = report(&moves(leaving_for_another_place(Want::Nothing)), &Turn::Gone, About::Ako).unwrap();
    let [left] = &last.set[..] else { panic!("{last:?}") };
    assert_eq!((left.type_, left.status, &*left.reason), (AKO_INSTALLED, Status::False, "AKOLeft"));
    assert!(left.message.contains("\"all\"") && last.remove == [RESOURCES_CLEANED_UP], "{last:?}");
    let knows = |is_held, want| Seen { said: vec![left.clone()], is_held, ..seen(want) };
    assert!(report(&moves(knows(true, Want::Nothing)), &Turn::Gone, About::Ako).is_none(), "it is said");
    assert!(leaving(&knows(true, Want::Nothing)).is_none(), "it has begun");
    // Nothing selects it any more.
    let gone = report(&knows(false, Want::Nothing), &Turn::Gone, About::Ako).unwrap();
    assert_eq!((gone.set.len(), &gone.remove[..]), (0, &[AKO_INSTALLED][..]));
    // It comes from there.
    let comes = report(&knows(false, Want::Ako), &waits(reason::CLUSTER_NOT_READY), About::Ako).unwrap();
    let said = &comes.set[0];
    assert_eq!((said.type_, said.status, &*said.reason), (AKO_INSTALLED, Status::False, "ClusterNotReady"));
}

/// Else a Cluster that has lost its AKO and its record would be taken for one that AKO has never come to.
#[test]
fn a_wait_does_not_take_back_that_ako_may_have_been_there() {
    let knows =
        |status, reason: &str| Seen { said: vec![said(AKO_INSTALLED, status, reason)], ..seen(Want::Ako) };
    let open = |rest| {
        let installed = Installed { rest, ..Installed::default() };
        Workload::Open(Box::new(State { delivery: Delivery::None, installed }))
    };
    let (empty, partly) = (|| open(Vec::new()), || open(removal()));
    let kept = |seen| Seen { want: Want::Kept(Skip::NotReady), ..seen };
    let (unready, early) = (reason::ADC_NOT_READY, reason::CLUSTER_NOT_READY);
    for (what, seen, reason, wanted) in [
        ("new", seen(Want::Ako), unready, "False"),
        ("not recorded yet", Seen { is_held: false, ..seen(Want::Ako) }, early, "False"),
        ("it has waited before", Seen { workload: empty(), ..knows(Status::False, early) }, unready, "False"),
        ("some of it is there", Seen { workload: partly(), ..seen(Want::Ako) }, unready, "Unknown"),
        (
            "it was there",
            Seen { workload: empty(), ..knows(Status::True, reason::INSTALLED) },
            unready,
            "Unknown",
        ),
        ("it was not there in the end", knows(Status::False, reason::AKO_NOT_READY), unready, "Unknown"),
        ("it could not be read", kept(knows(Status::Unknown, "ClusterUnreachable")), early, "Unknown"),
        ("it waits on", kept(knows(Status::Unknown, early)), unready, "Unknown"),
        ("another wait", kept(knows(Status::False, unready)), early, "False"),
        ("it works", kept(knows(Status::True, unready)), early, "True"),
        ("another reason", kept(knows(Status::Unknown, early)), reason::NO_SUCH_ADC, "False"),
    ] {
        let set = report(&seen, &waits(reason), About::Ako).unwrap().set;
        let installed = set.iter().find(|said| said.type_ == AKO_INSTALLED).unwrap();
        assert_eq!((installed.status.as_str(), &*installed.reason), (wanted, reason), "{what}");
    }
}
