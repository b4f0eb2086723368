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
    pub(super) fn new(perturbation: Option<Perturbation>) -> Self {
        Self {
            seen: Mutex::default(),
            perturbation,
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

    /// Notes the response of a request that succeeded.
    pub(super) fn succeeded(&self, subject: &Subject, response: &[u8]) {
        if subject.is_write() || subject.verb == "list" {
            self.seen().note_version(&serde_json::from_slice(response).unwrap_or_default());
        }
        if subject.is_write() {
            self.writes.send_modify(|writes| *writes += 1);
        }
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

    fn note_version(&mut self, object: &Value) {
        let version = object["metadata"]["resourceVersion"].as_str();
        self.versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
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
        let state = State::new(Some("request-lost@create/things/a#2".parse().unwrap()));
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
        let state = State::new(None);
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

    #[tokio::test]
    async fn a_client_that_is_to_be_killed_never_passes_again() {
        let state = State::new(None);
        let killed = state.generation();
        state.pass(killed).await.unwrap();
        state.close();
        state.closed().await;
        state.reopen();
        assert!(state.pass(killed).await.is_err());
        state.pass(state.generation()).await.unwrap();
    }
}
