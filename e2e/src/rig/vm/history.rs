//! What was done to machines in the vCenter, and whether it may have been. Pure.

use std::collections::BTreeMap;

use testbed::{Happened, VmEvent};

/// The machines of a history with the owner marker that each had when it was made.
#[derive(Default)]
struct Machines<'a>(BTreeMap<&'a str, (&'a str, &'a str)>);

impl<'a> Machines<'a> {
    /// Returns name and owner marker of the machine of an event; `None` if it has no marker.
    fn find(&mut self, event: &'a VmEvent) -> Option<(&'a str, &'a str)> {
        let owner = event.extra_config.get("vmgroup/owner").map(String::as_str);
        if event.what == Happened::Made
            && let Some(owner) = owner
        {
            let name = event.path.rsplit('/').next().unwrap_or_default();
            self.0.insert(&event.moref, (name, owner));
        }
        self.0.get(event.moref.as_str()).copied().or(owner.map(|owner| ("", owner)))
    }
}

/// Returns how often each thing was done to machines of ours, by the name that the machine had when it was made.
pub(super) fn effects(history: &[VmEvent]) -> BTreeMap<String, u64> {
    let (mut machines, mut effects) = (Machines::default(), BTreeMap::new());
    for event in history {
        if let Some((name, _)) = machines.find(event) {
            *effects.entry(format!("{:?} {name}", event.what)).or_default() += 1;
        }
    }
    effects
}

/// Returns what must not have happened: at no time do two machines have the owner marker of one VmInstance, and nothing is done to
/// a machine without one. Who did it, and what the API server said then, is not in the history.
pub(super) fn violations(history: &[VmEvent]) -> Vec<String> {
    let (mut machines, mut violations) = (Machines::default(), Vec::new());
    let mut existing = BTreeMap::<&str, Vec<&str>>::new();
    for event in history {
        let Some((_, owner)) = machines.find(event) else {
            if event.what != Happened::Made {
                violations.push(format!("{} {:?}, which is not ours", event.moref, event.what));
            }
            continue;
        };
        let machines = existing.entry(owner).or_default();
        if event.what == Happened::Made {
            machines.push(&event.moref);
            if machines.len() > 1 {
                violations.push(format!("{} have the owner {owner}", machines.join(" and ")));
            }
        } else if event.is_removal() {
            machines.retain(|moref| *moref != event.moref);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: Happened, moref: &str, owner: &str) -> VmEvent {
        let path = format!("/DC0/vm/{moref}-name");
        let marker = (!owner.is_empty()).then(|| ("vmgroup/owner".to_owned(), owner.to_owned()));
        VmEvent { what, moref: moref.to_owned(), path, extra_config: marker.into_iter().collect() }
    }

    #[test]
    fn two_machines_of_an_instance_and_work_on_a_strange_one_are_violations() {
        use Happened::{Destroyed, Made, PoweredOff};
        let rows: [(&[VmEvent], &[&str]); 5] = [
            (&[event(Made, "a", "x"), event(Destroyed, "a", "x"), event(Made, "b", "x")], &[]),
            (
                &[event(Made, "a", "x"), event(Made, "b", "x"), event(Destroyed, "b", "x")],
                &["a and b have the owner x"],
            ),
            // Its marker was removed, which is not a second machine.
            (&[event(Made, "a", "x"), event(Destroyed, "a", ""), event(Made, "b", "x")], &[]),
            (&[event(Made, "t", "")], &[]),
            (&[event(Made, "t", ""), event(PoweredOff, "t", "")], &["t PoweredOff, which is not ours"]),
        ];
        for (history, wanted) in rows {
            assert_eq!(violations(history), wanted, "{history:?}");
        }
    }

    #[test]
    fn what_was_done_is_counted_by_the_first_name() {
        use Happened::{Destroyed, Made, PoweredOn};
        let history = [
            event(Made, "a", "x"),
            event(PoweredOn, "a", "x"),
            event(Destroyed, "a", ""),
            event(Made, "t", ""),
        ];
        let counts = ["Destroyed a-name", "Made a-name", "PoweredOn a-name"].map(|name| (name.to_owned(), 1));
        assert_eq!(effects(&history), counts.into());
    }
}
