//! The settings of a session. Reads no environment and no files.

use std::time::Duration;

use super::observe::Observer;
use crate::{Secret, SettingError, Trust, https};

/// Settings of a session at one vCenter.
#[derive(Debug, Clone)]
pub struct Config {
    /// `name`, `name:port`, or the whole `https://name[:port]/sdk`. Port 443 unless given.
    pub host: String,
    /// The account, `user@domain`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How the server's certificate is judged. Default: by the system's certificate authorities.
    pub trust: Trust,
    /// Name and version of the program, shown in vCenter's list of sessions.
    pub agent: (&'static str, &'static str),
    /// Time without a call after which the session is kept alive by one. Default: 5 minutes.
    pub keep_alive: Duration,
    /// Longest wait for the answer to one call; long polls have their own. Default: 60 s.
    pub call_timeout: Duration,
    /// Calls in flight at once; long polls are not counted. Default: 8.
    pub concurrency: usize,
    /// Largest answer in bytes. Default: 64 MiB.
    pub max_answer: usize,
    /// Receives every call. Default: none.
    pub observer: Option<Observer>,
}

impl Config {
    /// Returns `name[:port]` of the server, in one spelling.
    ///
    /// # Errors
    /// [`Config::host`] is not the address of a server.
    pub fn authority(&self) -> Result<String, SettingError> {
        https::authority("vCenter", &["sdk"], &self.host)
    }

    /// Creates settings with every default.
    #[must_use]
    pub fn new(host: impl Into<String>, user: impl Into<String>, password: Secret) -> Self {
        Self {
            host: host.into(),
            user: user.into(),
            password,
            trust: Trust::System,
            agent: (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            keep_alive: Duration::from_mins(5),
            call_timeout: Duration::from_mins(1),
            concurrency: 8,
            max_answer: 64 << 20,
            observer: None,
        }
    }
}
