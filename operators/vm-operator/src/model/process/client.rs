//! The client of the vCenter during one pass of a process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Template, Ticket, fixtures};

use super::Remembered;
use crate::model::shown::{self, number};
use crate::vcenter::Vcenter;

/// The client of the vCenter during one pass.
pub(super) struct Client {
    is_polling: bool,
    served: u64,
    pub(super) newest: Cell<u64>,
    pub(super) looking_up: RefCell<BTreeSet<u8>>,
    pub(super) followed: RefCell<Vec<u8>>,
    /// The machines whose answers were dropped.
    pub(super) forgotten: RefCell<Vec<u8>>,
}

impl Client {
    pub(super) fn of(remembered: &Remembered, is_polling: bool) -> Self {
        Self {
            is_polling,
            served: remembered.served,
            newest: Cell::new(remembered.newest),
            looking_up: RefCell::new(remembered.looking_up.clone()),
            followed: RefCell::default(),
            forgotten: RefCell::default(),
        }
    }

    fn request(&self, vm: &MoRef) {
        self.looking_up.borrow_mut().extend(number(vm.value()));
    }
}

impl Vcenter for Client {
    fn user(&self) -> Option<Arc<str>> {
        Some(shown::USER.into())
    }

    fn template(&self, _: &str) -> Template {
        Template::Known(shown::template())
    }

    fn is_looking_up(&self, vm: &MoRef) -> bool {
        number(vm.value()).is_some_and(|id| self.looking_up.borrow().contains(&id))
    }

    /// One poll serves all tickets that were requested before it, so those share a number.
    fn request_refresh(&self) -> Ticket {
        let ticket = self.served + if self.is_polling { 2 } else { 1 };
        self.newest.set(self.newest.get().max(ticket));
        fixtures::ticket(ticket)
    }

    fn look_up(&self, vm: &MoRef) {
        self.request(vm);
    }

    fn forget_answers(&self, vm: &MoRef) {
        self.forgotten.borrow_mut().extend(number(vm.value()));
    }

    fn confirm(&self, vm: &MoRef) {
        self.request(vm);
    }

    fn request_template(&self, _: &str) {}

    fn follow(&self, task: &MoRef) {
        self.followed.borrow_mut().extend(number(task.value()));
    }
}
