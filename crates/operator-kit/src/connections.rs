//! `Connections`: those of a server that every client in the cluster can reach.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::files;

/// Time between two warnings.
const WARNING: Duration = Duration::from_mins(1);
/// Time after a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(10);

/// The open connections of a server, at most so many: one more ends the one that has been idle for longest, so that no client waits for
/// others that keep theirs. One that is [busy](Activity::begin) is not ended. Dropping it ends all.
pub(crate) struct Connections {
    open: Vec<(Activity, AbortOnDropHandle<()>)>,
    limit: usize,
    server: &'static str,
    changed: Arc<Notify>,
    closed: usize,
    warned: Option<Instant>,
}

impl Connections {
    /// Returns none. `server`: its name in the log. `limit`: of connections, where the process may open so many files.
    pub(crate) fn new(server: &'static str, limit: usize) -> Self {
        Self {
            open: Vec::new(),
            limit: files::connections(limit),
            server,
            changed: Arc::default(),
            closed: 0,
            warned: None,
        }
    }

    /// Serves one more. Waits where all are busy, until one is not.
    pub(crate) async fn spawn<F>(&mut self, connection: impl FnOnce(Activity) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        while !self.make_room() {
            self.changed.notified().await;
        }
        let activity = Activity::new(&self.changed);
        let connection = connection(activity.clone());
        self.open.push((activity, AbortOnDropHandle::new(tokio::spawn(connection))));
    }

    /// Ends the one that has been idle for longest, where one could not be accepted: the process may have too many files open.
    pub(crate) async fn not_accepted(&mut self, error: &std::io::Error) {
        self.open.retain(|(_, connection)| !connection.is_finished());
        if self.take_warning() {
            warn!(server = self.server, %error, connections = self.open.len(), "a connection is not accepted");
        }
        self.end_idle();
        tokio::time::sleep(PAUSE).await;
    }

    /// Returns whether there is room for one more, and ends one that is idle where that makes it.
    fn make_room(&mut self) -> bool {
        self.open.retain(|(_, connection)| !connection.is_finished());
        if self.open.len() < self.limit {
            return true;
        }
        if !self.end_idle() {
            return false;
        }
        self.closed += 1;
        if self.take_warning() {
            warn!(
                server = self.server,
                connections = self.limit,
                closed = self.closed,
                "too many connections, those that are idle for longest are closed"
            );
            self.closed = 0;
        }
        true
    }

    /// Ends the one that has been idle for longest. Returns false if all are busy.
    fn end_idle(&mut self) -> bool {
        let idle = self.open.iter().enumerate();
        let idle = idle.filter_map(|(index, (activity, _))| Some((activity.idle_since()?, index)));
        let Some((_, index)) = idle.min() else { return false };
        drop(self.open.swap_remove(index));
        true
    }

    /// Returns whether a warning is due, and counts it as given.
    fn take_warning(&mut self) -> bool {
        let is_due = self.warned.is_none_or(|at| at.elapsed() >= WARNING);
        if is_due {
            self.warned = Some(Instant::now());
        }
        is_due
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(self) {
        for (_, connection) in self.open {
            // A panic in one is in the log.
            let _ = connection.await;
        }
    }
}

/// Whether a connection has a request in flight. Clones are of the same connection.
#[derive(Clone)]
pub(crate) struct Activity {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

struct State {
    /// Requests in flight.
    requests: usize,
    /// Since when there are none, if there are none.
    idle_since: Instant,
}

impl Activity {
    fn new(changed: &Arc<Notify>) -> Self {
        let state = State { requests: 0, idle_since: Instant::now() };
        Self { state: Arc::new(Mutex::new(state)), changed: Arc::clone(changed) }
    }

    /// The connection is busy until the returned value is dropped.
    pub(crate) fn begin(&self) -> Busy {
        self.state().requests += 1;
        Busy(self.clone())
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.requests == 0).then_some(state.idle_since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight.
pub(crate) struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        state.idle_since = Instant::now();
        drop(state);
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc;

    use super::*;

    /// Tells when it is dropped.
    struct Ended(usize, mpsc::UnboundedSender<usize>);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.1.send(self.0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_idle_for_longest_makes_room_and_a_busy_one_is_waited_for() {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let mut connections = Connections::new("test", 2);
        let mut activities = Vec::new();
        let mut open = async |connections: &mut Connections, number| {
            let end = Ended(number, sender.clone());
            connections
                .spawn(|activity| {
                    activities.push(activity);
                    async move {
                        let _end = end;
                        pending::<()>().await;
                    }
                })
                .await;
            activities[number].clone()
        };
        let first = open(&mut connections, 0).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = open(&mut connections, 1).await;
        // The first one has a request, and then is idle for less time.
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first.begin());
        open(&mut connections, 2).await;
        assert_eq!(ended.recv().await, Some(1));
        drop(second);

        let (one, other) = (first.begin(), first.begin());
        open(&mut connections, 3).await;
        assert_eq!(ended.recv().await, Some(2), "the first one is busy");
        drop(one);
        open(&mut connections, 4).await;
        assert_eq!(ended.recv().await, Some(3), "it still has a request");

        // The process has too many files open, although the limit is not reached.
        connections.limit = 3;
        connections.not_accepted(&std::io::Error::from_raw_os_error(24)).await;
        assert_eq!(ended.recv().await, Some(4));
        connections.limit = 2;
        open(&mut connections, 5).await;

        let _busy: Vec<_> = connections.open.iter().map(|(activity, _)| activity.begin()).collect();
        drop(other);
        let late = tokio::time::timeout(Duration::from_mins(1), open(&mut connections, 6));
        assert!(late.await.is_err(), "all are busy");
        assert_eq!(
            (ended.try_recv(), connections.open.len()),
            (Ok(6), 2),
            "only the one that waited has ended"
        );
    }
}
