//! Sessions outside, one for each AKODeploymentConfig; those with the same identity share one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A session that ends when no AKODeploymentConfig uses it any more. Clones are the same session.
pub(crate) trait Shared: Clone + Send + Sync + 'static {
    /// What makes a session equal to another: where it is, and with which credentials.
    type Identity: PartialEq;

    /// Ends the session; one that cannot be ended ends by itself.
    fn end(&self) -> impl Future<Output = ()> + Send;
}

/// The sessions, by the UID of the AKODeploymentConfig.
pub(crate) struct Sessions<S: Shared>(Mutex<HashMap<String, (S::Identity, S)>>);

impl<S: Shared> Default for Sessions<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Shared> Sessions<S> {
    /// Returns the session with this identity, which `start` makes if there is none. An earlier one of the AKODeploymentConfig ends, unless
    /// another one uses it.
    pub(crate) fn get<E>(
        &self,
        uid: &str,
        identity: S::Identity,
        start: impl FnOnce() -> Result<S, E>,
    ) -> Result<S, E> {
        let mut all = self.all();
        let known = all.values().find(|(known, _)| *known == identity).map(|(_, session)| session.clone());
        let session = known.map_or_else(start, Ok)?;
        let earlier = all.insert(uid.to_owned(), (identity, session.clone()));
        end_if_unused(&all, earlier);
        Ok(session)
    }

    /// Forgets the session of an AKODeploymentConfig that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        let mut all = self.all();
        let earlier = all.remove(uid);
        end_if_unused(&all, earlier);
    }

    /// Ends all sessions.
    pub(crate) async fn close(&self) {
        let sessions: Vec<S> = self.all().drain().map(|(_, (_, session))| session).collect();
        futures::future::join_all(sessions.iter().map(Shared::end)).await;
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (S::Identity, S)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a session that was taken out, unless another AKODeploymentConfig has it.
fn end_if_unused<S: Shared>(all: &HashMap<String, (S::Identity, S)>, earlier: Option<(S::Identity, S)>) {
    let unused = earlier.filter(|(identity, _)| all.values().all(|(other, _)| other != identity));
    if let Some((_, session)) = unused {
        tokio::spawn(async move { session.end().await });
    }
}
