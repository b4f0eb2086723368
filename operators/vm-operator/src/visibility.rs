//! Whether the vCenter is in sight, and what objects say while it is not.
//!
//! Owns the moment since when the inventory has not been current, and the grace before statuses say so. The text of an
//! outage depends on its reason alone, so that an outage writes one status per object and not one per error message.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use infra_clients::vsphere::vms::{Inventory, Link};
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

    /// Returns how long until the grace of the present loss is over; `None` while the vCenter is in sight or after that.
    #[must_use]
    pub fn grace_left(&self) -> Option<Duration> {
        let since = (*self.lost_since.lock().unwrap_or_else(PoisonError::into_inner))?;
        let left = (since + self.grace).saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Returns why the inventory cannot be trusted; `None` while it can.
    #[must_use]
    pub fn blind(&self, inventory: &Inventory, link: &Link) -> Option<Blind> {
        if inventory.is_synced() {
            return None;
        }
        // A loss whose event has not arrived yet counts as one that has just begun.
        let lost = *self.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        let reported = lost.is_some_and(|since| since.elapsed() >= self.grace);
        let (reason, message, needs_help) = match link {
            Link::Down(error) => (
                error.reason(),
                format!("{}: {}", describe(error.reason()), advise(error)),
                error.class() != Class::Retry,
            ),
            Link::Connecting | Link::Up => {
                (reason::REFRESHING, "connecting to the vCenter and reading its inventory".to_owned(), false)
            }
        };
        Some(Blind { reason, message, reported, needs_help })
    }
}

/// What an outage with this reason is, in words that do not change with the error text.
fn describe(reason: &str) -> &'static str {
    match reason {
        "VCenterUnreachable" => "the vCenter does not answer",
        "VCenterCertificateRefused" => "the vCenter's certificate is not trusted",
        "VCenterLoginRefused" => "the vCenter refuses the user name or password",
        "VCenterPlacementUnclear" => "the vCenter's inventory does not allow a choice",
        "PermissionDenied" => "the vCenter user lacks a privilege",
        _ => "the vCenter cannot be used",
    }
}

/// What an administrator of this operator can do about it.
fn advise(error: &infra_clients::vsphere::Error) -> String {
    match error.reason() {
        "VCenterUnreachable" => {
            "check VC_HOST, the network and the vCenter; the operator's log has the error, and it reconnects by itself".to_owned()
        }
        "VCenterCertificateRefused" => "set VC_CA_FILE or VC_THUMBPRINT; for a lab, --insecure".to_owned(),
        "VCenterLoginRefused" => {
            "correct VC_USER and VC_PASS in the Secret vc-creds and restart the operator".to_owned()
        }
        // These name what was found, which does not change while the outage lasts.
        "VCenterPlacementUnclear" => format!("{error}: choose with VC_DATACENTER and VC_RESOURCE_POOL"),
        _ => format!("{error}: {}", error.remedy()),
    }
}
