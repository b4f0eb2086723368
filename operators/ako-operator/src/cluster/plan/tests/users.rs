//! The user of a Cluster on AVI.

use super::*;

#[test]
fn a_user_is_made_before_ako_needs_it_and_never_during_a_deletion() {
    let due = |step, seen: Seen| Seen { account: Account::Do(step), ..seen };
    let lacks = |seen| due(Step::Draw, seen);
    let differs = |delivery: Delivery| Seen {
        workload: open(delivery, Some(set(Cleanup::Silent)), Some(false)),
        account: Account::Do(Step::Ensure),
        ..settled()
    };
    let foreign =
        Delivery::Of(Difference { foreign: vec![set(Cleanup::Silent).target], ..Difference::default() });
    let refused = Account::Refused(Problem { reason: reason::USER_SECRET_TAKEN, message: String::new() });
    let namesake = Some(Key::new("b", "c"));
    check(vec![
        ("another password is due", lacks(settled()), "Draw"),
        (
            "no Secret, whatever the condition says, or the workload cluster has",
            due(Step::Begin, settled()),
            "Begin",
        ),
        ("AVI lacks the password", differs(delivered()), "Ensure"),
        ("others make the credentials", Seen { account: Account::Other, ..settled() }, "settled"),
        ("the Secret is of others", Seen { account: refused, ..settled() }, "blocked AviUserSecretTaken"),
        ("an AKO of others", differs(foreign), "blocked AKOOfOthers"),
        ("AVI is not ready", Seen { offer: Err(passing()), ..lacks(settled()) }, "settled"),
        ("a namesake", Seen { namesake, ..lacks(settled()) }, "blocked ClusterNameAmbiguous"),
        ("deleted", lacks(deleted(Cleanup::Silent, Some(true))), "wait AKOCleaningUp"),
        ("deselected", lacks(deselected(Cleanup::Silent)), "wait AKOCleaningUp"),
    ]);
}

#[test]
fn a_user_goes_after_what_ako_made() {
    let has = |user: Left, seen: Seen| Seen { user, ..seen };
    let done = || deleted(Cleanup::Done, Some(true));
    let never = || Seen { workload: Workload::NotInitialized, ..done() };
    check(vec![
        ("AKO cleans up", has(Left::Removable, deleted(Cleanup::Started, Some(true))), "wait AKOCleaningUp"),
        ("it is done", has(Left::Removable, done()), "remove user, once: false"),
        ("the user is gone", has(Left::No, done()), "hook +0 -1"),
        ("AKO was never there", has(Left::Removable, never()), "remove user, once: false"),
        ("the controller is not known", has(Left::Unknown, done()), "blocked AviUserCleanupImpossible"),
        (
            "the same, forced",
            Seen { is_forced: true, ..has(Left::Unknown, never()) },
            "remove user, once: true",
        ),
        ("forced", Seen { is_forced: true, ..has(Left::Removable, never()) }, "remove user, once: true"),
        (
            "not held",
            Seen { hooks: Hooks::default(), ..has(Left::No, Seen { is_held: false, ..never() }) },
            "gone",
        ),
    ]);
}
