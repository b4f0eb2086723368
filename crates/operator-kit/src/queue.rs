//! The work queue of a controller: which object is reconciled next.
//!
//! An object is in the queue at most once, is never reconciled twice at the same time, and one that is woken while it is
//! being reconciled is reconciled again afterwards. Owns the appointments (look again after a delay); an earlier wake-up
//! replaces a later appointment.
//!
//! An object whose last pass was slow is taken while only a few others are that were slow: however many wait for servers that answer slowly,
//! others find room.

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
    /// Those that are ready and were slow.
    slow: VecDeque<Key>,
    /// How many are being reconciled that were slow.
    slow_running: usize,
    /// Appointments, the earliest first.
    due: BTreeSet<(Instant, Key)>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    place: Place,
    /// Its last pass was slow.
    is_slow: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// In `ready` or `slow` since then.
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

    /// Takes the object that has waited longest, of those that were slow at most `most_slow` at the same time. Resolves when there is one.
    pub(crate) async fn take(&self, most_slow: usize) -> Taken {
        loop {
            let next = self.lock().take(most_slow, Instant::now());
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

    /// Gives back an object that was taken, to be reconciled again after `pause` (`None`: when it is woken). `is_slow`: its pass was slow.
    pub(crate) fn done(&self, key: &Key, pause: Option<Duration>, is_slow: bool) {
        self.lock().done(key, pause, is_slow, Instant::now());
        self.changed.notify_one();
    }

    /// Forgets the appointment of an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().forget(key);
    }

    /// Returns how many objects wait to be reconciled now.
    pub(crate) fn depth(&self) -> usize {
        let state = self.lock();
        state.ready.len() + state.slow.len()
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
        let known = self.entries.get(key).copied();
        match known.map(|entry| entry.place) {
            Some(Place::Ready(_)) => return,
            Some(Place::Running { .. }) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.place = Place::Running { again: true };
                }
                return;
            }
            Some(Place::Due(_)) => self.forget(key),
            None => {}
        }
        self.push(key.clone(), now, known.is_some_and(|entry| entry.is_slow));
    }

    fn take(&mut self, most_slow: usize, now: Instant) -> Next {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((at, key)) = self.due.pop_first() {
                let is_slow = self.entries.get(&key).is_some_and(|entry| entry.is_slow);
                self.push(key, at, is_slow);
            }
        }
        let (ready, slow) = (self.since(self.ready.front()), self.since(self.slow.front()));
        let slow = slow.filter(|_| self.slow_running < most_slow);
        let is_slow = slow.is_some_and(|slow| ready.is_none_or(|ready| slow < ready));
        let Some(key) = (if is_slow { self.slow.pop_front() } else { self.ready.pop_front() }) else {
            return self.due.first().map_or(Next::Never, |(at, _)| Next::At(*at));
        };
        let since = if is_slow { slow } else { ready };
        self.slow_running += usize::from(is_slow);
        self.entries.insert(key.clone(), Entry { place: Place::Running { again: false }, is_slow });
        Next::Taken(Taken { key, waited: now.saturating_duration_since(since.unwrap_or(now)) })
    }

    /// Returns since when an object is ready.
    fn since(&self, key: Option<&Key>) -> Option<Instant> {
        match self.entries.get(key?)?.place {
            Place::Ready(since) => Some(since),
            Place::Due(_) | Place::Running { .. } => None,
        }
    }

    fn done(&mut self, key: &Key, pause: Option<Duration>, is_slow: bool, now: Instant) {
        let Some(Entry { place: Place::Running { again }, is_slow: was_slow }) = self.entries.remove(key)
        else {
            return;
        };
        self.slow_running -= usize::from(was_slow);
        if again {
            self.push(key.clone(), now, is_slow);
        } else if let Some(pause) = pause {
            let at = now + pause;
            self.entries.insert(key.clone(), Entry { place: Place::Due(at), is_slow });
            self.due.insert((at, key.clone()));
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(Entry { place: Place::Due(at), .. }) = self.entries.get(key) {
            let at = *at;
            self.due.remove(&(at, key.clone()));
            self.entries.remove(key);
        }
    }

    fn push(&mut self, key: Key, since: Instant, is_slow: bool) {
        self.entries.insert(key.clone(), Entry { place: Place::Ready(since), is_slow });
        if is_slow { &mut self.slow } else { &mut self.ready }.push_back(key);
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
        match state.take(1, now) {
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
        state.done(&key("a"), Some(MINUTE), false, now);
        assert_eq!(take(&mut state, now).as_deref(), Some("a"), "it was woken meanwhile");
        state.done(&key("a"), None, false, now);
        state.done(&key("b"), None, false, now);
        assert!(matches!(state.take(1, now), Next::Never));
        assert!(state.entries.is_empty());
    }

    #[test]
    fn appointments_are_kept_moved_forward_and_forgotten() {
        let (mut state, now) = (State::default(), Instant::now());
        for name in ["a", "b", "c"] {
            state.wake(&key(name), now);
            take(&mut state, now);
            state.done(&key(name), Some(MINUTE), false, now);
        }
        state.wake(&key("b"), now);
        assert_eq!(take(&mut state, now).as_deref(), Some("b"));
        state.done(&key("b"), None, false, now);
        state.forget(&key("c"));
        assert!(matches!(state.take(1, now), Next::At(at) if at == now + MINUTE));
        assert_eq!(take(&mut state, now + MINUTE).as_deref(), Some("a"));
        state.done(&key("a"), None, false, now + MINUTE);
        assert!(
            matches!(state.take(1, now + 2 * MINUTE), Next::Never),
            "b was woken instead, c is forgotten"
        );
    }

    #[test]
    fn objects_that_were_slow_leave_room_for_others() {
        let (mut state, now) = (State::default(), Instant::now());
        for name in ["a", "b"] {
            state.wake(&key(name), now);
            take(&mut state, now);
            state.done(&key(name), Some(Duration::ZERO), true, now);
        }
        state.wake(&key("c"), now + MINUTE);
        let now = now + MINUTE;
        assert_eq!(take(&mut state, now).as_deref(), Some("a"), "it has waited longest");
        assert_eq!(take(&mut state, now).as_deref(), Some("c"), "one that was slow is enough");
        assert_eq!(take(&mut state, now), None);
        state.wake(&key("a"), now);
        state.done(&key("a"), None, false, now);
        assert_eq!(take(&mut state, now).as_deref(), Some("b"), "it waited, and a is not slow any more");
        assert_eq!(take(&mut state, now).as_deref(), Some("a"));
        for (name, is_slow) in [("a", false), ("b", true), ("c", false)] {
            state.done(&key(name), None, is_slow, now);
        }
        assert!(state.entries.is_empty() && state.slow_running == 0);
    }

    #[tokio::test]
    async fn a_wake_up_ends_the_wait() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = std::sync::Arc::clone(&queue);
            async move { queue.take(1).await.key }
        });
        tokio::task::yield_now().await;
        queue.wake(&key("a"));
        assert_eq!(waiting.await.unwrap(), key("a"));
    }
}
