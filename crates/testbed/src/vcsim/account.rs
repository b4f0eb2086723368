//! Accounts of the simulated vCenter beside the administrator's.

use anyhow::Result;
use reqwest::Method;
use serde::Serialize;

use super::Vcsim;

/// An account, for [`Vcsim::set_account`].
///
/// ```
/// use testbed::Account;
///
/// let blind = Account::new("cpi@vsphere.local", "secret").hidden("/DC0/vm/nodes").lacks("Cns.Searchable");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Account {
    user: String,
    password: String,
    hidden: Vec<String>,
    lacks: Vec<String>,
}

impl Account {
    /// Describes an account that sees and may do everything.
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned(), hidden: Vec::new(), lacks: Vec::new() }
    }

    /// Hides the machines, folders and datacenters at or below an inventory path, as without the privilege System.View there: searches find none, and reads and waits
    /// have none. A vCenter reports no error either.
    pub fn hidden(mut self, path: &str) -> Self {
        self.hidden.push(path.to_owned());
        self
    }

    /// Takes a privilege away everywhere. Only queries of privileges say so: no call is refused.
    pub fn lacks(mut self, privilege: &str) -> Self {
        self.lacks.push(privilege.to_owned());
        self
    }
}

impl Vcsim {
    /// Adds an account or replaces it, also that of [`Vcsim::user`]. Its sessions stay; their waits report what has changed.
    ///
    /// # Errors
    /// If there is nothing at a hidden path.
    pub async fn set_account(&self, account: &Account) -> Result<()> {
        self.control.send(Method::PUT, "accounts", Some(serde_json::to_value(account)?)).await
    }
}
