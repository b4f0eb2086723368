//! Clients of vCenters, one for each AKODeploymentConfig with port groups; those with the same vCenter and Secrets share a session.
//!
//! Owns the sessions. A change of the vCenter or of the Secrets ends the session unless another AKODeploymentConfig uses it.

use infra_clients::Trust;
use infra_clients::vsphere::networks::Networks;
use infra_clients::vsphere::{Config, Error, Session};

use crate::secrets::VcenterAccount;
use crate::sessions::{Sessions, Shared};

/// The clients.
#[derive(Default)]
pub struct Vcenters(Sessions<Session>);

impl Shared for Session {
    /// Address and versions of the Secrets.
    type Identity = (String, String);

    async fn end(&self) {
        self.close().await;
    }
}

impl Vcenters {
    /// Returns the client of the AKODeploymentConfig with this UID. It logs in with its first call.
    ///
    /// # Errors
    /// If the address of the vCenter or the authority cannot be used.
    pub fn client(&self, uid: &str, server: &str, account: &VcenterAccount) -> Result<Networks, Error> {
        let identity = (server.to_owned(), account.version.clone());
        let session = self.0.get(uid, identity, || {
            let mut config = Config::new(server, &*account.username, account.password.clone());
            config.agent = ("ako-operator", env!("CARGO_PKG_VERSION"));
            if let Some(pem) = &account.ca_pem {
                config.trust = Trust::CaBundle(pem.as_bytes().to_vec());
            }
            Session::start(config)
        });
        Ok(Networks::new(session?))
    }

    /// Forgets the client of an AKODeploymentConfig that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }

    /// Ends all sessions.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
