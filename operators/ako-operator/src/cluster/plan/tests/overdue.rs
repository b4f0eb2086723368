//! What follows when AKO has had its time, and what a condition says where it cannot be asked any more.

use infra_clients::{Failure as _, capi};
use operator_kit::conditions::Status;

use super::*;
use crate::api::condition::RESOURCES_CLEANED_UP;
use crate::cluster::patience::Patience;
use crate::cluster::plan::deadline::End;
use crate::conditions::Said;

/// AKO has had two hours of one, and the condition of the Cluster has this reason.
fn overdue(why: &str, seen: Seen) -> Seen {
    saying(Said::new(RESOURCES_CLEANED_UP, Status::False, why, "m"), seen)
}

/// AKO has had two hours of one, and this is the condition of the Cluster.
fn saying(said: Said, seen: Seen) -> Seen {
    let said = vec![said];
    let limit = Some(Duration::from_hours(1));
    let patience = Patience { since: Some(Timestamp::UNIX_EPOCH), limit };
    Seen { said, patience, purge: Purge::Possible, ..seen }
}

fn silent(seen: Seen) -> Seen {
    overdue(reason::CLEANING_UP, seen)
}

/// The condition says that the time is over.
fn ended(end: End) -> Said {
    Said::new(RESOURCES_CLEANED_UP, Status::False, reason::CLEANUP_OVERDUE, end.message())
}

/// The same, and that something is in the way of what follows.
fn hindered(end: End) -> Said {
    let message = end.hindered("AviUnreachable: no answer");
    Said::new(RESOURCES_CLEANED_UP, Status::False, reason::CLEANUP_OVERDUE, &message)
}

fn given_up(seen: Seen) -> Seen {
    saying(ended(End::Silent), seen)
}

fn lost(seen: Seen) -> Seen {
    saying(ended(End::Unreachable), seen)
}

fn endless(seen: Seen) -> Seen {
    saying(ended(End::Ending), seen)
}

/// The condition says that nothing is left, which is as new as that.
fn clean(seen: Seen) -> Seen {
    let said = vec![Said::new(RESOURCES_CLEANED_UP, Status::True, reason::CLEANED_UP, "m")];
    Seen { said, purge: if seen.purge == Purge::Done { Purge::Done } else { Purge::Possible }, ..seen }
}

fn closed() -> Seen {
    Seen { workload: unreachable(), user: Left::Removable, ..deleted(Cleanup::Silent, None) }
}

fn without_user(seen: Seen) -> Seen {
    Seen { user: Left::No, ..seen }
}

fn ending(since: i64) -> Seen {
    let since = Some(Timestamp::from_second(since).unwrap());
    let set = Set { ending_since: since, ..set(Cleanup::Started) };
    Seen { user: Left::Removable, workload: open(Delivery::None, Some(set), Some(true)), ..closed() }
}

/// Whether the operator can remove anything itself.
fn unknown(seen: Seen) -> Seen {
    Seen { purge: Purge::Impossible, ..seen }
}

#[test]
fn an_ako_that_does_not_answer_in_time_has_given_up() {
    let going = |answer| deleted(answer, Some(true));
    let without_limit = |seen: Seen| Seen { patience: Patience { limit: None, ..seen.patience }, ..seen };
    let early = |seen: Seen| Seen {
        patience: Patience { limit: Some(Duration::from_hours(3)), ..seen.patience },
        ..seen
    };
    let lives = || deselected(Cleanup::Started);
    check(vec![
        ("it has time left", early(silent(going(Cleanup::Silent))), "wait AKOCleaningUp"),
        ("no deadline", without_limit(silent(going(Cleanup::Silent))), "wait AKOCleaningUp"),
        (
            "it was not asked yet",
            silent(deleted(Cleanup::Silent, Some(false))),
            "deleteConfig, stale answer: false",
        ),
        ("silent: the condition says so first", silent(going(Cleanup::Silent)), "report"),
        ("then its Pods end", given_up(going(Cleanup::Silent)), "remove 1"),
        ("begun", given_up(going(Cleanup::Started)), "remove 1"),
        ("its Pods are gone", given_up(no_set(rest())), "purge, once: false"),
        ("AVI is down meanwhile", overdue("AviUnreachable", no_set(rest())), "purge, once: false"),
        ("nothing is left", purged(given_up(no_set(rest()))), "hook +0 -1"),
        ("it answers late", purged(given_up(going(Cleanup::Done))), "hook +0 -1"),
        // It could not be asked until now.
        (
            "after an outage it gets a look",
            overdue("ClusterUnreachable", going(Cleanup::Silent)),
            "wait AKOCleaningUp",
        ),
        ("nothing says where it made it", unknown(silent(going(Cleanup::Silent))), "wait AKOCleaningUp"),
        ("the Cluster lives on: the condition first", silent(lives()), "report"),
        ("then its Pods end", given_up(lives()), "remove 1"),
    ]);
}

/// An AKO that may still run makes nothing more without its user.
#[test]
fn a_workload_cluster_that_is_lost_ends_its_wait_without_its_user() {
    let reason = "ClusterUnreachable";
    let lives = Seen { is_deleting: false, want: Want::Nothing, ..closed() };
    check(vec![
        ("the first request that fails", silent(closed()), "wait ClusterUnreachable"),
        ("not for the first time: the condition first", overdue(reason, closed()), "report"),
        ("the user goes", lost(closed()), "remove user, once: false"),
        ("then what AKO made", without_user(lost(closed())), "purge, once: false"),
        (
            "AVI is down meanwhile",
            without_user(saying(hindered(End::Unreachable), closed())),
            "purge, once: false",
        ),
        ("then the hooks", without_user(purged(lost(closed()))), "hook +0 -1"),
        ("the condition says that nothing is left", clean(without_user(purged(closed()))), "hook +0 -1"),
        ("the same, after a start", clean(without_user(closed())), "purge, once: false"),
        ("nothing says where AKO made it", unknown(overdue(reason, closed())), "wait ClusterUnreachable"),
        ("the Cluster lives on", overdue(reason, lives), "wait ClusterUnreachable"),
        ("forced", forced(overdue(reason, closed())), "purge, once: true"),
    ]);
}

/// As on a node that is gone.
#[test]
fn pods_that_do_not_end_keep_only_a_cluster_that_lives_on() {
    let lives = |seen| Seen { is_deleting: false, want: Want::Nothing, ..seen };
    let just = 2 * 3600 - 60;
    check(vec![
        ("they have just begun", overdue(reason::AKO_ENDING, ending(just)), "wait AKOEnding"),
        ("the same, after a start", endless(ending(just)), "wait AKOEnding"),
        ("they had ten minutes: the condition first", overdue(reason::AKO_ENDING, ending(3600)), "report"),
        ("the user goes", endless(ending(3600)), "remove user, once: false"),
        ("then what AKO made", without_user(endless(ending(3600))), "purge, once: false"),
        ("then the hooks", without_user(purged(endless(ending(3600)))), "hook +0 -1"),
        ("the Cluster lives on", lives(overdue(reason::AKO_ENDING, ending(3600))), "wait AKOEnding"),
    ]);
}

/// The condition says that a change failed.
fn refusing(seen: Seen) -> Seen {
    let error = crate::error::Error::from(capi::Error::new(capi::Kind::Forbidden, "no"));
    let message = deadline::not_taken(&error);
    saying(Said::new(RESOURCES_CLEANED_UP, Status::False, "ClusterPermissionDenied", &message), seen)
}

/// A server may answer each read, and refuse what the cleanup changes, without end: its AKO runs on, and makes nothing more without its user.
#[test]
fn a_workload_cluster_that_takes_no_change_ends_its_wait_without_its_user() {
    let with_user = |seen| Seen { user: Left::Removable, ..seen };
    let untold = || with_user(deleted(Cleanup::Silent, Some(false)));
    let timed_out = || with_user(deleted(Cleanup::Timeout, Some(true)));
    let refused = |seen| saying(ended(End::Refused), seen);
    let early = |seen: Seen| Seen {
        patience: Patience { limit: Some(Duration::from_hours(3)), ..seen.patience },
        ..seen
    };
    let lives = || Seen { is_deleting: false, want: Want::Nothing, ..untold() };
    let left =
        |seen| saying(Said::new(RESOURCES_CLEANED_UP, Status::Unknown, reason::LEFT_ON_AVI, "m"), seen);
    let message = |by: &str| Said::new(RESOURCES_CLEANED_UP, Status::False, reason::CLEANUP_OVERDUE, by);
    let hindered = |seen| saying(message(&End::Silent.hindered(deadline::NOT_TAKEN)), seen);
    check(vec![
        ("it is asked first", overdue("ClusterUnreachable", untold()), "deleteConfig, stale answer: false"),
        ("there is time left", early(refusing(untold())), "deleteConfig, stale answer: false"),
        ("the condition says so first", refusing(untold()), "report"),
        ("the StatefulSet stays", refusing(timed_out()), "report"),
        ("the same, of an AKO that did not answer", hindered(deleted(Cleanup::Silent, Some(true))), "report"),
        ("the user goes", refused(untold()), "remove user, once: false"),
        ("the same with a StatefulSet that stays", refused(timed_out()), "remove user, once: false"),
        (
            "the same, of an AKO that did not answer",
            refused(with_user(deleted(Cleanup::Silent, Some(true)))),
            "remove user, once: false",
        ),
        ("then what AKO made", without_user(refused(untold())), "purge, once: false"),
        ("then the hooks", without_user(purged(refused(untold()))), "hook +0 -1"),
        ("the condition says that nothing is left", clean(without_user(purged(untold()))), "hook +0 -1"),
        ("clean as its label had asked", clean(untold()), "deleteConfig, stale answer: false"),
        ("the Cluster lives on", refusing(lives()), "deleteConfig, stale answer: false"),
        ("nothing says where AKO made it", unknown(refusing(untold())), "deleteConfig, stale answer: false"),
        ("a person asks for it first", forced(early(saying(message("m"), untold()))), "remove 1"),
        ("forced: the user", forced(early(refusing(untold()))), "remove user, once: true"),
        ("then what AKO made", forced(without_user(early(refusing(untold())))), "purge, once: true"),
        ("then the hooks", forced(without_user(purged(early(refusing(untold()))))), "hook +0 -1"),
        ("and the last look", forced(without_user(purged(left(untold())))), "hook +0 -1"),
        ("forced, and it lives on", forced(early(refusing(lives()))), "remove user, once: true"),
    ]);
}

#[test]
fn an_add_on_manager_takes_the_secret_of_a_silent_ako_away() {
    let of = |seen| by_addon(seen, Some(true), Some(set(Cleanup::Silent)));
    let gone = || of(given_up(deleted(Cleanup::Silent, None)));
    check(vec![
        ("the condition first", of(silent(deleted(Cleanup::Silent, None))), "report"),
        ("the Secret", gone(), "withdraw"),
        ("then the operator removes it", withdrawn(gone()), "purge, once: false"),
        (
            "the Cluster lives on",
            withdrawn(of(given_up(deselected(Cleanup::Silent)))),
            "wait AKOCleanupOverdue",
        ),
    ]);
}

/// What the condition says is a failure, or another wait, is no word that this wait is over: it is named first, then its end.
#[test]
fn no_wait_ends_before_the_condition_has_said_so() {
    let of = |status, why: &str| Said::new(RESOURCES_CLEANED_UP, status, why, "m");
    let is = |why| Some(of(Status::False, why));
    let rows = [
        // What the condition says; AKO is silent; the workload cluster cannot be reached; the Pods of AKO do not end.
        (Some(ended(End::Refused)), ["end", "wait", "wait"]),
        (None, ["wait", "wait", "wait"]),
        (is(reason::CLEANING_UP), ["say", "wait", "wait"]),
        (is("ClusterUnreachable"), ["wait", "say", "wait"]),
        (is("ClusterKubeconfigMissing"), ["wait", "say", "wait"]),
        (is(reason::AKO_ENDING), ["wait", "wait", "say"]),
        (is(reason::CLEANUP_TIMED_OUT), ["wait", "wait", "wait"]),
        (is(reason::CLEANUP_IMPOSSIBLE), ["wait", "wait", "wait"]),
        (is("AviUnreachable"), ["wait", "wait", "wait"]),
        (is(reason::CLEANUP_OVERDUE), ["wait", "wait", "wait"]),
        (Some(ended(End::Silent)), ["end", "wait", "wait"]),
        (Some(hindered(End::Silent)), ["end", "wait", "wait"]),
        (Some(ended(End::Unreachable)), ["wait", "end", "wait"]),
        (Some(hindered(End::Unreachable)), ["wait", "end", "wait"]),
        (Some(ended(End::Ending)), ["wait", "wait", "end"]),
        (Some(hindered(End::Ending)), ["wait", "wait", "end"]),
        (Some(of(Status::True, reason::CLEANED_UP)), ["end", "end", "end"]),
    ];
    for (said, wanted) in rows {
        let now_is = [silent(deleted(Cleanup::Silent, Some(true))), silent(closed()), silent(ending(3600))];
        for (seen, wanted) in now_is.into_iter().zip(wanted) {
            let seen = Seen { said: said.iter().cloned().collect(), ..seen };
            let what = format!("{said:?}: {:?}", seen.workload);
            let turn = next(&seen, now()).turn;
            let does = match &turn {
                Turn::Wait { .. } => "wait",
                Turn::LookAgain(Plan::Report(report)) => {
                    assert!(report.notice.is_some(), "{what}: no event");
                    "say"
                }
                _ => "end",
            };
            assert_eq!(does, wanted, "{what}: {}", shown(&turn));
        }
    }
}

/// Whatever the condition says at first, passes that follow each other name the wait, say its end, then do what follows.
#[test]
fn a_wait_that_is_over_ends_whatever_was_said() {
    let said = ["AKOCleaningUp", "AKOEnding", "ClusterUnreachable", "AviUnreachable", "AKOCleanupTimedOut"];
    for why in said {
        for (end, seen) in [
            (End::Silent, deleted(Cleanup::Silent, Some(true))),
            (End::Unreachable, closed()),
            (End::Ending, ending(3600)),
        ] {
            let mut seen = overdue(why, seen);
            let mut reports = Vec::new();
            while let Turn::LookAgain(Plan::Report(report)) = decide(&seen, now()) {
                reports.push(report.set[0].reason.clone());
                seen.said = report.set;
            }
            assert_eq!(reports.last().map(String::as_str), Some(reason::CLEANUP_OVERDUE), "{why}: {end:?}");
            assert!(reports.len() <= 2, "{why}: {end:?}: {reports:?}");
            assert_eq!(End::said(&seen.said), Some(end), "{why}");
        }
    }
}

/// The add-on manager has to do something then: the same pass does not say it again and again.
#[test]
fn an_end_that_others_have_to_carry_out_is_said_once() {
    let seen =
        withdrawn(by_addon(given_up(deselected(Cleanup::Silent)), Some(true), Some(set(Cleanup::Silent))));
    let Turn::LookAgain(Plan::Report(report)) = decide(&seen, now()) else {
        panic!("the message is another one")
    };
    assert!(report.notice.is_none());
    let seen = Seen { said: report.set, ..seen };
    assert_eq!(End::said(&seen.said), Some(End::Silent));
    assert_eq!(shown(&decide(&seen, now())), "wait AKOCleanupOverdue");
}

/// It wakes when the time is over, and says it with an event.
#[test]
fn the_end_of_the_wait_is_announced() {
    let soon = silent(deleted(Cleanup::Silent, Some(true)));
    let limit = Some(Duration::from_secs(2 * 3600 + 30));
    let soon = Seen { patience: Patience { limit, ..soon.patience }, ..soon };
    let Turn::Wait { after, .. } = next(&soon, now()).turn else { panic!("it has time left") };
    assert_eq!(after, Some(Duration::from_secs(30)));
    let Turn::LookAgain(Plan::Report(report)) = decide(&silent(deleted(Cleanup::Silent, Some(true))), now())
    else {
        panic!("its time is over")
    };
    assert_eq!(report.notice.map(|notice| notice.reason()), Some(reason::CLEANUP_OVERDUE));
    assert_eq!(report.set[0].reason, reason::CLEANUP_OVERDUE);
}

/// A namespace that is deleted takes the Secret away: a person can copy the command from the condition.
#[test]
fn a_kubeconfig_that_is_gone_is_said_in_plain_words() {
    let error = capi::Error::new(capi::Kind::NoKubeconfig, "m");
    let workload = Workload::Closed { reason: error.reason(), message: error.to_string() };
    let gone = Seen { workload, ..deleted(Cleanup::Silent, None) };
    let said = |seen: &Seen| match next(seen, now()).turn {
        Turn::Wait { reason, message, .. } => format!("{reason}: {message}"),
        turn => shown(&turn),
    };
    let wanted = [
        "ClusterKubeconfigMissing: the Secret default/w1-kubeconfig is gone, as where the namespace of the Cluster is being deleted",
        "run: kubectl annotate cluster w1 --namespace default ako-operator.network.tkg.tanzu.vmware.com/force-cleanup=true",
    ];
    for wanted in wanted {
        assert!(said(&gone).contains(wanted), "{}", said(&gone));
    }
    // Cluster API writes it again.
    let lives = Seen { is_deleting: false, want: Want::Nothing, ..gone };
    assert!(said(&lives).starts_with("ClusterKubeconfigMissing: m; if it is never"), "{}", said(&lives));
}
