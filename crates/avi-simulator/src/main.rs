//! `avi-simulator`: one simulated AVI controller, until a signal ends it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, Result};
use avi_simulator::{ADMIN, Config, Simulator, Version};
use clap::{Parser, value_parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Where the administrator's password is read from: arguments can be seen by every user of the machine.
const PASSWORD: &str = "AVI_SIMULATOR_ADMIN_PASSWORD";

/// Simulates an AVI (NSX Advanced Load Balancer) controller: its REST API over HTTPS, everything in memory.
///
/// Prints one line of JSON to standard output once it answers: `{"url", "control_url", "ca_file", "username"}`.
/// The administrator is `admin`; its password comes from AVI_SIMULATOR_ADMIN_PASSWORD.
#[derive(Debug, Parser)]
#[command(version, after_long_help = avi_simulator::CONTROL_HELP)]
struct Arguments {
    /// Where to listen for clients
    #[arg(long, env = "AVI_SIMULATOR_LISTEN", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
    /// Where to listen for the control API, which asks for no password; nowhere if left out
    #[arg(long, env = "AVI_SIMULATOR_CONTROL_LISTEN")]
    control_listen: Option<SocketAddr>,
    /// host:port of the URLs in replies; the address it listens on if left out
    #[arg(long, env = "AVI_SIMULATOR_ADVERTISE")]
    advertise: Option<String>,
    /// A further name or address for the certificate; may be repeated
    #[arg(long = "name", env = "AVI_SIMULATOR_NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// The controller's version
    #[arg(long, env = "AVI_SIMULATOR_VERSION", default_value = "30.2.1")]
    controller_version: Version,
    /// A YAML file with the objects to begin with: a map of kinds to lists of objects
    #[arg(long, env = "AVI_SIMULATOR_SEED")]
    seed: Option<PathBuf>,
    /// Where to write the certificate of the authority that signed the controller's, as PEM
    #[arg(long, env = "AVI_SIMULATOR_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Minutes a session lives without a request, up to 1440; 0 is for ever
    #[arg(long, env = "AVI_SIMULATOR_API_IDLE_TIMEOUT", default_value_t = 15, value_parser = value_parser!(u64).range(..=1440))]
    api_idle_timeout: u64,
    /// What to log to standard error: off, error, warn, info, debug (every request), or a filter of tracing-subscriber
    #[arg(long, env = "AVI_SIMULATOR_LOG", default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_new(&arguments.log).context("--log")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let seed = arguments
        .seed
        .as_ref()
        .map(|path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display())));
    let admin_password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    if admin_password.is_none() {
        tracing::warn!("{PASSWORD} is not set: nobody knows the password of {ADMIN}");
    }
    // Before the start: a signal that comes while it starts must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let simulator = Simulator::start(Config {
        listen: arguments.listen,
        names: arguments.names,
        advertise: arguments.advertise,
        version: arguments.controller_version,
        admin_password,
        seed: seed.transpose()?,
        api_idle_timeout: Duration::from_mins(arguments.api_idle_timeout),
        control_listen: arguments.control_listen,
        ..Config::default()
    })
    .await?;
    if let Some(path) = &arguments.ca_file {
        fs::write(path, simulator.ca_pem()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let ready = serde_json::json!({
        "url": simulator.url(),
        "control_url": simulator.control_url(),
        "ca_file": arguments.ca_file,
        "username": ADMIN,
    });
    println!("{ready}");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}
