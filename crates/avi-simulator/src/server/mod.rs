//! HTTPS, sessions, accounts, permissions, faults and counters; calls the [store](crate::store) for objects.
//!
//! A [`Simulator`] is one controller on one port, with a certificate of its own authority. What a client sees of it
//! is the REST API; what a test sees of it besides is its [`Control`].
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
mod certificate;
mod clock;
mod control;
mod controller;
mod directory;
mod faults;
mod fixed;
mod front;
mod journal;
mod login;
mod objects;
mod permissions;
mod remote;
mod sessions;
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

use self::accounts::Hidden;
use self::certificate::Identity;
pub use self::control::Control;
use self::controller::Controller;
pub use self::faults::{Effect, Fault};
use self::front::Shared;
pub use self::journal::{Counters, LoggedRequest, Logins};
pub use self::remote::CONTROL_HELP;
use crate::{Assumptions, Rules, Version};

/// The username of the account that may do everything. Its uuid is `user-1`.
pub const ADMIN: &str = "admin";

/// What may differ from one simulator to the next.
#[derive(Clone)]
pub struct Config {
    /// Where it listens; a free port of 127.0.0.1.
    pub listen: SocketAddr,
    /// Names and addresses in the certificate, besides 127.0.0.1, ::1 and `localhost`; none.
    pub names: Vec<String>,
    /// `host:port` of the URLs in replies; the address it listens on. For one reached through a Service or a proxy.
    pub advertise: Option<String>,
    /// The controller's version; 30.2.1.
    pub version: Version,
    /// The password of [`ADMIN`]; random, see [`Simulator::admin_password`].
    pub admin_password: Option<String>,
    /// Which rules hold; all.
    pub rules: Rules,
    /// What is only believed of controllers.
    pub assumptions: Assumptions,
    /// Objects to begin with, as [`Control::seed`] takes them; none but the built-in ones.
    pub seed: Option<String>,
    /// How long a session lives without a request, in whole minutes; 15, nought is for ever. The same as
    /// `api_idle_timeout` of the controller's properties.
    pub api_idle_timeout: Duration,
    /// Where the control API listens (see [`Simulator::control_url`]); nowhere.
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

/// A running controller. Dropped = gone.
pub struct Simulator {
    shared: Arc<Shared>,
    url: String,
    address: SocketAddr,
    admin_password: Hidden,
    control_url: Option<String>,
    /// Serves the control API; dropped = gone.
    remote: JoinSet<()>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts a controller; it answers when this returns.
    ///
    /// # Errors
    /// If the address is taken, a name cannot stand in a certificate, `advertise` is none of a host, or the seed is refused.
    pub async fn start(config: Config) -> Result<Self> {
        let (reserve, address) = front::reserve(config.listen)?;
        let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned()];
        names.extend(config.names);
        let identity = Identity::create(names)?;
        let advertise = config.advertise.unwrap_or_else(|| address.to_string());
        // It stands in every URL of every reply: a wrong one would be noticed late.
        ensure!(advertise.parse::<Authority>().is_ok(), "{advertise:?} is no host:port to advertise");
        let url = format!("https://{advertise}");
        let admin_password =
            Hidden::new(config.admin_password.unwrap_or_else(|| Uuid::new_v4().simple().to_string()));

        let mut controller = Controller::new(config.rules, config.assumptions, config.version, url.clone());
        let now = controller.clock.now();
        ensure!(directory::user(&controller.store, ADMIN).is_some(), "the store has no user {ADMIN}");
        controller.accounts.set("user-1", admin_password.clone(), now);
        let minutes = config.api_idle_timeout.as_secs() / 60;
        let properties = json!({ "controllerproperties": [{ "api_idle_timeout": minutes }] });

        let about = json!({ "url": url, "version": config.version.to_string() });
        let shared = Arc::new(Shared::new(controller, identity, reserve, address));
        let mut simulator =
            Self { shared, url, address, admin_password, control_url: None, remote: JoinSet::new() };
        let control = simulator.control();
        control.seed_value(properties)?;
        if let Some(seed) = config.seed {
            control.seed(&seed).context("the seed is refused")?;
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

    /// `https://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority that signed its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.identity.ca_pem
    }

    /// The password of [`ADMIN`] at the start.
    #[must_use]
    pub fn admin_password(&self) -> &str {
        self.admin_password.expose()
    }

    /// Where the control API listens, `http://127.0.0.1:PORT`: what [`Control`] does, over HTTP with JSON. Its requests
    /// are listed in [`CONTROL_HELP`].
    #[must_use]
    pub fn control_url(&self) -> Option<&str> {
        self.control_url.as_deref()
    }

    /// A handle for seeding, watching and disturbing it.
    #[must_use]
    pub fn control(&self) -> Control {
        Control { shared: Arc::clone(&self.shared) }
    }

    /// As [`Control::stop`].
    pub async fn stop(&self) {
        self.control().stop().await;
    }

    /// As [`Control::restart`].
    ///
    /// # Errors
    /// If the port was taken meanwhile.
    pub async fn restart(&self) -> Result<()> {
        self.control().restart().await
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
