//! The system's steps between the states outside the goal, and the cycles among them.

use std::collections::{HashMap, HashSet, VecDeque};

/// A step: the number of its label and of the state after it.
pub(crate) type Edge = (u16, u32);

/// Steps by state, for states that are added in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Where each state's steps end in the two lists below.
    ends: Vec<usize>,
    labels: Vec<u16>,
    targets: Vec<u32>,
}

impl Graph {
    /// Adds the steps of the next state.
    pub(crate) fn push(&mut self, edges: &[Edge]) {
        self.labels.extend(edges.iter().map(|(label, _)| label));
        self.targets.extend(edges.iter().map(|(_, target)| target));
        self.ends.push(self.targets.len());
    }

    fn begin(&self, state: u32) -> usize {
        if state == 0 { 0 } else { self.ends[state as usize - 1] }
    }

    fn end(&self, state: u32) -> usize {
        self.ends[state as usize]
    }

    /// Returns the steps of a state.
    pub(crate) fn edges(&self, state: u32) -> impl Iterator<Item = Edge> + '_ {
        (self.begin(state)..self.end(state)).map(|at| (self.labels[at], self.targets[at]))
    }

    /// Finds the cycles outside the goal that a fair scheduler may follow without end; returns the states of the one whose
    /// first state was found earliest.
    ///
    /// A scheduler that visits all states of a strongly connected component without end is fair if every label is disabled in
    /// some state of it or taken inside. If one label is neither, it is neither in any part of the component, so no scheduler
    /// that stays inside is fair.
    pub(crate) fn find_livelock(&self, is_goal: &[bool]) -> Option<Vec<u32>> {
        let mut found: Option<Vec<u32>> = None;
        self.each_component(is_goal, |component| {
            let first = component.iter().min();
            let is_earlier = found.as_ref().is_none_or(|found| first < found.iter().min());
            if is_earlier && self.is_fair_cycle(component) {
                found = Some(component.to_vec());
            }
        });
        found
    }

    fn is_fair_cycle(&self, component: &[u32]) -> bool {
        let inside: HashSet<u32> = component.iter().copied().collect();
        let mut taken = HashSet::new();
        let mut always: Option<HashSet<u16>> = None;
        for state in component {
            let enabled: HashSet<u16> = self.edges(*state).map(|(label, _)| label).collect();
            taken
                .extend(self.edges(*state).filter(|(_, next)| inside.contains(next)).map(|(label, _)| label));
            always = Some(match always {
                None => enabled,
                Some(always) => &always & &enabled,
            });
        }
        !taken.is_empty() && always.is_none_or(|always| always.is_subset(&taken))
    }

    /// Returns the shortest cycle from `state` inside a component, by its steps.
    pub(crate) fn cycle(&self, state: u32, component: &[u32]) -> Vec<Edge> {
        let inside: HashSet<u32> = component.iter().copied().collect();
        let mut came: HashMap<u32, (u32, u16)> = HashMap::new();
        let mut queue = VecDeque::from([state]);
        while let Some(at) = queue.pop_front() {
            for (label, next) in self.edges(at).filter(|(_, next)| inside.contains(next)) {
                if next == state {
                    let mut steps = vec![(label, next)];
                    let mut back = at;
                    while back != state {
                        let (before, label) = came[&back];
                        steps.push((label, back));
                        back = before;
                    }
                    steps.reverse();
                    return steps;
                }
                came.entry(next).or_insert_with(|| {
                    queue.push_back(next);
                    (at, label)
                });
            }
        }
        Vec::new()
    }

    /// Calls `each` with every strongly connected component of the states outside the goal: Tarjan's algorithm without
    /// recursion.
    fn each_component(&self, is_goal: &[bool], mut each: impl FnMut(&[u32])) {
        const NEW: u32 = u32::MAX;
        let count = self.ends.len();
        let (mut order, mut low) = (vec![NEW; count], vec![NEW; count]);
        let mut is_open = vec![false; count];
        let (mut open, mut path): (Vec<u32>, Vec<(u32, usize)>) = (Vec::new(), Vec::new());
        let mut visited = 0;
        let roots = (0u32..).take(count).filter(|state| !is_goal[*state as usize]);
        for root in roots {
            if order[root as usize] != NEW {
                continue;
            }
            path.push((root, self.begin(root)));
            while let Some((state, edge)) = path.last_mut() {
                let (state, at) = (*state, *state as usize);
                if order[at] == NEW {
                    (order[at], low[at], is_open[at]) = (visited, visited, true);
                    visited += 1;
                    open.push(state);
                }
                if *edge < self.end(state) {
                    let next = self.targets[*edge];
                    *edge += 1;
                    let to = next as usize;
                    if is_goal[to] {
                    } else if order[to] == NEW {
                        path.push((next, self.begin(next)));
                    } else if is_open[to] {
                        low[at] = low[at].min(order[to]);
                    }
                    continue;
                }
                path.pop();
                if let Some((before, _)) = path.last() {
                    let before = *before as usize;
                    low[before] = low[before].min(low[at]);
                }
                if low[at] == order[at] {
                    let begin = open.iter().rposition(|held| *held == state).unwrap_or_default();
                    let component = open.split_off(begin);
                    for member in &component {
                        is_open[*member as usize] = false;
                    }
                    each(&component);
                }
            }
        }
    }
}
