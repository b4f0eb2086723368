//! A model of installation, upgrade, rollback and removal: the three drivers between two objects that ask for them, a vCenter and the Nodes.
//!
//! The operator's own functions are what is read of the askers and of the notes (`Known::see`), the choice of versions, what is rendered,
//! the decision, the statuses and what a process remembers. The API server, what the drivers do, the vCenter with its controller, and the order of
//! the writes in `apply` are written again in `steps` and `carry`.

mod carry;
mod check;
mod operator;
mod steps;
mod tests;
mod values;
mod world;

use model::{Model, Step};

use self::operator::Operator;
use self::world::{Label, Part, State};

/// The drivers of a cluster.
struct Cluster {
    operator: Operator,
    begin: State,
    /// The specs that a person may give each asker.
    wishes: [&'static [u8]; world::ASKERS],
}

impl Model for Cluster {
    type State = State;
    type Label = Label;

    fn initial(&self) -> Vec<State> {
        vec![self.begin.clone()]
    }

    fn steps(&self, state: &State) -> Vec<Step<State, Label>> {
        self.all_steps(state)
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.wrong.map(|wrong| wrong.to_string())
    }

    fn goal(&self, state: &State) -> bool {
        self.is_goal(state)
    }

    fn describe(&self, state: &State) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (number, asker) in state.askers.iter().enumerate().filter(|(_, asker)| asker.exists) {
            let (wish, ready) = (asker.wish, self.operator.ready(asker.said));
            let (is_held, is_deleting) = (asker.is_held, asker.is_deleting);
            let _ = writeln!(
                text,
                "asker {number}: wish {wish}, held {is_held}, deleting {is_deleting}, {ready:?}"
            );
        }
        for driver in values::DRIVERS {
            let set = &state.sets[values::number(driver)];
            let record = self.operator.record(set.notes).map(|record| record.notes());
            let _ = writeln!(text, "{driver}: {record:?}, kinds {}, over {}", set.has_kinds, set.is_over);
            for part in Part::ALL.into_iter().filter(|part| set.parts[*part as usize].exists()) {
                let _ = writeln!(text, "{driver} {part:?}: {:?}", set.parts[part as usize]);
            }
        }
        let _ = writeln!(text, "nodes: {:?}", state.nodes);
        let _ = writeln!(text, "{:?}, matrix {}, broken {:?}", state.vcenter, state.matrix, state.broken);
        let _ = writeln!(text, "volume {}, pod {}", state.has_volume, state.has_pod);
        let is_current = state.cached == (state.askers, state.nodes);
        let _ = writeln!(text, "caches are current: {is_current}");
        match &state.process {
            None => text.push_str("no process\n"),
            Some(process) => {
                let _ = writeln!(text, "remembers {}, news {}", process.memory, process.has_news);
                let _ = writeln!(text, "{:?}", process.answer);
                for (number, pending) in process.pending.iter().enumerate() {
                    let turn = pending.map(|pending| (pending, self.operator.pass_of(pending.pass)));
                    if let Some((pending, pass)) = turn {
                        let _ = writeln!(text, "pass of {number}: {} {pending:?}", values::short(&pass.turn));
                    }
                }
            }
        }
        text
    }
}
