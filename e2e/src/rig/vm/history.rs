//! What was done to machines in the vCenter, and whether it may have been. Pure.

use std::collections::BTreeMap;

use testbed::{Happened, VmEvent};

/// A machine when it was made: its name, and its owner marker if it had one.
type Origin<'a> = (&'a str, Option<&'a str>);

/// The machines of a history.
#[derive(Default)]
struct Machines<'a>(BTreeMap<&'a str, Origin<'a>>);

impl<'a> Machines<'a> {
    /// Returns name and owner marker of the machine of an event; `None` if it had no marker when it was made, whatever it was given
    /// since.
    fn find(&mut self, event: &'a VmEvent) -> Option<(&'a str, &'a str)> {
        if event.what == Happened::Made {
            let name = event.path.rsplit('/').next().unwrap_or_default();
            self.0.insert(&event.moref, (name, owner(event)));
        }
        let (name, owner) = self.0.get(event.moref.as_str())?;
        Some((name, (*owner)?))
    }
}

/// Returns the owner marker that the machine of an event had then.
fn owner(event: &VmEvent) -> Option<&str> {
    event.extra_config.get("vmgroup/owner").map(String::as_str)
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

/// Returns what must not have happened: at no time do two machines have the owner marker of one VmInstance, nothing is done to
/// a machine that was made without one, and none gets the marker of another. Who did it, and what the API server said then, is not in the history.
pub(super) fn violations(history: &[VmEvent]) -> Vec<String> {
    let (mut machines, mut violations) = (Machines::default(), Vec::new());
    let mut existing = BTreeMap::<&str, Vec<&str>>::new();
    for event in history {
        let Some((_, made_for)) = machines.find(event) else {
            if event.what != Happened::Made {
                violations.push(format!("{} {:?}, which is not ours", event.moref, event.what));
            }
            continue;
        };
        if let Some(owner) = owner(event).filter(|owner| *owner != made_for) {
            violations.push(format!("{} was made for {made_for} and has the owner {owner}", event.moref));
        }
        let machines = existing.entry(made_for).or_default();
        if event.what == Happened::Made {
            machines.push(&event.moref);
            if machines.len() > 1 {
                violations.push(format!("{} have the owner {made_for}", machines.join(" and ")));
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
        use Happened::{Destroyed, Made, PoweredOff, Reconfigured, Renamed};
        let rows: [(&[VmEvent], &[&str]); 10] = [
            (&[event(Made, "a", "x"), event(Destroyed, "a", "x"), event(Made, "b", "x")], &[]),
            (
                &[event(Made, "a", "x"), event(Made, "b", "x"), event(Destroyed, "b", "x")],
                &["a and b have the owner x"],
            ),
            // Its marker was removed, which is not a second machine.
            (&[event(Made, "a", "x"), event(Destroyed, "a", ""), event(Made, "b", "x")], &[]),
            (&[event(Made, "t", "")], &[]),
            (&[event(Made, "t", ""), event(PoweredOff, "t", "")], &["t PoweredOff, which is not ours"]),
            (&[event(Made, "t", ""), event(Renamed, "t", "")], &["t Renamed, which is not ours"]),
            // A marker makes no machine ours.
            (&[event(Made, "t", ""), event(Reconfigured, "t", "x")], &["t Reconfigured, which is not ours"]),
            (
                &[event(Made, "t", ""), event(Reconfigured, "t", "x"), event(PoweredOff, "t", "x")],
                &["t Reconfigured, which is not ours", "t PoweredOff, which is not ours"],
            ),
            (&[event(Made, "a", "x"), event(Renamed, "a", "x"), event(Reconfigured, "a", "")], &[]),
            (
                &[event(Made, "a", "x"), event(Reconfigured, "a", "y")],
                &["a was made for x and has the owner y"],
            ),
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
