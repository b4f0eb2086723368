//! Clients of vCenters, one for each AKODeploymentConfig with port groups; those with the same vCenter and Secrets share a session.
//!
//! Owns the sessions. A change of the vCenter or of the Secrets ends the session unless another AKODeploymentConfig uses it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use infra_clients::Trust;
use infra_clients::vsphere::networks::Networks;
use infra_clients::vsphere::{Config, Error, Session};

use crate::secrets::VcenterAccount;

/// The clients.
#[derive(Default)]
pub struct Vcenters(Mutex<HashMap<String, Entry>>);

struct Entry {
    /// Address and versions of the Secrets.
    identity: (String, String),
    session: Session,
}

impl Vcenters {
    /// Returns the client of the AKODeploymentConfig with this UID. It logs in with its first call.
    ///
    /// # Errors
    /// If the address of the vCenter or the authority cannot be used.
    pub fn client(&self, uid: &str, server: &str, account: &VcenterAccount) -> Result<Networks, Error> {
        let identity = (server.to_owned(), account.version.clone());
        let mut entries = self.entries();
        let known = entries.values().find(|entry| entry.identity == identity);
        let session = if let Some(known) = known {
            known.session.clone()
        } else {
            let mut config = Config::new(server, &*account.username, account.password.clone());
            config.agent = ("ako-operator", env!("CARGO_PKG_VERSION"));
            if let Some(pem) = &account.ca_pem {
                config.trust = Trust::CaBundle(pem.as_bytes().to_vec());
            }
            Session::start(config)?
        };
        let earlier = entries.insert(uid.to_owned(), Entry { identity, session: session.clone() });
        close_if_unused(&entries, earlier);
        Ok(Networks::new(session))
    }

    /// Forgets the client of an AKODeploymentConfig that is gone.
    pub fn forget(&self, uid: &str) {
        let mut entries = self.entries();
        let earlier = entries.remove(uid);
        close_if_unused(&entries, earlier);
    }

    /// Ends all sessions.
    pub async fn close(&self) {
        let sessions: Vec<Session> = self.entries().drain().map(|(_, entry)| entry.session).collect();
        futures::future::join_all(sessions.iter().map(Session::close)).await;
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the session of an entry that was taken out, unless another one has it.
fn close_if_unused(entries: &HashMap<String, Entry>, earlier: Option<Entry>) {
    let unused = earlier.filter(|old| entries.values().all(|entry| entry.identity != old.identity));
    if let Some(Entry { session, .. }) = unused {
        tokio::spawn(async move { session.close().await });
    }
}
