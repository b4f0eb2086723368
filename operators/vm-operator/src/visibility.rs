//! Whether the vCenter is in sight, and what objects say while it is not.
//!
//! Owns the moment since when the inventory has not been current, and the grace before statuses say so. The text of an
//! outage depends on the kind of failure, so that an outage writes one status per object and not one per error message.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use infra_clients::vsphere::vms::{Inventory, Link};
use infra_clients::vsphere::{Error, Kind};
use infra_clients::{Class, Failure};

use crate::api::reason;

/// Why nothing can be said about machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// Reason for conditions.
    pub reason: &'static str,
    /// What to do, for people.
    pub message: String,
    /// Whether statuses say so: not during the grace after a loss or a start, when the last status stands.
    pub reported: bool,
    /// Whether a person has to act.
    pub needs_help: bool,
}

/// Since when the vCenter has been out of sight.
#[derive(Debug)]
pub struct Visibility {
    grace: Duration,
    lost_since: Mutex<Option<Instant>>,
}

impl Visibility {
    /// Starts out of sight. Statuses say so after `grace`.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, lost_since: Mutex::new(Some(Instant::now())) }
    }

    /// Records that the inventory is current, or is not.
    pub fn set(&self, current: bool) {
        let mut lost = self.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        *lost = if current { None } else { lost.or_else(|| Some(Instant::now())) };
    }

    /// Returns when the grace of the present loss ends, or has ended; `None` while the vCenter is in sight.
    #[must_use]
    pub fn grace_end(&self) -> Option<Instant> {
        let since = (*self.lost_since.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(since + self.grace)
    }

    /// Returns why the inventory cannot be trusted; `None` while it can.
    #[must_use]
    pub fn blind(&self, inventory: &Inventory, link: &Link) -> Option<Blind> {
        if inventory.is_synced() {
            return None;
        }
        // A loss whose event has not arrived yet counts as one that has just begun.
        let reported = self.grace_end().is_some_and(|end| end <= Instant::now());
        let (reason, message, needs_help) = match link {
            Link::Down(error) => (error.reason(), explain(error), error.class() != Class::Retry),
            Link::Connecting | Link::Up => {
                (reason::REFRESHING, "connecting to the vCenter and reading its inventory".to_owned(), false)
            }
        };
        Some(Blind { reason, message, reported, needs_help })
    }
}

/// Returns what is wrong and what an administrator of this operator can do about it, in words that depend on the kind of
/// failure alone.
fn explain(error: &Error) -> String {
    let remedy = remedy(error);
    match error.kind() {
        Kind::Unreachable | Kind::Timeout | Kind::Unavailable | Kind::Protocol => {
            format!(
                "the vCenter does not answer: {remedy}; the operator's log has the error, and it reconnects by itself"
            )
        }
        Kind::Tls => format!("the vCenter's certificate is not trusted: {remedy}"),
        Kind::Unauthorized if has_no_role(error) => {
            format!(
                "the vCenter answers the login with NoPermission, as for an account without a role: {remedy}"
            )
        }
        Kind::Unauthorized => format!("the vCenter refuses the user name or password: {remedy}"),
        // The error names what was found, which does not change while the outage lasts.
        Kind::Config | Kind::Ambiguous => {
            format!("the operator cannot tell which datacenter or resource pool to use: {error}: {remedy}")
        }
        Kind::SessionEnded => {
            format!("the vCenter ends the operator's sessions, and accepts its logins: {remedy}")
        }
        Kind::RootFolderMoved
        | Kind::RootFolderUnknown
        | Kind::AnotherVCenter
        | Kind::DuplicateName
        | Kind::Invalid
        | Kind::NotSupported => format!("{error}: {remedy}"),
        Kind::Forbidden => format!("the vCenter user lacks a privilege: {error}: {remedy}"),
        _ => format!("the vCenter cannot be used: {remedy}; the operator's log has the error"),
    }
}

/// Returns what an administrator of this operator can do about a vCenter that is out of sight, with the names of settings.
#[must_use]
pub fn remedy(error: &Error) -> String {
    let remedy = match error.kind() {
        Kind::Unreachable | Kind::Timeout | Kind::Unavailable | Kind::Protocol => {
            "check VC_HOST, the network and the vCenter"
        }
        Kind::Tls => {
            "set VC_CA_FILE or VC_THUMBPRINT, and VC_HOST to the name that the certificate was issued for; for a lab, --insecure"
        }
        Kind::Unauthorized if has_no_role(error) => {
            "have a vCenter administrator grant the account a role, and restart the operator"
        }
        Kind::Unauthorized => "correct VC_USER and VC_PASS in the Secret vc-creds and restart the operator",
        Kind::Config | Kind::Ambiguous => "set VC_DATACENTER or VC_RESOURCE_POOL and restart the operator",
        Kind::RootFolderUnknown => {
            "create the namespaces that do not exist and apply what `vm-operator rbac --watch-namespace` prints for all of WATCH_NAMESPACE, or take them out of it"
        }
        Kind::RootFolderMoved => {
            "set VC_FOLDER to the folder that has the machines and restart the operator; if that folder was renamed or moved, rename or move it back instead"
        }
        Kind::AnotherVCenter => {
            "let VC_HOST lead to that vCenter again; if the other one is meant, restart the operator"
        }
        Kind::SessionEnded => {
            "look in the vCenter's events who ends the sessions of the account; the operator logs in again by itself"
        }
        // Until the inventory is read, only the root folder is created.
        Kind::DuplicateName => {
            "rename the other object, or set VC_FOLDER to another path and restart the operator"
        }
        Kind::Invalid | Kind::NotSupported => {
            "set VC_FOLDER to a path that the vCenter takes and restart the operator, or create the folder by hand"
        }
        _ => error.remedy(),
    };
    remedy.to_owned()
}

/// Returns whether a refused login says nothing of the password.
fn has_no_role(error: &Error) -> bool {
    error.fault() == Some("NoPermission")
}

#[cfg(test)]
mod tests {
    use infra_clients::vsphere::vms::fixtures::refused_login;

    use super::*;

    #[test]
    fn a_login_of_an_account_without_a_role_does_not_blame_the_password() {
        for (fault, blames_password) in [("NoPermission", false), ("InvalidLogin", true)] {
            let text = explain(&refused_login(fault));
            assert_eq!(text.contains("password") && text.contains("VC_PASS"), blames_password, "{text}");
            assert_eq!(
                text.contains(fault) && text.contains("grant the account a role"),
                !blames_password,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_a_setting_names_the_setting() {
        for (kind, setting) in [
            (Kind::Unreachable, "VC_HOST"),
            (Kind::Timeout, "VC_HOST"),
            (Kind::Tls, "VC_CA_FILE or VC_THUMBPRINT"),
            (Kind::Unauthorized, "VC_USER and VC_PASS"),
            (Kind::RootFolderMoved, "VC_FOLDER"),
            (Kind::RootFolderUnknown, "WATCH_NAMESPACE"),
            (Kind::DuplicateName, "VC_FOLDER"),
            (Kind::Invalid, "VC_FOLDER"),
            (Kind::NotSupported, "VC_FOLDER"),
            (Kind::AnotherVCenter, "VC_HOST"),
            (Kind::Config, "VC_DATACENTER or VC_RESOURCE_POOL"),
            (Kind::Ambiguous, "VC_DATACENTER or VC_RESOURCE_POOL"),
        ] {
            let error = Error::new(kind, "no");
            assert!(remedy(&error).contains(setting), "{kind:?}: {}", remedy(&error));
            assert!(explain(&error).contains(&remedy(&error)), "{kind:?}: {}", explain(&error));
        }
        let error = Error::new(Kind::Forbidden, "no");
        assert_eq!(remedy(&error), error.remedy());
    }
}
