//! The clone queue: how many clones may be in flight, and which instance is next.
//!
//! A vCenter runs what it cannot run at once first come, first served, so without this queue a group of one waits behind a
//! group of two hundred. A clone that does not end gives its place up, so that one group's clones stop no other group. Pure:
//! no clock, no I/O, no lock of its own.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::lines::{GroupId, Held, Lines, Most};

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

/// Grants `limit` places to members of groups, in the order of [`Lines`]. A group never has more than `limit` clones, those
/// included that have given their place up.
#[derive(Clone, Debug)]
pub struct CloneQueue<M> {
    limit: usize,
    held: HashMap<M, GroupId>,
    /// The members that gave their place up, and are still cloning.
    overdue: HashMap<M, GroupId>,
    /// The members in `lines`.
    waiting: HashSet<M>,
    lines: Lines<M>,
}

impl<M: Clone + Eq + Hash> CloneQueue<M> {
    /// Creates a queue for `limit` clones at a time; 0 counts as 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            held: HashMap::new(),
            overdue: HashMap::new(),
            waiting: HashSet::new(),
            lines: Lines::default(),
        }
    }

    /// Returns how many members wait, and how many are cloning.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        (self.waiting.len(), self.held.len() + self.overdue.len())
    }

    /// Returns where `member` stands.
    #[must_use]
    pub fn place(&self, member: &M) -> Place {
        if self.held.contains_key(member) || self.overdue.contains_key(member) {
            Place::Held
        } else if self.waiting.contains(member) {
            Place::Waiting
        } else {
            Place::None
        }
    }

    /// Gives `member` a place, or puts it into the queue; a later [`leave`](Self::leave) names it then.
    pub fn enter(&mut self, group: &GroupId, member: &M) -> Place {
        if self.place(member) == Place::None {
            self.waiting.insert(member.clone());
            self.lines.push(group, member.clone());
            // Others that wait although a place is free are of groups that have as many clones as they may.
            self.grant();
        }
        self.place(member)
    }

    /// Gives `member` a place although it may be one too many: its clone is in flight already.
    pub fn hold(&mut self, group: &GroupId, member: &M) {
        self.remove_waiting(member);
        if !self.overdue.contains_key(member) {
            self.held.insert(member.clone(), group.clone());
        }
    }

    /// Takes `member`'s place, or its place in the queue. Returns the members that hold a place now and must be woken.
    #[must_use = "those named hold a place and must be woken"]
    pub fn leave(&mut self, member: &M) -> Vec<M> {
        self.held.remove(member);
        self.overdue.remove(member);
        self.remove_waiting(member);
        self.grant()
    }

    /// Gives `member`'s place to another, although its clone is still in flight. Returns the members that hold a place now
    /// and must be woken.
    #[must_use = "those named hold a place and must be woken"]
    pub fn expire(&mut self, member: &M) -> Vec<M> {
        let Some(group) = self.held.remove(member) else { return Vec::new() };
        self.overdue.insert(member.clone(), group);
        self.grant()
    }

    /// Has `to` stand where `member` stood, if that was cloning.
    pub fn rename(&mut self, member: &M, to: &M) {
        for places in [&mut self.held, &mut self.overdue] {
            if let Some(group) = places.remove(member) {
                places.insert(to.clone(), group);
            }
        }
    }

    /// Returns the members of other groups than the one of this UID that hold a place.
    pub fn held_by_others(&self, group_uid: &str) -> impl Iterator<Item = &M> {
        self.held.iter().filter(move |(_, (_, uid))| uid != group_uid).map(|(member, _)| member)
    }

    /// Gives free places away, and returns the members that hold one now.
    fn grant(&mut self) -> Vec<M> {
        let mut next = Vec::new();
        let most = Most { group: self.limit, namespace: self.limit };
        while self.held.len() < self.limit {
            let mut places = Held::default();
            self.held.values().for_each(|group| places.add(group));
            self.overdue.values().for_each(|group| places.add_to_group(group));
            let Some((group, member)) = self.lines.pop(&places, most) else { break };
            self.waiting.remove(&member);
            self.held.insert(member.clone(), group);
            next.push(member);
        }
        next
    }

    fn remove_waiting(&mut self, member: &M) {
        if self.waiting.remove(member) {
            self.lines.retain(|waiting| waiting != member);
        }
    }
}

#[cfg(test)]
impl<M: Clone + Ord + std::fmt::Debug> CloneQueue<M> {
    /// Returns all that decides what comes next, for the model.
    pub fn text(&self) -> String {
        let held: std::collections::BTreeSet<_> = self.held.keys().collect();
        let overdue: std::collections::BTreeSet<_> = self.overdue.keys().collect();
        format!("{held:?} {overdue:?} {:?}", self.lines)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A group in a namespace of its own.
    fn group(name: &str) -> GroupId {
        (name.to_owned(), name.to_owned())
    }

    #[test]
    fn a_small_group_does_not_wait_behind_a_large_one() {
        let mut queue = CloneQueue::new(2);
        assert_eq!(
            (queue.enter(&group("large"), &1), queue.enter(&group("large"), &2)),
            (Place::Held, Place::Held)
        );
        for member in 3..100 {
            assert_eq!(queue.enter(&group("large"), &member), Place::Waiting);
        }
        assert_eq!(queue.enter(&group("small"), &200), Place::Waiting);
        assert_eq!(queue.depth(), (98, 2));
        assert_eq!(queue.leave(&1), [200]);
        assert_eq!(queue.leave(&200), [3]);
    }

    /// A tenant with many groups has no more clones than one with a single group.
    #[test]
    fn namespaces_have_as_many_clones_whatever_the_number_of_their_groups() {
        let mut queue = CloneQueue::new(4);
        for member in 0..100 {
            queue.enter(&("hog".to_owned(), format!("group-{member}")), &member);
        }
        for member in 100..110 {
            queue.enter(&group("small"), &member);
        }
        let served: Vec<_> = (0..4).flat_map(|member| queue.leave(&member)).collect();
        assert_eq!(served, [100, 101, 4, 5]);
    }

    /// Where all groups that wait hold nothing, they are served in rotation, whatever they are called.
    #[test]
    fn groups_that_hold_as_few_are_served_in_rotation() {
        let mut queue = CloneQueue::new(1);
        assert_eq!(queue.enter(&group("a"), &0), Place::Held);
        for member in 1..100 {
            queue.enter(&group("a"), &member);
        }
        queue.enter(&group("z"), &200);
        queue.enter(&group("m"), &100);
        queue.enter(&group("m"), &101);
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
        queue.enter(&group("g"), &1);
        queue.enter(&group("g"), &2);
        queue.enter(&group("g"), &3);
        assert!(queue.leave(&2).is_empty());
        assert_eq!(queue.leave(&1), [3]);
        assert_eq!(queue.place(&3), Place::Held);
    }

    /// The clone of an earlier attempt appears while the instance waits for another.
    #[test]
    fn a_member_that_holds_a_place_does_not_wait_for_one() {
        let mut queue = CloneQueue::new(1);
        queue.enter(&group("g"), &1);
        queue.enter(&group("g"), &2);
        queue.hold(&group("g"), &2);
        assert!(queue.leave(&2).is_empty());
        assert!(queue.leave(&1).is_empty(), "a place for a member that has left");
        assert_eq!(queue.enter(&group("g"), &3), Place::Held);
    }

    /// The clones of one group hang: the others clone, and the group itself clones no more than it may.
    #[test]
    fn an_overdue_clone_holds_no_place_and_counts_for_its_group() {
        let mut queue = CloneQueue::new(2);
        for member in 1..=4 {
            queue.enter(&group("hog"), &member);
        }
        assert_eq!(queue.enter(&group("small"), &10), Place::Waiting);
        assert_eq!(queue.held_by_others("small").count(), 2);
        assert_eq!(queue.expire(&1), [10], "the group that has the fewest clones");
        assert!(queue.expire(&1).is_empty() && queue.expire(&3).is_empty(), "they hold no place");
        assert!(queue.expire(&2).is_empty(), "the hog has as many clones as it may");
        assert_eq!(queue.enter(&group("other"), &20), Place::Held, "although others wait");
        assert_eq!((queue.place(&1), queue.place(&3)), (Place::Held, Place::Waiting));
        queue.hold(&group("hog"), &1);
        assert_eq!(queue.depth(), (2, 4), "it holds no place again");
        assert!(queue.leave(&1).is_empty(), "no place is free");
        assert_eq!(queue.leave(&10), [3]);
    }

    /// Nor do they delay other groups of their namespace.
    #[test]
    fn overdue_clones_delay_no_other_group_of_their_namespace() {
        let (hog, web) = (("a".to_owned(), "hog".to_owned()), ("a".to_owned(), "web".to_owned()));
        let mut queue = CloneQueue::new(2);
        queue.enter(&hog, &1);
        queue.enter(&hog, &2);
        queue.enter(&web, &10);
        for member in 20..40 {
            queue.enter(&group("b"), &member);
        }
        // The namespace has one place until the second is free.
        assert_eq!((queue.expire(&1), queue.expire(&2)), (vec![20], vec![10]));
    }

    /// The instance is gone, another of its name comes, and the clone goes on.
    #[test]
    fn a_place_is_held_under_another_name() {
        let mut queue = CloneQueue::new(1);
        queue.enter(&group("g"), &1);
        queue.rename(&1, &2);
        queue.rename(&7, &8);
        assert_eq!(
            (queue.place(&1), queue.place(&2), queue.place(&8)),
            (Place::None, Place::Held, Place::None)
        );
        assert_eq!(queue.enter(&group("g"), &1), Place::Waiting);
        assert_eq!(queue.leave(&2), [1]);
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
                let place = queue.enter(&self::group(&group.to_string()), &member);
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
