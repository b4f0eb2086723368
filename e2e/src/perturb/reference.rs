//! What every run must end like: what two clean runs have in common.

use std::collections::{BTreeMap, BTreeSet};

use testbed::Record;

use super::snapshot::Snapshot;

/// How often something has happened, by name.
pub(super) type Numbers = BTreeMap<String, u64>;

/// What a clean run has left behind.
pub(super) struct Trace {
    /// The end state of each step.
    pub(super) steps: Vec<Snapshot>,
    /// How often objects were created and deleted, and how often each change was made outside.
    pub(super) counts: Numbers,
    /// What went through the proxy.
    pub(super) record: Record,
}

/// What two clean runs have in common.
pub(super) struct Reference {
    steps: Vec<Snapshot>,
    counts: Numbers,
    /// The counts that differ between clean runs.
    varying: BTreeSet<String>,
    /// The paths whose values differ between clean runs.
    mask: BTreeSet<String>,
}

impl Reference {
    pub(super) fn new(first: &Trace, second: &Trace) -> Self {
        let pairs = first.steps.iter().zip(&second.steps);
        let mask = pairs.flat_map(|(first, second)| differing(first, second)).cloned().collect();
        let varying = differing(&first.counts, &second.counts).cloned().collect();
        Self { steps: first.steps.clone(), counts: first.counts.clone(), varying, mask }
    }

    /// Returns how a state differs from the one at the end of a step.
    pub(super) fn differences(&self, step: usize, state: &Snapshot) -> Vec<String> {
        let none = Snapshot::new();
        let wanted = self.steps.get(step).unwrap_or(&none);
        let paths = differing(wanted, state).filter(|path| !self.mask.contains(*path));
        paths
            .map(|path| format!("{path} is {:?} instead of {:?}", state.get(path), wanted.get(path)))
            .collect()
    }

    /// Returns which counts differ.
    pub(super) fn miscounted(&self, counts: &Numbers) -> Vec<String> {
        let count = |counts: &Numbers, name: &String| counts.get(name).copied().unwrap_or_default();
        differing(&self.counts, counts)
            .filter(|name| !self.varying.contains(*name))
            .map(|name| {
                format!("{name}: {} instead of {} times", count(counts, name), count(&self.counts, name))
            })
            .collect()
    }

    /// Returns the paths that are not compared.
    pub(super) fn mask(&self) -> &BTreeSet<String> {
        &self.mask
    }
}

/// Returns the names that have not the same value in both.
fn differing<'a, T: PartialEq>(
    first: &'a BTreeMap<String, T>,
    second: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = &'a String> {
    let paths: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    paths.into_iter().filter(|path| first.get(*path) != second.get(*path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map<T: Clone>(entries: &[(&str, T)]) -> BTreeMap<String, T> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn trace(id: &str, counts: Numbers) -> Trace {
        let state = map(&[("id", id.to_owned()), ("power", "on".to_owned())]);
        Trace { steps: vec![state], counts, record: Record::default() }
    }

    #[test]
    fn only_what_differs_between_clean_runs_may_differ() {
        let reference = Reference::new(&trace("1", Numbers::new()), &trace("2", Numbers::new()));
        let state = |power: &str| map(&[("id", "3".to_owned()), ("power", power.to_owned())]);
        assert!(reference.differences(0, &state("on")).is_empty());
        assert_eq!(reference.differences(0, &state("off")).len(), 1);
        assert_eq!(reference.differences(0, &map(&[("id", "3".to_owned())])).len(), 1, "missing");
        let mut more = state("on");
        more.insert("leaked".to_owned(), "folder".to_owned());
        assert_eq!(reference.differences(0, &more).len(), 1, "additional");
    }

    #[test]
    fn more_and_fewer_changes_are_noticed() {
        let counts = map(&[("created a", 2)]);
        let reference = Reference::new(&trace("1", counts.clone()), &trace("1", counts.clone()));
        assert!(reference.miscounted(&counts).is_empty());
        for other in [map(&[("created a", 1)]), map(&[]), map(&[("created a", 2), ("created b", 1)])] {
            assert_eq!(reference.miscounted(&other).len(), 1, "{other:?}");
        }
        let varying = Reference::new(&trace("1", counts.clone()), &trace("1", map(&[("created a", 3)])));
        assert!(varying.miscounted(&map(&[("created a", 7)])).is_empty());
        assert_eq!(varying.miscounted(&map(&[("created b", 1)])).len(), 1);
    }
}
