//! vCenter, in layers.
//!
//! ```text
//!   vms::Vms ── calls, one property collector ──▶ Session ── login, keep-alive ──▶ SOAP ──▶ vCenter
//!   networks::Networks, checks::Checks ── calls ─────▲
//! ```
//!
//! [`Session`] is a login and the calls made with it; it needs no datacenter and creates nothing. [`vms`] keeps an
//! inventory of the virtual machines under one folder and creates, changes and removes them. [`networks`] does so with
//! distributed port groups, and keeps nothing. [`checks`] answers what a check of a cluster asks.

pub mod checks;
mod clock;
mod config;
mod error;
mod fault;
mod login;
mod moref;
mod name;
pub mod networks;
mod observe;
mod paths;
mod power;
mod properties;
mod roots;
mod session;
mod soap;
mod task;
mod value;
pub mod vms;
mod xml;

pub use config::Config;
pub use error::{Error, Kind, REASONS, class_of};
pub use moref::{MoRef, ParseMoRefError};
pub use name::{escape, unescape};
pub use observe::{Exchange, Observer};
pub use power::PowerState;
pub use session::Session;
pub use task::{Task, TaskState};

pub use crate::{Thumbprint, Trust};
