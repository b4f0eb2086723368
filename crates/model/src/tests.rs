//! Each kind of defect in a tiny model, and correct models that a weaker search rejects or accepts wrongly.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;

use crate::{Defect, Model, Report, Step, Violation, explore};

/// A graph that is written down: state 0 is the first.
#[derive(Default)]
struct Written {
    steps: HashMap<u32, Vec<(&'static str, u32)>>,
    goal: Vec<u32>,
    broken: Vec<u32>,
}

impl Written {
    /// Steps as `(from, label, to)`; a label that begins with `!` is a fault.
    fn new(steps: &[(u32, &'static str, u32)], goal: &[u32]) -> Self {
        let mut written = Self { goal: goal.to_vec(), ..Self::default() };
        for (from, label, to) in steps {
            written.steps.entry(*from).or_default().push((label, *to));
        }
        written
    }
}

impl Model for Written {
    type State = u32;
    type Label = &'static str;

    fn initial(&self) -> Vec<u32> {
        vec![0]
    }

    fn steps(&self, state: &u32) -> Vec<Step<u32, &'static str>> {
        let steps = self.steps.get(state).into_iter().flatten();
        steps
            .map(|(label, next)| Step { is_fault: label.starts_with('!'), label: *label, next: *next })
            .collect()
    }

    fn broken(&self, state: &u32) -> Option<String> {
        self.broken.contains(state).then(|| format!("state {state}"))
    }

    fn goal(&self, state: &u32) -> bool {
        self.goal.contains(state)
    }

    fn describe(&self, state: &u32) -> String {
        format!("at {state}")
    }
}

fn check(steps: &[(u32, &'static str, u32)], goal: &[u32]) -> Result<Report, Box<Violation>> {
    explore(&Written::new(steps, goal), 1000)
}

fn defect(steps: &[(u32, &'static str, u32)], goal: &[u32]) -> (Defect, Vec<String>) {
    let violation = check(steps, goal).unwrap_err();
    let labels = violation.labels().into_iter().map(str::to_owned).collect();
    (violation.defect, labels)
}

#[test]
fn a_broken_state_is_reported_with_the_shortest_trace() {
    let steps = [(0, "a", 1), (1, "b", 2), (2, "c", 3), (0, "!d", 4), (4, "e", 3), (3, "f", 3)];
    let model = Written { broken: vec![3], ..Written::new(&steps, &[]) };
    let violation = explore(&model, 1000).unwrap_err();
    assert_eq!(violation.defect, Defect::Broken("state 3".into()));
    assert_eq!(violation.labels(), ["!d", "e"]);
    let text = violation.to_string();
    assert!(text.contains("! !d\n          - at 0\n          + at 4\n"), "{text}");
}

#[test]
fn a_state_without_a_step_is_a_dead_end_outside_the_goal_only() {
    assert_eq!(defect(&[(0, "a", 1), (0, "b", 2)], &[1]), (Defect::DeadEnd, vec!["b".into()]));
    // A fault need not happen, so it is no way out.
    assert_eq!(defect(&[(0, "a", 1), (1, "!b", 2)], &[2]), (Defect::DeadEnd, vec!["a".into()]));
    assert_eq!(check(&[(0, "a", 1), (0, "b", 2)], &[1, 2]).unwrap().goals, 2);
}

#[test]
fn a_cycle_outside_the_goal_is_a_livelock() {
    let steps = [(0, "a", 1), (1, "b", 2), (2, "c", 1), (1, "d", 3)];
    let violation = check(&steps, &[3]).unwrap_err();
    // `d` is disabled in state 2: a fair scheduler need not take it.
    assert_eq!(violation.defect, Defect::Livelock(2));
    assert_eq!(violation.labels(), ["a"]);
    let cycle: Vec<_> = violation.cycle.iter().map(|step| &*step.label).collect();
    assert_eq!(cycle, ["b", "c"]);
    assert!(violation.to_string().contains("without end"));
}

#[test]
fn a_step_that_changes_nothing_is_a_livelock_where_no_other_is_enabled() {
    assert_eq!(defect(&[(0, "a", 1), (1, "b", 1)], &[2]).0, Defect::Livelock(1));
    // `c` stays enabled, so a fair scheduler takes it.
    assert!(check(&[(0, "a", 1), (1, "b", 1), (1, "c", 2)], &[2]).is_ok());
}

#[test]
fn a_label_that_stays_enabled_ends_a_cycle() {
    let steps = [(0, "a", 1), (1, "b", 0), (0, "out", 2), (1, "out", 2)];
    assert!(check(&steps, &[2]).is_ok());
    // As a fault it ends nothing.
    let steps = [(0, "a", 1), (1, "b", 0), (0, "!out", 2), (1, "!out", 2)];
    assert_eq!(defect(&steps, &[2]).0, Defect::Livelock(2));
    // Enabled everywhere and taken inside the cycle: a fair scheduler may always take the step that stays.
    let steps = [(0, "a", 1), (1, "a", 0), (0, "a", 2)];
    assert_eq!(defect(&steps, &[2]).0, Defect::Livelock(2));
}

#[test]
fn faults_do_not_make_a_cycle() {
    assert!(check(&[(0, "a", 1), (1, "!crash", 0)], &[1]).is_ok());
    assert!(check(&[(0, "a", 1), (1, "!crash", 0), (1, "b", 2)], &[2]).is_ok());
}

#[test]
fn the_goal_must_be_kept() {
    assert_eq!(
        defect(&[(0, "a", 1), (1, "b", 0)], &[1]),
        (Defect::UnstableGoal, vec!["a".into(), "b".into()])
    );
    // A user who asks for something else leaves it, and the system reaches it again.
    assert!(check(&[(0, "a", 1), (1, "!scale", 0)], &[1]).is_ok());
}

/// stateright's `eventually` marks a state as seen with what was known on the first way to it, and misses a defect behind the
/// join of two ways.
#[test]
fn a_defect_behind_a_join_is_found() {
    // 1 is in the goal, 2 is not; both lead to 3, from where only the way by 1 has been in the goal.
    let steps = [(0, "a", 1), (0, "b", 2), (1, "c", 3), (2, "d", 3)];
    assert_eq!(defect(&steps, &[1]).0, Defect::UnstableGoal);
    assert_eq!(defect(&[(0, "a", 1), (0, "b", 2), (1, "c", 3), (2, "d", 3)], &[]).0, Defect::DeadEnd);
}

/// stateright's `eventually` never looks at a cycle.
#[test]
fn a_cycle_is_found_behind_a_join() {
    let steps = [(0, "a", 1), (0, "b", 2), (1, "c", 3), (2, "d", 3), (3, "e", 4), (4, "f", 3), (3, "g", 5)];
    assert_eq!(defect(&steps, &[5]).0, Defect::Livelock(2));
}

#[test]
fn correct_joins_and_cycles_pass() {
    let steps = [(0, "a", 1), (0, "b", 2), (1, "c", 3), (2, "d", 3), (3, "e", 4), (4, "f", 3)];
    let report = check(&steps, &[3, 4]).unwrap();
    assert_eq!((report.states, report.steps, report.goals, report.depth), (5, 6, 2, 3));
}

#[test]
fn the_earliest_livelock_is_reported() {
    let steps = [(0, "a", 1), (1, "b", 2), (2, "c", 2), (0, "d", 3), (3, "e", 3)];
    assert_eq!(defect(&steps, &[9]), (Defect::Livelock(1), vec!["d".to_owned()]).clone());
}

#[test]
fn more_states_than_the_limit_are_a_failure() {
    struct Endless;
    impl Model for Endless {
        type State = u64;
        type Label = &'static str;

        fn initial(&self) -> Vec<u64> {
            vec![0]
        }

        fn steps(&self, state: &u64) -> Vec<Step<u64, &'static str>> {
            vec![Step { is_fault: false, label: "on", next: state + 1 }]
        }

        fn broken(&self, _: &u64) -> Option<String> {
            None
        }

        fn goal(&self, _: &u64) -> bool {
            true
        }

        fn describe(&self, state: &u64) -> String {
            state.to_string()
        }
    }
    let violation = explore(&Endless, 100).unwrap_err();
    assert_eq!((violation.defect.clone(), violation.report.states), (Defect::LimitReached, 101));
    assert!(violation.to_string().contains("nothing is proven"));
}

#[test]
fn a_model_that_changes_its_mind_is_reported() {
    struct Fickle(std::cell::Cell<u32>);
    impl Model for Fickle {
        type State = u32;
        type Label = &'static str;

        fn initial(&self) -> Vec<u32> {
            vec![0]
        }

        fn steps(&self, state: &u32) -> Vec<Step<u32, &'static str>> {
            self.0.set(self.0.get() + 1);
            let first = self.0.get() == 1;
            first.then(|| Step { is_fault: false, label: "on", next: state + 1 }).into_iter().collect()
        }

        fn broken(&self, state: &u32) -> Option<String> {
            (*state == 1).then(String::new)
        }

        fn goal(&self, _: &u32) -> bool {
            false
        }

        fn describe(&self, _: &u32) -> String {
            String::new()
        }
    }
    assert_eq!(explore(&Fickle(0.into()), 9).unwrap_err().defect, Defect::NotDeterministic);
}
