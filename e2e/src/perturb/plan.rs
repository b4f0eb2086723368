//! Which runs there are, and samples of them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use testbed::{CallFault, EventFault, Mark, Perturbation, Random, Record};

use super::name::{Place, RunName};
use crate::rig::Rig;

/// The faults of a request that changes something.
const WRITE_FAULTS: &[CallFault] = &[
    CallFault::KillBeforeReply,
    CallFault::KillAfterReply,
    CallFault::ReplyLost,
    CallFault::RequestLost,
    CallFault::Status(403),
    CallFault::Status(409),
    CallFault::Status(422),
    CallFault::Status(429),
    CallFault::Status(500),
];
/// The faults of a request that reads.
const READ_FAULTS: &[CallFault] =
    &[CallFault::ReplyLost, CallFault::Status(429), CallFault::Status(500), CallFault::Status(410)];
/// The numbers of changes that a list may be behind.
const AGES: [u32; 3] = [1, 4, 16];
/// The numbers of writes for which a watch stands still.
const FREEZES: [u32; 2] = [1, 4];
const EVENT_FAULTS: &[EventFault] = &[EventFault::Withheld, EventFault::Expired, EventFault::Cut];

/// All runs of an operator.
#[derive(Clone, Debug)]
pub struct Plan {
    runs: Vec<RunName>,
    /// The requests and events of either clean run.
    seen: BTreeSet<Mark>,
    /// Those of one clean run.
    uncommon: BTreeSet<Mark>,
}

impl Plan {
    /// Plans runs for what both records have.
    ///
    /// # Errors
    /// If that has not each place between operator and API server, or is too little of what the first record has: then the plan
    /// would miss most of what the operator does, or all.
    pub(super) fn new<R: Rig>(first: &Record, second: &Record) -> Result<Self> {
        let calls = common(&first.calls, &second.calls);
        let events = common(&first.events, &second.events);
        let (both, all) = (calls.len() + events.len(), first.calls.len() + first.events.len());
        let least = all.div_ceil(2);
        ensure!(
            both >= least,
            "two clean runs have {both} of the {all} requests and events of the first in common: {least} are expected"
        );
        let mut runs = Vec::new();
        let mut api = |perturbation| runs.push(RunName::Api(perturbation));
        for (index, call) in calls.iter().enumerate() {
            let faults = if call.subject.is_write() { WRITE_FAULTS } else { READ_FAULTS };
            for fault in faults {
                api(Perturbation::Call(*fault, call.clone()));
            }
            // One age for each write: all of them would be most of the plan.
            let age = AGES.get(index % AGES.len()).copied().unwrap_or(1);
            if call.subject.is_write() {
                api(Perturbation::Call(CallFault::OlderList(age), call.clone()));
            }
        }
        for (index, event) in events.iter().enumerate() {
            for fault in EVENT_FAULTS {
                api(Perturbation::Event(*fault, event.clone()));
            }
            let writes = FREEZES.get(index % FREEZES.len()).copied().unwrap_or(1);
            api(Perturbation::Event(EventFault::Frozen(writes), event.clone()));
        }
        for fault in R::FAULTS {
            runs.extend(
                R::STEPS
                    .iter()
                    .map(|step| RunName::Outside { fault: (*fault).to_owned(), step: (*step).to_owned() }),
            );
        }
        let [first, second] = [first, second]
            .map(|record| record.calls.iter().chain(&record.events).cloned().collect::<BTreeSet<_>>());
        let plan = Self { runs, seen: &first | &second, uncommon: &first ^ &second };
        for place in [Place::Write, Place::Event, Place::Read] {
            let has = plan.runs.iter().any(|run| run.place() == place);
            ensure!(has, "two clean runs have no {place} in common: does the operator use the proxy?");
        }
        Ok(plan)
    }

    /// Returns the requests and events that only one clean run had, of which there is no run.
    pub fn uncommon(&self) -> impl Iterator<Item = &Mark> {
        self.uncommon.iter()
    }

    /// Returns all runs.
    #[must_use]
    pub fn all(&self) -> &[RunName] {
        &self.runs
    }

    /// Returns an error if a run names what no clean run had: it would be of another operator. The number may be another, which depends
    /// on timing, and so may the name of an object where calls vary.
    ///
    /// # Errors
    /// If it does.
    pub fn check<R: Rig>(&self, name: &RunName) -> Result<()> {
        let RunName::Api(perturbation) = name else {
            return name.check::<R>();
        };
        let wanted = &perturbation.mark().subject;
        let is_seen = self.seen.iter().map(|mark| &mark.subject).any(|seen| {
            seen.verb == wanted.verb
                && seen.resource == wanted.resource
                && (R::CALLS_VARY || seen.name == wanted.name)
        });
        ensure!(
            is_seen,
            "{} has no run {name}: no run without a fault has such a call; --list prints all runs",
            R::SUBJECT.name
        );
        Ok(())
    }

    /// Returns `count` runs, the same for the same seed: one of each fault, of the four places in turn, before a second of any; the runs of
    /// one fault are of all verbs in turn. The seed chooses the order.
    #[must_use]
    pub fn sample(&self, count: usize, seed: u64) -> Vec<RunName> {
        let mut random = Random::new(seed);
        let mut places: BTreeMap<Place, BTreeMap<String, Verbs<'_>>> = BTreeMap::new();
        for run in &self.runs {
            let faults = places.entry(run.place()).or_default();
            faults.entry(run.fault()).or_default().entry(run.verb()).or_default().push(run);
        }
        let mut turns = Vec::new();
        for faults in places.into_values() {
            let runs = faults.into_values().map(|verbs| of_fault(verbs, &mut random)).collect();
            turns.push(shuffled(runs, &mut random));
        }
        in_turn(in_turn(turns)).into_iter().take(count).cloned().collect()
    }
}

/// The runs of a fault, by verb.
type Verbs<'a> = BTreeMap<&'a str, Vec<&'a RunName>>;

/// Returns the runs of a fault, of all verbs in turn.
fn of_fault<'a>(verbs: Verbs<'a>, random: &mut Random) -> Vec<&'a RunName> {
    let runs = verbs.into_values().map(|runs| shuffled(runs, random)).collect();
    in_turn(shuffled(runs, random))
}

/// Returns the items in an order that the random numbers choose.
fn shuffled<T>(mut items: Vec<T>, random: &mut Random) -> Vec<T> {
    (0..items.len()).map(|_| items.swap_remove(random.below(items.len()))).collect()
}

/// Returns the first item of each list, then the second of each, and so on.
fn in_turn<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let longest = lists.iter().map(ExactSizeIterator::len).max().unwrap_or_default();
    let mut items = Vec::new();
    for _ in 0..longest {
        items.extend(lists.iter_mut().filter_map(Iterator::next));
    }
    items
}

/// Returns what both have, in the order of the first.
fn common(first: &[Mark], second: &[Mark]) -> Vec<Mark> {
    let second: BTreeSet<_> = second.iter().collect();
    first.iter().filter(|mark| second.contains(mark)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::{AkoRig, PageRig};

    fn record(marks: &[&str]) -> Record {
        let marks: Vec<Mark> = marks.iter().map(|mark| mark.parse().unwrap()).collect();
        let (events, calls) = marks.into_iter().partition(|mark| mark.subject.is_event());
        Record { calls, events }
    }

    fn plan() -> Plan {
        let one = record(&["list/pages/#1", "patch/pages/a#1", "patch/pages/a#2", "added/pages/a#1"]);
        let other = record(&["patch/pages/a#1", "list/pages/#1", "added/pages/a#1", "added/pages/b#1"]);
        Plan::new::<PageRig>(&one, &other).unwrap()
    }

    #[test]
    fn clean_runs_with_too_little_in_common_are_refused() {
        let refusal = |one: &[&str], other: &[&str]| {
            Plan::new::<PageRig>(&record(one), &record(other)).unwrap_err().to_string()
        };
        let [read, write, event] = ["list/pages/#1", "patch/pages/a#1", "added/pages/a#1"];
        let whole = [read, write, event];
        for (one, missing) in [
            (&[][..], "write"),
            (&[read, event], "write"),
            (&[write, read], "event"),
            (&[write, event], "read"),
        ] {
            let refused =
                format!("two clean runs have no {missing} in common: does the operator use the proxy?");
            assert_eq!(refusal(one, &whole), refused);
        }
        let longer = [&whole[..], &["patch/pages/a#2", "patch/pages/a#3", "patch/pages/a#4"]].concat();
        Plan::new::<PageRig>(&record(&longer), &record(&whole)).unwrap();
        let longest = [&longer[..], &["patch/pages/a#5"]].concat();
        let refused =
            "two clean runs have 3 of the 7 requests and events of the first in common: 4 are expected";
        assert_eq!(refusal(&longest, &whole), refused);
    }

    #[test]
    fn what_happens_in_one_clean_run_only_is_not_planned() {
        let uncommon: Vec<String> = plan().uncommon().map(ToString::to_string).collect();
        assert_eq!(uncommon, ["added/pages/b#1", "patch/pages/a#2"]);
        let names: Vec<String> = plan().all().iter().map(ToString::to_string).collect();
        for name in ["reply-lost@list/pages/#1", "kill-before-reply@patch/pages/a#1", "cut@added/pages/a#1"] {
            assert!(names.iter().any(|planned| planned == name), "{name} not in {names:?}");
        }
        assert!(!names.iter().any(|name| name.ends_with("a#2") || name.contains("/b#")), "{names:?}");
        let parsed: Vec<RunName> = names.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(parsed, plan().all());
    }

    #[test]
    fn a_run_of_another_operator_is_refused() {
        let plan = plan();
        let check = |name: &str| plan.check::<PageRig>(&name.parse().unwrap());
        for name in ["reply-lost@patch/pages/a#1", "reply-lost@patch/pages/a#7", "cut@added/pages/b#1"] {
            check(name).unwrap();
        }
        let refused = "page-operator has no run reply-lost@patch/vmgroups/a#1: no run without a fault has such a call; --list prints all \
                       runs";
        assert_eq!(check("reply-lost@patch/vmgroups/a#1").unwrap_err().to_string(), refused);
        for name in [
            "reply-lost@create/pages/a#1",
            "reply-lost@patch/pages/c#1",
            "cut@deleted/pages/a#1",
            "outside:cut@nonsense",
        ] {
            assert!(check(name).is_err(), "{name}");
        }
        // Where calls vary, names do as well.
        assert!(plan.check::<AkoRig>(&"reply-lost@patch/pages/c#1".parse().unwrap()).is_ok());
        assert!(plan.check::<AkoRig>(&"reply-lost@patch/vmgroups/a#1".parse().unwrap()).is_err());
    }

    fn faults(runs: &[RunName]) -> BTreeSet<(Place, String)> {
        runs.iter().map(|run| (run.place(), run.fault())).collect()
    }

    #[test]
    fn a_sample_has_every_fault_and_depends_on_the_seed_only() {
        let plan = plan();
        let all = faults(plan.all());
        let sample = plan.sample(all.len(), 7);
        assert_eq!(faults(&sample), all);
        assert_eq!(plan.sample(all.len(), 7), sample);
        assert!((0..20).any(|seed| plan.sample(all.len(), seed) != sample));
        let whole: BTreeSet<String> = plan.sample(usize::MAX, 7).iter().map(ToString::to_string).collect();
        assert_eq!(whole, plan.all().iter().map(ToString::to_string).collect());
    }

    #[test]
    fn a_small_sample_has_every_place_and_leaves_out_no_fault_for_good() {
        let plan = plan();
        let (all, places) = (faults(plan.all()), 4);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let sample = faults(&plan.sample(places, seed));
            let of: BTreeSet<_> = sample.iter().map(|(place, _)| *place).collect();
            assert_eq!(of.len(), places, "{seed}: {sample:?}");
            seen.extend(sample);
        }
        assert_eq!(seen, all);
    }
}
