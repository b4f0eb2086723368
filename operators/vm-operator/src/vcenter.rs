//! What the controllers read from the vCenter's client, and request of it, in a pass. Nothing here waits, so a test answers
//! with plain values.

use std::collections::HashSet;
use std::sync::Arc;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Template, Ticket, Vms};

/// The client of a vCenter, beside its inventory.
pub trait Vcenter {
    /// Returns the account of this client, as tasks name it.
    fn user(&self) -> Option<Arc<str>>;
    /// Returns what is known of a template.
    fn template(&self, name: &str) -> Template;
    /// Returns whether the answer of a look-up or a confirmation is awaited.
    fn is_looking_up(&self, vm: &MoRef) -> bool;
    /// Requests that the inventory be brought up to date.
    fn request_refresh(&self) -> Ticket;
    /// Requests where a machine is that the inventory does not show.
    fn look_up(&self, vm: &MoRef);
    /// Drops what was answered of a machine, by a look-up or a confirmation.
    fn forget_answers(&self, vm: &MoRef);
    /// Requests whether a machine is as the inventory shows it.
    fn confirm(&self, vm: &MoRef);
    /// Requests a look-up of a template.
    fn request_template(&self, name: &str);
    /// Follows a task that this process did not submit.
    fn follow(&self, task: &MoRef);
    /// Follows clones that may be running: the vCenter's list of recent tasks may lose one that runs.
    fn follow_all(&self, clones: &HashSet<MoRef>) {
        for clone in clones {
            self.follow(clone);
        }
    }
}

impl Vcenter for Vms {
    fn user(&self) -> Option<Arc<str>> {
        self.user()
    }

    fn template(&self, name: &str) -> Template {
        self.template(name)
    }

    fn is_looking_up(&self, vm: &MoRef) -> bool {
        self.is_looking_up(vm)
    }

    fn request_refresh(&self) -> Ticket {
        self.request_refresh()
    }

    fn look_up(&self, vm: &MoRef) {
        self.look_up(vm);
    }

    fn forget_answers(&self, vm: &MoRef) {
        self.forget_answers(vm);
    }

    fn confirm(&self, vm: &MoRef) {
        self.confirm(vm);
    }

    fn request_template(&self, name: &str) {
        self.request_template(name);
    }

    fn follow(&self, task: &MoRef) {
        self.follow(task);
    }
}
