//! How a watch is doing: for readiness checks, for those who wait for its cache, and for the objects of other clusters.

use std::time::Duration;

use kube::runtime::watcher::Event;
use tokio::{sync, time::Instant};

use super::LONGEST_PAUSE;
use crate::health::Readiness;

/// How many failures in a row are a problem.
const MANY: u32 = 3;
/// How long after its last failure a watch whose cache is complete counts as failing: longer than one attempt takes and the pause
/// before it.
const FAILING: Duration = Duration::from_mins(1);

/// How far a watch is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The first list is in the cache.
    pub(crate) is_complete: bool,
    /// What the watch fails on, and when it did last.
    problem: Option<(String, Instant)>,
}

impl Progress {
    /// Tells how far the watches of one cache are. Receivers are notified of what is new in it.
    pub(super) fn tell(sender: &sync::watch::Sender<Self>, states: &[WatchState]) {
        let now = Instant::now();
        let problem = WatchState::problem(states).map(|problem| (problem.to_owned(), now));
        let new = Self { is_complete: states.iter().all(|state| state.synced), problem };
        sender.send_if_modified(|known| {
            let view = |progress: &Self| (progress.is_complete, progress.problem(now).is_some());
            let is_new = view(known) != view(&new);
            *known = new;
            is_new
        });
    }

    /// Returns what the watch fails on. Without a first list, it fails until it has one; later, nothing tells that it goes on where
    /// nothing changes, so it fails until no failure follows.
    pub(crate) fn problem(&self, now: Instant) -> Option<&str> {
        let (problem, last) = self.problem.as_ref()?;
        (!self.is_complete || now < *last + FAILING).then_some(problem)
    }

    /// Calls `f` when the first list is complete, and when the watch begins and ceases to fail, until the watch ends.
    pub(crate) async fn follow(mut progress: sync::watch::Receiver<Self>, f: impl Fn()) {
        let mut known = (false, false);
        loop {
            let (now, until) = {
                let (progress, now) = (progress.borrow_and_update(), Instant::now());
                ((progress.is_complete, progress.problem(now).is_some()), progress.failing_until(now))
            };
            if now != known {
                f();
                known = now;
            }
            let is_over = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return },
                () = is_over => {}
            }
        }
    }

    /// Returns when the watch counts as going on, unless it fails again.
    fn failing_until(&self, now: Instant) -> Option<Instant> {
        let (_, last) = self.problem.as_ref().filter(|_| self.is_complete)?;
        Some(*last + FAILING).filter(|until| now < *until)
    }
}

/// How one watch is doing.
///
/// Single interruptions are normal. [`MANY`] in a row are a problem, which counts as over when no other follows: a watch that
/// was resumed is silent until something changes.
#[derive(Default)]
pub(super) struct WatchState {
    pub(super) synced: bool,
    failures: u32,
    error: Option<String>,
}

impl WatchState {
    pub(super) fn went_on<K>(&mut self, event: &Event<K>) {
        // The beginning of a list is no success yet.
        if !matches!(event, Event::Init) {
            (self.failures, self.error) = (0, None);
        }
        if matches!(event, Event::InitDone) {
            self.synced = true;
        }
    }

    /// Counts a failure, and returns whether it is another than the last.
    pub(super) fn failed(&mut self, error: &str) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_new = self.error.as_deref() != Some(error);
        self.error = Some(error.to_owned());
        is_new
    }

    /// Returns what the watches fail on: all failures before the first lists, later those that go on.
    fn problem(all: &[Self]) -> Option<&str> {
        let failing = |state: &&Self| !state.synced || state.failures >= MANY;
        all.iter().filter(failing).find_map(|state| state.error.as_deref())
    }

    pub(super) fn report(all: &[Self], readiness: &Readiness) {
        if let Some(waiting) = all.iter().find(|state| !state.synced) {
            readiness.not_ready(waiting.error.as_deref().unwrap_or("the first list is not complete"));
        } else if let Some(troubled) = all.iter().find(|state| state.failures >= MANY) {
            readiness.disturbed(troubled.error.as_deref().unwrap_or_default(), 3 * LONGEST_PAUSE);
        } else {
            readiness.ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_fails_until_its_first_list_and_then_until_no_failure_follows() {
        let now = Instant::now();
        let (soon, later) = (now + FAILING / 2, now + FAILING);
        let progress = |is_complete| Progress { is_complete, problem: Some(("refused".to_owned(), now)) };
        for (is_complete, at, problem, until) in [
            (false, soon, Some("refused"), None),
            (false, later, Some("refused"), None),
            (true, soon, Some("refused"), Some(later)),
            (true, later, None, None),
        ] {
            let progress = progress(is_complete);
            assert_eq!((progress.problem(at), progress.failing_until(at)), (problem, until), "{is_complete}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_learns_that_a_problem_is_over_although_nothing_happens() {
        let (sender, (calls, mut called)) = (sync::watch::Sender::default(), sync::mpsc::unbounded_channel());
        let following = tokio::spawn(Progress::follow(sender.subscribe(), move || calls.send(()).unwrap()));
        let mut state = WatchState::default();
        state.went_on(&Event::<()>::InitDone);
        Progress::tell(&sender, std::slice::from_ref(&state));
        called.recv().await.unwrap();
        let fail = |state: &mut WatchState| {
            state.failed("refused");
            Progress::tell(&sender, std::slice::from_ref(state));
        };
        (1..=MANY).for_each(|_| fail(&mut state));
        called.recv().await.unwrap();
        // Another failure in time puts off the end.
        tokio::time::sleep(FAILING / 2).await;
        fail(&mut state);
        let last = Instant::now();
        called.recv().await.unwrap();
        let after = last.elapsed();
        assert!(after >= FAILING && after < FAILING + Duration::from_secs(1), "{after:?}");
        fail(&mut state);
        called.recv().await.unwrap();
        drop(sender);
        following.await.unwrap();
    }

    #[test]
    fn receivers_are_notified_of_what_is_new() {
        let sender = sync::watch::Sender::default();
        let mut receiver = sender.subscribe();
        let mut notified = |state: &WatchState| {
            Progress::tell(&sender, std::slice::from_ref(state));
            receiver.has_changed().unwrap() && {
                receiver.mark_unchanged();
                true
            }
        };
        let mut state = WatchState::default();
        assert!(!notified(&state));
        assert!(state.failed("refused") && notified(&state), "the first failure before the first list");
        assert!(state.failed("reset") && !notified(&state), "another text");
        state.went_on(&Event::<()>::InitDone);
        assert!(notified(&state), "complete");
        for n in 1..=MANY {
            state.failed("refused");
            assert_eq!(notified(&state), n == MANY, "{n} in a row");
        }
        state.went_on(&Event::Apply(()));
        assert!(notified(&state), "over");
    }
}
