//! Clients of AVI controllers, one for each AKODeploymentConfig; those with the same controller and credentials share one.
//!
//! Owns their sessions. A change of the controller, the credentials or the authority ends the session unless another one uses it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use infra_clients::Trust;
use infra_clients::avi::{Avi, Config, Credentials, Error, Limit, Observer};

use crate::delivery;

/// Calls in flight at one controller, for all AKODeploymentConfigs.
const CALLS: usize = 8;

/// The clients.
pub struct Connections {
    observer: Observer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the UID of the AKODeploymentConfig.
    clients: HashMap<String, Avi>,
    /// By host and port.
    limits: HashMap<String, Limit>,
}

impl Connections {
    /// Creates an empty set. `observer` receives every exchange.
    #[must_use]
    pub fn new(observer: Observer) -> Self {
        Self { observer, state: Mutex::default() }
    }

    /// Returns the client of the AKODeploymentConfig with this UID. It logs in with its first call.
    ///
    /// # Errors
    /// If the address of the controller or the authority cannot be used.
    pub fn client(
        &self,
        uid: &str,
        controller: &str,
        credentials: &delivery::Credentials,
    ) -> Result<Avi, Error> {
        let account = Credentials::password(&*credentials.username, credentials.password.clone());
        let mut config = Config::new(controller, account);
        config.trust = Trust::CaBundle(credentials.ca_pem.as_bytes().to_vec());
        config.agent = ("ako-operator", env!("CARGO_PKG_VERSION"));
        config.observer = Some(self.observer.clone());
        let (identity, authority) = (config.identity()?, config.authority()?);
        let mut state = self.state();
        let known = state.clients.values().find(|known| known.identity() == identity).cloned();
        let client = if let Some(known) = known {
            known
        } else {
            config.limit = state.limits.entry(authority).or_insert_with(|| Limit::new(CALLS)).clone();
            Avi::start(config)?
        };
        if let Some(earlier) = state.clients.insert(uid.to_owned(), client.clone()) {
            state.close_if_unused(earlier);
        }
        Ok(client)
    }

    /// Forgets the client of an AKODeploymentConfig that is gone.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state();
        if let Some(client) = state.clients.remove(uid) {
            state.close_if_unused(client);
        }
    }

    /// Ends all sessions.
    pub async fn close(&self) {
        let clients: Vec<Avi> = self.state().clients.drain().map(|(_, client)| client).collect();
        futures::future::join_all(clients.iter().map(Avi::close)).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the session of a client that no AKODeploymentConfig has any more.
    fn close_if_unused(&self, client: Avi) {
        if self.clients.values().all(|other| other.identity() != client.identity()) {
            tokio::spawn(async move {
                if let Err(error) = client.close().await {
                    tracing::debug!(%error, "the controller ends the session by itself");
                }
            });
        }
    }
}
