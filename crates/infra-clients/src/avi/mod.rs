//! A client of one AVI (NSX Advanced Load Balancer) controller: one session, typed objects, errors that say what to
//! do.
//!
//! ```no_run
//! # async fn example(config: infra_clients::avi::Config) -> Result<(), infra_clients::avi::Error> {
//! use infra_clients::avi::{Avi, Query, NETWORK, Scope};
//!
//! let avi = Avi::start(config)?;
//! let api = avi.api(Scope::admin());
//! let network = api.by_name(NETWORK, "vip network", &Query::new().cloud_name("Default-Cloud")).await?;
//! if let Some(network) = network.at_most_one()? {
//!     api.update(NETWORK, &network.meta.uuid, |network| network.dhcp_enabled = Some(false)).await?;
//! }
//! # Ok(()) }
//! ```
//!
//! Creating an object if it does not exist, changing a part of it, and reading a list page by page:
//!
//! ```no_run
//! # async fn example(api: infra_clients::avi::Api) -> Result<(), infra_clients::avi::Error> {
//! use futures::TryStreamExt;
//! use infra_clients::avi::objects::{Meta, Pool};
//! use infra_clients::avi::{POOL, Patch, Query};
//!
//! let pool = Pool { meta: Meta::named("web"), created_by: Some("ako-c1".into()), ..Pool::default() };
//! let pool = api.create_or_find(POOL, &pool).await?.into_inner();
//! let change = Patch::new().replace(serde_json::json!({"description": "of cluster c1"}));
//! api.patch(POOL, &pool.meta.uuid, &change).await?;
//!
//! let mut pools = api.list(POOL, &Query::new().created_by("ako-c1"));
//! while let Some(pool) = pools.try_next().await? {
//!     println!("{}", pool.meta.name);
//! }
//! # Ok(()) }
//! ```
//!
//! The first call logs in. All tasks and clones share that session, and one login follows when it ends. Credentials
//! that the controller refused are sent again once in a [lock period](Config::lock_period), and others at once: three
//! attempts lock an account, and a locked account is released after some time. A request that has an effect is
//! not sent again when it is not known whether it took effect: see [`Failure::in_doubt`](crate::Failure::in_doubt).

mod api;
mod config;
mod error;
mod list;
mod live;
mod login;
pub mod objects;
mod observe;
mod outcome;
mod query;
mod redact;
mod reference;
mod reply;
mod session;
mod version;
mod wire;

use std::fmt;
use std::sync::Arc;

use serde_json::json;
use tracing::Instrument;

pub use api::Api;
pub use config::{Config, Credentials, Identity, Limit, Proof, Scope, authority};
pub use error::{Error, Kind, REASONS};
pub use objects::{
    CLOUD, IPAM_PROFILE, NETWORK, Object, POOL, ROLE, Resource, SE_GROUP, TENANT, USER, VIRTUAL_SERVICE,
    VRF_CONTEXT, VSVIP,
};
pub use observe::{Exchange, Observer};
pub use outcome::{Created, Found, Patch, Updated};
pub use query::Query;
pub use reference::Ref;
pub use version::Version;

use session::Session;

use crate::Secret;

/// A client of one controller. Clones share its session. When the last clone is dropped, the controller ends the
/// session after some time; [`Avi::close`] ends it at once.
#[derive(Clone)]
pub struct Avi {
    session: Arc<Session>,
    locks: api::Locks,
}

/// The versions of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The version of the controller.
    pub controller: Version,
    /// The version that requests and answers are in.
    pub api: Version,
}

impl Avi {
    /// Creates a client, which logs in with its first call. To be used within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Kind::Config`]: the address or the CA bundle cannot be used.
    pub fn start(config: Config) -> Result<Self, Error> {
        Ok(Self { session: Arc::new(Session::new(config)?), locks: api::Locks::default() })
    }

    /// Returns the calls on the objects of that tenant.
    #[must_use]
    pub fn api(&self, scope: Scope) -> Api {
        Api::new(self.session.clone(), scope, self.locks.clone())
    }

    /// Returns the calls on the objects of the tenant of [`Config::scope`].
    #[must_use]
    pub fn default_api(&self) -> Api {
        self.api(self.session.scope().clone())
    }

    /// Returns host and port of the controller.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.session.authority()
    }

    /// Returns what makes this client equal to another.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.session.identity()
    }

    /// Returns the versions as of the last login; logs in if there is no session.
    pub async fn versions(&self) -> Result<Versions, Error> {
        let live = self.session.live(0).await?;
        Ok(Versions { controller: live.controller, api: live.api })
    }

    /// Sets other credentials: the session ends, and the next call logs in with these. Returns false, and changes
    /// nothing, if they are the same: after a refusal the next login with them is due after [`Config::lock_period`].
    pub async fn set_credentials(&self, credentials: Credentials) -> bool {
        self.session.set_credentials(credentials).await
    }

    /// Lets the next call log in although the controller refused the credentials less than [`Config::lock_period`] ago: an administrator may
    /// have unlocked the account. Once; does nothing while there is a session.
    pub fn retry_refused(&self) {
        self.session.retry_refused();
    }

    /// Changes the password of the account of this client, which uses it from then on.
    ///
    /// # Errors
    ///
    /// [`Kind::Invalid`] if the controller does not accept it, or if this client logs in by a token. If the error is
    /// in doubt, either password may be the valid one; this client keeps the old one.
    pub async fn change_password(&self, password: Secret) -> Result<(), Error> {
        let old = self.session.credentials();
        let Proof::Password(known) = &old.proof else {
            return Err(Error::new(
                Kind::Invalid,
                "a client that logs in by a token knows no password to change",
            ));
        };
        let body = json!({
            "username": old.user, "old_password": known.expose(), "password": password.expose(),
        });
        let (api, session) = (self.default_api(), self.session.clone());
        // A task of its own: if the caller drops this future, the client still learns the password that is valid.
        let change = tokio::spawn(
            async move {
                api.put_singleton("useraccount", &body).await?;
                let new = Credentials::password(old.user.clone(), password);
                session.password_changed(&old, new).await;
                Ok(())
            }
            .in_current_span(),
        );
        let abandoned = |_| {
            Error::new(Kind::Canceled, "the process is ending; the change of the password was dropped")
                .doubtful()
        };
        change.await.map_err(abandoned)?
    }

    /// Ends the session, if there is one. A call made later starts another.
    ///
    /// # Errors
    ///
    /// If the controller did not confirm it. The client does not use the session any more in any case.
    pub async fn close(&self) -> Result<(), Error> {
        self.session.end(|_| true).await
    }
}

impl fmt::Debug for Avi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Avi").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
