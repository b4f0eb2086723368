//! HTTPS, sessions, accounts, permissions, faults and counters; calls the [store](crate::store) for objects.
//!
//! A [`Simulator`] is one controller on one port, with a certificate of its own CA. Clients use its REST API, tests also
//! its [`Control`].
//!
//! The modules form layers. A module imports only modules of the layers below and those that an arrow points to:
//!
//! ```text
//! handles     remote ─▶ control               what tests use: HTTP and Rust
//! transport   listener                        sockets, TLS, faults, request log
//! routing     router                          checks a request, calls the module that answers it
//! paths       objects · login ─▶ own_account, fixed
//! checks      permissions ─▶ admission · passwords
//! state       state                           the Controller, under one lock
//! parts       directory ─▶ sessions, accounts · journal · faults
//! base        clock · wire · certificate
//! ```
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use avi_simulator::{Config, Fault, Simulator};
//!
//! let sim = Simulator::start(Config::default()).await?;
//! println!("{} user {} password {}", sim.url(), avi_simulator::ADMIN, sim.admin_password());
//! sim.control().fault(Fault::status(503).on("POST", "/api/pool").times(1));
//! # Ok(())
//! # }
//! ```

mod accounts;
mod admission;
mod certificate;
mod clock;
mod control;
mod directory;
mod faults;
mod fixed;
mod journal;
mod listener;
mod login;
mod objects;
mod own_account;
mod passwords;
mod permissions;
mod remote;
mod router;
mod sessions;
mod state;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::uri::Authority;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use self::accounts::Secret;
use self::certificate::Identity;
pub use self::control::Control;
pub use self::faults::{Effect, Fault};
pub use self::journal::{Counters, LoggedRequest, Logins};
use self::listener::Shared;
pub use self::remote::CONTROL_HELP;
use self::state::Controller;
use crate::{Assumptions, Rules, Version};

/// The username of the administrator, who has all privileges. Its uuid is `user-1`.
pub const ADMIN: &str = "admin";

/// The settings of a simulator.
#[derive(Clone)]
pub struct Config {
    /// The address of the REST API; default: a free port of 127.0.0.1.
    pub listen: SocketAddr,
    /// Names and addresses in the certificate, in addition to 127.0.0.1, ::1 and `localhost`; default: none.
    pub names: Vec<String>,
    /// `host:port` of the URLs in replies, for clients that come through a Service or a proxy; default: the address of
    /// the REST API.
    pub advertise: Option<String>,
    /// The controller's version; default 30.2.1.
    pub version: Version,
    /// The password of [`ADMIN`]; default: random, see [`Simulator::admin_password`].
    pub admin_password: Option<String>,
    /// The rules in force; default: all.
    pub rules: Rules,
    /// Behaviour that was inferred, not observed on a controller.
    pub assumptions: Assumptions,
    /// Initial objects in the form of [`Control::seed`]; default: only the built-in ones.
    pub seed: Option<String>,
    /// The time without a request after which a session expires, in whole minutes; 0 disables expiry; default 15. Sets
    /// `api_idle_timeout` of the controller's properties.
    pub api_idle_timeout: Duration,
    /// The address of the control API (see [`Simulator::control_url`]); default: not served.
    pub control_listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            names: Vec::new(),
            advertise: None,
            version: Version(30, 2, 1),
            admin_password: None,
            rules: Rules::default(),
            assumptions: Assumptions::default(),
            seed: None,
            api_idle_timeout: Duration::from_mins(15),
            control_listen: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    shared: Arc<Shared>,
    url: String,
    address: SocketAddr,
    admin_password: Secret,
    control_url: Option<String>,
    /// Serves the control API until dropped.
    remote: JoinSet<()>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a simulator. Its API answers when this returns.
    ///
    /// # Errors
    /// If the address cannot be bound, a name is not valid in a certificate, `advertise` is not `host:port`, or the store
    /// refuses the seed.
    pub async fn start(config: Config) -> Result<Self> {
        let (reserve, address) = listener::reserve_port(config.listen)?;
        let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned()];
        names.extend(config.names);
        let identity = Identity::create(names)?;
        let advertise = config.advertise.unwrap_or_else(|| address.to_string());
        // Checked here, because every URL in every reply contains it.
        ensure!(advertise.parse::<Authority>().is_ok(), "advertise: {advertise:?} is not host:port");
        let url = format!("https://{advertise}");
        let admin_password =
            Secret::new(config.admin_password.unwrap_or_else(|| Uuid::new_v4().simple().to_string()));

        let mut controller = Controller::new(config.rules, config.assumptions, config.version, url.clone());
        let now = controller.clock.now();
        ensure!(directory::find_user(&controller.store, ADMIN).is_some(), "the store has no user {ADMIN}");
        controller.accounts.set_password("user-1", admin_password.clone(), now);
        let minutes = config.api_idle_timeout.as_secs() / 60;
        let properties = json!({ "controllerproperties": [{ "api_idle_timeout": minutes }] });

        let about = json!({ "url": url, "version": config.version.to_string() });
        let shared = Arc::new(Shared::new(controller, identity, reserve, address));
        let mut simulator =
            Self { shared, url, address, admin_password, control_url: None, remote: JoinSet::new() };
        let control = simulator.control();
        control.seed_value(properties)?;
        if let Some(seed) = config.seed {
            control.seed(&seed).context("cannot load the seed")?;
        }
        if let Some(listen) = config.control_listen {
            let listener =
                TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            simulator.control_url = Some(format!("http://{}", listener.local_addr()?));
            let ca_pem = simulator.ca_pem().to_owned();
            simulator.remote.spawn(remote::serve(listener, control, about, ca_pem));
        }
        simulator.shared.open()?;
        Ok(simulator)
    }

    /// Returns the URL, `https://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address of the REST API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the certificate of the CA that signed the server's certificate, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.identity.ca_pem
    }

    /// Returns the initial password of [`ADMIN`].
    #[must_use]
    pub fn admin_password(&self) -> &str {
        self.admin_password.expose()
    }

    /// Returns the URL of the control API, `http://127.0.0.1:PORT`; `None` if it is not served. The control API is
    /// [`Control`] over HTTP with JSON; [`CONTROL_HELP`] lists its requests.
    #[must_use]
    pub fn control_url(&self) -> Option<&str> {
        self.control_url.as_deref()
    }

    /// Returns a handle that seeds, inspects and disturbs the simulator.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// Calls [`Control::stop`].
    pub async fn stop(&self) {
        self.control().stop().await;
    }

    /// Calls [`Control::restart`].
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn restart(&self) -> Result<()> {
        self.control().restart().await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.close_in_background();
    }
}
