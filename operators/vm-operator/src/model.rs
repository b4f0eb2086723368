//! A model of vm-operator for the explorer, `crates/model`: the operator's own `observe`, `plan`, `apply` and `status` of both
//! controllers and its own memory, between an API server and a vCenter that are models. docs/testing.md describes it.
//!
//! ```text
//! world ── states and labels          process ── runs the operator's functions on tables and shown
//! steps, writes ── what may happen    shown ── the inventory of a process
//! check ── invariants and goal        kubernetes, vcenter ── the two servers
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs, reason = "tests")]

mod check;
mod describe;
mod environment;
mod events;
mod kubernetes;
mod normal;
mod process;
mod servers;
mod shown;
mod steps;
mod tables;
mod tests;
mod vcenter;
mod world;
mod writes;

use std::cell::RefCell;
use std::rc::Rc;

use model::{Map, Model, Step};
use normal::Mentions;

use events::Event;
use kubernetes::{Group, Instance, Objects, SLOTS, group_of};
use process::{End, For, GroupPass, InstancePass, Remembered, View};
use shown::{Shown, Update};
use tables::{Table, Tables};
use vcenter::Call;
use world::{Config, Label, Process, State};

/// What a pass of an instance leads to, in numbers.
#[derive(Clone, Copy)]
struct Pass {
    memory: u32,
    refused: Option<u32>,
    shown: u32,
    end: End,
    overclaims: bool,
}

/// What a pass of the group leads to.
#[derive(Clone)]
struct GroupResult {
    memory: u32,
    refused: Option<u32>,
    pass: Rc<GroupPass>,
}

/// The memory after a request was taken from the queue, and the request if it is still needed.
type Taken = (u32, Option<(For, Call)>);

/// What a process is to a pass of its group.
type Key = (u32, u32, Objects, bool);

/// What a process is to a pass of an instance: its memory and inventory, whether it polls, its group as far as an instance sees
/// it, the instance, and the tasks that statuses name.
type InstanceKey = (u32, u32, bool, Option<(bool, bool)>, Instance, [Option<u8>; SLOTS]);

/// The operator as a model. Each function of a process is called once for each of its states.
pub struct Operator {
    config: Config,
    /// Where the exploration begins.
    start: RefCell<Option<State>>,
    pub tables: Tables,
    shown: RefCell<Table<Shown, Shown>>,
    memories: RefCell<Table<String, Remembered>>,
    shown_mentions: RefCell<Vec<Mentions>>,
    memory_mentions: RefCell<Vec<(Mentions, bool)>>,
    updates: RefCell<Map<(u32, Update), u32>>,
    events: RefCell<Map<(u32, Event), u32>>,
    passes: RefCell<Map<InstanceKey, Pass>>,
    group_passes: RefCell<Map<Key, GroupResult>>,
    sends: RefCell<Map<Key, Option<Taken>>>,
}

impl Operator {
    pub fn new(config: Config) -> Self {
        let operator = Self {
            config,
            start: RefCell::default(),
            tables: Tables::default(),
            shown: RefCell::default(),
            memories: RefCell::default(),
            shown_mentions: RefCell::default(),
            memory_mentions: RefCell::default(),
            updates: RefCell::default(),
            events: RefCell::default(),
            passes: RefCell::default(),
            group_passes: RefCell::default(),
            sends: RefCell::default(),
        };
        operator.show(Shown::default());
        operator.remember(Remembered::new());
        operator
    }

    fn shown(&self, number: u32) -> Rc<Shown> {
        self.shown.borrow().get(number)
    }

    fn remembered(&self, number: u32) -> Rc<Remembered> {
        self.memories.borrow().get(number)
    }

    fn remember(&self, remembered: Remembered) -> u32 {
        let text = remembered.text();
        let mentions = (Mentions::of_text(&text), !remembered.memory.requests.is_empty());
        let number = self.memories.borrow_mut().number(text, || remembered);
        let mut known = self.memory_mentions.borrow_mut();
        if known.len() == number as usize {
            known.push(mentions);
        }
        number
    }

    fn show(&self, shown: Shown) -> u32 {
        let mut mentions = Mentions::default();
        mentions.add_shown(&shown);
        let number = self.shown.borrow_mut().number(shown.clone(), || shown);
        let mut known = self.shown_mentions.borrow_mut();
        if known.len() == number as usize {
            known.push(mentions);
        }
        number
    }

    fn mentions_of_shown(&self, shown: u32) -> Mentions {
        self.shown_mentions.borrow()[shown as usize]
    }

    fn mentions_of_memory(&self, memory: u32) -> Mentions {
        self.memory_mentions.borrow()[memory as usize].0
    }

    fn has_request(&self, process: &Process) -> bool {
        self.memory_mentions.borrow()[process.memory as usize].1
    }

    /// Returns the number of what an inventory shows after an update.
    fn update(&self, shown: u32, update: Update) -> u32 {
        if let Some(known) = self.updates.borrow().get(&(shown, update)) {
            return *known;
        }
        let after = self.shown(shown).after(update);
        let number = self.show(after);
        self.updates.borrow_mut().insert((shown, update), number);
        number
    }

    /// Returns the number of what is remembered after an event.
    fn event(&self, memory: u32, event: Event) -> u32 {
        if let Some(known) = self.events.borrow().get(&(memory, event)) {
            return *known;
        }
        let number = self.remember(self.remembered(memory).after(event));
        self.events.borrow_mut().insert((memory, event), number);
        number
    }

    fn key(process: &Process) -> Key {
        (process.memory, process.shown, process.cache, process.poll.is_some())
    }

    fn view<R>(&self, process: &Process, f: impl FnOnce(&View<'_>, &Remembered) -> R) -> R {
        let shown = self.shown(process.shown);
        let (objects, is_polling) = (process.cache, process.poll.is_some());
        let view = View { tables: &self.tables, objects, shown: &shown, is_polling };
        f(&view, &self.remembered(process.memory))
    }

    /// Runs a pass of the instance in a slot; `None` if the cache has none.
    fn pass(&self, process: &Process, slot: u8) -> Option<Pass> {
        let instance = process.cache.instances[usize::from(slot)]?;
        let tasks = process.cache.instances.map(|instance| self.tables.status(instance?.status).task);
        let group = process.cache.group.filter(|group| group.number == group_of(instance.number));
        let group = group.map(|group| (group.deleting, has_surplus(process, group)));
        let key = (process.memory, process.shown, process.poll.is_some(), group, instance, tasks);
        if let Some(known) = self.passes.borrow().get(&key) {
            return Some(*known);
        }
        let InstancePass { remembered, refused, updates, end, overclaims } =
            self.view(process, |view, remembered| view.reconcile_instance(remembered, instance));
        let shown = updates.iter().fold(process.shown, |shown, update| self.update(shown, *update));
        let refused = refused.map(|refused| self.remember(refused));
        let pass = Pass { memory: self.remember(remembered), refused, shown, end, overclaims };
        self.passes.borrow_mut().insert(key, pass);
        Some(pass)
    }

    /// Runs a pass of the group; `None` if the cache has none.
    fn group_pass(&self, process: &Process) -> Option<GroupResult> {
        let group = process.cache.group?;
        let key = Self::key(process);
        if let Some(known) = self.group_passes.borrow().get(&key) {
            return Some(known.clone());
        }
        let mut pass = self.view(process, |view, remembered| view.reconcile_group(remembered, group));
        let remembered = std::mem::replace(&mut pass.remembered, Remembered::new());
        let refused = pass.refused.take().map(|refused| self.remember(refused));
        let result = GroupResult { memory: self.remember(remembered), refused, pass: Rc::new(pass) };
        self.group_passes.borrow_mut().insert(key, result.clone());
        Some(result)
    }

    /// Takes the next request from the queue; `None` if there is none.
    fn next_request(&self, process: &Process) -> Option<Taken> {
        if !self.has_request(process) {
            return None;
        }
        let key = Self::key(process);
        if let Some(known) = self.sends.borrow().get(&key) {
            return *known;
        }
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is for one lifetime of the view"
        )]
        let sent = self.view(process, |view, remembered| view.send(remembered));
        let sent = sent.map(|(remembered, sent)| (self.remember(remembered), sent));
        self.sends.borrow_mut().insert(key, sent);
        sent
    }
}

/// Returns whether the group has more VmInstances than replicas, as the process sees it.
fn has_surplus(process: &Process, group: Group) -> bool {
    let of_group = process.cache.instances.iter().flatten().filter(|i| group_of(i.number) == group.number);
    of_group.filter(|instance| !instance.deleting).count() > usize::from(group.replicas)
}

impl Model for Operator {
    type State = State;
    type Label = Label;

    fn initial(&self) -> Vec<State> {
        if let Some(start) = &*self.start.borrow() {
            return vec![start.clone()];
        }
        let state = State::new(self.config.replicas, self.config.budget);
        let mut state = if self.config.has_begun { self.begin(state) } else { state };
        self.normalize(&mut state);
        vec![state]
    }

    fn steps(&self, state: &State) -> Vec<Step<State, Label>> {
        // What must never happen is reported once.
        if state.wrong.is_some() { Vec::new() } else { self.all_steps(state) }
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.wrong.map(|wrong| wrong.to_string())
    }

    fn goal(&self, state: &State) -> bool {
        self.is_goal(state)
    }

    fn describe(&self, state: &State) -> String {
        self.describe_state(state)
    }
}
