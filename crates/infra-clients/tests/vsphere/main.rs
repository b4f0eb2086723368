//! The vSphere client against a simulated vCenter, over the real wire.

mod administrator;
mod bad_days;
mod calls;
mod checks;
mod connect;
mod identity;
mod latency;
mod names;
mod port_groups;
mod requests;
mod rig;
mod safety;
