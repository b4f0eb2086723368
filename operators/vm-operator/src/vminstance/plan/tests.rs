//! The instance's plan against a model of a vCenter that also loses replies, fails and restarts us.

use infra_clients::vsphere::MoRef;
use proptest::prelude::*;

use super::*;

fn vm(id: &str) -> MoRef {
    MoRef::new("VirtualMachine", id)
}

fn machine(power: PowerState) -> Machine {
    Machine { moref: vm("vm-1"), power: Some(power), revision: None }
}

fn seen() -> Observed {
    Observed {
        synced: true,
        group: true,
        folder: Some(MoRef::new("Folder", "group-1")),
        ..Observed::default()
    }
}

/// A short name for what a plan came to.
fn name(step: &Step) -> String {
    let text = format!("{step:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

#[test]
fn steps_by_what_is_seen() {
    let on = || vec![machine(PowerState::On)];
    let off = || vec![machine(PowerState::Off)];
    let unclear = || vec![Machine { power: None, ..machine(PowerState::On) }];
    let table: Vec<(&str, bool, Observed)> = vec![
        ("Blind", false, Observed::default()),
        ("Blind", true, Observed::default()),
        ("Clone", false, seen()),
        ("AwaitGroup", false, Observed { group: false, ..seen() }),
        ("Gone", true, Observed { group: false, ..seen() }),
        ("Settled", false, Observed { group: false, mine: on(), ..seen() }),
        ("AwaitFolder", false, Observed { folder: None, ..seen() }),
        ("Refresh", false, Observed { reply_lost: true, ..seen() }),
        ("AwaitEarlierClone", false, Observed { earlier_clones: 1, ..seen() }),
        ("AwaitEarlierClone", true, Observed { earlier_clones: 1, ..seen() }),
        ("Await", false, Observed { task: Some((TaskKind::Clone, Outcome::Running)), ..seen() }),
        ("Await", true, Observed { task: Some((TaskKind::Clone, Outcome::Running)), ..seen() }),
        ("Refresh", false, Observed { task: Some((TaskKind::Clone, Outcome::Ended)), ..seen() }),
        ("Settled", false, Observed { mine: on(), task: Some((TaskKind::Clone, Outcome::Ended)), ..seen() }),
        ("PowerOn", false, Observed { mine: off(), ..seen() }),
        ("PowerOn", false, Observed { mine: vec![machine(PowerState::Suspended)], ..seen() }),
        (
            "Refresh",
            false,
            Observed { mine: off(), task: Some((TaskKind::PowerOn, Outcome::Ended)), ..seen() },
        ),
        (
            "PowerOn",
            false,
            Observed {
                mine: off(),
                task: Some((TaskKind::PowerOn, Outcome::Ended)),
                refreshed: true,
                ..seen()
            },
        ),
        ("PowerOff", true, Observed { mine: on(), ..seen() }),
        ("PowerOff", true, Observed { mine: vec![machine(PowerState::Suspended)], ..seen() }),
        ("Destroy", true, Observed { mine: off(), ..seen() }),
        ("Gone", true, seen()),
        ("Gone", true, Observed { stranger: Some(vm("vm-9")), ..seen() }),
        ("Conflict", false, Observed { stranger: Some(vm("vm-9")), ..seen() }),
        ("LookFor", false, Observed { vanished: Some(vm("vm-1")), ..seen() }),
        ("LookFor", true, Observed { vanished: Some(vm("vm-1")), ..seen() }),
        ("Moved", false, Observed { moved: Some((vm("vm-1"), None)), ..seen() }),
        ("PowerOff", true, Observed { moved: Some((vm("vm-1"), Some(PowerState::On))), ..seen() }),
        ("AwaitClarity", true, Observed { moved: Some((vm("vm-1"), None)), ..seen() }),
        ("AwaitClarity", true, Observed { unread: Some(vm("vm-1")), ..seen() }),
        ("AwaitClarity", false, Observed { unread: Some(vm("vm-1")), ..seen() }),
        ("AwaitClarity", false, Observed { mine: unclear(), ..seen() }),
        ("AwaitClarity", true, Observed { mine: unclear(), ..seen() }),
        ("Destroy", true, Observed { moved: Some((vm("vm-1"), Some(PowerState::Off))), ..seen() }),
        ("Duplicates", false, Observed { mine: [on(), off()].concat(), ..seen() }),
        ("PowerOff", true, Observed { mine: [on(), off()].concat(), ..seen() }),
    ];
    for (wanted, deleting, observed) in table {
        assert_eq!(name(&plan(deleting, &observed)), wanted, "deleting: {deleting}, {observed:?}");
    }
}

/// A vCenter with one slot's machine, as slow and as forgetful as they come.
#[derive(Clone, Debug, Default)]
struct World {
    machine: Option<PowerState>,
    /// Under way in the vCenter.
    running: Option<TaskKind>,
    /// What our ledger says.
    ledger: Option<TaskKind>,
    doubt: bool,
    clones: usize,
}

impl World {
    fn observe(&self) -> Observed {
        Observed {
            mine: self.machine.map(machine).into_iter().collect(),
            task: self.ledger.map(|kind| {
                (kind, if self.running == Some(kind) { Outcome::Running } else { Outcome::Ended })
            }),
            earlier_clones: usize::from(self.doubt && self.running == Some(TaskKind::Clone)),
            ..seen()
        }
    }

    fn ask(&mut self, kind: TaskKind, lose_reply: bool) {
        assert!(self.running.is_none(), "asked for {kind:?} while {:?} runs", self.running);
        if kind == TaskKind::Clone {
            assert!(self.machine.is_none(), "cloned twice");
            self.clones += 1;
        }
        self.running = Some(kind);
        (self.ledger, self.doubt) = if lose_reply { (None, true) } else { (Some(kind), false) };
    }

    fn finish(&mut self) {
        match self.running.take() {
            Some(TaskKind::Clone | TaskKind::PowerOn) => self.machine = Some(PowerState::On),
            Some(TaskKind::PowerOff) => self.machine = Some(PowerState::Off),
            Some(TaskKind::Destroy) => self.machine = None,
            None => {}
        }
    }
}

proptest! {
    /// Whatever is lost on the way, one clone makes one machine, and deletion leaves none.
    #[test]
    fn one_machine_and_then_none(chaos in prop::collection::vec((any::<bool>(), 0..4u8), 0..40), stop in 0..40usize) {
        let mut world = World::default();
        let mut chaos = chaos.into_iter();
        let mut settled = 0;
        for round in 0..200 {
            let deleting = round >= stop + 40 || (round >= stop && settled > 0);
            let (lose_clone_reply, event) = chaos.next().unwrap_or((false, 3));
            match plan(deleting, &world.observe()) {
                Step::Clone(_) => world.ask(TaskKind::Clone, lose_clone_reply),
                Step::PowerOn(_) => world.ask(TaskKind::PowerOn, false),
                Step::PowerOff(_) => world.ask(TaskKind::PowerOff, false),
                Step::Destroy(_) => world.ask(TaskKind::Destroy, false),
                Step::Refresh => {
                    world.ledger = None;
                    world.doubt = true;
                }
                Step::Settled => settled += 1,
                Step::Gone => {
                    prop_assert!(deleting && world.machine.is_none() && world.running.is_none());
                    prop_assert!(world.clones <= 1);
                    return Ok(());
                }
                Step::Await(_) | Step::AwaitEarlierClone => {}
                step => prop_assert!(false, "unexpected {:?}", step),
            }
            match event {
                // Our process restarts: only doubt is left. Only a clone may run unseen; other tasks end first.
                0 if matches!(world.running, None | Some(TaskKind::Clone)) => { world.ledger = None; world.doubt = true; }
                1 => {}
                _ => world.finish(),
            }
        }
        prop_assert!(false, "never ended: {:?}", world);
    }
}
