//! What has passed through a proxy, and what is to go wrong: decides, and does no I/O.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::{CallFault, EventFault, Mark, Perturbation, Record, Subject};

/// What the connections of a proxy share.
#[derive(Debug)]
pub(super) struct State {
    seen: Mutex<Seen>,
    perturbation: Option<Perturbation>,
    /// After how many changes the client is to be killed, again and again; 0 for never.
    kill_every: u32,
    gate: watch::Sender<Gate>,
    /// The number of writes so far.
    writes: watch::Sender<u32>,
    fired: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Seen {
    record: Record,
    counts: HashMap<Subject, u32>,
    /// Resource versions of lists, events and writes, in the order in which they passed.
    versions: Vec<u64>,
    /// Writes that have changed something since the client was to be killed last.
    changes: u32,
    /// What the lists after a restart are to show.
    older: Option<Older>,
}

/// The state that each kind's first list is to show.
#[derive(Debug)]
struct Older {
    version: u64,
    listed: HashSet<String>,
}

/// Whether requests pass, and of which connections. Those of a client that is to be killed never pass again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate {
    generation: u64,
    is_open: bool,
}

/// The connection belongs to a client that was to be killed.
#[derive(Debug)]
pub(super) struct Outdated;

impl State {
    pub(super) fn new(perturbation: Option<Perturbation>, kill_every: u32) -> Self {
        Self {
            seen: Mutex::default(),
            perturbation,
            kill_every,
            gate: watch::Sender::new(Gate { generation: 0, is_open: true }),
            writes: watch::Sender::new(0),
            fired: watch::Sender::new(false),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> Record {
        self.seen().record.clone()
    }

    /// Reports that the perturbation has taken effect.
    pub(super) fn fire(&self) {
        self.fired.send_replace(true);
    }

    pub(super) fn fired(&self) -> watch::Receiver<bool> {
        self.fired.subscribe()
    }

    /// Counts a request. Returns what goes wrong with it.
    pub(super) fn call(&self, subject: &Subject) -> Option<CallFault> {
        let mark = self.seen().count(subject);
        match &self.perturbation {
            Some(Perturbation::Call(fault, perturbed)) if *perturbed == mark => Some(*fault),
            _ => None,
        }
    }

    /// Counts an event and its resource version. Returns what goes wrong with it.
    pub(super) fn event(&self, subject: &Subject, event: &Value) -> Option<EventFault> {
        let mut seen = self.seen();
        seen.note_version(&event["object"]);
        let mark = seen.count(subject);
        match &self.perturbation {
            Some(Perturbation::Event(fault, perturbed)) if *perturbed == mark => Some(*fault),
            _ => None,
        }
    }

    /// Notes the response of a request that succeeded. Returns whether the client is to be killed before it has the response.
    pub(super) fn succeeded(&self, subject: &Subject, response: &[u8]) -> bool {
        let is_write = subject.is_write();
        if is_write {
            self.writes.send_modify(|writes| *writes += 1);
        } else if subject.verb != "list" {
            return false;
        }
        let mut seen = self.seen();
        let is_new = seen.note_version(&serde_json::from_slice(response).unwrap_or_default());
        if self.kill_every == 0 || !is_write || !is_new {
            return false;
        }
        seen.changes = (seen.changes + 1) % self.kill_every;
        seen.changes == 0
    }

    /// Returns the counter of the writes that succeeded.
    pub(super) fn writes(&self) -> watch::Receiver<u32> {
        self.writes.subscribe()
    }

    /// Sets what lists show after the restart: the state before the latest `changes`.
    pub(super) fn age(&self, changes: u32) {
        let mut seen = self.seen();
        let mut versions = seen.versions.clone();
        versions.sort_unstable();
        versions.dedup();
        let index = versions.len().saturating_sub(1).saturating_sub(changes as usize);
        let version = versions.get(index).copied();
        seen.older = version.map(|version| Older { version, listed: HashSet::new() });
    }

    /// Returns the resource version that a list is to show: the first of each kind after a restart that calls for older
    /// lists.
    pub(super) fn older_version(&self, resource: &str) -> Option<u64> {
        if !self.gate.borrow().is_open {
            return None;
        }
        let mut seen = self.seen();
        let older = seen.older.as_mut()?;
        older.listed.insert(resource.to_owned()).then_some(older.version)
    }

    /// Stops everything until [`reopen`](Self::reopen): the client is to be killed.
    pub(super) fn close(&self) {
        self.gate.send_modify(|gate| gate.is_open = false);
    }

    /// Serves the clients that connect from now on.
    pub(super) fn reopen(&self) {
        self.gate.send_modify(|gate| *gate = Gate { generation: gate.generation + 1, is_open: true });
    }

    /// Returns to which client a new connection belongs.
    pub(super) fn generation(&self) -> u64 {
        self.gate.borrow().generation
    }

    /// Waits until the client is to be killed.
    pub(super) async fn closed(&self) {
        // The sender is in `self`, so the wait cannot fail.
        let _ = self.gate.subscribe().wait_for(|gate| !gate.is_open).await;
    }

    /// Returns at once if requests of this client pass. Otherwise waits for the restart, and fails.
    pub(super) async fn pass(&self, generation: u64) -> Result<(), Outdated> {
        let mut gate = self.gate.subscribe();
        let gate = gate.wait_for(|gate| gate.is_open || gate.generation != generation).await;
        if gate.is_ok_and(|gate| gate.generation == generation) { Ok(()) } else { Err(Outdated) }
    }
}

impl Seen {
    fn count(&mut self, subject: &Subject) -> Mark {
        let number = self.counts.entry(subject.clone()).or_default();
        *number += 1;
        let mark = Mark { subject: subject.clone(), number: *number };
        if subject.is_event() {
            self.record.events.push(mark.clone());
        } else {
            self.record.calls.push(mark.clone());
        }
        mark
    }

    /// Notes the version of an object. Returns whether it was not noted before; an answer without one is that of a deletion.
    fn note_version(&mut self, object: &Value) -> bool {
        let version = object["metadata"]["resourceVersion"].as_str();
        let Some(version) = version.and_then(|version| version.parse::<u64>().ok()) else { return true };
        let is_new = !self.versions.contains(&version);
        self.versions.push(version);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(verb: &str) -> Subject {
        Subject { verb: verb.to_owned(), resource: "things".to_owned(), name: "a".to_owned() }
    }

    #[test]
    fn the_perturbed_request_is_found_by_its_number() {
        let state = State::new(Some("request-lost@create/things/a#2".parse().unwrap()), 0);
        assert_eq!(state.call(&subject("create")), None);
        assert_eq!(state.call(&subject("delete")), None);
        assert_eq!(state.call(&subject("create")), Some(CallFault::RequestLost));
        assert_eq!(state.call(&subject("create")), None);
        let calls: Vec<_> = state.record().calls.iter().map(ToString::to_string).collect();
        assert_eq!(
            calls.join(" "),
            "create/things/a#1 delete/things/a#1 create/things/a#2 create/things/a#3"
        );
    }

    #[test]
    fn an_older_list_is_as_old_as_asked_for() {
        let state = State::new(None, 0);
        for version in ["5", "9", "7", "9"] {
            let event = json!({ "object": { "metadata": { "resourceVersion": version } } });
            state.event(&subject("modified"), &event);
        }
        for (changes, wanted) in [(0, 9), (1, 7), (2, 5), (9, 5)] {
            state.age(changes);
            assert_eq!(state.older_version("things"), Some(wanted));
            assert_eq!(state.older_version("things"), None, "only the first list");
        }
    }

    #[test]
    fn a_client_is_to_be_killed_after_changes_and_not_after_writes_that_change_nothing() {
        let state = State::new(None, 2);
        let response = |version: &str| json!({ "metadata": { "resourceVersion": version } }).to_string();
        let killed = ["5", "5", "6", "6", "7", "8"]
            .map(|version| state.succeeded(&subject("patch"), response(version).as_bytes()));
        assert_eq!(killed, [false, false, true, false, false, true]);
        assert!(!state.succeeded(&subject("list"), response("9").as_bytes()));
        assert!(!state.succeeded(&subject("delete"), b"{}"));
        assert!(state.succeeded(&subject("delete"), b"{}"));
    }

    #[tokio::test]
    async fn a_client_that_is_to_be_killed_never_passes_again() {
        let state = State::new(None, 0);
        let killed = state.generation();
        state.pass(killed).await.unwrap();
        state.close();
        state.closed().await;
        state.reopen();
        assert!(state.pass(killed).await.is_err());
        state.pass(state.generation()).await.unwrap();
    }
}
