//! The clone queue: how many clones may be in flight, and which instance is next.
//!
//! A vCenter runs what it cannot run at once first come, first served, so without this queue a group of one waits behind a
//! group of two hundred. Pure: no clock, no I/O, no lock of its own.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Neither in flight nor in the queue.
    #[default]
    None,
    /// In the queue.
    Waiting,
    /// May clone, or is cloning.
    Held,
}

/// Grants `limit` places to members of groups. A free place goes to the group that holds the fewest, and among several such
/// to the one that has waited longest since it came or was last served.
#[derive(Clone, Debug)]
pub struct CloneQueue<G, M> {
    limit: usize,
    held: HashMap<M, G>,
    /// The members in `lines`.
    waiting: HashSet<M>,
    /// Groups in the order in which they are served; one that was given a place goes to the end.
    lines: VecDeque<(G, VecDeque<M>)>,
}

impl<G: Clone + Eq + Hash, M: Clone + Eq + Hash> CloneQueue<G, M> {
    /// Creates a queue for `limit` clones at a time; 0 counts as 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: HashMap::new(), waiting: HashSet::new(), lines: VecDeque::new() }
    }

    /// Returns how many members wait, and how many hold a place.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.waiting.len(), self.held.len())
    }

    /// Returns where `member` stands.
    #[must_use]
    pub fn place(&self, member: &M) -> Place {
        if self.held.contains_key(member) {
            Place::Held
        } else if self.waiting.contains(member) {
            Place::Waiting
        } else {
            Place::None
        }
    }

    /// Gives `member` a place, or puts it into the queue; a later [`leave`](Self::leave) names it then.
    pub fn enter(&mut self, group: &G, member: &M) -> Place {
        match self.place(member) {
            Place::None if self.waiting.is_empty() && self.held.len() < self.limit => {
                self.held.insert(member.clone(), group.clone());
                Place::Held
            }
            Place::None => {
                self.waiting.insert(member.clone());
                match self.lines.iter_mut().find(|(waiting, _)| waiting == group) {
                    Some((_, line)) => line.push_back(member.clone()),
                    None => self.lines.push_back((group.clone(), VecDeque::from([member.clone()]))),
                }
                Place::Waiting
            }
            place => place,
        }
    }

    /// Gives `member` a place although it may be one too many: its clone is in flight already.
    pub fn hold(&mut self, group: &G, member: &M) {
        self.remove_waiting(member);
        self.held.insert(member.clone(), group.clone());
    }

    /// Takes `member`'s place, or its place in the queue. Returns the members that hold a place now and must be woken.
    #[must_use = "those named hold a place and must be woken"]
    pub fn leave(&mut self, member: &M) -> Vec<M> {
        self.held.remove(member);
        self.remove_waiting(member);
        let mut next = Vec::new();
        while self.held.len() < self.limit {
            let Some((group, mut line)) = self.take_neediest() else { break };
            if let Some(member) = line.pop_front() {
                self.waiting.remove(&member);
                self.held.insert(member.clone(), group.clone());
                next.push(member);
            }
            if !line.is_empty() {
                self.lines.push_back((group, line));
            }
        }
        next
    }

    fn remove_waiting(&mut self, member: &M) {
        if self.waiting.remove(member) {
            self.lines.retain_mut(|(_, line)| {
                line.retain(|m| m != member);
                !line.is_empty()
            });
        }
    }

    /// Takes the waiting group that holds the fewest places; the first of them where several do.
    fn take_neediest(&mut self) -> Option<(G, VecDeque<M>)> {
        let mut holds: HashMap<&G, usize> = HashMap::new();
        for group in self.held.values() {
            *holds.entry(group).or_default() += 1;
        }
        let holds = |index: &usize| self.lines.get(*index).and_then(|(group, _)| holds.get(group)).copied();
        let neediest = (0..self.lines.len()).min_by_key(|index| holds(index).unwrap_or(0))?;
        self.lines.remove(neediest)
    }
}

#[cfg(test)]
impl<G: std::fmt::Debug, M: Clone + Ord + std::fmt::Debug> CloneQueue<G, M> {
    /// Returns all that decides what comes next, for the model.
    pub fn text(&self) -> String {
        let held: std::collections::BTreeSet<_> = self.held.keys().collect();
        format!("{held:?} {:?}", self.lines)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_group_does_not_wait_behind_a_large_one() {
        let mut queue = CloneQueue::new(2);
        assert_eq!((queue.enter(&"large", &1), queue.enter(&"large", &2)), (Place::Held, Place::Held));
        for member in 3..100 {
            assert_eq!(queue.enter(&"large", &member), Place::Waiting);
        }
        assert_eq!(queue.enter(&"small", &200), Place::Waiting);
        assert_eq!(queue.depth(), (98, 2));
        assert_eq!(queue.leave(&1), [200]);
        assert_eq!(queue.leave(&200), [3]);
    }

    /// Where all groups that wait hold nothing, they are served in rotation, whatever they are called.
    #[test]
    fn groups_that_hold_as_few_are_served_in_rotation() {
        let mut queue = CloneQueue::new(1);
        assert_eq!(queue.enter(&"a", &0), Place::Held);
        for member in 1..100 {
            queue.enter(&"a", &member);
        }
        queue.enter(&"z", &200);
        queue.enter(&"m", &100);
        queue.enter(&"m", &101);
        let mut served = vec![0];
        while let [next] = queue.leave(&served[served.len() - 1])[..] {
            served.push(next);
        }
        assert_eq!(served[..6], [0, 1, 200, 100, 2, 101]);
        assert_eq!(served.len(), 103);
    }

    #[test]
    fn leaving_the_queue_frees_no_place() {
        let mut queue = CloneQueue::new(1);
        queue.enter(&"g", &1);
        queue.enter(&"g", &2);
        queue.enter(&"g", &3);
        assert!(queue.leave(&2).is_empty());
        assert_eq!(queue.leave(&1), [3]);
        assert_eq!(queue.place(&3), Place::Held);
    }

    /// The clone of an earlier attempt appears while the instance waits for another.
    #[test]
    fn a_member_that_holds_a_place_does_not_wait_for_one() {
        let mut queue = CloneQueue::new(1);
        queue.enter(&"g", &1);
        queue.enter(&"g", &2);
        queue.hold(&"g", &2);
        assert!(queue.leave(&2).is_empty());
        assert!(queue.leave(&1).is_empty(), "a place for a member that has left");
        assert_eq!(queue.enter(&"g", &3), Place::Held);
    }

    proptest! {
        #[test]
        fn never_over_the_limit_and_no_member_is_lost(
            limit in 1usize..5,
            asks in prop::collection::vec((0u8..4, 0u16..40), 1..120),
        ) {
            let mut queue = CloneQueue::new(limit);
            let mut running = Vec::new();
            let mut asked = std::collections::BTreeSet::new();
            let mut served = std::collections::BTreeSet::new();
            for (group, member) in asks {
                // A member belongs to one group.
                let member = (group, member);
                if !asked.insert(member) { continue }
                let place = queue.enter(&group, &member);
                prop_assert_eq!(place, queue.place(&member));
                if place == Place::Held { running.push(member); }
                prop_assert!(queue.held.len() <= limit);
                if running.len() == limit {
                    let done = running.remove(0);
                    served.insert(done);
                    running.extend(queue.leave(&done));
                }
            }
            while let Some(done) = running.pop() {
                served.insert(done);
                running.extend(queue.leave(&done));
            }
            prop_assert_eq!(served, asked);
        }
    }
}
