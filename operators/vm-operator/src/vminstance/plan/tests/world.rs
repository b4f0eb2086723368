//! The instance's plan against a model of a vCenter that loses responses, fails and restarts the process.

use proptest::prelude::*;

use super::*;

/// A vCenter with one slot's machine, and what the process remembers.
#[derive(Clone, Debug)]
struct World {
    machine: Option<PowerState>,
    /// The task that runs in the vCenter.
    running: Option<TaskKind>,
    request: Option<TaskKind>,
    doubt: Doubt,
    refresh: Refresh,
    place: Place,
    tracked: bool,
    clones: usize,
}

impl World {
    fn new() -> Self {
        Self {
            machine: None,
            running: None,
            request: None,
            doubt: Doubt::None,
            refresh: Refresh::None,
            place: Place::None,
            tracked: true,
            clones: 0,
        }
    }

    fn task() -> MoRef {
        MoRef::new("Task", "task-1")
    }

    fn observe(&self) -> Seen {
        let cloning = self.running == Some(TaskKind::Clone);
        Seen {
            tracked: self.tracked,
            mine: self.machine.map(machine).into_iter().collect(),
            request: self.request.map(|kind| {
                (kind, if self.running == Some(kind) { Progress::Running } else { Progress::Succeeded })
            }),
            doubt: match &self.doubt {
                Doubt::None => InDoubt::No,
                Doubt::ResponseLost => InDoubt::ResponseLost,
                Doubt::Unexamined => InDoubt::Unexamined(cloning.then(Self::task).into_iter().collect()),
                Doubt::Watching(tasks) => InDoubt::Watching(if cloning { tasks.len() } else { 0 }),
            },
            refresh: self.refresh,
            place: self.place,
            ..seen()
        }
    }

    fn ask(&mut self, kind: TaskKind, lose_response: bool) {
        assert!(self.running.is_none(), "{kind:?} requested while {:?} runs", self.running);
        if kind == TaskKind::Clone {
            assert!(self.machine.is_none(), "cloned twice");
            self.clones += 1;
        }
        self.running = Some(kind);
        self.refresh = Refresh::None;
        if lose_response {
            (self.request, self.doubt) = (None, Doubt::ResponseLost);
        } else {
            self.request = Some(kind);
        }
    }

    fn finish(&mut self) {
        match self.running.take() {
            Some(TaskKind::Clone | TaskKind::PowerOn) => self.machine = Some(PowerState::On),
            Some(TaskKind::PowerOff) => self.machine = Some(PowerState::Off),
            Some(TaskKind::Destroy) => self.machine = None,
            _ => {}
        }
    }

    fn restart(&mut self) {
        (self.request, self.refresh, self.place, self.tracked) = (None, Refresh::None, Place::None, false);
    }

    /// Applies an action.
    fn apply(&mut self, action: &Action, lose_response: bool) {
        match action {
            Action::Track => (self.tracked, self.doubt) = (true, Doubt::Unexamined),
            Action::Refresh => self.refresh = Refresh::Served,
            Action::SetDoubt(doubt) => (self.doubt, self.refresh) = (doubt.clone(), Refresh::None),
            Action::Enqueue | Action::HoldPlace => self.place = Place::Held,
            Action::LeaveQueue => self.place = Place::None,
            Action::ForgetMachine => {}
            Action::Found(_) => (self.doubt, self.refresh) = (Doubt::None, Refresh::None),
            Action::Settle(_) | Action::FailUnstable(_) => {
                (self.request, self.refresh) = (None, Refresh::None);
            }
            Action::Clone { .. } => self.ask(TaskKind::Clone, lose_response),
            Action::PowerOn(_) => self.ask(TaskKind::PowerOn, false),
            Action::PowerOff(_) => self.ask(TaskKind::PowerOff, false),
            Action::Destroy(_) => self.ask(TaskKind::Destroy, false),
            action => panic!("unexpected {action:?}"),
        }
    }
}

proptest! {
    /// Whatever is lost on the way, one clone makes one machine, deletion leaves none, and the bounded loop suffices.
    #[test]
    fn one_machine_and_then_none(chaos in prop::collection::vec((any::<bool>(), 0..4u8), 0..40), stop in 0..40usize) {
        let mut world = World::new();
        let mut chaos = chaos.into_iter();
        let mut settled = 0;
        for round in 0..200 {
            let deleting = round >= stop + 40 || (round >= stop && settled > 0);
            let (lose_response, event) = chaos.next().unwrap_or((false, 3));
            let mut looks = 0;
            loop {
                match plan(&instance(deleting), &world.observe()) {
                    Turn::LookAgain(action) => world.apply(&action, lose_response),
                    Turn::Act(action) => {
                        world.apply(&action, lose_response);
                        break;
                    }
                    Turn::Settled => {
                        settled += 1;
                        break;
                    }
                    Turn::Gone => {
                        prop_assert!(deleting && world.machine.is_none() && world.running.is_none());
                        prop_assert!(world.clones <= 1);
                        return Ok(());
                    }
                    Turn::Wait { .. } => break,
                    Turn::Blocked { reason, .. } => prop_assert!(false, "unexpected {}", reason),
                }
                looks += 1;
                prop_assert!(looks < 10, "the driver gives up: {:?}", world);
            }
            match event {
                // The process restarts. Only a clone may run unseen; other tasks end first.
                0 if matches!(world.running, None | Some(TaskKind::Clone)) => world.restart(),
                1 => {}
                _ => world.finish(),
            }
        }
        prop_assert!(false, "never ended: {:?}", world);
    }
}
