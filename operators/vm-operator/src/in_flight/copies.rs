//! What the model needs: copies, and a text of what a pass can observe.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use infra_clients::vsphere::vms::Ticket;

use super::{Doubt, Entry, GroupEntry, InFlight, Inner};

/// For the model: two memories of one text behave alike.
impl InFlight {
    /// Returns a copy.
    pub fn copy(&self) -> Self {
        let Inner { entries, groups, created, tasks, keys, released, tickets, look_ups, templates } =
            &*self.lock();
        Self(Mutex::new(Inner {
            entries: entries.clone(),
            groups: groups.clone(),
            created: created.clone(),
            tasks: tasks.clone(),
            keys: keys.clone(),
            released: released.clone(),
            tickets: tickets.clone(),
            look_ups: look_ups.clone(),
            templates: templates.clone(),
        }))
    }

    /// Returns all that a pass can observe. `state` says how far the refresh of a ticket is.
    pub fn text(&self, state: impl Fn(Ticket) -> u64) -> String {
        use std::fmt::Write as _;
        let inner = self.lock();
        let mut text = String::new();
        for (uid, Entry { request, doubt, refresh, machine }) in
            inner.entries.iter().collect::<BTreeMap<_, _>>()
        {
            let _ = write!(text, "{uid} {request:?} {machine:?} {:?}", refresh.map(&state));
            let _ = match doubt {
                Doubt::Watching(tasks) => writeln!(text, " {:?}", tasks.iter().collect::<BTreeSet<_>>()),
                doubt => writeln!(text, " {doubt:?}"),
            };
        }
        for (uid, GroupEntry { request, refresh, census, originals, created, adopted }) in
            inner.groups.iter().collect::<BTreeMap<_, _>>()
        {
            let refresh = refresh.map(&state);
            let census = census.map(|census| (census.generation, state(census.ticket), census.repeats));
            let originals = originals
                .as_ref()
                .map(|awaited| (awaited.clones.iter().collect::<BTreeSet<_>>(), awaited.refresh.map(&state)));
            let _ =
                writeln!(text, "{uid} {request:?} {refresh:?} {census:?} {originals:?} {created} {adopted}");
        }
        let created: BTreeMap<_, _> = inner.created.iter().collect();
        let (released, templates): (BTreeSet<_>, BTreeSet<_>) =
            (inner.released.iter().collect(), inner.templates.iter().collect());
        let _ = write!(text, "{created:?} {released:?} {templates:?}");
        text
    }
}
