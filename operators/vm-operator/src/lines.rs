//! Lines: what waits, by group and namespace, and who is next.
//!
//! Owns the fairness between tenants, for the clone queue and the queue of requests. Pure: no clock, no I/O, no lock of its own.

use std::collections::{HashMap, VecDeque};

/// A group: its namespace, and its UID.
pub type GroupId = (String, String);

/// What waits. The next is of the namespace that holds the fewest places, and in it of the group that does; among several such, of
/// the one that has waited longest since it came or was last served.
#[derive(Clone, Debug)]
pub struct Lines<T>(VecDeque<(String, Groups<T>)>);

/// The groups of a namespace, by UID, in the order in which they are served. None is empty.
type Groups<T> = VecDeque<(String, VecDeque<T>)>;

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Lines<T> {
    /// Adds what waits for a group.
    pub fn push(&mut self, (namespace, group): &GroupId, item: T) {
        entry(entry(&mut self.0, namespace), group).push_back(item);
    }

    /// Takes the next item, and its group; `None` if each group that waits, or its namespace, holds as many places as it may, or
    /// nothing waits.
    pub fn pop(&mut self, held: &Held, most: Most) -> Option<(GroupId, T)> {
        let may_have = |group: &str| held.by_group(group) < most.group;
        let namespaces = self.0.iter().enumerate();
        let namespaces =
            namespaces.filter(|(_, (namespace, _))| held.by_namespace(namespace) < most.namespace);
        let served = namespaces.filter(|(_, (_, groups))| groups.iter().any(|(group, _)| may_have(group)));
        let (at, _) = served.min_by_key(|(_, (namespace, _))| held.by_namespace(namespace))?;
        let (namespace, mut groups) = self.0.remove(at)?;
        let served = groups.iter().enumerate().filter(|(_, (group, _))| may_have(group));
        let next = served.min_by_key(|(_, (group, _))| held.by_group(group)).map(|(at, _)| at);
        let next = next.and_then(|at| groups.remove(at)).and_then(|(group, mut line)| {
            let item = line.pop_front()?;
            if !line.is_empty() {
                groups.push_back((group.clone(), line));
            }
            Some(((namespace.clone(), group), item))
        });
        if !groups.is_empty() {
            self.0.push_back((namespace, groups));
        }
        next
    }

    /// Drops the items that this rejects; whether there were any.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> bool {
        let before = self.len();
        self.0.retain_mut(|(_, groups)| {
            groups.retain_mut(|(_, line)| {
                line.retain(&keep);
                !line.is_empty()
            });
            !groups.is_empty()
        });
        self.len() < before
    }

    /// Returns how many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().flat_map(|(_, groups)| groups).map(|(_, line)| line.len()).sum()
    }
}

/// Returns the entry of this name, which is the last if it is new.
fn entry<'a, V: Default>(entries: &'a mut VecDeque<(String, V)>, name: &str) -> &'a mut V {
    let at = entries.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        entries.push_back((name.to_owned(), V::default()));
        entries.len() - 1
    });
    &mut entries[at].1
}

/// How many places one group, and one namespace, may hold.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// A group.
    pub group: usize,
    /// All groups of a namespace.
    pub namespace: usize,
}

/// How many places groups and namespaces hold.
#[derive(Clone, Debug, Default)]
pub struct Held {
    groups: HashMap<String, usize>,
    namespaces: HashMap<String, usize>,
}

impl Held {
    /// Counts a place.
    pub fn add(&mut self, (namespace, group): &GroupId) {
        *self.groups.entry(group.clone()).or_default() += 1;
        *self.namespaces.entry(namespace.clone()).or_default() += 1;
    }

    /// Counts a place of the group that its namespace does not hold: others may have it.
    pub fn add_to_group(&mut self, (_, group): &GroupId) {
        *self.groups.entry(group.clone()).or_default() += 1;
    }

    /// Counts a place that was given back.
    pub fn remove(&mut self, (namespace, group): &GroupId) {
        take(&mut self.groups, group);
        take(&mut self.namespaces, namespace);
    }

    fn by_group(&self, group: &str) -> usize {
        self.groups.get(group).copied().unwrap_or(0)
    }

    fn by_namespace(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).copied().unwrap_or(0)
    }
}

fn take(counts: &mut HashMap<String, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(namespace: &str, name: &str) -> GroupId {
        (namespace.to_owned(), name.to_owned())
    }

    /// Serves everything one after the other, each holding a place until `places` others do.
    fn served(mut lines: Lines<&'static str>, places: usize, most: usize) -> Vec<&'static str> {
        let most = Most { group: most, namespace: usize::MAX };
        let (mut held, mut holders, mut served) = (Held::default(), VecDeque::new(), Vec::new());
        loop {
            if holders.len() == places {
                held.remove(&holders.pop_front().unwrap());
            }
            let Some((group, item)) = lines.pop(&held, most) else { return served };
            held.add(&group);
            holders.push_back(group);
            served.push(item);
        }
    }

    #[test]
    fn a_namespace_of_many_groups_does_not_make_another_wait() {
        let mut lines = Lines::default();
        let hogs = ["a0", "a1", "a2", "a3", "a4", "a5"];
        for hog in hogs {
            lines.push(&group("a", hog), hog);
        }
        lines.push(&group("b", "b0"), "b0");
        lines.push(&group("b", "b0"), "b0 again");
        assert_eq!(lines.len(), 8);
        for places in [1, 3] {
            let order = served(lines.clone(), places, 8);
            assert_eq!(order[..4], ["a0", "b0", "a1", "b0 again"], "{places}");
            assert_eq!(order[4..], ["a2", "a3", "a4", "a5"], "{places}");
        }
    }

    #[test]
    fn groups_of_a_namespace_take_turns() {
        let mut lines = Lines::default();
        for (name, item) in [("x", "x0"), ("x", "x1"), ("x", "x2"), ("y", "y0"), ("y", "y1")] {
            lines.push(&group("a", name), item);
        }
        assert_eq!(served(lines, 1, 8), ["x0", "y0", "x1", "y1", "x2"]);
    }

    #[test]
    fn a_group_never_holds_more_than_its_share() {
        let (mut lines, mut held) = (Lines::default(), Held::default());
        let (hog, other) = (group("a", "hog"), group("a", "other"));
        for item in ["h0", "h1", "h2"] {
            lines.push(&hog, item);
        }
        let most = Most { group: 2, namespace: usize::MAX };
        let mut pop = |held: &Held| lines.pop(held, most).map(|(_, item)| item);
        held.add(&hog);
        held.add(&hog);
        assert_eq!(pop(&held), None, "it holds two");
        held.remove(&hog);
        held.add(&other);
        assert_eq!((pop(&held), pop(&held)), (Some("h0"), Some("h1")));
    }

    /// No place is given back.
    #[test]
    fn a_namespace_never_holds_more_than_its_share() {
        let most = Most { group: 2, namespace: 3 };
        for (what, before, wanted) in [
            ("nothing is held", vec![], vec!["a0", "b0", "a1", "b1", "a2"]),
            ("its groups hold all that it may", vec!["a0", "a1", "a9"], vec!["b0", "b1"]),
            ("a group holds all that it may", vec!["a0", "a0"], vec!["b0", "b1", "a1"]),
            ("a group holds more than the namespace has left", vec!["a1", "a9"], vec!["b0", "b1", "a0"]),
        ] {
            let (mut lines, mut held) = (Lines::default(), Held::default());
            for item in ["a0", "a1", "a2", "a3", "b0", "b1"] {
                lines.push(&group(&item[..1], item), item);
            }
            for name in before {
                held.add(&group(&name[..1], name));
            }
            let mut served = Vec::new();
            while let Some((group, item)) = lines.pop(&held, most) {
                held.add(&group);
                served.push(item);
            }
            assert_eq!(served, wanted, "{what}");
        }
    }

    #[test]
    fn what_is_dropped_is_not_served() {
        let mut lines = Lines::default();
        lines.push(&group("a", "x"), "x0");
        lines.push(&group("a", "y"), "y0");
        assert!(lines.retain(|item| *item != "x0") && !lines.retain(|item| *item != "x0"));
        assert_eq!(served(lines, 1, 1), ["y0"]);
    }
}
