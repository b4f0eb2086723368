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
