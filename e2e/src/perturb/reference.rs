//! What every run must end like: what two clean runs have in common.

use std::collections::{BTreeMap, BTreeSet};

use testbed::Record;

use crate::snapshot::{Mask, Snapshot};

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
    mask: Mask,
}

impl Reference {
    pub(super) fn new(first: &Trace, second: &Trace) -> Self {
        let mask = Mask::between(first.steps.iter().zip(&second.steps));
        let varying = differing(&first.counts, &second.counts).cloned().collect();
        Self { steps: first.steps.clone(), counts: first.counts.clone(), varying, mask }
    }

    /// Returns how a state differs from the one at the end of a step.
    pub(super) fn differences(&self, step: usize, state: &Snapshot) -> Vec<String> {
        let none = Snapshot::default();
        self.mask.differences(self.steps.get(step).unwrap_or(&none), state)
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

    /// Returns what is not compared.
    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }
}

/// Returns the names that have not the same number in both.
fn differing<'a>(first: &'a Numbers, second: &'a Numbers) -> impl Iterator<Item = &'a String> {
    let names: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    names.into_iter().filter(|name| first.get(*name) != second.get(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(entries: &[(&str, u64)]) -> Numbers {
        entries.iter().map(|(name, number)| ((*name).to_owned(), *number)).collect()
    }

    fn trace(counts: Numbers) -> Trace {
        Trace { steps: Vec::new(), counts, record: Record::default() }
    }

    #[test]
    fn more_and_fewer_changes_are_noticed() {
        let counts = numbers(&[("created a", 2)]);
        let reference = Reference::new(&trace(counts.clone()), &trace(counts.clone()));
        assert!(reference.miscounted(&counts).is_empty());
        for other in
            [numbers(&[("created a", 1)]), numbers(&[]), numbers(&[("created a", 2), ("created b", 1)])]
        {
            assert_eq!(reference.miscounted(&other).len(), 1, "{other:?}");
        }
        let varying = Reference::new(&trace(counts.clone()), &trace(numbers(&[("created a", 3)])));
        assert!(varying.miscounted(&numbers(&[("created a", 7)])).is_empty());
        assert_eq!(varying.miscounted(&numbers(&[("created b", 1)])).len(), 1);
    }
}
