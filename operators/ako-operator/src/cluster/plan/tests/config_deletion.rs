//! An AKO that a label of its Cluster has remove what it made.

use operator_kit::conditions::Status;

use super::*;
use crate::api::condition::RESOURCES_CLEANED_UP;
use crate::cluster::patience::Patience;
use crate::conditions::Said;

fn labelled(set: Option<Set>, told: Option<bool>) -> Seen {
    Seen { deletes_config: true, purge: Purge::Possible, workload: open(delivered(), set, told), ..settled() }
}

fn asked(answer: Cleanup) -> Seen {
    labelled(Some(set(answer)), Some(true))
}

fn says(status: Status, why: &str, seen: Seen) -> Seen {
    Seen { said: vec![Said::new(RESOURCES_CLEANED_UP, status, why, "m")], ..seen }
}

fn is_clean(seen: Seen) -> Seen {
    says(Status::True, reason::CLEANED_UP, seen)
}

fn overdue(why: &str, seen: Seen) -> Seen {
    let limit = Some(Duration::from_hours(1));
    let patience = Patience { since: Some(Timestamp::UNIX_EPOCH), limit };
    Seen { patience, ..says(Status::False, why, seen) }
}

fn given_up(seen: Seen) -> Seen {
    let mut seen = overdue(reason::CLEANUP_OVERDUE, seen);
    seen.said[0].message = deadline::End::Silent.message().to_owned();
    seen
}

fn unknown(seen: Seen) -> Seen {
    Seen { purge: Purge::Impossible, ..seen }
}

fn write() -> ObjectWrite {
    ObjectWrite {
        target: set(Cleanup::Silent).target,
        patch: kube::api::Patch::Apply(serde_json::Value::Null),
    }
}

/// An AKO that starts again while it removes what it made removes no more, and needs its password until the end.
#[test]
fn an_ako_that_is_to_make_nothing_is_not_changed() {
    let differs = |seen: Seen| {
        let difference = Difference { differing: vec![write()], ..Difference::default() };
        let Workload::Open(state) = &seen.workload else { panic!("it was read") };
        let (set, told) = (state.installed.set.clone(), state.installed.delete_config);
        Seen { workload: open(Delivery::Of(difference), set, told), ..seen }
    };
    let begun = || asked(Cleanup::Started);
    check(vec![
        (
            "another password is due",
            Seen { account: Account::Do(Step::Draw), ..begun() },
            "wait AKOCleaningUp",
        ),
        ("another version", differs(begun()), "wait AKOCleaningUp"),
        ("AVI is not ready", Seen { offer: Err(passing()), ..begun() }, "wait AKOCleaningUp"),
        ("another version, once it has", differs(asked(Cleanup::Done)), "wait AviConfigDeleted"),
        ("the label goes", Seen { deletes_config: false, ..differs(begun()) }, "apply 1"),
        (
            "the label goes: what is said of the cleanup first",
            Seen { deletes_config: false, ..is_clean(differs(begun())) },
            "report",
        ),
        ("its ConfigMap is gone", differs(labelled(Some(set(Cleanup::Silent)), None)), "apply 1"),
    ]);
}

#[test]
fn what_ako_answers_counts() {
    let told = |answer, told| labelled(Some(set(answer)), Some(told));
    check(vec![
        ("it is asked", told(Cleanup::Silent, false), "deleteConfig, stale answer: false"),
        ("it has an earlier answer", told(Cleanup::Done, false), "deleteConfig, stale answer: true"),
        ("so has the condition", is_clean(told(Cleanup::Silent, false)), "report"),
        ("silent", asked(Cleanup::Silent), "wait AKOCleaningUp"),
        ("done", asked(Cleanup::Done), "wait AviConfigDeleted"),
        ("it gave up: the operator removes it", asked(Cleanup::Timeout), "purge, once: false"),
        ("then nothing is left", purged(asked(Cleanup::Timeout)), "wait AviConfigDeleted"),
        ("after a start of the operator", is_clean(asked(Cleanup::Timeout)), "wait AviConfigDeleted"),
        ("nothing says where", unknown(asked(Cleanup::Timeout)), "blocked AKOCleanupTimedOut"),
    ]);
}

/// One that starts with the configuration answers nothing.
#[test]
fn an_ako_that_does_not_answer_is_installed_again() {
    let absent = || labelled(None, Some(true));
    let by_addon = |seen| by_addon(seen, Some(true), Some(set(Cleanup::Silent)));
    let difference = Difference { differing: vec![write()], ..Difference::default() };
    let missing = |seen| Seen { workload: open(Delivery::Of(difference.clone()), None, Some(true)), ..seen };
    check(vec![
        (
            "its time is over: the condition says so first",
            overdue(reason::CLEANING_UP, asked(Cleanup::Silent)),
            "report",
        ),
        ("then its Pods end", given_up(asked(Cleanup::Started)), "remove 1"),
        (
            "nothing says where it made it",
            unknown(overdue(reason::CLEANING_UP, asked(Cleanup::Silent))),
            "wait AKOCleaningUp",
        ),
        ("its Pods are gone", given_up(absent()), "purge, once: false"),
        ("nothing is left", purged(given_up(absent())), "wait AviConfigDeleted"),
        ("the condition says so", is_clean(missing(absent())), "apply 1"),
        ("it is there again", is_clean(asked(Cleanup::Silent)), "wait AviConfigDeleted"),
        ("it is of an add-on manager", by_addon(given_up(asked(Cleanup::Silent))), "purge, once: false"),
        ("a new Cluster: there is nothing", missing(labelled(None, None)), "purge, once: false"),
        ("AKO of others", foreign(labelled(None, None)), "blocked AKOOfOthers"),
    ]);
}

fn foreign(seen: Seen) -> Seen {
    let difference = Difference { foreign: vec![set(Cleanup::Silent).target], ..Difference::default() };
    Seen { workload: open(Delivery::Of(difference), None, None), ..seen }
}
