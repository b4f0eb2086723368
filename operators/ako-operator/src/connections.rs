//! Clients of AVI controllers, one for each AKODeploymentConfig; those with the same controller and credentials share one.
//!
//! Owns their sessions. A change of the controller, the credentials or the authority ends the session unless another one uses it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use infra_clients::Trust;
use infra_clients::avi::{Avi, Config, Credentials, Error, Identity, Limit, Observer};

use crate::secrets::Admin;
use crate::sessions::{Sessions, Shared};

/// Calls in flight at one controller, for all AKODeploymentConfigs.
const CALLS: usize = 8;

/// The clients.
pub struct Connections {
    observer: Observer,
    sessions: Sessions<Avi>,
    /// The versions of the Secrets with the credentials, by the UID of the AKODeploymentConfig.
    versions: Mutex<HashMap<String, String>>,
    /// By host and port.
    limits: Mutex<HashMap<String, Limit>>,
}

impl Shared for Avi {
    type Identity = Identity;

    async fn end(&self) {
        if let Err(error) = self.close().await {
            tracing::debug!(%error, "the controller ends the session by itself");
        }
    }
}

impl Connections {
    /// Creates an empty set. `observer` receives every exchange.
    #[must_use]
    pub fn new(observer: Observer) -> Self {
        Self { observer, sessions: Sessions::default(), versions: Mutex::default(), limits: Mutex::default() }
    }

    /// Returns the client of the AKODeploymentConfig with this UID. It logs in with its first call. Credentials that the controller refused are
    /// sent again when one of their Secrets changes, also where only an annotation does: the account may be unlocked.
    ///
    /// # Errors
    /// If the address of the controller or the authority cannot be used.
    pub fn client(
        &self,
        uid: &str,
        controller: &str,
        Admin { credentials, version }: &Admin,
    ) -> Result<Avi, Error> {
        let account = Credentials::password(&*credentials.username, credentials.password.clone());
        let mut config = Config::new(controller, account);
        config.trust = Trust::CaBundle(credentials.ca_pem.as_bytes().to_vec());
        config.agent = ("ako-operator", env!("CARGO_PKG_VERSION"));
        config.observer = Some(self.observer.clone());
        let (identity, authority) = (config.identity()?, config.authority()?);
        // Held until the client knows: none of the others logs in before.
        let mut versions = locked(&self.versions);
        let client = self.sessions.get(uid, identity, || {
            let mut limits = locked(&self.limits);
            config.limit = limits.entry(authority).or_insert_with(|| Limit::new(CALLS)).clone();
            Avi::start(config)
        })?;
        let is_new = versions.values().all(|known| known != version);
        // Once for all that name these Secrets: a third wrong password would lock the account.
        if versions.insert(uid.to_owned(), version.clone()).is_some() && is_new {
            client.retry_refused();
        }
        Ok(client)
    }

    /// Forgets the client of an AKODeploymentConfig that is gone.
    pub fn forget(&self, uid: &str) {
        self.sessions.forget(uid);
        locked(&self.versions).remove(uid);
    }

    /// Ends all sessions.
    pub async fn close(&self) {
        self.sessions.close().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use avi_simulator::Simulator;

    use super::*;

    /// Three AKODeploymentConfigs with the same Secret: each change of it leads to one login.
    #[tokio::test]
    async fn a_refused_password_is_sent_once_for_each_version_of_its_secret() {
        let avi = Simulator::start(avi_simulator::Config::default()).await.unwrap();
        let connections = Connections::new(Observer::new(|_| {}));
        for (version, logins) in [("1", 1), ("1", 1), ("2", 2), ("2", 2)] {
            let credentials = crate::delivery::Credentials {
                username: "admin".into(),
                password: "wrong".to_owned().into(),
                ca_pem: avi.ca_pem().into(),
            };
            let admin = Admin { credentials, version: version.into() };
            for uid in ["a", "b", "c"] {
                connections.client(uid, avi.url(), &admin).unwrap().versions().await.unwrap_err();
            }
            assert_eq!(avi.control().logins().failed, logins, "version {version}");
        }
    }
}
