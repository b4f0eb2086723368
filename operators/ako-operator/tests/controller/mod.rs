//! Clients of a simulated controller.

use avi_simulator::Simulator;
use infra_clients::avi::{Avi, Config, Credentials};
use infra_clients::{Secret, Trust};

/// Returns a client of the administrator.
pub fn admin(simulator: &Simulator) -> Avi {
    client(simulator, "admin", &Secret::new(simulator.admin_password()))
}

/// Returns a client of a user.
pub fn client(simulator: &Simulator, user: &str, password: &Secret) -> Avi {
    let mut config = Config::new(simulator.url(), Credentials::password(user, password.clone()));
    config.trust = Trust::CaBundle(simulator.ca_pem().as_bytes().to_vec());
    Avi::start(config).unwrap()
}
