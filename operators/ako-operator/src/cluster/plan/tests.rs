//! Every row of the decision. That plans come to rest whatever happens is the model's part.

mod config_deletion;
mod definitions;
mod kept;
mod overdue;
mod users;

use operator_kit::Key;

use super::*;
use crate::api::reason;
use crate::cluster::seen::{Cleanup, Hooks, Installed, Left, Purge};
use crate::delivery::{Side, removal};

fn set(answer: Cleanup) -> Set {
    Set { is_ours: true, target: removal().swap_remove(0), answer, ending_since: None, is_ready: true }
}

fn passing() -> Obstacle {
    Obstacle::Passing(Problem { reason: reason::ADC_NOT_READY, message: String::new() })
}

fn lasting(reason: &'static str) -> Obstacle {
    Obstacle::Lasting(Problem { reason, message: String::new() })
}

fn rest() -> Vec<Target> {
    removal().split_off(1)
}

fn delivered() -> Delivery {
    Delivery::Of(Difference::default())
}

fn open(delivery: Delivery, set: Option<Set>, delete_config: Option<bool>) -> Workload {
    Workload::Open(Box::new(State {
        delivery,
        installed: Installed { set, delete_config, rest: rest(), ..Installed::default() },
    }))
}

fn unreachable() -> Workload {
    Workload::Closed { reason: "ClusterUnreachable", message: "no answer".to_owned() }
}

/// A selected Cluster that is as it should be.
fn settled() -> Seen {
    Seen {
        hooks: Hooks { present: vec!["m".to_owned()], ..Hooks::default() },
        workload: open(delivered(), Some(set(Cleanup::Silent)), Some(false)),
        ip_family: Some(Ok(())),
        ..Seen::held(Want::Ako)
    }
}

/// A Cluster that is being deleted, where AKO has answered.
fn deleted(answer: Cleanup, delete_config: Option<bool>) -> Seen {
    let workload = open(Delivery::None, Some(set(answer)), delete_config);
    Seen { is_deleting: true, workload, ..settled() }
}

/// A Cluster that lost its label, where AKO has answered.
fn deselected(answer: Cleanup) -> Seen {
    Seen { is_deleting: false, want: Want::Nothing, ..deleted(answer, Some(true)) }
}

/// Says a turn in a word or two.
fn shown(turn: &Turn<Plan>) -> String {
    match turn {
        Turn::LookAgain(plan) | Turn::Act(plan) => match plan {
            Plan::Watch => "watch".to_owned(),
            Plan::Hook { add, remove } => format!("hook +{} -{}", add.len(), remove.len()),
            Plan::Apply(objects) => format!("apply {}", objects.len()),
            Plan::DeleteConfig { stale, .. } => format!("deleteConfig, stale answer: {}", stale.is_some()),
            Plan::Remove(targets) if targets.iter().all(|target| target.side == Side::Management) => {
                "withdraw".to_owned()
            }
            Plan::Remove(targets) => format!("remove {}", targets.len()),
            Plan::Report(_) => "report".to_owned(),
            Plan::Account(step) => format!("{step:?}"),
            Plan::RemoveUser { once } => format!("remove user, once: {once}"),
            Plan::Purge { once } => format!("purge, once: {once}"),
        },
        Turn::Wait { reason, .. } => format!("wait {reason}"),
        Turn::Blocked { reason, .. } => format!("blocked {reason}"),
        Turn::Settled => "settled".to_owned(),
        Turn::Gone => "gone".to_owned(),
    }
}

/// Returns a time two hours after the beginning.
fn now() -> Timestamp {
    Timestamp::from_second(2 * 3600).unwrap()
}

/// The conditions of a Cluster that only lost its label say already that AKO leaves.
fn check(rows: Vec<(&str, Seen, &str)>) {
    for (what, mut seen, wanted) in rows {
        if seen.want == Want::Nothing && seen.moves_to.is_none() {
            seen.said.extend(leaving(&seen).into_iter().flat_map(|said| said.set));
        }
        assert_eq!(shown(&next(&seen, now()).turn), wanted, "{what}");
    }
}

#[test]
fn a_management_cluster_gets_ako_after_the_service_of_its_control_plane() {
    let early = |seen| Seen { is_service_missing: true, ..seen };
    let new = Seen { workload: open(delivered(), None, None), ..settled() };
    check(vec![
        ("without AKO", early(new), "wait ControlPlaneServiceMissing"),
        ("where AKO runs", early(settled()), "settled"),
    ]);
}

#[test]
fn a_cluster_waits_for_what_its_delivery_needs() {
    let new = || Seen { workload: open(delivered(), None, None), ..settled() };
    let unrecorded = |seen| Seen { offer: Err(passing()), ..seen };
    let without_group = |seen| Seen { offer: Err(lasting(reason::SE_GROUP_NOT_FOUND)), ..seen };
    let twin = |seen| Seen { namesake: Some(Key::new("a", "b")), ..seen };
    check(vec![
        ("an ADC that has not recorded the Cluster", unrecorded(new()), "wait AKODeploymentConfigNotReady"),
        ("the same, where AKO runs", unrecorded(settled()), "settled"),
        ("a tenant without the group", without_group(new()), "blocked AviServiceEngineGroupNotFound"),
        ("the same, where AKO runs", without_group(settled()), "blocked AviServiceEngineGroupNotFound"),
        ("another Cluster of the same name on AVI", twin(new()), "blocked ClusterNameAmbiguous"),
        ("the same, where AKO runs", twin(settled()), "blocked ClusterNameAmbiguous"),
    ]);
}

/// As after a restore: AKO was delivered, so that something of it may be on AVI.
#[test]
fn a_cluster_whose_status_was_lost_is_cleaned_up_by_marks() {
    let lost = |is_recorded, purge| Seen {
        is_deleting: true,
        is_recorded,
        purge,
        workload: Workload::NotInitialized,
        ..settled()
    };
    check(vec![
        ("recorded", lost(true, Purge::Possible), "purge, once: false"),
        ("recorded, and nothing is left", lost(true, Purge::Done), "hook +0 -1"),
        ("forced", Seen { is_forced: true, ..lost(true, Purge::Possible) }, "purge, once: true"),
        ("never recorded", lost(false, Purge::Impossible), "hook +0 -1"),
    ]);
}

#[test]
fn an_ako_without_a_ready_pod_is_awaited() {
    let unready = Set { is_ready: false, ..set(Cleanup::Silent) };
    let unready = || Seen { workload: open(delivered(), Some(unready.clone()), Some(false)), ..settled() };
    check(vec![
        ("as it is to be", unready(), "wait AKONotReady"),
        ("while AVI is not ready", Seen { offer: Err(passing()), ..unready() }, "wait AKONotReady"),
    ]);
}

#[test]
fn a_paused_cluster_is_left_alone() {
    check(vec![
        ("paused", Seen { is_paused: true, ..settled() }, "wait ClusterPaused"),
        (
            "paused and of no concern",
            Seen {
                is_paused: true,
                is_held: false,
                want: Want::Nothing,
                hooks: Hooks::default(),
                ..settled()
            },
            "gone",
        ),
    ]);
}

#[test]
fn a_selected_cluster_gets_ako() {
    let with = |delivery| Seen { workload: open(delivery, None, None), ..settled() };
    let hooks = |missing: &[&str], unneeded: &[&str]| {
        let names = |of: &[&str]| of.iter().map(|&name| name.to_owned()).collect();
        Hooks { present: Vec::new(), missing: names(missing), unneeded: names(unneeded) }
    };
    let target = || removal().swap_remove(0);
    let of = |obsolete, foreign| Delivery::Of(Difference { obsolete, foreign, ..Difference::default() });
    let refused = Delivery::Refused(lasting(reason::INVALID_SPEC));
    let unknown = Delivery::Refused(passing());
    let wrong_label = Want::Kept(Skip::NoSuchConfig("n".to_owned()));
    let ending = Set { ending_since: Some(Timestamp::UNIX_EPOCH), ..set(Cleanup::Done) };
    check(vec![
        ("at rest", settled(), "settled"),
        ("a new Machine", Seen { hooks: hooks(&["a"], &[]), ..settled() }, "hook +1 -0"),
        ("a Machine goes alone", Seen { hooks: hooks(&[], &["a"]), ..settled() }, "hook +0 -1"),
        ("a new cluster", Seen { workload: Workload::NotInitialized, ..settled() }, "wait ClusterNotReady"),
        ("no answer", Seen { workload: unreachable(), ..settled() }, "wait ClusterUnreachable"),
        ("not watched", Seen { needs_watch: true, ..settled() }, "watch"),
        ("no ADC that is ready", with(unknown), "wait AKODeploymentConfigNotReady"),
        ("a wrong spec", with(refused), "blocked InvalidSpec"),
        ("an AKO of others", with(of(vec![target()], vec![target()])), "blocked AKOOfOthers"),
        ("an earlier delivery", with(of(vec![target()], Vec::new())), "remove 1"),
        (
            "labelled again while AKO ends",
            Seen { workload: open(delivered(), Some(ending), None), ..settled() },
            "wait AKOEnding",
        ),
        ("not ready", unready_cluster(Hooks::default()), "wait ClusterNotReady"),
        ("not ready, with a new Machine", unready_cluster(hooks(&["a"], &[])), "hook +1 -0"),
        ("not ready, and a Machine goes alone", unready_cluster(hooks(&[], &["a"])), "hook +0 -1"),
        ("a wrong label", Seen { want: wrong_label, ..settled() }, "blocked NoSuchAKODeploymentConfig"),
    ]);
}

/// A selected Cluster that Cluster API reports as not ready.
fn unready_cluster(hooks: Hooks) -> Seen {
    let want = Want::Kept(Skip::NotReady);
    Seen { want, hooks, ..settled() }
}

/// A deleted Cluster without AKO's StatefulSet.
fn no_set(rest: Vec<Target>) -> Seen {
    let installed = Installed { rest, ..Installed::default() };
    Seen {
        workload: Workload::Open(Box::new(State { delivery: Delivery::None, installed })),
        ..deleted(Cleanup::Done, None)
    }
}

fn forced(seen: Seen) -> Seen {
    Seen { is_forced: true, ..seen }
}

#[test]
fn a_deleted_cluster_waits_for_akos_answer() {
    let closed = Seen { workload: unreachable(), ..deleted(Cleanup::Silent, None) };
    let unhooked = |seen| Seen { hooks: Hooks::default(), ..seen };
    check(vec![
        ("not told yet", deleted(Cleanup::Silent, Some(false)), "deleteConfig, stale answer: false"),
        (
            "an answer of an earlier time",
            deleted(Cleanup::Done, Some(false)),
            "deleteConfig, stale answer: true",
        ),
        ("no answer", deleted(Cleanup::Silent, Some(true)), "wait AKOCleaningUp"),
        ("it has begun", deleted(Cleanup::Started, Some(true)), "wait AKOCleaningUp"),
        ("it gave up", deleted(Cleanup::Timeout, Some(true)), "blocked AKOCleanupTimedOut"),
        ("no ConfigMap", deleted(Cleanup::Silent, None), "blocked AKOCleanupImpossible"),
        ("done", deleted(Cleanup::Done, Some(true)), "hook +0 -1"),
        ("done, hooks off", unhooked(deleted(Cleanup::Done, Some(true))), "gone"),
        ("unreachable", closed.clone(), "wait ClusterUnreachable"),
        ("unreachable, not watched", Seen { needs_watch: true, ..closed.clone() }, "watch"),
        ("not watched", Seen { needs_watch: true, ..deleted(Cleanup::Silent, Some(false)) }, "watch"),
        ("no StatefulSet", no_set(rest()), "hook +0 -1"),
        ("paused", Seen { is_paused: true, ..deleted(Cleanup::Silent, Some(false)) }, "wait ClusterPaused"),
        (
            "never initialized",
            unhooked(Seen { workload: Workload::NotInitialized, ..deleted(Cleanup::Silent, None) }),
            "gone",
        ),
    ]);
}

#[test]
fn what_ako_does_not_remove_the_operator_does() {
    let purge = |purge, seen| Seen { purge, ..seen };
    let timeout = || deleted(Cleanup::Timeout, Some(true));
    let closed = || Seen { workload: unreachable(), ..deleted(Cleanup::Silent, None) };
    let ending = || {
        let set = Set { ending_since: Some(Timestamp::UNIX_EPOCH), ..set(Cleanup::Started) };
        Seen { workload: open(Delivery::None, Some(set), Some(true)), ..timeout() }
    };
    check(vec![
        ("it gave up: its Pods end first", purge(Purge::Possible, timeout()), "remove 1"),
        ("its ConfigMap is gone", purge(Purge::Possible, deleted(Cleanup::Silent, None)), "remove 1"),
        (
            "it says that it is done",
            purge(Purge::Possible, deleted(Cleanup::Done, Some(true))),
            "purge, once: false",
        ),
        ("it is done", purge(Purge::Done, deleted(Cleanup::Done, Some(true))), "hook +0 -1"),
        ("it went unasked", purge(Purge::Possible, no_set(rest())), "purge, once: false"),
        ("it went unasked, removed", purge(Purge::Done, no_set(rest())), "hook +0 -1"),
        (
            "it never came",
            Seen { is_recorded: false, ..purge(Purge::Possible, no_set(rest())) },
            "hook +0 -1",
        ),
        // AKO makes no more objects once its Pods are gone.
        ("it hangs, forced", forced(deleted(Cleanup::Started, Some(true))), "remove 1"),
        ("its Pods end, forced", purge(Purge::Possible, forced(ending())), "purge, once: true"),
        ("its Pods end, forced, removed", purge(Purge::Done, forced(ending())), "hook +0 -1"),
        ("its Pods are gone, forced", purge(Purge::Possible, forced(no_set(rest()))), "purge, once: true"),
        ("unreachable, forced", purge(Purge::Possible, forced(closed())), "purge, once: true"),
        ("unreachable, forced, removed", purge(Purge::Done, forced(closed())), "hook +0 -1"),
        ("unreachable, forced, and nothing to remove it with", forced(closed()), "hook +0 -1"),
    ]);
}

#[test]
fn a_cluster_that_lives_on_loses_ako_in_order() {
    let with = |installed| {
        let workload = Workload::Open(Box::new(State { delivery: Delivery::None, installed }));
        Seen { workload, ..deselected(Cleanup::Done) }
    };
    let only = |rest: Vec<Target>| with(Installed { rest, ..Installed::default() });
    let collected = with(Installed { ending: rest(), ..Installed::default() });
    let ending = Set { ending_since: Some(Timestamp::UNIX_EPOCH), ..set(Cleanup::Done) };
    let ending =
        Seen { workload: open(Delivery::None, Some(ending), Some(true)), ..deselected(Cleanup::Done) };
    let all = format!("remove {}", rest().len());
    let alone = Hooks { unneeded: vec!["m".to_owned()], ..settled().hooks };
    check(vec![
        ("no answer", deselected(Cleanup::Silent), "wait AKOCleaningUp"),
        ("a Machine goes meanwhile", Seen { hooks: alone, ..deselected(Cleanup::Silent) }, "hook +0 -1"),
        ("done: the StatefulSet first", deselected(Cleanup::Done), "remove 1"),
        ("its Pods end", ending, "wait AKOEnding"),
        ("its Pods are gone: the rest", only(rest()), &all),
        ("the garbage collector takes its time", collected, "wait AKOEnding"),
        ("nothing is left: the hooks", only(Vec::new()), "hook +0 -1"),
        ("the hooks are off", Seen { hooks: Hooks::default(), ..only(Vec::new()) }, "gone"),
        ("forced: without the answer", Seen { is_forced: true, ..deselected(Cleanup::Started) }, "remove 1"),
        (
            "never selected",
            Seen {
                is_held: false,
                hooks: Hooks::default(),
                workload: Workload::Unread,
                ..deselected(Cleanup::Silent)
            },
            "gone",
        ),
        (
            "the finalizer was removed by hand",
            Seen { is_held: false, workload: Workload::Unread, ..deselected(Cleanup::Silent) },
            "hook +0 -1",
        ),
    ]);
}

/// A Cluster that an add-on manager serves; AKO leaves it, and has answered.
fn by_addon(seen: Seen, delete_config: Option<bool>, set: Option<Set>) -> Seen {
    let set = set.map(|set| Set { is_ours: false, ..set });
    let installed = Installed { set, delete_config, ..Installed::default() };
    let workload = Workload::Open(Box::new(State { delivery: Delivery::None, installed }));
    let secret = Target { side: Side::Management, ..removal().swap_remove(1) };
    Seen { workload, addon: vec![secret], purge: Purge::Possible, ..seen }
}

/// The operator has found nothing more on AVI.
fn purged(seen: Seen) -> Seen {
    Seen { purge: Purge::Done, ..seen }
}

/// The add-on Secret is gone.
fn withdrawn(seen: Seen) -> Seen {
    Seen { addon: Vec::new(), ..seen }
}

#[test]
fn an_add_on_manager_takes_ako_away() {
    let gone = || deleted(Cleanup::Silent, None);
    let lives = || deselected(Cleanup::Silent);
    let of = |seen, told, answer| by_addon(seen, Some(told), Some(set(answer)));
    let absent = |seen, told| by_addon(seen, Some(told), None);
    let ending = || Set { ending_since: Some(Timestamp::UNIX_EPOCH), ..set(Cleanup::Done) };
    let user = |seen| Seen { user: Left::Removable, ..seen };
    check(vec![
        ("not told", of(gone(), false, Cleanup::Silent), "deleteConfig, stale answer: false"),
        ("told, and an old answer", of(lives(), false, Cleanup::Done), "deleteConfig, stale answer: true"),
        ("no answer", of(gone(), true, Cleanup::Silent), "wait AKOCleaningUp"),
        ("it has begun", of(lives(), true, Cleanup::Started), "wait AKOCleaningUp"),
        ("done: the operator looks", of(gone(), true, Cleanup::Done), "purge, once: false"),
        ("nothing is left: the Secret", purged(of(gone(), true, Cleanup::Done)), "withdraw"),
        ("the same, deselected: its StatefulSet stays", purged(of(lives(), true, Cleanup::Done)), "withdraw"),
        (
            "then the user",
            user(withdrawn(purged(of(lives(), true, Cleanup::Done)))),
            "remove user, once: false",
        ),
        ("its Pods end meanwhile", purged(by_addon(lives(), Some(true), Some(ending()))), "wait AKOEnding"),
        ("AKO is not there yet", absent(lives(), false), "deleteConfig, stale answer: false"),
        ("AKO is gone", absent(gone(), true), "purge, once: false"),
        ("AKO is gone, and the operator has looked", purged(absent(gone(), true)), "withdraw"),
    ]);
}

#[test]
fn an_ako_that_does_not_answer_stays_the_add_on_managers() {
    let gone = || deleted(Cleanup::Silent, None);
    let lives = || deselected(Cleanup::Silent);
    let of = |seen, told, answer| by_addon(seen, Some(told), Some(set(answer)));
    let absent = |seen, told| by_addon(seen, Some(told), None);
    let unknown = |seen| Seen { purge: Purge::Impossible, ..seen };
    let closed = |seen: Seen| Seen { workload: unreachable(), ..seen };
    let never = |seen: Seen| Seen { workload: Workload::NotInitialized, ..seen };
    check(vec![
        ("it gave up: the Secret first", of(gone(), true, Cleanup::Timeout), "withdraw"),
        ("then the operator removes it", withdrawn(of(gone(), true, Cleanup::Timeout)), "purge, once: false"),
        ("then the hooks", withdrawn(purged(of(gone(), true, Cleanup::Timeout))), "hook +0 -1"),
        ("it gave up, deselected: the Secret first", of(lives(), true, Cleanup::Timeout), "withdraw"),
        ("then the manager removes it", withdrawn(of(lives(), true, Cleanup::Timeout)), "wait AKOEnding"),
        ("then the operator", withdrawn(absent(lives(), true)), "purge, once: false"),
        (
            "it gave up, and nothing says where",
            unknown(of(gone(), true, Cleanup::Timeout)),
            "blocked AKOCleanupTimedOut",
        ),
        (
            "it does not learn it",
            by_addon(gone(), None, Some(set(Cleanup::Silent))),
            "blocked AKOCleanupImpossible",
        ),
        (
            "forced: it learns it first",
            forced(of(lives(), false, Cleanup::Silent)),
            "deleteConfig, stale answer: false",
        ),
        ("forced: no answer", forced(of(lives(), true, Cleanup::Started)), "purge, once: true"),
        ("forced, removed: the Secret", forced(purged(of(lives(), true, Cleanup::Started))), "withdraw"),
        ("forced: the hooks", forced(withdrawn(purged(of(lives(), true, Cleanup::Started)))), "hook +0 -1"),
        ("unreachable", closed(of(gone(), true, Cleanup::Started)), "wait ClusterUnreachable"),
        ("unreachable, forced", forced(closed(of(gone(), true, Cleanup::Started))), "purge, once: true"),
        (
            "unreachable, forced, removed",
            forced(purged(closed(of(gone(), true, Cleanup::Started)))),
            "withdraw",
        ),
        ("never initialized", never(of(gone(), true, Cleanup::Started)), "purge, once: false"),
    ]);
}

#[test]
fn a_delivery_that_others_complete_is_awaited() {
    let with = |reason: &'static str, set| {
        let is_watched = reason == reason::ADDON_PENDING;
        let pending = Some(Pending { reason, message: String::new(), is_watched });
        Seen {
            workload: open(Delivery::Of(Difference { pending, ..Difference::default() }), set, Some(false)),
            ..settled()
        }
    };
    let again = |seen: &Seen| matches!(next(seen, now()).turn, Turn::Wait { after: Some(_), .. });
    let (pending, bootstrap) =
        (with(reason::ADDON_PENDING, None), with(reason::BOOTSTRAP_PENDING, Some(set(Cleanup::Silent))));
    assert_eq!([again(&pending), again(&bootstrap)], [false, true], "only the StatefulSet is watched");
    check(vec![
        ("its StatefulSet is watched", pending, "wait AddonPending"),
        ("the ClusterBootstrap is not", bootstrap, "wait ClusterBootstrapPending"),
    ]);
}
