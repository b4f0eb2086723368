//! What a pass writes, one write after the other, as `apply` does.

use operator_kit::Turn;

use super::Cluster;
use super::check::begins_wrongly;
use super::values::{is_upgrading, now, number, part_of, version_of};
use super::world::{Asker, Object, Part, Pending, State, Wrong};
use crate::installer::model::{Action, Plan, Record, begins};
use crate::matrix::Driver;
use crate::plan::Change;

/// What happens to the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It takes effect.
    Written,
    /// It is refused, or lost on its way.
    Refused,
    /// It takes effect, and its answer is lost.
    Unanswered,
}

/// How a stage of an action ends.
enum Stage {
    /// Something was written: the stage that follows.
    Wrote(u8),
    /// Nothing had to be written.
    Next(u8),
    /// The action ends; whether something was written.
    End(bool),
    /// The action fails.
    Fail,
}

/// The stage at which what an action is for begins: those before restore lost notes.
const BEGIN: u8 = 2;

impl Cluster {
    /// Carries the pass of an asker on to its next write.
    pub(super) fn carry(&self, state: &State, asker: usize, fate: Fate) -> Option<State> {
        let pending = state.process?.pending[asker]?;
        let pass = self.operator.pass_of(pending.pass);
        let mut next = state.clone();
        match &pass.turn {
            Turn::Act(Plan::Change { actions, outdated, .. }) => {
                if pending.is_confirmed.is_none() {
                    let others = state.process?.pending.into_iter().enumerate();
                    let is_locked = others
                        .filter(|(other, _)| *other != asker)
                        .filter_map(|(_, other)| other)
                        .any(|other| other.is_confirmed.is_some() && self.operator.begins(other.pass));
                    let begun = actions.iter().any(begins);
                    if begun && is_locked {
                        return None;
                    }
                    let process = next.process.as_mut()?;
                    if let Some(answer) = process.answer.as_mut().filter(|_| !outdated.is_empty()) {
                        answer.is_asked = true;
                    }
                    let is_confirmed = !begun
                        || (next.sets.map(|set| set.notes) == pass.notes
                            && self.confirm(&mut next, (asker, pass.asker), actions));
                    next.process.as_mut()?.pending[asker] =
                        Some(Pending { is_confirmed: Some(is_confirmed), ..pending });
                    if begun {
                        return (fate == Fate::Written).then_some(next);
                    }
                }
                self.write(&mut next, asker, actions, fate)?;
            }
            Turn::Gone => {
                if fate != Fate::Written {
                    return None;
                }
                next.process.as_mut()?.pending[asker] = None;
                self.let_go(&mut next, asker);
            }
            turn => unreachable!("{turn:?} writes nothing"),
        }
        Some(next)
    }

    /// Asks the API server whether the asker still wants what was decided, and decides about the drivers. `read`: the asker as it was read.
    fn confirm(&self, next: &mut State, (asker, read): (usize, Asker), actions: &[Action]) -> bool {
        let view = |asker: Asker| (asker.exists, asker.wish, asker.is_deleting);
        let is_current = view(next.askers[asker]) == view(read);
        next.cached.0 = next.askers;
        if !is_current {
            return false;
        }
        let owners = self.operator.owners(&next.cached.0);
        let uid = asker.to_string();
        let mut begun = actions.iter().filter(|action| begins(action));
        let is_ours =
            begun.all(|action| owners.get(action.driver()).as_ref().is_none_or(|owner| owner.uid == uid));
        if is_ours {
            let wrong = actions
                .iter()
                .filter(|action| begins(action))
                .find_map(|action| begins_wrongly(&self.operator, next, asker, action));
            next.wrong = next.wrong.or(wrong);
        }
        is_ours
    }

    /// Goes on until something is written, or the pass has ended.
    fn write(&self, next: &mut State, asker: usize, actions: &[Action], fate: Fate) -> Option<()> {
        let mut has_written = false;
        loop {
            let process = next.process.as_mut()?;
            let pending = process.pending[asker].as_mut()?;
            let Some(action) = actions.get(pending.at as usize) else {
                let acted = Some(!pending.has_failed);
                let pass = pending.pass;
                process.pending[asker] = None;
                self.report(next, asker, pass, acted);
                return (has_written || fate == Fate::Written).then_some(());
            };
            let (stage, is_confirmed) = (pending.stage, pending.is_confirmed == Some(true));
            if begins(action) && !is_confirmed {
                (pending.at, pending.stage) = (pending.at + 1, 0);
                continue;
            }
            if has_written {
                return Some(());
            }
            let mut after = next.clone();
            let end = self.stage(&mut after, action, stage);
            let wrote = matches!(end, Stage::Wrote(_) | Stage::End(true));
            let end = match (wrote, fate) {
                (true, Fate::Written) | (false, _) => {
                    *next = after;
                    end
                }
                (true, Fate::Refused) => Stage::Fail,
                (true, Fate::Unanswered) => {
                    // What is remembered after a write is not.
                    let memory = next.process?.memory;
                    *next = after;
                    next.process.as_mut()?.memory = memory;
                    Stage::Fail
                }
            };
            has_written = wrote;
            let process = next.process.as_mut()?;
            if matches!(end, Stage::Fail)
                && let Action::Apply { driver, .. } = action
            {
                process.memory =
                    self.operator.remember(process.memory, |memory| memory.failed(*driver, "why"));
            }
            let pending = process.pending[asker].as_mut()?;
            match end {
                Stage::Wrote(stage) | Stage::Next(stage) => pending.stage = stage,
                Stage::End(_) => (pending.at, pending.stage) = (pending.at + 1, 0),
                Stage::Fail => {
                    (pending.at, pending.stage, pending.has_failed) = (pending.at + 1, 0, true);
                }
            }
        }
    }

    fn stage(&self, next: &mut State, action: &Action, stage: u8) -> Stage {
        let driver = action.driver();
        let (Action::Apply { record, .. } | Action::Remove(_, record) | Action::Release(_, record)) = action;
        match (stage, record.is_recovered) {
            (0, true) => {
                self.note(next, driver, &Record { digest: String::new(), ..record.clone() });
                Stage::Wrote(1)
            }
            (1, true) => {
                next.sets[number(driver)].has_kinds = true;
                Stage::Wrote(BEGIN)
            }
            (0, false) => Stage::Next(BEGIN),
            _ => {
                let record = Record { is_recovered: false, ..record.clone() };
                match action {
                    Action::Apply { change, takes_over, rendered, .. } => match stage {
                        BEGIN => self.begin(next, driver, *change, &record),
                        3 if next.sets[number(driver)].has_kinds => Stage::Next(4),
                        3 => {
                            let set = &mut next.sets[number(driver)];
                            (set.has_kinds, set.notes) = (true, self.operator.parent(set.notes));
                            Stage::Wrote(4)
                        }
                        wave => {
                            let wave = usize::from(wave - 4);
                            let objects = rendered.waves.get(wave).map(Vec::as_slice);
                            let parts =
                                objects.map(|objects| objects.iter().map(part_of).collect::<Vec<_>>());
                            self.wave(next, driver, &record, *takes_over, (wave, parts))
                        }
                    },
                    Action::Remove(..) => self.remove(next, driver, record, stage),
                    Action::Release(..) => self.release(next, driver, stage),
                }
            }
        }
    }

    fn note(&self, next: &mut State, driver: Driver, record: &Record) {
        let set = &mut next.sets[number(driver)];
        (set.notes, set.is_over) =
            (self.operator.noted(record), is_upgrading(record) && record.since < now());
    }

    /// Notes that all of a driver runs; returns whether that was not noted.
    fn note_complete(&self, next: &mut State, driver: Driver, record: &Record) -> bool {
        let noted = self.operator.record(next.sets[number(driver)].notes);
        let noted = noted.filter(|noted| noted.version == record.version && noted.digest == record.digest);
        let completed = noted.filter(|noted| !noted.is_removing).and_then(|noted| noted.completed());
        if let Some(completed) = completed.as_ref().filter(|_| !record.is_complete) {
            self.note(next, driver, completed);
        }
        completed.is_some() && !record.is_complete
    }

    fn begin(&self, next: &mut State, driver: Driver, change: Change, record: &Record) -> Stage {
        if let Some(process) = next.process.as_mut() {
            let now = super::values::now();
            process.memory =
                self.operator.remember(process.memory, |memory| memory.applying(driver, &record.digest, now));
        }
        if change == Change::Maintain {
            return Stage::Next(3);
        }
        self.note(next, driver, record);
        Stage::Wrote(3)
    }

    /// Applies a wave, and those that follow as long as nothing is waited for and nothing was written.
    fn wave(
        &self,
        next: &mut State,
        driver: Driver,
        record: &Record,
        takes_over: bool,
        (wave, parts): (usize, Option<Vec<Part>>),
    ) -> Stage {
        let ends = |next: &mut State, waits_for: Option<String>| {
            if let Some(process) = next.process.as_mut() {
                process.memory =
                    self.operator.remember(process.memory, |memory| memory.applied(driver, waits_for, true));
            }
        };
        let Some(parts) = parts else {
            // Nothing has left the set: every version has the same objects.
            ends(next, None);
            return Stage::End(self.note_complete(next, driver, record));
        };
        let content = self.operator.content(&record.digest);
        let set = &mut next.sets[number(driver)];
        let controller = set.parts[Part::Controller as usize];
        let mut is_written = false;
        for part in &parts {
            let object = &mut set.parts[*part as usize];
            let is_taken = object.exists() && !object.is_ours && object.content != content && !takes_over;
            if is_taken {
                return Stage::Fail;
            }
            let is_same = object.content == content;
            if *part == Part::Agents && driver == Driver::Cni && object.exists() && object.is_ours && !is_same
            {
                let is_first =
                    version_of(controller.content.max(1)) == version_of(content) && controller.is_ready;
                if version_of(object.content) < version_of(content) && !is_first {
                    next.wrong = Some(Wrong::AgentsFirst);
                }
            }
            is_written |= !is_same || !object.is_ours;
            let is_ready = *part == Part::Files || (is_same && object.is_ready);
            *object = Object { content, is_ours: true, is_ready };
        }
        let is_ready = parts.iter().all(|part| set.parts[*part as usize].is_ready);
        if let Some(process) = next.process.as_mut() {
            process.has_news |= is_written;
        }
        if !is_ready {
            ends(next, Some("it is rolled out".to_owned()));
            return Stage::End(is_written);
        }
        let after = u8::try_from(wave + 5).unwrap_or(u8::MAX);
        if is_written { Stage::Wrote(after) } else { Stage::Next(after) }
    }

    fn remove(&self, next: &mut State, driver: Driver, record: Record, stage: u8) -> Stage {
        if stage == BEGIN {
            if let Some(process) = next.process.as_mut() {
                let now = super::values::now();
                process.memory =
                    self.operator.remember(process.memory, |memory| memory.removing(driver, now));
            }
            if record.is_removing {
                return Stage::Next(3);
            }
            self.note(next, driver, &Record { is_removing: true, ..record });
            return Stage::Wrote(3);
        }
        let set = &mut next.sets[number(driver)];
        let mut is_written = false;
        for object in set.parts.iter_mut().filter(|object| object.is_ours && set.has_kinds) {
            *object = Object::default();
            is_written = true;
        }
        if !is_written {
            is_written = set.notes > 0;
            (set.notes, set.has_kinds) = (0, false);
        } else if let Some(process) = next.process.as_mut() {
            process.has_news = true;
        }
        Stage::End(is_written)
    }

    fn release(&self, next: &mut State, driver: Driver, stage: u8) -> Stage {
        let set = &mut next.sets[number(driver)];
        let mut is_written = false;
        for object in set.parts.iter_mut().filter(|object| object.is_ours && set.has_kinds) {
            object.is_ours = false;
            is_written = true;
        }
        if is_written {
            return Stage::Wrote(stage);
        }
        (set.notes, set.has_kinds) = (0, false);
        if let Some(process) = next.process.as_mut() {
            process.memory = self.operator.remember(process.memory, |memory| memory.forget(driver));
            process.has_news = true;
        }
        Stage::End(true)
    }

    /// Writes the status after a pass.
    pub(super) fn report(&self, next: &mut State, asker: usize, pass: u32, acted: Option<bool>) {
        // The request has the version that the cache has.
        let cached = next.cached.0[asker];
        if cached != next.askers[asker] {
            return;
        }
        if let Some(said) = self.operator.reported(cached.said, pass, acted) {
            next.askers[asker].said = said;
            next.cached.0[asker].said = said;
        }
    }

    /// Takes the finalizer off.
    fn let_go(&self, next: &mut State, asker: usize) {
        let cached = next.cached.0[asker];
        if cached != next.askers[asker] || !cached.is_deleting {
            return;
        }
        let left = super::check::left(&self.operator, next, asker);
        next.wrong = next.wrong.or(left.map(Wrong::Left));
        next.askers[asker] = Asker { exists: false, is_held: false, is_deleting: false, said: 0, ..cached };
        next.cached.0[asker] = next.askers[asker];
    }
}
