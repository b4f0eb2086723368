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
/// How long after its last refusal a watch whose cache is complete counts as refused. The answers come fast, so several attempts fall
/// into this time.
const REFUSED: Duration = LONGEST_PAUSE.saturating_mul(3);

/// How long the cache lacks a namespace.
#[derive(Clone, Copy, Debug)]
enum Lack {
    /// Until its first list is in the cache.
    UntilListed,
    /// The API server refused the watch: until then, if it does not do so again.
    Until(Instant),
}

/// How far a watch is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// The first list is in the cache.
    pub(crate) is_complete: bool,
    /// The first list of every namespace is in the cache, but for those that the API server refuses; not all are refused.
    is_enough: bool,
    /// The namespaces that the cache lacks, or may have as they were before the API server refused their watch.
    lacking: Vec<(String, Lack)>,
    /// What the watch fails on, and when it did last.
    problem: Option<(String, Instant)>,
}

impl Progress {
    /// Returns the progress of a watch that has not begun.
    pub(super) fn new(namespaces: &[Option<String>]) -> Self {
        let lacking =
            namespaces.iter().map(|name| (name.clone().unwrap_or_default(), Lack::UntilListed)).collect();
        Self { lacking, ..Self::default() }
    }

    /// Returns the progress of what lacks nothing more.
    pub(crate) fn complete() -> Self {
        Self { is_complete: true, is_enough: true, ..Self::default() }
    }

    /// Publishes how far the watches of one cache are. Receivers are notified of what is new in it.
    pub(super) fn publish(sender: &sync::watch::Sender<Self>, states: &[WatchState]) {
        let now = Instant::now();
        let problem = WatchState::problem(states, now).map(|problem| (problem.to_owned(), now));
        let lacking = states.iter().filter(|state| !state.synced || state.is_refused(now)).map(|state| {
            let refused = state.refused.filter(|_| state.synced);
            let lack = refused.map_or(Lack::UntilListed, |last| Lack::Until(last + REFUSED));
            (state.namespace.clone().unwrap_or_default(), lack)
        });
        let new = Self {
            is_complete: states.iter().all(|state| state.synced),
            is_enough: states.iter().any(|state| state.synced)
                && states.iter().all(|state| state.synced || state.is_refused(now)),
            lacking: lacking.collect(),
            problem,
        };
        sender.send_if_modified(|known| {
            let view =
                |progress: &Self| (progress.is_complete, progress.is_enough, progress.problem(now).is_some());
            let is_new = view(known) != view(&new);
            *known = new;
            is_new
        });
    }

    /// Returns whether controllers may begin.
    pub(crate) fn is_enough(&self) -> bool {
        self.is_enough
    }

    /// Returns whether the cache lacks what is in a namespace, or may have it as it was before the API server refused its watch.
    /// An empty text, the namespace of cluster-scoped objects: whether it lacks all namespaces.
    pub(crate) fn lacks(&self, namespace: &str, now: Instant) -> bool {
        let is_over = |lack: &Lack| matches!(lack, Lack::Until(until) if now >= *until);
        let mut lacking = self.lacking.iter().filter(|(_, lack)| !is_over(lack));
        lacking.any(|(name, _)| name.is_empty() || name == namespace)
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
    /// `None`: all namespaces, or a cluster-scoped kind.
    namespace: Option<String>,
    synced: bool,
    /// When the API server answered 403 last, if nothing came since.
    refused: Option<Instant>,
    failures: u32,
    error: Option<String>,
    /// What a server does that no API server does, and when it did last. No success ends it: such a server answers in between.
    misbehaviour: Option<(String, Instant)>,
}

impl WatchState {
    pub(super) fn new(namespace: Option<String>) -> Self {
        Self { namespace, ..Self::default() }
    }

    /// Returns whether the first list is in the cache.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Returns whether the API server refuses this watch: the namespace is gone, or the rights are missing.
    fn is_refused(&self, now: Instant) -> bool {
        self.refused.is_some_and(|last| !self.synced || now < last + REFUSED)
    }

    /// Notes a success, and returns whether it is the first after a refusal.
    pub(super) fn went_on<K>(&mut self, event: &Event<K>) -> bool {
        // The beginning of a list is no success yet.
        if !matches!(event, Event::Init) {
            (self.failures, self.error) = (0, None);
        }
        if matches!(event, Event::InitDone) {
            self.synced = true;
        }
        // The cache has what it lacked when the list ends.
        !matches!(event, Event::Init | Event::InitApply(_)) && self.refused.take().is_some()
    }

    /// Counts a failure, and returns whether it is another than the last. `is_refused`: it was a 403.
    pub(super) fn failed(&mut self, error: &str, is_refused: bool) -> bool {
        if is_refused {
            self.refused = Some(Instant::now());
        }
        self.failures = self.failures.saturating_add(1);
        let is_new = self.error.as_deref() != Some(error);
        self.error = Some(error.to_owned());
        is_new
    }

    /// Counts what no API server does, and returns whether it is another than the last, or is done again after some time.
    pub(super) fn misbehaved(&mut self, error: &str) -> bool {
        let now = Instant::now();
        let is_known = self.current_misbehaviour(now) == Some(error);
        self.misbehaviour = Some((error.to_owned(), now));
        !is_known
    }

    fn current_misbehaviour(&self, now: Instant) -> Option<&str> {
        let (text, last) = self.misbehaviour.as_ref()?;
        (now < *last + FAILING).then_some(text)
    }

    /// Returns what the watches fail on: all failures before the first lists, later those that go on.
    fn problem(all: &[Self], now: Instant) -> Option<&str> {
        let failing = |state: &&Self| !state.synced || state.failures >= MANY;
        let misbehaving = all.iter().find_map(|state| state.current_misbehaviour(now));
        misbehaving.or_else(|| all.iter().filter(failing).find_map(|state| state.error.as_deref()))
    }

    /// Reports the watches of one cache. Namespaces that are refused do not count where others are served.
    pub(super) fn report(all: &[Self], readiness: &Readiness) {
        let now = Instant::now();
        let (refused, granted): (Vec<_>, Vec<_>) = all.iter().partition(|state| state.is_refused(now));
        let relevant = if granted.is_empty() { &refused } else { &granted };
        if let Some(waiting) = relevant.iter().find(|state| !state.synced) {
            readiness.not_ready(waiting.error.as_deref().unwrap_or("the first list is not complete"));
        } else if let Some(troubled) = relevant.iter().find(|state| state.failures >= MANY) {
            readiness.disturbed(troubled.error.as_deref().unwrap_or_default(), REFUSED);
        } else if granted.is_empty() || refused.is_empty() {
            readiness.ready();
        } else {
            let errors: Vec<_> = refused.iter().filter_map(|state| state.error.as_deref()).collect();
            readiness.limited(errors.join("; "), REFUSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[test]
    fn a_watch_fails_until_its_first_list_and_then_until_no_failure_follows() {
        let now = Instant::now();
        let (soon, later) = (now + FAILING / 2, now + FAILING);
        let progress = |is_complete| Progress {
            is_complete,
            problem: Some(("refused".to_owned(), now)),
            ..Progress::default()
        };
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
        Progress::publish(&sender, std::slice::from_ref(&state));
        called.recv().await.unwrap();
        let fail = |state: &mut WatchState| {
            state.failed("reset", false);
            Progress::publish(&sender, std::slice::from_ref(state));
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

    #[tokio::test(start_paused = true)]
    async fn a_server_that_misbehaves_is_reported_once_although_it_answers_in_between() {
        let mut state = WatchState::default();
        let mut misbehave = |text: &str| {
            let is_new = state.misbehaved(text);
            state.went_on(&Event::<()>::InitDone);
            let problem = WatchState::problem(std::slice::from_ref(&state), Instant::now());
            assert_eq!(problem, Some(text));
            is_new
        };
        assert!(misbehave("too much"));
        for _ in 0..100 {
            tokio::time::advance(LONGEST_PAUSE).await;
            assert!(!misbehave("too much"));
        }
        assert!(misbehave("too short"));
        tokio::time::advance(FAILING).await;
        assert!(misbehave("too short"), "after a time without it");
        tokio::time::advance(FAILING).await;
        assert_eq!(WatchState::problem(&[state], Instant::now()), None);
    }

    #[test]
    fn receivers_are_notified_of_what_is_new() {
        let sender = sync::watch::Sender::default();
        let mut receiver = sender.subscribe();
        let mut notified = |state: &WatchState| {
            Progress::publish(&sender, std::slice::from_ref(state));
            receiver.has_changed().unwrap() && {
                receiver.mark_unchanged();
                true
            }
        };
        let mut state = WatchState::default();
        assert!(!notified(&state));
        assert!(
            state.failed("refused", false) && notified(&state),
            "the first failure before the first list"
        );
        assert!(state.failed("reset", false) && !notified(&state), "another text");
        state.went_on(&Event::<()>::InitDone);
        assert!(notified(&state), "complete");
        for n in 1..=MANY {
            state.failed("reset", false);
            assert_eq!(notified(&state), n == MANY, "{n} in a row");
        }
        state.went_on(&Event::Apply(()));
        assert!(notified(&state), "over");
    }

    /// Two namespaces: what controllers may do, which of them the cache lacks, and what readiness says.
    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_is_refused_keeps_no_other_from_work() {
        let health = Health::default();
        let readiness = health.register("watch");
        let sender = sync::watch::Sender::new(Progress::new(&[Some("a".to_owned()), Some("b".to_owned())]));
        let mut states = ["a", "b"].map(|name| WatchState::new(Some(name.to_owned())));
        let view = |states: &[WatchState]| {
            Progress::publish(&sender, states);
            WatchState::report(states, &readiness);
            let (progress, now) = (sender.borrow(), Instant::now());
            let lacks: String = ["a", "b"].into_iter().filter(|name| progress.lacks(name, now)).collect();
            let report = health.report().1.lines().next().unwrap().to_owned();
            (progress.is_enough(), lacks, report)
        };
        let is = |enough, lacks: &str, report: &str| (enough, lacks.to_owned(), report.to_owned());
        let not_yet = "[-] watch: the first list is not complete";
        assert!(sender.borrow().lacks("a", Instant::now()), "before the watch begins");
        assert_eq!(view(&states), is(false, "ab", not_yet));
        states[1].failed("forbidden", true);
        assert_eq!(view(&states), is(false, "ab", not_yet));
        states[0].went_on(&Event::<()>::InitDone);
        assert_eq!(view(&states), is(true, "b", "[+] watch: forbidden"));
        // Without a list, no time and no other failure makes it complete.
        tokio::time::advance(2 * REFUSED).await;
        states[1].failed("reset", false);
        states[1].went_on(&Event::<()>::InitApply(()));
        assert_eq!(view(&states).1, "b");
        states[1].went_on(&Event::<()>::InitDone);
        assert_eq!(view(&states), is(true, "", "[+] watch"));
        // What the cache has may be stale. A watch that is resumed is silent.
        states[1].failed("forbidden", true);
        assert_eq!(view(&states), is(true, "b", "[+] watch: forbidden"));
        tokio::time::advance(REFUSED).await;
        assert_eq!(view(&states), is(true, "", "[+] watch"));
        // Other failures are no matter of one namespace.
        (0..MANY).for_each(|_| _ = states[1].failed("reset", false));
        assert_eq!(view(&states), is(true, "", "[-] watch: reset"));
        // An operator without any right is not ready.
        for state in &mut states {
            (0..MANY).for_each(|_| _ = state.failed("forbidden", true));
        }
        assert_eq!(view(&states), is(true, "ab", "[-] watch: forbidden"));
        assert!(!sender.borrow().lacks("", Instant::now()), "a cluster-scoped object is in none of them");
    }

    #[test]
    fn a_refused_watch_of_all_namespaces_lacks_every_one() {
        let sender = sync::watch::Sender::new(Progress::new(&[None]));
        let mut state = WatchState::new(None);
        state.failed("forbidden", true);
        Progress::publish(&sender, std::slice::from_ref(&state));
        let progress = sender.borrow();
        assert!(!progress.is_enough());
        assert!(["", "a"].into_iter().all(|name| progress.lacks(name, Instant::now())));
    }
}
