//! What may happen in a state.

use model::Step;
use operator_kit::Turn;

use super::Cluster;
use super::carry::Fate;
use super::check::{decides_wrongly, foreign, has_foreign};
use super::values::{DRIVERS, is_shown, is_upgrading, number, parts, runs, version_of};
use super::world::{
    ASKERS, Answer, Asker, Budget, Label, Machine, NODES, Node, Object, Pending, Process, Set, State,
};
use crate::installer::model::Plan;
use crate::matrix::Driver;

/// Collects steps that change something.
struct Steps<'a> {
    from: &'a State,
    all: Vec<Step<State, Label>>,
}

impl Steps<'_> {
    fn add(&mut self, is_fault: bool, label: Label, next: State) {
        let next = normal(next);
        if next != *self.from {
            self.all.push(Step { is_fault, label, next });
        }
    }

    /// Adds what the system does.
    fn work(&mut self, is_possible: bool, label: Label, change: impl FnOnce(&mut State)) {
        if is_possible {
            let mut next = self.from.clone();
            change(&mut next);
            self.add(false, label, next);
        }
    }

    /// Adds what may happen and need not. `budget`: how often it may still happen.
    fn fault(
        &mut self,
        budget: impl Fn(&mut Budget) -> &mut u8,
        is_possible: bool,
        label: Label,
        change: impl FnOnce(&mut State) -> Option<()>,
    ) {
        let mut next = self.from.clone();
        let left = &mut next.budget;
        if !is_possible || left.faults == 0 || *budget(left) == 0 {
            return;
        }
        left.faults -= 1;
        *budget(left) -= 1;
        if change(&mut next).is_some() {
            self.add(true, label, next);
        }
    }
}

/// Returns a state without what no step can observe.
fn normal(mut state: State) -> State {
    if state.process.is_none() {
        state.cached = (state.askers, state.nodes);
    }
    if state.budget.old_lists == 0 || state.budget.faults == 0 {
        state.older = [Asker { exists: false, is_deleting: false, is_held: false, wish: 0, said: 0 }; ASKERS];
    }
    if state.budget.faults == 0 {
        state.budget = Budget::default();
    }
    state
}

impl State {
    /// Returns a cluster with two Nodes that wait for a cloud provider, and an operator that has just started. `wishes`: what is asked for.
    pub fn new(wishes: [Option<u8>; ASKERS], budget: Budget) -> Self {
        let askers = wishes.map(|wish| Asker {
            exists: wish.is_some(),
            is_deleting: false,
            is_held: false,
            wish: wish.unwrap_or_default(),
            said: 0,
        });
        let node = Node { is_initialized: false, is_registered: false, machine: Machine::Visible };
        let nodes = [Some(node), None];
        let begin = Self {
            askers,
            nodes,
            cached: (askers, nodes),
            older: askers,
            sets: [Set::default(); 3],
            has_volume: false,
            has_pod: false,
            vcenter: super::world::Vcenter { account: 0, accepts: true, is_reachable: true },
            matrix: 0,
            broken: None,
            process: Some(process()),
            budget,
            wrong: None,
        };
        normal(begin)
    }
}

fn process() -> Process {
    Process { memory: 0, answer: None, pending: [None; ASKERS], has_news: false }
}

impl Cluster {
    pub(super) fn all_steps(&self, state: &State) -> Vec<Step<State, Label>> {
        let mut steps = Steps { from: state, all: Vec::new() };
        self.operator_steps(state, &mut steps);
        driver_steps(state, &mut steps);
        vcenter_steps(state, &mut steps);
        steps.work(self.is_stuck(state), Label::Repaired, |next| next.broken = None);
        let is_quiet = steps.all.iter().all(|step| step.is_fault);
        steps.work(is_quiet, Label::Time, |next| self.time(next));
        steps.fault(
            |left| &mut left.times,
            !is_quiet,
            Label::TimePasses,
            |next| {
                self.time(next);
                Some(())
            },
        );
        self.people_steps(state, &mut steps);
        fault_steps(state, &mut steps);
        steps.all
    }

    /// Time passes: what is remembered gets old.
    fn time(&self, next: &mut State) {
        if let Some(process) = next.process.as_mut() {
            process.memory = self.operator.aged(process.memory);
            if let Some(answer) = process.answer.as_mut() {
                answer.is_old = true;
            }
        }
        for set in &mut next.sets {
            set.is_over = self.operator.record(set.notes).is_some_and(|record| is_upgrading(&record));
        }
        for node in next.nodes.iter_mut().chain(&mut next.cached.1).flatten() {
            if node.machine == Machine::Lost {
                node.machine = Machine::Missing;
            }
        }
    }

    fn operator_steps(&self, state: &State, steps: &mut Steps<'_>) {
        steps.work(state.process.is_none(), Label::Restart, |next| next.process = Some(process()));
        let older = (state.older, state.nodes);
        steps.fault(
            |left| &mut left.old_lists,
            state.process.is_none(),
            Label::RestartOnOldList,
            |next| {
                next.process = Some(process());
                next.cached = older;
                Some(())
            },
        );
        let Some(process) = state.process else { return };
        let is_current = state.cached == (state.askers, state.nodes);
        steps.work(!is_current, Label::Watch, |next| next.cached = (next.askers, next.nodes));
        steps.work(process.has_news, Label::Notice, |next| self.notice(next));
        steps.fault(
            |left| &mut left.crashes,
            true,
            Label::Crash,
            |next| {
                next.process = None;
                Some(())
            },
        );
        for asker in 0..ASKERS {
            if process.pending[asker].is_none() {
                if let Some(next) = self.observed(state, asker) {
                    steps.add(false, Label::Observe(asker), next);
                }
                continue;
            }
            if let Some(next) = self.carry(state, asker, Fate::Written) {
                steps.add(false, Label::Carry(asker), next);
            }
            for (fate, label) in
                [(Fate::Refused, Label::Refused(asker)), (Fate::Unanswered, Label::ReplyLost(asker))]
            {
                steps.fault(
                    |left| &mut left.refusals,
                    true,
                    label,
                    |next| {
                        let carried = self.carry(state, asker, fate)?;
                        let budget = next.budget;
                        *next = State { budget, ..carried };
                        Some(())
                    },
                );
            }
        }
    }

    /// The watches show what has become of the drivers' objects.
    fn notice(&self, next: &mut State) {
        if let Some(process) = next.process.as_mut() {
            process.has_news = false;
            process.memory = self.operator.remember(process.memory, |memory| {
                for driver in DRIVERS {
                    memory.look_at(driver);
                }
            });
        }
    }

    /// Observes and decides; `None` if nothing follows.
    pub(super) fn observed(&self, state: &State, asker: usize) -> Option<State> {
        let cached = state.cached.0[asker];
        if !cached.exists || (cached.is_deleting && !cached.is_held) {
            return None;
        }
        let mut next = state.clone();
        if !cached.is_held {
            // The request has the version that the cache has.
            if cached != state.askers[asker] {
                return None;
            }
            next.askers[asker].is_held = true;
            next.cached.0[asker].is_held = true;
            return Some(next);
        }
        let number = self.operator.pass(state, asker)?;
        let pass = self.operator.pass_of(number);
        match &pass.turn {
            Turn::Wait { .. } | Turn::Blocked { .. } | Turn::Settled => {
                self.report(&mut next, asker, number, None);
            }
            Turn::Gone if cached != state.askers[asker] => {}
            turn @ (Turn::Gone | Turn::Act(_) | Turn::LookAgain(_)) => {
                if let Turn::Act(Plan::Change { actions, .. }) = turn {
                    let wrong = |action| decides_wrongly(&self.operator, state, asker, action);
                    next.wrong = next.wrong.or(actions.iter().find_map(wrong));
                }
                next.process.as_mut()?.pending[asker] =
                    Some(Pending { pass: number, at: 0, stage: 0, is_confirmed: None, has_failed: false });
            }
        }
        (next != *state).then_some(next)
    }

    fn people_steps(&self, state: &State, steps: &mut Steps<'_>) {
        let older = state.askers;
        for at in 0..ASKERS {
            let asker = state.askers[at];
            let lives = asker.exists && !asker.is_deleting;
            steps.fault(
                |left| &mut left.deletes,
                lives,
                Label::Delete(at),
                |next| {
                    next.older = older;
                    next.askers[at].is_deleting = true;
                    if !asker.is_held {
                        next.askers[at].exists = false;
                    }
                    Some(())
                },
            );
            steps.fault(
                |left| &mut left.creates,
                !asker.exists,
                Label::Create(at),
                |next| {
                    next.older = older;
                    next.askers[at] =
                        Asker { exists: true, is_deleting: false, is_held: false, said: 0, ..asker };
                    Some(())
                },
            );
            for wish in self.wishes[at].iter().copied().filter(|wish| *wish != asker.wish) {
                steps.fault(
                    |left| &mut left.wishes,
                    asker.exists,
                    Label::Wish(at, wish),
                    |next| {
                        next.older = older;
                        next.askers[at].wish = wish;
                        Some(())
                    },
                );
            }
        }
        setting_steps(state, steps);
        edit_steps(state, steps);
    }
}

/// Adds what people do to matrix and account, and what begins to use the drivers.
fn setting_steps(state: &State, steps: &mut Steps<'_>) {
    let matrix = state.matrix;
    for driver in DRIVERS {
        steps.fault(
            |left| &mut left.breaks,
            matrix == 0 && state.broken.is_none(),
            Label::Broken(driver),
            |next| {
                next.broken = Some(driver);
                Some(())
            },
        );
    }
    let mut change = |is_possible: bool, label: Label, to: u8| {
        steps.fault(
            |left| &mut left.matrices,
            is_possible,
            label,
            |next| {
                next.matrix = to;
                Some(())
            },
        );
    };
    change(matrix == 0, Label::MatrixUp, 1);
    change(matrix == 1, Label::MatrixDown, 2);
    let can_rotate = state.vcenter.account == 0;
    steps.fault(
        |left| &mut left.accounts,
        can_rotate,
        Label::Rotate,
        |next| {
            (next.vcenter.account, next.vcenter.accepts) = (1, false);
            Some(())
        },
    );
    let [cni, _, csi] = &state.sets;
    let (has_storage, has_network) = (runs(Driver::Csi, csi, |_| true), runs(Driver::Cni, cni, |_| true));
    steps.fault(
        |left| &mut left.uses,
        has_storage || has_network,
        Label::Used,
        |next| {
            (next.has_volume, next.has_pod) = (has_storage, has_network);
            Some(())
        },
    );
}

/// Adds what others do to the drivers' objects, and what drivers they bring.
fn edit_steps(state: &State, steps: &mut Steps<'_>) {
    for driver in DRIVERS {
        let at = number(driver);
        let set = state.sets[at];
        steps.fault(
            |left| &mut left.notes,
            set.notes > 0,
            Label::NotesDeleted(driver),
            |next| {
                (next.sets[at].notes, next.sets[at].has_kinds) = (0, false);
                Some(())
            },
        );
        for part in parts(driver) {
            let is_there = set.parts[*part as usize].is_ours;
            steps.fault(
                |left| &mut left.edits,
                is_there,
                Label::ObjectDeleted(driver, *part),
                |next| {
                    next.sets[at].parts[*part as usize] = Object::default();
                    next.process.as_mut()?.has_news = true;
                    Some(())
                },
            );
        }
        let is_free = set == Set::default();
        steps.fault(
            |left| &mut left.foreign,
            is_free,
            Label::ForeignComes(driver),
            |next| {
                next.sets[at] = foreign(driver);
                Some(())
            },
        );
        steps.work(has_foreign(&set), Label::ForeignGoes(driver), |next| {
            for object in next.sets[at].parts.iter_mut().filter(|object| !object.is_ours) {
                *object = Object::default();
            }
        });
    }
}

/// Adds what the drivers do.
fn driver_steps(state: &State, steps: &mut Steps<'_>) {
    for driver in DRIVERS {
        let set = state.sets[number(driver)];
        let gets_ready = |object: &Object| {
            object.exists() && (state.broken != Some(driver) || version_of(object.content) == 0)
        };
        let is_behind = set.parts.iter().any(|object| gets_ready(object) && !object.is_ready);
        steps.work(is_behind, Label::Ready(driver), |next| {
            for object in next.sets[number(driver)].parts.iter_mut().filter(|object| gets_ready(object)) {
                object.is_ready = true;
            }
            if let Some(process) = next.process.as_mut() {
                process.has_news = true;
            }
        });
    }
    let has = |driver: Driver| runs(driver, &state.sets[number(driver)], |_| true);
    for (at, node) in state.nodes.iter().enumerate() {
        let Some(node) = node else { continue };
        let change = |next: &mut State, change: fn(&mut Node)| {
            if let Some(node) = next.nodes[at].as_mut() {
                change(node);
            }
        };
        let is_visible = node.machine == Machine::Visible;
        steps.work(has(Driver::Cpi) && is_visible && !node.is_initialized, Label::Initialize(at), |next| {
            change(next, |node| node.is_initialized = true);
        });
        steps.work(has(Driver::Csi) && !node.is_registered, Label::Register(at), |next| {
            change(next, |node| node.is_registered = true);
        });
        steps.work(!is_visible, Label::MachineBack(at), |next| {
            change(next, |node| node.machine = Machine::Visible);
        });
    }
    let is_used = state.has_volume || state.has_pod;
    steps.work(is_used, Label::Freed, |next| (next.has_volume, next.has_pod) = (false, false));
}

/// Adds what the vCenter and the controller of its connection do, and what becomes of the matrix.
fn vcenter_steps(state: &State, steps: &mut Steps<'_>) {
    let vcenter = state.vcenter;
    steps.work(!vcenter.accepts, Label::Accept, |next| next.vcenter.accepts = true);
    steps.work(!vcenter.is_reachable, Label::Reachable, |next| next.vcenter.is_reachable = true);
    steps.work(state.matrix == 2, Label::MatrixBack, |next| next.matrix = 1);
    let Some(process) = state.process else { return };
    let is_due = process
        .answer
        .is_none_or(|answer| answer.account != vcenter.account || answer.is_old || answer.is_asked);
    steps.work(is_due && vcenter.accepts && vcenter.is_reachable, Label::Ask, |next| {
        let mut shows = [false; NODES];
        for (shown, node) in shows.iter_mut().zip(next.nodes) {
            // The machine of a Node is there before the Node.
            *shown = node.is_none() || is_shown(node);
        }
        if let Some(process) = next.process.as_mut() {
            process.answer = Some(Answer { account: vcenter.account, shows, is_old: false, is_asked: false });
        }
    });
}

/// Adds what breaks.
fn fault_steps(state: &State, steps: &mut Steps<'_>) {
    let is_up = state.vcenter.is_reachable;
    steps.fault(
        |left| &mut left.outages,
        is_up,
        Label::Silent,
        |next| {
            next.vcenter.is_reachable = false;
            Some(())
        },
    );
    for at in 0..NODES {
        let node = state.nodes[at];
        steps.fault(
            |left| &mut left.nodes,
            node.is_none(),
            Label::NodeJoins(at),
            |next| {
                next.nodes[at] =
                    Some(Node { is_initialized: false, is_registered: false, machine: Machine::Visible });
                Some(())
            },
        );
        steps.fault(
            |left| &mut left.nodes,
            node.is_some(),
            Label::NodeLeaves(at),
            |next| {
                next.nodes[at] = None;
                Some(())
            },
        );
        steps.fault(
            |left| &mut left.machines,
            is_shown(node),
            Label::MachineLost(at),
            |next| {
                next.nodes[at].as_mut()?.machine = Machine::Lost;
                Some(())
            },
        );
    }
}
