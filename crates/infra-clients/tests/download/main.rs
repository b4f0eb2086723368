//! Downloads from servers in this process, over the real wire.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod files;
mod registries;

use infra_clients::Trust;
use infra_clients::download::{Downloader, Limits};
use testbed::FileServer;

/// Returns a downloader that trusts these servers and no other.
fn downloader(servers: &[&FileServer], limits: Limits) -> Downloader {
    let authorities: String = servers.iter().map(|server| server.ca_pem()).collect();
    Downloader::new(&Trust::CaBundle(authorities.into()), ("test", "1"), limits).unwrap()
}
