//! The breadth-first search. Of a visited state it keeps a fingerprint of 64 bits, the number of the state that it was first
//! reached from and the number of the step; a trace is found again by these. Two states of one fingerprint count as one: at
//! 10 million states the odds of any such pair are 3 in a million.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::time::Instant;

use crate::graph::{Edge, Graph};
use crate::hash::Mixer;
use crate::report::{Defect, Report, TraceStep, Violation};
use crate::{Model, Step};

/// Visits every state that a model reaches, at most `limit`.
///
/// # Errors
/// The defect that was found first, with the shortest way to it. More states than `limit` are one as well.
pub fn explore<M: Model>(model: &M, limit: usize) -> Result<Report, Box<Violation>> {
    let mut search = Search::new(model, limit);
    let found = search.run();
    let mut report = search.report;
    report.elapsed = search.started.elapsed();
    match found {
        Ok(()) => Ok(report),
        Err(mut violation) => {
            violation.report = report;
            Err(violation)
        }
    }
}

/// A fingerprint is its own hash.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(state: &impl Hash) -> u64 {
    BuildHasherDefault::<Mixer>::default().hash_one(state)
}

/// How a state was first reached.
#[derive(Clone, Copy)]
struct Origin {
    /// The state before it; an initial state is its own.
    before: u32,
    /// The number of the step among those of the state before, or of the initial state.
    step: u16,
}

struct Search<'a, M: Model> {
    model: &'a M,
    limit: usize,
    started: Instant,
    numbers: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    origins: Vec<Origin>,
    is_goal: Vec<bool>,
    /// The states that were found and not expanded, in the order of their numbers, with their depth.
    waiting: VecDeque<(M::State, u32)>,
    graph: Graph,
    labels: HashMap<M::Label, u16>,
    report: Report,
}

type Found<T> = Result<T, Box<Violation>>;

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, limit: usize) -> Self {
        Self {
            model,
            limit: limit.min(u32::MAX as usize - 1),
            started: Instant::now(),
            numbers: HashMap::default(),
            origins: Vec::new(),
            is_goal: Vec::new(),
            waiting: VecDeque::new(),
            graph: Graph::default(),
            labels: HashMap::new(),
            report: Report::default(),
        }
    }

    fn run(&mut self) -> Found<()> {
        for (step, state) in (0u16..).zip(self.model.initial()) {
            let own = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
            self.visit(state, Origin { before: own, step }, 0)?;
        }
        let mut number = 0;
        while let Some((state, depth)) = self.waiting.pop_front() {
            self.report.depth = depth as usize;
            self.expand(number, &state, depth)?;
            number += 1;
        }
        let Some(component) = self.graph.find_livelock(&self.is_goal) else { return Ok(()) };
        let first = component.iter().copied().min().unwrap_or_default();
        let cycle = self.graph.cycle(first, &component);
        let mut violation = self.violation(Defect::Livelock(component.len()), first, None);
        self.follow(&mut violation, first, &cycle);
        Err(violation)
    }

    /// Returns the number of a state, which is a new one if it was not visited before.
    fn visit(&mut self, state: M::State, origin: Origin, depth: u32) -> Found<u32> {
        let next = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(fingerprint(&state)) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(free) => *free.insert(next),
        };
        self.origins.push(origin);
        self.report.states += 1;
        let is_goal = self.model.goal(&state);
        self.is_goal.push(is_goal);
        self.report.goals += usize::from(is_goal);
        if let Some(invariant) = self.model.broken(&state) {
            return Err(self.violation(Defect::Broken(invariant), next, None));
        }
        if self.report.states > self.limit {
            return Err(self.violation(Defect::LimitReached, next, None));
        }
        self.waiting.push_back((state, depth));
        Ok(next)
    }

    fn expand(&mut self, number: u32, state: &M::State, depth: u32) -> Found<()> {
        let is_goal = self.is_goal[number as usize];
        let mut edges: Vec<Edge> = Vec::new();
        let mut has_own = false;
        for (step, Step { is_fault, label, next }) in (0u16..).zip(self.model.steps(state)) {
            self.report.steps += 1;
            let to = self.visit(next, Origin { before: number, step }, depth + 1)?;
            if is_fault {
                continue;
            }
            has_own = true;
            if is_goal && !self.is_goal[to as usize] {
                return Err(self.violation(Defect::UnstableGoal, number, Some(step)));
            }
            if !is_goal {
                let count = u16::try_from(self.labels.len()).unwrap_or(u16::MAX);
                edges.push((*self.labels.entry(label).or_insert(count), to));
            }
        }
        if !is_goal && !has_own {
            return Err(self.violation(Defect::DeadEnd, number, None));
        }
        self.graph.push(&edges);
        Ok(())
    }

    // === traces ===

    /// Returns a violation with the shortest way to a state, and one step further.
    fn violation(&self, defect: Defect, number: u32, step: Option<u16>) -> Box<Violation> {
        let mut violation = Violation {
            defect,
            initial: String::new(),
            trace: Vec::new(),
            cycle: Vec::new(),
            report: Report::default(),
        };
        let (initial, mut steps) = self.way(number);
        steps.extend(step);
        let Some(mut state) = self.model.initial().into_iter().nth(initial.into()) else {
            violation.defect = Defect::NotDeterministic;
            return Box::new(violation);
        };
        violation.initial = self.model.describe(&state);
        for step in steps {
            let Some(taken) = self.model.steps(&state).into_iter().nth(step.into()) else {
                violation.defect = Defect::NotDeterministic;
                break;
            };
            violation.trace.push(self.describe(&taken));
            state = taken.next;
        }
        Box::new(violation)
    }

    /// Returns the number of the initial state from which a state was reached, and the numbers of the steps.
    fn way(&self, mut number: u32) -> (u16, Vec<u16>) {
        let mut steps = Vec::new();
        loop {
            let Origin { before, step } = self.origins[number as usize];
            if before == number {
                steps.reverse();
                return (step, steps);
            }
            steps.push(step);
            number = before;
        }
    }

    /// Adds the steps of a cycle from `number` to a violation.
    fn follow(&self, violation: &mut Violation, number: u32, cycle: &[Edge]) {
        let (initial, steps) = self.way(number);
        let mut state = self.model.initial().into_iter().nth(initial.into());
        for step in steps {
            state = state
                .and_then(|state| self.model.steps(&state).into_iter().nth(step.into()))
                .map(|step| step.next);
        }
        for (_, to) in cycle {
            let steps = state.iter().flat_map(|state| self.model.steps(state));
            let taken = steps
                .filter(|step| !step.is_fault)
                .find(|step| self.numbers.get(&fingerprint(&step.next)) == Some(to));
            violation.cycle.extend(taken.as_ref().map(|taken| self.describe(taken)));
            state = taken.map(|taken| taken.next);
        }
    }

    fn describe(&self, step: &Step<M::State, M::Label>) -> TraceStep {
        TraceStep {
            is_fault: step.is_fault,
            label: step.label.to_string(),
            state: self.model.describe(&step.next),
        }
    }
}
