//! The clone gate: how many clones may run at once, and whose turn it is.
//!
//! A vCenter queues what it cannot run, first come, first served, so without a gate a group of one
//! waits behind a group of two hundred. Pure: no clock, no I/O, no lock of its own.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Grants `limit` places to members of groups; a free place goes to the group that holds the fewest, and among
/// several such to the one that has waited longest since it came or had its last turn.
#[derive(Debug)]
pub struct Gate<G, M> {
    limit: usize,
    held: HashMap<M, G>,
    /// By turn: a group that was given a place goes to the end.
    waiting: VecDeque<(G, VecDeque<M>)>,
}

impl<G: Clone + Eq + Hash, M: Clone + Eq + Hash> Gate<G, M> {
    /// A gate with `limit` places; 0 counts as 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Asks for a place for `member`. True: it has one, and keeps it until [`Gate::leave`]. False: it
    /// stands in line and will be named by a later [`Gate::leave`].
    pub fn enter(&mut self, group: &G, member: &M) -> bool {
        if self.held.contains_key(member) {
            return true;
        }
        if self.waiting.is_empty() && self.held.len() < self.limit {
            self.held.insert(member.clone(), group.clone());
            return true;
        }
        match self.waiting.iter_mut().find(|(waiting, _)| waiting == group) {
            Some((_, line)) if line.contains(member) => {}
            Some((_, line)) => line.push_back(member.clone()),
            None => self.waiting.push_back((group.clone(), VecDeque::from([member.clone()]))),
        }
        false
    }

    /// Gives `member` a place, one too many if need be: what it is for is under way already.
    pub fn hold(&mut self, group: &G, member: &M) {
        self.held.insert(member.clone(), group.clone());
    }

    /// Gives up `member`'s place, and its place in the line. Returns who may go next: each already holds a place.
    #[must_use = "those named hold a place and must be woken"]
    pub fn leave(&mut self, member: &M) -> Vec<M> {
        self.held.remove(member);
        self.waiting.retain_mut(|(_, line)| {
            line.retain(|m| m != member);
            !line.is_empty()
        });
        let mut next = Vec::new();
        while self.held.len() < self.limit {
            let Some((group, mut line)) = self.neediest() else { break };
            if let Some(member) = line.pop_front() {
                self.held.insert(member.clone(), group.clone());
                next.push(member);
            }
            if !line.is_empty() {
                self.waiting.push_back((group, line));
            }
        }
        next
    }

    /// Places in use.
    #[cfg(test)]
    fn in_use(&self) -> usize {
        self.held.len()
    }

    /// Takes the waiting group that holds the fewest places out of the line; the first of them where several do.
    fn neediest(&mut self) -> Option<(G, VecDeque<M>)> {
        let mut holds: HashMap<&G, usize> = HashMap::new();
        for group in self.held.values() {
            *holds.entry(group).or_default() += 1;
        }
        let holds = |index: &usize| self.waiting.get(*index).and_then(|(group, _)| holds.get(group)).copied();
        let neediest = (0..self.waiting.len()).min_by_key(|index| holds(index).unwrap_or(0))?;
        self.waiting.remove(neediest)
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use proptest::prelude::*;

    #[test]
    fn a_small_group_does_not_wait_behind_a_large_one() {
        let mut gate = Gate::new(2);
        assert!(gate.enter(&"large", &1) && gate.enter(&"large", &2));
        for member in 3..100 {
            assert!(!gate.enter(&"large", &member));
        }
        assert!(!gate.enter(&"small", &200));
        assert_eq!(gate.leave(&1), [200]);
        assert_eq!(gate.leave(&200), [3]);
    }

    /// Where all wait that hold nothing, they take turns, whatever they are called.
    #[test]
    fn groups_that_hold_as_few_take_turns() {
        let mut gate = Gate::new(1);
        assert!(gate.enter(&"a", &0));
        for member in 1..100 {
            assert!(!gate.enter(&"a", &member));
        }
        assert!(!gate.enter(&"z", &200) && !gate.enter(&"m", &100) && !gate.enter(&"m", &101));
        let mut served = vec![0];
        while let [next] = gate.leave(&served[served.len() - 1])[..] {
            served.push(next);
        }
        assert_eq!(served[..6], [0, 1, 200, 100, 2, 101]);
        assert_eq!(served.len(), 103);
    }

    #[test]
    fn leaving_the_line_frees_nobodys_place() {
        let mut gate = Gate::new(1);
        assert!(gate.enter(&"g", &1));
        assert!(!gate.enter(&"g", &2) && !gate.enter(&"g", &3));
        assert!(gate.leave(&2).is_empty());
        assert_eq!(gate.leave(&1), [3]);
        assert!(gate.enter(&"g", &3), "who was named holds its place");
    }

    /// Its clone, of an earlier try, turns up while it stands in line for another.
    #[test]
    fn who_holds_a_place_and_stands_in_line_leaves_both() {
        let mut gate = Gate::new(1);
        assert!(gate.enter(&"g", &1) && !gate.enter(&"g", &2));
        gate.hold(&"g", &2);
        assert!(gate.leave(&2).is_empty());
        assert!(gate.leave(&1).is_empty(), "a place for somebody who has gone");
        assert!(gate.enter(&"g", &3));
    }

    proptest! {
        #[test]
        fn never_over_the_limit_and_nobody_is_forgotten(
            limit in 1usize..5,
            asks in prop::collection::vec((0u8..4, 0u16..40), 1..120),
        ) {
            let mut gate = Gate::new(limit);
            let mut running = Vec::new();
            let mut asked = std::collections::BTreeSet::new();
            let mut served = std::collections::BTreeSet::new();
            for (group, member) in asks {
                // A member belongs to one group.
                let member = (group, member);
                if !asked.insert(member) { continue }
                if gate.enter(&group, &member) { running.push(member); }
                prop_assert!(gate.in_use() <= limit);
                if running.len() == limit {
                    let done = running.remove(0);
                    served.insert(done);
                    running.extend(gate.leave(&done));
                }
            }
            while let Some(done) = running.pop() {
                served.insert(done);
                running.extend(gate.leave(&done));
            }
            prop_assert_eq!(served, asked);
        }
    }
}
