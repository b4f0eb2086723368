//! The work queue of a controller: which object is reconciled next.
//!
//! An object is in the queue at most once, is never reconciled twice at the same time, and one that is woken while it is
//! being reconciled is reconciled again afterwards. Owns the appointments (look again after a delay); an earlier wake-up
//! replaces a later appointment.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::key::Key;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    ready: VecDeque<Key>,
    /// Appointments, the earliest first.
    due: BTreeSet<(Instant, Key)>,
}

#[derive(Debug)]
enum Entry {
    /// In `ready` since then.
    Ready(Instant),
    /// In `due` at that time.
    Due(Instant),
    /// Taken; with `again`, woken since.
    Running { again: bool },
}

/// An object taken from the queue.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) key: Key,
    /// How long it was ready.
    pub(crate) waited: Duration,
}

impl Queue {
    /// Puts `key` into the queue.
    pub(crate) fn wake(&self, key: &Key) {
        self.lock().wake(key, Instant::now());
        self.changed.notify_one();
    }

    /// Takes the object that has waited longest. Resolves when there is one.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            let next = self.lock().take(Instant::now());
            match next {
                Next::Taken(taken) => return taken,
                Next::At(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                Next::Never => self.changed.notified().await,
            }
        }
    }

    /// Gives back an object that was taken, to be reconciled again after `pause` (`None`: when it is woken).
    pub(crate) fn done(&self, key: &Key, pause: Option<Duration>) {
        self.lock().done(key, pause, Instant::now());
        self.changed.notify_one();
    }

    /// Forgets the appointment of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// Returns how many objects wait to be reconciled now.
    pub(crate) fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock leaves the maps half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next {
    Taken(Taken),
    At(Instant),
    Never,
}

impl State {
    fn wake(&mut self, key: &Key, now: Instant) {
        match self.entries.get_mut(key) {
            Some(Entry::Ready(_)) => return,
            Some(Entry::Running { again }) => {
                *again = true;
                return;
            }
            Some(Entry::Due(_)) => self.forget(key),
            None => {}
        }
        self.push(key.clone(), now);
    }

    fn take(&mut self, now: Instant) -> Next {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((at, key)) = self.due.pop_first() {
                self.push(key, at);
            }
        }
        let Some(key) = self.ready.pop_front() else {
            return self.due.first().map_or(Next::Never, |(at, _)| Next::At(*at));
        };
        let since = match self.entries.insert(key.clone(), Entry::Running { again: false }) {
            Some(Entry::Ready(since)) => since,
            _ => now,
        };
        Next::Taken(Taken { key, waited: now.saturating_duration_since(since) })
    }

    fn done(&mut self, key: &Key, pause: Option<Duration>, now: Instant) {
        let Some(Entry::Running { again }) = self.entries.remove(key) else { return };
        if again {
            self.push(key.clone(), now);
        } else if let Some(pause) = pause {
            let at = now + pause;
            self.entries.insert(key.clone(), Entry::Due(at));
            self.due.insert((at, key.clone()));
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(Entry::Due(at)) = self.entries.get(key) {
            let at = *at;
            self.due.remove(&(at, key.clone()));
            self.entries.remove(key);
        }
    }

    fn push(&mut self, key: Key, since: Instant) {
        self.entries.insert(key.clone(), Entry::Ready(since));
        self.ready.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    /// Takes the object that is next at this time. Returns its name.
    fn take(state: &mut State, now: Instant) -> Option<String> {
        match state.take(now) {
            Next::Taken(taken) => Some(taken.key.name().to_owned()),
            Next::At(_) | Next::Never => None,
        }
    }

    #[test]
    fn an_object_is_in_the_queue_once_and_never_runs_twice_at_a_time() {
        let (mut state, now) = (State::default(), Instant::now());
        for name in ["a", "b", "a"] {
            state.wake(&key(name), now);
        }
        assert_eq!(state.ready.len(), 2);
        assert_eq!(take(&mut state, now).as_deref(), Some("a"));
        state.wake(&key("a"), now);
        assert_eq!(take(&mut state, now).as_deref(), Some("b"));
        assert_eq!(take(&mut state, now), None, "a is being reconciled");
        state.done(&key("a"), Some(MINUTE), now);
        assert_eq!(take(&mut state, now).as_deref(), Some("a"), "it was woken meanwhile");
        state.done(&key("a"), None, now);
        state.done(&key("b"), None, now);
        assert!(matches!(state.take(now), Next::Never));
        assert!(state.entries.is_empty());
    }

    #[test]
    fn appointments_are_kept_moved_forward_and_forgotten() {
        let (mut state, now) = (State::default(), Instant::now());
        for name in ["a", "b", "c"] {
            state.wake(&key(name), now);
            take(&mut state, now);
            state.done(&key(name), Some(MINUTE), now);
        }
        state.wake(&key("b"), now);
        assert_eq!(take(&mut state, now).as_deref(), Some("b"));
        state.done(&key("b"), None, now);
        state.forget(&key("c"));
        assert!(matches!(state.take(now), Next::At(at) if at == now + MINUTE));
        assert_eq!(take(&mut state, now + MINUTE).as_deref(), Some("a"));
        state.done(&key("a"), None, now + MINUTE);
        assert!(matches!(state.take(now + 2 * MINUTE), Next::Never), "b was woken instead, c is forgotten");
    }

    #[tokio::test]
    async fn a_wake_up_ends_the_wait() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.take().await.key }
        });
        tokio::task::yield_now().await;
        queue.wake(&key("a"));
        assert_eq!(waiting.await.unwrap(), key("a"));
    }
}
