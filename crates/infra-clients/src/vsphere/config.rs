//! What a connection needs to know. Reads no environment and no files.

use std::time::Duration;

use crate::{Secret, Trust};

/// Settings of one connection to one vCenter.
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`, `name:port`, or the whole `https://name[:port]/sdk`. Port 443 unless given.
    pub host: String,
    /// The account, `user@domain`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How the server's certificate is judged.
    pub trust: Trust,
    /// Name and version of the program, shown in vCenter's list of sessions.
    pub agent: (&'static str, &'static str),
    /// Name or inventory path of the datacenter; not needed when there is one.
    pub datacenter: Option<String>,
    /// Resource pool for new VMs: a cluster's name (its root pool), a pool's name, or
    /// `cluster/Resources/pool`; not needed when there is one cluster.
    pub resource_pool: Option<String>,
    /// Name of the VM folder, directly under `<datacenter>/vm`, that holds everything this client
    /// watches and makes. Made when missing.
    pub root_folder: String,
    /// Only `extraConfig` keys that begin so are kept in the inventory.
    pub marker_prefix: String,
    /// Silence after which the session is kept alive by a call; 5 minutes.
    pub keep_alive: Duration,
    /// Longest wait for the answer of one call (the long poll has its own); 60 s.
    pub call_timeout: Duration,
    /// Calls under way at once, the long poll not counted; 8.
    pub concurrency: usize,
    /// Least time between two polls for changes, in which changes gather; 250 ms.
    pub poll_interval: Duration,
}

impl Config {
    /// Settings with every default, trusting the system's certificate authorities.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        user: impl Into<String>,
        password: Secret,
        root_folder: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            user: user.into(),
            password,
            trust: Trust::System,
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            datacenter: None,
            resource_pool: None,
            root_folder: root_folder.into(),
            marker_prefix: String::new(),
            keep_alive: Duration::from_mins(5),
            call_timeout: Duration::from_mins(1),
            concurrency: 8,
            poll_interval: Duration::from_millis(250),
        }
    }
}
