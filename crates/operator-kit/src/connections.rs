//! `Connections`: those of a server that every client in the cluster can reach.

use std::{collections::VecDeque, future::Future};

use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// The open connections of a server, at most so many: one more ends the oldest, so that no client waits for others that keep theirs.
/// Dropping it ends them.
pub(crate) struct Connections {
    open: VecDeque<AbortOnDropHandle<()>>,
    limit: usize,
    server: &'static str,
    was_full: bool,
}

impl Connections {
    /// Returns none. `server`: its name in the log.
    pub(crate) fn new(server: &'static str, limit: usize) -> Self {
        Self { open: VecDeque::new(), limit, server, was_full: false }
    }

    /// Serves one more.
    pub(crate) fn spawn(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.open.retain(|connection| !connection.is_finished());
        if self.open.len() >= self.limit {
            self.open.pop_front();
            if !self.was_full {
                warn!(
                    server = self.server,
                    connections = self.limit,
                    "too many connections, the oldest is closed"
                );
            }
            self.was_full = true;
        }
        self.open.push_back(AbortOnDropHandle::new(tokio::spawn(connection)));
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(self) {
        for connection in self.open {
            // A panic in one is in the log.
            let _ = connection.await;
        }
    }
}
