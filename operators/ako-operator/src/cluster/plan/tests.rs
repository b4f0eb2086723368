//! Every row of the decision, and that plans carried out in a small world come to rest.

use operator_kit::Key;
use proptest::prelude::*;

use super::*;
use crate::api::reason;
use crate::cluster::seen::{Hooks, Installed, Set};
use crate::delivery::removal;

fn set(answer: Answer) -> Set {
    Set { target: removal().swap_remove(0), answer, is_ending: false }
}

fn rest() -> Vec<Target> {
    removal().split_off(1)
}

fn delivered() -> Delivery {
    Delivery::Of { differing: Vec::new(), obsolete: Vec::new(), foreign: Vec::new() }
}

fn open(delivery: Delivery, set: Option<Set>, delete_config: Option<bool>) -> Workload {
    Workload::Open(Box::new(State { delivery, installed: Installed { set, delete_config, rest: rest() } }))
}

fn unreachable() -> Workload {
    Workload::Closed { reason: "ClusterUnreachable", message: "no answer".to_owned() }
}

/// A selected Cluster that is as it should be.
fn settled() -> Seen {
    Seen {
        hooks: Hooks { present: vec!["m".to_owned()], ..Hooks::default() },
        workload: open(delivered(), Some(set(Answer::Silent)), Some(false)),
        ip_family: Some(Ok(())),
        ..Seen::held(Want::Ako)
    }
}

/// A Cluster that is being deleted, where AKO has answered.
fn deleted(answer: Answer, delete_config: Option<bool>) -> Seen {
    let workload = open(Delivery::None, Some(set(answer)), delete_config);
    Seen { is_deleting: true, workload, ..settled() }
}

/// A Cluster that lost its label, where AKO has answered.
fn deselected(answer: Answer) -> Seen {
    Seen { is_deleting: false, want: Want::Nothing, ..deleted(answer, Some(true)) }
}

/// Says a turn in a word or two.
fn shown(turn: &Turn<Plan>) -> String {
    match turn {
        Turn::LookAgain(plan) | Turn::Act(plan) => match plan {
            Plan::Watch => "watch".to_owned(),
            Plan::Hook { add, remove } => format!("hook +{} -{}", add.len(), remove.len()),
            Plan::Apply(objects) => format!("apply {}", objects.len()),
            Plan::DeleteConfig { stale } => format!("deleteConfig, stale answer: {}", stale.is_some()),
            Plan::Remove(targets) => format!("remove {}", targets.len()),
            Plan::Report(_) => "report".to_owned(),
            Plan::Purge { once } => format!("purge, once: {once}"),
        },
        Turn::Wait { reason, .. } => format!("wait {reason}"),
        Turn::Blocked { reason, .. } => format!("blocked {reason}"),
        Turn::Settled => "settled".to_owned(),
        Turn::Gone => "gone".to_owned(),
    }
}

fn check(rows: Vec<(&str, Seen, &str)>) {
    for (what, seen, wanted) in rows {
        assert_eq!(shown(&next(&seen)), wanted, "{what}");
    }
}

#[test]
fn a_selected_cluster_gets_ako() {
    let with = |delivery| Seen { workload: open(delivery, None, None), ..settled() };
    let hooks = |missing: &[&str], unneeded: &[&str]| {
        let names = |of: &[&str]| of.iter().map(|&name| name.to_owned()).collect();
        Hooks { present: Vec::new(), missing: names(missing), unneeded: names(unneeded) }
    };
    let target = || removal().swap_remove(0);
    let of = |obsolete, foreign| Delivery::Of { differing: Vec::new(), obsolete, foreign };
    let refused = Delivery::Refused { reason: reason::INVALID_SPEC, message: String::new() };
    let unready = Delivery::Refused { reason: reason::ADC_NOT_READY, message: String::new() };
    let new = || with(of(Vec::new(), Vec::new()));
    let unrecorded = |seen| Seen { offer: Err("not ready".to_owned()), ..seen };
    let twin = |seen| Seen { namesake: Some(Key::new("a", "b")), ..seen };
    let kept = |reason| Want::Kept { reason, message: String::new() };
    let ending = Set { is_ending: true, ..set(Answer::Done) };
    check(vec![
        ("at rest", settled(), "settled"),
        ("a new Machine", Seen { hooks: hooks(&["a"], &[]), ..settled() }, "hook +1 -0"),
        ("a Machine goes alone", Seen { hooks: hooks(&[], &["a"]), ..settled() }, "hook +0 -1"),
        ("a new cluster", Seen { workload: Workload::NotInitialized, ..settled() }, "wait ClusterNotReady"),
        ("no answer", Seen { workload: unreachable(), ..settled() }, "wait ClusterUnreachable"),
        ("not watched", Seen { needs_watch: true, ..settled() }, "watch"),
        ("no ADC that is ready", with(unready), "wait AKODeploymentConfigNotReady"),
        ("a wrong spec", with(refused), "blocked InvalidSpec"),
        ("an ADC that has not recorded the Cluster", unrecorded(new()), "wait AKODeploymentConfigNotReady"),
        ("the same, where AKO runs", unrecorded(settled()), "settled"),
        ("another Cluster of the same name on AVI", twin(new()), "blocked ClusterNameAmbiguous"),
        ("the same, where AKO runs", twin(settled()), "settled"),
        ("an AKO of others", with(of(vec![target()], vec![target()])), "blocked AKOOfOthers"),
        ("an earlier delivery", with(of(vec![target()], Vec::new())), "remove 1"),
        (
            "labelled again while AKO ends",
            Seen { workload: open(delivered(), Some(ending), None), ..settled() },
            "wait AKOEnding",
        ),
        ("not ready", Seen { want: kept(reason::CLUSTER_NOT_READY), ..settled() }, "wait ClusterNotReady"),
        (
            "not ready, and a Machine goes alone",
            Seen { want: kept(reason::CLUSTER_NOT_READY), hooks: hooks(&[], &["a"]), ..settled() },
            "hook +0 -1",
        ),
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
        (
            "a wrong label",
            Seen { want: kept(reason::NO_SUCH_ADC), ..settled() },
            "blocked NoSuchAKODeploymentConfig",
        ),
    ]);
}

/// A deleted Cluster without AKO's StatefulSet.
fn no_set(rest: Vec<Target>) -> Seen {
    let installed = Installed { set: None, delete_config: None, rest };
    Seen {
        workload: Workload::Open(Box::new(State { delivery: Delivery::None, installed })),
        ..deleted(Answer::Done, None)
    }
}

fn forced(seen: Seen) -> Seen {
    Seen { is_forced: true, ..seen }
}

#[test]
fn a_deleted_cluster_waits_for_akos_answer() {
    let closed = Seen { workload: unreachable(), ..deleted(Answer::Silent, None) };
    let unhooked = |seen| Seen { hooks: Hooks::default(), ..seen };
    check(vec![
        ("not told yet", deleted(Answer::Silent, Some(false)), "deleteConfig, stale answer: false"),
        (
            "an answer of an earlier time",
            deleted(Answer::Done, Some(false)),
            "deleteConfig, stale answer: true",
        ),
        ("no answer", deleted(Answer::Silent, Some(true)), "wait AKOCleaningUp"),
        ("it has begun", deleted(Answer::Started, Some(true)), "wait AKOCleaningUp"),
        ("it gave up", deleted(Answer::Timeout, Some(true)), "blocked AKOCleanupTimedOut"),
        ("no ConfigMap", deleted(Answer::Silent, None), "blocked AKOCleanupImpossible"),
        ("done", deleted(Answer::Done, Some(true)), "hook +0 -1"),
        ("done, hooks off", unhooked(deleted(Answer::Done, Some(true))), "gone"),
        ("unreachable", closed.clone(), "wait ClusterUnreachable"),
        ("unreachable, not watched", Seen { needs_watch: true, ..closed.clone() }, "watch"),
        ("not watched", Seen { needs_watch: true, ..deleted(Answer::Silent, Some(false)) }, "watch"),
        ("no StatefulSet", no_set(rest()), "hook +0 -1"),
        ("paused", Seen { is_paused: true, ..deleted(Answer::Silent, Some(false)) }, "wait ClusterPaused"),
        (
            "never initialized",
            unhooked(Seen { workload: Workload::NotInitialized, ..deleted(Answer::Silent, None) }),
            "gone",
        ),
    ]);
}

#[test]
fn what_ako_does_not_remove_the_operator_does() {
    let purge = |purge, seen| Seen { purge, ..seen };
    let timeout = || deleted(Answer::Timeout, Some(true));
    let closed = || Seen { workload: unreachable(), ..deleted(Answer::Silent, None) };
    let ending = || {
        let set = Set { is_ending: true, ..set(Answer::Started) };
        Seen { workload: open(Delivery::None, Some(set), Some(true)), ..timeout() }
    };
    check(vec![
        ("it gave up", purge(Purge::Possible, timeout()), "purge, once: false"),
        ("it gave up, removed", purge(Purge::Done, timeout()), "hook +0 -1"),
        ("it went unasked", purge(Purge::Possible, no_set(rest())), "purge, once: false"),
        ("it went unasked, removed", purge(Purge::Done, no_set(rest())), "hook +0 -1"),
        (
            "it never came",
            Seen { is_recorded: false, ..purge(Purge::Possible, no_set(rest())) },
            "hook +0 -1",
        ),
        // AKO makes no more objects once its Pods are gone.
        ("it hangs, forced", forced(deleted(Answer::Started, Some(true))), "remove 1"),
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
    let none = Installed::default();
    let only = |rest: Vec<Target>| Seen {
        workload: Workload::Open(Box::new(State {
            delivery: Delivery::None,
            installed: Installed { rest, ..none.clone() },
        })),
        ..deselected(Answer::Done)
    };
    let ending = Set { is_ending: true, ..set(Answer::Done) };
    let ending =
        Seen { workload: open(Delivery::None, Some(ending), Some(true)), ..deselected(Answer::Done) };
    let all = format!("remove {}", rest().len());
    let alone = Hooks { unneeded: vec!["m".to_owned()], ..settled().hooks };
    check(vec![
        ("no answer", deselected(Answer::Silent), "wait AKOCleaningUp"),
        ("a Machine goes meanwhile", Seen { hooks: alone, ..deselected(Answer::Silent) }, "hook +0 -1"),
        ("done: the StatefulSet first", deselected(Answer::Done), "remove 1"),
        ("its Pods end", ending, "wait AKOEnding"),
        ("its Pods are gone: the rest", only(rest()), &all),
        ("nothing is left: the hooks", only(Vec::new()), "hook +0 -1"),
        ("the hooks are off", Seen { hooks: Hooks::default(), ..only(Vec::new()) }, "gone"),
        ("forced: without the answer", Seen { is_forced: true, ..deselected(Answer::Started) }, "remove 1"),
        (
            "never selected",
            Seen {
                is_held: false,
                hooks: Hooks::default(),
                workload: Workload::Unread,
                ..deselected(Answer::Silent)
            },
            "gone",
        ),
        (
            "the finalizer was removed by hand",
            Seen { is_held: false, workload: Workload::Unread, ..deselected(Answer::Silent) },
            "hook +0 -1",
        ),
    ]);
}

/// A small world: what the plans change, and AKO, which answers once it is asked.
#[derive(Clone, Debug)]
struct World {
    seen: Seen,
    left_on_avi: bool,
}

impl World {
    fn installed(&mut self) -> Option<&mut Installed> {
        match &mut self.seen.workload {
            Workload::Open(state) => Some(&mut state.installed),
            _ => None,
        }
    }

    fn carry_out(&mut self, plan: Plan) {
        match plan {
            Plan::Watch => self.seen.needs_watch = false,
            Plan::Report(report) => {
                let said = &mut self.seen.said;
                let of =
                    |type_| report.set.iter().any(|new| new.type_ == type_) || report.remove.contains(&type_);
                said.retain(|said| !of(said.type_));
                said.extend(report.set);
            }
            Plan::Hook { add, remove } => {
                let hooks = &mut self.seen.hooks;
                hooks.present.extend(add);
                hooks.present.retain(|name| !remove.contains(name));
                hooks.missing.clear();
                hooks.unneeded.clear();
            }
            Plan::Apply(_) => {}
            Plan::Purge { .. } => {
                self.seen.purge = Purge::Done;
                self.left_on_avi = false;
            }
            Plan::DeleteConfig { stale } => {
                let Some(installed) = self.installed() else { return };
                installed.delete_config = Some(true);
                if let (Some(set), true) = (&mut installed.set, stale.is_some()) {
                    set.answer = Answer::Silent;
                }
            }
            Plan::Remove(targets) => {
                let Some(installed) = self.installed() else { return };
                if let Some(set) = installed.set.as_mut().filter(|set| targets.contains(&set.target)) {
                    set.is_ending = true;
                }
                installed.rest.retain(|target| !targets.contains(target));
            }
        }
    }

    /// What happens by itself: AKO cleans up, Pods end, the cluster answers.
    fn goes_on(&mut self) {
        let Some(installed) = self.installed() else {
            self.seen.workload = open(Delivery::None, Some(set(Answer::Silent)), Some(false));
            return;
        };
        let Some(set) = installed.set.as_mut() else { return };
        if set.is_ending {
            installed.set = None;
        } else if installed.delete_config == Some(true) && set.answer != Answer::Done {
            set.answer = Answer::Done;
            self.left_on_avi = false;
        }
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let answer =
        prop_oneof![Just(Answer::Silent), Just(Answer::Started), Just(Answer::Done), Just(Answer::Timeout)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (answer, flags, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(answer, (is_deleting, delete_config, needs_watch, is_ending), is_reached, has_hooks, can_purge)| {
            // AKO is removed only after it has answered, and answers only where it was asked.
            let is_ending = is_ending && delete_config && answer == Answer::Done;
            let set = Set { is_ending, ..set(answer) };
            let workload =
                if is_reached { open(Delivery::None, Some(set), Some(delete_config)) } else { unreachable() };
            let hooks = if has_hooks { settled().hooks } else { Hooks::default() };
            let purge = if can_purge { Purge::Possible } else { Purge::Impossible };
            let seen =
                Seen { is_deleting, want: Want::Nothing, workload, needs_watch, hooks, purge, ..settled() };
            World { seen, left_on_avi: !(is_reached && delete_config && answer == Answer::Done) }
        },
    )
}

proptest! {
    /// From any state, as after a restart at any step, a Cluster is let go, and never while something of AKO is on AVI.
    #[test]
    fn a_cluster_is_let_go_when_nothing_is_left(mut world in any_world()) {
        for _ in 0..40 {
            match decide(&world.seen) {
                Turn::Act(plan) | Turn::LookAgain(plan) => world.carry_out(plan),
                Turn::Wait { .. } | Turn::Blocked { .. } => world.goes_on(),
                Turn::Gone => {
                    prop_assert!(!world.left_on_avi, "{world:?}");
                    prop_assert!(world.seen.hooks.present.is_empty());
                    let is_deleting = world.seen.is_deleting;
                    let installed = world.installed().expect("it was read");
                    prop_assert!(is_deleting || installed.set.is_none() && installed.rest.is_empty());
                    prop_assert_eq!(world.seen.said.is_empty(), !is_deleting, "the conditions go with AKO");
                    return Ok(());
                }
                Turn::Settled => prop_assert!(false, "it is not settled: {world:?}"),
            }
        }
        prop_assert!(false, "no end: {world:?}");
    }
}
