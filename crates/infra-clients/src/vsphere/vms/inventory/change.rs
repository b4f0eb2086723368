//! What subscribers of the inventory receive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;

use super::objects::{Folder, Vm};
use crate::vsphere::{MoRef, Task};

/// Names a request to bring the inventory up to date: see [`Vms::request_refresh`](super::super::Vms::request_refresh).
/// Later requests have greater tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(in crate::vsphere::vms) u64);

/// A change of the inventory. It is applied before it is sent: the inventory is never older than a change that a
/// subscriber has received, but may be newer.
#[derive(Debug, Clone)]
pub enum Change {
    /// A VM appeared (no `before`), disappeared (no `after`), or changed.
    Vm {
        /// As it was.
        before: Option<Arc<Vm>>,
        /// As it is.
        after: Option<Arc<Vm>>,
    },
    /// A folder appeared, disappeared or changed.
    Folder {
        /// As it was.
        before: Option<Arc<Folder>>,
        /// As it is.
        after: Option<Arc<Folder>>,
    },
    /// A task appeared or changed. If it has not ended and the inventory does not know it, vCenter has dropped it
    /// without saying how it ended.
    Task(Arc<Task>),
    /// From here on the inventory is complete and current.
    Synced,
    /// From here on the inventory may be out of date, until the next `Synced`.
    Lost,
    /// The inventory includes everything that had taken effect at vCenter when this ticket, or an earlier one, was
    /// requested.
    Refreshed(Ticket),
    /// [`Inventory::outside`](super::Inventory::outside) answers for this VM, or the inventory shows it again.
    LookedUp(MoRef),
    /// [`Vms::template`](super::super::Vms::template) answers for the names that were asked for.
    Templates,
}

/// A subscription: every [`Change`] from the moment it was made, in order, none left out.
#[derive(Debug)]
pub struct Changes(pub(super) mpsc::UnboundedReceiver<Change>);

impl Changes {
    /// Returns the next change; `None` once the client was closed.
    pub async fn next(&mut self) -> Option<Change> {
        self.0.recv().await
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}
